"""Weights stepped in floats by the rules themselves: what closed forms are held against."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from dynamics.couplings import COUPLINGS, compose
from dynamics.rules import RULES
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import simulate
from dynamics.words import FLOATS

Hyper = dict[str, float]


def stepped(
    rule: str,
    coupling: str,
    gradient: Callable[[float, int], float],
    lr: float,
    strength: float,
    hyper: Mapping[str, float] | None = None,
    start: float = 1.0,
    state: Mapping[str, float] | None = None,
    multiplier: float = 1.0,
) -> Iterator[float]:
    """w_0, w_1, ... under gradient(w, step), fresh but for the fields given in `state`; multiplier: the schedule's, kept."""
    step = compose(RULES[rule], COUPLINGS[coupling], FLOATS)
    values = RULES[rule].hyperparameters(**(hyper or {}))
    fresh = dict(zip(RULES[rule].inner, RULES[rule].fresh(start, values), strict=True)) | dict(state or {})
    w, inner, given = start, tuple(fresh.values()), tuple(values.values())
    for t in itertools.count():
        yield w
        w, *rest = step(w, gradient(w, t), inner, lr, multiplier, strength, given)
        inner = tuple(rest)


def silent_path(rule: str, coupling: str, lr: float, strength: float, *given: Any, **named: Any) -> Iterator[float]:
    """w_0, w_1, ... of a fresh weight without a gradient."""
    return stepped(rule, coupling, lambda w, t: 0.0, lr, strength, *given, **named)


def take(path: Iterator[float], count: int) -> np.ndarray:
    """The first `count` weights."""
    return np.array(list(itertools.islice(path, count)))


def steps_until(path: Iterator[float], target: float, most: int = 300_000) -> int:
    """Steps until |w| <= target; fails if that takes more than `most`."""
    return next(t for t, w in enumerate(itertools.islice(path, most)) if abs(w) <= target)


def noisy(
    rule: str, coupling: Any, record: Any, lanes: int, start: Any = 1.0, seed: int = 0, **given: Any
) -> np.ndarray:
    """Weights (records, lanes) under `selective` gradients; what is not given of them is 0, arrival 1."""
    values = {"arrival": 1.0, "pull": 0.0, "target": 0.0, "sigma": 0.0} | given
    return simulate(
        rule, coupling, selective, record=np.asarray(record), lanes=values, start=start, seed=seed,
        stream=np.arange(lanes),
    ).w  # fmt: skip


def mean_and_error(lanes: np.ndarray) -> tuple[float, float]:
    """Mean over independent lanes and its standard error, each lane being its own mean over records."""
    own = lanes.mean(axis=0)
    return float(own.mean()), float(own.std(ddof=1) / np.sqrt(own.size))
