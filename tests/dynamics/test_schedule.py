"""Named schedules are torch's: its own schedulers, stepped, are the oracle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as torchs

from dynamics.answers.schedule import EXACT, SCHEDULES, plan
from dynamics.errors import InputError


def torch_multipliers(name: str, steps: int, warmup: int | None, final: float, fall: int) -> np.ndarray:
    """Of torch's schedulers as a practitioner composes them, at lr 0.5."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    optimizer.step()
    if name == "onecycle":
        share = 0.3 if warmup is None else warmup / steps
        made: torchs.LRScheduler = torchs.OneCycleLR(optimizer, 0.5, total_steps=steps, pct_start=share)
    else:
        rise = warmup or 0
        left = steps - rise
        match name:
            case "constant":
                made = torchs.ConstantLR(optimizer, factor=1.0)
            case "step":
                made = torchs.MultiStepLR(optimizer, [left // 3, 2 * left // 3], 0.1)
            case "linear":
                made = torchs.LinearLR(optimizer, 1.0, final, left)
            case "trapezoid":
                made = torchs.LinearLR(optimizer, 1.0, final, fall)
            case _:
                made = torchs.CosineAnnealingLR(optimizer, left, eta_min=final * 0.5)
        parts, ends = [made], []
        if name == "trapezoid" and fall < left:
            parts, ends = [torchs.ConstantLR(optimizer, factor=1.0), made], [steps - fall]
        if rise:
            parts, ends = [torchs.LinearLR(optimizer, 1 / (rise + 1), 1.0, rise), *parts], [rise, *ends]
        made = torchs.SequentialLR(optimizer, parts, ends) if ends else made
    found = []
    for t in range(steps):
        found.append(optimizer.param_groups[0]["lr"] / 0.5)
        if t + 1 < steps:
            made.step()
    return np.array(found)


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=30)
@given(
    steps=st.integers(1, 60),
    warmup=st.none() | st.integers(0, 59),
    final=st.sampled_from([0.0, 0.1, 1.0]),
    share=st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore")
def test_each_is_what_torch_does(name: str, steps: int, warmup: int | None, final: float, share: float) -> None:
    final = final if name in ("cosine", "warmup-cosine", "linear", "trapezoid") else 0.0
    if warmup is not None and warmup >= steps:
        warmup = steps - 1
    if name == "warmup-cosine" and warmup is None:
        warmup = 0
    if name == "onecycle" and warmup is not None and warmup / steps * steps - 1 == 0:
        with pytest.raises(InputError, match="neither 1 step nor all"):
            plan(name, steps, warmup)
        return
    fall = max(1, round(share * (steps - (warmup or 0))))
    found = plan(name, steps, warmup, final, fall if name == "trapezoid" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = torch_multipliers(name, steps, warmup, final, fall)
    np.testing.assert_allclose(found.multipliers(np.arange(steps)), wanted, atol=1e-12)
    assert found.warmup < steps
    assert found.said.startswith(name)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [3 * EXACT, 10**9, 2**53])
def test_long_runs_are_summed_by_blocks(name: str, steps: int) -> None:
    fall = steps // 5 if name == "trapezoid" else None
    found = plan(name, steps, steps // 7 if name != "constant" else None, decay_steps=fall)
    edges, multipliers = found.blocks
    assert (edges[0], edges[-1]) == (0, steps)
    assert np.all(np.diff(edges) > 0)
    if steps == 3 * EXACT:
        wanted = found.multipliers(np.arange(steps)).sum()
        np.testing.assert_allclose((np.diff(edges) * multipliers).sum(), wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("weekly", 10), "schedule 'weekly' is unknown: accepted are constant, onecycle"),
        (("cosine", 0), "steps 0: a whole number from 1"),
        (("cosine", 1.5), "steps 1.5: a whole number"),
        (("cosine", 2**60), "steps .*: a whole number from 1 to"),
        (("cosine", 10, 10), "warmup 10: fewer than the 10 steps"),
        (("cosine", 10, -1), "warmup -1: a whole number from 0"),
        (("warmup-cosine", 10), "warmup-cosine without warmup"),
        (("onecycle", 10, 1), "neither 1 step nor all"),
        (("onecycle", 10, None, 0.1), "final 0.1: onecycle has none"),
        (("linear", 10, None, 2.0), "final 2.0: a finite number from 0 to 1"),
        (("linear", 10, None, 0.0, 3), "decay_steps 3: linear has none, trapezoid has"),
        (("trapezoid", 10), "trapezoid without decay_steps"),
        (("trapezoid", 10, 4, 0.0, 7), "decay_steps 7: a whole number from 1 to 6"),
    ],
)
def test_what_is_no_schedule_is_refused(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan(*arguments)  # type: ignore[arg-type]
