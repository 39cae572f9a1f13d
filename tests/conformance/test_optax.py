"""Each rule is optax's transformation of that name wherever the two libraries state the same formula.

Where they do not, the difference is shown by the one expression that makes it: exchanged in our rule, the paths meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optax
import pytest
from conformance import in_optax
from conformance.in_optax import OPTAX, OPTAX_AT, Build, path
from conformance.oracle import TOLERANCE
from conformance.sides import Setting, difference, drawn, make_setting, ours
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants.source import exchanged

from dynamics.couplings import COUPLINGS
from dynamics.libraries.catalogue import elsewhere
from dynamics.rules import RULES


@pytest.fixture(autouse=True, scope="module")
def _float64() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("pair", sorted(OPTAX), ids="-".join)
@given(data=st.data())
@settings(max_examples=20)
def test_path_is_optaxs(pair: tuple[str, str], data: st.DataObject) -> None:
    setting = data.draw(drawn(*pair))
    assert difference(ours(setting), path(OPTAX[pair], setting)) <= TOLERANCE


@pytest.mark.parametrize("pair", sorted(OPTAX_AT), ids="-".join)
@given(data=st.data())
@settings(max_examples=20)
def test_path_is_optaxs_at_some_settings(pair: tuple[str, str], data: st.DataObject) -> None:
    fixed, build = OPTAX_AT[pair]
    setting = data.draw(drawn(*pair, fixed, first=True))
    if RULES[pair[0]].clock_follows_lr:
        setting = setting.steady()
    assert difference(ours(setting), path(build, setting)) <= TOLERANCE


def _rmsprop(**extra: Any) -> Build:
    return lambda rate, multiplier, strength, hyper: optax.rmsprop(
        rate, decay=hyper["alpha"], eps=hyper["eps"], momentum=hyper.get("momentum"), **extra
    )


# rule: optax's, the exchange that makes ours the same, the hyperparameters at which the difference is measured, its size.
DIFFERENT: dict[str, tuple[Build, dict[str, str], dict[str, float], float]] = {
    "adagrad": (
        in_optax.alias_of(optax.adagrad),
        {"sqrt(s) + eps": "sqrt(s + eps)"},
        {"initial_accumulator": 0.1, "eps": 1e-2},
        1e-4,
    ),
    "rmsprop": (
        _rmsprop(),
        {"sqrt(v) + eps": "sqrt(v + eps)"},
        {"alpha": 0.9, "eps": 1e-2},
        1e-3,
    ),
    "rmsprop_momentum": (
        _rmsprop(eps_in_sqrt=False),
        {"g / (sqrt(v) + eps)": "lr * g / (sqrt(v) + eps)", "lr * b": "b"},
        {"alpha": 0.9, "momentum": 0.9, "eps": 1e-2},
        1e-2,
    ),
    "rmsprop_centered": (
        _rmsprop(centered=True),
        {"g / (sqrt(v - m * m) + eps)": "lr * g / sqrt(v - m * m + eps)", "lr * b": "b"},
        {"alpha": 0.9, "momentum": 0.9, "eps": 1e-2},
        1e-2,
    ),
    "amsgrad": (
        in_optax.alias_of(optax.amsgrad),
        {
            "maximum(vmax, v)": "maximum(vmax, v * (1 / (1 - power2 * beta2)))",
            "vmax * (1 / (1 - power2))": "vmax",
        },
        {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        1e-2,
    ),
    "nadam": (
        lambda rate, multiplier, strength, hyper: optax.nadam(
            rate, b1=hyper["beta1"], b2=hyper["beta2"], eps=hyper["eps"]
        ),
        {"beta1 * (1 - 0.5 * decay)": "beta1", "beta1 * (1 - 0.5 * (decay * slower))": "beta1"},
        {"beta1": 0.9, "beta2": 0.999, "momentum_decay": 0.0, "eps": 1e-8},
        1e-3,
    ),
    "radam": (
        in_optax.alias_of(optax.radam),
        {"sqrt(v) + eps": "sqrt(v) + eps * sqrt(1 - power2)"},
        {"beta1": 0.9, "beta2": 0.999, "eps": 1e-2},
        1e-3,
    ),
    "adan": (
        in_optax.alias_of(optax.adan, eps_root=0.0),
        {"beta2 * change": "(1 - beta2) * change", "beta2 * dhat": "(1 - beta2) * dhat"},
        {"beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8},
        1e-2,
    ),
}


@pytest.mark.parametrize("rule", sorted(DIFFERENT))
def test_a_difference_is_one_expression(rule: str) -> None:
    build, exchanges, hyper, size = DIFFERENT[rule]
    setting = make_setting(rule, "none", 0.03, 0.0, hyper, seed=3, first=True)
    theirs = path(build, setting)
    assert difference(ours(setting), theirs) > size
    there = replace(RULES[rule], step=exchanged(RULES[rule].step, exchanges))
    assert difference(ours(setting, there), theirs) <= TOLERANCE


@pytest.mark.parametrize("rule", ["rmsprop_momentum", "rmsprop_centered"])
def test_lr_in_the_buffer_shows_only_while_it_changes(rule: str) -> None:
    hyper = {"alpha": 0.9, "momentum": 0.9, "eps": 1e-2}
    setting = make_setting(rule, "none", 0.03, 0.0, hyper, seed=3)
    build = _rmsprop(eps_in_sqrt=False, centered=rule == "rmsprop_centered")
    assert difference(ours(setting), path(build, setting)) > 1e-2
    assert difference(ours(setting.steady()), path(build, setting.steady())) <= TOLERANCE


def test_the_defaults_of_adagrad_and_rmsprop_differ_too() -> None:
    adagrad, rmsprop = optax.adagrad(1.0), optax.rmsprop(1.0)
    assert float(adagrad.init(np.zeros(()))[0].sum_of_squares) == 0.1
    assert RULES["adagrad"].defaults["initial_accumulator"] == 0
    # From 0 at a gradient of 1, v is 1 - decay after the first step.
    zero, one = np.zeros(()), np.ones(())
    _, state = rmsprop.update(one, rmsprop.init(zero), zero)
    assert 1 - float(state[0].nu) == pytest.approx(0.9)
    assert RULES["rmsprop"].defaults["alpha"] == 0.99


def test_schedule_free_weighs_its_average_by_a_later_lr() -> None:
    # optax counts the weights of the average from 1 and the steps from 0: with a schedule they are one step apart.
    hyper = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
    setting = make_setting("schedule_free", "decoupled_lr", 0.03, 0.1, hyper, seed=3)
    setting = replace(setting, multipliers=np.linspace(0.01, 1.0, len(setting.multipliers)))

    def weighed(shift: int) -> Build:
        def build(rate: Any, multiplier: Any, strength: Any, hyper: dict[str, Any]) -> Any:
            scale = optax.scale_by_rms(decay=hyper["beta2"], eps=hyper["eps"], eps_in_sqrt=False, bias_correction=True)
            step = optax.chain(scale, optax.add_decayed_weights(strength), optax.scale_by_learning_rate(rate))
            return optax.contrib.schedule_free(step, lambda count: rate(count - shift), b1=hyper["beta1"])

        return build

    assert difference(ours(setting), path(weighed(0), setting)) > 1e-4
    assert difference(ours(setting), path(weighed(1), setting)) <= TOLERANCE


def test_muon_is_optaxs_once_the_bias_correction_has_worn_off() -> None:
    # optax corrects the buffer and the look-ahead by different powers; 0.6^70 is below the last digit. Its weights are
    # the transposed ones, and eps is added to the norm where ours bounds it.
    hyper = {"momentum": 0.6, "eps": 0.0}
    setting = make_setting("muon", "decoupled_lr", 0.02, 0.5, hyper, seed=3)

    def build(rate: Any, multiplier: Any, strength: Any, hyper: dict[str, Any]) -> Any:
        numbers = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=0)
        return optax.contrib.muon(
            rate, beta=hyper["momentum"], eps=hyper["eps"], weight_decay=strength, muon_weight_dimension_numbers=numbers
        )

    def moves(rows: np.ndarray) -> np.ndarray:
        before = np.concatenate([setting.start[None], rows[:-1]])
        return rows - (1 - setting.rates[:, None, None] * setting.strength) * before

    our_moves, their_moves = moves(ours(setting)), moves(path(build, setting))
    assert difference(our_moves[:5], their_moves[:5]) > 1e-4
    assert difference(our_moves[70:], their_moves[70:]) <= TOLERANCE


def test_shrinking_before_the_step_differs_from_adding_to_it_where_the_rule_reads_the_weight() -> None:
    # Adam's step does not read w, so that torch's order and optax's give the same path; that of LARS does.
    hyper = {"momentum": 0.9, "trust": 0.1, "eps": 0.0}
    setting = make_setting("lars", "decoupled_lr", 0.1, 0.5, hyper, seed=3)

    def build(rate: Any, multiplier: Any, strength: Any, hyper: dict[str, Any]) -> Any:
        lars = in_optax.alias_of(optax.lars)(rate, multiplier, strength, hyper)
        return optax.chain(lars, optax.add_decayed_weights(lambda count: -rate(count) * strength))

    assert difference(ours(setting), path(build, setting)) > 1e-3
    assert ("adam", "decoupled_lr") in OPTAX


def _paper(coupling: str) -> Build:
    """Adam with a coupling that no library has, as its source states it, around optax's own Adam."""

    def build(rate: Any, multiplier: Any, strength: Any, hyper: dict[str, Any]) -> Any:
        adam = optax.scale_by_adam(**in_optax.renamed(hyper))
        sign = optax.stateless(lambda g, w: g + strength * jax.numpy.sign(w))
        masked = optax.stateless(lambda u, w: u + strength * jax.numpy.where(u * w >= 0, w, 0.0))
        if coupling == "l1":
            return optax.chain(sign, adam, optax.scale_by_learning_rate(rate))
        return optax.chain(adam, masked, optax.scale_by_learning_rate(rate))

    return build


