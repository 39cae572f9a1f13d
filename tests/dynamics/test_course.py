"""What is left over a run: torch's own optimizer and scheduler, stepped on zeros, are the oracle."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as torchs

from dynamics.answers.course import Course, course, in_words
from dynamics.answers.schedule import SCHEDULES, plan
from dynamics.answers.setting import parse
from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.rules import BUILT_IN


def of(text: str, *schedule: Any, per: float | None = None) -> Course:
    return course(parse(text), plan(*schedule), steps_per_epoch=per)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (torch.optim.AdamW, "adamw lr=0.01 weight_decay=0.1"),
        (torch.optim.Adam, "adam lr=0.01 weight_decay=0.1"),
        (torch.optim.SGD, "sgd lr=0.01 weight_decay=0.1"),
        (torch.optim.RMSprop, "rmsprop lr=0.01 weight_decay=0.1"),
    ],
)
@pytest.mark.parametrize("steps", [1, 2, 60])
def test_left_is_what_torch_leaves(kind: Any, text: str, steps: int) -> None:
    w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = kind([w], lr=0.01, weight_decay=0.1)
    scheduler, path = torchs.CosineAnnealingLR(optimizer, steps), [1.0]
    for _ in range(steps):
        w.grad = torch.zeros_like(w)
        optimizer.step()
        scheduler.step()
        path.append(w.item())
    found = of(text, "cosine", steps).left
    assert found.size == pytest.approx(path[-1], rel=1e-9)
    assert found.half_by is not None
    half = math.sqrt(path[-1])
    assert path[found.half_by] <= half * (1 + 1e-9)
    assert path[found.half_by - 1] > half


@pytest.mark.parametrize("rule", BUILT_IN)
@settings(max_examples=3)
@given(schedule=st.sampled_from(SCHEDULES), steps=st.integers(4, 40), strength=st.sampled_from([0.0, 1e-4, 0.5]))
def test_every_rule_has_an_answer_that_is_plain_data(rule: str, schedule: str, steps: int, strength: float) -> None:
    for name in ("l2", "decoupled_lr"):
        text = f"{rule} lr=1e-3 {name}={strength}"
        warmup, fall = 2 if schedule == "warmup-cosine" else None, 2 if schedule == "trapezoid" else None
        found = of(text, schedule, steps, warmup, 0.0, fall)
        data = json.dumps(asdict(found))
        assert "NaN" not in data
        assert "Infinity" not in data
        assert set(found.couplings) == set(COUPLINGS) - {"none"}
        assert all(len(line) < 200 for line in in_words(found))
        if strength == 0:
            assert found.left.size == 1


@given(
    schedule=st.sampled_from(SCHEDULES),
    steps=st.integers(10, 3_000),
    warmup=st.integers(2, 9),
    share=st.floats(1e-6, 0.9),
)
@settings(max_examples=40)
def test_the_parts_of_a_closed_run_are_those_of_its_product(
    schedule: str, steps: int, warmup: int, share: float
) -> None:
    planned = plan(schedule, steps, warmup, decay_steps=1 + steps // 20 if schedule == "trapezoid" else None)
    found = course(parse(f"sgd lr=1 decoupled_lr={share}"), planned)
    kept = np.log1p(-share * planned.multipliers(np.arange(steps)))
    left = found.left
    assert left.size == pytest.approx(math.exp(kept.sum()), rel=1e-6)
    assert left.in_warmup == pytest.approx(kept[:warmup].sum() / kept.sum(), rel=1e-6)
    assert left.in_last_tenth == pytest.approx(kept[steps - steps // 10 :].sum() / kept.sum(), rel=1e-4, abs=1e-9)
    assert found.at_peak is not None
    assert found.at_peak.steps == pytest.approx(1 / (share * planned.multipliers(np.arange(steps)).max()))


def test_corrected_decay_falls_with_the_square_and_the_papers_with_the_schedule() -> None:
    found = of("adam lr=0.1 corrected=0.01", "linear", 1_000).couplings
    t = 1 - np.arange(1_000) / 1_000
    for name, shares in (
        ("corrected", 1e-3 * t**2),
        ("decoupled_lr", 1e-3 * t),
        ("decoupled_schedule", 1e-2 * t),
        ("decoupled_constant", 1e-2 * np.ones(1_000)),
    ):
        assert found[name].size == pytest.approx(np.prod(1 - shares), rel=1e-9)


@pytest.mark.parametrize("steps", [10**6, 10**9, 2**53])
def test_a_long_run_costs_no_more_and_is_not_simulated(steps: int) -> None:
    found = of(f"adamw lr=1e-3 weight_decay={1e3 / steps}", "cosine", steps, 1_000)
    assert found.left.size == pytest.approx(math.exp(-0.5), rel=1e-3)
    assert found.couplings["l2"].how == "not simulated beyond 100,000 steps"
    assert found.at_peak is not None
    assert found.at_peak.steps == pytest.approx(steps)


def test_memory_in_epochs_and_whether_the_equilibrium_is_reached() -> None:
    short, long = (of("adamw lr=1e-3 weight_decay=0.1", "constant", n, per=500) for n in (20_000, 25_000))
    assert short.at_peak is not None
    assert short.at_peak.steps == pytest.approx(10_000)
    assert short.at_peak.epochs == pytest.approx(20)
    assert short.memories == pytest.approx(2, rel=1e-3)
    assert (short.reached, long.reached) == (False, True)


def test_edges() -> None:
    silent = of("adamw lr=1e-3 weight_decay=0", "cosine", 100)
    assert (silent.left.size, silent.at_peak, silent.equilibrium) == (1, None, None)
    still = of("adamw lr=0 weight_decay=0.1", "cosine", 100)
    assert still.left.size == 1
    gone = of("sgd lr=1 decoupled_lr=1", "constant", 100)
    assert (gone.left.size, gone.left.how) == (0, "closed form; 0 from step 1 on")
    turned = of("sgd lr=1 decoupled_lr=1.5", "constant", 3)
    assert turned.left.size == pytest.approx(-0.125)
    assert of("sgd lr=1 decoupled_lr=9", "constant", 3).left.size == pytest.approx(-512)
    assert of("sgd lr=1 decoupled_lr=9", "constant", 3).left.how == "closed form; it grows"
    assert of("sgd lr=1 decoupled_lr=9", "constant", 3_000).left.how == "it grows beyond all bounds"
    swings = of("adam lr=1e-2 l2=1e-4", "cosine", 3_000).left
    assert (swings.halvings, swings.half_by) == (None, None)
    assert swings.how.startswith("simulated; it passes 0 by step ")
    assert of("adam lr=1 l2=1 eps=0", "constant", 1).left.size == pytest.approx(1 - 1 / 1, abs=1e-6)
    with pytest.raises(InputError, match="steps_per_epoch 0"):
        of("adamw", "constant", 3, per=0)
