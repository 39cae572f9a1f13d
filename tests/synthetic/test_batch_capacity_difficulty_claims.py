"""Every claim on batch size, capacity and difficulty can come out each way, and reads only the data that bear on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

import synthetic.claims  # noqa: F401
from evidence.claim import judge
from evidence.registry import find_claims

HERE = ("minibatch", "decays", "starvation", "batch_rest", "capacity", "difficulty")
CLAIM = {claim.id: claim for claim in find_claims(experiments=HERE)}
SEEDS = 6
ROUGH = np.array([-1.0, 1.1, -0.9, 1.0, -1.1, 1.0])  # one a seed, on both sides of 0 by far
FINE = np.arange(SEEDS) - 2.5
BATCHES, EXCITING = [1, 2, 4, 8], [1, 2, 4, 8]
NETWORKS, SCALES, PATTERNS = [16, 64, 256], [0.1, 1.0, 10.0], [32, 512]

Cell = Callable[..., float]


def filled(dims: dict[str, list], of: Cell, noise: np.ndarray) -> xr.DataArray:
    """of(coordinates) in every cell, with a seed axis; noise: (seed) or (setting, seed), added in turn."""
    shape = tuple(len(values) for values in dims.values())
    values = np.empty((*shape, SEEDS))
    for k, index in enumerate(np.ndindex(shape)):
        at = {name: labels[i] for (name, labels), i in zip(dims.items(), index, strict=True)}
        values[index] = of(**at) + (noise[k % len(noise)] if noise.ndim == 2 else noise)
    return xr.DataArray(values, {**dims, "seed": range(SEEDS)}, (*dims, "seed"))


def minibatch(of: Cell, noise: np.ndarray = 1e-4 * FINE) -> xr.Dataset:
    dims = {
        "horizon": ["epochs", "steps"],
        "optimizer": ["sgd", "momentum", "adam", "rmsprop"],
        "coupling": ["none", "l2", "decoupled_lr"],
        "batch": BATCHES,
        "exciting": EXCITING,
    }
    outcome = filled(dims, of, noise)
    data = xr.Dataset({"dead": outcome, "size": outcome}, attrs={"beta2": 0.99})
    return data.assign_coords(selectivity=("exciting", 1 - np.array(EXCITING) / 512))


def capacity(of: Cell, noise: np.ndarray = 1e-4 * FINE) -> xr.Dataset:
    dims = {"optimizer": ["sgd", "adam"], "coupling": ["l2", "decoupled_lr"], "network": NETWORKS, "batch": [2, 8, 32]}
    outcome = filled(dims, of, noise)
    return xr.Dataset({"dead": outcome, "size": outcome})


def difficulty(of: Cell, noise: np.ndarray = 1e-4 * FINE) -> xr.Dataset:
    dims = {"optimizer": ["sgd", "adam"], "coupling": ["l2", "decoupled_lr"]}
    dims |= {"scale": SCALES, "patterns": PATTERNS, "batch": [2, 8, 32]}
    outcome = filled(dims, of, noise)
    return xr.Dataset({"dead": outcome, "size": outcome})


def only(coupling: str, value: Cell, optimizers: tuple[str, ...] = ("adam", "rmsprop"), horizon: str = "") -> Cell:
    """`value` where the claim looks, 7 elsewhere: a number that would spoil every estimate."""

    def of(**at: object) -> float:
        looked = at["coupling"] == coupling and at["optimizer"] in optimizers
        return value(**at) if looked and at.get("horizon", horizon) == (horizon or at.get("horizon", horizon)) else 7.0

    return of


def slope(along: str, by: float) -> Cell:
    return lambda **at: by * math.log2(at[along])


def by_strength(decay: str, strength: float, l2: float, other: float, noise: np.ndarray = 1e-3 * FINE) -> xr.Dataset:
    """Dead shares where the claim looks, 7 elsewhere."""
    coords = {
        "coupling": ["l2", "decoupled_lr", "decoupled_schedule"],
        "strength": [1e-4, 1e-3, 1e-2],
        "seed": range(SEEDS),
    }
    dead = xr.DataArray(np.full((3, 3, SEEDS), 7.0), coords, ("coupling", "strength", "seed"))
    dead.loc[{"coupling": "l2", "strength": strength}] = l2 + noise
    dead.loc[{"coupling": decay, "strength": strength}] = other
    return xr.Dataset({"dead": dead})


def alone(
    make: Callable[..., xr.Dataset], coupling: str, label: Cell, spoil: Cell
) -> dict[str, Callable[[], xr.Dataset]]:
    """Outcomes that go by the label of batch selectivity; by something else; and by chance, the same for no two seeds."""
    settings = 400
    chance = np.random.default_rng(0).standard_normal((settings, SEEDS))
    return {
        "holds": lambda: make(only(coupling, label, ("adam",), "steps")),
        "fails": lambda: make(only(coupling, lambda **at: label(**at) + 3 * spoil(**at), ("adam",), "steps")),
        "undecided": lambda: make(only(coupling, lambda **at: 0.1 * label(**at), ("adam",), "steps"), chance),
    }


def silent(shift: float) -> xr.Dataset:
    """Every cell off both formulas by `shift` at most."""
    formula = xr.DataArray(np.full((2, 2), 0.5), dims=("batch", "exciting"))
    off = xr.DataArray([[0.0, shift], [-shift / 2, shift / 4]], dims=("batch", "exciting"))
    seen = (formula + off).expand_dims(seed=SEEDS)
    return xr.Dataset({"silent": seen, "silent_independent": formula, "silent_epoch": formula})


def rest(l2: float, decay: float, noise: np.ndarray = 1e-3 * FINE) -> xr.Dataset:
    """Measured over formula, at the middle batch over at the smallest; at the largest as at the smallest."""
    formula = np.array([[0.5, 0.5, 0.5], [0.3, 0.5, 0.6]])
    factor = np.array([[1.0, l2, 1.0], [1.0, decay, 1.0]])
    seen = (formula * factor)[..., None] * np.exp(noise * np.array([0, 1, 1e-3])[:, None])
    dims, coords = ("coupling", "batch"), {"coupling": ["l2", "decoupled_lr"], "batch": [1, 4, 16]}
    return xr.Dataset({"rest": ((*dims, "seed"), seen), "predicted": (dims, formula)}, coords)


def starved(independent: float, epochs: float) -> xr.Dataset:
    formula = np.array([[0.2, 0.4], [0.5, 0.9]])
    seen = np.array([formula + independent, formula - epochs])[..., None] + 0.3 * (FINE / 2.5)
    dims = ("batch", "length")
    return xr.Dataset(
        {"starved": (("sampling", *dims, "seed"), seen), "predicted": (dims, formula)},
        {"sampling": ["independent", "epochs"]},
    )


def shared(l2: list[float], decay: list[float]) -> xr.Dataset:
    return xr.Dataset({"shared_off": (("coupling", "network"), [l2, decay])}, {"coupling": ["l2", "decoupled_lr"]})


def trend(
    make: Callable[..., xr.Dataset],
    along: str,
    right: float,
    wrong: float,
    optimizers: tuple[str, ...],
    horizon: str = "",
    coupling: str = "l2",
) -> dict[str, Callable[[], xr.Dataset]]:
    def case(by: float, noise: float) -> xr.Dataset:
        data = make(only(coupling, slope(along, by), optimizers, horizon))
        tilt = noise * np.log2(data[along]) * xr.DataArray(ROUGH, dims="seed")
        return data.assign(dead=data["dead"] + tilt, size=data["size"] + tilt)

    return {
        "holds": lambda: case(right, 0.0),
        "fails": lambda: case(wrong, 0.0),
        "undecided": lambda: case(0.0, 0.3),
    }


def drift(make: Callable[..., xr.Dataset], label: Cell) -> dict[str, Callable[[], xr.Dataset]]:
    def case(by: float, noise: float) -> xr.Dataset:
        tilted = only("l2", lambda **at: label(**at) + by * math.log2(at["batch"]), ("adam",), "steps")
        data = make(tilted)
        data["dead"] = data["dead"] + noise * np.log2(data["batch"]) * xr.DataArray(ROUGH, dims="seed")
        return data

    return {"holds": lambda: case(0.0, 0.0), "fails": lambda: case(0.05, 0.0), "undecided": lambda: case(0.0, 0.3)}


def by_arrival(**at: float) -> float:
    return -math.log2(at["batch"] * at["exciting"])


def by_network(**at: float) -> float:
    return -math.log2(at["batch"] / at["network"])


def by_batch(**at: float) -> float:
    return -math.log2(at["batch"])


def log_of(name: str) -> Cell:
    return lambda **at: math.log2(at[name])


def unsure() -> xr.Dataset:
    """Beyond the critical selectivity, seeds that contradict each other."""
    data = minibatch(beyond(0.1, 0.6))
    far = data["batch"] * data["exciting"] < 3
    return data.assign(dead=data["dead"] + 0.4 * xr.DataArray(ROUGH, dims="seed") * far)


def beyond(inside: float, outside: float) -> Cell:
    """Dead shares beyond the critical selectivity, p_b < 1 - sqrt(.99) = .005, and within."""
    return only(
        "l2", lambda **at: outside if at["batch"] * at["exciting"] / 512 < 0.005 else inside, ("adam",), "steps"
    )


CASES: dict[str, dict[str, Callable[[], xr.Dataset]]] = {
    **{
        row: {
            "holds": lambda at=at: by_strength(*at, 0.5, 0.1),
            "fails": lambda at=at: by_strength(*at, 0.1, 0.5),
            "undecided": lambda at=at: by_strength(*at, 0.5, 0.5, ROUGH),
        }
        for row, at in (
            ("S4", ("decoupled_lr", 1e-2)),
            ("S4 schedule", ("decoupled_schedule", 1e-3)),
            ("S4 schedule strong", ("decoupled_schedule", 1e-2)),
        )
    },
    "S5a": trend(minibatch, "batch", -0.1, 0.1, ("adam", "rmsprop"), "epochs"),
    "S5a steps": trend(minibatch, "batch", -0.1, 0.1, ("adam", "rmsprop"), "steps"),
    "S5b": trend(capacity, "network", 0.1, -0.1, ("adam",)),
    "S5c": trend(difficulty, "scale", -0.1, 0.1, ("adam",)),
    "S5c patterns": trend(difficulty, "patterns", -0.1, 0.1, ("adam",)),
    "S5c decay": trend(difficulty, "scale", 0.0, 0.1, ("adam",), "", "decoupled_lr"),
    **{
        f"S6 alone {axis}{word}": alone(make, coupling, label, spoil)
        for axis, make, label, spoil in (
            ("batch", minibatch, by_arrival, log_of("batch")),
            ("capacity", capacity, by_network, log_of("network")),
            ("difficulty", difficulty, by_batch, log_of("scale")),
        )
        for word, coupling in (("", "l2"), (" size", "l2"), (" decay", "decoupled_lr"))
    },
    "S6 alone batch trend": drift(minibatch, by_arrival),
    "S6 alone capacity trend": drift(capacity, by_network),
    "E3": {"holds": lambda: silent(0.019), "fails": lambda: silent(-0.03)},
    "E3 epochs": {"holds": lambda: silent(0.004), "fails": lambda: silent(-0.006)},
    "E3 critical": {
        "holds": lambda: minibatch(beyond(0.1, 0.9)),
        "fails": lambda: minibatch(beyond(0.4, 0.8)),
        "undecided": unsure,
    },
    "E7 l2": {
        "holds": lambda: rest(1.05, 9.0),
        "fails": lambda: rest(1.3, 1.0),
        "undecided": lambda: rest(1.0, 1.0, 0.3 * ROUGH),
    },
    "E7 adamw": {
        "holds": lambda: rest(9.0, 0.95),
        "fails": lambda: rest(1.0, 0.6),
        "undecided": lambda: rest(1.0, 1.0, 0.3 * ROUGH),
    },
    "E8": {"holds": lambda: starved(0.05, 0.5), "fails": lambda: starved(-0.15, 0.0)},
    "E8 epochs": {"holds": lambda: starved(0.5, 0.05), "fails": lambda: starved(0.0, 0.2)},
    "E9 l2": {"holds": lambda: shared([0.001, 0.009], [1, 1]), "fails": lambda: shared([0.001, 0.02], [0, 0])},
    "E9 adamw": {"holds": lambda: shared([1, 1], [0.001, 0.009]), "fails": lambda: shared([0, 0], [0.001, 0.02])},
}


@pytest.mark.parametrize(
    ("claim", "verdict"), [(claim, verdict) for claim, cases in CASES.items() for verdict in cases]
)
def test_every_claim_can_come_out_each_way(claim: str, verdict: str) -> None:
    assert judge(CLAIM[claim], CASES[claim][verdict]()).verdict == verdict


def test_no_claim_is_left_out() -> None:
    assert set(CASES) == set(CLAIM)
    # Statements about every setting, without randomness, are never undecided.
    assert {claim for claim in CASES if "undecided" not in CASES[claim]} == {
        "E3", "E3 epochs", "E8", "E8 epochs", "E9 l2", "E9 adamw"
    }  # fmt: skip


def test_what_is_left_is_a_share_of_the_sum_of_squares() -> None:
    quiet = minibatch(lambda **at: by_arrival(**at) + math.log2(at["batch"]))
    exact = judge(CLAIM["S6 alone batch size"], quiet).estimate.value
    grid = np.array([[math.log2(b), math.log2(k)] for b in BATCHES for k in EXCITING])
    label = grid.sum(axis=1)
    kept = np.isin(label, [v for v in label if (label == v).sum() > 1])
    y = (-label + grid[:, 0])[kept]
    centred = y - np.array([y[label[kept] == v].mean() for v in label[kept]])
    assert exact == pytest.approx((centred**2).sum() / ((y - y.mean()) ** 2).sum(), rel=1e-6)


def test_noise_of_the_seeds_is_not_taken_for_an_effect() -> None:
    """Batch selectivity decides everything, and each seed adds noise as large as a doubling: on average nothing is left."""
    found = []
    for seed in range(30):
        noise = np.random.default_rng(seed).standard_normal((2 * 4 * 3 * 16, SEEDS))
        found.append(judge(CLAIM["S6 alone batch size"], minibatch(by_arrival, noise)).estimate.value)
    assert np.isfinite(found).all()
    assert np.mean(found) == pytest.approx(0, abs=0.02)


def test_nothing_that_dies_decides_nothing() -> None:
    """Without variation between settings there is no share of it."""
    data = minibatch(lambda **at: 0.0, np.zeros(SEEDS))
    assert judge(CLAIM["S6 alone batch"], data).verdict == "undecided"


def test_estimates_carry_what_they_are_drawn_from() -> None:
    estimate = judge(CLAIM["S5b"], CASES["S5b"]["holds"]()).estimate
    assert (estimate.value, estimate.n) == (pytest.approx(0.1), SEEDS)
    far = judge(CLAIM["E8"], starved(0.08, 0.0)).estimate
    assert (far.high, far.n) == (pytest.approx(0.08), 4)
    assert judge(CLAIM["E7 l2"], rest(1.3, 1.0)).estimate.interval.endswith("all 2 cells at once, the worst: batch 4")
    apart = judge(CLAIM["E3 critical"], minibatch(beyond(0.25, 1.0))).estimate
    assert apart.value == pytest.approx(0.75)
