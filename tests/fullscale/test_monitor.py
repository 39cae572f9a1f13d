"""The monitor sees what is there, alters nothing, and can be taken off, saved and taken up again."""

from __future__ import annotations

import copy
import doctest
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monitored import Untraceable, adam, batch, small, train
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from fullscale.graph import trace, units
from fullscale.monitor import Monitor, core
from fullscale.monitor.core import WEIGHTS_EVERY
from fullscale.monitor.line import Line, line
from fullscale.monitor.record import MOST, Record
from fullscale.monitor.record import VARIABLES as NAMES


@pytest.mark.parametrize("make", [adam, lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)])
def test_training_is_the_same_to_the_last_bit(make: Callable[[nn.Module], Any]) -> None:
    bare, seen = small(), small()
    one, other = make(bare), make(seen)
    train(bare, one, range(12))
    state = torch.random.get_rng_state()
    monitor = Monitor(seen, other, interval=3)
    train(seen, other, range(12))
    monitor.close()
    assert torch.equal(torch.random.get_rng_state(), state)
    for a, b in zip(bare.state_dict().values(), seen.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for p, q in zip(bare.parameters(), seen.parameters(), strict=True):
        for name, value in one.state[p].items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(other.state[q][name]))


def test_what_is_seen_is_what_the_network_does() -> None:
    """Against a rerun: BatchNorm's output, its activation, scale and shift, before each observed step."""
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=2)
    wanted: list[dict[str, Tensor]] = []
    for step in range(5):
        twin = copy.deepcopy(net)
        x, y = batch(step)
        seen: list[Tensor] = []
        for norm in (twin[1], twin[4]):
            norm._forward_hooks.clear()
            norm.register_forward_hook(lambda *given, seen=seen: seen.append(given[2].detach().clone()))
        cross_entropy(twin(x), y).backward()
        wanted.append(
            {
                "margin": torch.cat([z.amax((0, 2, 3)) for z in seen]),
                "peak": torch.cat([z.relu().amax((0, 2, 3)) for z in seen]),
                "gamma": torch.cat([norm.weight.detach() for norm in (twin[1], twin[4])]),
                "beta": torch.cat([norm.bias.detach() for norm in (twin[1], twin[4])]),
                "images": torch.cat([z.relu().amax((2, 3)).T for z in seen]),
            }
        )
        train(net, optimizer, range(step, step + 1))
    history = monitor.history
    assert history.step.values.tolist() == [0, 2, 4]
    running = torch.zeros(9)
    for row, step in enumerate((0, 2, 4)):
        for name in ("margin", "peak", "gamma", "beta"):
            np.testing.assert_allclose(history[name][row], wanted[step][name], rtol=1e-6)
        running = torch.maximum(0.9 * running, wanted[step]["peak"])
        below = (wanted[step]["images"] < 1e-3 * running[:, None]).float().mean(1)
        np.testing.assert_allclose(history["selectivity"][row], below)
    assert history.layer.values.tolist() == ["1"] * 4 + ["4"] * 5
    assert history.channel.values.tolist() == [*range(4), *range(5)]
    assert (history["gradient"] == 1).all()
    assert ((history["share_gamma"] > 0) & (history["share_gamma"] < 1)).all()
    assert np.isfinite(history["share_weights"][::WEIGHTS_EVERY]).all()
    assert monitor.note == []
    assert set(NAMES) <= set(history)


def test_pull_and_loss_make_up_the_way_of_the_margin_as_far_as_gamma_and_beta_go() -> None:
    """With an interval of one step and a fixed batch the input's part is what other layers do: none in the first layer."""
    net = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, weight_decay=0.1)
    monitor = Monitor(net, optimizer, interval=1)
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(6):
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()
    history = monitor.history
    way = history["margin"].values - history["margin"].values[0]
    np.testing.assert_allclose(history["pull"] + history["loss"], way, atol=1e-5)
    assert (history["pull"].values[-1] < 0).all()


