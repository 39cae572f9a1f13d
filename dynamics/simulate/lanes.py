"""Lanes x steps: many weights at once, each with its own hyperparameters, under one rule and one kind of gradient.

A lane is one weight. Everything about it (learning rate, strength, coupling, selectivity, seed, ...) is an entry of an
array over lanes, so that a sweep is one run. States are kept at the recorded steps only: memory grows with
lanes x records, never with steps. The compiled run equals the NumPy run of the same rule to the last bit, for every
block size and thread count.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, pairwise, repeat
from typing import Any

import numpy as np

from dynamics.couplings import DOORS, Coupling, composed, find_coupling
from dynamics.errors import InputError
from dynamics.given import among, array, flag, function, items, mapping, shown, whole
from dynamics.room import check_room
from dynamics.rule import RANGES, Rule, check
from dynamics.rules import find_rule
from dynamics.simulate import random
from dynamics.simulate.gradients import silent
from dynamics.simulate.kernel import draws, kernel, open_doors, parameters, served
from dynamics.simulate.schedules import Schedule, constant
from dynamics.words import NUMPY, bind

# Multipliers are computed for this many steps at a time, so that a long schedule costs no memory.
_STRETCH = 16_384
# Weight-steps that a thread takes at a time, a tenth of a second or so: while it does, Ctrl-C waits.
_AT_ONCE = 10_000_000
# More threads than any machine has cores, and more lanes at a time than its caches hold, are slips of the hand.
THREADS, _BLOCK = 1_024, 2**31 - 1


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What was recorded: steps (records,) and, for each field asked for, an array (records, lanes).

    passed: the first step after which abs(w) <= the floor that was watched, (lanes,); inf where there was none, None if
    nothing was watched.
    """

    steps: np.ndarray
    fields: Mapping[str, np.ndarray]
    passed: np.ndarray | None = None

    @property
    def w(self) -> np.ndarray:
        """The weights, (records, lanes)."""
        return self.fields["w"]


@dataclass(frozen=True, eq=False)
class Run:
    """Everything one run needs, as arrays over lanes; cells (w, state and clock; lanes) and passed are what advances."""

    rule: Rule
    gradient: Callable[..., Any]
    couplings: tuple[Coupling, ...]
    codes: np.ndarray
    cells: np.ndarray
    table: np.ndarray
    streams: np.ndarray
    keys: np.ndarray
    levels: np.ndarray
    passed: np.ndarray
    watch: bool

    @property
    def uniform(self) -> bool:
        """Whether all lanes share the rule's clock, and so whatever it depends on."""
        hyper = self.table[2 : 2 + len(self.rule.defaults)]
        paces = self.table[:1] if self.rule.clock_follows_lr else self.table[:0]
        clock = self.cells[1 + len(self.rule.state) :]
        return all(bool((rows == rows[:, :1]).all()) for rows in (hyper, paces, clock))


