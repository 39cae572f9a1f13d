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
from monitored import Untraceable, adam, batch, seen, small, train
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from fullscale.graph import Unit
from fullscale.monitor import Monitor, core
from fullscale.monitor.core import WEIGHTS_EVERY
from fullscale.monitor.line import Line
from fullscale.monitor.record import MOST, Record
from fullscale.monitor.record import VARIABLES as NAMES


@pytest.mark.parametrize("make", [adam, lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)])
def test_training_is_the_same_to_the_last_bit(make: Callable[[nn.Module], Any]) -> None:
    ends = []
    for watch in (False, True):
        net, state = small(), torch.random.get_rng_state()
        optimizer = make(net)
        monitor = Monitor(net, optimizer, interval=3) if watch else None
        train(net, optimizer, range(12))
        if monitor:
            monitor.close()
        assert torch.equal(torch.random.get_rng_state(), state)
        ends.append([*net.state_dict().values(), *(x for p in net.parameters() for x in optimizer.state[p].values())])
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*ends, strict=True))


def test_what_is_seen_is_what_the_network_does() -> None:
    """Against a rerun: BatchNorm's output, its activation, scale and shift, before each observed step."""
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=2)
    running, rows = torch.zeros(9), []
    for step in range(5):
        twin, outputs = copy.deepcopy(net), []
        norms = [twin[1], twin[4]]
        for norm in norms:
            norm._forward_hooks.clear()
            norm.register_forward_hook(lambda *given, outputs=outputs: outputs.append(given[2].detach().clone()))
        twin(batch(step)[0])
        highest = torch.cat([z.amax((2, 3)) for z in outputs], dim=1)
        row = {"margin": highest.amax(0), "peak": highest.relu().amax(0)}
        row |= {
            name: torch.cat([getattr(norm, of) for norm in norms])
            for name, of in (("gamma", "weight"), ("beta", "bias"))
        }
        if step % 2 == 0:
            running = torch.maximum(0.9 * running, row["peak"])
            rows.append(row | {"selectivity": (highest.relu() < 1e-3 * running).float().mean(0)})
        train(net, optimizer, range(step, step + 1))
    history = monitor.history
    assert history.step.values.tolist() == [0, 2, 4]
    for i, row in enumerate(rows):
        for name, wanted in row.items():
            np.testing.assert_allclose(history[name][i], wanted.detach(), rtol=1e-6)
    assert history.layer.values.tolist() == ["1"] * 4 + ["4"] * 5
    assert history.channel.values.tolist() == [*range(4), *range(5)]
    assert (history["gradient"] == 1).all()
    assert ((history["share_gamma"] > 0) & (history["share_gamma"] < 1)).all()
    assert np.isfinite(history["share_weights"][::WEIGHTS_EVERY]).all()
    assert monitor.note == []
    assert set(NAMES) <= set(history)


def test_pull_and_loss_make_up_the_way_of_the_margin_as_far_as_gamma_and_beta_go() -> None:
    """At every step, on one batch, nothing is left for the input; one filter is silent, which writing in place would hide."""
    net = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    net[0].bias.data[0] = -10
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, weight_decay=0.1)
    monitor = Monitor(net, optimizer, interval=1)
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(6):
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()
    history = monitor.history
    margin = history["margin"].values
    assert (margin[:, 0] < -5).all()
    np.testing.assert_allclose(history["pull"] + history["loss"], margin - margin[0], atol=1e-5)
    assert (history["pull"].values[-1, 1:] < 0).all()


def test_between_observations_nothing_is_done_and_closing_takes_off_every_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
    monitor = Monitor(net, optimizer, interval=4)
    taken, hooks, real = [], [], core.observe
    monkeypatch.setattr(core, "observe", lambda *given: (taken.append(monitor.step), real(*given))[1])

    def hooked() -> int:
        return sum(len(module._forward_hooks) for module in net.modules())

    for step in range(9):
        hooks.append(hooked())
        train(net, optimizer, range(step, step + 1))
    # Before the first pass it is not known yet what to hook on.
    assert (hooks, taken) == ([0, 0, 0, 0, 2, 0, 0, 0, 2], [0, 4, 8])
    assert not any(module._forward_pre_hooks for module in net.modules())
    assert monitor.updates.held == {}
    train(net, optimizer, range(3))
    assert hooked() == 2
    monitor.close()
    assert not any((hooked(), optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks))
    train(net, optimizer, range(2))
    assert (monitor.step, monitor.history.sizes["step"]) == (12, 3)


def test_a_resumed_monitor_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    straight = seen(20, 3)
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=3)
    train(net, optimizer, range(10))
    torch.save([x.state_dict() for x in (net, optimizer, monitor)], tmp_path / "saved")
    saved = torch.load(tmp_path / "saved", weights_only=True)
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=7)
    for part, state in zip((net, optimizer, monitor), saved, strict=True):
        part.load_state_dict(state)
    train(net, optimizer, range(10, 20))
    assert monitor.history.identical(straight.history)
    assert (monitor.deaths, monitor.note) == (straight.deaths, straight.note)
    with pytest.raises(InputError, match="9 filters"):
        Monitor(nn.Sequential(nn.BatchNorm1d(3)), optimizer).load_state_dict(saved[2])


def test_a_closure_is_waited_for() -> None:
    """LBFGS-like use, and Lightning's: forward and backward happen inside step."""
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=2)
    for step in range(5):

        def closure(step: int = step) -> Tensor:
            x, y = batch(step)
            optimizer.zero_grad()
            loss = cross_entropy(net(x), y)
            loss.backward()
            return loss

        assert optimizer.step(closure) is not None
    assert monitor.history.identical(seen(5, 2).history)


