"""From arrival to arrival: the lanes end where stepping through the same arrivals ends, within the bound that is handed back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dynamics.couplings import COUPLINGS, compose
from dynamics.errors import InputError
from dynamics.events import ADAPTIVE, LINEAR, arrivals, sparse
from dynamics.rules import RULES
from dynamics.simulate.gradients import selective
from dynamics.words import NUMPY

COUPLED = ("none", "l2", "decoupled_lr", "decoupled_schedule", "decoupled_constant", "corrected")
# Of size 1 in w, gradients, sqrt(v): learning rates and strengths such as are in use, and larger ones.
RATES = {"sgd": (-4, 0), "momentum": (-4, -0.5), "nesterov": (-4, -0.5), "adam": (-5, -1.5), "rmsprop": (-5, -1.5)}
ORDINARY = {"pull": 1.0, "target": 0.5, "sigma": 1.0, "arrival": 1e-3}


def stepped(rule: str, coupling: str, steps: int, world: dict[str, Any]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The same lanes step by step, over NumPy: weights and the rest."""
    lanes, start, count = world["lanes"], world["start"], len(world["start"])
    here, noise = np.zeros((steps, count), dtype=bool), np.zeros((steps, count))
    for i in range(count):
        when, z = arrivals(steps, lanes["arrival"][i], seed=world["seed"], stream=i)
        here[when, i], noise[when, i] = True, z
    step = compose(RULES[rule], COUPLINGS[coupling], NUMPY)
    hyper = {name: lanes[name] for name in RULES[rule].defaults}
    w, inner = start, tuple(RULES[rule].fresh(start, hyper))
    drawn = [lanes[name] for name in ("pull", "target", "sigma")]
    with np.errstate(all="ignore"):
        for t in range(steps):
            g = selective(w, t, np.where(here[t], -1.0, 2.0), noise[t], 0.5, *drawn)
            w, *rest = step(w, g, inner, lanes["lr"], 1.0, lanes["strength"], tuple(hyper.values()))
            inner = tuple(rest)
    return w, list(inner)


def drawn_world(rule: str, coupling: str, seed: int, count: int = 24) -> dict[str, Any]:
    rng = np.random.default_rng(seed)

    def spread(low: float, high: float) -> np.ndarray:
        return 10.0 ** rng.uniform(low, high, count)

    lanes = {"lr": spread(*RATES[rule]), "arrival": spread(-3, np.log10(0.3)), "pull": rng.uniform(0, 1.5, count)}
    lanes |= {"target": rng.uniform(-1, 1, count), "sigma": rng.choice([0.0, 0.1, 1.0], count)}
    lanes["strength"] = spread(-5, -0.5) * (1e-2 if coupling in ("decoupled_schedule", "decoupled_constant") else 1)
    ranges = {"momentum": (-2, 0), "beta1": (-2, 0), "beta2": (-3.5, -1), "alpha": (-3, -1), "eps": (-9, -3)}
    for name in RULES[rule].defaults:
        lanes[name] = spread(*ranges[name]) if name == "eps" else 1 - spread(*ranges[name])
    return {"lanes": lanes, "start": rng.uniform(-1.5, 1.5, count), "seed": seed}


@pytest.mark.parametrize("coupling", COUPLED)
@pytest.mark.parametrize("rule", [*LINEAR, *ADAPTIVE])
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 1_500))
@settings(max_examples=3)
def test_ends_where_stepping_ends_within_the_bound(rule: str, coupling: str, seed: int, steps: int) -> None:
    ends_within_the_bound(rule, coupling, seed, steps)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_adam_with_l2_where_most_is_approximated(seed: int) -> None:
    ends_within_the_bound("adam", "l2", seed, 1_500)