def simulate(
    rule: str | Rule,
    coupling: str | Coupling | Sequence[str | Coupling],
    gradient: Callable[..., Any] = silent,
    *,
    record: Sequence[int] | np.ndarray,
    lanes: Mapping[str, Any] | None = None,
    start: Any = 1.0,
    state: Mapping[str, Any] | None = None,
    schedule: Schedule | None = None,
    seed: Any = 0,
    stream: Any = None,
    fields: Sequence[str] = ("w",),
    watch: Any = None,
    threads: int = 1,
    block: int = 128,
    compiled: bool = True,
) -> Trajectory:
    """Advance every lane to the last step in `record`, keeping `fields` at the recorded steps.

    A lane is one weight. The number of lanes is that of the longest array given; a number stands for all lanes.

    Args:
        rule: a name or an object, as `dynamics.rules` has them.
        coupling: a name or an object, as `dynamics.couplings` has them; one for all lanes or one a lane.
        gradient: of `dynamics.simulate.gradients`, or such a function of one's own. One with a parameter `epoch` (steps
            in one) sees the random numbers of the epoch in place of those of the step.
        record: rising step numbers (records,); 0 is the start.
        lanes: lr, strength, the rule's hyperparameters and the gradient's parameters, each a number or (lanes,); what
            is absent takes the rule's default, strength 0.
        start: first weights, a number or (lanes,).
        state: fields of state and clock before the first step that shall not be fresh, each a number or (lanes,).
        schedule: multipliers of lr from an array of step numbers (`dynamics.simulate.schedules`); None: 1.
        seed: whole number or (lanes,): lanes with equal seed and stream see equal randomness.
        stream: whole number or (lanes,); None: 0, 1, 2, ...
        fields: of "w" and the rule's state and clock.
        watch: note when each weight's size first comes down to this, a number or (lanes,).
        threads: worker threads; the result is the same to the last bit.
        block: lanes that a thread advances at a time; the result is the same to the last bit.
        compiled: False runs the NumPy reference.

    Returns:
        The Trajectory: steps (records,), each field (records, lanes), and passed (lanes,) if something was watched.

    Raises:
        InputError: for unknown names, values out of range, lanes of differing number, or records out of order.

    Example:
        >>> path = simulate("sgd", "l2", record=[0, 100], lanes={"lr": 0.1, "strength": [0.0, 0.01]})
        >>> path.w.round(4).tolist()
        [[1.0, 1.0], [1.0, 0.9048]]

    Source:
        Random numbers: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Threefry).
    """
    threads, block = whole("threads", threads, 1, THREADS), whole("block", block, 1, _BLOCK)
    given, held = ({} if x is None else mapping(name, x) for name, x in (("lanes", lanes), ("state", state)))
    run = prepare_lanes(find_rule(rule), coupling, gradient, given, start, held, seed, stream, watch)
    if not flag("compiled", compiled):
        return trajectory(run, _reference(run), record, schedule, fields)
    with ThreadPoolExecutor(min(threads, os.cpu_count() or 1)) as pool:  # more would wait for each other
        advance = _compiled(run, threads, block, pool)
        return trajectory(run, advance, record, schedule, fields)


def trajectory(
    run: Run,
    advance: Callable[[int, int, np.ndarray], Any],
    record: Sequence[int] | np.ndarray,
    schedule: Schedule | None,
    fields: Sequence[str],
) -> Trajectory:
    """What is recorded of `run`; the arguments are those of `recorded`."""
    found = recorded(run.rule, advance, run.cells, record, schedule, fields)
    return Trajectory(*found, run.passed if run.watch else None)


