"""Parameters and settings that an optimizer cannot take: InputError, one line, at once; what torch calls a TypeError is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer


def one() -> nn.Parameter:
    return nn.Parameter(torch.ones(2))


PARAMETERS: dict[str, tuple[Callable[[], Any], str]] = {
    "none at all": (list, "empty parameter list"),
    "None": (lambda: None, "params None: an iterable"),
    "a number": (lambda: 3, "params 3: an iterable"),
    "a network": (lambda: nn.Sequential(nn.Linear(2, 2)), r"params Sequential\(.*: an iterable"),
    "a group that is in no list": (lambda: {"params": [one()]}, r"params \{'params': .*: an iterable"),
    "a tensor": (one, "should be an iterable of Tensors or dicts"),
    "text": (lambda: "weight", "params 'weight'"),
    "NumPy": (lambda: np.ones((2, 2)), "can only optimize Tensors, .* numpy.ndarray"),
    "a NumPy number": (lambda: np.ones(()), "an iterable of leaf tensors"),
    "arrays in a list": (lambda: [one(), np.ones(2)], "can only optimize Tensors"),
    "None in a list": (lambda: [one(), None], "can only optimize Tensors"),
    "nested": (lambda: [[one()]], "can only optimize Tensors"),
    "a group that is None": (lambda: [{"params": [one()]}, None], "parameter group None: a dictionary"),
    "no params": (lambda: [{"lr": 0.1}], "KeyError 'params'"),
    "params None": (lambda: [{"params": None}], "not iterable; an iterable"),
    "a set": (lambda: [{"params": {one()}}], "ordered collections"),
    "half a name": (lambda: [("weight",)], "IndexError"),
    "a name for one": (lambda: [("weight", one()), one()], "with/without names"),
    "integers": (lambda: [one(), torch.ones(2, dtype=torch.int64)], r"parameter of torch\.int64"),
    "booleans": (lambda: [torch.ones(2, dtype=torch.bool)], r"parameter of torch\.bool"),
    "eight bits": (lambda: [torch.ones(2).to(torch.float8_e5m2)], r"parameter of torch\.float8_e5m2"),
    "sparse": (lambda: [torch.eye(2).to_sparse()], r"torch\.sparse_coo: dense ones"),
    "no leaf": (lambda: [one() * 2], "non-leaf"),
    "twice": (lambda: [{"params": [p := one()]}, {"params": [p]}], "more than one parameter group"),
    "a rule of its own": (lambda: [{"params": [one()], "rule": "sgd"}], "parameter group with 'rule'"),
    "one beta": (lambda: [{"params": [one()], "beta1": 0.5}], "parameter group with 'beta1': betas"),
    "another rule's setting": (lambda: [{"params": [one()], "momentum": 0.9}], "'momentum': adam takes lr, .*betas"),
    "a way of torch's": (lambda: [{"params": [one()], "differentiable": True}], "with 'differentiable': adam takes"),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_what_are_no_parameters_is_refused(case: str) -> None:
    make, words = PARAMETERS[case]
    with pytest.raises(InputError, match=words) as caught:
        Optimizer(make(), "adam")
    assert "\n" not in str(caught.value)
    if "Tensors" in words:
        assert isinstance(caught.value, TypeError)


def test_lazy_parameters_are_taken_but_where_a_matrix_is_asked_for() -> None:
    Optimizer(nn.LazyLinear(2).parameters(), "adam")
    with pytest.raises(InputError, match="lazy module before its first pass: muon"):
        Optimizer([nn.LazyLinear(2, bias=False).weight], "muon")


NO_NUMBERS = (None, "0.1", True, [0.1], 1j, np.array(0.1), object())
NO_FLAGS = (None, "True", 1, 0.5, np.True_, torch.tensor(True))
TENSORS = (torch.tensor([0.1, 0.2]), torch.tensor(True), torch.tensor(1j), torch.tensor(0.1, device="meta"))
SETTINGS: dict[str, tuple[Any, ...]] = {
    "lr": (*NO_NUMBERS[1:], *TENSORS, torch.tensor(-1.0), -1, float("inf"), 10**400),
    "weight_decay": (*NO_NUMBERS, *TENSORS, torch.tensor(0.1), -1, float("nan"), 10**400),
    "eps": (*NO_NUMBERS, *TENSORS, -1e-8),
    "beta1": (*NO_NUMBERS, 1, -0.1),
    "betas": (None, 0.9, (0.9,), (0.9, 0.99, 0.999), ("0.9", 0.99), (0.9, None), (True, 0.9), torch.ones(2) / 2),
    "maximize": NO_FLAGS,
    "capturable": NO_FLAGS,
}
WRONG = [(name, value) for name, values in SETTINGS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_is_no_value_of_a_setting_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Optimizer([one()], "adam", "l2", **{name: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    if name != "beta1":
        optimizer = Optimizer([one()], "adam", "l2")
        with pytest.raises(InputError):
            optimizer.add_param_group({"params": [one()], name: value})
        assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("value", [None, ["adam"], {}, 3, np.zeros((2, 2)), b"adam", torch.optim.Adam])
def test_what_is_no_name_of_a_rule_or_coupling_is_refused(value: Any) -> None:
    for given in ((value,), ("adam", value)):
        with pytest.raises(InputError, match="is unknown: accepted are") as caught:
            Optimizer([one()], *given)
        assert "\n" not in str(caught.value)


def test_numbers_of_other_kinds_are_taken_as_those_of_python() -> None:
    ends = []
    for kind in (float, np.float32, np.float64):
        p = one()
        optimizer = Optimizer([p], "adam", "l2", lr=kind(0.5), weight_decay=kind(0.25), betas=(kind(0.5), kind(0.75)))
        for _ in range(2):
            p.grad = torch.ones(2)
            optimizer.step()
            optimizer.param_groups[0]["lr"] = kind(0.125)  # as a scheduler leaves it
        ends.append(p.detach())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


def test_beta1_and_betas_are_one_thing() -> None:
    with pytest.raises(InputError, match=r"betas \(0.5, 0.9\) beside beta1: one of the two"):
        Optimizer([one()], "adam", beta1=0.9, betas=(0.5, 0.9))


def test_what_is_noted_beside_a_groups_settings_stays() -> None:
    """Names and multipliers of other libraries, and the flags at False that torch's own groups have."""
    beside = {"name": "head", "lr_scale": 0.5, "initial_lr": 0.1, "foreach": None, "differentiable": False}
    group = Optimizer([{"params": [one()], **beside}], "adam").param_groups[0]
    assert {name: group[name] for name in beside} == beside


