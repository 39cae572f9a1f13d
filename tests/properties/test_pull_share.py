"""The two parts of an update make it up, and each is what it is called, for every rule, coupling and kind of number."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from properties.draws import PAIRS, hyperparameters, multipliers, rates

from dynamics.couplings import COUPLINGS, compose
from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.theory.pull import carriers, pull_share
from dynamics.words import FLOATS, tensors

weights = st.builds(lambda side, x: side * x, st.sampled_from([-1.0, 1.0]), st.floats(0.01, 2))


@pytest.mark.parametrize(("rule", "coupling"), PAIRS)
@given(data=st.data())
@settings(max_examples=4)
def test_the_parts_make_up_the_step_and_the_totals_are_its_numbers(
    rule: str, coupling: str, data: st.DataObject
) -> None:
    made, coupled = RULES[rule], COUPLINGS[coupling]
    hyper = data.draw(hyperparameters(rule))
    lr, multiplier, strength = data.draw(rates), data.draw(multipliers), data.draw(st.floats(0, 0.5))
    step = compose(made, coupled, FLOATS)
    w, state = data.draw(weights), None
    inner = made.fresh(w, hyper)
    for g in data.draw(st.lists(weights, min_size=4, max_size=4)):
        after, *rest = step(w, g, inner, lr, multiplier, strength, tuple(hyper.values()))
        found = pull_share(rule, coupling, w, g, state, lr=lr, strength=strength, multiplier=multiplier, **hyper)
        assume(math.isfinite(after))  # centered RMSprop's variance may be rounded below 0
        assert found.w == after
        assert [getattr(x, "total", x) for x in found.state.values()] == rest
        # 1e-12 of the larger part: they may cancel.
        scale = max(abs(found.loss), abs(found.pull), abs(w))
        assert found.loss + found.pull == pytest.approx(after - w, abs=1e-12 * scale)
        parts = abs(found.pull) + abs(found.loss)
        assert math.isnan(found.share) if parts == 0 else found.share == abs(found.pull) / parts
        w, inner, state = after, tuple(rest), found.state


@pytest.mark.parametrize(("rule", "coupling"), PAIRS)
@given(w=weights, gradients=st.lists(weights, min_size=3, max_size=3))
@settings(max_examples=3)
def test_without_strength_nothing_is_pull(rule: str, coupling: str, w: float, gradients: list[float]) -> None:
    state = None
    for g in gradients:
        found = pull_share(rule, coupling, w, g, state, strength=0.0)
        assert found.pull == 0
        w, state = found.w, found.state


@pytest.mark.parametrize(("rule", "coupling"), [p for p in PAIRS if p[1] != "none"])
@given(w=weights, strength=st.floats(1e-3, 0.5))
@settings(max_examples=3)
def test_without_a_gradient_from_fresh_state_nothing_is_loss(
    rule: str, coupling: str, w: float, strength: float
) -> None:
    state = None
    for _ in range(3):
        found = pull_share(rule, coupling, w, 0.0, state, strength=strength)
        assert found.loss == 0
        assert found.pull != 0
        assert found.share == 1
        w, state = found.w, found.state


def test_a_rule_may_negate() -> None:
    turned = replace(RULES["sgd"], name="turned", step=lambda w, g, lr: (w + lr * -g,))
    split, usual = (pull_share(rule, "l2", 1.0, 0.5, lr=0.1, strength=0.3) for rule in (turned, "sgd"))
    assert (split.loss, split.pull, split.w) == (usual.loss, usual.pull, usual.w)


@pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
@given(w=weights, g=weights, lr=rates, strength=st.floats(0, 10))
def test_sgds_share_is_pull_against_gradient(coupling: str, w: float, g: float, lr: float, strength: float) -> None:
    found = pull_share("sgd", coupling, w, g, lr=lr, strength=strength)
    assert found.share == pytest.approx(strength * abs(w) / (strength * abs(w) + abs(g)), rel=1e-14)


@pytest.mark.parametrize("rule", ["adam", "rmsprop", "adamax", "adagrad", "radam", "lion", "schedule_free"])
@given(w=weights, g=weights, strength=st.floats(1e-3, 1))
@settings(max_examples=10)
def test_under_l2_the_share_is_that_of_sgd_for_the_scale_cancels(
    rule: str, w: float, g: float, strength: float
) -> None:
    """On a fresh step; where gradient and pull cancel, only rounding is left of Lion's direction."""
    assume(abs(g + strength * w) > 1e-3)
    found = pull_share(rule, "l2", w, g, strength=strength)
    assert found.share == pytest.approx(pull_share("sgd", "l2", w, g, strength=strength).share, rel=1e-12)


