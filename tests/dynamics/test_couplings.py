"""Couplings: each share goes through its door, the doors open in order, and unknown names are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS, DOORS, Coupling, compose, find_coupling
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.words import FLOATS

# The open door of each coupling and its share at strength 0.3, lr 0.2, multiplier 0.5.
SHARES = {
    "none": {},
    "l2": {"gradient": 0.3},
    "l1": {"sign": 0.3},
    "decoupled_lr": {"before": 0.2 * 0.3},
    "decoupled_schedule": {"after": 0.5 * 0.3},
    "decoupled_constant": {"before": 0.3},
    "corrected": {"before": 0.2 * 0.5 * 0.3},
    "cautious": {"cautious": 0.2 * 0.3},
}


def sign(x: float) -> int:
    return (x > 0) - (x < 0)


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_a_coupling_opens_at_most_one_door_for_its_share(coupling: str) -> None:
    found = COUPLINGS[coupling]
    assert {name: door(0.3, 0.2, 0.5) for name, door in found.doors.items()} == SHARES[coupling]
    assert found.in_gradient is (coupling in ("l2", "l1"))


@given(w=st.floats(-2, 2), g=st.floats(-2, 2), lr=st.floats(0, 1), strength=st.floats(0, 1), s=st.floats(0, 1))
def test_what_each_coupling_makes_of_sgd(w: float, g: float, lr: float, strength: float, s: float) -> None:
    move = -lr * g
    expected = {
        "none": w - lr * g,
        "l2": w - lr * (g + strength * w),
        "l1": w - lr * (g + strength * sign(w)),
        "decoupled_lr": (w - lr * strength * w) - lr * g,
        "decoupled_schedule": (w - lr * g) * (1 - s * strength),
        "decoupled_constant": (w - strength * w) - lr * g,
        "corrected": (w - lr * s * strength * w) - lr * g,
        "cautious": w + move - (0.0 if sign(w + move - w) * sign(w) > 0 else lr * strength * w),
    }
    for name, value in expected.items():
        step = compose(RULES["sgd"], COUPLINGS[name], FLOATS)
        assert step(w, g, (), lr, s, strength, ())[0] == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_the_doors_open_in_order_and_the_gradient_sees_the_weight_as_it_was() -> None:
    def share(strength, lr, multiplier):
        return strength

    own = Coupling("own", "", "", **dict.fromkeys(DOORS, share))
    (w,) = compose(RULES["sgd"], own, FLOATS)(2.0, 1.0, (), 0.5, 1.0, 0.25, ())
    gradient = 1.0 + 0.25 * 2.0 + 0.25 * 1
    assert w == ((2.0 - 0.25 * 2.0) - 0.5 * gradient) * (1 - 0.25) - 0.25 * 2.0


@pytest.mark.parametrize("coupling", ["decoupled_lr", "decoupled_schedule", "decoupled_constant", "corrected"])
def test_a_rule_that_takes_the_pull_gets_what_would_be_taken_off(coupling: str) -> None:
    # At gradient 0 and fresh state, schedule-free's z falls by the pull, and w with it: the first average is z itself.
    rule = RULES["schedule_free"]
    hyper = tuple(rule.defaults.values())
    w, z, *_ = compose(rule, COUPLINGS[coupling], FLOATS)(
        2.0, 0.0, rule.fresh(2.0, rule.defaults), 0.2, 0.5, 0.3, hyper
    )
    (share,) = SHARES[coupling].values()
    assert z == pytest.approx(2.0 - share * 2.0, rel=1e-15)
    assert w == pytest.approx(z, rel=1e-15)


def test_names_stand_for_couplings_and_couplings_for_themselves() -> None:
    for name, coupling in COUPLINGS.items():
        assert find_coupling(name) is coupling is find_coupling(coupling)
        assert coupling.name == name


def test_unknown_couplings_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=f"coupling 'wd' is unknown: accepted are {', '.join(COUPLINGS)}"):
        find_coupling("wd")
