"""One observation: taken on the network's device around a step, and read in one transfer after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullscale.monitor.updates import Part, Updates
from fullscale.monitor.watched import Look, Watched, number

# An image whose largest activation is below this share of the filter's running maximum does not excite it.
EXCITED_FROM = 1e-3
# What the running maximum keeps from one observation to the next, so that it follows a filter that shrinks.
KEPT = 0.9


@dataclass(eq=False)
class Observation:
    """What was seen before a step: by name a tensor (filters,), and of each unit the number of images, 0 if it was not run.

    differs: after `values`, whether the step was another than the split of it says.
    """

    columns: dict[str, Tensor]
    images: list[int]
    differs: bool = False

    def values(
        self, watched: Watched, tolerance: float
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64], list[str]]:
        """Everything as arrays (filters,), the images of each filter, and the names of those that were not run.

        To be called after the step: the regularizer's part is taken back where the optimizer did another step.
        """
        gammas, betas = _vectors(watched)
        like = self.columns["margin"]
        seen = self.columns | {"after_gamma": _flat(gammas, like), "after_beta": _flat(betas, like)}
        table = torch.stack(list(seen.values())).cpu().double().numpy()
        at: dict[str, NDArray[np.float64]] = dict(zip(seen, table, strict=True))
        eps = torch.finfo(gammas[0].dtype).eps
        wrong = np.zeros(table.shape[1], dtype=bool)
        for name in ("gamma", "beta"):
            before, expected, after = at[name], at.pop(f"next_{name}"), at.pop(f"after_{name}")
            step = np.abs(after - before)
            off = np.abs(expected - after) > tolerance * step + 8 * eps * np.maximum(np.abs(before), np.abs(after))
            # A step that mixed precision leaves out moves nothing at all.
            wrong |= off & bool(step.any())
        self.differs = bool(wrong.any())
        if self.differs:
            for name in ("pull_gamma", "pull_beta", "share_gamma", "share_beta", "share_weights"):
                at[name] = np.where(wrong, np.nan, at[name])
        missing = [unit.norm for unit, n in zip(watched.units, self.images, strict=True) if n == 0]
        return at, np.repeat(np.array(self.images, dtype=np.int64), watched.sizes), missing


def observe(watched: Watched, look: Look, updates: Updates, peaks: list[Tensor | None], heavy: bool) -> Observation:
    """What can be seen before the step: activity of the last pass, gradients, and the parts of the update.

    peaks: of each unit the running maximum (filters,), brought up to date. heavy: the convolutions' weights as well.
    """
    found = updates.split(heavy)
    gammas, betas = _vectors(watched)
    like = gammas[0].new_empty(0, dtype=torch.promote_types(gammas[0].dtype, torch.float32))
    seen = zip(*(_activity(look, i, gamma, peaks) for i, gamma in enumerate(gammas)), strict=True)
    columns = {name: _flat(of, like) for name, of in zip(("margin", "peak", "selectivity"), seen, strict=True)}
    arrived = []
    for name, ps in (("gamma", gammas), ("beta", betas)):
        arrived.append(_flat([torch.zeros_like(p) if p.grad is None else p.grad for p in ps], like) != 0)
        parts = [_part(found.light, p) for p in ps]
        columns |= {name: _flat(ps, like), f"next_{name}": _flat([part.after for part in parts], like)}
        columns |= {f"{of}_{name}": _flat([getattr(part, of) for part in parts], like) for of in ("pull", "share")}
    columns["gradient"] = (arrived[0] | arrived[1]).to(like.dtype)
    shares = [
        torch.full_like(p, torch.nan) if w is None or id(w) not in found.heavy else found.heavy[id(w)]
        for w, p in zip(watched.weights, gammas, strict=True)
    ]
    columns["share_weights"] = _flat(shares, like)
    images = [0 if highest is None else len(highest) for highest in look.highest]
    return Observation(columns, images)


def _vectors(watched: Watched) -> tuple[list[Tensor], list[Tensor]]:
    return [number(norm.weight) for norm in watched.norms], [number(norm.bias) for norm in watched.norms]


def _flat(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """Joined, on the device and in the precision of `like`: a network may lie on several."""
    return torch.cat([x.detach().to(like.device, like.dtype) for x in tensors])


def _activity(look: Look, i: int, gamma: Tensor, peaks: list[Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
    """Margin, peak and selectivity of a unit, (filters,) each."""
    highest, size = look.highest[i], look.size[i]
    if highest is None or size is None or not len(highest):
        nan = torch.full_like(gamma, torch.nan)
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
