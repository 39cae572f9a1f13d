"""What hypothesis draws: settings of a rule and a regularizer in ranges where float64 can be held to 1e-12.

The memory of squares stays below 0.999, because 1 - beta2^t loses as many digits as it is small, and above 0.5, because
a step divided by the last gradient alone magnifies what rounding leaves where gradient and pull nearly cancel: in every
implementation alike.
"""

from __future__ import annotations

from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS
from dynamics.rules import RULES

# Every rule and every coupling, each in enough company: all 160 pairs are compared in test_five_executions, whose five
# ways of composing are the one that is used elsewhere. SGD is linear, Adam rescales, LAMB reads the whole tensor,
# schedule-free takes the pull within its step.
PAIRS = [(rule, "l2") for rule in RULES]
PAIRS += [(r, c) for r in ("sgd", "adam", "lamb", "schedule_free") for c in COUPLINGS if c != "l2"]

# For tests of the loop around the step, which takes a second to compile for every rule: without state; with a clock; with one
# that follows lr and a field that starts at the weight. The text of that loop depends on a rule by its fields alone.
FEW = ("sgd", "adam", "schedule_free")

RANGES = {
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


def hyperparameters(rule: str) -> st.SearchStrategy[dict[str, float]]:
    """All hyperparameters of the rule, in its own spelling and order."""
    names = RULES[rule].defaults
    # fixed_dictionaries does not promise an order.
    return st.fixed_dictionaries({name: RANGES[name] for name in names}).map(lambda drawn: {n: drawn[n] for n in names})
