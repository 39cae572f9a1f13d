"""One observation: taken on the network's device around a step, and read in one transfer after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fullscale.monitor.gathered import Gathered
from fullscale.monitor.look import Look
from fullscale.monitor.standing import standing
from fullscale.monitor.updates import Direction, Part, Split, Updates
from fullscale.monitor.watched import Watched

# An image whose largest activation is below this share of the filter's running maximum does not excite it.
EXCITED_FROM = 1e-3
# What the running maximum keeps from one observation to the next, so that it follows a filter that shrinks.
KEPT = 0.9


@dataclass(eq=False)
class Observation:
    """What was seen before a step: by name a tensor (filters,), and of each unit the number of images, 0 if it was not run.

    along: of the units that their layers alone make, the inputs that the largest output lies over. over: the steps that were
    gathered. differs: after `values`, whether the step was another than the split of it says.
    """

    columns: dict[str, Tensor]
    images: list[int]
    along: dict[int, Direction]
    over: int = 0
    differs: bool = False

    def values(
        self, watched: Watched, tolerance: float
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64], list[str]]:
        """Everything as arrays (filters,), the images of each filter, and the names of those that were not run.

        To be called after the step: the regularizer's part is taken back where the optimizer did another step.
        """
        gammas, betas = _vectors(watched)
        like = self.columns["margin"]
        after = {"gamma": _flat(gammas, like), "beta": _flat(betas, like)}
        if self.along:
            after["fed"] = _by_layer(
                watched, {i: way.times(way.weight.detach()) for i, way in self.along.items()}, like
            )
        seen = self.columns | {f"after_{name}": x for name, x in after.items()}
        table = torch.stack(list(seen.values())).cpu().double().numpy()
        at: dict[str, NDArray[np.float64]] = dict(zip(seen, table, strict=True))
        eps = torch.finfo(gammas[0].dtype).eps
        wrong = np.zeros(table.shape[1], dtype=bool)
        for name in after:
            before, expected, found = at[name], at.pop(f"next_{name}"), at.pop(f"after_{name}")
            step = np.nan_to_num(np.abs(found - before))
            # Of a sum the rounding is that of its terms.
            size = np.maximum(np.abs(before), np.abs(found)) if name != "fed" else 64 * at.pop("fed_size")
            off = np.abs(expected - found) > tolerance * step + 8 * eps * size
            # A step that mixed precision leaves out moves nothing at all.
            wrong |= off & bool(step.any())
        self.differs = bool(wrong.any())
        if self.differs:
            for name in ("pull_gamma", "pull_beta", "pull_fed", "share_gamma", "share_beta", "share_weights"):
                if name in at:
                    at[name] = np.where(wrong, np.nan, at[name])
        missing = [unit.norm for unit, n in zip(watched.units, self.images, strict=True) if n == 0]
        return at, np.repeat(np.array(self.images, dtype=np.int64), watched.sizes), missing


class Past:
    """What an observation keeps for the next: of each unit the running maximum (filters,), and, of those that their layers
    alone make, the inputs that the largest output lay over and the weights, both of the weights' shape."""

    def __init__(self, units: int) -> None:
        self.peaks: list[Tensor | None] = [None] * units
        self.fed: list[tuple[Tensor, Tensor] | None] = [None] * units

    def state(self) -> dict[str, Any]:
        """A copy of it, as plain data."""
        return {
            "peaks": [None if peak is None else peak.clone() for peak in self.peaks],
            "fed": [None if fed is None else [x.clone() for x in fed] for fed in self.fed],
        }

    def take(self, state: Mapping[str, Any], watched: Watched) -> None:
        """What `state` gave, on the devices of the network."""
        devices = [part.shift.device for part in watched.parts]
        self.peaks = [
            None if x is None else x.detach().to(device) for x, device in zip(state["peaks"], devices, strict=True)
        ]
        kept = state.get("fed") or [None] * len(devices)
        self.fed = [
            None if fed is None else (fed[0].detach().to(device), fed[1].detach().to(device))
            for fed, device in zip(kept, devices, strict=True)
        ]


