"""How hard a regularizer pulls while gradients come and go: measured on the rule itself.

The pull is the share of a weight that the regularizer takes off a step. It is measured between lanes with the same
gradients, started at w and -w: their distance shrinks by the regularizer alone, and the gradients' noise cancels. A rule
that by itself moves the two differently (a step relative to the weight's size) is compared with itself unregularized.
Before, the rule runs without a regularizer until its running means have settled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics import rules
from dynamics.answers.setting import Setting
from dynamics.errors import InputError
from dynamics.given import number
from dynamics.rule import BELOW_ONE, RANGES
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import simulate
from dynamics.theory.closed import critical_arrival

SEEDS, LANES = 8, 24
# Sizes of weights and gradients whose squares, and the means of these, a float holds.
SMALLEST, LARGEST = 1e-100, 1e100
# Steps to settle, in memories of the slowest running mean; and the longest that is waited for.
_MEMORIES, _LONGEST = 4.0, 50_000
# The shortest and the longest time over which a pull is looked at.
_SHORT, _LONG = 300, 20_000
# The shortest look, of which buffers take the first quarter.
GLANCE = (_SHORT // 4, _SHORT)
# A rule that by itself brings two weights together by less than this part of the pull counts as one that does not.
_NOTHING = 1e-6


@dataclass(frozen=True)
class Gradients:
    """Zero-mean gradients that arrive with probability `arrival` and then have the root mean square `rms`."""

    rms: float
    arrival: float = 1.0

    def __post_init__(self) -> None:
        number("gradient rms", self.rms, SMALLEST, LARGEST)
        if not 0 < number("arrival", self.arrival) <= 1:
            raise InputError(f"arrival {self.arrival!r}: a number in (0, 1] is accepted")


def memory(setting: Setting) -> float:
    """Steps over which the slowest running mean of a rule forgets; 1 for a rule that has none."""
    kept = [value for name, value in setting.hyper.items() if RANGES[name] is BELOW_ONE]
    return max([1.0, *(-1 / math.log(value) for value in kept if value > 0)])


def settling(setting: Setting) -> int:
    """Steps after which running means have settled."""
    return min(_LONGEST, math.ceil(_MEMORIES * memory(setting)) + 10)


def formula_rate(setting: Setting, gradients: Gradients) -> float | None:
    """The pull by closed form, to first order in the strength; None where there is none for these gradients.

    Decoupled: the share itself. L2: lr strength for SGD, over 1 - momentum with a buffer; over rms sqrt(arrival) + eps for
    rules that divide by the root of a mean that forgets, for arrivals of at least 20 times the critical one. Through a
    buffer, or a running mean of gradients, only a pull that is slow beside it is a share of the weight. Source:
    Loshchilov, Hutter, arXiv 1711.05101, with arrival added here.
    """
    rule, coupling, hyper = setting.rule, setting.coupling, setting.hyper
    for share in (coupling.before, coupling.after):
        if share is not None:
            return None if rule.takes_pull else float(share(setting.strength, setting.lr, 1.0))
    if coupling.gradient is None:
        return None
    rate = setting.lr * setting.strength / (1 - hyper.get("momentum", 0.0))
    # For these three 1 / (1 - momentum) is proved; another rule may mean something else by a momentum.
    if rule in (rules.sgd, rules.momentum, rules.nesterov):
        return rate if _slow(rate, hyper.get("momentum", 0.0)) else None
    if rule.divides_by != "mean" or gradients.arrival < 20 * critical_arrival(hyper[rule.memory]):
        return None
    rate /= gradients.rms * math.sqrt(gradients.arrival) + hyper["eps"]
    return rate if _slow(rate, max(hyper.get("momentum", 0.0), hyper.get("beta1", 0.0))) else None


def sees_gradients(setting: Setting) -> bool:
    """Whether the pull may change with the size of the gradients, by where it goes: through a rule that is linear in them,
    or past the rule, off the weight itself, it cannot."""
    rule, coupling = setting.rule, setting.coupling
    if coupling.cautious is not None or coupling.sign is not None:
        return True
    return rule.adaptive and (coupling.gradient is not None or rule.takes_pull)


def _slow(rate: float, momentum: float) -> bool:
    # The slow root of a heavy ball is 1 - rate - momentum rate^2 / (1 - momentum) - ...: its first term within a tenth.
    return rate * momentum <= 0.1 * (1 - momentum)


def pull_rates(
    setting: Setting, rms: Any, arrival: Any, weight: Any, *, after: int | None = None, looks: Sequence[int] = ()
) -> np.ndarray:
    """The share of a weight of size `weight` that the regularizer takes off a step, (intervals, points, seeds).

    rms, arrival, weight: numbers, or arrays over points. after: steps without the regularizer before (None: until running
    means have settled). looks: steps of the regularizer, rising, between which it is measured; if none are given, one
    interval that ends when the strongest pull has taken a fifth and begins when buffers carry the pull, a quarter of the
    way. A share is -log(what is left) a step, NaN where lanes from w and -w have passed each other: there the pull is no
    share of the weight.
    """
    rms, arrival, weight = (
        np.asarray(x, dtype=np.float64) for x in np.broadcast_arrays(np.atleast_1d(rms), arrival, weight)
    )
    pairs = _settled(setting, rms, arrival, weight, settling(setting) if after is None else after)
    strength = setting.strength
    if looks:
        return _shares(_apart(pairs, looks, strength), _apart(pairs, looks, 0.0), looks)
    own = _apart(pairs, GLANCE, 0.0)
    shares = _shares(_apart(pairs, GLANCE, strength), own, GLANCE)
    rate = np.nanmax(np.abs(shares), initial=0.0)
    over = int(min(max(0.2 / max(rate, 1e-12), _SHORT), _LONG))
    if over == _SHORT:
        return shares
    looks = (over // 4, over)
    # Most rules by themselves leave the distance as it is: their longer look needs no run without the regularizer.
    alone = np.all(np.abs(_shares(own, own[:1], GLANCE)) <= _NOTHING * np.abs(shares))
    return _shares(_apart(pairs, looks, strength), own[:1] if alone else _apart(pairs, looks, 0.0), looks)


@dataclass(frozen=True)
class _Pairs:
    """Lanes (points x seeds x lanes), once from w and once from -w, with settled state."""

    setting: Setting
    start: np.ndarray
    state: dict[str, np.ndarray]
    lanes: dict[str, Any]
    points: int


def _draws(phase: int, points: int, times: int) -> dict[str, Any]:
    """Every point and both signs see the same gradients."""
    count = SEEDS * LANES
    return {
        "seed": np.tile(phase * 1_000 + np.arange(count) // LANES, points * times),
        "stream": np.tile(np.arange(count), points * times),
    }


def _settled(setting: Setting, rms: np.ndarray, arrival: np.ndarray, weight: np.ndarray, after: int) -> _Pairs:
    rule, each = setting.rule, SEEDS * LANES
    lanes: dict[str, Any] = {"lr": setting.lr, "pull": 0.0, "target": 0.0} | dict(setting.hyper)
    lanes |= {"arrival": np.repeat(arrival, each), "sigma": np.repeat(rms, each)}
    size, fields = np.repeat(weight, each), ("w", *rule.inner)
    draws = _draws(1, len(rms), 1)
    found = simulate(rule, "none", selective, record=[after], lanes=lanes, start=size, fields=fields, **draws).fields
    start = np.concatenate([size, -size])
    state = {}
    for name in rule.inner:
        value = found[name][0]
        # A field that started at the weight keeps its distance from it.
        own = rule.starts.get(name) == "w"
        state[name] = np.tile(value - found["w"][0], 2) + start if own else np.tile(value, 2)
    lanes |= {name: np.tile(lanes[name], 2) for name in ("arrival", "sigma")}
    return _Pairs(setting, start, state, lanes, len(rms))


def _apart(pairs: _Pairs, looks: Sequence[int], strength: float) -> np.ndarray:
    """The mean distance between the lanes from w and from -w, (looks, points, seeds)."""
    lanes = pairs.lanes | {"strength": strength}
    shared: dict[str, Any] = {"record": looks, "lanes": lanes, "start": pairs.start, "state": pairs.state}
    draws = _draws(2, pairs.points, 2)
    path = simulate(pairs.setting.rule, pairs.setting.coupling, selective, **shared, **draws).w
    path = path.reshape(len(looks), 2, pairs.points, SEEDS, LANES)
    distance: np.ndarray = (path[:, 0] - path[:, 1]).mean(axis=3)
    return distance


def _shares(pulled: np.ndarray, own: np.ndarray, looks: Sequence[int]) -> np.ndarray:
    """What the regularizer takes off a step of distances `pulled`, those without it being `own`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: np.ndarray = -np.diff(np.log(pulled / own), axis=0) / np.diff(looks)[:, None, None]
    return shares
