"""The forecast of what trains: a run that is recorded, its file, and a monitor in anyone's loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import pytest
import torch
from monitored import batch, small, train
from shades import shades, spec
from torch import nn
from torch.optim import lr_scheduler

from dynamics.errors import InputError
from fullscale import checkpoint
from fullscale.forecast.answer import forecast
from fullscale.forecast.live import of_run
from fullscale.forecast.recorded import DEATH
from fullscale.forecast.seen import Seen
from fullscale.monitor import Monitor
from fullscale.resume import monitor_state
from fullscale.spec import RunSpec, together_key
from fullscale.train import train as train_run

IMAGES = shades(count=64, side=8)
SPEC = spec(IMAGES, epochs=4, record=True, strength=0.05, schedule="cosine")  # 8 steps an epoch
HALF = 2


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at every third step, so that a run of 32 steps has several; files are read with small images, which are faster
    to trace."""
    monkeypatch.setattr("fullscale.forecast.recorded.INTERVAL", 3)
    monkeypatch.setattr("fullscale.forecast.live._SIDE", 8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with the file of the recorded run at its end and one at half of it, and the outcome of the first."""
    folder, threads = tmp_path_factory.mktemp("runs"), torch.get_num_threads()
    torch.set_num_threads(1)  # as in each test, which on another number of threads rounds otherwise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fullscale.forecast.recorded.INTERVAL", 3)
        patch.setattr("fullscale.train.conclude", lambda outcome, net, *_: setattr(outcome, "net", net))
        run(SPEC, folder / "half", until=HALF)
        copy(folder / "half", folder / "whole")
        whole = run(SPEC, folder / "whole")
    torch.set_num_threads(threads)
    return folder, whole


def run(asked: RunSpec, path: Path, until: int | None = None) -> Any:
    """To its end, or to the end of an epoch."""

    def stop(epoch: int, _: list[float]) -> None:
        if epoch == until:
            raise KeyboardInterrupt

    if until is None:
        return train_run(asked, IMAGES, checkpoint=path)
    with pytest.raises(KeyboardInterrupt):
        train_run(asked, IMAGES, stop, checkpoint=path)
    return None


@pytest.mark.usefixtures("unjudged")
def test_a_record_alters_nothing(runs: tuple[Path, Any], tmp_path: Path) -> None:
    """Not even of a run that was stopped and went on."""
    _, found = runs
    plain = run(replace(SPEC, record=False), tmp_path / "plain")
    for name, x in plain.net.state_dict().items():
        assert torch.equal(x, found.net.state_dict()[name])
    assert plain.curves == found.curves
    assert not plain.filters


@pytest.mark.usefixtures("unjudged")
def test_a_stop_leaves_no_trace_in_the_record(runs: tuple[Path, Any], tmp_path: Path) -> None:
    folder, found = runs
    path = tmp_path / "at once"
    once = run(SPEC, path)
    assert once.filters == found.filters
    one, other = (monitor_state(checkpoint.load(each)) for each in (path, folder / "whole"))
    assert one is not None
    assert other is not None
    for name, x in one["record"]["rows"].items():
        torch.testing.assert_close(x, other["record"]["rows"][name], rtol=0, atol=0, equal_nan=True)
    for name in ("steps", "over"):
        assert torch.equal(one["record"][name], other["record"][name])


@pytest.mark.usefixtures("unjudged")
def test_a_run_that_has_ended_is_told_as_it_was(runs: tuple[Path, Any]) -> None:
    folder, found = runs
    assert run(SPEC, folder / "whole").filters == found.filters


def test_what_is_kept_of_a_run_is_plain_and_whole(runs: tuple[Path, Any]) -> None:
    _, outcome = runs
    found = outcome.filters
    filters = len(found["dead_by_activation"])
    assert set(found) == {"dead_by_activation", "deaths", "seen"}
    assert set(found["deaths"]) == set(DEATH)
    assert set(found["dead_by_activation"]) <= {0, 1}
    assert set(found["seen"]) == {"0.1", "0.3"}  # of 32 steps, those from the second look on
    for moment, data in found["seen"].items():
        seen = Seen.of(data)
        assert len(seen) == filters
        assert seen.batch == SPEC.batch
        assert seen.step == round(float(moment) * 32) // 3 * 3
        assert np.isfinite(seen.gamma).all()
        assert np.isfinite(seen.weights).all()


def test_a_runs_file_is_read_to_where_the_run_will_end(runs: tuple[Path, Any]) -> None:
    now = of_run(runs[0] / "half")
    assert (now.seen.step, now.steps, now.dead) == (15, 16, None)
    np.testing.assert_allclose(now.multipliers, SPEC.multiplier(32)(np.arange(16, 32)))
    assert (now.setting.lr, now.setting.strength) == (SPEC.lr, SPEC.strength)
    assert now.went(now.forecast()) is None


def test_a_runs_file_is_read_from_a_moment_to_where_it_stands(runs: tuple[Path, Any]) -> None:
    then = of_run(runs[0] / "half", 0.5)
    assert (then.seen.step, then.steps) == (6, 9)
    np.testing.assert_allclose(then.multipliers, SPEC.multiplier(32)(np.arange(7, 16)))
    assert then.dead is not None
    then.dead[then.seen.alive] = np.arange(then.seen.alive.sum()) % 2 > 0
    found = then.forecast()
    said = then.went(found)
    assert said is not None
    assert (said.alive, said.died) == (then.seen.alive.sum(), then.seen.alive.sum() // 2)
    assert said.brier == pytest.approx(np.mean((found.probability - then.dead)[then.seen.alive] ** 2))
    assert f"of {said.alive} filters alive then {said.died} are dead" in str(said)


@pytest.mark.usefixtures("unjudged")
def test_files_that_hold_no_forecast(runs: tuple[Path, Any], tmp_path: Path) -> None:
    ended, plain, other = runs[0] / "whole", tmp_path / "plain", tmp_path / "net"
    checkpoint.save(runs[1].net, other)
    run(replace(SPEC, record=False, epochs=1), plain)
    for path, at, words in (
        (ended, None, "has ended, at step 32: a run that goes on, or --at, is accepted"),
        (ended, 0.0, "at 0: a share of the 32 steps"),
        (ended, 1.0, "at 1: a share of the 32 steps"),
        (ended, 0.05, r"a monitor with 1 observation\(s\) up to step 2: two, which are 3 steps apart"),
        (plain, None, "was trained without a record"),
        (other, None, "holds no training run"),
        (tmp_path / "nothing", None, "nothing"),
    ):
        with pytest.raises(InputError, match=words):
            of_run(path, at)


@pytest.mark.usefixtures("unjudged")
def test_a_file_without_a_record_goes_on_without_one_only(tmp_path: Path) -> None:
    """As files from before there were records: a key that is at its default is not in them."""
    plain = replace(SPEC, record=False)
    path = tmp_path / "run"
    run(plain, path, until=HALF)
    assert "monitor" not in checkpoint.load(path).notes
    assert "record" not in checkpoint.load(path).notes["spec"]
    with pytest.raises(InputError, match="another run \\(record at its default, asked for is True\\)"):
        run(SPEC, path)
    assert run(plain, path).curves == run(plain, tmp_path / "whole").curves


def test_a_recorded_run_goes_alone_from_first_weights() -> None:
    assert together_key(SPEC) == ""
    assert together_key(replace(SPEC, record=False)) != ""
    for other in ({"watch": True}, {"start": "ab"}, {"processes": 2}):
        with pytest.raises(InputError, match=r"^record of a run.*one process, from first weights, without watch"):
            replace(SPEC, **other)


# a monitor in anyone's loop


def watched(make: Any, steps: int = 13) -> tuple[Monitor, Any]:
    net = small()
    optimizer = make(net)
    monitor = Monitor(net, optimizer, interval=4)
    train(net, optimizer, range(steps))
    return monitor, optimizer


def adam(net: nn.Module, lr: float = 1e-2) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=lr, weight_decay=0.05)


def test_a_monitor_forecasts_what_it_has_seen() -> None:
    monitor, _ = watched(adam)
    found = monitor.forecast(200)
    assert found.seen.step == 12
    assert found.seen.batch == 8
    assert found.setting == "adam lr=0.01 l2=0.05"
    assert np.isfinite(found.probability).all()
    same = forecast(found.seen, "adam lr=0.01 l2=0.05", 200)
    np.testing.assert_array_equal(found.probability, same.probability)
    assert monitor.forecast(200, batch=64).seen.batch == 64
    with pytest.raises(InputError, match=r"^steps 0"):
        monitor.forecast(0)
    with pytest.raises(InputError, match=r"^batch 1"):
        monitor.forecast(10, batch=1)


@pytest.mark.parametrize(
    ("make", "lr"),
    [
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 200), 1e-2),
        (lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=201), 1e-2),
        (lambda o: lr_scheduler.LambdaLR(o, lambda t: min(1.0, t / 50)), 1e-2),
    ],
    ids=["cosine", "one cycle", "warmup from 0"],
)
def test_a_scheduler_is_read_ahead_and_left_where_it_is(make: Any, lr: float) -> None:
    monitor, optimizer = watched(adam)
    monitor.close()
    scheduler = make(optimizer)
    before = (scheduler.last_epoch, optimizer.param_groups[0]["lr"])
    found = monitor.forecast(200, scheduler=scheduler)
    assert (scheduler.last_epoch, optimizer.param_groups[0]["lr"]) == before
    coming = []
    for _ in range(200):
        coming.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    same = forecast(found.seen, f"adam lr={lr} l2=0.05", 200, multipliers=np.array(coming) / lr)
    np.testing.assert_allclose(found.probability, same.probability, rtol=1e-9)
    still = forecast(found.seen, f"adam lr={lr} l2=0.05", 200)
    assert abs(still.probability - found.probability).max() > 1e-6


def test_the_group_of_the_scales_is_the_one_that_counts() -> None:
    def grouped(net: nn.Module) -> torch.optim.Adam:
        norms = [p for m in net.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
        others = [p for p in net.parameters() if all(p is not norm for norm in norms)]
        return torch.optim.Adam([{"params": others, "weight_decay": 0.5}, {"params": norms, "lr": 3e-3}], lr=1e-2)

    monitor, optimizer = watched(grouped)
    found = monitor.forecast(500)
    assert found.setting == "adam lr=0.003"
    same = forecast(found.seen, "adam lr=3e-3", 500)  # which nothing pulls
    np.testing.assert_array_equal(found.probability, same.probability)
    optimizer.param_groups[1]["weight_decay"] = 0.5
    assert monitor.forecast(500).share > found.share


def test_a_monitor_that_cannot_forecast_says_why() -> None:
    for make, steps, words in (
        (adam, 0, "^batch of a monitor that has seen none"),
        (adam, 4, r"^a monitor with 1 observation\(s\): two, which are 4 steps apart, are accepted"),
        (
            lambda net: torch.optim.Adam([p for p in net.parameters() if p.ndim > 1]),
            9,
            "whose optimizer holds no scales",
        ),
        (lambda net: torch.optim.ASGD(net.parameters()), 9, "ASGD is none of the rules here"),
    ):
        monitor, _ = watched(make, steps)
        with pytest.raises(InputError, match=words):
            monitor.forecast(10)
    monitor, _ = watched(adam)
    other = lr_scheduler.StepLR(torch.optim.SGD(small().parameters(), lr=0.1), 3)
    with pytest.raises(InputError, match="scheduler of another optimizer"):
        monitor.forecast(10, scheduler=other)


@pytest.mark.parametrize("norm", [nn.Identity(), nn.BatchNorm2d(4, affine=False)])
def test_without_scales_there_is_no_forecast(norm: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, interval=2)
    for step in range(5):
        optimizer.zero_grad()
        net(batch(step)[0]).square().mean().backward()
        optimizer.step()
    with pytest.raises(InputError, match="norms with a scale that it trains are accepted"):
        monitor.forecast(10)