WRITTEN: tuple[tuple[str, Any], ...] = (
    *((name, value) for name, values in SETTINGS.items() for value in values if name != "beta1"),
    ("lr", None),
    ("lr", float("nan")),
    ("base_lr", None),
    ("betas", [0.9, 1.0]),
    ("betas", {}),
)


@pytest.mark.parametrize(("name", "value"), WRITTEN)
def test_what_is_written_into_a_group_is_refused_by_the_next_step(name: str, value: Any) -> None:
    if name == "lr" and torch.is_tensor(value) and value.numel() == 1:
        return  # not read: that would wait for its device
    ends = []
    for wrong in (False, True):
        p, q = one(), one()
        optimizer = Optimizer([{"params": [p]}, {"params": [q]}], "adam", "l2")
        for _ in range(2):
            p.grad = q.grad = torch.ones(2)
            optimizer.step()
        before = optimizer.param_groups[1][name]
        if wrong:
            optimizer.param_groups[1][name] = value
            with pytest.raises(InputError) as caught:
                optimizer.step()
            assert "\n" not in str(caught.value)
            optimizer.param_groups[1][name] = before
        optimizer.step()
        ends.append(p.detach())
    assert torch.equal(*ends)  # a refused step moves nothing


# What is done to a parameter, and the words of the refusal.
CHANGES: dict[str, tuple[Callable[[Optimizer, nn.Parameter], Any], str]] = {
    "precision": (
        lambda _, p: setattr(p, "data", p.data.double()),
        r"torch\.float32, .* for a parameter of torch\.float64",
    ),
    "shape": (lambda _, p: setattr(p, "data", torch.ones(3)), r".*shape \(2,\), .* for a parameter of .* shape \(3,\)"),
    "device": (
        lambda optimizer, p: optimizer.state[p].update(m=torch.ones(2, device="meta")),
        r".*on meta for a parameter of .*on cpu",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_parameter_that_is_another_than_its_state_is_refused_before_any_moves(change: str) -> None:
    do, words = CHANGES[change]
    first, p = one(), one()
    optimizer = Optimizer([first, p], "adam")
    first.grad = p.grad = torch.ones(2)
    optimizer.step()
    p.grad = None
    do(optimizer, p)
    p.grad = torch.ones_like(p)
    before = first.detach().clone()
    with pytest.raises(InputError, match=f"state of {words}"):
        optimizer.step()
    assert torch.equal(first, before)


def test_a_parameter_that_is_another_than_its_gradient_is_refused_before_any_moves() -> None:
    for rule in ("sgd", "adam"):
        first, p = one(), one()
        optimizer = Optimizer([first, p], rule)
        first.grad = p.grad = torch.ones(2)
        p.data = p.data.double()
        with pytest.raises(InputError, match=r"gradient of torch\.float32, .* for a parameter of torch\.float64"):
            optimizer.step()
        assert torch.equal(first, one())


@pytest.mark.parametrize("closure", [3, "x", 0.5, float])
def test_what_is_no_closure_is_refused(closure: Any) -> None:
    with pytest.raises(InputError, match=r"closure .*: a function is accepted"):
        Optimizer([one()], "adam").step(closure)
