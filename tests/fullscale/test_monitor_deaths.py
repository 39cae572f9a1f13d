"""When a filter is dead, and of what it died: each cause in a world made so that it can be no other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
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
    filters: int, optimizer: Callable[[Any], Any], force: Force, steps: int, interval: int = 5, beta: float = 0.0,
    fading: bool = False,
) -> Monitor:  # fmt: skip
    """A layer of filters over the same inputs at every step; `force` gives the gradients of gamma and beta.

    fading: over inputs among which one image stands out instead, ever less.
    """
    net = nn.Sequential(nn.BatchNorm1d(filters), nn.ReLU()).double()
    norm = net[0]
    norm.bias.data.fill_(beta)
    x = torch.randn(IMAGES, filters, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = optimizer(net.parameters())
    monitor = Monitor(net, made, interval=interval)
    for step in range(steps):
        if fading:
            x = torch.linspace(-1, 1, IMAGES).double()[:, None].repeat(1, filters)
            x[0] = max(1.0, 40.0 - 4 * step)
        net(x)
        norm.weight.grad, norm.bias.grad = force(step, norm)
        made.step()
    monitor.close()
    return monitor


def towards(side: Callable[[int], float]) -> Force:
    return lambda step, norm: (torch.zeros_like(norm.weight), torch.full_like(norm.bias, side(step)))


nothing, downwards = towards(lambda step: 0.0), towards(lambda step: 1.0)


def by_activation(monitor: Monitor) -> list[dict[str, Any]]:
    return [row for row in monitor.deaths if row["measure"] == "activation"]


@pytest.mark.parametrize(
    ("optimizer", "others", "cause", "moves"),
    [
        # E4 of the theory: from beta below -abs(gamma) on, gamma and beta lose the same a step and the margin ends.
        (lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-3), (nothing, 400, 5, -1.5), "regularizer", "pull"),
        (lambda p: torch.optim.Adam(p, lr=2e-2), (downwards, 250), "loss", "loss"),
        # Decay takes the margin down as well, but by less.
        (lambda p: torch.optim.SGD(p, lr=2e-2, weight_decay=5e-2), (downwards, 250), "loss", "loss pull"),
        (lambda p: torch.optim.SGD(p, lr=0.1), (nothing, 20, 1, -2.0, True), "input", "input"),
        (lambda p: torch.optim.ASGD(p, lr=2e-2), (downwards, 250), "unknown", None),
    ],
)
def test_a_filter_dies_of_what_moved_it(optimizer: Any, others: Any, cause: str, moves: str | None) -> None:
    """Each in a world made so that the cause can be no other; `moves` names what moves the margin down, the farthest first."""
    monitor = world(4, optimizer, *others)
    rows = by_activation(monitor)
    assert sorted(row["filter"] for row in rows) == [0, 1, 2, 3]
    assert {row["cause"] for row in rows} == {cause}
    for row in rows if moves else ():
        down = sorted((row[name], name) for name in ("pull", "loss", "input"))
        moved = [name for size, name in down if size < 1e-2 * down[0][0]]
        assert moved == moves.split()
        assert down[0][0] < 0
    if cause == "regularizer":
        np.testing.assert_allclose(monitor.history["share_gamma"], 1, atol=1e-9)


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
    there_and_back = towards(lambda step: -1.0 if 200 <= step < 400 else 1.0)
    monitor = world(1, lambda p: torch.optim.SGD(p, lr=2.5e-2), there_and_back, 640)
    first, second = by_activation(monitor)
    reach = float(monitor.history["margin"][0, 0])
    fell = int(np.ceil(40 * reach / 5)) * 5
    assert first["step"] in (fell, fell + 5)
    assert first["certain"] == first["step"] + 5
    assert 200 < first["revived"] < 400
    assert second["step"] > first["revived"]
    assert second["revived"] is None
    assert {first["cause"], second["cause"]} == {"loss"}
    steps = monitor.history.step.values
    inside = ((steps >= first["step"]) & (steps < first["revived"])) | (steps >= second["step"])
    np.testing.assert_array_equal(monitor.history["alive"][:, 0], ~inside)


def test_death_by_scale_is_counted_apart() -> None:
    """Weight decay takes gamma and beta down together: the filter fires to the end, but its scale is gone."""
    monitor = world(3, lambda p: torch.optim.SGD(p, lr=0.3, weight_decay=0.1), nothing, 300, beta=0.5)
    assert [(row["measure"], row["cause"]) for row in monitor.deaths] == [("scale", "regularizer")] * 3
    assert all(abs(row["step"] - np.log(1000) / 0.0305) < 15 for row in monitor.deaths)
    assert monitor.history["alive"].all()


def still(x: float = 0.0) -> Displacement:
    return Displacement(np.array([x]), np.zeros(1), np.zeros(1))


@given(
    quiet=st.lists(st.sampled_from([True, True, False, None]), min_size=2, max_size=30),
    images=st.sampled_from([16, 100, SILENT_IMAGES, 10 * SILENT_IMAGES]),
)
@settings(max_examples=60)
def test_a_silence_is_a_death_from_enough_images_and_two_batches_on(quiet: list[bool | None], images: int) -> None:
    """None: the layer was not run, which is neither quiet nor awake."""
    deaths, told = Deaths("activation", 1), []
    for i, now in enumerate(quiet):
        seen = np.array([0 if now is None else images])
        told += deaths.observe(10 * i, seen, np.array([bool(now)]), np.ones(1), still() if i else None)
    need = max(2, -(-SILENT_IMAGES // images))
    runs = groupby(((10 * i, now) for i, now in enumerate(quiet) if now is not None), key=lambda at: at[1])
    spells = [(now, [step for step, _ in run]) for now, run in runs]
    ends = [*(run[0] for _, run in spells[1:]), None]
    expected = [
        (run[0], run[need - 1], end) for (now, run), end in zip(spells, ends, strict=False) if now and len(run) >= need
    ]
    assert [(row["step"], row["certain"], row["revived"]) for row in deaths.rows] == expected
    assert [id(row) for row in told] == [id(row) for row in deaths.rows]
    assert bool(deaths.dead[0]) == bool(expected and expected[-1][2] is None)


parts = st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25])


@given(
    st.lists(st.tuples(st.sampled_from([0.25, 0.5, 1.0, 2.0]), parts, parts, parts), min_size=1, max_size=RECENT + 9),
    st.integers(0, RECENT + 9),
)
@settings(max_examples=150)
def test_a_verdict_is_what_its_definition_says(given: list[tuple[float, ...]], born: int) -> None:
    recent = Recent(1)
    for i, (margin, *moved) in enumerate(given):
        recent.add(np.array([margin]), Displacement(*np.array(moved)[:, None]) if i else None)
    recent.born[0] = born = min(born, len(given) - 1)
    verdict = recent.judge(np.array([0]))
    lived = range(max(born, len(given) - RECENT), len(given))
    largest = max(given[i][0] for i in lived)
    well = max([born, *(i for i in lived if given[i][0] >= 0.5 * largest)])
    window = [given[i][1:] for i in lived if i > well]
    moved, losses = np.sum(window or [(0, 0, 0)], axis=0), [given[i][2] for i in lived if i > born]
    error = np.std(losses, ddof=1) * len(window) ** 0.5 if len(losses) > 1 else 0
    cause = ("regularizer", "loss", "input")[moved.argmin()] if moved.min() < 0 else "unknown"
    if cause == "loss" and len(losses) < 5:
        cause = "unknown"
    elif cause == "loss" and abs(moved[1]) < 3 * error:
        cause = "noise"
    assert (CAUSES[verdict.cause[0]], verdict.intervals[0]) == (cause, len(window))
    np.testing.assert_array_equal(np.concatenate(verdict.moved), moved)
    assert verdict.error[0] == pytest.approx(error)


@given(st.floats(0.01, 2), st.floats(-1, 1), st.sampled_from([-1.0, 1.0]), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
@settings(max_examples=40)
def test_the_three_displacements_make_up_the_margins(
    size: float, shift: float, side: float, pull_gamma: float, pull_beta: float
) -> None:
    def at(gamma: float, beta: float, reach: float) -> dict[str, np.ndarray]:
        values = {"gamma": side * gamma, "beta": beta, "margin": beta + gamma * reach}
        return {
            name: np.array([x]) for name, x in (values | {"pull_gamma": pull_gamma, "pull_beta": pull_beta}).items()
        }

    found = displacement_of_margin(at(size, shift, 2.0), at(0.5 * size, shift - 0.3, 3.0), 10)
    assert sum(found) == pytest.approx(shift - 0.3 + 1.5 * size - (shift + 2 * size))
    assert found.pull == pytest.approx(10 * (pull_beta + 2.5 * side * pull_gamma))
    still = displacement_of_margin(at(size, shift, 2.0), at(size, shift - 0.3, 2.0), 10)
    assert still.input == pytest.approx(0, abs=1e-12)


def test_a_revived_filter_is_judged_by_its_new_life_alone() -> None:
    deaths = Deaths("activation", 1)
    margins = [4.0, 2.0, 0.0, 0.0, 1.0, 0.9, 0.6, 0.0, 0.0]
    for i, margin in enumerate(margins):
        interval = still(margin - margins[i - 1]) if i else None
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
