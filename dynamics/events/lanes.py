"""Many lanes from arrival to arrival: what is asked, checked and handed back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from dynamics.couplings import Coupling
from dynamics.errors import InputError
from dynamics.events.adaptive import adaptive_loop
from dynamics.events.flow import tail_rules
from dynamics.events.linear import linear_loop
from dynamics.events.parts import DOORS, gap
from dynamics.rule import Rule
from dynamics.rules import RULES, find_rule
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import prepare
from dynamics.simulate.random import as_key
from dynamics.words import NUMPY, bind

LINEAR = ("sgd", "momentum", "nesterov")
ADAPTIVE = ("adam", "rmsprop")


@dataclass(frozen=True, eq=False)
class Sparse:
    """Where the lanes end; arrays over lanes.

    w: weights. state: the rule's state and clock. bound: on the distance of w from where stepping through the same arrivals
    ends (a bound to first order in errors that are estimated; inf where nearby paths part). evaluations: of the rule or of
    its flow, the bound's own included. arrivals: gradients that came.
    """

    w: np.ndarray
    state: Mapping[str, np.ndarray]
    bound: np.ndarray
    evaluations: np.ndarray
    arrivals: np.ndarray


def sparse(
    rule: str | Rule,
    coupling: str | Coupling | Sequence[str | Coupling],
    *,
    steps: int,
    lanes: Mapping[str, Any],
    start: Any = 1.0,
    seed: Any = 0,
    stream: Any = None,
    threads: int = 1,
) -> Sparse:
    """Advance every lane by `steps` steps of a gradient that arrives with probability `arrival`, else is zero.

    Arguments as those of `simulate` with the gradient `selective`; the learning rate is constant. The arrivals
    of a lane are those of `arrivals`, a function of its seed, stream and arrival probability alone.

    Raises InputError for what simulate refuses, other rules and couplings, an eps of 0, and an arrival outside [0, 1].
    """
    rule = find_rule(rule)
    run = prepare(rule, coupling, selective, dict(lanes), start, {}, seed, stream, None)
    known = any(RULES[name] is rule for name in (*LINEAR, *ADAPTIVE))
    for used in (run.couplings[code] for code in np.unique(run.codes)):
        doors = used.doors.keys()
        if not known or not doors <= set(DOORS) or ("gradient" in doors and len(doors) > 1):
            raise InputError(
                f"{rule.name} with {used.name}: from arrival to arrival go {', '.join((*LINEAR, *ADAPTIVE))} with none, L2 or "
                "decoupled weight decay"
            )
    for what, number, least in (("steps", steps, 0), ("threads", threads, 1)):
        if not isinstance(number, int | np.integer) or not least <= number < 2**32:
            raise InputError(f"{what} {number!r}: a whole number from {least} to 2^32 - 1 is accepted")
    lr, strength, *rest = run.table
    hyper, (arrival, *_) = rest[: len(rule.defaults)], rest[len(rule.defaults) :]
    _in_unit(arrival)
    if "eps" in rule.defaults and not (run.table[2 + list(rule.defaults).index("eps")] > 0).all():
        raise InputError("eps 0: from arrival to arrival an eps above 0 is accepted")
    shares = np.zeros((len(DOORS), len(lr)))
    for code, used in enumerate(run.couplings):
        here = run.codes == code
        for door, share in used.doors.items():
            if door in DOORS and here.any():
                shares[DOORS.index(door)][here] = bind(share, NUMPY)(strength[here], lr[here], 1.0)

    with np.errstate(divide="ignore"):
        table = np.vstack([lr, shares, rest[len(rule.defaults) :], np.log1p(-arrival), *hyper])
    cells, bound = run.cells.copy(), np.zeros(len(lr))
    evaluations, came = np.zeros(len(lr), dtype=np.int64), np.zeros(len(lr), dtype=np.int64)
    if rule.name in LINEAR:
        loop, tails = linear_loop(rule), np.empty((0, 0, 0))
    else:
        beta1 = hyper[list(rule.defaults).index("beta1")] if "beta1" in rule.defaults else np.zeros(len(lr))
        beta2 = hyper[list(rule.defaults).index("beta2" if "beta2" in rule.defaults else "alpha")]
        loop, tails = adaptive_loop(rule), tail_rules(beta1, beta2)
    edges = np.linspace(0, len(lr), min(threads, len(lr)) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        shared = (int(steps), cells, table, tails, run.keys, run.streams, bound, evaluations, came)
        for job in [pool.submit(loop, *shared, low, high) for low, high in pairwise(edges)]:
            job.result()
    return Sparse(cells[0], dict(zip(rule.inner, cells[1:], strict=True)), bound, evaluations, came)


def arrivals(steps: int, arrival: float, *, seed: int = 0, stream: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The steps (0, 1, ...) below `steps` at which a lane's gradient arrives, and its uniform number z in [0, 1) there.

    The gradient of an arrival is pull (w - target) + sigma sqrt(12) (z - 1/2), as in `selective`. Number k
    of a lane is the Threefry call with counter (k, 2): positions 0 and 1 belong to `dynamics.simulate.random`. Gaps beyond
    22 / arrival, one in 2^32, are cut off there.
    """
    _in_unit(np.asarray(arrival, dtype=np.float64))
    key, thread, next_gap = as_key(seed, 1, "seed")[0], as_key(stream, 1, "stream")[0], gap()
    with np.errstate(divide="ignore"):
        log_silent = np.log1p(-np.float64(arrival))
    when: list[float] = []
    drawn: list[float] = []
    t = 0.0
    while True:
        silent, z = next_gap(len(when), key, thread, log_silent)
        t += silent
        if not t < steps:
            return np.array(when, dtype=np.int64), np.array(drawn)
        when.append(t)
        drawn.append(z)
        t += 1


def _in_unit(arrival: np.ndarray) -> None:
    if not ((arrival >= 0) & (arrival <= 1)).all():
        raise InputError(f"arrival {arrival[~((arrival >= 0) & (arrival <= 1))].flat[0]}: in [0, 1] is accepted")
