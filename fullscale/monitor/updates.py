"""The updates of some parameters split into the loss's and the regularizer's part, from the optimizer's own gradients and state.

What its buffers hold of the regularizer (`fullscale.monitor.carried`) is kept beside them at every step: one foreach call over
the watched parameters where that part follows a linear recursion with constant coefficients (momentum, Nesterov, Adam and its
relatives, Lion with L2 or L1), nothing at all where no buffer holds it (SGD, RMSprop, Adagrad, every decoupled decay), the
whole split at every step elsewhere.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dynamics.answers.setting import Setting
from dynamics.errors import InputError
from dynamics.theory.attributed import Attributed
from dynamics.theory.pull import carriers, pull_share
from fullscale.monitor.carried import Carried, carried
from fullscale.monitor.state import clock, fields, steps_taken, understood

# Parameters are joined, and cut, to about this many numbers. It bounds the memory that a split takes; on a CPU it keeps it in
# the cache and below what the C library maps anew for every tensor.
_JOINED = {"cpu": 1 << 14}
_JOINED_ELSEWHERE = 1 << 20


class Part(NamedTuple):
    """One update of one parameter, of its shape: what loss and regularizer add, abs(pull) / (abs(pull) + abs(loss)), and
    the weight after it."""

    loss: Tensor
    pull: Tensor
    share: Tensor
    after: Tensor


class Split(NamedTuple):
    """By the id of the parameter: the parts of the updates of gammas and betas; the share, mean over each filter of those of
    its weights that moved, (filters,), of the layers' weights; by the key of a direction what the regularizer's part and the
    weights after the step are along it, (2, filters)."""

    light: dict[int, Part]
    heavy: dict[int, Tensor]
    along: dict[int, Tensor]


class Direction(NamedTuple):
    """Some weights, a tensor of their shape to multiply them with, and the dimension along which the filters lie."""

    weight: Tensor
    by: Tensor
    axis: int

    def times(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """The sum, by filter, of the products with some rows of what has the weights' shape."""
        return (x * self.by[rows]).sum([axis for axis in range(x.ndim) if axis != self.axis])


@dataclass(frozen=True)
class _Piece:
    """Rows of a parameter."""

    p: Tensor
    rows: slice

    def of(self, x: Tensor) -> Tensor:
        return x.detach()[self.rows]


@dataclass(frozen=True, eq=False)
class _Plan:
    """What follows a group whose parameters all have gradients: some of them, and what is held of each. joined: of vectors that
    are followed as one what is held of them, None where there are none; window: of the others, the number of steps after
    which nothing is left in the buffers that can be told from rounding."""

    way: Carried
    vectors: list[Tensor]
    joined: Tensor | None
    others: list[Tensor]
    held: list[Tensor]
    window: int

    @property
    def fits(self) -> bool:
        """Whether its parameters still have the precision and the device of what is held. A network changes them as a whole."""
        pairs = [(self.vectors[0], self.joined)] if self.joined is not None else []
        pairs += [(self.others[-1], self.held[-1])] if self.held else []
        return all(p.dtype == x.dtype and p.device == x.device for p, x in pairs if x is not None)