def observe(watched: Watched, look: Look, updates: Updates, gathered: Gathered, past: Past, heavy: bool) -> Observation:
    """What can be seen before the step: activity of the last pass, gradients, and the parts of the update.

    gathered: the gradients since the observation before, those of this step too.
    past: of the observation before, brought up to date. heavy: all the layers' weights as well.
    """
    along = _along(watched, look, past)
    found = updates.split(heavy, along)
    gammas, betas = _vectors(watched)
    like = gammas[0].new_empty(0, dtype=torch.promote_types(gammas[0].dtype, torch.float32))
    seen = zip(*(_activity(look, i, gamma, past.peaks) for i, gamma in enumerate(gammas)), strict=True)
    columns = {name: _flat(of, like) for name, of in zip(("margin", "peak", "selectivity"), seen, strict=True)}
    arrived = []
    for name, ps in (("gamma", gammas), ("beta", betas)):
        arrived.append(_flat([torch.zeros_like(p) if p.grad is None else p.grad for p in ps], like) != 0)
        parts = [_part(found.light, p) for p in ps]
        columns |= {name: _flat(ps, like), f"next_{name}": _flat([part.after for part in parts], like)}
        columns |= {f"{of}_{name}": _flat([getattr(part, of) for part in parts], like) for of in ("pull", "share")}
    columns["gradient"] = (arrived[0] | arrived[1] | _weights_arrived(watched, like)).to(like.dtype)
    shares = {i: found.heavy[id(w)] for i, w in enumerate(watched.weights) if w is not None and id(w) in found.heavy}
    columns["share_weights"] = _by_layer(watched, shares, like)
    if along:
        columns |= _fed(watched, along, found, past, like)
    several = gathered.columns(updates.optimizer) | standing(watched, updates.optimizer)
    columns |= {name: _by_layer(watched, of, like) for name, of in several.items()}
    images = [0 if highest is None else len(highest) for highest in look.highest]
    return Observation(columns, images, along, gathered.steps)


def _along(watched: Watched, look: Look, past: Past) -> dict[int, Direction]:
    """By the unit's place; of a layer that was not run the inputs are those of the last time."""
    found = {}
    for i, part in enumerate(watched.parts):
        if part.feeding is not None and part.weight is not None:
            reach, before = look.reach[i], past.fed[i]
            if reach is not None or before is not None:
                by = reach if reach is not None else before[0]  # type: ignore[index]
                found[i] = Direction(part.weight, by, part.axis)
    return found


def _fed(watched: Watched, along: Mapping[int, Direction], found: Split, past: Past, like: Tensor) -> dict[str, Tensor]:
    """See `fullscale.monitor.causes.displacement_of_layer`."""
    rows: dict[str, dict[int, Tensor]] = {
        name: {} for name in ("fed", "fed_size", "fed_before", "fed_after", "next_fed", "pull_fed")
    }
    for i, way in along.items():
        w, before = way.weight.detach(), past.fed[i]
        rows["fed"][i], rows["fed_size"][i] = way.times(w), way._replace(by=way.by.abs()).times(w.abs())
        if before is not None:
            rows["fed_before"][i] = way.times(before[1])
            rows["fed_after"][i] = way._replace(by=before[0]).times(w)
        if i in found.along:
            rows["pull_fed"][i], rows["next_fed"][i] = found.along[i]
        elif way.weight.grad is None:  # nothing moves it
            rows["pull_fed"][i], rows["next_fed"][i] = torch.zeros_like(rows["fed"][i]), rows["fed"][i]
        past.fed[i] = way.by, w.clone()
    return {name: _by_layer(watched, of, like) for name, of in rows.items()}


def _by_layer(watched: Watched, of: Mapping[int, Tensor], like: Tensor) -> Tensor:
    """Joined, with NaN for the units that have none."""
    return _flat([of[i] if i in of else torch.full_like(p.shift, torch.nan) for i, p in enumerate(watched.parts)], like)


def _weights_arrived(watched: Watched, like: Tensor) -> Tensor:
    """Of units without scale and shift, whether their weights have a gradient."""
    found = {}
    for i, part in enumerate(watched.parts):
        w = part.weight
        if w is not None and w.grad is not None and not isinstance(part.scale, nn.Parameter):
            found[i] = (w.grad != 0).sum([axis for axis in range(w.ndim) if axis != part.axis])
    return torch.nan_to_num(_by_layer(watched, found, like)) != 0


def _vectors(watched: Watched) -> tuple[list[Tensor], list[Tensor]]:
    return [part.scale for part in watched.parts], [part.shift for part in watched.parts]


def _flat(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """Joined, on the device and in the precision of `like`: a network may lie on several."""
    near = (x if x.device == like.device else x.to(like.device) for x in tensors)
    return torch.cat([x.detach().reshape(-1) for x in near]).to(like.dtype)


def _activity(look: Look, i: int, gamma: Tensor, peaks: list[Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
    """Margin, peak and selectivity of a unit, (filters,) each."""
    highest, size = look.highest[i], look.size[i]
    if highest is None or size is None or not len(highest):
        nan = gamma.detach().new_full((gamma.numel(),), torch.nan)
        return nan, nan, nan
    size = size.float() if size.dtype in (torch.float16, torch.bfloat16) else size
    peak, before = size.amax(dim=0), peaks[i]
    running = peak if before is None else torch.maximum(KEPT * before, peak)
    peaks[i] = running
    quiet = (size < EXCITED_FROM * running) | (size == 0)
    return highest.amax(dim=0).to(size.dtype), peak, quiet.to(size.dtype).mean(dim=0)


def _part(found: dict[int, Part], p: Tensor) -> Part:
    if id(p) in found:
        return found[id(p)]
    nan = torch.full_like(p, torch.nan)
    if p.grad is None:  # nothing moves it
        zero = torch.zeros_like(p)
        return Part(zero, zero, nan, p.detach())
    return Part(nan, nan, nan, nan)
