"""A clock in tensors is that in numbers, whatever shares it: each parameter ages by one a step.

Groups, dtypes, missing gradients, loads and parameters that join or change their group are drawn; the capturable
optimizer is held to the plain one.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import Parameter

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.rule import Rule
from dynamics.rules import RULES

TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex128, torch.complex64)
# Rules of every kind of clock, and one of another's: two fields, a product, the sum of learning rates.
NAMES = ("adam", "nadam", "radam", "adamax", "schedule_free", "amsgrad")
SETTINGS = ({}, {"lr": 0.02, "weight_decay": 0.1}, {"betas": (0.6, 0.9)}, {"maximize": True})
# What may happen between two steps.
EVENTS = ("nothing", "load", "load numbers", "deepcopy", "pickle", "join", "move", "switch", "betas")

groups = st.lists(
    st.tuples(st.sampled_from(SETTINGS), st.lists(st.sampled_from(TYPES), min_size=1, max_size=4)),
    min_size=1,
    max_size=3,
)


def fresh(dtype: torch.dtype) -> Parameter:
    return Parameter(torch.tensor([1.0, -0.5], dtype=dtype))


def every(optimizer: Optimizer) -> list[Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def happen(event: str, optimizer: Optimizer) -> Optimizer:
    """The optimizer after the event; parameters are then those of its groups."""
    first, last = optimizer.param_groups[0], optimizer.param_groups[-1]
    if event == "load":
        optimizer.load_state_dict(optimizer.state_dict())
    elif event == "load numbers":
        saved = copy.deepcopy(optimizer.state_dict())
        clock = optimizer.rule.clock
        saved["state"] = {
            k: {n: float(x) if n in clock else x for n, x in s.items()} for k, s in saved["state"].items()
        }
        optimizer.load_state_dict(saved)
    elif event == "deepcopy":
        return copy.deepcopy(optimizer)
    elif event == "pickle":
        return pickle.loads(pickle.dumps(optimizer))
    elif event == "join":
        optimizer.add_param_group({"params": [fresh(torch.float32), fresh(torch.float64)], "lr": 0.03})
    elif event == "move" and len(first["params"]) > 1:
        last["params"].append(first["params"].pop())
    elif event == "betas":
        last["betas"] = (0.7, 0.95)
    return optimizer


@given(
    name=st.sampled_from(NAMES),
    drawn=groups,
    steps=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 2**12 - 1)), min_size=1, max_size=6),
)
@example(
    name="adam",
    drawn=[({}, [torch.float32] * 2), ({"betas": (0.6, 0.9)}, [torch.float32])],
    steps=[("nothing", 0), ("move", 0), ("nothing", 0)],
)
def test_capturable_is_the_plain_step_and_each_parameter_ages_by_one(name: str, drawn: Any, steps: Any) -> None:
    ends, clocks = [], []
    for capturable in (False, True):
        made = [{"params": [fresh(t) for t in types], **settings} for settings, types in drawn]
        optimizer = Optimizer(made, name, "decoupled_lr", lr=0.05, capturable=capturable)
        age = dict.fromkeys(range(64), 1.0)  # beta1 of each step it took, multiplied
        order = {id(p): k for k, p in enumerate(every(optimizer))}
        for t, (event, mask) in enumerate(steps):
            before = [order[id(p)] for p in every(optimizer)]
            if event == "switch":
                # By hand, as one switches it on for the graphs that come after the first epochs.
                for group in optimizer.param_groups:
                    group["capturable"] = not capturable if t % 2 else capturable
            optimizer = happen(event, optimizer)
            if event in ("deepcopy", "pickle"):
                order = {id(p): k for p, k in zip(every(optimizer), before, strict=True)}
            for group in optimizer.param_groups:
                for p in group["params"]:
                    k = order.setdefault(id(p), len(order))
                    p.grad = None if mask >> k & 1 else torch.full_like(p, (-1) ** t * (0.3 + 0.1 * k))
                    age[k] *= 1.0 if p.grad is None else group["betas"][0]
            optimizer.step()
        params = sorted(every(optimizer), key=lambda p: order[id(p)])
        states = [optimizer.state.get(p, {}) for p in params]
        clocks.append([{n: float(s[n]) for n in optimizer.rule.clock} for s in states if s])
        if "power1" in optimizer.rule.clock:
            assert [float(s.get("power1", 1.0)) for s in states] == pytest.approx([age[order[id(p)]] for p in params])
        for group in optimizer.param_groups:
            for p in group["params"]:
                held = optimizer.state.get(p, {})
                assert all(torch.is_tensor(held[n]) is group["capturable"] for n in optimizer.rule.clock if held)
        ends.append([p.detach() for p in params])
    for plain, tensors in zip(*clocks, strict=True):
        assert tensors == pytest.approx(plain, rel=1e-13)
    for plain, tensors in zip(*ends, strict=True):
        rounding = 16 * torch.finfo(plain.dtype).eps
        torch.testing.assert_close(tensors, plain, rtol=rounding, atol=rounding)


def test_the_clock_is_written_once_a_step_and_always_in_the_same_tensors() -> None:
    # What a CUDA graph needs: it writes where it wrote when it was captured.
    params = [fresh(t) for t in TYPES]
    frozen = fresh(torch.float32)
    optimizer = Optimizer([{"params": params[:4]}, {"params": [*params[4:], frozen]}], "adam", capturable=True)
    written = []
    for t in range(4):
        for p in (*params, frozen):
            p.grad = None if p is frozen and t else torch.ones_like(p)
        written.append([id(c) for ready in optimizer._prepared(False) for c in ready.clock.values()])
        assert len(written[-1]) == len(set(written[-1])) == 2 * len(RULES["adam"].clock)
        optimizer.step()
    assert written[1:] == written[:1] * 3
    assert float(optimizer.state[frozen]["power1"]) == 0.9


def test_a_parameter_that_stands_twice_in_a_group_takes_one_step() -> None:
    p, twin = fresh(torch.float64), fresh(torch.float64)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        twice = Optimizer([p, p], "adam", capturable=True)
    once = Optimizer([twin], "adam", capturable=True)
    for _ in range(3):
        p.grad, twin.grad = torch.ones_like(p), torch.ones_like(p)
        twice.step()
        once.step()
    assert torch.equal(p, twin)


def test_fields_of_a_clock_may_change_places() -> None:
    # Both are read before either is written: the second is the first one's old value.
    def lagging(w, g, now, past, lr):
        return w - lr * past * g, now + 1, now

    rule = Rule("lagging", lagging, state=(), clock={"now": 1.0, "past": 0.0}, defaults={}, lr=0.5)
    ends = []
    for capturable in (False, True):
        p = fresh(torch.float64)
        optimizer = Optimizer([p], rule, capturable=capturable)
        for _ in range(4):
            p.grad = torch.ones_like(p)
            optimizer.step()
        ends.append([*p.tolist(), *(float(optimizer.state[p][name]) for name in rule.clock)])
    assert ends[0] == ends[1] == [1 - 0.5 * 6, -0.5 - 0.5 * 6, 5.0, 4.0]


def test_each_device_of_a_group_has_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fake tensors check devices as real ones do.
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    with FakeTensorMode():
        lr = torch.full((), 0.1, dtype=torch.float64, device="cuda")
        params = [Parameter(torch.zeros(2, device=d, dtype=t)) for d in ("cpu", "cuda") for t in TYPES[:2]]
        optimizer = Optimizer(params, "adam", "l2", lr=0.1, weight_decay=0.1, capturable=True)
        optimizer.param_groups[0]["lr"] = lr
        for _ in range(2):
            for p in params:
                p.grad = torch.zeros_like(p)
            optimizer.step()
        ready = optimizer._prepared(False)
        assert [len(r.clock) for r in ready] == [2, 0, 2, 0]
        places = [{x.device.type for x in r.numbers if torch.is_tensor(x)} for r in ready]
        assert places == [{"cpu"}] * 2 + [{"cuda"}] * 2


@pytest.mark.parametrize("late", ["first gradient", "missing gradient", "switched on"])
def test_what_a_graph_would_do_again_at_each_replay_is_refused(late: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    with FakeTensorMode():
        params = [Parameter(torch.zeros(2, device="cuda")) for _ in range(2)]
        optimizer = Optimizer(params, "adam", capturable=late != "switched on")
        params[0].grad = torch.zeros_like(params[0])
        if late != "first gradient":
            params[1].grad = torch.zeros_like(params[1])
        optimizer.step()
        params[1].grad = None if late == "missing gradient" else torch.zeros_like(params[1])
        optimizer.param_groups[0]["capturable"] = True
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        with pytest.raises(InputError, match="state made within the capture of a CUDA graph: a step before"):
            optimizer.step()
