"""What a monitor is given: values, states and files of another kind are refused in one line, and nothing is hooked or taken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from monitored import adam, batch, small, train
from torch import nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from fullscale.checkpoint import seal
from fullscale.graph import Unit
from fullscale.monitor import Monitor, die_next
from fullscale.monitor.stored import HEADER, checked, read, write

UNITS = [Unit("1", "relu", nn.ReLU(), ""), Unit("4", "relu", nn.ReLU(), "")]
WRONG = [None, True, "x", -1, 1.5, float("nan"), [1], {}, object(), nn.ReLU, torch.ones(())]


def hooks(net: nn.Module, optimizer: Any) -> int:
    own = len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)
    return own + sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules())


def refused(act: Callable[[], Any]) -> None:
    with pytest.raises(InputError) as told:
        act()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("value", WRONG)
def test_what_a_monitor_cannot_take_is_refused_before_anything_is_hooked(value: Any) -> None:
    net = small()
    optimizer = adam(net)
    refused(lambda: Monitor(value, optimizer))
    refused(lambda: Monitor(net, value))
    names = ["interval", "units", "example", "live"]
    names = [name for name in names if value is not None or name in ("interval", "live")]
    for name in (name for name in names if not (name == "live" and value is True)):
        refused(lambda name=name: Monitor(net, optimizer, **{name: value}))
    refused(lambda: Monitor(net, optimizer, units=[value]))
    for name in ("norm", "function", "dim"):
        refused(lambda name=name: Monitor(net, optimizer, units=[replace(UNITS[0], **{name: value})]))
    refused(lambda: die_next(value))
    assert hooks(net, optimizer) == 0
    monitor = Monitor(net, optimizer, units=UNITS, interval=1)
    train(net, optimizer, range(2))
    before = monitor.history
    refused(lambda: monitor.start_at(value))
    refused(lambda: monitor.load_state_dict(value))
    refused(lambda: die_next(before, ahead=value))
    assert monitor.history.identical(before)


def places(of: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a state, of lists to the first entry."""
    if at:
        yield at
    for name in of if isinstance(of, dict) else range(min(1, len(of))) if isinstance(of, list) else ():
        yield from places(of[name], (*at, name))


def test_no_damage_to_a_state_is_taken_or_changes_anything() -> None:
    """Each part gone, of another type, or of another shape."""
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, units=UNITS, interval=1)
    train(net, optimizer, range(3))
    whole, before = monitor.state_dict(), monitor.history
    optional = {("fed",), ("images",), ("before", "peak"), ("before", "selectivity"), ("before", "gradient")}
    optional |= {("before", f"share_{name}") for name in ("gamma", "beta", "weights")}
    told = 0
    for place in places(whole):
        for value in ("gone", object(), -7, [object()], torch.ones(2, 2, 2), torch.zeros(9, dtype=torch.int8)):
            state = copy.deepcopy(whole)
            part = state
            for name in place[:-1]:
                part = part[name]
            if isinstance(value, str):
                if place in optional or isinstance(part, list) or (place[0] == "held" and len(place) > 1):
                    continue
                del part[place[-1]]
            else:
                part[place[-1]] = value
            with pytest.raises(InputError):
                monitor.load_state_dict(state)
            told += 1
    assert told > 400
    assert monitor.history.identical(before)
    monitor.load_state_dict(whole)
    assert monitor.history.identical(before)


def test_a_state_is_loaded_again_as_it_was_and_under_another_optimizer() -> None:
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, units=UNITS, interval=1)
    train(net, optimizer, range(3))
    state = monitor.state_dict()
    kept = copy.deepcopy(state)
    for _ in range(2):
        monitor.load_state_dict(state)
        train(net, optimizer, range(2))
        assert all(
            torch.equal(x["m"], y["m"]) for x, y in zip(state["held"].values(), kept["held"].values(), strict=True)
        )
        assert monitor.step == 5
    momentum = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    other = Monitor(net, momentum, units=UNITS)
    other.load_state_dict(state)
    train(net, momentum, range(2))
    assert other.step == 5
    monitor.close()
    other.close()
    monitor.load_state_dict(state)  # a closed one is only looked at
    assert hooks(net, optimizer) == 0


def test_a_state_of_before_the_first_pass_is_taken_by_any_monitor() -> None:
    net = small()
    state = Monitor(net, adam(net), interval=3).state_dict()
    for units in (None, UNITS):
        monitor = Monitor(net, adam(net), units=units)
        monitor.load_state_dict(state)
        assert (monitor.interval, monitor.step) == (3, 0)


