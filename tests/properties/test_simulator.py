"""The compiled simulator is its NumPy reference to the last bit, however it is run, and its randomness is a function."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import FEW
from scipy import stats

from dynamics.couplings import COUPLINGS, Coupling
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.simulate import kernel, random, schedules
from dynamics.simulate.gradients import selective, visited
from dynamics.simulate.lanes import simulate
from dynamics.words import NUMPY, bind

HYPER = {
    "momentum": (0.0, 0.99),
    "alpha": (0.0, 0.999),
    "rho": (0.0, 0.999),
    "beta1": (0.0, 0.99),
    "beta2": (0.0, 0.9999),
    "beta3": (0.0, 0.9999),
    "momentum_decay": (0.0, 0.1),
    "initial_accumulator": (0.0, 0.1),
    "trust": (0.0, 0.1),
    "eps": (1e-9, 0.1),
}
GRADIENT = {"arrival": (0.0, 1.0), "pull": (0.0, 2.0), "target": (-1.0, 1.0), "sigma": (0.0, 2.0)}
# Of lanes that share nothing the loop depends on a rule by its fields alone: those without any, and all kinds of clocks.
LOOPS = (*FEW, "adagrad", "nadam", "radam", "adan", "lion")
# Gradients that arrive at every step and pull to 1, with noise: for tests about the run rather than the numbers.
STEADY = {"arrival": 1.0, "pull": 1.0, "target": 1.0, "sigma": 0.5}


@st.composite
def worlds(draw: st.DrawFn, rules: Sequence[str] = tuple(RULES)) -> dict[str, Any]:
    """A rule and lanes that differ in everything a lane can differ in; with or without equal hyperparameters."""
    rule, count = draw(st.sampled_from(rules)), draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    uniform = rule not in LOOPS or draw(st.booleans())
    lanes = {name: rng.uniform(*GRADIENT[name], count) for name in GRADIENT}
    # A clock that follows lr is shared only if lr is.
    rate = rng.uniform(0, 0.5, None if uniform and RULES[rule].clock_follows_lr else count)
    lanes |= {"lr": rate, "strength": rng.uniform(0, 0.5, count)}
    lanes |= {name: rng.uniform(*HYPER[name], None if uniform else count) for name in RULES[rule].defaults}
    return {
        "rule": rule,
        # Each world holds the two that open doors of their own, so that two kernels a rule serve all.
        "coupling": ["l1", "cautious", *rng.choice(list(COUPLINGS), count - 2)],
        "gradient": selective,
        "lanes": lanes,
        "start": rng.uniform(-2, 2, count),
        "schedule": draw(st.sampled_from([None, schedules.cosine(30), schedules.step_decay([5, 11], 0.3)])),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "stream": rng.integers(0, 2**32, count),
        "record": sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=6))),
        "fields": ("w", *RULES[rule].inner),
    }


def same_bits(one: Any, other: Any) -> bool:
    return all(one.fields[name].tobytes() == other.fields[name].tobytes() for name in one.fields)


@given(world=worlds(), block=st.integers(1, 50), threads=st.integers(1, 4), at_once=st.sampled_from([1, 100, 10**7]))
@settings(max_examples=50)
def test_compiled_is_numpy_to_the_last_bit(world: dict[str, Any], block: int, threads: int, at_once: int) -> None:
    with patch("dynamics.simulate.lanes._AT_ONCE", at_once):
        found = simulate(**world, block=block, threads=threads)
    assert same_bits(found, simulate(**world, compiled=False))


def test_what_runs_at_once_is_short_so_that_it_can_be_interrupted() -> None:
    spans = []

    def loop(first: int, last: int, multipliers: np.ndarray, *arguments: Any) -> None:
        assert len(multipliers) == last - first
        spans.append((first, last))

    with patch("dynamics.simulate.lanes._AT_ONCE", 300), patch("dynamics.simulate.lanes.kernel", lambda *_: loop):
        simulate("sgd", "l2", record=[4, 10], lanes={"strength": np.zeros(100)})
    assert spans == [(0, 3), (3, 4), (4, 7), (7, 10)]


# What epochs and watching add to the loop reads no field but w: one rule, which has fields of every kind.
@given(world=worlds(("schedule_free",)), data=st.data())
def test_so_it_is_with_epochs_and_with_sizes_watched(world: dict[str, Any], data: st.DataObject) -> None:
    count = len(world["start"])
    epoch = np.array(data.draw(st.lists(st.integers(1, 20), min_size=count, max_size=count)), dtype=np.float64)
    world |= {"gradient": visited, "lanes": world["lanes"] | {"epoch": epoch, "floor": 0.1}, "watch": 0.3}
    one, other = simulate(**world), simulate(**world, compiled=False)
    assert same_bits(one, other)
    assert one.passed.tobytes() == other.passed.tobytes()
    path = np.abs(simulate(**world | {"record": range(1, 51)}).w) <= 0.3
    first = np.where(path.any(axis=0), path.argmax(axis=0) + 1, np.inf)
    last = world["record"][-1]
    np.testing.assert_array_equal(one.passed, np.where(first <= last, first, np.inf))


def test_an_epoch_visits_its_image_once_at_any_of_its_steps() -> None:
    lanes = {"lr": 1.0, "epoch": 8.0, "arrival": np.repeat([1.0, 0.25], 300), "pull": 0.0, "target": 0.0, "sigma": 1.0}
    path = simulate("sgd", "none", visited, record=range(401), lanes=lanes | {"floor": 0.0}).w
    came = (np.diff(path, axis=0) != 0).reshape(50, 8, 2, 300)
    a_epoch = came.sum(axis=1)
    assert (a_epoch[:, 0] == 1).all()
    assert a_epoch[:, 1].max() == 1
    assert abs(a_epoch[:, 1].mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / a_epoch[:, 1].size)
    assert stats.chisquare(came[:, :, 0].sum(axis=(0, 2))).pvalue > 1e-4
    # Steps of neighbouring epochs are independent: no more often next to each other than by chance.
    at = came[:, :, 0].argmax(axis=1)
    assert abs(np.corrcoef(at[1:].ravel(), at[:-1].ravel())[0, 1]) < 5 / np.sqrt(at[1:].size)


def test_the_dead_get_no_gradient() -> None:
    lanes = {"lr": 0.1, "epoch": 1.0, "arrival": 1.0, "pull": 1.0, "target": 1.0, "sigma": 0.0, "floor": 0.5}
    path = simulate("sgd", "none", visited, record=[100], lanes=lanes, start=np.array([0.4, 0.6])).w[0]
    assert path[0] == 0.4
    assert abs(path[1] - 1) < 1e-3


@given(world=worlds(FEW), data=st.data())
def test_recording_less_changes_nothing_of_what_is_recorded(world: dict[str, Any], data: st.DataObject) -> None:
    every = simulate(**world | {"record": range(51)})
    some = simulate(**world)
    assert list(some.steps) == world["record"]
    for name, rows in some.fields.items():
        assert rows.tobytes() == every.fields[name][world["record"]].tobytes()
    assert every.w[0].tobytes() == world["start"].tobytes()


# Alone a lane runs in a kernel that serves fewer couplings, of which there are three: SGD, which has no field but w, is left out.
@given(world=worlds(FEW[1:]), data=st.data())
@settings(max_examples=30)
def test_a_lane_does_not_depend_on_its_neighbours(world: dict[str, Any], data: st.DataObject) -> None:
    lane = data.draw(st.integers(0, len(world["start"]) - 1))
    alone = world | {
        "lanes": {name: x if np.ndim(x) == 0 else x[[lane]] for name, x in world["lanes"].items()},
        "coupling": world["coupling"][lane],
        "start": world["start"][lane],
        "stream": world["stream"][[lane]],
    }
    assert simulate(**alone).w[:, 0].tobytes() == simulate(**world).w[:, lane].tobytes()


@given(world=worlds(FEW), data=st.data())
@settings(max_examples=25)
def test_a_run_in_two_parts_is_the_run_in_one(world: dict[str, Any], data: st.DataObject) -> None:
    # Without randomness and schedule: the second part begins to count its steps anew.
    middle, end = sorted((data.draw(st.integers(0, 30)), data.draw(st.integers(0, 30))))
    lanes = world["lanes"] | {"arrival": 1.0, "sigma": 0.0}
    whole = world | {"schedule": None, "lanes": lanes, "record": sorted({middle, end})}
    first = simulate(**whole)
    state = {name: rows[0] for name, rows in first.fields.items() if name != "w"}
    rest = simulate(**whole | {"record": [end - middle], "start": first.w[0], "state": state})
    assert all(rest.fields[name][0].tobytes() == first.fields[name][-1].tobytes() for name in first.fields)


def test_diverging_lanes_end_alike_and_leave_the_others_alone() -> None:
    world = {"rule": "sgd", "coupling": "l2", "gradient": selective, "record": [700], "stream": [0, 0]}
    lanes = STEADY | {"lr": [10.0, 0.1], "strength": 1.0}
    ends = [simulate(**world, lanes=lanes, compiled=compiled).w[0] for compiled in (True, False)]
    assert not np.isfinite(ends[0][0])
    assert np.array_equal(ends[0], ends[1], equal_nan=True)
    calm = simulate(**world, lanes=lanes | {"lr": 0.1}).w[0]
    assert ends[0][1] == calm[1]


def test_a_coupling_of_ones_own_joins_the_registered_ones() -> None:
    def squared(strength, lr, multiplier):
        return strength * strength

    own = Coupling("own", "squared", "", after=squared)
    record = [1, 5]
    found = simulate("sgd", [own, "decoupled_constant"], record=record, lanes={"strength": [0.3, 0.09]}).w
    np.testing.assert_allclose(found, np.power(1 - 0.09, [[1, 1], [5, 5]]), rtol=1e-14)


def test_equal_seed_and_stream_mean_equal_noise_and_nothing_else_does() -> None:
    lanes = STEADY | {"lr": 0.1}

    def path(seed: Any, stream: Any) -> np.ndarray:
        return simulate("sgd", "none", selective, record=range(20), lanes=lanes, seed=seed, stream=stream).w

    paths = path([1, 1, 2, 1], [7, 7, 7, 8])
    assert paths[:, 0].tobytes() == paths[:, 1].tobytes()
    for other in (2, 3):
        assert np.all(paths[1:, 0] != paths[1:, other])
    assert np.unique(path(3, None)[1]).size == 1, "without arrays there is one lane"
    paired = simulate("adam", ["l2", "decoupled_lr"], selective, record=[1], lanes=lanes | {"lr": 0.0}, stream=[5, 5])
    assert paired.w[0, 0] == paired.w[0, 1]


def test_memory_does_not_grow_with_steps() -> None:
    def peak(steps: int) -> int:
        tracemalloc.start()
        simulate("sgd", "l2", selective, record=[steps], lanes=STEADY, schedule=schedules.cosine(steps))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(10)  # compiles
    # A million multipliers at once would be 8 MB; a stretch of them is what both runs need.
    assert peak(1_000_000) < 1.2 * peak(50_000) < 2e6


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0, 0, 0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers_of_random123(words: tuple[int, ...], expected: tuple[int, int]) -> None:
    found = random.threefry(*(np.array([x], dtype=np.uint32) for x in words))
    assert tuple(int(x[0]) for x in found) == expected


def test_xoroshiro_gives_the_known_numbers_of_its_authors_code() -> None:
    a, b, numbers = np.array([1], dtype=np.uint32), np.array([2], dtype=np.uint32), []
    for _ in range(5):
        number, a, b = random.star(a, b)
        numbers.append(int(number[0]))
    assert numbers == [3802928447, 813792938, 1618621494, 2955957307, 3252880261]


def test_uniforms_are_uniform_and_independent_along_every_axis() -> None:
    # Fixed numbers, so the bounds (five standard deviations, p > 1e-4) are met or not once and for all.
    n = 400
    u, z = (np.array(x) for x in zip(*(random.uniforms(t, 11, np.arange(n)) for t in range(n)), strict=True))
    other = np.array([random.uniforms(t, 12, np.arange(n))[0] for t in range(n)])
    for numbers in (u, z):
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert stats.chisquare(np.histogram(numbers, 256, (0, 1))[0]).pvalue > 1e-4
        assert stats.kstest(numbers.ravel()[:20_000], "uniform").pvalue > 1e-4
    pairs = {
        "the two numbers": (u, z),
        "next step": (u[1:], u[:-1]),
        "next lane": (u[:, 1:], u[:, :-1]),
        "next seed": (u, other),
        "step and lane exchanged": (u, u.T),
    }
    for name, (a, b) in pairs.items():
        # Without the diagonal, which exchanging step and lane leaves as it is.
        off = ~np.eye(*a.shape, dtype=bool)
        assert abs(np.corrcoef(a[off], b[off])[0, 1]) < 5 / n, name
        joint = np.histogram2d(a[off], b[off], 16, [(0, 1), (0, 1)])[0]
        assert stats.chisquare(joint.ravel()).pvalue > 1e-4 or name == "step and lane exchanged", name
    assert np.unique(u).size > 0.9999 * u.size


@pytest.mark.parametrize("arrival", [0.0, 0.002, 0.3, 1.0])
def test_selective_arrives_as_often_and_as_widely_as_said(arrival: float) -> None:
    n, sigma, pull, target, w = 400_000, 0.7, 1.5, 0.2, 1.2
    u, z = random.uniforms(7, 3, np.arange(n))
    g = bind(selective, NUMPY)(w, 0, u, z, arrival, pull, target, sigma)
    arrived = g[u < arrival]
    assert np.all(g[u >= arrival] == 0)
    assert abs(np.count_nonzero(g) - n * arrival) <= 5 * np.sqrt(n * arrival * (1 - arrival))
    if arrived.size:
        error = sigma / np.sqrt(arrived.size)
        assert abs(arrived.mean() - pull * (w - target)) < 5 * error
        # A uniform number's variance has itself the relative standard deviation sqrt(0.8 / n).
        assert abs(arrived.var() / sigma**2 - 1) < 5 * np.sqrt(0.8 / arrived.size)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "rule": ({"rule": "adamw"}, "optimizer 'adamw' is unknown: accepted are"),
    "coupling": ({"coupling": ["l2", "wd"]}, "coupling 'wd' is unknown: accepted are"),
    "field": ({"fields": ("w", "b")}, "field 'b' is unknown: accepted are w"),
    "unknown lane parameter": ({"lanes": STEADY | {"beta1": 0.9}}, "'beta1' is unknown: sgd with this gradient takes"),
    "missing lane parameter": ({"lanes": {"arrival": 1.0}}, "'pull' is missing"),
    "range": ({"lanes": STEADY | {"lr": [0.1, -0.1]}}, "lr -0.1 is out of range"),
    "hyperparameter": ({"rule": "adam", "lanes": STEADY | {"beta2": [0.9, 1.0]}}, "beta2 1.0 is out of range"),
    "NaN": ({"lanes": STEADY | {"strength": [0.0, np.nan]}}, "strength nan is out of range"),
    "NaN of a gradient": ({"lanes": STEADY | {"sigma": [1.0, np.nan]}}, "sigma holds nan: finite numbers are accepted"),
    "lanes": ({"lanes": STEADY | {"lr": [0.1, 0.2]}, "start": [1.0, 1.0, 1.0]}, r"arrays over \[2, 3\] lanes"),
    "couplings": ({"coupling": ["l2", "none"], "start": [1.0, 1.0, 1.0]}, r"arrays over \[2, 3\] lanes"),
    "no records": ({"record": []}, "rising step numbers"),
    "falling records": ({"record": [3, 2]}, "rising step numbers"),
    "repeated records": ({"record": [3, 3]}, "rising step numbers"),
    "negative record": ({"record": [-1, 3]}, "rising step numbers"),
    "record beyond the counter": ({"record": [2**32]}, "rising step numbers"),
    "fractional record": ({"record": [1.5]}, "rising step numbers"),
    "start": ({"start": float("nan")}, "start nan: finite"),
    "unknown state": ({"state": {"m": 0.0}}, "state 'm' is unknown: sgd has none"),
    "state of other lanes": (
        {"rule": "adam", "state": {"m": [0.0] * 3, "v": [0.0] * 2}},
        r"arrays over \[2, 3\] lanes",
    ),
    "no lanes": ({"start": []}, r"start of shape \(0,\)"),
    "scalar schedule": ({"schedule": lambda t: 0.5}, r"schedule gives \(\) for [0-9]+ steps"),
    "short schedule": ({"schedule": lambda t: np.ones(2)}, r"schedule gives \(2,\) for [0-9]+ steps"),
    "threads": ({"threads": 0}, "threads 0: a whole number from 1 to 1,024 is"),
    "block": ({"block": 0}, "block 0: a whole number from 1 to 2,147,483,647 is"),
    "negative seed": ({"seed": -1}, "seed -1: whole numbers from 0"),
    "fractional stream": ({"stream": [0.5]}, "stream .0.5.: whole numbers from 0"),
    "large stream": ({"stream": [1, 2**32]}, "stream .1, 4294967296.: whole numbers from 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused(case: str) -> None:
    change, message = REFUSED[case]
    usable: dict[str, Any] = {
        "rule": "sgd", "coupling": "l2", "gradient": selective, "record": [1], "lanes": STEADY
    }  # fmt: skip
    simulate(**usable)
    with pytest.raises(InputError, match=message) as caught:
        simulate(**usable | change)
    assert "\n" not in str(caught.value)


def test_large_finite_parameters_are_accepted() -> None:
    lanes = STEADY | {"target": [1e308, 1.1e308], "pull": 0.0}
    assert np.all(np.isfinite(simulate("sgd", "l2", selective, record=[1], lanes=lanes).w))


def test_the_kernel_keeps_a_nan_that_a_larger_number_meets() -> None:
    """As NumPy's maximum does, whichever of the two it is: AMSGrad and Adamax would go on from a number otherwise."""
    for pair in ((math.nan, 1.0), (1.0, math.nan), (1.0, 2.0), (2.0, 1.0)):
        np.testing.assert_equal(kernel._larger(*pair), float(np.maximum(*pair)))
