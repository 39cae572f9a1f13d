"""Each rule is pytorch_optimizer's class of that name wherever the formula is the same; where it is not, the expression."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import pytorch_optimizer
import torch
from conformance.in_pytorch_optimizer import PYTORCH_OPTIMIZER, path
from conformance.oracle import TOLERANCE, spelled
from conformance.sides import difference, drawn, make_setting, ours, theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants.source import exchanged
from pytorch_optimizer.optimizer.muon import base as muon_base

from dynamics.couplings import COUPLINGS
from dynamics.libraries.catalogue import elsewhere
from dynamics.rules import RULES

# It adds 1e-15 to what it takes the root of, at a v of 1e-4 or more: half of 1e-11, relative, and a path may be a few
# times as sensitive to it.
UNDER_THE_ROOT = 5e-11


@pytest.fixture(autouse=True)
def _float64(monkeypatch: pytest.MonkeyPatch) -> None:
    # Muon there orthogonalizes in bfloat16; the function that does it takes another dtype.
    whole = functools.partial(muon_base.zero_power_via_newton_schulz_5, dtype=torch.float64)
    monkeypatch.setattr(muon_base, "zero_power_via_newton_schulz_5", whole)


@pytest.mark.parametrize("pair", sorted(PYTORCH_OPTIMIZER), ids="-".join)
@given(data=st.data())
@settings(max_examples=10)
def test_path_is_pytorch_optimizers(pair: tuple[str, str], data: st.DataObject) -> None:
    setting = data.draw(drawn(*pair, {"eps": 1e-7} if pair[0] == "muon" else {}, first=True))
    found = difference(ours(setting), path(PYTORCH_OPTIMIZER[pair], setting))
    assert found <= (UNDER_THE_ROOT if pair[0] == "schedule_free" else TOLERANCE)


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


def test_lamb_has_no_second_correction_a_bound_on_the_norm_and_eps_in_the_ratio() -> None:
    setting = make_setting("lamb", "none", 0.03, 0.0, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-3}, 3)
    rows = path((pytorch_optimizer.Lamb, {}), setting)
    exchanges = {
        "v * (1 / (1 - power2))": "v",
        "lr * size / moves": "-maximum(-size, -10.0) / (moves * (1 - power1) / lr + eps)",
    }
    assert difference(ours(setting), rows) > 1e-3
    there = replace(RULES["lamb"], step=exchanged(RULES["lamb"].step, exchanges))
    assert difference(ours(setting, there), rows) <= TOLERANCE


def test_lars_applies_lr_after_the_buffer_and_adds_norms() -> None:
    setting = make_setting("lars", "none", 0.3, 0.0, {"momentum": 0.9, "trust": 0.01, "eps": 0.0}, 3)
    offer = pytorch_optimizer.LARS, {}
    after = replace(RULES["lars"], step=exchanged(RULES["lars"].step, {"lr * ratio": "ratio", "w - b": "w - lr * b"}))
    assert difference(ours(setting), path(offer, setting)) > 1e-3
    assert difference(ours(setting, after), path(offer, setting)) <= TOLERANCE
    assert difference(ours(setting.steady()), path(offer, setting.steady())) <= TOLERANCE
    # With L2 the norm of the sum stands here, the sum of the norms there.
    pulled = replace(setting.steady(), coupling="l2", strength=0.4)
    assert difference(ours(pulled), path(offer, pulled)) > 1e-3


def test_adan_divides_by_the_decay_after_the_step_unless_told_otherwise() -> None:
    hyper = {"beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8}
    setting = make_setting("adan", "decoupled_lr", 0.1, 0.5, hyper, 3)
    rows = path((pytorch_optimizer.Adan, {}), setting)
    assert difference(ours(setting), rows) > 1e-3
    # The divided weights, undone one by one, are the free ones.
    free = replace(setting, coupling="none")
    factors = 1 + setting.rates[:, None] * setting.strength
    before = np.concatenate([setting.start[None], rows[:-1]])
    undone = setting.start + np.cumsum(rows * factors - before, axis=0)
    assert difference(ours(free), undone) <= TOLERANCE


def test_radam_as_l2_leaves_the_decay_out() -> None:
    setting = make_setting("radam", "l2", 0.03, 0.4, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, 3)
    rows = path((pytorch_optimizer.RAdam, {"degenerated_to_sgd": True, "weight_decouple": False}), setting)
    assert difference(ours(setting), rows) > 1e-2
    assert difference(ours(replace(setting, coupling="none")), rows) <= TOLERANCE


def test_radam_skips_the_first_steps_unless_told_otherwise() -> None:
    setting = make_setting("radam", "none", 0.03, 0.0, {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}, 3)
    rows = path((pytorch_optimizer.RAdam, {}), setting)
    assert (rows[:5] == setting.start).all()
    assert (rows[5] != setting.start).any()
    # Here these steps are momentum SGD: the sixth is the first that is rectified, and the same in both.
    here = ours(setting)
    assert (here[0] != setting.start).any()
    assert difference(np.diff(here[4:], axis=0), np.diff(rows[4:], axis=0)) <= TOLERANCE


def test_every_offer_of_pytorch_optimizer_is_held_to_its_path() -> None:
    offered = {
        (rule.name, coupling)
        for rule in RULES.values()
        for coupling in COUPLINGS
        if "pytorch_optimizer." in elsewhere(rule).offered.get(coupling, "")
    }
    assert offered == set(PYTORCH_OPTIMIZER)
