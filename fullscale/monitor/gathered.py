"""What the loss's gradients were at every step since the last observation, summed up on their device as they come.

Between observations nothing is read from the device. A step joins the gradients of all scales and shifts into a row of a table,
which is summed up when it is full, and adds those of the layers' weights, and their squares, to buffers of the weights' shape:
one call each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fullscale.monitor.record import GATHERED
from fullscale.monitor.watched import Layer, Watched

# The table of the vectors' gradients has at most so many rows, and so many numbers, or one row.
ROWS, NUMBERS = 64, 1 << 16


@dataclass(frozen=True, eq=False)
class _Vector:
    """What a row holds of a unit: the gradients of its scale ("gamma") or shift ("beta"), or the largest absolute one of each
    filter's weights ("weights"). place: of the parameter among all."""

    kind: str
    unit: int
    place: int
    size: int


@dataclass(eq=False)
class _Lane:
    """The vectors on one device. sums: (2, numbers) of the gradients and of their squares, without those of the rows that are not
    summed up yet; either: (2, filters), where a row has the two numbers that tell whether a gradient arrived; arrived: at how many
    steps one did; units: whose filters these are; table: `rows` one by one; whole: whether
    a row is all gradients of scales and shifts, as they come."""

    vectors: list[_Vector]
    rows: Tensor
    sums: Tensor
    arrived: Tensor
    either: Tensor
    units: dict[int, int]
    table: list[Tensor]
    whole: bool

    @property
    def sizes(self) -> list[int]:
        """Of its vectors."""
        return [vector.size for vector in self.vectors]

    @property
    def of_units(self) -> dict[int, Tensor]:
        """`arrived` by unit."""
        return dict(zip(self.units, self.arrived.split(list(self.units.values())), strict=True))