def test_between_observations_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
    monitor = Monitor(net, optimizer, interval=4)
    taken, hooks, real = [], [], core.observe

    def observe(*given: Any) -> Any:
        taken.append(monitor.step)
        return real(*given)

    monkeypatch.setattr(core, "observe", observe)
    for step in range(9):
        hooks.append(sum(len(module._forward_hooks) for module in net.modules()))
        train(net, optimizer, range(step, step + 1))
    assert hooks == [2, 0, 0, 0, 2, 0, 0, 0, 2]
    assert taken == [0, 4, 8]
    assert monitor.updates.held == {}


def test_closing_takes_off_every_hook() -> None:
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=2)
    train(net, optimizer, range(2))
    monitor.close()
    assert not any(module._forward_hooks for module in net.modules())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    steps = monitor.step
    train(net, optimizer, range(2))
    assert monitor.step == steps
    assert monitor.history.sizes["step"] == 1


def test_a_resumed_monitor_goes_on_as_if_it_had_not_stopped(tmp_path: Any) -> None:
    whole = small()
    optimizer = adam(whole)
    straight = Monitor(whole, optimizer, interval=3)
    train(whole, optimizer, range(20))

    first = small()
    optimizer = adam(first)
    monitor = Monitor(first, optimizer, interval=3)
    train(first, optimizer, range(10))
    torch.save({"m": monitor.state_dict(), "o": optimizer.state_dict(), "n": first.state_dict()}, tmp_path / "saved")
    saved = torch.load(tmp_path / "saved", weights_only=True)
    second = small()
    second.load_state_dict(saved["n"])
    optimizer = adam(second)
    optimizer.load_state_dict(saved["o"])
    monitor = Monitor(second, optimizer, interval=7)
    monitor.load_state_dict(saved["m"])
    train(second, optimizer, range(10, 20))
    assert monitor.history.identical(straight.history)
    assert monitor.deaths == straight.deaths
    assert monitor.note == straight.note
    with pytest.raises(InputError, match="9 filters"):
        Monitor(nn.Sequential(nn.BatchNorm1d(3)), optimizer).load_state_dict(saved["m"])


def test_a_closure_is_waited_for() -> None:
    """LBFGS-like use, and Lightning's: forward and backward happen inside step."""
    one, other = small(), small()
    plain, within = adam(one), adam(other)
    a, b = Monitor(one, plain, interval=2), Monitor(other, within, interval=2)
    train(one, plain, range(5))
    for step in range(5):

        def closure(step: int = step) -> Tensor:
            x, y = batch(step)
            within.zero_grad()
            loss = cross_entropy(other(x), y)
            loss.backward()
            return loss

        assert within.step(closure) is not None
    assert a.history.identical(b.history)


def test_a_compiled_network_is_seen_as_well() -> None:
    one, other = small(), small()
    plain, compiled = adam(one), adam(other)
    a = Monitor(one, plain, interval=3)
    wrapped = torch.compile(other, backend="aot_eager")
    b = Monitor(wrapped, compiled, interval=3)
    train(one, plain, range(8))
    train(wrapped, compiled, range(8))
    assert b.note == []
    for name in ("margin", "selectivity", "share_gamma", "gamma"):
        np.testing.assert_allclose(a.history[name], b.history[name], rtol=1e-4, atol=1e-6)
    torch._dynamo.reset()


def test_a_network_that_had_run_compiled_before_is_told_of() -> None:
    net = small()
    optimizer = adam(net)
    wrapped = torch.compile(net, backend="eager")
    train(wrapped, optimizer, range(1))
    monitor = Monitor(wrapped, optimizer, interval=2)
    train(wrapped, optimizer, range(3))
    assert any("1 was not run in training mode" in note for note in monitor.note)
    assert monitor.history["margin"].isnull().all()
    assert np.isfinite(monitor.history["gamma"]).all()
    assert monitor.deaths == []
    torch._dynamo.reset()


