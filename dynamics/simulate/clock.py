"""A rule's clock after a number of steps: the steps are taken, so that nothing about a clock is written down twice."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from dynamics.couplings import DOORS, composed
from dynamics.rule import Rule
from dynamics.words import FLOATS

_EVERY = 1_000


def clock_after(rule: Rule, hyper: Mapping[str, float], steps: int, lr: float) -> dict[str, float]:
    """The clock of `rule` after `steps` steps at a constant learning rate `lr`, by field.

    hyper: all its other hyperparameters. A step takes about a microsecond, once: later calls go on from what was found.
    """
    given = tuple(hyper[name] for name in rule.defaults)
    inner = _inner_after(rule, given, steps, lr if rule.clock_follows_lr else rule.lr)
    return {name: inner[rule.inner.index(name)] for name in rule.clock}


@lru_cache(maxsize=1_024)
def _inner_after(rule: Rule, hyper: tuple[float, ...], steps: int, lr: float) -> tuple[float, ...]:
    marks = _marks(rule, hyper, lr)
    while len(marks) <= steps // _EVERY:
        marks.append(_stepped(rule, hyper, lr, marks[-1], _EVERY))
    return _stepped(rule, hyper, lr, marks[steps // _EVERY], steps % _EVERY)


@lru_cache(maxsize=64)
def _marks(rule: Rule, hyper: tuple[float, ...], lr: float) -> list[tuple[float, ...]]:
    """State and clock after every so many steps, as far as was asked."""
    return [rule.fresh(1.0, dict(zip(rule.defaults, hyper, strict=True)))]


def _stepped(
    rule: Rule, hyper: tuple[float, ...], lr: float, inner: tuple[float, ...], steps: int
) -> tuple[float, ...]:
    update = composed(rule, FLOATS)
    for _ in range(steps):
        # Weight and gradient are 1, since some rules divide by what a gradient of 0 leaves at 0.
        inner = update(1.0, 1.0, inner, lr, hyper, *(None for _ in DOORS))[1:]
    return inner
