"""How a subject is made of what a user hands over: an optimizer, a function that makes one, or a transformation of optax."""

from __future__ import annotations

import copy
import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dynamics.errors import InputError
from dynamics.given import shown
from dynamics.probe.claims import DECOUPLES
from dynamics.probe.drive import SHAPES
from dynamics.probe.subject import Place, Refusal, Subject, Torch, called

_ACCEPTED = (
    "an optimizer, a function of parameters or of a network that makes one, or a transformation of optax is accepted"
)
_NETWORKS = ("net", "network", "model", "module")
# What a function of a network is given: names as most networks have them, and kinds by which decays are decided.
_PARTS = (
    ("embedding.weight", 2), ("conv.weight", 4), ("conv.bias", 1), ("norm.weight", 1), ("norm.bias", 1),
    ("layer_norm.weight", 1), ("layer_norm.bias", 1), ("linear.weight", 2), ("linear.bias", 1),
)  # fmt: skip


def find_subject(given: Any) -> Subject:
    """The subject that an optimizer or a factory stands for; InputError for anything else."""
    if _is_transformation(given):
        return _optax(given)
    if callable(getattr(given, "step", None)) and not isinstance(given, type):
        return _live(given)
    if not callable(given):
        raise InputError(f"optimizer {shown(given)}: {_ACCEPTED}")
    asked = _asked(given)
    if asked and asked[0].name in ("learning_rate", "lr"):
        return _optax(given)
    if not asked:
        made = called("the factory", "called without arguments", given)
        if _is_transformation(made):
            return _optax(lambda _: given())
        raise InputError(f"optimizer {shown(given)}, a function without arguments: {_ACCEPTED}")
    return _made(given, asked[0])


def _is_transformation(given: Any) -> bool:
    return (
        isinstance(given, tuple) and callable(getattr(given, "init", None)) and callable(getattr(given, "update", None))
    )


