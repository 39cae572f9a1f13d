"""Many weights that share a loss: one rule over an array of weights, the gradient a function of all of them.

`dynamics.simulate.lanes` advances weights that know nothing of each other, compiled. Here a world computes the gradient itself,
from every weight at once, with NumPy; the update is the same code object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dynamics.couplings import Coupling, compose, find_coupling
from dynamics.errors import InputError
from dynamics.rule import Rule, check
from dynamics.rules import find_rule
from dynamics.simulate.lanes import Trajectory
from dynamics.simulate.schedules import Schedule, constant
from dynamics.words import NUMPY

Gradient = Callable[[np.ndarray, int], np.ndarray]


def descend(
    rule: str | Rule,
    coupling: str | Coupling,
    gradient: Gradient,
    start: Any,
    *,
    record: Sequence[int] | np.ndarray,
    lr: Any = None,
    strength: Any = 0.0,
    schedule: Schedule | None = None,
    state: Mapping[str, Any] | None = None,
    fields: Sequence[str] = ("w",),
    **hyper: Any,
) -> Trajectory:
    """Advance the weights `start`, an array of any shape, to the last step in `record`; fields are (records, *shape).

    gradient(w, t): the loss gradient at the weights w before step t (0, 1, ...), of w's shape. lr (None: the rule's),
    strength and the rule's hyperparameters are numbers or arrays that broadcast against the weights. state: values of
    state and clock before the first step, for those that shall not be fresh. A rule that looks at
    a tensor or a matrix takes each number as one of its own.

    Raises InputError for unknown names, values out of range and records out of order.
    """
    rule, coupling = find_rule(rule), find_coupling(coupling)
    for name in hyper:
        if name not in rule.defaults:
            raise InputError(f"{rule.name} has no hyperparameter {name!r}: it has {', '.join(rule.defaults) or 'none'}")
    for name, value in {"lr": rule.lr if lr is None else lr, "strength": strength, **hyper}.items():
        check(name, float(np.min(value)))
        check(name, float(np.max(value)))
    steps = np.asarray(record)
    if steps.dtype.kind not in "iu" or steps.ndim != 1 or not steps.size or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise InputError(f"record {list(record)[:3]}...: rising step numbers from 0 on are accepted")
    w = np.array(start, dtype=np.float64)
    given = {**rule.defaults, **hyper}
    for name in state or {}:
        if name not in rule.inner:
            raise InputError(f"state {name!r} is unknown: {rule.name} has {', '.join(rule.inner) or 'none'}")
    fresh = zip(rule.inner, rule.fresh(w, given), strict=True)
    inner: Sequence[Any] = [(state or {}).get(name, value) for name, value in fresh]
    names = ("w", *rule.inner)
    for name in fields:
        if name not in names:
            raise InputError(f"field {name!r}: {rule.name} has {', '.join(names)}")
    multipliers = (schedule or constant())(np.arange(steps[-1]))
    rate, step = rule.lr if lr is None else lr, compose(rule, coupling, NUMPY)
    kept = {name: np.empty((len(steps), *w.shape)) for name in fields}
    row = 0
    with np.errstate(all="ignore"):  # a weight may diverge; inf and nan are then its result
        for t in range(int(steps[-1]) + 1):
            if t == steps[row]:
                for name in fields:
                    kept[name][row] = (w, *inner)[names.index(name)]
                row += 1
                if row == len(steps):
                    break
            multiplier = multipliers[t]
            w, *inner = step(
                w, gradient(w, t), tuple(inner), rate * multiplier, multiplier, strength, tuple(given.values())
            )
    return Trajectory(steps.astype(np.int64), kept)
