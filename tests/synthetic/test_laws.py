"""Section A's laws: the world against a loop written here, and every claim overturned by data that contradict it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import synthetic.claims  # noqa: F401
from evidence.claim import judge
from evidence.registry import find_claims
from synthetic.laws import Laws

CLAIM = {claim.id: claim for claim in find_claims(experiments=("laws",))}


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return Laws(draws=12).run()


def test_every_law_has_a_number_for_each_setting(data: xr.Dataset) -> None:
    for name in ("momentum_error", "largest_step", "adadelta_excess", "half_life", "lion_error", "overshoot_error"):
        assert data[name].dims == ("draw",)
        assert np.isfinite(data[name]).all()
    assert data["scaling_error"].dims == ("scaled", "draw")
    assert data["passage"].dims == data["predicted"].dims == ("rule", "draw")
    assert data["growth"].dims == ("rule_at_end", "side", "draw")


def test_the_largest_step_is_that_of_a_loop_written_here() -> None:
    world = Laws(draws=2)
    found = world.run()["largest_step"].values
    rng = np.random.default_rng(world.seed)
    lr, strength = (np.exp(rng.uniform(*np.log(x), 2)) for x in (world.lr, world.strength))
    beta1, beta2 = (rng.uniform(*x, 2) for x in (world.beta1, world.beta2))
    for k in range(2):
        w, m, v, largest = 1.0, 0.0, 0.0, 0.0
        for t in range(1, world.steps + 1):
            g = strength[k] * w
            m, v = beta1[k] * m + (1 - beta1[k]) * g, beta2[k] * v + (1 - beta2[k]) * g * g
            step = lr[k] * m / (1 - beta1[k] ** t) / (math.sqrt(v / (1 - beta2[k] ** t)) + 1e-12)
            if w <= 0:
                break
            largest = max(largest, abs(step) / lr[k])
            w -= step
        assert found[k] == pytest.approx(largest, rel=1e-9)


def test_other_settings_give_other_numbers() -> None:
    one, other = (Laws(draws=3, seed=seed).run()["passage"] for seed in (0, 1))
    assert not one.equals(other)


# For each claim: the variable it reads, and what contradicts it.
CONTRADICTED: dict[str, tuple[str, Callable[[xr.DataArray], xr.DataArray]]] = {
    "A2": ("momentum_error", lambda x: x + 1e-3),
    "A3": ("scaling_error", lambda x: x + 1e-3),
    "A3 every rule": ("scaling_error", lambda x: x + 1e-3),
    "A4": ("largest_step", lambda x: x * 1.01),
    "A5": ("passage", lambda x: x * 1.2),
    "A6": ("passage", lambda x: x * 0.8),
    "A7": ("passage", lambda x: x * 1.2),
    "A8": ("adadelta_excess", lambda x: -x),
    "A9": ("half_life", lambda x: x * 0.5),
    "A10": ("growth", lambda x: -x),
    "A10 beyond": ("growth", lambda x: -x),
    "A11": ("settled", lambda x: x + 0.1),
    "A13": ("lion_error", lambda x: x + 1e-3),
    "A13 turn": ("overshoot_error", lambda x: x + 1.0),
}


def test_no_claim_is_left_out() -> None:
    assert set(CONTRADICTED) == set(CLAIM)


@pytest.mark.parametrize("name", CONTRADICTED)
def test_every_claim_is_overturned_by_data_that_contradict_it(data: xr.Dataset, name: str) -> None:
    expected = "fails" if name == "A3 every rule" else "holds"  # RAdam, Adadelta and AdaBelief see the strength
    assert judge(CLAIM[name], data).verdict == expected
    variable, contradict = CONTRADICTED[name]
    assert judge(CLAIM[name], data.assign({variable: contradict(data[variable])})).verdict == "fails"


def test_the_claim_on_every_rule_holds_where_all_are_blind(data: xr.Dataset) -> None:
    blind = data.assign(scaling_error=0 * data["scaling_error"])
    assert judge(CLAIM["A3 every rule"], blind).verdict == "holds"


def test_one_setting_refutes_a_claim_about_all(data: xr.Dataset) -> None:
    mixed = data.assign(passage=data["passage"] * np.where(np.arange(data.sizes["draw"]) == 1, 1.3, 1.0))
    assert judge(CLAIM["A5"], mixed).verdict == "fails"


def test_a_number_that_is_none_decides_nothing(data: xr.Dataset) -> None:
    assert judge(CLAIM["A9"], data.assign(half_life=data["half_life"] * np.nan)).verdict == "undecided"


def test_constants_are_what_they_are_said_to_be() -> None:
    few = replace(Laws(), draws=2, steps=300, target=0.5).run()
    assert few.attrs == {"seed": 0, "target": 0.5, "steps": 300}
    assert few["passage"].max() < Laws().run()["passage"].max()
