"""One network of the trial: trained to the moment of treatment once, and from there on under all arms, side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.data import Images
from fullscale.feed import Feed
from fullscale.interventions.treated import Part, Treated
from fullscale.interventions.treatment import Treatment
from fullscale.measure import Activity, measured
from fullscale.models import Architecture
from fullscale.outcome import graphs_of, loss_and_error
from fullscale.replicas import Replicas
from fullscale.replicas.optimizers import Optimizers
from fullscale.spec import RunSpec
from fullscale.thresholds import INACTIVE_ACTIVATION
from fullscale.train import drawn, epoch_by_epoch, feeds_of

# Of the training, when the treatment begins; of a layer's active filters, how many are treated.
MOMENT, SHARE = 0.1, 0.25
COLUMNS = {
    "gamma": "absolute value of BatchNorm's scale",
    "selectivity": "share of the training images whose largest absolute activation is below 1e-3 of the filter's peak",
    "size": "square root of the rule's mean square of gamma's gradients, the regularizer's included, uncorrected for its start",
}
# Of a layer, what makes its filters.
_PARTS = ("norm.weight", "norm.bias", "conv.weight")


class Result(NamedTuple):
    """What an arm of one network leaves, as plain data.

    filters: of every filter, layer by layer, COLUMNS at the end; alive, treated: 1 for those that are active at the moment, and
    that are treated; died: the first measured epoch from which on it is inactive on the whole training set to the end, None
    for those that are active there; start: COLUMNS at the moment; layers: number of filters of each.
    """

    status: str
    summary: dict[str, Any]
    filters: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Network:
    """A network at the moment of treatment, which stays as it is: each arm goes on from a copy.

    epoch: how many it has taken; state: of the optimizer, a row of the network's weights each, and the clock; order: what
    decides the order of the images from there on; start: COLUMNS; alive, treated: of each layer the filters that are active,
    and those of them that are treated, in every arm the same.
    """

    spec: RunSpec
    feed: Feed
    epoch: int
    net: nn.Module
    state: dict[str, Any]
    order: Tensor
    start: dict[str, list[float]]
    alive: list[list[int]]
    treated: list[list[int]]

    def under(self, arms: Sequence[Treatment | None]) -> list[Result]:
        """Train copies to the end, the treated filters of each under its treatment, None for none at all.

        No arm sees another: each ends as it would alone (`fullscale.train.train_together`).
        """
        began = time.perf_counter()
        net, optimizers = _side_by_side(self.net, self.spec, len(arms))
        (optimizer,) = optimizers.each
        orders = [torch.Generator().set_state(self.order) for _ in arms]
        for row, treatment in zip(net.rows, arms, strict=True):
            optimizer.state[row].update(
                {name: x.clone() if torch.is_tensor(x) else x for name, x in self.state.items()}
            )
            if treatment is not None and any(self.treated):
                Treated(optimizer, parts(net, row, self.treated), treatment, self.spec.seed)
        found: list[Result | None] = [None] * len(arms)
        died: list[list[int | None]] = [[None] * sum(self.layers) for _ in arms]
        for epoch, losses in _epochs(self.spec, net, optimizers, self.feed, orders, self.epoch):
            last = epoch == self.spec.epochs
            for arm, loss in enumerate(losses):
                if found[arm] is not None or not (last or epoch % self.spec.measure_every == 0 or math.isnan(loss)):
                    continue
                one = net.take(arm).eval()
                try:
                    activity = measured(one, self.feed.training(1024), graphs_of(one)) if math.isfinite(loss) else None
                except InputError:  # the images were fine at the moment: it is the network that is not finite
                    activity = None
                if activity is None:
                    found[arm] = Result("diverged", {"epoch": epoch}, {})
                    continue
                dead = inactive(activity)
                died[arm] = [(was or epoch) if now else None for was, now in zip(died[arm], dead, strict=True)]
                if last:
                    summary = {
                        "test_error": loss_and_error(one, self.feed.test(1024))[1],
                        "inactive": sum(dead) / len(dead),
                        "start": self.epoch,
                        "epochs": epoch,
                        "seconds": (time.perf_counter() - began) / len(arms),
                    }
                    end = columns(net, optimizer, net.rows[arm], activity)
                    found[arm] = Result("done", summary, self._marks() | {"died": died[arm], "start": self.start} | end)
        return [result for result in found if result is not None]

    @property
    def layers(self) -> list[int]:
        """The number of filters of each."""
        return list(self.net.config.channels)  # type: ignore[union-attr, arg-type]

    def _marks(self) -> dict[str, Any]:
        marks = {
            name: [int(i in some) for size, some in zip(self.layers, filters, strict=True) for i in range(size)]
            for name, filters in (("alive", self.alive), ("treated", self.treated))
        }
        return {"layers": self.layers, **marks}


def begun(spec: RunSpec, images: Images) -> Network:
    """A network trained to the end of the epoch that is nearest to MOMENT, of the first at least, and its filters drawn.

    Args:
        spec: a run of BasicNet.
        images: those that it is of.

    Returns:
        The Network.

    Raises:
        InputError: for other images, for another model, and for a network that diverges before.

    Example:
        >>> from fullscale.data import Split
        >>> part = Split(np.arange(1024, dtype=np.uint8).reshape(16, 1, 8, 8), np.arange(16) % 2)
        >>> images = Images("stripes", ("even", "odd"), part, part)
        >>> spec = RunSpec(images.digest, 0.0625, "adam", "l2", lr=1e-3, strength=1e-4, batch=8, epochs=3, seed=0)
        >>> network = begun(spec, images)
        >>> network.epoch, [arm.status for arm in network.under([None, Treatment(scale=0.1)])]
        (1, ['done', 'done'])
    """
    if spec.digest != images.digest:
        raise InputError(f"digest {spec.digest[:12]} of the spec is not that of the images, {images.digest[:12]}")
    if spec.model != "basicnet":
        raise InputError(f"model {spec.model!r}: basicnet is accepted")
    (feed,) = feeds_of([spec], images, "cpu")
    (fresh,) = drawn(Architecture(spec.model, spec.width, feed.shape[0], len(feed.classes), spec.head), [spec.seed])
    net, optimizers = _side_by_side(fresh, spec, 1)
    order = torch.Generator().manual_seed(spec.seed)
    last = max(1, round(MOMENT * spec.epochs))
    for epoch, (loss,) in _epochs(spec, net, optimizers, feed, [order], 0):
        if not math.isfinite(loss):
            raise InputError(f"loss {loss} in epoch {epoch}, before the treatment: a run that trains is accepted")
        if epoch == last:
            break
    one = net.take(0).eval()
    activity = measured(one, feed.training(1024), graphs_of(one))
    alive = [np.flatnonzero(peak.numpy() >= INACTIVE_ACTIVATION).tolist() for peak in activity.peak]
    optimizers.train()
    (optimizer,), (row,) = optimizers.each, net.rows
    start = columns(net, optimizer, row, activity)
    treated = chosen(alive, spec.seed)
    return Network(spec, feed, last, net.take(0), dict(optimizer.state[row]), order.get_state(), start, alive, treated)


def chosen(alive: Sequence[Sequence[int]], seed: int) -> list[list[int]]:
    """Of each layer's active filters SHARE, at least one where there is any, drawn by the seed, in ascending order."""
    draws = np.random.default_rng(seed)
    counts = [max(1, round(SHARE * len(filters))) if filters else 0 for filters in alive]
    return [sorted(draws.permutation(filters)[:n].tolist()) for filters, n in zip(alive, counts, strict=True)]


