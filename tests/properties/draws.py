"""Which rules and couplings are compared; what hypothesis draws of their settings is public, in undertow.testing."""

from __future__ import annotations

from dynamics.couplings import COUPLINGS
from dynamics.rules import RULES
from undertow.testing.strategies import RANGES, hyperparameters, multipliers, rates, strengths

__all__ = ["FEW", "PAIRS", "RANGES", "hyperparameters", "multipliers", "rates", "strengths"]

# Every rule and every coupling, each in enough company: all 160 pairs are compared in test_five_executions, whose five
# ways of composing are the one that is used elsewhere. SGD is linear, Adam rescales, LAMB reads the whole tensor,
# schedule-free takes the pull within its step.
PAIRS = [(rule, "l2") for rule in RULES]
PAIRS += [(r, c) for r in ("sgd", "adam", "lamb", "schedule_free") for c in COUPLINGS if c != "l2"]

# For tests of the loop around the step, which takes a second to compile for every rule: without state; with a clock; with one
# that follows lr and a field that starts at the weight. The text of that loop depends on a rule by its fields alone.
FEW = ("sgd", "adam", "schedule_free")
