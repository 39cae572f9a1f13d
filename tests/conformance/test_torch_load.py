"""What load_state_dict takes, whatever made it and when; what is not an optimizer's, or another rule's, is refused whole."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import Parameter

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES

FLAGS = ("maximize", "capturable", "train_mode", "base_lr", "differentiable")
# What other versions of torch, its schedulers and other libraries write into a group.
EXTRA = {
    **dict.fromkeys(("foreach", "fused", "differentiable", "amsgrad", "decoupled_weight_decay"), False),
    **{"initial_lr": 0.1, "max_lr": 1.0, "name": "head", "foreach": None},
}


def made(rule: str, steps: int = 2, **settings: Any) -> Optimizer:
    """An optimizer of two groups that has taken steps."""
    params = [Parameter(torch.linspace(-1, 1, 6).view(3, 2) + k) for k in range(3)]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.02}]
    optimizer = Optimizer(groups, rule, "l2", **{"lr": 0.05, "weight_decay": 0.1, **settings})
    advance(optimizer, steps)
    return optimizer


def advance(optimizer: Optimizer, steps: int) -> torch.Tensor:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for t in range(steps):
        for k, p in enumerate(params):
            p.grad = torch.full_like(p, 0.3 * (-1) ** t + 0.1 * k)
        optimizer.step()
    return torch.stack([p.detach().clone() for p in params])


@given(
    rule=st.sampled_from(sorted(RULES)),
    without=st.sets(st.sampled_from(FLAGS)),
    extra=st.sets(st.sampled_from(sorted(EXTRA))),
    before=st.lists(st.sampled_from(["load", "deepcopy", "pickle", "look"]), max_size=3),
)
def test_a_state_dict_of_any_time_loads_and_the_run_goes_on(rule: str, without: Any, extra: Any, before: Any) -> None:
    optimizer = made(rule)
    best = copy.deepcopy(optimizer.state_dict())
    params = [p for group in optimizer.param_groups for p in group["params"]]
    weights = [p.detach().clone() for p in params]
    expected = advance(optimizer, 2)
    for event in before:
        if event == "load":
            optimizer.load_state_dict(copy.deepcopy(best))
        elif event == "look":
            assert all(optimizer.state[p] is not None for p in params)  # a defaultdict then has an entry
        else:
            optimizer = copy.deepcopy(optimizer) if event == "deepcopy" else pickle.loads(pickle.dumps(optimizer))
    for group in best["param_groups"]:
        for name in without:
            group.pop(name, None)
        group.update({name: EXTRA[name] for name in extra})
    optimizer.load_state_dict(best)
    params = [p for group in optimizer.param_groups for p in group["params"]]
    with torch.no_grad():
        for p, w in zip(params, weights, strict=True):
            p.copy_(w)
    assert torch.equal(advance(optimizer, 2), expected)
    for group in optimizer.param_groups:
        assert {name: group[name] for name in extra} == {name: EXTRA[name] for name in extra}
        assert (group["maximize"], group["capturable"], group.get("train_mode", True)) == (False, False, True)
        assert group["base_lr"] == group["lr"]


def test_a_flag_that_is_not_there_has_its_default_and_not_what_this_optimizer_was_made_with() -> None:
    saved = made("adam").state_dict()
    for group in saved["param_groups"]:
        del group["maximize"], group["capturable"]
    optimizer = made("adam", maximize=True, capturable=True)
    optimizer.load_state_dict(saved)
    assert [(g["maximize"], g["capturable"]) for g in optimizer.param_groups] == [(False, False)] * 2


def test_an_optimizer_that_an_older_version_pickled_goes_on() -> None:
    optimizer, twin = made("schedule_free"), made("schedule_free")
    for group in (optimizer.defaults, *optimizer.param_groups):
        for name in FLAGS:
            group.pop(name, None)
    restored = pickle.loads(pickle.dumps(optimizer))
    assert torch.equal(advance(restored, 2), advance(twin, 2))
    restored.eval()
    restored.add_param_group({"params": [Parameter(torch.ones(2))]})


def test_what_a_schedule_leaves_below_zero_by_rounding_is_loaded() -> None:
    optimizer = made("adam", steps=1)
    plan = torch.optim.lr_scheduler.LinearLR(optimizer, 0.19973819676659238, 0.0, 4)
    for _ in range(4):
        advance(optimizer, 1)
        plan.step()
    assert -1e-16 < optimizer.param_groups[0]["lr"] < 0
    made("adam").load_state_dict(optimizer.state_dict())
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = -1e-3
    with pytest.raises(InputError, match=r"lr -0\.001 is out of range"):
        optimizer.load_state_dict(saved)


def test_eval_mode_is_seen_without_its_flag() -> None:
    optimizer = made("schedule_free")
    optimizer.eval()
    saved = optimizer.state_dict()
    for group in saved["param_groups"]:
        del group["train_mode"]
    other = made("schedule_free")
    other.load_state_dict(saved)
    with pytest.raises(InputError, match="eval mode"):
        other.step()


def test_another_librarys_mode_does_not_stop_a_rule_that_has_none() -> None:
    optimizer = made("adam")
    saved = optimizer.state_dict()
    saved["param_groups"][0]["train_mode"] = False
    optimizer.load_state_dict(saved)
    optimizer.eval()
    advance(optimizer, 1)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_a_rule_without_state_leaves_no_entry(rule: str) -> None:
    optimizer = made(rule)
    assert len(optimizer.state) == len(optimizer.state_dict()["state"]) == (0 if rule == "sgd" else 3)
    assert all(optimizer.state.values())
    older = optimizer.state_dict()
    older["state"] |= {k: {} for k in range(3) if k not in older["state"]}
    optimizer.load_state_dict(older)
    assert all(optimizer.state.values())


def test_state_takes_the_type_of_its_parameter_complex_ones_too() -> None:
    for wide, narrow in ((torch.float64, torch.bfloat16), (torch.complex128, torch.complex64)):
        ends = []
        for dtype in (wide, narrow):
            p = Parameter(torch.ones(2, dtype=dtype))
            optimizer = Optimizer([p], "adam", lr=0.1)
            p.grad = torch.ones_like(p)
            optimizer.step()
            ends.append(optimizer)
        ends[1].load_state_dict(ends[0].state_dict())
        (state,) = ends[1].state.values()
        assert {state[name].dtype for name in RULES["adam"].state} == {narrow}
        ends[1].step()


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda saved: saved["state"][1].update({key: value})


def _grouped(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda saved: saved["param_groups"][1].update({key: value})


FORM = "another form: what the state_dict|what the state_dict"
# Each gets a whole state_dict of adam and changes it in place, or returns another; with the words of the refusal.
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "None": (lambda saved: "replaced", FORM),
    "a list": (lambda saved: [], FORM),
    "empty": (lambda saved: saved.clear(), FORM),
    "no state": (lambda saved: saved.pop("state") and None, FORM),
    "no groups": (lambda saved: saved.pop("param_groups") and None, FORM),
    "state that is a list": (lambda saved: saved.update(state=[]), FORM),
    "groups that are None": (lambda saved: saved.update(param_groups=None), FORM),
    "a group that is None": (lambda saved: saved.update(param_groups=[None, None]), FORM),
    "a group without params": (lambda saved: saved["param_groups"][0].pop("params") and None, FORM),
    "params of lists": (_grouped("params", [[2]]), FORM),
    "too few groups": (lambda saved: saved["param_groups"].pop() and None, "different number of parameter groups: 1"),
    "too large a group": (_grouped("params", [2, 3]), "doesn't match the size of optimizer's group: 2 param"),
    "two of one name": (lambda saved: saved["param_groups"][0].update(params=[0, 0]), "names two parameters alike"),
    "another shape": (_set("m", torch.ones(2, 3)), r"m is torch.float32, .* of shape \(2, 3\)"),
    "integers": (_set("v", torch.ones(3, 2, dtype=torch.int64)), "v is torch.int64"),
    "complex": (_set("v", torch.ones(3, 2) * 1j), "v is torch.complex64"),
    "on meta": (_set("v", torch.ones(3, 2, device="meta")), "on meta: a real tensor"),
    "sparse": (_set("v", torch.ones(3, 2).to_sparse()), "torch.sparse_coo"),
    "NumPy": (_set("v", np.ones((3, 2))), "v is ndarray"),
    "a clock of NaN": (_set("power1", float("nan")), "power1 nan: a finite number"),
    "a clock of NaN in a tensor": (_set("power1", torch.tensor(float("nan"))), "power1 nan: a finite number"),
    "an infinite clock": (_set("power2", float("inf")), "power2 inf: a finite number"),
    "no clock": (_set("power2", None), "power2 None is no number"),
    "a clock of text": (_set("power2", "0.9"), "power2 '0.9' is no number"),
    "a clock of several numbers": (_set("power2", torch.ones(2)), "power2 must be 1-element"),
    "a field too few": (
        lambda saved: saved["state"][1].pop("m") is None,
        "with the state power1, power2, v: adam has m",
    ),
    "a state of nobody": (lambda saved: saved["state"].update({7: saved["state"][1]}), "with the state 7"),
    "a state that is none": (lambda saved: saved["state"].update({1: None}), "with the state 1"),
    "no lr": (lambda saved: saved["param_groups"][1].pop("lr") is None, "without 'lr'"),
    "no betas": (lambda saved: saved["param_groups"][1].pop("betas") is None, "without 'betas'"),
    "an lr that is None": (_grouped("lr", None), "lr None is no number"),
    "a base_lr of text": (_grouped("base_lr", "0.1"), "base_lr '0.1': a finite number"),
    "a base_lr of NaN": (_grouped("base_lr", float("nan")), "base_lr nan: a finite number"),
    "a flag that is a number": (_grouped("maximize", 1), "maximize 1: True or False"),
    "a flag that is None": (_grouped("capturable", None), "capturable None: True or False"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_not_a_state_dict_of_this_rule_is_refused_whole(case: str) -> None:
    change, words = BROKEN[case]
    optimizer = made("adam")
    saved = copy.deepcopy(optimizer.state_dict())
    changed = change(saved)
    broken = saved if changed is None or isinstance(changed, bool) else None if changed == "replaced" else changed
    before, states = str(optimizer.state_dict()), dict(optimizer.state)
    with pytest.raises(InputError, match=words) as caught:
        optimizer.load_state_dict(broken)
    assert "\n" not in str(caught.value)
    assert str(optimizer.state_dict()) == before
    assert all(optimizer.state[p] is state for p, state in states.items())
    optimizer.load_state_dict(made("adam").state_dict())  # and no trace of the refusal is left


def test_torchs_own_state_is_refused() -> None:
    for ours, theirs in (("adam", torch.optim.Adam), ("momentum", torch.optim.RMSprop), ("sgd", torch.optim.Adagrad)):
        p = Parameter(torch.ones(2))
        optimizer = theirs([p])
        p.grad = torch.ones(2)
        optimizer.step()
        saved = optimizer.state_dict()
        saved["param_groups"][0].setdefault("momentum", 0.9)
        with pytest.raises(InputError, match=f"state_dict with the state .*: {ours} has"):
            Optimizer([p], ours).load_state_dict(saved)


def test_names_in_another_order_are_refused_and_other_names_are_not() -> None:
    """State goes by place."""
    names = ("first", "second")
    params = [Parameter(torch.ones(2)) for _ in names]

    def named(*names: str) -> Optimizer:
        return Optimizer(list(zip(names, params, strict=True)), "adam")

    saved = named(*names).state_dict()
    for good in (named(*names), named("module.first", "module.second"), Optimizer(params, "adam")):
        good.load_state_dict(saved)
    for wrong, words in (
        (saved, r"in the order \['first', 'second'\]: that of this optimizer, \['second', 'first'\]"),
        (_named(saved, ["second"]), r"param_names \['second'\]: a list of 2 names"),
        (_named(saved, 3), "param_names 3: a list of 2 names"),
    ):
        with pytest.raises(InputError, match=words):
            named("second", "first").load_state_dict(wrong)


def _named(saved: dict[str, Any], names: Any) -> dict[str, Any]:
    return {**saved, "param_groups": [{**saved["param_groups"][0], "param_names": names}]}
