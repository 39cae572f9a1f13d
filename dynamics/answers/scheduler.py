"""A live torch scheduler read ahead: the learning rate of every param group at each step of a run.

Its copy is stepped, on an optimizer of single numbers; the scheduler and its own optimizer stay as they are.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np

from dynamics.answers.schedule import EXACT, Plan, counted
from dynamics.errors import InputError
from dynamics.given import shown, whole


def rates(scheduler: Any, optimizer: Any, steps: int, every: int = 1) -> np.ndarray:
    """The learning rates of the next `steps` steps, (steps, groups).

    Args:
        scheduler: of torch.optim.lr_scheduler, but ReduceLROnPlateau, which does not know its steps before they are taken.
        optimizer: the one that it schedules.
        steps: of the optimizer, from 1 to 2^20.
        every: steps of the optimizer in one of the scheduler; those of an epoch if it is stepped once an epoch.

    Returns:
        Rates (steps, groups), from where the scheduler stands.

    Raises:
        InputError: for another object, for another's scheduler, for one that ends before the run does.

    Example:
        >>> import torch
        >>> adam = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))], lr=0.1)
        >>> rates(torch.optim.lr_scheduler.StepLR(adam, 2, 0.5), adam, 5)[:, 0].tolist()
        [0.1, 0.1, 0.05, 0.05, 0.025]
    """
    from torch.optim import lr_scheduler

    whole("every", every, 1)
    whole("steps", steps, 1, EXACT)
    if not isinstance(scheduler, lr_scheduler.LRScheduler):
        raise InputError(f"scheduler {shown(scheduler)}: one of torch.optim.lr_scheduler is accepted")
    held = _parts(scheduler)
    if any(isinstance(part, lr_scheduler.ReduceLROnPlateau) for part in held):
        raise InputError(
            "ReduceLROnPlateau follows a loss that is not known before the run: another scheduler is accepted"
        )
    if any(part.optimizer is not optimizer for part in held):
        raise InputError(f"{type(scheduler).__name__} is the scheduler of another optimizer than the one to be read")
    tiny = _tiny(optimizer)
    found = np.empty((steps, len(tiny.param_groups)))
    try:
        # What in the copy would be the optimizer is the tiny one.
        ahead = copy.deepcopy(scheduler, {id(optimizer): tiny})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an optimizer that was never stepped
            for t in range(steps):
                if t and t % every == 0:
                    ahead.step()
                found[t] = [float(group["lr"]) for group in tiny.param_groups]
    except Exception as error:  # a scheduler may hold functions of the user's own, which may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"{type(scheduler).__name__} over {steps:,} steps failed ({reason}); fewer steps are accepted"
        ) from error
    if not (np.isfinite(found).all() and (found >= 0).all()):
        raise InputError(
            f"{type(scheduler).__name__} gives a learning rate below 0, or none: finite ones from 0 are accepted"
        )
    return found


def plan_of(scheduler: Any, steps: int, of_group: np.ndarray) -> tuple[Plan, float]:
    """The schedule of one group, its rates being (steps,), and their peak: multipliers are of the largest."""
    peak = float(of_group.max())
    multipliers = of_group / peak if peak else np.ones(steps)
    top = int(of_group.argmax()) if of_group[0] < peak else 0
    rises = f", the first {top:,} of them warmup" if top else ""
    said = f"{type(scheduler).__name__}, {counted(steps, 'step')}{rises}"
    return Plan(said, steps, top, lambda t: multipliers[np.asarray(t, dtype=np.int64)]), peak


def _parts(scheduler: Any) -> list[Any]:
    """The scheduler and all that it is made of."""
    return [scheduler, *(inner for part in getattr(scheduler, "_schedulers", ()) for inner in _parts(part))]


def _tiny(optimizer: Any) -> Any:
    """An optimizer with as many groups, each of one number, and with their values: schedulers read and write them."""
    import torch

    groups = []
    for group in optimizer.param_groups:
        values = {name: _plain(value) for name, value in group.items() if name not in ("params", "param_names")}
        groups.append({**values, "params": [torch.nn.Parameter(torch.zeros(1))]})
    tiny = torch.optim.SGD(groups, lr=0.0)
    tiny.defaults.update({name: _plain(value) for name, value in optimizer.defaults.items()})
    return tiny


def _plain(value: Any) -> Any:
    """A learning rate that is a tensor, as a number."""
    return float(value) if hasattr(value, "item") and value.numel() == 1 else value
