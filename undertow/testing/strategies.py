"""What hypothesis draws: rules, couplings, and settings in ranges where float64 can be held to 1e-12.

The memory of squares stays below 0.999, because 1 - beta2^t loses as many digits as it is small, and above 0.5, because
a step divided by the last gradient alone magnifies what rounding leaves where gradient and pull nearly cancel: in every
implementation alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from dynamics.couplings import COUPLINGS
from dynamics.given import whole
from dynamics.rules import RULES, find_rule

RANGES: Mapping[str, st.SearchStrategy[float]] = {
    "momentum": st.floats(0.01, 0.99),
    "alpha": st.floats(0.5, 0.999),
    "rho": st.floats(0.5, 0.999),
    "beta1": st.floats(0.0, 0.99),
    "beta2": st.floats(0.5, 0.999),
    "beta3": st.floats(0.5, 0.999),
    "momentum_decay": st.floats(0.0, 0.05),
    "initial_accumulator": st.floats(0.0, 1.0),
    "trust": st.floats(1e-3, 0.1),
    "eps": st.sampled_from([1e-10, 1e-8, 1e-4, 1e-1]),
}
rates = st.floats(1e-4, 0.3)
strengths = st.floats(1e-5, 0.5)
multipliers = st.floats(0.01, 1.0)


def rules() -> st.SearchStrategy[str]:
    """Names of rules."""
    return st.sampled_from(sorted(RULES))


def couplings() -> st.SearchStrategy[str]:
    """Names of couplings."""
    return st.sampled_from(sorted(COUPLINGS))


def hyperparameters(rule: str) -> st.SearchStrategy[dict[str, float]]:
    """All hyperparameters of the rule, in its own spelling and order, without lr and strength.

    Raises InputError for an unknown rule.
    """
    names = find_rule(rule).defaults
    # fixed_dictionaries does not promise an order.
    return st.fixed_dictionaries({name: RANGES[name] for name in names}).map(lambda drawn: {n: drawn[n] for n in names})


def schedules(steps: int) -> st.SearchStrategy[NDArray[np.float64]]:
    """The schedule's part of the learning rate at each step, (steps,): 1 at first, above 0 throughout."""
    count = whole("steps", steps, 1)
    return st.lists(multipliers, min_size=count, max_size=count).map(lambda drawn: np.array([1.0, *drawn[1:]]))


@st.composite
def gradients(draw: st.DrawFn, steps: int, weights: int = 6) -> NDArray[np.float64]:
    """(steps, weights): noise about a mean that differs by weight; a fifth of it exactly 0, as of a selective feature."""
    shape = whole("steps", steps, 1), whole("weights", weights, 1)
    random: Any = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = random.normal(size=shape) + np.linspace(-1, 1, weights)
    found: NDArray[np.float64] = noise * (random.uniform(size=shape) > 0.2)
    return found
