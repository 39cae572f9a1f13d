"""What is probed: an optimizer of anyone's as a black box that takes gradients and moves weights, always a fresh one.

Nothing here looks at how an optimizer computes. It is made, given gradients, stepped, and its weights are read.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from dynamics.errors import InputError
from dynamics.given import shown
from dynamics.probe.drive import SHAPES, Array, Drive


class Refusal(InputError):
    """The optimizer itself raised: it does not take such parameters, gradients or flags."""


@dataclass(frozen=True)
class Place:
    """A parameter as the optimizer sees it: the group that it is in, what it is, its number of dimensions.

    held: it is in a group; a factory may leave some out.
    """

    group: int
    label: str
    ndim: int
    held: bool = True


@dataclass(frozen=True, eq=False)
class Run:
    """What an optimizer did.

    rows: of each parameter that was led the weights after each step, (steps, *shape), in float64; kept: the types of the
    tensors in its state, besides counters; wrote: it wrote into a gradient.
    """

    rows: tuple[Array, ...]
    kept: frozenset[str] = frozenset()
    wrote: bool = False


class Subject(Protocol):
    """An optimizer that can be made anew as often as wanted.

    name: of its class. groups: what each of its parameter groups claims; places: the parameters that it is made for.
    has_rate: its learning rate can be set while it runs.
    """

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def places(self) -> Sequence[Place]: ...

    @property
    def has_rate(self) -> bool: ...

    def run(
        self,
        drives: Mapping[int, Drive],
        dtype: str = "float64",
        absent: Mapping[int, Sequence[int]] = {},
        flags: Mapping[str, Any] = {},
        resumed: int = -1,
    ) -> Run:
        """Lead fresh parameters, those at these places, along drives of equal length; all others get gradients of 0.

        absent: of the parameter at a place the steps at which it has no gradient at all. flags: entries of every group that
        are set before the first step. resumed: the step before which another one takes over, with what the state_dict of the
        first says. Raises Refusal where the optimizer raises.
        """
        ...


@dataclass(frozen=True)
class Torch:
    """A torch optimizer, or whatever has a step and moves the tensors that it was made for.

    make: the optimizer, from one tensor a place. The rest as in `Subject`.
    """

    name: str
    make: Callable[[list[Any]], Any]
    groups: Sequence[Mapping[str, Any]]
    places: Sequence[Place]
    has_rate: bool

    def run(
        self,
        drives: Mapping[int, Drive],
        dtype: str = "float64",
        absent: Mapping[int, Sequence[int]] = {},
        flags: Mapping[str, Any] = {},
        resumed: int = -1,
    ) -> Run:
        """As `Subject.run` says."""
        import torch

        kind = getattr(torch, dtype)
        starts = [drives[k].start if k in drives else np.ones(SHAPES[p.ndim]) for k, p in enumerate(self.places)]
        tensors = [torch.nn.Parameter(torch.tensor(start).to(kind)) for start in starts]
        optimizer, groups = self._fresh(tensors, flags)
        rates = [_number(group.get("lr")) for group in groups]
        rows: dict[int, list[Array]] = {k: [] for k in drives}
        wrote = False
        schedule = next(iter(drives.values()))
        for t in range(schedule.steps):
            if t == resumed:
                saved = called(self.name, "state_dict", partial(_saved, optimizer))
                optimizer, _ = self._fresh(tensors, flags)
                called(self.name, "load_state_dict", partial(optimizer.load_state_dict, saved))
                groups = list(optimizer.param_groups)
            for k, tensor in enumerate(tensors):
                given = drives[k].gradients[t] if k in drives else np.zeros(tensor.shape)
                tensor.grad = None if t in absent.get(k, ()) else torch.tensor(given).to(kind)
            if self.has_rate:
                for group, rate in zip(groups, rates, strict=True):
                    _set_rate(group, rate * schedule.base, float(schedule.multipliers[t]))
            before = {k: copy.deepcopy(tensors[k].grad) for k in drives}
            called(self.name, f"step {t + 1}", partial(_step, optimizer))
            for k, drive in drives.items():
                was, grad = before[k], tensors[k].grad
                wrote |= was is not None and grad is not None and not torch.equal(grad, was)
                rows[k].append(tensors[k].detach().to(torch.float64).numpy().copy())
                if drive.pinned:
                    with torch.no_grad():
                        tensors[k].copy_(torch.tensor(drive.start).to(kind))
        return Run(
            tuple(np.stack(each) for each in rows.values()), _kept(optimizer, [tensors[k] for k in drives]), wrote
        )

    def _fresh(self, tensors: list[Any], flags: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
        optimizer = called(self.name, "cannot be made", lambda: self.make(tensors))
        if callable(getattr(optimizer, "train", None)):  # of those that move weights away to be evaluated
            optimizer.train()
        groups = list(getattr(optimizer, "param_groups", ()))
        for group in groups:
            group.update(flags)
        return optimizer, groups


def called(name: str, what: str, function: Callable[[], Any]) -> Any:
    """What a function of somebody's returns; Refusal where it raises."""
    try:
        return function()
    except Exception as error:
        said = " ".join(str(error).split())
        raise Refusal(f"{name}, {what}: it raises {type(error).__name__} ({shown(said)})") from error


def _saved(optimizer: Any) -> Any:
    return copy.deepcopy(optimizer.state_dict())


def _step(optimizer: Any) -> None:
    """A step, with a closure where one is needed; the gradients are there already."""
    asked = inspect.signature(optimizer.step).parameters.values()
    needs = [p for p in asked if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    optimizer.step(*([lambda: 0.0] if needs else []))


def _number(value: Any) -> float:
    return float(value) if hasattr(value, "__float__") else float("nan")


def _set_rate(group: dict[str, Any], base: float, multiplier: float) -> None:
    """As a scheduler does it: initial_lr stays, lr follows."""
    group["initial_lr"] = base
    if hasattr(group["lr"], "fill_"):
        group["lr"].fill_(base * multiplier)
    else:
        group["lr"] = base * multiplier


def _kept(optimizer: Any, tensors: Sequence[Any]) -> frozenset[str]:
    state = getattr(optimizer, "state", None)
    if not isinstance(state, Mapping):
        return frozenset()
    left, found = [state[tensor] for tensor in tensors if tensor in state], set()
    while left:
        of = left.pop()
        if isinstance(of, Mapping | list | tuple):
            left += of.values() if isinstance(of, Mapping) else of
        elif getattr(of, "ndim", 0) > 0:
            found.add(str(of.dtype).removeprefix("torch."))
    return frozenset(found)