class Gathered:
    """Sums over steps of the gradients of what is watched.

    Gradients are as the optimizer's step sees them: without the scale of mixed precision, turned by maximize. A step at which a
    parameter has none counts as one of 0. What lies at the steps in the gradient of a parameter that another optimizer trains
    is gathered as well. steps: how many.
    """

    def __init__(self, watched: Watched) -> None:
        self.steps = 0
        self._watched = watched
        light = [
            (kind, i, p)
            for kind, of in (("gamma", "scale"), ("beta", "shift"))
            for i, part in enumerate(watched.parts)
            if isinstance(p := getattr(part, of), nn.Parameter)
        ]
        self._light = len(light)
        self._vectors = [_Vector(kind, i, place, p.numel()) for place, (kind, i, p) in enumerate(light)]
        weights = {id(part.weight): part.weight for part in watched.parts if part.weight is not None}
        self._params: list[Tensor] = [*(p for _, _, p in light), *weights.values()]
        # By unit, the place of its weights among these.
        self._heavy = {
            i: list(weights).index(id(part.weight)) for i, part in enumerate(watched.parts) if part.weight is not None
        }
        lone = self._heavy.keys() - {i for _, i, _ in light}
        self._vectors += [_Vector("weights", i, self._light + self._heavy[i], watched.sizes[i]) for i in sorted(lone)]
        self._rows = max(1, min(ROWS, NUMBERS // max(1, sum(vector.size for vector in self._vectors))))
        self._filled = 0
        # Whether each parameter had a gradient at any of the steps; every: whether all had at one of them.
        self._came, self._every = [False] * len(self._params), False
        self._place([p.device for p in self._params], [p.dtype for p in self._params])

    def renew(self, others: Mapping[int, Tensor]) -> None:
        """Other parameters stand in the place of some, by the ids of these."""
        self._params = [others.get(id(p), p) for p in self._params]

    def add(self, optimizer: Any) -> bool:
        """The gradients of the coming step; whether there are all. To be called under no_grad."""
        grads: list[Any] = [p.grad for p in self._params]
        missing = [i for i, g in enumerate(grads) if g is None]
        if missing:
            self._came = [came or g is not None for came, g in zip(self._came, grads, strict=True)]
            for i in missing:
                grads[i] = torch.zeros_like(self._params[i])
        else:
            self._every = True
        self.steps += 1
        if not grads:
            return True
        # A network that moves, or changes its precision, does so as a whole.
        first, last = grads[0], grads[-1]
        if (first.dtype, last.dtype) != self._dtypes or (first.device, last.device) != self._devices:
            self._place([g.device for g in grads], [g.dtype for g in grads])
        scale = getattr(optimizer, "grad_scale", None)
        if scale is not None:
            grads = [g / scale.to(g.device) for g in grads]
        for lane in self._lanes:
            vectors = (
                grads[: self._light]
                if lane.whole
                else [self._row(vector, grads[vector.place]) for vector in lane.vectors]
            )
            torch.cat(vectors, out=lane.table[self._filled])
        heavy = grads[self._light :]
        if heavy:
            torch._foreach_add_(self._sums, heavy)
            torch._foreach_addcmul_(self._squares, heavy, heavy)
        self._filled += 1
        if self._filled == self._rows:
            self._flush()
        return not missing

    def _row(self, vector: _Vector, g: Tensor) -> Tensor:
        if vector.kind == "weights":
            largest: Tensor = torch.linalg.vector_norm(g, torch.inf, _others(self._watched.parts[vector.unit]))
            return largest
        return g if g.ndim == 1 else g.reshape(-1)

    def _flush(self) -> None:
        for lane in self._lanes if self._filled else ():
            rows = lane.rows[: self._filled]
            lane.sums += torch.stack([rows.sum(dim=0), rows.square().sum(dim=0)])
            came = rows != 0
            lane.arrived += (came[:, lane.either[0]] | came[:, lane.either[1]]).sum(dim=0)
        self._filled = 0

    def _place(self, devices: list[torch.device], dtypes: list[torch.dtype]) -> None:
        """Buffers on these devices, no coarser than the gradients; what was gathered goes along."""
        before = self.state() if self.steps else None
        self._devices, self._dtypes = tuple(devices[:1] + devices[-1:]), tuple(dtypes[:1] + dtypes[-1:])
        finer = [torch.promote_types(dtype, torch.float32) for dtype in dtypes]
        self._lanes: list[_Lane] = []
        for device in dict.fromkeys(devices[vector.place] for vector in self._vectors):
            vectors = [vector for vector in self._vectors if devices[vector.place] == device]
            columns = torch.arange(sum(vector.size for vector in vectors)).split([vector.size for vector in vectors])
            telling: dict[int, list[Tensor]] = {}
            for vector, own in zip(vectors, columns, strict=True):
                telling.setdefault(vector.unit, []).append(own)
            either = torch.cat([torch.stack([own[0], own[-1]]) for own in telling.values()], dim=1).to(device)
            like = torch.empty(0, dtype=max((finer[v.place] for v in vectors), key=lambda x: x.itemsize), device=device)
            width = sum(map(len, columns))
            rows = like.new_zeros(self._rows, width)
            flat = all(v.kind != "weights" and self._params[v.place].ndim == 1 for v in vectors)
            self._lanes.append(
                _Lane(
                    vectors, rows, like.new_zeros(2, width), like.new_zeros(either.shape[1]),
                    either, {unit: len(own[0]) for unit, own in telling.items()}, list(rows),
                    flat and len(vectors) == self._light,
                )
            )  # fmt: skip
        heavy = list(zip(self._params, devices, finer, strict=True))[self._light :]
        self._sums, self._squares = (
            [torch.zeros_like(p, dtype=dtype, device=device, requires_grad=False) for p, device, dtype in heavy]
            for _ in range(2)
        )
        if before is not None:
            self.take(before)

    def columns(self, optimizer: Any) -> dict[str, dict[int, Tensor]]:
        """The GATHERED of `fullscale.monitor.record`, by unit (filters,) each, of those that have them."""
        self._flush()
        found: dict[str, dict[int, Tensor]] = {name: {} for name in GATHERED}
        if not self.steps:
            return found
        turned = {id(p) for group in optimizer.param_groups if group.get("maximize") for p in group["params"]}
        came = [self._every or came for came in self._came]
        for lane in self._lanes:
            for vector, (mean, square) in zip(lane.vectors, (lane.sums / self.steps).split(lane.sizes, 1), strict=True):
                if vector.kind != "weights" and came[vector.place]:
                    sign = -1 if id(self._params[vector.place]) in turned else 1
                    found[f"mean_{vector.kind}"][vector.unit] = sign * mean
                    found[f"square_{vector.kind}"][vector.unit] = square
            found["arrival"] |= {unit: x / self.steps for unit, x in lane.of_units.items()}
        for i, place in self._heavy.items():
            if came[self._light + place]:
                over = _others(self._watched.parts[i])
                mean = torch.linalg.vector_norm(self._sums[place], dim=over) / self.steps
                weights = self._sums[place].numel() / len(mean)
                found["mean_weights"][i] = mean / weights**0.5
                found["square_weights"][i] = self._squares[place].mean(over) / self.steps
        return found

    def clear(self) -> None:
        """Begin anew."""
        self.steps = self._filled = 0
        self._came, self._every = [False] * len(self._params), False
        for lane in self._lanes:
            lane.sums.zero_()
            lane.arrived.zero_()
        if self._sums:
            torch._foreach_zero_(self._sums + self._squares)

    def state(self) -> dict[str, Any]:
        """A copy of it, as plain data: by vector its rows and its sums, by unit at how many steps a gradient arrived, by the
        layers' weights both sums."""
        vectors: dict[_Vector, list[Tensor]] = {}
        arrived: dict[int, Tensor] = {}
        for lane in self._lanes:
            parts = (x.clone().split(lane.sizes, 1) for x in (lane.rows[: self._filled], lane.sums))
            vectors |= dict(zip(lane.vectors, map(list, zip(*parts, strict=True)), strict=True))
            arrived |= {unit: x.clone() for unit, x in lane.of_units.items()}
        return {
            "steps": self.steps,
            "came": [self._every or came for came in self._came],
            "vectors": [vectors[vector] for vector in self._vectors],
            "arrived": [arrived[unit] for unit in sorted(arrived)],
            "weights": [[x.clone() for x in pair] for pair in zip(self._sums, self._squares, strict=True)],
        }

    def fits(self, state: Mapping[str, Any]) -> bool:
        """Whether what `state` gave is of the same network."""

        def shapes(of: Mapping[str, Any]) -> list[Any]:
            vectors = [(rows.ndim, rows.shape[1:], sums.shape) for rows, sums in of["vectors"]]
            rest = [[x.shape for x in of["arrived"]], [[x.shape for x in pair] for pair in of["weights"]]]
            return [vectors, *rest, len(of["came"])]

        filled = {tuple(rows.shape[:1]) for rows, _ in state["vectors"]}
        return shapes(state) == shapes(self.state()) and len(filled) <= 1 and all(k < self._rows for (k,) in filled)

    def take(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.steps, self._came, self._every = int(state["steps"]), list(state["came"]), False
        self._filled = len(state["vectors"][0][0]) if self._vectors else 0
        vectors = dict(zip(self._vectors, state["vectors"], strict=True))
        arrived = dict(zip(sorted(unit for lane in self._lanes for unit in lane.units), state["arrived"], strict=True))
        for lane in self._lanes:
            rows, sums = (torch.cat([vectors[v][k].to(lane.sums.device) for v in lane.vectors], dim=1) for k in (0, 1))
            lane.rows[: self._filled] = rows
            lane.sums.copy_(sums)
            lane.arrived.copy_(torch.cat([arrived[unit] for unit in lane.units]))
        for k, buffers in enumerate((self._sums, self._squares)):
            for buffer, pair in zip(buffers, state["weights"], strict=True):
                buffer.copy_(pair[k])


def _others(part: Layer) -> list[int]:
    """The dimensions of a layer's weights along which the filters do not lie."""
    assert part.weight is not None
    return [axis for axis in range(part.weight.ndim) if axis != part.axis]
