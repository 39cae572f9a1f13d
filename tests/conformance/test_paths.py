"""Each rule is what other libraries have under that name; where the formulas differ, the expression that makes it so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import optax
import pytest
import pytorch_optimizer
import torch
from conformance.libraries import (
    ROWS,
    SCHEDULE_FREE,
    TORCH_RULES,
    UNDER_THE_ROOT,
    Build,
    Row,
    alias_of,
    by_hand,
    in_optax,
    in_torch,
)
from conformance.oracle import STEPS, TOLERANCE, Setting, difference, drawn, make_setting, ours, spelled, theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS
from dynamics.libraries.catalogue import elsewhere
from dynamics.libraries.reference import offers
from dynamics.optimizer import Optimizer
from dynamics.probe.source import exchanged
from dynamics.rules import RULES


@pytest.mark.grid(30)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.library}-{row.rule}-{row.coupling}")
@given(data=st.data())
@settings(max_examples=12)
def test_path_is_the_librarys(row: Row, data: st.DataObject) -> None:
    first = bool(row.fixed) or row.library == "pytorch_optimizer"
    setting = data.draw(drawn(row.rule, row.coupling, row.fixed, first=first))
    setting = setting.steady() if row.steady else setting
    there = row.path(setting)
    assert difference(ours(setting), there) <= row.tolerance
    if row.library == "torch":
        assert difference(_face(setting), there) <= row.tolerance


def _face(setting: Setting) -> np.ndarray:
    """The path of the torch optimizer of ours."""
    arguments = {"lr": setting.lr, "weight_decay": setting.strength, **spelled(setting.hyper)}
    return theirs(lambda weights: Optimizer(weights, setting.rule, setting.coupling, **arguments), setting)


@pytest.mark.parametrize("coupling", [name for name in COUPLINGS if name not in ("l2", "none")])
@given(rule=st.sampled_from(TORCH_RULES), data=st.data())
@settings(max_examples=20)
def test_other_regularizers_are_torchs_step_and_a_pull_by_hand(coupling: str, rule: str, data: st.DataObject) -> None:
    setting = data.draw(drawn(rule, coupling, first=True))
    # Some weights start at 0, where neither sign nor decay acts.
    setting = replace(setting, start=np.where(np.arange(6) % 3 == 0, 0.0, setting.start))
    there = by_hand(setting)
    assert difference(ours(setting), there) <= TOLERANCE
    assert difference(_face(setting), there) <= TOLERANCE


@pytest.mark.parametrize("library", ["torch", "optax", "pytorch_optimizer", "schedulefree"])
def test_every_offer_is_held_to_its_path(library: str) -> None:
    offered = {
        (rule.name, coupling)
        for rule in RULES.values()
        for coupling in elsewhere(rule).offered
        if any(offer.startswith(f"{library}.") for offer in offers(rule, COUPLINGS[coupling]))
    }
    # At fixed hyperparameters only: said in the rule's `differs`. Muon orthogonalizes in bfloat16 in torch.
    rows = [row for row in ROWS if row.library == library and not (library == "optax" and row.fixed)]
    more = {("muon", "decoupled_lr")} if library == "torch" else set()
    assert offered == {(row.rule, row.coupling) for row in rows if row.coupling != "none"} | more


def _rmsprop(**extra: Any) -> Build:
    return lambda rate, multiplier, strength, hyper: optax.rmsprop(
        rate, decay=hyper["alpha"], eps=hyper["eps"], momentum=hyper.get("momentum"), **extra
    )


HYPER = {"alpha": 0.9, "momentum": 0.9, "beta1": 0.9, "beta2": 0.99, "beta3": 0.99, "eps": 1e-2}
HYPER |= {"momentum_decay": 0.0, "initial_accumulator": 0.1, "trust": 0.01}


def _nadam(rate: Any, multiplier: Any, strength: Any, hyper: dict[str, Any]) -> Any:
    return optax.nadam(rate, b1=hyper["beta1"], b2=hyper["beta2"], eps=hyper["eps"])


# (rule, theirs, the exchanges that make ours the same, the least difference without them)
DIFFERENT: list[tuple[str, Any, dict[str, str], float]] = [
    ("adagrad", alias_of(optax.adagrad), {"sqrt(s) + eps": "sqrt(s + eps)"}, 1e-4),
    ("rmsprop", _rmsprop(), {"sqrt(v) + eps": "sqrt(v + eps)"}, 1e-3),
    (
        "rmsprop_momentum",
        _rmsprop(eps_in_sqrt=False),
        {"g / (sqrt(v) + eps)": "lr * g / (sqrt(v) + eps)", "lr * b": "b"},
        1e-2,
    ),
    (
        "rmsprop_centered",
        _rmsprop(centered=True),
        {"g / (sqrt(v - m * m) + eps)": "lr * g / sqrt(v - m * m + eps)", "lr * b": "b"},
        1e-2,
    ),
    (
        "amsgrad",
        alias_of(optax.amsgrad),
        {"maximum(vmax, v)": "maximum(vmax, v * (1 / (1 - power2 * beta2)))", "vmax * (1 / (1 - power2))": "vmax"},
        1e-2,
    ),
    (
        "nadam",
        _nadam,
        {"beta1 * (1 - 0.5 * decay)": "beta1", "beta1 * (1 - 0.5 * (decay * slower))": "beta1"},
        1e-3,
    ),
    ("radam", alias_of(optax.radam), {"sqrt(v) + eps": "sqrt(v) + eps * sqrt(1 - power2)"}, 1e-4),
    (
        "adan",
        alias_of(optax.adan, eps_root=0.0),
        {"beta2 * change": "(1 - beta2) * change", "beta2 * dhat": "(1 - beta2) * dhat"},
        1e-2,
    ),
    (
        "lamb",
        (pytorch_optimizer.Lamb, {}),
        {
            "v * (1 / (1 - power2))": "v",
            "lr * size / moves": "-maximum(-size, -10.0) / (moves * (1 - power1) / lr + eps)",
        },
        1e-3,
    ),
]


@pytest.mark.parametrize(("rule", "factory", "exchanges", "size"), DIFFERENT, ids=[row[0] for row in DIFFERENT])
def test_a_difference_is_one_expression(rule: str, factory: Any, exchanges: dict[str, str], size: float) -> None:
    hyper = {name: HYPER[name] for name in RULES[rule].defaults}
    setting = make_setting(rule, "none", 0.03, 0.0, hyper, seed=3, first=True)
    there = in_torch(factory, setting) if isinstance(factory, tuple) else in_optax(factory, setting)
    assert difference(ours(setting), there) > size
    here = replace(RULES[rule], step=exchanged(RULES[rule].step, exchanges))
    assert difference(ours(setting, here), there) <= TOLERANCE


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

    assert difference(ours(setting), in_optax(weighed(0), setting)) > 1e-4
    assert difference(ours(setting), in_optax(weighed(1), setting)) <= TOLERANCE


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

    our_moves, their_moves = moves(ours(setting)), moves(in_optax(build, setting))
    assert difference(our_moves[:5], their_moves[:5]) > 1e-4
    assert difference(our_moves[70:], their_moves[70:]) <= TOLERANCE


def test_shrinking_before_the_step_differs_from_adding_to_it_where_the_rule_reads_the_weight() -> None:
    # Adam's step does not read w, so that torch's order and optax's give the same path; that of LARS does.
    hyper = {"momentum": 0.9, "trust": 0.1, "eps": 0.0}
    setting = make_setting("lars", "decoupled_lr", 0.1, 0.5, hyper, seed=3)

    def build(rate: Any, multiplier: Any, strength: Any, hyper: dict[str, Any]) -> Any:
        lars = alias_of(optax.lars)(rate, multiplier, strength, hyper)
        return optax.chain(lars, optax.add_decayed_weights(lambda count: -rate(count) * strength))

    assert difference(ours(setting), in_optax(build, setting)) > 1e-3


def test_adamc_corrects_where_a_group_is_normalized_and_has_eps_before_the_bias_correction() -> None:
    setting = make_setting("adam", "corrected", 0.03, 0.4, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-3}, 3, first=True)
    arguments = {"lr": setting.lr, "weight_decay": setting.strength, **spelled(setting.hyper)}

    def adamc(**group: bool) -> np.ndarray:
        return theirs(lambda w: pytorch_optimizer.AdamC([{"params": w, **group}], **arguments), setting)

    correct = exchanged(RULES["adam"].step, {"sqrt(vhat) + eps": "sqrt(vhat) + eps / sqrt(1 - power2)"})
    there = replace(RULES["adam"], step=correct)
    assert difference(ours(setting), adamc(normalized=True)) > 1e-4
    assert difference(ours(setting, there), adamc(normalized=True)) <= UNDER_THE_ROOT
    # Without the mark it is plain decay x lr.
    plain = ours(setting, there, COUPLINGS["decoupled_lr"])
    assert difference(plain, adamc()) <= UNDER_THE_ROOT
    assert difference(plain, adamc(normalized=True)) > 1e-2


def test_lars_applies_lr_after_the_buffer_and_adds_norms() -> None:
    setting = make_setting("lars", "none", 0.3, 0.0, {"momentum": 0.9, "trust": 0.01, "eps": 0.0}, 3)
    offer = pytorch_optimizer.LARS, {}
    after = replace(RULES["lars"], step=exchanged(RULES["lars"].step, {"lr * ratio": "ratio", "w - b": "w - lr * b"}))
    assert difference(ours(setting), in_torch(offer, setting)) > 1e-3
    assert difference(ours(setting, after), in_torch(offer, setting)) <= TOLERANCE
    assert difference(ours(setting.steady()), in_torch(offer, setting.steady())) <= TOLERANCE
    # With L2 the norm of the sum stands here, the sum of the norms there.
    pulled = replace(setting.steady(), coupling="l2", strength=0.4)
    assert difference(ours(pulled), in_torch(offer, pulled)) > 1e-3


def test_adan_divides_by_the_decay_after_the_step_unless_told_otherwise() -> None:
    hyper = {"beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8}
    setting = make_setting("adan", "decoupled_lr", 0.1, 0.5, hyper, 3)
    rows = in_torch((pytorch_optimizer.Adan, {}), setting)
    assert difference(ours(setting), rows) > 1e-3
    # The divided weights, undone one by one, are the free ones.
    free = replace(setting, coupling="none")
    factors = 1 + setting.rates[:, None] * setting.strength
    before = np.concatenate([setting.start[None], rows[:-1]])
    undone = setting.start + np.cumsum(rows * factors - before, axis=0)
    assert difference(ours(free), undone) <= TOLERANCE


def test_radam_as_l2_leaves_the_decay_out() -> None:
    setting = make_setting("radam", "l2", 0.03, 0.4, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, 3)
    rows = in_torch((pytorch_optimizer.RAdam, {"degenerated_to_sgd": True, "weight_decouple": False}), setting)
    assert difference(ours(setting), rows) > 1e-2
    assert difference(ours(replace(setting, coupling="none")), rows) <= TOLERANCE


def test_radam_skips_the_first_steps_unless_told_otherwise() -> None:
    setting = make_setting("radam", "none", 0.03, 0.0, {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}, 3)
    rows = in_torch((pytorch_optimizer.RAdam, {}), setting)
    assert (rows[:5] == setting.start).all()
    assert (rows[5] != setting.start).any()
    # Here these steps are momentum SGD: the sixth is the first that is rectified, and the same in both.
    here = ours(setting)
    assert (here[0] != setting.start).any()
    assert difference(np.diff(here[4:], axis=0), np.diff(rows[4:], axis=0)) <= TOLERANCE


@pytest.mark.parametrize(
    ("multipliers", "warmup"),
    [(np.minimum(np.arange(1, STEPS + 1) / 50, 1.0), 50), (np.where(np.arange(STEPS) < 5, 0.0, 1.0), 0)],
)
def test_warmup_steps_and_steps_at_lr_0_are_a_schedule(multipliers: np.ndarray, warmup: int) -> None:
    setting = make_setting("schedule_free", "decoupled_lr", 0.03, 0.1, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, 3)
    scheduled = replace(setting, multipliers=multipliers)
    there = in_torch((SCHEDULE_FREE[0], {"warmup_steps": warmup}), setting.steady() if warmup else scheduled)
    assert difference(ours(scheduled), there) <= TOLERANCE


def centered_steps(gradient: float, dtype: torch.dtype, steps: int) -> np.ndarray:
    """The sizes of the steps of torch's centered RMSprop, lr 0.01, under a constant gradient."""
    weights = torch.nn.Parameter(torch.tensor([1.0], dtype=dtype))
    optimizer = torch.optim.RMSprop([weights], lr=0.01, centered=True)
    sizes = []
    for _ in range(steps):
        before = weights.item()
        weights.grad = torch.tensor([gradient], dtype=dtype)
        optimizer.step()
        sizes.append(abs(weights.item() - before))
    return np.array(sizes)


def test_centered_rmsprop_grows_without_bound_under_a_constant_gradient_in_torch_too() -> None:
    # v - m^2 is g^2 (1 - alpha^t) alpha^t: the step grows as alpha^(-t/2), in exact arithmetic up to lr g / eps.
    decayed = 0.99 ** np.arange(1, 1001)
    exact = 0.01 / np.sqrt(decayed * (1 - decayed))
    double = centered_steps(0.1, torch.float64, 4000)
    assert np.abs(double[:1000] / exact - 1).max() < 1e-3
    # Rounding then decides: float64 reaches a million times the first step, and NaN where it makes v - m^2 negative;
    # float32 stops at some ten times.
    assert np.nanmax(double) > 5e5 * double[0]
    assert np.isnan(double[-1])
    single = centered_steps(0.1, torch.float32, 4000)
    assert 30 * single[0] < single.max() < 300 * single[0]
