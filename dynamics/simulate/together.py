"""Many weights that share a loss: one rule over an array of weights, the gradient a function of all of them.

`dynamics.simulate.lanes` advances weights that know nothing of each other, compiled. Here a world computes the gradient itself,
from every weight at once, with NumPy; the update is the same code object.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dynamics.couplings import Coupling, compose, find_coupling
from dynamics.errors import InputError
from dynamics.given import array, function, mapping
from dynamics.rule import Rule
from dynamics.rules import find_rule
from dynamics.simulate import random
from dynamics.simulate.lanes import Trajectory, first_cells, recorded, settings
from dynamics.simulate.schedules import Schedule
from dynamics.words import NUMPY

Gradient = Callable[..., np.ndarray]


def simulate_together(
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
    seed: Any = 0,
    stream: Any = None,
    fields: Sequence[str] = ("w",),
    **hyper: Any,
) -> Trajectory:
    """Advance weights that share a loss to the last step in `record`, keeping `fields` at the recorded steps.

    A rule that looks at a tensor or a matrix takes each number as one of its own.

    Args:
        rule: a name or an object, as `dynamics.rules` has them.
        coupling: a name or an object, as `dynamics.couplings` has them.
        gradient: gradient(w, t) or gradient(w, t, u, z), the loss gradient at the weights w before step t (0, 1, ...),
            of w's shape; u and z are the random numbers that `dynamics.simulate.lanes.simulate` gives a lane of the
            same seed and stream.
        start: the first weights, an array of any shape.
        record: rising step numbers (records,); 0 is the start.
        lr: the learning rate, a number or an array that broadcasts against the weights; None: the rule's default.
        strength: of the regularizer, a number or an array that broadcasts against the weights.
        schedule: multipliers of lr from an array of step numbers (`dynamics.simulate.schedules`); None: 1.
        state: values of state and clock before the first step, for those that shall not be fresh.
        seed: a whole number or an array that broadcasts to w's shape.
        stream: whole numbers that broadcast to w's shape; None: 0, 1, 2, ... in the order of the array.
        fields: of "w" and the rule's state and clock.
        **hyper: the rule's hyperparameters, numbers or arrays that broadcast against the weights.

    Returns:
        The Trajectory: steps (records,) and each field (records, *shape of the weights).

    Raises:
        InputError: for unknown names, values out of range and records out of order.

    Example:
        >>> def apart(w, t):
        ...     return w - w.mean()
        >>> simulate_together("sgd", "none", apart, [0.0, 1.0], record=[0, 1, 50], lr=0.1).w.round(3).tolist()
        [[0.0, 1.0], [0.05, 0.95], [0.497, 0.503]]
    """
    rule, coupling = find_rule(rule), find_coupling(coupling)
    values = settings(rule, {"strength": strength, **({} if lr is None else {"lr": lr}), **hyper})
    held = {} if state is None else {name: array(name, x) for name, x in mapping("state", state).items()}
    cells = first_cells(rule, array("start", start), values, held)
    rate, strength, *given = (x if np.ndim(x) == 0 else array(name, x) for name, x in values.items())
    if not cells[0].size:
        raise InputError(f"start of shape {cells[0].shape}: one weight or more is accepted")
    shape, step = cells[0].shape, compose(rule, coupling, NUMPY)
    for name, value in (values | held).items():
        if not _broadcasts(np.shape(value), shape):
            raise InputError(
                f"{name} of shape {np.shape(value)}: one that broadcasts to the weights', {shape}, is accepted"
            )
    draws = list(inspect.signature(function("gradient", gradient)).parameters)[2:4] == ["u", "z"]
    key = random.as_key(seed, shape, "seed")
    streams = np.arange(key.size).reshape(shape) if stream is None else stream
    streams = random.as_key(streams, shape, "stream")

    def advance(first: int, last: int, multipliers: np.ndarray) -> list[Any]:
        nonlocal cells
        with np.errstate(all="ignore"):  # a weight may diverge; inf and nan are then its result
            for t, multiplier in enumerate(multipliers, first):
                w, *inner = cells
                numbers = [x.reshape(shape) for x in random.uniforms(t, key, streams)] if draws else []
                g = gradient(w, t, *numbers)
                if t == 0 and not _broadcasts(array("what the gradient gives", g).shape, shape):
                    raise InputError(f"gradient of shape {np.shape(g)}: that of the weights, {shape}, is accepted")
                cells = list(step(w, g, inner, rate * multiplier, multiplier, strength, given))
        return cells

    return Trajectory(*recorded(rule, advance, cells, record, schedule, fields))


def _broadcasts(one: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(one, shape) == shape
    except ValueError:
        return False
