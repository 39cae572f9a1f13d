"""What stands before a step, of each filter: the size of its weights, and what the optimizer's rule keeps of its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.monitor.state import MOMENTS, SIZES, clock, correction, divisor, fields, steps_taken, understood
from fullscale.monitor.watched import Watched

NAMES = ("norm", "root_gamma", "root_beta", "root_weights", "moment_gamma", "moment_beta")


def standing(watched: Watched, optimizer: Any) -> dict[str, dict[int, Tensor]]:
    """NAMES, see `fullscale.monitor.record`, by unit (filters,) each, of those that have them.

    Of an optimizer whose state is not known there are none but the norm: why is what the split of its updates notes.
    """
    wanted = {id(x) for part in watched.parts for x in (part.scale, part.shift, part.weight) if x is not None}
    roots: dict[int, Tensor] = {}
    moments: dict[int, Tensor] = {}
    for group in optimizer.param_groups:
        params = [p for p in group["params"] if id(p) in wanted]
        if params:
            with suppress(InputError):
                _read(optimizer, group, params, roots, moments)
    found: dict[str, dict[int, Tensor]] = {name: {} for name in NAMES}
    for i, part in enumerate(watched.parts):
        for name, p in (("gamma", part.scale), ("beta", part.shift)):
            if isinstance(p, nn.Parameter):
                found[f"root_{name}"] |= {i: roots[id(p)]} if id(p) in roots else {}
                found[f"moment_{name}"] |= {i: moments[id(p)]} if id(p) in moments else {}
        w = part.weight
        if w is not None:
            over = [axis for axis in range(w.ndim) if axis != part.axis]
            found["norm"][i] = torch.linalg.vector_norm(w.detach(), dim=over)
            if id(w) in roots:
                number = w.numel() / w.shape[part.axis]
                found["root_weights"][i] = torch.linalg.vector_norm(roots[id(w)], dim=over) / number**0.5
    return found


def _read(
    optimizer: Any, group: Mapping[str, Any], params: list[Tensor], roots: dict[int, Tensor], moments: dict[int, Tensor]
) -> None:
    setting, _ = understood(optimizer, group)
    rule = setting.rule
    divides, moment = divisor(rule), next((name for name in MOMENTS if name in rule.state), None)
    corrections: dict[float | None, float] = {}
    for p in params:
        held = fields(optimizer, rule, p)
        if divides is not None:
            taken = steps_taken(optimizer, group, p)
            if taken not in corrections:
                times = dict(zip(rule.clock, clock(optimizer, group, rule, setting.hyper, p), strict=True))
                corrections[taken] = correction(rule, times)
            # Before the first step it is 0 / 0.
            roots[id(p)] = SIZES[divides](held[divides] / corrections[taken])
        if moment is not None:
            moments[id(p)] = held[moment]