def _asked(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        found = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        raise InputError(f"optimizer {shown(factory)} does not say what it takes: {_ACCEPTED}") from None
    return [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]


def _optax(given: Any) -> Subject:
    from dynamics.probe.transformation import subject_of

    return subject_of(given)


def _tensors(shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    import torch

    return [torch.nn.Parameter(torch.ones(shape, dtype=torch.float64)) for shape in shapes]


def _named(optimizer: Any) -> list[dict[str, Any]]:
    """What groups claim, without their parameters; a flag of the whole optimizer's is one of every group's."""
    groups = getattr(optimizer, "param_groups", None) or [{}]
    own = {name.lstrip("_"): value for name, value in vars(optimizer).items() if isinstance(value, bool)}
    flags = {name: own[name] for name in DECOUPLES if name in own}
    return [flags | {k: v for k, v in group.items() if k not in ("params", "param_names")} for group in groups]


def _has_rate(groups: Sequence[Mapping[str, Any]]) -> bool:
    return bool(groups) and all(hasattr(group.get("lr"), "__float__") for group in groups)


def _made(factory: Callable[..., Any], first: inspect.Parameter) -> Subject:
    """Of a function that makes an optimizer of parameters, or of a network."""
    takes_network = first.name in _NETWORKS or getattr(first.annotation, "__name__", str(first.annotation)).endswith(
        "Module"
    )
    labels = _PARTS if takes_network else tuple((f"{ndim}-D", ndim) for ndim in (1, 2, 4))

    def make(tensors: list[Any]) -> Any:
        found = factory(_network(tensors) if takes_network else tensors)
        if not callable(getattr(found, "step", None)):
            raise InputError(f"the factory made {shown(found)}: {_ACCEPTED}")
        return found

    # All at once, or, where some are not taken, those that are.
    try:
        return _subject(make, labels)
    except Refusal as error:
        if takes_network:
            raise
        taken = [label for label in labels if _takes(make, label)]
        if not taken:
            raise error
        return _subject(make, tuple(taken))


def _takes(make: Callable[[list[Any]], Any], label: tuple[str, int]) -> bool:
    try:
        _subject(make, (label,))
    except Refusal:
        return False
    return True


def _subject(make: Callable[[list[Any]], Any], labels: Sequence[tuple[str, int]]) -> Torch:
    from dynamics.probe.drive import update_drive

    tensors = _tensors([SHAPES[ndim] for _, ndim in labels])
    optimizer = called("the factory", "called with parameters", lambda: make(tensors))
    groups = list(getattr(optimizer, "param_groups", ()))
    where = {id(p): k for k, group in enumerate(groups) for p in group["params"]}
    places = [
        Place(where.get(id(p), 0), label, ndim, id(p) in where or not groups)
        for p, (label, ndim) in zip(tensors, labels, strict=True)
    ]
    if not any(place.held for place in places):
        raise Refusal(f"{_class_of(optimizer)} holds none of the parameters that it is made with")
    found = Torch(_class_of(optimizer), make, _named(optimizer), places, _has_rate(groups))
    first = next(k for k, place in enumerate(places) if place.held)
    drive = update_drive(places[first].ndim, even=True)
    short = type(drive)(drive.start, drive.gradients[:1], drive.multipliers[:1])
    found.run({first: short})  # whether it takes them is known by its first step
    return found


def _class_of(optimizer: Any) -> str:
    return f"{type(optimizer).__module__.partition('.')[0]}.{type(optimizer).__name__}"


def _network(tensors: Sequence[Any]) -> Any:
    from torch import nn

    parts = {
        "embedding": nn.Embedding(2, 2), "conv": nn.Conv2d(1, 1, 1), "norm": nn.BatchNorm2d(1),
        "layer_norm": nn.LayerNorm(1), "linear": nn.Linear(1, 1),
    }  # fmt: skip
    net = nn.ModuleDict(parts)
    for tensor, (label, _) in zip(tensors, _PARTS, strict=True):
        part, name = label.split(".")
        setattr(parts[part], name, tensor)
    return net


def _live(optimizer: Any) -> Subject:
    """Of an optimizer in use: of each of its groups one parameter of each number of dimensions, in a copy without a past."""
    groups = getattr(optimizer, "param_groups", None)
    if not isinstance(groups, list) or not groups:
        raise InputError(f"optimizer {shown(optimizer)} has no parameter groups: a function that makes it is accepted")
    if "step" in vars(optimizer) and not hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        raise InputError(
            f"optimizer {type(optimizer).__name__}, whose step was replaced: a function that makes it is accepted"
        )
    places = [
        Place(k, f"{ndim}-D", ndim)
        for k, group in enumerate(groups)
        for ndim in sorted({min(max(p.ndim, 1), 4) for p in group["params"]})
    ]
    if not places:
        raise InputError(f"optimizer {type(optimizer).__name__} has no parameters: one with parameters is accepted")
    own = [p for group in groups for p in group["params"]]
    before = [p._version for p in own]

    def make(tensors: list[Any]) -> Any:
        made = _without_past(optimizer, places, tensors)
        if [p._version for p in own] != before:
            raise RuntimeError("the optimizer's own parameters were written")
        return made

    claims = [group | {"lr": group.get("initial_lr", group.get("lr"))} for group in _named(optimizer)]
    return Torch(_class_of(optimizer), make, claims, places, _has_rate(groups))


def _without_past(optimizer: Any, places: Sequence[Place], tensors: Sequence[Any]) -> Any:
    """A copy of an optimizer with other parameters, no state and no hooks."""
    of: dict[int, list[Any]] = defaultdict(list)
    for place, tensor in zip(places, tensors, strict=True):
        of[place.group].append(tensor)
    # What the copy must not reach: the parameters, what is known of them, and who listens.
    memo: dict[int, Any] = {id(p): None for group in optimizer.param_groups for p in group["params"]}
    fields = vars(optimizer)
    if "state" in fields:
        memo[id(fields["state"])] = defaultdict(dict)
    kept = {k: v for k, v in fields.items() if k not in ("param_groups", "step") and "hook" not in k}
    made: Any = object.__new__(type(optimizer))
    memo[id(optimizer)] = made
    vars(made).update(copy.deepcopy(kept, memo))
    vars(made).update({k: type(v)() for k, v in fields.items() if "hook" in k and hasattr(v, "clear")})
    groups = []
    for k, group in enumerate(optimizer.param_groups):
        rest = {name: value for name, value in group.items() if name not in ("params", "param_names", "initial_lr")}
        groups.append(copy.deepcopy(rest, memo) | {"params": of[k]})
        if isinstance(group.get("initial_lr"), float) and isinstance(group.get("lr"), float):
            groups[-1]["lr"] = group["initial_lr"]  # a schedule has moved it
    made.param_groups = groups
    return made
