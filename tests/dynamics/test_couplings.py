"""Couplings: each share goes through its door, the doors open in order, and unknown names are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS, Coupling, compose, find_coupling
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.words import FLOATS

SHARES = {
    "none": None,
    "l2": 0.3,
    "decoupled_lr": 0.2 * 0.3,
    "decoupled_schedule": 0.5 * 0.3,
    "decoupled_constant": 0.3,
}


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_a_coupling_opens_at_most_one_door_for_its_share(coupling: str) -> None:
    shares = [door(0.3, 0.2, 0.5) for door in COUPLINGS[coupling].doors if door]
    assert shares == ([] if SHARES[coupling] is None else [SHARES[coupling]])


@given(w=st.floats(-2, 2), g=st.floats(-2, 2), lr=st.floats(0, 1), strength=st.floats(0, 1), s=st.floats(0, 1))
def test_what_each_coupling_makes_of_sgd(w: float, g: float, lr: float, strength: float, s: float) -> None:
    expected = {
        "none": w - lr * g,
        "l2": w - lr * (g + strength * w),
        "decoupled_lr": (w - lr * strength * w) - lr * g,
        "decoupled_schedule": (w - lr * g) * (1 - s * strength),
        "decoupled_constant": (w - strength * w) - lr * g,
    }
    for name, value in expected.items():
        step = compose(RULES["sgd"], COUPLINGS[name], FLOATS)
        assert step(w, g, (), lr, s, strength, ())[0] == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_the_doors_open_in_order_and_the_gradient_sees_the_weight_as_it_was() -> None:
    def share(strength, lr, multiplier):  # type: ignore[no-untyped-def]
        return strength

    own = Coupling("own", "", "", gradient=share, before=share, after=share)
    (w,) = compose(RULES["sgd"], own, FLOATS)(2.0, 1.0, (), 0.5, 1.0, 0.25, ())
    assert w == ((2.0 - 0.25 * 2.0) - 0.5 * (1.0 + 0.25 * 2.0)) * (1 - 0.25)


def test_names_stand_for_couplings_and_couplings_for_themselves() -> None:
    for name, coupling in COUPLINGS.items():
        assert find_coupling(name) is coupling is find_coupling(coupling)
        assert coupling.name == name


def test_unknown_couplings_are_refused_with_the_known_ones() -> None:
    known = "none, l2, decoupled_lr, decoupled_schedule, decoupled_constant"
    with pytest.raises(InputError, match=f"coupling 'wd' is unknown: accepted are {known}"):
        find_coupling("wd")
