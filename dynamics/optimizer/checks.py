"""What an optimizer is given, checked before anything is changed: parameters, a group's settings, a state_dict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from numbers import Real
from operator import is_
from typing import Any

import torch
from torch import nn

from dynamics.couplings import Coupling
from dynamics.errors import InputError
from dynamics.given import flag, number, shown
from dynamics.rule import Rule, check

BETAS = ("beta1", "beta2", "beta3")
# In eval mode, the gradient point that train mode goes back to.
POINT = "gradient_point"
# What the words of a step are made for in torch.
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex128, torch.complex64)

# A schedule that ends at 0 may leave an lr that is so far below it, by rounding in float32.
_ROUNDING = 1e-7


class _WrongType(InputError, TypeError):
    """What torch calls a TypeError, so that it is caught as either."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """torch's refusals of parameters and groups as InputError, on one line; `what` is accepted."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError) as error:
        raise InputError(f"{type(error).__name__} {error}: {what} is accepted") from error
    except (TypeError, ValueError) as error:
        kind = _WrongType if isinstance(error, TypeError) else InputError
        raise kind(f"{' '.join(str(error).split())}; {what} is accepted") from error


def flags(rule: Rule) -> dict[str, bool]:
    """The settings of a group that are True or False, as they are where nothing is said."""
    return {"maximize": False, "capturable": False} | ({"train_mode": True} if rule.average else {})


def hyperparameters(rule: Rule, group: Mapping[str, Any]) -> dict[str, float]:
    """The rule's hyperparameters by their own names, as a group has them."""
    betas = dict(zip(BETAS, group["betas"], strict=False)) if "beta1" in rule.defaults else {}
    return {name: float(betas[name] if name in betas else group[name]) for name in rule.defaults}


def plain(name: str, value: Any) -> float:
    """A number, or a tensor of one, as Python's; infinite and NaN ones are left for `check`."""
    if torch.is_tensor(value):
        if value.numel() != 1:
            raise InputError(f"Tensor {name} must be 1-element, its shape is {tuple(value.shape)}")
        if value.is_complex() or value.dtype == torch.bool or value.is_meta:
            raise InputError(f"{name}, a tensor of {value.dtype} on {value.device}: one real number is accepted")
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} {shown(value)} is no number: a number is accepted")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_group(rule: Rule, coupling: Coupling, group: Mapping[str, Any]) -> None:
    """InputError for a setting of a group that the rule and the coupling cannot take."""
    for name in flags(rule):
        flag(name, group[name])
    wanted = [name for name in BETAS if name in rule.defaults]
    betas = group.get("betas", ())
    if wanted and (not isinstance(betas, tuple | list) or len(betas) != len(wanted)):
        words = {2: "a pair", 3: "a triple"}[len(wanted)]
        raise InputError(f"betas {shown(betas)}: {words} of numbers in [0, 1) is accepted")
    check("lr", plain("lr", group["lr"]))
    if "base_lr" in group:
        number("base_lr", group["base_lr"], 0)
    values = {**group, **dict(zip(wanted, betas, strict=False))}
    found = {}
    for name in ("weight_decay", *rule.defaults):
        if torch.is_tensor(values[name]):
            raise InputError(f"{name} {shown(values[name])}: a number is accepted; only lr may be a tensor")
        found[name] = plain(name, values[name])
    strength = check("strength", found.pop("weight_decay"))
    if strength and not coupling.doors:
        raise InputError(f"weight_decay {strength} with coupling none: name the one it shall enter by")
    rule.hyperparameters(**found)


def check_step(rule: Rule, coupling: Coupling, group: Mapping[str, Any], passed: Sequence[Any]) -> list[Any]:
    """InputError for what was written into a group since, by a scheduler or by hand, and cannot be taken.

    The number in an lr that is a tensor is not read, since that waits for its device. passed: what the last check of the
    group gave; the same objects are not checked again.
    """
    lr = group.get("lr")
    if torch.is_tensor(lr) and lr.numel() == 1:
        lr = 0.0
    elif not isinstance(lr, float) or not -_ROUNDING < lr < math.inf:
        check("lr", plain("lr", lr))
    names = ("weight_decay", "base_lr", *flags(rule), *_own(rule))
    values = [group.get(name) for name in names]
    if len(values) != len(passed) or not all(map(is_, values, passed)) or isinstance(group.get("betas"), list):
        check_group(rule, coupling, {**dict(zip(names, values, strict=True)), "lr": 0.0})
    return values


def _own(rule: Rule) -> list[str]:
    """The rule's hyperparameters as a group has them."""
    return list(dict.fromkeys("betas" if name in BETAS else name for name in rule.defaults))


def check_parameter(rule: Rule, p: torch.Tensor) -> None:
    """InputError for a tensor that the rule cannot step on."""
    if p.dtype not in _DTYPES or p.layout != torch.strided:
        accepted = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
        raise InputError(f"parameter of {p.dtype}, {p.layout}: dense ones of {accepted} are accepted")
    if rule.unit == "matrix" and isinstance(p, nn.UninitializedParameter):
        raise InputError(f"parameter of a lazy module before its first pass: {rule.name} accepts real matrices")
    if rule.unit == "matrix" and (p.ndim != 2 or p.is_complex()):
        kind = "complex parameter" if p.is_complex() else "parameter"
        raise InputError(f"{kind} of shape {tuple(p.shape)}: {rule.name} accepts real matrices, that is 2 dimensions")