@given(w=weights, g=weights, strength=st.floats(1e-3, 1), lr=rates)
def test_adamws_share_differs_from_that_by_the_root_of_v_and_eps(
    w: float, g: float, strength: float, lr: float
) -> None:
    found = pull_share("adam", "decoupled_lr", w, g, strength=strength, lr=lr, eps=1e-2)
    pull = strength * abs(w) * (abs(g) + 1e-2)  # on a fresh step sqrt(v) = abs(g)
    assert found.share == pytest.approx(pull / (pull + abs(g)), rel=1e-12)


def test_adams_buffer_remembers_how_much_of_it_is_pull() -> None:
    """Gradient 0 after one step: with the state that came back, both parts go on; with plain state all of it is loss."""
    first = pull_share("adam", "l2", 1.0, 0.3, strength=0.1)
    assert first.state["m"].pull == pytest.approx(0.1 * 0.1)
    assert first.state["m"].loss == pytest.approx(0.1 * 0.3)
    plain = {name: getattr(x, "total", x) for name, x in first.state.items()}
    known = pull_share("adam", "l2", first.w, 0.0, first.state, strength=0.1)
    unknown = pull_share("adam", "l2", first.w, 0.0, plain, strength=0.1)
    assert known.w == unknown.w
    assert known.pull / unknown.pull == pytest.approx(1.9, rel=1e-3)
    assert known.loss / unknown.loss == pytest.approx(0.75, rel=1e-3)


def test_fields_that_hold_gradients_carry_parts_and_scales_do_not() -> None:
    carrying = {name: carriers(rule) for name, rule in RULES.items()}
    assert carrying["sgd"] == carrying["adagrad"] == carrying["rmsprop"] == carrying["adadelta"] == ()
    assert carrying["adam"] == carrying["amsgrad"] == carrying["adamax"] == carrying["adabelief"] == ("m",)
    assert carrying["rmsprop_centered"] == ("m", "b")
    assert carrying["adan"] == ("m", "d", "last")
    assert carrying["schedule_free"] == ("z",)