def test_an_unknown_optimizer_leaves_only_the_share_unknown() -> None:
    net = small()
    optimizer = torch.optim.ASGD(net.parameters(), lr=1e-2, weight_decay=1e-2)
    monitor = Monitor(net, optimizer, interval=2)
    train(net, optimizer, range(5))
    assert sum("ASGD is none of the rules here" in note for note in monitor.note) == 1
    assert monitor.history["share_gamma"].isnull().all()
    assert monitor.history["pull"].isnull().all()
    assert np.isfinite(monitor.history["selectivity"]).all()
    assert "pull share unknown" in monitor.text


def test_an_optimizer_whose_steps_are_others_than_its_rule_says_is_found_out() -> None:
    net = small()
    optimizer = torch.optim.Adagrad(net.parameters(), lr=1e-2, lr_decay=0.5, weight_decay=1e-2)
    monitor = Monitor(net, optimizer, interval=2)
    train(net, optimizer, range(5))
    assert sum("the optimizer's steps are not those of its rule" in note for note in monitor.note) == 1
    assert np.isfinite(monitor.history["share_gamma"][0]).all()  # lr_decay has not set in at the first step
    assert monitor.history["share_gamma"][1:].isnull().all()


def test_frozen_layers_are_told_of_and_have_no_share() -> None:
    net = small()
    net[1].eval().requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], weight_decay=1e-2)
    monitor = Monitor(net, optimizer, interval=2)
    train(net, optimizer, range(3))
    assert any("1 was not run in training mode" in note for note in monitor.note)
    assert monitor.history["margin"][:, :4].isnull().all()
    assert monitor.history["share_gamma"][:, :4].isnull().all()
    assert np.isfinite(monitor.history["share_gamma"][:, 4:]).all()


def test_parts_of_a_network_that_cannot_be_traced_are_found() -> None:
    net = Untraceable()
    with pytest.raises(InputError):
        trace(net)
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=1)
    assert [unit.activation for unit in monitor.watched.units] == ["relu", "identity"]
    assert monitor.watched.weights[0] is net.block[0].weight
    assert [note.partition(":")[0] for note in monitor.note] == ["norm"]
    monitor.close()
    with pytest.raises(InputError, match="pass units="):
        Monitor(Untraceable(block=False), optimizer)
    given = Monitor(Untraceable(block=False), optimizer, units=units(trace(nn.Sequential(net.block)))[:0])
    assert given.filters == 0


@pytest.mark.parametrize("net", [nn.Sequential(nn.Conv2d(2, 2, 1)), nn.Linear(2, 2)])
def test_a_network_without_batchnorm_is_refused(net: nn.Module) -> None:
    with pytest.raises(InputError, match="no BatchNorm"):
        Monitor(net, adam(net))
    with pytest.raises(InputError, match="interval 0"):
        Monitor(small(), adam(net), interval=0)


def test_the_record_keeps_its_size_and_an_even_distance() -> None:
    record = Record(2)
    for i in range(5 * MOST):
        record.add(10 * i, {name: np.full(2, i) for name in NAMES})
        assert record.size <= MOST
    assert set(np.diff(record.steps)) == {10 * record.every}
    np.testing.assert_array_equal(record.rows("gamma")[:, 0] * 10, record.steps)
    assert record.steps[-1] > 10 * (5 * MOST - 1 - record.every)


def test_the_line_says_what_there_is() -> None:
    assert line(0, 3, 3, {}, 100, float("nan")) == (
        "step 0: 3 of 3 filters alive; none died in the last 100 steps; pull share unknown"
    )


def test_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "monitor.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "monitor.md", "exec"), {})
    assert "step 30: " in capsys.readouterr().out
    assert doctest.testmod(sys.modules["fullscale.monitor.line"]).failed == 0


def test_only_a_terminal_gets_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    for terminal in (True, False):
        file = io.StringIO()
        shown = Line(Console(file=file, force_terminal=terminal, width=120))
        shown.show("step 0: 3 of 3 filters alive")
        shown.close()
        assert ("3 of 3" in file.getvalue()) == terminal
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, live=True)
    train(net, optimizer, range(1))
    monitor.close()
    assert capsys.readouterr() == ("", "")
