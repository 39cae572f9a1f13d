"""What a run may be asked to be."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.rules import RULES
from fullscale.spec import MODELS, RunSpec

GOOD: dict[str, Any] = {
    "digest": "d", "width": 0.125, "optimizer": "adam", "coupling": "l2", "lr": 1e-3, "strength": 1e-4, "batch": 40,
    "epochs": 10, "seed": 0,
}  # fmt: skip

not_a_size = st.floats(max_value=0, exclude_max=True, allow_subnormal=False) | st.sampled_from([math.nan, math.inf])
too_small = st.just(0) | st.integers(max_value=0)
betas = st.tuples(st.sampled_from(["beta1", "beta2"]), not_a_size | st.floats(1, 1e9))
INVALID: dict[str, st.SearchStrategy[Any]] = {
    "width": not_a_size | st.just(0.0),
    "optimizer": st.text().filter(lambda name: name not in RULES),
    "coupling": st.text().filter(lambda name: name not in COUPLINGS),
    "lr": not_a_size,
    "strength": not_a_size,
    "batch": st.just(1) | st.integers(max_value=1),
    "epochs": too_small,
    "seed": st.integers(max_value=-1) | st.integers(min_value=2**63),
    "schedule": st.text().filter(lambda name: name not in ("constant", "step", "cosine")),
    "hyper": (
        betas | st.tuples(st.just("eps"), not_a_size) | st.tuples(st.sampled_from(["alpha", "lr"]), st.just(0.5))
    ).map(lambda pair: (pair,)),
    "measure_every": too_small,
    "validation": not_a_size | st.floats(min_value=1),
    "held_out": not_a_size | st.floats(min_value=1),
    "model": st.text().filter(lambda name: name not in MODELS),
    "head": st.just("imagenet") | st.text().filter(lambda name: name != "cifar"),  # BasicNet has one
    "precision": st.text().filter(lambda name: name not in ("float32", "bf16")),
    "size": st.integers(max_value=-1),
    "label_noise": not_a_size | st.floats(min_value=1, exclude_min=True),
    "processes": too_small | st.sampled_from([3, 21, 40]),  # of a batch of 40
    "sync_batchnorm": st.just(True),  # for one process
}
# Whatever stands in them is possible, here.
FREE = {"digest", "augment", "thresholds", "start", "classes", "watch", "record"}


@pytest.mark.parametrize("name", INVALID)
@given(data=st.data())
def test_an_impossible_value_is_refused(name: str, data: st.DataObject) -> None:
    value = data.draw(INVALID[name])
    with pytest.raises(InputError) as caught:
        RunSpec(**GOOD | {name: value})
    assert "accepted" in str(caught.value) or "needs" in str(caught.value) or "it has" in str(caught.value)


def test_every_field_but_the_free_ones_has_values_that_are_refused() -> None:
    assert {f.name for f in fields(RunSpec)} == {*INVALID, *FREE}


CLASHES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"coupling": "none"}, {"strength": 0.0}, r"strength 0\.0001 with coupling none: name the coupling it shall enter by$"),
    ({"validation": 0.1, "held_out": 0.1}, {"validation": 0.0}, r"validation 0\.1 and held_out 0\.1: one of them is accepted$"),
    ({"optimizer": "muon"}, {"optimizer": "adam"}, "optimizer 'muon' takes matrices only"),
]  # fmt: skip


def test_values_that_do_not_go_together() -> None:
    for change, remedy, words in CLASHES:
        with pytest.raises(InputError, match=f"^{words}"):
            RunSpec(**GOOD | change)
        RunSpec(**GOOD | change | remedy)


@given(
    st.sampled_from([name for name, rule in RULES.items() if rule.unit != "matrix"]),
    st.sampled_from([name for name in COUPLINGS if name != "none"]),
    st.floats(0, 10, allow_subnormal=False),
    st.floats(0, 10, allow_subnormal=False),
    st.sampled_from(["constant", "step", "cosine"]),
)
def test_a_possible_run_is_accepted_and_comes_back_from_json(
    rule: str, coupling: str, lr: float, strength: float, schedule: str
) -> None:
    given = {
        "optimizer": rule,
        "coupling": coupling,
        "lr": lr,
        "strength": strength,
        "schedule": schedule,
    }
    spec = RunSpec(**GOOD | given | {"hyper": tuple(RULES[rule].defaults.items())})
    assert RunSpec.of(json.loads(json.dumps(spec.as_dict()))) == spec


def test_a_field_that_is_new_leaves_the_keys_of_older_runs_alone() -> None:
    assert RunSpec(**GOOD).as_dict() == GOOD
    changed = RunSpec(**GOOD, classes=("cat", "dog"), size=16)
    assert changed.as_dict() == GOOD | {"classes": ("cat", "dog"), "size": 16}
    with pytest.raises(InputError, match="is no run"):
        RunSpec.of({"digest": "d"})
