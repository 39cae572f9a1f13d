"""When a filter is dead, and of what it died: each cause in a world made so that it can be no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fullscale.monitor import Monitor
from fullscale.monitor.causes import CAUSES, RECENT, Displacement, Recent, displacement_of_margin
from fullscale.monitor.deaths import SILENT_IMAGES, Deaths, counted

Force = Callable[[int, nn.BatchNorm1d], tuple[Tensor, Tensor]]
IMAGES = 128


def world(
    filters: int, optimizer: Callable[[Any], Any], force: Force, steps: int, interval: int = 5, beta: float = 0.0
) -> Monitor:
    """A layer of filters over the same inputs at every step; `force` gives the gradients of gamma and beta."""
    net = nn.Sequential(nn.BatchNorm1d(filters), nn.ReLU()).double()
    norm = net[0]
    assert isinstance(norm, nn.BatchNorm1d)
    norm.bias.data.fill_(beta)
    x = torch.randn(IMAGES, filters, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = optimizer(net.parameters())
    monitor = Monitor(net, made, interval=interval)
    for step in range(steps):
        net(x)
        norm.weight.grad, norm.bias.grad = force(step, norm)
        made.step()
    monitor.close()
    return monitor


def nothing(step: int, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(norm.weight), torch.zeros_like(norm.bias)


def downwards(step: int, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(norm.weight), torch.ones_like(norm.bias)


def by_activation(monitor: Monitor) -> list[dict[str, Any]]:
    return [row for row in monitor.deaths if row["measure"] == "activation"]


def test_without_a_gradient_adam_and_l2_kill_what_seldom_fires() -> None:
    """E4 of the theory: from beta below -abs(gamma) on, gamma and beta lose the same a step and the margin ends."""
    monitor = world(8, lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-3), nothing, 400, beta=-1.5)
    rows = by_activation(monitor)
    assert len(rows) == 8
    assert {row["cause"] for row in rows} == {"regularizer"}
    for row in rows:
        assert row["pull"] < 0
        assert row["loss"] == pytest.approx(0, abs=1e-2 * abs(row["pull"]))
        assert row["input"] == pytest.approx(0, abs=1e-6)
    shares = monitor.history["share_gamma"].values
    np.testing.assert_allclose(shares, 1, atol=1e-9)


def test_without_a_regularizer_a_loss_that_pushes_steadily_is_the_cause() -> None:
    monitor = world(8, lambda p: torch.optim.Adam(p, lr=2e-2), downwards, 250)
    rows = by_activation(monitor)
    assert len(rows) == 8
    assert {row["cause"] for row in rows} == {"loss"}
    assert all(row["pull"] == 0 and row["loss"] < 0 for row in rows)


def test_the_loss_is_the_cause_where_it_moves_more_than_the_regularizer_does() -> None:
    """Decay takes the margin down as well, but by less."""
    monitor = world(4, lambda p: torch.optim.SGD(p, lr=2e-2, weight_decay=1e-2), downwards, 250)
    rows = by_activation(monitor)
    assert {row["cause"] for row in rows} == {"loss"}
    assert all(row["loss"] < row["pull"] < 0 for row in rows)


def test_a_random_walk_dies_of_noise() -> None:
    """At large steps without any drift. The threshold is such that a few of them look directed (5% of truncated paths)."""
    generator = torch.Generator().manual_seed(3)

    def random(step: int, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(norm.weight), torch.randn(norm.bias.shape, generator=generator, dtype=torch.float64)

    monitor = world(64, lambda p: torch.optim.SGD(p, lr=0.3), random, 600)
    found = counted(by_activation(monitor))
    assert found["noise"] >= 30
    assert found.get("loss", 0) <= 0.15 * found["noise"]
    # Those that come back and fall silent again at once have too few intervals.
    assert set(found) <= {"noise", "loss", "unknown"}


def test_a_filter_that_fires_again_is_a_revival_and_its_second_death_is_counted_anew() -> None:
    def there_and_back(step: int, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
        side = 1.0 if step < 200 or step >= 400 else -1.0
        return torch.zeros_like(norm.weight), torch.full_like(norm.bias, side)

    monitor = world(1, lambda p: torch.optim.SGD(p, lr=2.5e-2), there_and_back, 640)
    first, second = by_activation(monitor)
    reach = float(monitor.history["margin"][0, 0])
    fell = int(np.ceil(40 * reach / 5)) * 5
    assert first["step"] in (fell, fell + 5)
    assert first["certain"] == first["step"] + 5
    assert first["revived"] is not None
    assert 200 < first["revived"] < 400
    assert second["step"] > first["revived"]
    assert second["revived"] is None
    assert {first["cause"], second["cause"]} == {"loss"}
    alive = monitor.history["alive"][:, 0].values
    steps = monitor.history.step.values
    inside = ((steps >= first["step"]) & (steps < first["revived"])) | (steps >= second["step"])
    np.testing.assert_array_equal(alive, ~inside)


def test_death_by_scale_is_counted_apart() -> None:
    """Weight decay takes gamma and beta down together: the filter fires to the end, but its scale is gone."""
    monitor = world(3, lambda p: torch.optim.SGD(p, lr=0.3, weight_decay=0.1), nothing, 300, beta=0.5)
    assert {row["measure"] for row in monitor.deaths} == {"scale"}
    assert {row["cause"] for row in monitor.deaths} == {"regularizer"}
    assert len(monitor.deaths) == 3
    assert all(abs(row["step"] - np.log(1000) / 0.0305) < 15 for row in monitor.deaths)
    assert monitor.history["alive"].all()


def test_where_the_input_takes_the_margin_away_the_input_is_the_cause() -> None:
    net = nn.Sequential(nn.BatchNorm1d(1), nn.ReLU()).double()
    norm = net[0]
    norm.bias.data.fill_(-2.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    monitor = Monitor(net, optimizer, interval=1)
    spread = torch.linspace(-1, 1, IMAGES, dtype=torch.float64)
    for step in range(20):
        # One image stands out, ever less.
        x = torch.cat([spread, torch.tensor([max(1.0, 40.0 - 4 * step)], dtype=torch.float64)])[:, None]
        net(x)
        norm.weight.grad, norm.bias.grad = torch.zeros(1).double(), torch.zeros(1).double()
        optimizer.step()
    assert [row["cause"] for row in by_activation(monitor)] == ["input"]


def test_an_unknown_optimizer_leaves_the_cause_unknown() -> None:
    monitor = world(2, lambda p: torch.optim.ASGD(p, lr=2e-2), downwards, 250)
    assert {row["cause"] for row in by_activation(monitor)} == {"unknown"}


@given(
    quiet=st.lists(st.booleans(), min_size=2, max_size=30),
    images=st.sampled_from([16, 100, SILENT_IMAGES, 10 * SILENT_IMAGES]),
)
@settings(max_examples=40)
def test_a_silence_is_a_death_from_enough_images_and_two_batches_on(quiet: list[bool], images: int) -> None:
    deaths = Deaths("activation", 1)
    told = []
    for i, now in enumerate(quiet):
        interval = None if i == 0 else Displacement(*(np.zeros(1) for _ in range(3)))
        told += deaths.observe(10 * i, np.array([images]), np.array([now]), np.array([1.0]), interval)
    need = max(2, -(-SILENT_IMAGES // images))
    expected = []
    start = 0
    while start < len(quiet):
        end = start
        while end < len(quiet) and quiet[end] == quiet[start]:
            end += 1
        if quiet[start] and end - start >= need:
            expected.append((10 * start, 10 * (start + need - 1), 10 * end if end < len(quiet) else None))
        start = end
    assert [(row["step"], row["certain"], row["revived"]) for row in deaths.rows] == expected
    assert [id(row) for row in told] == [id(row) for row in deaths.rows]
    assert bool(deaths.dead[0]) == bool(expected and expected[-1][2] is None)


def test_what_was_not_run_is_neither_quiet_nor_awake() -> None:
    deaths = Deaths("activation", 1)
    for i, images in enumerate((SILENT_IMAGES, 0, 0, SILENT_IMAGES)):
        interval = None if i == 0 else Displacement(*(np.zeros(1) for _ in range(3)))
        deaths.observe(i, np.array([images]), np.array([images > 0]), np.array([1.0]), interval)
        assert len(deaths.rows) == (i == 3)
    assert deaths.rows[0]["step"] == 0


def test_the_window_begins_where_the_margin_was_last_half_of_its_largest() -> None:
    recent = Recent(1)
    margins = [2.0, 1.9, 0.8, 1.1, 0.4, 0.1, 0.0]
    pulls = [0.0, -0.1, -1.1, 0.3, -0.7, -0.3, -0.1]
    for i, (margin, pull) in enumerate(zip(margins, pulls, strict=True)):
        interval = None if i == 0 else Displacement(np.array([pull]), np.zeros(1), np.zeros(1))
        recent.add(np.array([margin]), interval)
    verdict = recent.judge(np.array([0]))
    assert verdict.intervals[0] == 3
    assert verdict.moved.pull[0] == pytest.approx(-1.1)
    assert CAUSES[verdict.cause[0]] == "regularizer"


def test_a_loss_of_few_intervals_is_not_judged() -> None:
    for count, cause in ((4, "unknown"), (5, "loss")):
        recent = Recent(1)
        recent.add(np.ones(1), None)
        for i in range(count):
            recent.add(np.ones(1) - i / count, Displacement(np.zeros(1), np.full(1, -1.0 / count), np.zeros(1)))
        assert CAUSES[recent.judge(np.array([0])).cause[0]] == cause


def test_memory_is_bounded() -> None:
    recent = Recent(3)
    for i in range(3 * RECENT):
        recent.add(np.ones(3), None if i == 0 else Displacement(*(np.ones(3) for _ in range(3))))
    assert recent.rows.shape == (3, RECENT, 3)
    assert recent.judge(np.arange(3)).intervals.max() <= RECENT


@given(st.floats(0.01, 2), st.floats(-1, 1), st.sampled_from([-1.0, 1.0]), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
@settings(max_examples=40)
def test_the_three_displacements_make_up_the_margins(
    size: float, shift: float, side: float, pull_gamma: float, pull_beta: float
) -> None:
    def at(gamma: float, beta: float, reach: float) -> dict[str, np.ndarray]:
        values = {"gamma": side * gamma, "beta": beta, "margin": beta + gamma * reach}
        return {name: np.array([x]) for name, x in values.items()} | {
            "pull_gamma": np.array([pull_gamma]), "pull_beta": np.array([pull_beta])
        }  # fmt: skip

    found = displacement_of_margin(at(size, shift, 2.0), at(0.5 * size, shift - 0.3, 3.0), 10)
    assert sum(found) == pytest.approx(shift - 0.3 + 1.5 * size - (shift + 2 * size))
    assert found.pull == pytest.approx(10 * (pull_beta + 2.5 * side * pull_gamma))
    still = displacement_of_margin(at(size, shift, 2.0), at(size, shift - 0.3, 2.0), 10)
    assert still.input == pytest.approx(0, abs=1e-12)


def test_a_revived_filter_is_judged_by_its_new_life_alone() -> None:
    deaths = Deaths("activation", 1)
    margins = [4.0, 2.0, 0.0, 0.0, 1.0, 0.9, 0.6, 0.0, 0.0]
    for i, margin in enumerate(margins):
        way = 0.0 if i == 0 else margin - margins[i - 1]
        interval = None if i == 0 else Displacement(np.array([way]), np.zeros(1), np.zeros(1))
        deaths.observe(i, np.array([SILENT_IMAGES]), np.array([margin <= 0]), np.array([margin]), interval)
    first, second = deaths.rows
    assert (first["step"], first["pull"], first["intervals"]) == (2, -2.0, 1)
    # The new life's largest margin is 1: at 0.6 it was clearly alive, which the old life's 4 would not let it be.
    assert (second["step"], second["pull"], second["intervals"]) == (7, -0.6, 1)


def test_the_running_maximum_follows_a_filter_that_shrinks() -> None:
    """At a ten-thousandth of its size no image passes 1e-3 of what it was; in time its size now is what counts."""

    def shrink(step: int, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
        norm.weight.data.fill_(1.0 if step < 3 else 1e-4)
        return nothing(step, norm)

    monitor = world(1, lambda p: torch.optim.SGD(p, lr=0.0), shrink, 100, interval=1)
    selectivity = monitor.history["selectivity"].values[:, 0]
    assert selectivity[0] == pytest.approx(0.5, abs=0.1)
    assert selectivity[5] == 1
    assert selectivity[-1] == selectivity[0]


def test_an_activation_that_writes_in_place_does_not_hide_the_margin() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU(inplace=True))
    norm = net[0]
    assert isinstance(norm, nn.BatchNorm1d)
    norm.bias.data.fill_(-10.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    monitor = Monitor(net, optimizer)
    net(torch.randn(16, 2)).sum().backward()
    optimizer.step()
    assert (monitor.history["margin"] < -5).all()