def parts(net: Replicas, row: Tensor, filters: Sequence[Sequence[int]]) -> list[Part]:
    """What belongs to these filters of each layer, in a network's row of weights."""
    places = net.places()
    each = [
        torch.cat([places[f"blocks.{layer}.{name}"][i].flatten() for name in _PARTS])
        for layer, some in enumerate(filters)
        for i in some
    ]
    owners = torch.arange(len(each)).repeat_interleave(torch.tensor([len(one) for one in each]))
    return [Part(row, torch.cat(each), owners)]


def columns(net: Replicas, optimizer: Optimizer, row: Tensor, activity: Activity) -> dict[str, list[float]]:
    """COLUMNS, of all filters one after another, to four digits; without the size under a rule that keeps none."""
    found = {"gamma": torch.cat(activity.gamma).abs(), "selectivity": torch.cat(activity.selectivity)}
    if "v" in optimizer.rule.state:
        places = torch.cat([where for name, where in net.places().items() if name.endswith(_PARTS[0])])
        found["size"] = optimizer.state[row]["v"][places].sqrt()
    return {name: [float(f"{x:.4g}") for x in values.tolist()] for name, values in found.items()}


def inactive(activity: Activity) -> list[bool]:
    """Which filters are inactive by activation, all layers one after another."""
    return [bool(dead) for layer in activity.below("activation", INACTIVE_ACTIVATION) for dead in layer]


def _side_by_side(net: nn.Module, spec: RunSpec, count: int) -> tuple[Replicas, Optimizers]:
    replicas = Replicas([net] * count)
    return replicas, Optimizers(replicas, [spec] * count)


def _epochs(
    spec: RunSpec, net: Replicas, optimizers: Optimizers, feed: Feed, orders: Sequence[torch.Generator], done: int
) -> Iterator[tuple[int, list[float]]]:
    """The epochs after those that are done, as `fullscale.train.train_together` takes them: each one's number and mean losses."""
    total = spec.epochs * feed.steps(spec.batch)
    plan = spec.multiplier(total)
    feeds = [feed] * len(orders)
    loop = epoch_by_epoch(
        net, optimizers, feeds, orders, lambda steps: spec.lr * plan(steps), total, spec.batch, done=done
    )
    for epoch, losses in enumerate(loop, done + 1):
        optimizers.eval()  # a schedule-free rule is measured at its average
        yield epoch, losses
