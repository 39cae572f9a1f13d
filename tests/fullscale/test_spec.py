"""What a run may be asked to be."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.rules import RULES
from fullscale.spec import MODELS, RunSpec

GOOD: dict[str, Any] = {
    "digest": "d",
    "width": 0.125,
    "optimizer": "adam",
    "coupling": "l2",
    "lr": 1e-3,
    "strength": 1e-4,
    "batch": 40,
    "epochs": 10,
    "seeds": (0, 1),
}

not_a_size = st.one_of(
    st.floats(max_value=0, exclude_max=True, allow_subnormal=False), st.sampled_from([math.nan, math.inf])
)
too_small = st.one_of(st.just(0), st.integers(max_value=0))
INVALID: dict[str, st.SearchStrategy[Any]] = {
    "width": st.one_of(not_a_size, st.just(0.0)),
    "optimizer": st.text().filter(lambda name: name not in RULES),
    "coupling": st.text().filter(lambda name: name not in COUPLINGS),
    "lr": not_a_size,
    "strength": not_a_size,
    "batch": st.one_of(st.just(1), st.integers(max_value=1)),
    "epochs": too_small,
    "seeds": st.one_of(
        st.just(()),
        st.lists(st.integers(0, 9), min_size=1).map(lambda seeds: (*seeds, seeds[0])),
        st.integers(max_value=-1).map(lambda seed: (seed,)),
        st.integers(min_value=2**63).map(lambda seed: (0, seed)),
    ),
    "schedule": st.text().filter(lambda name: name not in ("constant", "step", "cosine")),
    "hyper": st.one_of(
        st.sampled_from(["beta1", "beta2"]).flatmap(
            lambda name: st.one_of(not_a_size, st.floats(1, 1e9)).map(lambda value: ((name, value),))
        ),
        not_a_size.map(lambda value: (("eps", value),)),
        st.sampled_from(["momentum", "alpha", "lr", "wd"]).map(lambda name: ((name, 0.5),)),
    ),
    "measure_every": too_small,
    "validation": st.one_of(not_a_size, st.floats(min_value=1)),
    "model": st.text().filter(lambda name: name not in MODELS),
    "head": st.one_of(st.just("imagenet"), st.text().filter(lambda name: name != "cifar")),  # BasicNet has one
    "precision": st.text().filter(lambda name: name not in ("float32", "bf16")),
    "start": st.text(min_size=1),  # for two seeds
}
# Both values of a flag are possible.
FREE = {"digest", "augment", "thresholds"}


@pytest.mark.parametrize("name", INVALID)
@given(data=st.data())
def test_an_impossible_value_is_refused(name: str, data: st.DataObject) -> None:
    value = data.draw(INVALID[name])
    with pytest.raises(InputError) as caught:
        RunSpec(**GOOD | {name: value})
    assert "accepted" in str(caught.value) or "needs" in str(caught.value) or "it has" in str(caught.value)


def test_every_field_but_the_free_ones_has_values_that_are_refused() -> None:
    assert {f.name for f in fields(RunSpec)} == {*INVALID, *FREE}


def test_a_strength_needs_a_coupling() -> None:
    with pytest.raises(InputError, match=r"^strength 0\.0001 with coupling none: name the coupling it shall enter by$"):
        RunSpec(**GOOD | {"coupling": "none"})
    RunSpec(**GOOD | {"coupling": "none", "strength": 0.0})


@pytest.mark.parametrize("model", [name for name in MODELS if name != "basicnet"])
def test_only_basicnet_trains_several_seeds_side_by_side(model: str) -> None:
    with pytest.raises(InputError, match=rf"^seeds \[0, 1\] with {model}: one seed a run is accepted$"):
        RunSpec(**GOOD | {"model": model})
    for head in MODELS[model]:
        RunSpec(**GOOD | {"model": model, "head": head, "seeds": (1,)})


def test_rules_of_whole_tensors_run_alone_and_those_of_matrices_not_at_all() -> None:
    with pytest.raises(InputError, match=r"^seeds \[0, 1\] with lamb: one seed a run is accepted$"):
        RunSpec(**GOOD | {"optimizer": "lamb"})
    RunSpec(**GOOD | {"optimizer": "lamb", "seeds": (1,)})
    with pytest.raises(InputError, match=r"^optimizer 'muon' takes matrices only"):
        RunSpec(**GOOD | {"optimizer": "muon"})


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
        "seeds": (1,),
    }
    spec = RunSpec(**GOOD | given | {"hyper": tuple(RULES[rule].defaults.items())})
    stored = json.loads(json.dumps(spec.as_dict()))
    back = stored | {"seeds": tuple(stored["seeds"]), "hyper": tuple(map(tuple, stored["hyper"]))}
    assert RunSpec(**back) == spec


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0] * 10),
        ("step", [1.0] * 8 + [0.1] * 2),
        ("cosine", [(1 + math.cos(math.pi * t / 10)) / 2 for t in range(10)]),
    ],
)
def test_the_schedule_spans_the_run(schedule: str, expected: list[float]) -> None:
    spec = RunSpec(**GOOD | {"schedule": schedule})
    assert spec.multiplier(10)(np.arange(10)) == pytest.approx(expected)