class Updates:
    """The updates of `tensors` by `optimizer`, each to be split into what loss and regularizer add.

    light: gammas and betas, which are split at every step where "rest" asks for it; heavy, the layers' weights, are
    then left out. axes: along which dimension of each heavy one the filters lie, the first of all if it is not given.
    notes: what could not be had and why, each once.
    """

    def __init__(
        self, optimizer: Any, light: Sequence[Tensor], heavy: Sequence[Tensor], axes: Sequence[int] | None = None
    ) -> None:
        self.optimizer = optimizer
        self.tensors = list({id(p): p for p in (*light, *heavy)}.values())
        self.light = {id(p) for p in light}
        self._axes = {id(p): axis for p, axis in zip(heavy, axes or [0] * len(heavy), strict=True)}
        self.notes: list[str] = []
        # What the buffers hold of the regularizer, by parameter and field.
        self.held: dict[int, dict[str, Tensor]] = {}
        self._known: dict[int, tuple[Any, Carried | None]] = {}
        self._started: set[int] = set()
        self._sizes: tuple[Any, ...] = ()
        self._members: list[list[Tensor]] = []
        self._along: dict[int, Direction] = {}
        self._plans: dict[int, _Plan] = {}

    def note(self, text: str) -> None:
        """Say it, once."""
        if text not in self.notes:
            self.notes.append(text)

    def resume(self, held: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Go on from what the buffers held then, by the parameter's place in `tensors`."""
        for i, kept in held.items():
            p = self.tensors[int(i)]
            # Copied: they change at every step, and what was given may be loaded again.
            self.held[id(p)] = {name: x.detach().to(p.device, p.dtype, copy=True) for name, x in kept.items()}
        self._started = {id(p) for p in self.tensors}
        self._plans = {}

    def renew(self, others: Mapping[int, Tensor]) -> None:
        """Other parameters stand in the place of some, by the ids of these."""
        if others:
            self.tensors, self._sizes, self._plans = [others.get(id(p), p) for p in self.tensors], (), {}
        for old, new in others.items():
            self.held.pop(old, None)
            self._started.discard(old)
            if old in self.light:
                self.light.add(id(new))
            if old in self._axes:
                self._axes[id(new)] = self._axes[old]

    def groups(self) -> Iterator[tuple[int, dict[str, Any], list[Tensor]]]:
        """Each parameter group with those watched in it that have a gradient."""
        sizes = self._now_sizes()
        if sizes != self._sizes:
            wanted = {id(p) for p in self.tensors}
            self._sizes, self._plans = sizes, {}
            self._members = [[p for p in group["params"] if id(p) in wanted] for group in self.optimizer.param_groups]
        for index, (group, members) in enumerate(zip(self.optimizer.param_groups, self._members, strict=True)):
            if params := [p for p in members if p.grad is not None]:
                yield index, group, params

    def _now_sizes(self) -> tuple[Any, ...]:
        every = (group["params"] for group in self.optimizer.param_groups)
        return tuple((len(params), *map(id, params[:1])) for params in every)

    @torch.no_grad()
    def follow(self, ahead: int = 0, complete: bool = False) -> None:
        """Take the buffers' parts over the coming step; to be called before each step that is not split.

        ahead: so many steps after this one those of the heavy ones are asked for next. complete: whether all are known to have a
        gradient.
        """
        if complete and self._sizes == self._now_sizes():
            groups = [
                (i, group, m)
                for i, (group, m) in enumerate(zip(self.optimizer.param_groups, self._members, strict=True))
                if m
            ]
        else:
            groups = list(self.groups())
        for index, group, params in groups:
            way = self._way(index, group)
            if way is not None and way.kind == "linear":
                self._advance(index, way, group, params, ahead)
            elif way is not None and way.kind == "rest":
                self._split(way, group, [p for p in params if id(p) in self.light], Split({}, {}, {}))

    @torch.no_grad()
    def split(self, heavy: bool = True, along: Mapping[int, Direction] | None = None) -> Split:
        """The parts of the coming step; and the buffers' parts taken over it.

        heavy: those of all the layers' weights as well. along: directions by a key; the weights of these are split in any case.
        """
        found = Split({}, {}, {})
        self._along = dict(along or {})
        directed = {id(direction.weight) for direction in self._along.values()}
        for index, group, params in self.groups():
            way = self._way(index, group)
            if way is None:
                continue
            light = [p for p in params if id(p) in self.light]
            if way.kind == "rest" and len(light) < len(params):
                self.note(
                    "what the optimizer's buffers hold of the regularizer is followed for gamma and beta only: no share of "
                    "the convolutions and other weights"
                )
            if way.kind == "linear":
                self._begin(way, group, params)
            if way.kind == "rest":
                chosen = light
            else:
                chosen = params if heavy else [p for p in params if id(p) in self.light or id(p) in directed]
            self._split(way, group, chosen, found)
            if way.kind == "linear":
                self._advance(index, way, group, params)
        for key, (share, moved) in found.heavy.items():
            found.heavy[key] = share / moved
        if sum(map(len, self._members)) < sum(p.requires_grad for p in self.tensors):
            self.note("parameters that this optimizer does not train have no share")
        return found

    def _way(self, index: int, group: Mapping[str, Any]) -> Carried | None:
        key = (group.get("weight_decay"), group.get("betas"), group.get("momentum"), group.get("alpha"))
        known = self._known.get(index)
        if known is not None and known[0] == key:
            return known[1]
        try:
            way = carried(understood(self.optimizer, group)[0])
        except InputError as error:
            self.note(f"no regularizer's share: {error}")
            way = None
        if known is not None and known[1] is not None:  # what was held was held of another strength
            before = known[1].whole if known[1].kind == "linear" else 0.0
            now = way.whole if way is not None and way.kind == "linear" else 0.0
            for p in self._members[index]:
                for x in self.held.get(id(p), {}).values():
                    x.mul_(before / now if now else 0.0)
        self._known[index] = (key, way)
        return way

    def _holds(self, p: Tensor) -> bool:
        """Whether anything of a parameter is held; in its precision and on its device, should it have changed these."""
        held = self.held.get(id(p), {})
        for name, x in held.items():
            if x.dtype != p.dtype or x.device != p.device:
                held[name] = x.to(p)
                self._plans = {}
        return bool(held)

    def _begin(self, way: Carried, group: Mapping[str, Any], params: list[Tensor]) -> None:
        for p in params:
            if self._holds(p) and way.field in self.held[id(p)]:
                continue
            start = torch.zeros_like(p)
            if id(p) not in self._started and steps_taken(self.optimizer, group, p) != 0:
                start = p.detach().sign() if way.of_sign else p.detach().clone()
                self.note(
                    "the optimizer had taken steps before: what its buffers then held of the regularizer is taken for that "
                    "of weights at rest"
                )
            self._started.add(id(p))
            self.held[id(p)] = {way.field: start}
            self._plans = {}

    def _advance(
        self, index: int, way: Carried, group: Mapping[str, Any], params: list[Tensor], ahead: int = 0
    ) -> None:
        plan = self._plans.get(index)
        if plan is None or plan.way is not way or len(params) != len(plan.vectors) + len(plan.others) or not plan.fits:
            plan = self._plan(way, group, params)
            self._plans.pop(index, None)
            if len(params) == len(self._members[index]):
                self._plans[index] = plan
        if plan.joined is not None:
            now = torch.cat(plan.vectors)
            plan.joined.lerp_(now.sign_() if way.of_sign else now, 1 - way.keep)
        if plan.others and ahead <= plan.window:
            given = list(torch._foreach_sign(plan.others)) if way.of_sign else plan.others
            torch._foreach_lerp_(plan.held, given, 1 - way.keep)

    def _plan(self, way: Carried, group: Mapping[str, Any], params: list[Tensor]) -> _Plan:
        """Vectors of one device and precision are held as parts of one tensor from now on."""
        self._begin(way, group, params)
        first = next((p for p in params if id(p) in self.light and p.ndim == 1), None)
        vectors = [
            p for p in params
            if first is not None and id(p) in self.light and p.ndim == 1 and (p.dtype, p.device) == (first.dtype, first.device)
        ]  # fmt: skip
        joined = torch.cat([self.held[id(p)][way.field] for p in vectors]) if vectors else None
        if joined is not None:
            for p, part in zip(vectors, joined.split([len(p) for p in vectors]), strict=True):
                self.held[id(p)][way.field] = part
        own = set(map(id, vectors))
        others = [p for p in params if id(p) not in own]
        # Light ones are asked for sooner. Below rounding by a margin, since weights may shrink a thousandfold meanwhile.
        finest = min((torch.finfo(p.dtype).eps for p in others), default=1.0)
        forgets = 0 < way.keep < 1 and all(id(p) not in self.light for p in others)
        window = math.ceil(1.5 * math.log(finest) / math.log(way.keep)) if forgets else sys.maxsize
        return _Plan(way, vectors, joined, others, [self.held[id(p)][way.field] for p in others], window)

    def _split(self, way: Carried, group: Mapping[str, Any], params: list[Tensor], found: Split) -> None:
        self._started.update(map(id, params))
        try:
            setting, multiplier = understood(self.optimizer, group)
            rule = setting.rule
            alike: dict[Any, list[Tensor]] = {}
            for p in params:
                self._holds(p)
                times = clock(self.optimizer, group, rule, setting.hyper, p)
                alike.setdefault((times, p.dtype, p.device, id(p) if rule.unit != "weight" else 0), []).append(p)
            for (times, *_), several in alike.items():
                for joined in _joined(several, whole=rule.unit != "weight"):
                    self._split_joined(way, group, setting, multiplier, times, joined, found)
        except InputError as error:
            self.note(f"no regularizer's share: {error}")

    def _split_joined(
        self,
        way: Carried,
        group: Mapping[str, Any],
        setting: Setting,
        multiplier: float,
        times: tuple[float, ...],
        joined: list[_Piece],
        found: Split,
    ) -> None:
        """Pieces of parameters that are equally far, as one long one."""
        rule, held = setting.rule, [self.held.get(id(piece.p), {}) for piece in joined]

        def flat(tensors: Iterable[Tensor]) -> Tensor:
            cut = [piece.of(x) for piece, x in zip(joined, tensors, strict=True)]
            return cut[0] if len(cut) == 1 else torch.cat([x.reshape(-1) for x in cut])

        params = [piece.p for piece in joined]
        w = flat(params)
        g = _seen_gradient(self.optimizer, group, flat(p.grad for p in params if p.grad is not None))
        states = [fields(self.optimizer, rule, p) for p in params]
        state: dict[str, Any] = {name: flat(x[name] for x in states) for name in rule.state}
        for name in carriers(rule):
            if any(name in x for x in held):
                pull = flat(x[name] if name in x else torch.zeros_like(p) for p, x in zip(params, held, strict=True))
                pull = pull * way.whole if way.kind == "linear" else pull
                own = state[name] - w if rule.starts.get(name) == "w" else state[name]
                state[name] = Attributed(state[name], own - pull, pull)
        state |= dict(zip(rule.clock, times, strict=True))
        done = pull_share(
            rule, setting.coupling, w, g, state, lr=setting.lr, strength=setting.strength, multiplier=multiplier,
            **setting.hyper,
        )  # fmt: skip

        def own_shapes(x: Any) -> list[Tensor]:
            whole = x if torch.is_tensor(x) else torch.full_like(w, float(x))
            shapes = [piece.of(piece.p).shape for piece in joined]
            parts = whole.reshape(-1).split([shape.numel() for shape in shapes])
            return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

        if way.kind == "rest":
            for name in carriers(rule):
                for p, part in zip(params, own_shapes(done.state[name].pull), strict=True):
                    self.held.setdefault(id(p), {})[name] = part.clone()
        columns = (own_shapes(x) for x in (done.loss, done.pull, done.share, done.w))
        for piece, of in zip(joined, map(Part, *columns), strict=True):
            p = piece.p
            if id(p) in self.light:
                found.light[id(p)] = of
                continue
            axis = self._axes[id(p)]
            over = [i for i in range(p.ndim) if i != axis]
            # The mean over those that moved, of which other pieces may hold more: sum and number, for now.
            sums = torch.stack([of.share.nansum(over), (~of.share.isnan()).sum(over)])
            _gather(found.heavy, id(p), sums, joint=axis != 0)
            for key, direction in self._along.items():
                if direction.weight is p:
                    both = torch.stack([direction.times(x, piece.rows) for x in (of.pull, of.after)])
                    _gather(found.along, key, both, joint=axis != 0)


def _gather(into: dict[int, Tensor], key: int, columns: Tensor, joint: bool) -> None:
    """Adds columns (2, filters) to those of the same filters, or puts them beside those of others."""
    before = into.get(key)
    if before is not None:
        columns = before + columns if joint else torch.cat([before, columns], dim=1)
    into[key] = columns


def _seen_gradient(optimizer: Any, group: Mapping[str, Any], g: Tensor) -> Tensor:
    """As the step sees it: turned by maximize, and with the scale of mixed precision taken off."""
    scale = getattr(optimizer, "grad_scale", None)
    if scale is not None:
        g = g / scale
    return -g if group.get("maximize") else g


def _joined(params: list[Tensor], whole: bool) -> Iterator[list[_Piece]]:
    """Parameters in order, cut between rows and joined up to the bound; whole ones one by one."""
    batch: list[_Piece] = []
    size = 0
    for p in params:
        bound = _JOINED.get(p.device.type, _JOINED_ELSEWHERE)
        rows = len(p) if whole or p.ndim < 2 else max(1, min(len(p), bound // p[0].numel()))
        for start in range(0, len(p), rows):
            piece = _Piece(p, slice(start, start + rows))
            count = piece.of(p).numel()
            if batch and (whole or size + count > bound):
                yield batch
                batch, size = [], 0
            batch.append(piece)
            size += count
    if batch:
        yield batch
