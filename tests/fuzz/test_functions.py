"""A few hundred calls with one value put wrong, the same at every run; `make fuzz` draws more of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest
import torch

import undertow
from dynamics.errors import InputError
from fuzz.calls import CALLS, LEFT_OUT
from fuzz.functions import BAD, Case, Place, case, cases, fits, judge, places

# Their every value is tried: cheap, and the doors to most of the rest.
CHEAP = ("undertow.parse", "undertow.pull_share", "mean_interval", "every_cell", "within")
ROOMS = (
    "undertow",
    "fullscale.graph",
    "fullscale.prune",
    "fullscale.measure",
    "fullscale.models",
    "fullscale.data",
    "fullscale.studies",
    "fullscale.watched",
    "fullscale.monitor",
)


@pytest.mark.parametrize("name", CHEAP)
def test_a_bad_value_is_refused_in_one_line_or_right(name: str) -> None:
    assert [fault for place in places(name) for bad in BAD if (fault := judge(case(name, place, bad)))] == []


# Where values were found that only look like what is wanted: they cannot be gone through, compared or multiplied.
ONLY_ALIKE: tuple[tuple[str, Place, str], ...] = (
    ("undertow.parameter_groups", ("skip",), "tensor 0-D"),
    ("Activity.sweep", ("thresholds",), "tensor 0-D"),
    ("on_images", ("runs",), "tensor 0-D"),
    ("on_images", ("runs",), "['x']"),
    ("undertow.measure", ("images",), "tensor sparse"),
    ("batches", ("images",), "tensor sparse"),
    ("undertow.certify", ("held_out",), "tensor sparse"),
    ("multiply_adds", ("example",), "tensor sparse"),
    ("Activity.below", ("threshold",), "fraction"),
    ("Activity.constant", ("threshold",), "fraction"),
    ("Activity.constant", ("threshold",), "10**30"),
    ("mean_interval", ("confidence",), "fraction"),
    ("every_cell", ("level",), "fraction"),
    ("holm", ("level",), "fraction"),
    ("build", ("architecture",), "text"),
    ("Store", ("path",), "None"),
    ("Store", ("path",), "text"),
    ("find_studies", ("name",), "awkward"),
)


@pytest.mark.parametrize(("name", "place", "bad"), ONLY_ALIKE)
def test_what_only_looks_alike_is_refused_or_right(name: str, place: Place, bad: str) -> None:
    assert judge(case(name, place, bad)) == ""


@pytest.mark.parametrize("gradient", [0.5, torch.tensor(0.5)])
def test_a_tensor_of_no_dimension_is_a_weight(gradient: float | torch.Tensor) -> None:
    """With a gradient that is a number or a tensor, and rates that are tensors which ask for gradients."""
    lr = torch.tensor(0.1, requires_grad=True)
    split = undertow.pull_share("sgd", "l2", torch.tensor(1.0), gradient, lr=lr, strength=0.5)
    assert float(split.w) == pytest.approx(0.9)


@pytest.mark.parametrize("kind", [torch.Tensor.to_sparse, torch.Tensor.long, torch.Tensor.bool, torch.Tensor.cfloat])
def test_a_weight_is_dense_and_of_real_floating_point_numbers(kind: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = kind(torch.eye(2))
    with pytest.raises(InputError, match=r"weight tensor.*: a dense tensor of real floating point numbers is accepted"):
        undertow.pull_share("lars", "l2", x, x, strength=0.1)


def test_cases_are_drawn_again_by_their_seed() -> None:
    names = [[one.name for one in cases(seed, 20)] for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    assert len(set(names[0])) == 20


def test_a_fault_is_seen() -> None:
    def refused(message: str) -> Case:
        def run() -> None:
            raise InputError(message)

        return Case("a", run)

    assert judge(refused("a 1: 2 is accepted")) == ""
    assert judge(refused("a\nb")) == ""  # the class itself joins lines
    assert judge(Case("a", lambda: None)) == ""
    assert judge(Case("a", lambda: int("x"))).startswith("a: ValueError: invalid literal")  # type: ignore[arg-type]
    assert not fits(True, int)
    assert not fits("x", float)
    assert not fits(float("nan"), float)


def test_every_public_name_is_called_or_a_reason_stands() -> None:
    called = {name.rpartition(".")[2] for name in CALLS} | {name.partition(".")[0] for name in CALLS} | set(LEFT_OUT)
    missing = {room: sorted(set(import_module(room).__all__) - called) for room in ROOMS}
    assert {room: names for room, names in missing.items() if names} == {}