def ends_within_the_bound(rule: str, coupling: str, seed: int, steps: int) -> None:
    world = drawn_world(rule, coupling, seed)
    end, (w, inner) = sparse(rule, coupling, steps=steps, **world), stepped(rule, coupling, steps, world)
    # inf where a weight diverges or nearby paths part.
    finite = np.isfinite(w)
    assert (np.abs(end.w - w)[finite] <= end.bound[finite] + 1e-300).all()
    assert np.isinf(end.bound[finite]).mean() < 0.2
    for name, expected in zip(RULES[rule].inner, inner, strict=True):
        if name in RULES[rule].clock:
            np.testing.assert_allclose(end.state[name], expected, rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize(
    ("rule", "coupling", "strength", "relative"),
    [
        *((rule, coupling, 1e-2, 1e-9) for rule in LINEAR for coupling in ("none", "l2", "decoupled_lr")),
        *((rule, coupling, 1e-2, 1e-8) for rule in ADAPTIVE for coupling in ("none", "decoupled_lr")),
        ("adam", "l2", 1e-3, 1e-3),
        ("adam", "l2", 1e-2, 1e-3),
    ],
)
def test_the_bound_says_something(rule: str, coupling: str, strength: float, relative: float) -> None:
    count, steps = 20, 20_000
    lanes = ORDINARY | {"lr": 1e-3, "strength": strength, **RULES[rule].defaults}
    lanes = {name: np.full(count, value) for name, value in lanes.items()}
    world: dict[str, Any] = {"lanes": lanes, "start": np.ones(count), "seed": 0}
    end, (w, _) = sparse(rule, coupling, steps=steps, **world), stepped(rule, coupling, steps, world)
    assert (np.abs(end.w - w) <= end.bound).all()
    assert (end.bound <= relative * np.maximum(np.abs(w), 0.01)).all()


@pytest.mark.parametrize(
    ("rule", "coupling", "seldom"),
    [("momentum", "l2", 1e-4), ("rmsprop", "decoupled_lr", 1e-4), ("adam", "decoupled_lr", 1e-4), ("adam", "l2", 1e-3)],
)
def test_evaluations_grow_with_arrivals_and_not_with_steps(rule: str, coupling: str, seldom: float) -> None:
    lanes = ORDINARY | {"lr": 1e-3, "strength": 1e-3, "arrival": np.repeat([2e-3, seldom], 20)}
    end = sparse(rule, coupling, steps=100_000, lanes=lanes)
    for some in (slice(20), slice(20, 40)):
        # Adam's first steps, some 200, are stepped, on four paths.
        assert end.evaluations[some].sum() < 40 * end.arrivals[some].sum() + 20 * 1_000
    assert end.evaluations[:20].sum() > end.evaluations[20:].sum() - 20 * 1_000


def test_a_lane_hangs_on_itself_alone_whatever_the_threads() -> None:
    world = drawn_world("adam", "l2", 3)
    one, four = (sparse("adam", "l2", steps=1_000, threads=threads, **world) for threads in (1, 4))
    alone = sparse(
        "adam",
        "l2",
        steps=1_000,
        lanes={name: x[5] for name, x in world["lanes"].items()},
        start=world["start"][5],
        seed=world["seed"],
        stream=5,
    )
    for name in ("w", "bound", "evaluations", "arrivals"):
        assert getattr(one, name).tobytes() == getattr(four, name).tobytes()
        assert getattr(one, name)[5] == getattr(alone, name)[0]


def test_each_lane_may_have_a_coupling_of_its_own() -> None:
    world = drawn_world("momentum", "l2", 4, count=2)
    mixed = sparse("momentum", ["l2", "decoupled_lr"], steps=500, **world)
    for i, name in enumerate(("l2", "decoupled_lr")):
        assert mixed.w[i] == sparse("momentum", name, steps=500, **world).w[i]


@pytest.mark.parametrize("arrival", [0.3, 0.01])
def test_gradients_arrive_independently_of_each_other(arrival: float) -> None:
    when, z = arrivals(200_000, arrival, seed=7, stream=3)
    assert (np.diff(when) > 0).all()
    assert abs(len(when) / 200_000 - arrival) < 5 * np.sqrt(arrival / 200_000)
    gaps = np.diff(when)
    assert abs(gaps.mean() * arrival - 1) < 5 / np.sqrt(len(gaps))
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 5 / np.sqrt(len(gaps))
    seen = [np.count_nonzero(gaps == k) for k in (1, 2, 3)]
    expected = [arrival * (1 - arrival) ** k * len(gaps) for k in (0, 1, 2)]
    assert (np.abs(np.subtract(seen, expected)) < 5 * np.sqrt(expected)).all()
    assert stats.kstest(z, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(gaps, z[1:])[0, 1]) < 5 / np.sqrt(len(gaps))


def test_none_and_all_of_the_steps_may_bring_a_gradient() -> None:
    assert arrivals(50, 0.0)[0].size == 0
    assert (arrivals(50, 1.0)[0] == np.arange(50)).all()
    lanes = ORDINARY | {"lr": 0.1, "strength": 0.1, "arrival": [0.0, 1.0], "sigma": 0.0}
    end = sparse("sgd", "decoupled_lr", steps=60, lanes=lanes)
    # w' = (1 - lr strength) w, and after it - lr pull (w - target), from the weight before.
    assert end.w[0] == pytest.approx(0.99**60)
    rate, rest = 0.99 - 0.1, 0.1 * 0.5
    assert end.w[1] == pytest.approx(rest / (1 - rate) + (1 - rest / (1 - rate)) * rate**60)


def test_the_bound_is_inf_where_nearby_paths_part() -> None:
    # Without noise and with a large step Adam goes round its target, ever more sensitively.
    lanes = {"pull": 1.0, "target": 0.5, "sigma": 0.0, "arrival": 0.5, "lr": 1.0, "beta1": 0.9, "beta2": 0.5}
    assert np.isinf(sparse("adam", "none", steps=3_000, lanes=lanes).bound).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rule": "nadam"}, "nadam with none: from arrival to arrival go sgd, momentum"),
        ({"coupling": "l1"}, "sgd with l1: "),
        ({"rule": "rmsprop", "coupling": ["l2", "cautious"]}, "rmsprop with cautious: "),
        ({"steps": -1}, "steps -1: "),
        ({"steps": 2.5}, "steps 2.5: "),
        ({"threads": 0}, "threads 0: "),
        ({"lanes": ORDINARY | {"arrival": [0.1, 1.5]}}, "arrival 1.5: in "),
        ({"rule": "adam", "lanes": ORDINARY | {"eps": 0.0}}, "eps 0: "),
        ({"lanes": {"arrival": 0.1}}, "lane parameter 'pull' is missing"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(given: dict[str, Any], says: str) -> None:
    world: dict[str, Any] = {"rule": "sgd", "coupling": "none", "steps": 10, "lanes": ORDINARY}
    with pytest.raises(InputError) as caught:
        sparse(**(world | given))
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_arrivals_refuse_what_is_no_probability() -> None:
    with pytest.raises(InputError, match=r"arrival -0.5: in \[0, 1\]"):
        arrivals(10, -0.5)
