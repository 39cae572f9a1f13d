"""The plan behind the torch face: what it does in place, what it refuses, and that it is the same step however it runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.optimizer.plan import Key, plain_step, plan
from dynamics.optimizer.prepare import batches, prepare
from dynamics.rule import Rule
from dynamics.rules import RULES

SHAPES = ((3, 4), (5, 2), (1, 1))
SETTINGS = {"lr": 0.05, "weight_decay": 0.1}


def parameters(dtype: torch.dtype = torch.float64, device: str = "cpu") -> list[torch.nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(s, dtype=torch.float64, generator=random).to(device, dtype)) for s in SHAPES]


def given(params: list[torch.nn.Parameter], count: int) -> Iterator[int]:
    """Put new gradients into the parameters, so many times."""
    random = torch.Generator().manual_seed(1)
    for t in range(count):
        for p in params:
            p.grad = torch.randn(p.shape, dtype=torch.float64, generator=random).to(p.device, p.dtype)
        yield t


def flat(params: list[torch.nn.Parameter]) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double().cpu() for p in params])


def settings(coupling: str) -> dict[str, Any]:
    return SETTINGS if coupling != "none" else {"lr": 0.05}


def couplings(rule: str) -> Iterable[str]:
    """All of them with four rules of different kinds, L2 with the others."""
    return COUPLINGS if rule in ("sgd", "adam", "lamb", "schedule_free") else ("l2",)


def zeros(rule: str) -> dict[str, Any]:
    """momentum, beta1 and eps of the rule at 0, which a plan knows beforehand."""
    own = set(RULES[rule].defaults) - ({"eps"} if rule == "adabelief" else set())  # its g - m is then 0 over 0
    betas = (0.0, *(0.9 for name in ("beta2", "beta3") if name in own))
    return {name: 0.0 for name in ("momentum", "eps") if name in own} | ({"betas": betas} if "beta1" in own else {})


@pytest.mark.parametrize("rule", RULES)
def test_the_plan_is_the_plain_step(rule: str) -> None:
    """To 1e-11, with every coupling: under a schedule, maximized, with what is 0 folded away, where a gradient stays out."""
    for coupling, more in itertools.product(COUPLINGS, ({}, {"maximize": True}, zeros(rule))):
        ends = []
        for plain in (False, True):
            params = parameters()
            optimizer = Optimizer(params, rule, coupling, **settings(coupling), **more)
            (group,) = optimizer.param_groups
            hyper = optimizer._hyperparameters(group)
            for t in given(params, 12):
                group["lr"] = 0.05 * (1 - t / 20)
                if t == 5:
                    params[1].grad = None
                if plain:
                    plain_step(optimizer.rule, optimizer.coupling, group, hyper, optimizer.state)
                else:
                    optimizer.step()
            state = [torch.as_tensor(optimizer.state[p][name]) for p in params for name in RULES[rule].inner]
            ends.append(torch.cat([flat(params), *(x.double().flatten() for x in state)]))
        torch.testing.assert_close(*ends, rtol=1e-11, atol=1e-11, msg=lambda text, at=(coupling, more): f"{at}: {text}")


@pytest.mark.parametrize("rule", RULES)
def test_a_clock_in_tensors_takes_the_same_steps(rule: str) -> None:
    # With beta1 = 0 its power is 0 from the first step on, which the plan knows beforehand.
    for coupling, more in itertools.product(couplings(rule), ({}, zeros(rule))):
        ends, clocks = [], []
        for capturable in (False, True):
            params = parameters()
            lr = torch.tensor(0.05, dtype=torch.float64) if capturable else 0.05
            made = settings(coupling) | more | {"lr": lr, "capturable": capturable}
            optimizer = Optimizer(params, rule, coupling, **made)
            for t in given(params, 12):
                group = optimizer.param_groups[0]
                now = 0.05 * (1 - t / 20)
                group["lr"] = group["lr"].fill_(now) if capturable else now
                optimizer.step()
            state = optimizer.state[params[0]]
            assert all(torch.is_tensor(state[name]) is capturable for name in RULES[rule].clock)
            ends.append(flat(params))
            clocks.append([float(state[name]) for name in RULES[rule].clock])
        # Numbers are folded in the same order; a tensor's factor costs one rounding more.
        torch.testing.assert_close(ends[1], ends[0], rtol=1e-12, atol=1e-12)
        assert clocks[1] == pytest.approx(clocks[0], rel=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_a_capturable_step_never_waits_for_a_device(rule: str) -> None:
    # A fake tensor has no value: whoever asks for one, as .item() does, or branches by one, fails.
    for coupling in couplings(rule):
        with FakeTensorMode():
            params = [torch.nn.Parameter(torch.zeros(3, 2)), torch.nn.Parameter(torch.zeros(2, 2))]
            optimizer = Optimizer(params, rule, coupling, **settings(coupling), capturable=True)
            for _ in range(3):
                for p in params:
                    p.grad = torch.zeros_like(p)
                optimizer.step()


@pytest.mark.parametrize("rule", RULES)
def test_weights_and_state_stay_where_they_are(rule: str) -> None:
    params = parameters()
    optimizer = Optimizer(params, rule, "l2", **SETTINGS)
    places = set()
    for _ in given(params, 4):
        gradients = [p.grad.clone() for p in params if p.grad is not None]
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(params, gradients, strict=True))  # left as they were
        states = [optimizer.state[p][name] for p in params for name in RULES[rule].state]
        places.add(tuple(x.data_ptr() for x in (*params, *states)))
    assert len(places) == 1


def test_the_plan_of_adam_is_what_torch_does_by_hand() -> None:
    made = plan(Key(RULES["adam"], COUPLINGS["decoupled_lr"], False, frozenset(), frozenset())).source
    lines = [line.strip() for line in made.split("def lists")[1].splitlines()[1:] if line.strip()]
    calls = [line.split("(")[0].removeprefix("t_0 = ") for line in lines]
    # The mean; the squares; the root of the corrected squares plus eps, in one temporary; w, shrunk and moved.
    expected = ["lerp_", "mul_", "addcmul_", "mul", "sqrt_", "add_", "mul_", "addcdiv_"]
    assert calls == [*(f"each_{name}" for name in expected), "del t_0"]


@pytest.mark.parametrize("rule", RULES)
def test_what_is_zero_is_not_computed(rule: str) -> None:
    def length(zero: frozenset[str], coupling: str) -> int:
        key = Key(RULES[rule], COUPLINGS[coupling], False, zero, frozenset({"power1", "t"} & set(RULES[rule].clock)))
        return len(plan(key, ()).source.split("def lists")[1].splitlines())

    without = length(frozenset(), "none")
    assert length(frozenset({"strength"}), "l2") == without < length(frozenset(), "l2")


def broken(step: Any) -> Rule:
    return replace(RULES["momentum"], name="broken", step=step)


def _by_if(w, g, b, lr, momentum):
    return (w - lr * g, b) if lr > 0.5 else (w - lr * b, b)


def _by_weight(w, g, b, lr, momentum):
    return (w - lr * g, b) if w > 0 else (w - lr * b, b)


def _swapping(w, g, b, lr, momentum):
    return b, w


def _unknown_word(w, g, b, lr, momentum):
    return w - lr * w.sin(), b


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        (_by_if, TypeError, "chooses by where"),
        (_by_weight, TypeError, "chooses by where"),
        (_swapping, TypeError, "change places"),
        (_unknown_word, AttributeError, "sin"),
    ],
)
def test_a_rule_that_cannot_be_planned_fails_at_its_first_step(step: Any, error: type[Exception], words: str) -> None:
    params = parameters()
    optimizer = Optimizer(params, broken(step))
    before = flat(params)
    for _ in given(params, 1):
        with pytest.raises(error, match=words):
            optimizer.step()
    assert torch.equal(flat(params), before)


def test_batches_cut_all_lists_alike_and_lose_nothing() -> None:
    sizes = [1, 70_000, 3, 5, 40_000, 40_000, 2, 300_000, 1]
    lists = [[torch.full((n,), float(k)) for n in sizes] for k in range(3)]
    cut = list(batches(lists))
    assert [[x for part in cut for x in part[k]] for k in range(3)] == lists
    assert [len(part[0]) for part in cut] == [2, 4, 2, 1]
    assert list(batches([[], []])) == []


def test_parameters_of_one_clock_are_one_batch_and_part_when_one_waits() -> None:
    params = parameters()
    optimizer = Optimizer(params, "adam", capturable=True)
    clocks = []
    for t in given(params, 4):
        if t in (1, 2):
            params[0].grad = None
        optimizer.step()
        clocks.append([float(optimizer.state[p]["power1"]) for p in params])
    assert clocks == [pytest.approx([0.9, 0.9, 0.9]), *(pytest.approx([0.9, 0.9**n, 0.9**n]) for n in (2, 3)),
                      pytest.approx([0.81, 0.9**4, 0.9**4])]  # fmt: skip
    group = optimizer.param_groups[0]
    groups = [(group, optimizer._hyperparameters(group))]
    ready = prepare(RULES["adam"], COUPLINGS["none"], groups, optimizer.state, False)
    assert [len(r.parts[0][0]) for r in ready] == [1, 2]


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("end", [False, True])
def test_a_saved_clock_is_exact_in_numbers_and_in_tensors(start: bool, end: bool) -> None:
    # In float32 parameters too, to whose type torch would round it.
    params = parameters(torch.float32)
    optimizer = Optimizer(params, "nadam", capturable=start)
    for _ in given(params, 5):
        optimizer.step()
    saved = optimizer.state_dict()
    saved["param_groups"][0]["capturable"] = end
    other = Optimizer(params, "nadam")
    other.load_state_dict(saved)
    for p in params:
        for name in RULES["nadam"].clock:
            assert float(other.state[p][name]) == float(optimizer.state[p][name])
            assert torch.is_tensor(other.state[p][name]) is end
    if end:
        assert len({id(other.state[p]["decay"]) for p in params}) == 1  # one batch again


# Between them they say every word.
@pytest.mark.grid(2)
@pytest.mark.parametrize("rule", ["adadelta", "amsgrad", "lamb", "lion", "muon", "nadam", "radam", "schedule_free"])
def test_a_compiled_step_is_the_eager_one(rule: str) -> None:
    ends, clocks = [], []
    # aot_eager rewrites what is in place, as every compiler of machine code does first; eager only records.
    for backend in (None, "eager", "aot_eager"):
        torch._dynamo.reset()
        params = parameters()
        lr = torch.tensor(0.05, dtype=torch.float64)
        optimizer = Optimizer(params, rule, "decoupled_schedule", lr=lr, weight_decay=0.1, capturable=True)
        step = torch.compile(optimizer.step, backend=backend) if backend else optimizer.step
        for t in given(params, 5):
            lr.fill_(0.05 * (1 - t / 20))
            step()
        ends.append(flat(params))
        clocks.append([float(optimizer.state[params[0]][name]) for name in RULES[rule].clock])
    for end, clock in zip(ends[1:], clocks[1:], strict=True):
        torch.testing.assert_close(end, ends[0], rtol=1e-13, atol=1e-13)
        assert clock == pytest.approx(clocks[0], rel=1e-14)


def test_compiled_code_is_made_once_and_not_at_every_step() -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    params = parameters()
    lr = torch.tensor(0.05)
    optimizer = Optimizer(params, "radam", "l2", lr=lr, weight_decay=0.1, capturable=True)
    step = torch.compile(optimizer.step, backend=counter)
    made = []
    for t in given(params, 8):
        lr.fill_(0.05 * (1 - t / 20))
        step()
        made.append(counter.frame_count)
    assert made[2] == made[-1] > 0


def test_a_step_is_compiled_with_capturable_only() -> None:
    torch._dynamo.reset()
    params = parameters()
    optimizer = Optimizer(params, "adam")
    for _ in given(params, 1):
        with pytest.raises(InputError, match="compiled step with capturable=False"):
            torch.compile(optimizer.step, backend="eager")()


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("rule", RULES)
def test_a_captured_step_replays_on_a_gpu(rule: str) -> None:
    ends = []
    for captured in (False, True):
        params = parameters(device="cuda")
        lr = torch.tensor(0.05, dtype=torch.float64, device="cuda")
        optimizer = Optimizer(params, rule, "l2", lr=lr, weight_decay=0.1, capturable=True)
        graph = torch.cuda.CUDAGraph()
        held = [torch.zeros_like(p) for p in params]
        for t in given(params, 10):
            lr.fill_(0.05 * (1 - t / 20))
            if not captured or t < 3:
                optimizer.step()
                continue
            for p, g in zip(params, held, strict=True):
                g.copy_(p.grad)
                p.grad = g
            if t == 3:
                with torch.cuda.graph(graph):
                    optimizer.step()
            graph.replay()
        ends.append(flat(params))
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("rule", RULES)
def test_a_gpu_takes_the_steps_of_the_processor(rule: str) -> None:
    for coupling in COUPLINGS:
        ends = []
        for device, capturable in (("cpu", False), ("cuda", False), ("cuda", True)):
            params = parameters(device=device)
            optimizer = Optimizer(params, rule, coupling, **settings(coupling), capturable=capturable)
            for _ in given(params, 8):
                optimizer.step()
            ends.append(flat(params))
        for end in ends[1:]:
            torch.testing.assert_close(end, ends[0], rtol=1e-10, atol=1e-10)


@pytest.mark.gpu
@needs_cuda
def test_what_a_graph_would_freeze_is_refused() -> None:
    params = parameters(device="cuda")
    for _ in given(params, 1):
        with pytest.raises(InputError, match="lr on device cuda"):
            Optimizer(params, "adam", lr=torch.tensor(0.1, device="cuda")).step()
    optimizer = Optimizer(params, "adam")
    for _ in given(params, 1):
        optimizer.step()
    with pytest.raises(InputError, match="capture of a CUDA graph"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()