def test_a_compiled_network_is_seen_as_well_unless_it_had_run_before() -> None:
    for before in (0, 1):
        net = small()
        optimizer = adam(net)
        wrapped = torch.compile(net, backend="aot_eager")
        train(wrapped, optimizer, range(before))
        monitor = Monitor(wrapped, optimizer, interval=3)
        train(wrapped, optimizer, range(before, 8))
        torch._dynamo.reset()
        history = monitor.history
        if before:
            assert any("1 was not run in training mode" in note for note in monitor.note)
            assert history["margin"].isnull().all()
            assert np.isfinite(history["gamma"]).all()
            assert monitor.deaths == []
        else:
            assert monitor.note == []
            for name in ("margin", "selectivity", "share_gamma", "gamma"):
                np.testing.assert_allclose(seen(8, 3).history[name], history[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "note", "known"),
    [
        (lambda p: torch.optim.ASGD(p, lr=1e-2, weight_decay=1e-2), "ASGD is none of the rules here", 0),
        # At the first step its lr_decay, which no rule here has, has not set in.
        (lambda p: torch.optim.Adagrad(p, lr_decay=0.5, weight_decay=1e-2), "steps are not those of its rule", 1),
    ],
)
def test_an_optimizer_that_is_or_does_none_of_the_rules_leaves_only_the_share_unknown(
    make: Callable[[Any], Any], note: str, known: int
) -> None:
    monitor = seen(5, 2, lambda net: make(net.parameters()))
    history = monitor.history
    assert sum(note in said for said in monitor.note) == 1
    for name in ("share_gamma", "pull"):
        assert np.isfinite(history[name][:known]).all()
        assert history[name][known:].isnull().all()
    assert np.isfinite(history["selectivity"]).all()
    assert monitor.text == "step 5: 9 of 9 filters alive; none died in the last 4 steps; pull share unknown"


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


def test_parameters_that_are_put_in_the_place_of_others_are_watched_then() -> None:
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=1)
    train(net, optimizer, range(2))
    net.load_state_dict({name: 2 * x for name, x in net.state_dict().items()}, assign=True)
    optimizer.param_groups[0]["params"] = list(net.parameters())
    optimizer.state.clear()
    train(net, optimizer, range(2))
    gamma = net[1].weight.detach()
    assert monitor.history["gamma"][-1, :4].values == pytest.approx(gamma.numpy(), rel=0.02)
    assert gamma.min() > 1.5
    assert np.isfinite(monitor.history["share_gamma"]).all()
    net[1].weight = nn.Parameter(torch.ones(3))
    assert not monitor.watched.renewed(net)
    assert "1.weight is gone" in monitor.note[-1]


@pytest.mark.parametrize("make", [adam, lambda net: torch.optim.NAdam(net.parameters(), weight_decay=1e-2)])
def test_a_network_may_change_its_precision(make: Callable[[nn.Module], Any]) -> None:
    net = small()
    optimizer = make(net)
    monitor = Monitor(net, optimizer, interval=2)
    train(net, optimizer, range(3))
    net.double()
    for held in optimizer.state.values():
        held |= {name: x.double() for name, x in held.items() if x.is_floating_point() and x.ndim}
    for step in range(3):
        optimizer.zero_grad()
        cross_entropy(net(batch(step)[0].double()), batch(step)[1]).backward()
        optimizer.step()
    assert all(x.dtype == torch.float64 for held in monitor.updates.held.values() for x in held.values())
    assert np.isfinite(monitor.history["share_gamma"]).all()


def test_parts_of_a_network_that_cannot_be_traced_are_found() -> None:
    net = Untraceable()
    for example in (None, batch(0)[0]):
        monitor = Monitor(net, adam(net), interval=1, example=example)
        if example is None:
            net(batch(0)[0])
        assert [unit.activation for unit in monitor.watched.units] == ["relu", "identity"]
        assert monitor.watched.weights[0] is net.block[0].weight
        assert [note.partition(":")[0] for note in monitor.note] == ["Untraceable", "norm"]
        monitor.close()
    assert Monitor(Untraceable(block=False), adam(net), units=()).filters == 0


class Branching(nn.Conv2d):
    """Follows the numbers that it is given."""

    def __init__(self) -> None:
        super().__init__(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu() if float(x.sum()) > 0 else x


@pytest.mark.parametrize(
    ("net", "given", "words"),
    [
        (nn.Sequential(nn.Conv2d(2, 2, 1)), {"example": batch(0)[0]}, "neither a BatchNorm nor an activation"),
        (Branching(), {"example": batch(0)[0]}, "pass units="),
        (small(), {"example": torch.ones(2, 3)}, r"inputs of shape \(2, 3\) do not fit Sequential"),
        (small(), {"units": [Unit("0.1", "relu", nn.ReLU(), "")]}, "'0.1'.*accepted are.* 1, "),
        (small(), {"interval": 0}, "interval 0"),
    ],
)
def test_what_cannot_be_watched_is_refused(net: nn.Module, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Monitor(net, adam(net), **given)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in net.modules())


def test_the_record_keeps_its_size_and_an_even_distance() -> None:
    record = Record(2)
    for i in range(5 * MOST):
        record.add(10 * i, {name: np.full(2, i) for name in NAMES}, 10)
        assert record.size <= MOST
    assert set(np.diff(record.steps)) == {10 * record.every}
    np.testing.assert_array_equal(record.rows("gamma")[:, 0] * 10, record.steps)
    assert record.steps[-1] > 10 * (5 * MOST - 1 - record.every)


def test_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "monitor.md").read_text()
    block, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
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
