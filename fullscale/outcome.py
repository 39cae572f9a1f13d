"""What a training run leaves: the points of its curves, the measures at its end, the networks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from torch import nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from fullscale.feed import Batch, Feed, joined
from fullscale.graph import evaluation, taken
from fullscale.measure import Activity, Graphs, measured, zeroed
from fullscale.prune import Removal, certify
from fullscale.prune.removal import example_for, removed
from fullscale.replicas import Replicas
from fullscale.resume import Curves
from fullscale.thresholds import INACTIVE_ACTIVATION

# Pixels of test images that a certificate compares outputs on: all of CIFAR's 10,000, some 200 of ImageNet's.
CERTIFIED = 10_000 * 3 * 32 * 32


@dataclass(eq=False)
class Outcome:
    """What a run leaves: curves and summary as plain data, and, unless it diverged, the networks.

    status: done or diverged, error saying where. summary: see `assess`. filters: of a watched run, see
    `fullscale.watched.run.Watch.table`. smaller: net without its dead filters.
    """

    status: str = "done"
    error: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    filters: dict[str, Any] = field(default_factory=dict)
    net: nn.Module | None = None
    smaller: nn.Module | None = None


def take(net: nn.Module, replica: int) -> nn.Module:
    """One of the networks that are trained side by side, or the only one."""
    return net.take(replica) if isinstance(net, Replicas) else net


def graphs_of(net: nn.Module) -> Graphs:
    """Those of one of the known networks, which a process traces once however many runs of it it sees."""
    return _graphs(type(net).__name__, net.config)


@lru_cache(maxsize=8)
def _graphs(kind: str, config: Any) -> Graphs:
    return Graphs()


def without_dead(net: nn.Module, activity: Activity) -> tuple[nn.Module, Removal]:
    """What `remove_dead` makes of one of the known networks."""
    inputs = taken(example_for(net)).to(net)
    return removed(net, graphs_of(net).of(net, inputs).graph, inputs, activity)


def conclude(outcome: Outcome, net: nn.Module, activity: Activity, feed: Feed, thresholds: bool) -> None:
    """Fill in what the end of a run leaves; diverged if the network is not finite on the test images.

    thresholds: test it once more for every threshold, with the filters below it put to 0.
    """
    try:
        smaller, removal = without_dead(net, activity)
        outcome.summary |= assess(net, smaller, removal, activity, feed)
        if thresholds:
            outcome.summary["thresholds"] = zeroed(net, activity, feed.test(1024), graphs=graphs_of(net))
        outcome.net, outcome.smaller = net, smaller
    except InputError as error:  # finite on the training images, but not on the others
        outcome.status, outcome.error = "diverged", str(error)


def assess(net: nn.Module, smaller: nn.Module, removal: Removal, activity: Activity, feed: Feed) -> dict[str, Any]:
    """The end of a run as plain data: both measures of inactive filters, over all, by layer and over thresholds; the mean
    selectivity of the others, by layer (None where there are none); test error and loss, and those on held-out images, if
    there are any; what the removal of the dead filters took away, and its certificate on test images."""
    loss, error = loss_and_error(net, feed.test(1024))
    x, y = joined(feed.test(1024), max(1, CERTIFIED // math.prod(feed.shape)))
    return {
        "inactive_by_activation": activity.inactive_by_activation(),
        "inactive_by_scale": activity.inactive_by_scale(),
        "layers_by_activation": activity.layers_by_activation(),
        "layers_by_scale": activity.layers_by_scale(),
        "layers_selectivity": [
            float(selectivity[peak >= INACTIVE_ACTIVATION].mean()) if (peak >= INACTIVE_ACTIVATION).any() else None
            for selectivity, peak in zip(activity.selectivity, activity.peak, strict=True)
        ],
        "sweep": [tuple(point) for point in activity.sweep(10.0**k for k in range(-14, 1))],
        "test_error": error,
        "test_loss": loss,
        "channels": [len(gamma) for gamma in activity.gamma],
        "removal": removal.as_dict() | {"share": removal.share},
        "certificate": certify(net, smaller, x, y).as_dict(),
    } | _held_out(net, feed)


def _held_out(net: nn.Module, feed: Feed) -> dict[str, float]:
    parts = list(feed.held_out(1024))
    return dict(zip(("held_out_loss", "held_out_error"), loss_and_error(net, parts), strict=True)) if parts else {}


def look(
    net: nn.Module, feeds: list[Feed], outcomes: list[Outcome], epoch: int, losses: list[float]
) -> list[Activity | None]:
    """Measure every replica that has not diverged, and add a point to its curves."""
    seen: list[Activity | None] = []
    for replica, (feed, outcome) in enumerate(zip(feeds, outcomes, strict=True)):
        seen.append(None)
        if outcome.status == "diverged":
            continue
        one = take(net, replica)
        try:
            activity = measured(one, feed.training(1024), graphs_of(one))
        except InputError as error:  # the images were fine for the steps before: it is the network that is not finite
            outcome.status, outcome.error = "diverged", f"{error}, seen after epoch {epoch}"
            continue
        seen[-1] = activity
        point = {
            "epoch": float(epoch),
            "loss": losses[replica],
            "inactive_by_activation": activity.inactive_by_activation(),
            "inactive_by_scale": activity.inactive_by_scale(),
            "test_error": loss_and_error(one, feed.test(1024))[1],
        }
        for name, value in point.items():
            outcome.curves.setdefault(name, []).append(value)
    return seen


def loss_and_error(net: nn.Module, parts: Iterable[Batch]) -> tuple[float, float]:
    """Mean cross entropy and share of errors on batches of images with labels, in evaluation mode."""
    loss, wrong, count = 0.0, 0, 0
    with evaluation(net):
        for x, y in parts:
            outputs = net(x)
            loss += float(cross_entropy(outputs, y, reduction="sum"))
            wrong += int((outputs.argmax(dim=1) != y).sum())
            count += len(y)
    return loss / count, wrong / count