def loadable(
    rule: Rule, coupling: Coupling, param_groups: list[dict[str, Any]], state_dict: Any
) -> dict[str, dict[Any, Any] | list[dict[str, Any]]]:
    """The state_dict as this optimizer can take it: flags that it lacks at their defaults, clocks as numbers, tensors copied.

    What it has beside (another torch's settings) stays. param_groups: the optimizer's own. Raises InputError for anything
    else than a whole state_dict of this rule for these groups.
    """
    groups, states = _parts(state_dict)
    if len(groups) != len(param_groups):
        count = f"{len(groups)}, this optimizer has {len(param_groups)}"
        raise InputError(f"loaded state dict has a different number of parameter groups: {count}")
    for saved, own in zip(groups, param_groups, strict=True):
        if len(saved["params"]) != len(own["params"]):
            sizes = f"{len(saved['params'])} parameters for {len(own['params'])}"
            raise InputError(
                f"loaded state dict contains a parameter group that doesn't match the size of optimizer's group: {sizes}"
            )
        _check_names(saved, own)
    keys = list(chain.from_iterable(group["params"] for group in groups))
    params = list(chain.from_iterable(group["params"] for group in param_groups))
    known = dict(zip(keys, params, strict=True))
    if len(known) != len(set(params)):
        raise InputError("state_dict that names two parameters alike: a name for each is accepted")
    found: dict[Any, dict[str, Any]] = {}
    for key, state in states.items():
        if not isinstance(state, dict) or (state and key not in known):
            raise InputError(
                f"state_dict with the state {shown(key)}: a dictionary for each of its parameters is accepted"
            )
        if state:  # torch makes an empty one where somebody looks
            found[key] = _state(rule, known[key], state)
    return {**state_dict, "state": found, "param_groups": [_group(rule, coupling, group, found) for group in groups]}


def _parts(state_dict: Any) -> tuple[list[dict[str, Any]], dict[Any, Any]]:
    """The groups and the states of what has the form of a state_dict."""
    if isinstance(state_dict, dict):
        groups, states = state_dict.get("param_groups"), state_dict.get("state")
        if isinstance(states, dict) and isinstance(groups, list | tuple):
            params = [group.get("params") if isinstance(group, dict) else None for group in groups]
            if all(isinstance(each, list | tuple) and all(isinstance(k, int | str) for k in each) for each in params):
                return list(groups), states
    words = "what the state_dict() of an optimizer gives, with its param_groups and state, is accepted"
    raise InputError(f"state_dict of type {type(state_dict).__name__} and another form: {words}")


def _check_names(saved: dict[str, Any], own: dict[str, Any]) -> None:
    """State goes by place, so names in another order are of state that would go to other parameters."""
    names, here = saved.get("param_names"), own.get("param_names")
    if names is None:
        return
    if not isinstance(names, list | tuple) or len(names) != len(own["params"]):
        raise InputError(f"state_dict's param_names {shown(names)}: a list of {len(own['params'])} names is accepted")
    if here is not None and list(names) != list(here) and sorted(map(str, names)) == sorted(map(str, here)):
        raise InputError(
            f"state_dict of parameters in the order {shown(names)}: that of this optimizer, {shown(here)}, is accepted"
        )


def _group(rule: Rule, coupling: Coupling, saved: dict[str, Any], states: dict[Any, Any]) -> dict[str, Any]:
    group = {**flags(rule), **saved}
    if rule.average and "train_mode" not in saved:
        group["train_mode"] = not any(POINT in states.get(key, ()) for key in saved["params"])
    for name in ("lr", "weight_decay", *_own(rule)):
        if name not in group:
            raise InputError(f"state_dict without {name!r}: one of {rule.name} is accepted")
    lr = plain("lr", group["lr"])
    check_group(rule, coupling, group | ({"lr": 0.0} if -_ROUNDING < lr < 0 else {}))
    return {"base_lr": max(lr, 0.0), **group}


def _state(rule: Rule, p: torch.Tensor, state: dict[str, Any]) -> dict[str, Any]:
    if set(state) - ({POINT} if rule.average else set()) != set(rule.inner):
        kept = ", ".join(sorted(map(str, state)))
        own = ", ".join(rule.inner) or "none"
        raise InputError(f"state_dict with the state {kept}: {rule.name} has {own}")
    # torch would round a clock to the parameter's dtype: it goes through as Python's numbers.
    return {
        name: number(f"state_dict's {name}", plain(f"state_dict's {name}", x))
        if name in rule.clock
        else _copy(name, p, x)
        for name, x in state.items()
    }


def _copy(name: str, p: torch.Tensor, x: Any) -> torch.Tensor:
    """A copy of a saved tensor in the parameter's dtype; torch would keep a complex one in its own."""
    what = type(x).__name__
    if torch.is_tensor(x):
        what = f"{x.dtype}, {x.layout}, of shape {tuple(x.shape)} on {x.device.type}"
        kind = x.is_complex() if p.is_complex() else x.is_floating_point()
        if kind and x.shape == p.shape and x.layout == torch.strided and x.is_meta == p.is_meta:
            return x.detach().to(p.dtype, copy=True)
    words = "complex" if p.is_complex() else "real"
    raise InputError(f"state_dict's {name} is {what}: a {words} tensor of shape {tuple(p.shape)} is accepted")