@pytest.mark.parametrize(("rule", "coupling"), PAIRS)
def test_arrays_and_tensors_give_what_numbers_give(rule: str, coupling: str) -> None:
    """Lanes of an array, and a tensor: of all of them where the rule works number by number, else of the first alone."""
    w, g = np.array([[0.5, -1.2, 0.3]]), np.array([[0.1, 0.4, -0.2]])
    seen = 3 if RULES[rule].unit == "weight" else 1
    tensor_w, tensor_g = torch.tensor(w[:, :seen]), torch.tensor(g[:, :seen])
    floats, states = w[0].tolist(), [None] * 3
    array_state = tensor_state = None
    for _ in range(3):
        array = pull_share(rule, coupling, w, g, array_state, strength=0.1)
        tensor = pull_share(rule, coupling, tensor_w, tensor_g, tensor_state, strength=0.1)
        each = [
            pull_share(rule, coupling, x, y, state, strength=0.1)
            for x, y, state in zip(floats, g[0].tolist(), states, strict=True)
        ]
        for field in ("loss", "pull", "share", "w"):
            numbers = [getattr(x, field) for x in each]
            np.testing.assert_allclose(getattr(array, field), [numbers], rtol=1e-12, atol=1e-16)
            np.testing.assert_allclose(getattr(tensor, field), [numbers[:seen]], rtol=1e-12, atol=1e-16)
        floats, states = [x.w for x in each], [x.state for x in each]
        w, array_state = array.w, array.state
        tensor_w, tensor_state = tensor.w, tensor.state


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
@pytest.mark.parametrize("coupling", ["l2", "l1", "decoupled_lr", "cautious"])
@pytest.mark.parametrize("rule", ["lars", "lamb", "muon"])
def test_tensor_rules_split_a_whole_tensor(rule: str, coupling: str, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(shape, generator=generator, dtype=torch.float64)
    made, state = RULES[rule], None
    inner = made.fresh(w, made.defaults)
    step = compose(made, COUPLINGS[coupling], tensors())
    for _ in range(3):
        g = torch.randn(shape, generator=generator, dtype=torch.float64)
        found = pull_share(rule, coupling, w, g, state, strength=0.1)
        after, *rest = step(w, g, inner, made.lr, 1.0, 0.1, tuple(made.defaults.values()))
        assert torch.equal(found.w, after)
        assert torch.allclose(found.loss + found.pull, after - w, rtol=0, atol=1e-12)
        assert found.share.shape == shape
        w, inner, state = after, tuple(rest), found.state


def test_muons_split_is_one_matrix_acting_on_both_parts() -> None:
    """On a fresh step the parts are L g and L (strength w) with L (g + strength w) the direction that is taken."""
    generator = torch.Generator().manual_seed(1)
    w, g = (torch.randn((3, 3), generator=generator, dtype=torch.float64) for _ in range(2))
    found = pull_share("muon", "l2", w, g, strength=0.5)
    left = (found.loss + found.pull) @ torch.linalg.inv(g + 0.5 * w)
    torch.testing.assert_close(found.loss, left @ g, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.pull, left @ (0.5 * w), rtol=1e-9, atol=1e-12)


def test_symbols_are_split_too() -> None:
    w, g, strength, lr = sp.symbols("w g lambda eta", positive=True)
    found = pull_share("sgd", "l2", w, g, lr=lr, strength=strength)
    assert found.loss == -lr * g
    assert found.pull == -lr * strength * w
    assert sp.simplify(found.share - strength * w / (strength * w + g)) == 0


def test_a_parameter_that_asks_for_gradients_is_split_without_any() -> None:
    w = torch.nn.Parameter(torch.ones(2, 2))
    found = pull_share("adam", "l2", w, torch.ones(2, 2), strength=0.1)
    assert not found.pull.requires_grad
    assert not found.w.requires_grad


def test_lanes_that_do_not_move_have_no_share() -> None:
    found = pull_share("sgd", "l2", np.array([0.0, 1.0]), np.array([0.0, 0.0]), strength=0.1)
    assert math.isnan(found.share[0])
    assert found.share[1] == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "adamm"}, "optimizer 'adamm' is unknown"),
        ({"coupling": "l3"}, "coupling 'l3' is unknown"),
        ({"strength": -1.0}, "strength -1.0 is out of range"),
        ({"lr": -1.0}, "lr -1.0 is out of range"),
        ({"beta9": 0.5}, "adam has no hyperparameter 'beta9'"),
        ({"beta9": sp.Symbol("x")}, "adam has no hyperparameter 'beta9'"),
        ({"state": {"m": 0.0}}, "state with m: adam has m, v, power1, power2"),
        ({"w": "1"}, "weight '1': a float, a NumPy array"),
        ({"w": np.ones(2)}, r"gradient of shape \(\): that of the weight, \(2,\), is accepted"),
        ({"rule": "muon", "w": torch.ones(2), "g": torch.ones(2)}, r"weight of shape \(2,\): muon accepts a matrix"),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    arguments = {"rule": "adam", "coupling": "l2", "w": 1.0, "g": 0.1, "strength": 0.1} | given
    with pytest.raises(InputError, match=message) as refused:
        pull_share(**arguments)
    assert "\n" not in str(refused.value)
