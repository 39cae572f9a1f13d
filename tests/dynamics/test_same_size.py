"""The strength that keeps the size under noise keeps it in simulation, and is another than the one that keeps the pull."""

from __future__ import annotations

import json
import math

import pytest

from dynamics.answers.convert import convert
from dynamics.answers.predict import _stationary_square
from dynamics.answers.pull_rate import Gradients
from dynamics.answers.same_size import same_size
from dynamics.answers.setting import parse
from dynamics.errors import InputError

# Strong enough to settle within thousands of steps.
PAIRS = [
    ("sgd lr=0.1 l2=0.1", "sgd lr=0.02 momentum=0.9"),
    ("sgd lr=0.1 l2=0.1", "adamw lr=1e-2"),
    ("adamw lr=1e-2 wd=0.5", "sgdw lr=0.1"),
    ("adamw lr=1e-2 wd=0.5", "lion lr=2e-3 beta1=0"),
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_size_is_the_same_in_simulation(source: str, target: str) -> None:
    found = same_size(source, target, Gradients(0.1))
    assert found.target is not None
    sizes = [_stationary_square(parse(text), 0.1, 1.0) for text in (source, found.target)]
    assert None not in sizes
    assert math.sqrt(sizes[0]) == pytest.approx(found.size, rel=0.06)  # type: ignore[arg-type]
    assert math.sqrt(sizes[1]) == pytest.approx(found.size, rel=0.06)  # type: ignore[arg-type]
    json.dumps(found.as_dict(), allow_nan=False)


def test_it_is_not_the_strength_of_the_same_pull() -> None:
    # Same pull: lr strength. Same size: lr / strength, to first order.
    gradients = Gradients(1.0)
    assert convert("sgd lr=0.1 l2=1e-3", "sgd lr=0.2", gradients).strength == pytest.approx(5e-4, rel=1e-3)
    assert same_size("sgd lr=0.1 l2=1e-3", "sgd lr=0.2", gradients).strength == pytest.approx(2e-3, rel=1e-3)


def test_there_and_back_is_the_start() -> None:
    there = same_size("adam lr=1e-3 l2=1e-4", "adamw lr=1e-3", Gradients(1e-2))
    assert there.target is not None
    assert same_size(there.target, "adam lr=1e-3", Gradients(1e-2)).strength == pytest.approx(1e-4, rel=1e-3)


def test_where_there_is_none_it_says_why_or_refuses() -> None:
    with pytest.raises(InputError, match="nadam with l2: no closed form for the size under noise is known"):
        same_size("sgd lr=0.1 l2=1e-3", "nadam", Gradients(1.0))
    with pytest.raises(InputError, match="has no regularizer"):
        same_size("sgd lr=0.1", "adamw", Gradients(1.0))
    # A sign step of 1 cannot leave weights as small as this.
    found = same_size("sgd lr=1e-6 l2=0.1", "lion lr=1 beta1=0", Gradients(1e-6))
    assert found.strength is None
    assert "leaves this size" in found.why
