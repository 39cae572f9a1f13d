"""undertow.testing: what is right passes, what is not fails and says so, and weak tests are shown what they miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.rules import RULES
from undertow.testing import assert_decay, assert_equals, faults, unnoticed
from undertow.testing.strategies import couplings, gradients, rules, schedules


def test_what_is_equal_passes_and_what_is_not_says_from_where() -> None:
    assert_equals(torch.optim.AdamW, "adam", "decoupled_lr", strength=0.01, beta1=0.9)
    with pytest.raises(AssertionError, match=r"is not Adam, L2 in the gradient .* step 1; undertow.probe"):
        assert_equals(torch.optim.AdamW, "adam", "l2")
    with pytest.raises(AssertionError, match=r"strength 0\.02"):
        assert_equals(torch.optim.AdamW, "adam", "decoupled_lr", strength=0.02)
    with pytest.raises(InputError, match=r"momentum 0\.9"):
        assert_equals(torch.optim.AdamW, "adam", "decoupled_lr", momentum=0.9)
    with pytest.raises(InputError, match="'adamm' is unknown"):
        assert_equals(torch.optim.AdamW, "adamm")


def test_a_tolerance_lets_float32_through() -> None:
    decoupled: dict[str, Any] = {"decoupled_weight_decay": True, "weight_decay": 0.1}
    with pytest.raises(AssertionError):  # torch keeps a product of it in float32
        assert_equals(lambda p: torch.optim.NAdam(p, **decoupled), "nadam", "decoupled_lr")
    assert_equals(lambda p: torch.optim.NAdam(p, **decoupled), "nadam", "decoupled_lr", tolerance=1e-6)


def test_decay_is_asserted_group_by_group() -> None:
    def grouped(light: Callable[[torch.Tensor], bool]) -> Callable[[torch.nn.Module], Any]:
        return lambda net: torch.optim.AdamW(
            [
                {"params": [p for p in net.parameters() if not light(p)], "weight_decay": 0.1},
                {"params": [p for p in net.parameters() if light(p)], "weight_decay": 0.0},
            ]
        )

    assert_decay(grouped(lambda p: p.ndim < 2), "decoupled_lr")
    with pytest.raises(AssertionError, match=r"not L2 in the gradient of 0\.1"):
        assert_decay(grouped(lambda p: p.ndim < 2), "l2")
    with pytest.raises(AssertionError, match=r"of 0\.2"):
        assert_decay(lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1), "l2", 0.2)


def test_a_test_that_looks_at_the_sign_alone_misses_most_and_ours_misses_nothing() -> None:
    def weak(factory: Callable[..., Any]) -> None:
        w = torch.nn.Parameter(torch.ones(3))
        optimizer = factory([w], lr=0.1, weight_decay=0.1)
        w.grad = torch.ones(3)
        optimizer.step()
        assert (w < 1).all()

    def strong(factory: Callable[..., Any]) -> None:
        assert_equals(lambda parameters: factory(parameters, weight_decay=0.1), "momentum", "l2")

    every = [fault.what for fault in faults("momentum", "l2")]
    assert len(every) >= 6
    assert len(unnoticed(weak, "momentum", "l2")) > len(every) / 2
    assert unnoticed(strong, "momentum", "l2") == []
    with pytest.raises(AssertionError, match="fails where nothing is wrong"):
        unnoticed(lambda factory: factory([torch.nn.Parameter(torch.ones(1))], lr=-1.0), "momentum", "l2")


@given(st.data())
def test_what_is_drawn_is_what_it_says(data: st.DataObject) -> None:
    multipliers, g = data.draw(schedules(7)), data.draw(gradients(7, 3))
    assert multipliers.shape == (7,)
    assert multipliers[0] == 1
    assert (multipliers > 0).all()
    assert g.shape == (7, 3)
    assert np.isfinite(g).all()
    assert data.draw(rules()) in RULES
    assert data.draw(couplings()) in COUPLINGS