def recorded(
    rule: Rule,
    advance: Callable[[int, int, np.ndarray], Any],
    cells: Any,
    record: Sequence[int] | np.ndarray,
    schedule: Schedule | None,
    fields: Sequence[str],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The recorded steps, and `fields` at each: (records, *shape of the weights).

    cells: (w, *state, *clock) before the first step. advance(first, last, multipliers): takes the steps from `first` on
    before `last` and returns the cells then, of which the next call goes on. Raises InputError for fields that the rule
    has not, records out of order and a schedule that is not finite.
    """
    names = ("w", *rule.inner)
    fields = [among("field", name, names) for name in items("fields", fields, "names")]
    steps = array("record", record)
    if steps.ndim != 1 or steps.size == 0 or not _rise(steps) or np.any(steps != np.floor(steps)):
        raise InputError(f"record {shown(record)}: rising step numbers from 0 to 2^32 - 1 are accepted")
    steps = steps.astype(np.int64)
    schedule = constant() if schedule is None else function("schedule", schedule)
    numbers = len(steps) * np.size(cells[0]) * len(fields)
    check_room(f"{len(fields)} fields of {np.size(cells[0]):,} weights at {len(steps):,} steps", 8 * numbers)
    kept = {name: np.empty((len(steps), *np.shape(cells[0]))) for name in fields}
    now = 0
    for row, end in enumerate(steps):
        while now < end:
            until = min(int(end), now + _STRETCH)
            cells = advance(now, until, _multipliers(schedule, now, until))
            now = until
        for name in fields:
            kept[name][row] = cells[names.index(name)]
    return steps, kept


def _rise(steps: np.ndarray) -> bool:
    return bool(steps[0] >= 0 and np.all(np.diff(steps) > 0) and steps[-1] < 2**32)


def _multipliers(schedule: Schedule, first: int, last: int) -> np.ndarray:
    values = array("what the schedule gives", schedule(np.arange(first, last)))
    # The compiled loop reads them unchecked.
    if values.shape != (last - first,) or not np.isfinite(values).all():
        raise InputError(
            f"schedule gives {values.shape} for {last - first} steps: one finite multiplier a step is accepted"
        )
    return values


def settings(rule: Rule, given: Mapping[str, Any], wanted: Sequence[str] = ()) -> dict[str, Any]:
    """lr, strength, the rule's hyperparameters and what the gradient wants, numbers or arrays, with the rule's defaults.

    Raises InputError for an unknown name, one that is missing, and a value out of range or not finite.
    """
    names = ("lr", "strength", *rule.defaults, *wanted)
    for name in given:
        if name not in names:
            raise InputError(f"parameter {name!r} is unknown: {rule.name} with this gradient takes {', '.join(names)}")
    for name in wanted:
        if name not in given:
            raise InputError(f"parameter {name!r} is missing: this gradient takes {', '.join(wanted)}")
    values = {"lr": rule.lr, "strength": 0.0, **rule.defaults, **given}
    for name in names:
        found = array(name, values[name])
        if not found.size:
            raise InputError(f"{name} of shape {found.shape}: a number or a non-empty array is accepted")
        if name in RANGES:
            # The ranges are intervals, and NaN comes through min and max.
            check(name, float(found.min()))
            check(name, float(found.max()))
        elif not np.isfinite(found).all():
            raise InputError(f"parameter {name} holds {found[~np.isfinite(found)][0]}: finite numbers are accepted")
    return {name: values[name] for name in names}


def first_cells(rule: Rule, w: np.ndarray, values: Mapping[str, Any], state: Mapping[str, Any]) -> list[Any]:
    """(w, *state, *clock) before the first step, fresh but for what `state` gives; InputError for a name it has not."""
    for name in state:
        if name not in rule.inner:
            raise InputError(f"state {name!r} is unknown: {rule.name} has {', '.join(rule.inner) or 'none'}")
        array(f"state {name}", state[name])
    hyper = {name: values[name] for name in rule.defaults}
    return [w, *(state.get(name, value) for name, value in zip(rule.inner, rule.fresh(w, hyper), strict=True))]


def prepare_lanes(
    rule: Rule,
    coupling: Any,
    gradient: Callable[..., Any],
    given: dict[str, Any],
    start: Any,
    state: dict[str, Any],
    seed: Any,
    stream: Any,
    watch: Any,
) -> Run:
    """The checked arguments of `simulate` as arrays over lanes; InputError for what cannot be used."""
    wanted = parameters(gradient)
    arrays_given = (
        x for x in (*given.values(), *state.values(), start, seed, stream, watch) if isinstance(x, np.ndarray)
    )
    lanes = max(map(np.size, arrays_given), default=1)
    # First, since an array can repeat one number without end. Seed, stream, floor, passage, coupling and weight beside the rest.
    check_room(f"{lanes:,} lanes", 8 * lanes * (8 + len(rule.defaults) + len(wanted) + len(rule.inner)))
    values = settings(rule, given, wanted)
    one = isinstance(coupling, str | Coupling)
    each = [find_coupling(c) for c in ([coupling] if one else items("coupling", coupling, "couplings"))]
    arrays = {**values, **state, "start": start, "seed": seed}
    arrays |= {name: x for name, x in (("stream", stream), ("watch", watch)) if x is not None}
    arrays = {name: array(name, value) for name, value in arrays.items()} | {"coupling": np.array(each)}
    for name, value in arrays.items():
        if value.ndim > 1 or value.size == 0:
            raise InputError(f"{name} of shape {value.shape}: a number or a non-empty array over lanes is accepted")
    sizes = {value.size for value in arrays.values()} - {1}
    if len(sizes) > 1:
        raise InputError(f"arrays over {sorted(sizes)} lanes: all must have the same number")
    count = sizes.pop() if sizes else 1
    table = _rows(values.values(), count)
    couplings = served(each)
    codes = np.broadcast_to([couplings.index(c) for c in each], (count,)).astype(np.int64)
    cells = _rows(first_cells(rule, arrays["start"], values, state), count)
    if not np.isfinite(cells[0]).all():
        raise InputError(f"start {cells[0][~np.isfinite(cells[0])][0]}: finite weights are accepted")
    streams = random.as_key(np.arange(count) if stream is None else stream, count, "stream")
    levels = _rows([arrays.get("watch", -1.0)], count)[0]
    if watch is not None and not (levels >= 0).all():
        raise InputError(f"watch {levels[~(levels >= 0)][0]}: must be at least 0")
    keys, passed = random.as_key(seed, count, "seed"), np.full(count, np.inf)
    return Run(rule, gradient, couplings, codes, cells, table, streams, keys, levels, passed, watch is not None)


def _rows(values: Iterable[Any], count: int) -> np.ndarray:
    return np.array([np.broadcast_to(np.asarray(value, dtype=np.float64), count) for value in values])


def _compiled(
    run: Run, threads: int, block: int, pool: ThreadPoolExecutor
) -> Callable[[int, int, np.ndarray], np.ndarray]:
    """What advances `run` by the compiled loop, its lanes split among the threads."""
    loop = kernel(run.rule, run.gradient, run.couplings, run.uniform, run.watch)
    count = run.cells.shape[1]
    parts = list(pairwise(np.linspace(0, count, min(threads, -(-count // block)) + 1).astype(int).tolist()))
    fixed = (run.cells, run.table, run.codes, run.streams, run.keys, run.levels, run.passed)
    together = max(1, _AT_ONCE * len(parts) // count)

    def advance(first: int, last: int, multipliers: np.ndarray) -> np.ndarray:
        for now in range(first, last, together):
            until = min(now + together, last)
            some = now, until, multipliers[now - first : until - first], *fixed
            if len(parts) == 1:  # handing it to a thread takes longer than a few steps of a few lanes
                loop(*some, *parts[0], block)
                continue
            for job in [pool.submit(loop, *some, *part, block) for part in parts]:
                job.result()
        return run.cells

    return advance


def _reference(run: Run) -> Callable[[int, int, np.ndarray], np.ndarray]:
    """What advances `run` in the same steps and the same order, one NumPy operation at a time over all lanes."""
    update, gradient = composed(run.rule, NUMPY), bind(run.gradient, NUMPY)
    # What all lanes share is one number: the same result for less work.
    lr, strength, *rest = (row[0] if (row == row[0]).all() else row for row in run.table)
    hyper, own = rest[: len(run.rule.defaults)], rest[len(run.rule.defaults) :]
    cells = list(run.cells)
    if run.uniform:
        clock = 1 + len(run.rule.state)
        cells[clock:] = [row[0] for row in cells[clock:]]
    used = [(coupling, run.codes == code) for code, coupling in enumerate(run.couplings) if (run.codes == code).any()]
    numbers, previous, rate = _numbers(run), math.nan, lr
    shares: dict[str, Any] = dict.fromkeys(open_doors(run.couplings), 0.0)

    def advance(first: int, last: int, multipliers: np.ndarray) -> np.ndarray:
        nonlocal cells, previous, rate
        with np.errstate(all="ignore"):  # a lane may diverge; inf and nan are then its result
            for t, multiplier in zip(range(first, last), multipliers, strict=True):
                if multiplier != previous:
                    previous, rate = multiplier, lr * multiplier
                    for coupling, lanes in used:
                        for door, share in coupling.doors.items():
                            found = bind(share, NUMPY)(strength, rate, multiplier)
                            shares[door] = found if len(used) == 1 else np.where(lanes, found, shares[door])
                w, *inner = cells
                g = gradient(w, t, *next(numbers), *own)
                cells = list(update(w, g, inner, rate, hyper, *map(shares.get, DOORS)))
                if run.watch:
                    newly = np.isinf(run.passed) & (np.abs(cells[0]) <= run.levels)
                    run.passed[newly] = t + 1
        for row, values in zip(run.cells, cells, strict=True):
            row[:] = values
        return run.cells

    return advance


def _numbers(run: Run) -> Iterator[tuple[Any, Any]]:
    """The two random numbers of step 0, 1, 2 and so on, or of its epoch; NaN for a gradient that reads none."""
    names = parameters(run.gradient)
    if not draws(run.gradient):
        yield from repeat((math.nan, math.nan))
    elif "epoch" not in names:
        # Lanes that see equal randomness have it made once.
        (keys, streams), which = np.unique(np.stack([run.keys, run.streams]), axis=1, return_inverse=True)
        for both in random.series(keys, streams):
            u, z = np.take(both, which.ravel(), axis=1)
            yield u, z
    epoch, u, z = np.full((3, len(run.keys)), -1.0)
    steps = run.table[2 + len(run.rule.defaults) + names.index("epoch")]
    for t in count():
        now = np.floor((t + 0.5) / steps)
        new = now != epoch
        if new.any():
            word = now[new].astype(np.uint32)
            a, b = random.threefry(word, np.ones_like(word), run.keys[new], run.streams[new])
            epoch, u[new], z[new] = now, random.unit(a), random.unit(b)
        yield u, z