def test_the_file_is_the_state_and_every_cut_or_foreign_one_is_refused(tmp_path: Path) -> None:
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, units=UNITS, interval=1)
    train(net, optimizer, range(3))
    file = tmp_path / "monitor.safetensors"
    write(file, monitor.state_dict())
    again = Monitor(net, optimizer, units=UNITS)
    again.load_state_dict(read(file))
    assert again.history.identical(monitor.history)
    content, bad = file.read_bytes(), tmp_path / "bad.safetensors"
    heads = ["[]", "5", "null", "{", "{}", "[" * 100_000, '{"held": {"x": 1}}', '{"held": {}, "layers": {"tensor": 7}}']
    files = [content[:-3], content[:100], b"", b"\x80\x04pickle", safetensors.torch.save({"x": torch.ones(2)})]
    x = {"x": torch.ones(2)}
    files += [safetensors.torch.save(x, metadata={HEADER: entry}) for h in heads for entry in (h, seal(h, x))]
    flipped = (content.rindex(b"sha256") - 9, len(content) - 40)  # in the entry, and among the numbers
    files += [content[:k] + bytes([content[k] ^ 1]) + content[k + 1 :] for k in flipped]
    whole = json.loads(safetensors.safe_open(file, "pt").metadata()[HEADER])
    del whole["sha256"]
    for name, value in (("step", float("inf")), ("interval", 0), ("sums", {"tensor": "/before/gamma"})):
        tensors = safetensors.torch.load(content)
        entry = seal(json.dumps(whole | {name: value}), tensors)
        files.append(safetensors.torch.save(tensors, metadata={HEADER: entry}))
    for damaged in files:
        bad.write_bytes(damaged)
        refused(lambda: read(bad))
    refused(lambda: read(tmp_path / "none"))
    refused(lambda: checked({"layers": []}))


class Wrapped(torch.optim.Optimizer):
    """As accelerate has it: without hooks of its own."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer


def test_a_refusal_at_the_first_step_leaves_no_hook_and_an_optimizer_may_be_wrapped() -> None:
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, Wrapped(optimizer), interval=1)
    train(net, optimizer, range(1))
    state = monitor.state_dict()
    monitor.close()
    assert len(monitor.history.step) == 1
    state |= {"fed": [[torch.ones(1), torch.ones(1)], None]}
    Monitor(net, optimizer).load_state_dict(state)
    with pytest.raises(InputError, match=r"fed\.0 of shape \(1,\)"):
        train(net, optimizer, range(1))
    assert hooks(net, optimizer) == 0
    train(net, optimizer, range(1))


def test_steps_are_those_that_the_optimizer_makes_whatever_passes_there_are() -> None:
    """Accumulation over 3 passes, a step without a pass, and two optimizers on one network."""
    net = small()
    first = torch.optim.Adam(net[:3].parameters(), weight_decay=0.1)
    second = torch.optim.SGD(net[3:].parameters(), lr=0.1, weight_decay=0.1)
    monitors = [Monitor(net, of, units=UNITS, interval=1) for of in (first, second)]
    for step in range(4):
        net.zero_grad()
        for k in range(3):
            x, y = batch(3 * step + k)
            cross_entropy(net(x), y).backward()
            if k == 2:
                inner = net[1](net[0](x)).amax((0, 2, 3)).detach()
        first.step()
        if step % 2:
            second.step()
    assert [monitor.step for monitor in monitors] == [4, 2]
    assert [len(monitor.history.step) for monitor in monitors] == [4, 2]
    first.zero_grad()
    for own, monitor in enumerate(monitors):
        shares = monitor.history["share_beta"].values
        assert (shares[:, :4] >= 0).all() == (own == 0)
        assert (shares[:, 4:] >= 0).all() == (own == 1)
    torch.testing.assert_close(
        torch.tensor(monitors[0].history["peak"].values[-1, :4]), inner.relu(), rtol=0.1, atol=0.1
    )
    first.step()
    assert monitors[0].step == 5
    assert any("there was no pass" in note for note in monitors[0].note)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_mixed_precision_leaves_out_does_not_count(fused: bool) -> None:
    """With the same finite gradients as without the scaler, the record is the same."""
    records = []
    for skipped in (None, 2):
        net = small()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=0.1, fused=fused)
        monitor = Monitor(net, optimizer, units=UNITS, interval=2)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1000)
        for step in [0, 1, *([99] if skipped else []), 2, 3, 4]:
            x, y = batch(step)
            optimizer.zero_grad()
            loss = cross_entropy(net[7](net[:7](x).detach()), y) if step == 99 else cross_entropy(net(x), y)
            scaler.scale(loss * (float("inf") if step == 99 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
        assert monitor.step == 5
        records.append(monitor.history)
    assert (abs(records[0]["share_gamma"] - records[1]["share_gamma"]) < 1e-5).all()
    assert records[0].step.values.tolist() == records[1].step.values.tolist() == [0, 2, 4]


def test_lbfgs_counts_one_step_for_all_its_evaluations() -> None:
    net, calls = small(), 0
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.01, max_iter=4)
    monitor = Monitor(net, optimizer, units=UNITS, interval=1)
    x, y = batch(0)

    def closure() -> Any:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = cross_entropy(net(x), y)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    assert calls > 4
    assert (monitor.step, monitor.history.step.values.tolist()) == (2, [0, 1])
    assert sum("LBFGS" in note for note in monitor.note) == 1
