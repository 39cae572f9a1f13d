"""The update rules: one step of one weight, in the notation of their papers.

gradient    sgd, momentum, nesterov
squares     adagrad, adadelta, rmsprop, rmsprop_momentum, rmsprop_centered
moments     adam, amsgrad, adamax, nadam, radam, adabelief, adan
signs       lion
averaging   schedule_free
tensors     lars, lamb (norms of a tensor), muon (a matrix)

Each is arithmetic plus the words of `dynamics.words`, and runs unchanged over Python floats, NumPy arrays, sympy
symbols, torch tensors and inside the compiled kernel. None knows about regularization: that is `dynamics.couplings`.
w weight, g gradient; every file names its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.rules.averaging import schedule_free
from dynamics.rules.gradient import momentum, nesterov, sgd
from dynamics.rules.moments import adabelief, adam, adamax, adan, amsgrad, nadam, radam
from dynamics.rules.signs import lion
from dynamics.rules.squares import adadelta, adagrad, rmsprop, rmsprop_centered, rmsprop_momentum
from dynamics.rules.tensors import lamb, lars, muon

_ALL = (
    *(sgd, momentum, nesterov),
    *(adagrad, adadelta, rmsprop, rmsprop_momentum, rmsprop_centered),
    *(adam, amsgrad, adamax, nadam, radam, adabelief, adan),
    *(lion, schedule_free, lars, lamb, muon),
)
RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in _ALL})


def find_rule(rule: str | Rule) -> Rule:
    """The rule of that name (a Rule is handed back as it is); InputError for an unknown name."""
    if isinstance(rule, Rule):
        return rule
    if rule not in RULES:
        raise InputError(f"optimizer {rule!r} is unknown: accepted are {', '.join(RULES)}")
    return RULES[rule]