PAPERS = {coupling: _paper(coupling) for coupling in ("l1", "cautious")}


@pytest.mark.parametrize("coupling", PAPERS)
@given(data=st.data())
@settings(max_examples=20)
def test_couplings_that_no_library_has_are_those_of_their_sources(coupling: str, data: st.DataObject) -> None:
    setting = data.draw(drawn("adam", coupling))
    # Some weights start at 0, where neither sign nor decay acts.
    setting = replace(setting, start=np.where(np.arange(6) % 3 == 0, 0.0, setting.start))
    assert difference(ours(setting), path(PAPERS[coupling], setting)) <= TOLERANCE


def test_every_offer_of_optax_is_held_to_its_path() -> None:
    offered = {
        (rule.name, coupling)
        for rule in RULES.values()
        for coupling in COUPLINGS
        if "optax." in elsewhere(rule).offered.get(coupling, "")
    }
    # At some settings only: said in the rule's `differs`, or under a constant lr alone, as schedule-free is meant.
    assert offered == {pair for pair in OPTAX if pair[1] != "none"} | {("schedule_free", "decoupled_lr")}


def test_a_setting_is_what_it_says() -> None:
    setting: Setting = make_setting("lamb", "none", 0.5, 0.0, {}, seed=1)
    assert setting.given.shape[1:] == setting.start.shape == (4, 3)
    assert setting.rates[0] == 0.5
