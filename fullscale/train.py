"""Train a network as a RunSpec says, measuring its filters along the way. Read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.checkpoint import Saved
from fullscale.data import Images
from fullscale.execution import Execution, Recorded
from fullscale.feed import Batch, Feed, Resident, joined
from fullscale.graph import evaluation
from fullscale.measure import Activity, measure, zeroed
from fullscale.models import Architecture, build
from fullscale.prune import Removal, certify, remove_dead
from fullscale.replicas import Replicas
from fullscale.resume import Curves, Progress, found, holds_state_of, keep, restore, restore_optimizer
from fullscale.spec import RunSpec

# Called after each epoch with the epochs done and the mean loss of each seed.
Notify = Callable[[int, list[float]], None]
# Called after each measurement of a run of one seed with the point that was added to its curves.
Write = Callable[[dict[str, float]], None]
# Pixels of test images that a certificate compares outputs on: all of CIFAR's 10,000, some 200 of ImageNet's.
CERTIFIED = 10_000 * 3 * 32 * 32


@dataclass(eq=False)
class Outcome:
    """What one seed of a run leaves: curves and summary as plain data, and, unless it diverged, the networks.

    status: done or diverged, error saying where. summary: see `assess`. smaller: net without its dead filters.
    """

    seed: int
    status: str = "done"
    error: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    net: nn.Module | None = None
    smaller: nn.Module | None = None


def one_thread() -> None:
    """Small networks train fastest on one thread; denormal numbers, which dying filters are full of, count as 0."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def train(
    spec: RunSpec,
    images: Images | Feed,
    progress: Notify | None = None,
    *,
    execution: Execution | None = None,
    checkpoint: Path | None = None,
    start: Saved | None = None,
    write: Write | None = None,
) -> list[Outcome]:
    """Train each seed on the training images, measure it there, test it on the test images; one outcome a seed.

    images: in memory, or a `Feed` (for data that are not). A seed sets the first weights and the data order (and its
    validation part). A seed whose loss or weights are no longer finite has diverged; the others go on. execution: where and
    how; the CPU by default. checkpoint: a file that the run is written to after every epoch and, if it is there already,
    goes on from, with the same end to the last bit on a CPU. start: the network to start from, with its optimizer's state if
    the file holds one of the same rule. The last two take one seed.
    Raises InputError if the spec's digest is not that of the images, if an epoch has no whole batch, and for a checkpoint of
    another run.
    """
    if spec.digest != images.digest:
        raise InputError(f"digest {spec.digest[:12]} of the spec is not that of the images, {images.digest[:12]}")
    if len(spec.seeds) > 1 and (checkpoint or start):
        raise InputError(f"seeds {list(spec.seeds)} with a checkpoint or a start: one seed is accepted")
    run = execution or Execution()
    with run.applied():
        return _train(spec, images, progress, run, checkpoint, start, write)


def _train(
    spec: RunSpec,
    images: Images | Feed,
    progress: Notify | None,
    run: Execution,
    checkpoint: Path | None,
    start: Saved | None,
    write: Write | None,
) -> list[Outcome]:
    feeds = _feeds(spec, images, run.device)
    steps = feeds[0].steps(spec.batch)
    saved = found(checkpoint, spec) if checkpoint else None
    nets = [saved.net] if saved else [_started(start, feeds[0], spec)] if start else _first(spec, feeds[0])
    net: nn.Module = nets[0] if len(nets) == 1 else Replicas(nets)  # type: ignore[arg-type]
    layout = run.layout(net)
    net.to(run.device, memory_format=layout)  # type: ignore[call-overload]

    lr = torch.tensor(spec.lr, dtype=torch.float64, device=run.device) if run.graphs else spec.lr
    numbers: dict[str, Any] = {"lr": lr, "weight_decay": spec.strength, "capturable": run.graphs, **dict(spec.hyper)}
    optimizer = Optimizer(net.parameters(), spec.optimizer, spec.coupling, **numbers)
    orders = [torch.Generator().manual_seed(seed) for seed in spec.seeds]
    outcomes = [Outcome(seed) for seed in spec.seeds]
    done = Progress()
    if saved:
        done = restore(saved, net, optimizer, orders[0])
        outcomes[0].curves = done.curves or {}
    elif start and holds_state_of(start, optimizer):
        restore_optimizer(net, optimizer, start)

    forward = torch.compile(net) if run.compile else net
    losses = torch.zeros(len(feeds), device=run.device)

    def step(x: Tensor, y: Tensor) -> None:
        amp = (
            torch.autocast(torch.device(run.device).type, torch.bfloat16) if spec.precision == "bf16" else nullcontext()
        )
        with amp:
            outputs = forward(x).view(*y.shape, -1)
            each = cross_entropy(outputs.flatten(0, 1).float(), y.flatten(), reduction="none").view(y.shape).mean(dim=1)
        optimizer.zero_grad()
        # The sum: no replica's gradient depends on how many others there are.
        each.sum().backward()
        optimizer.step()
        losses.add_(each.detach())

    advance = Recorded(step) if run.graphs else step
    multipliers = spec.multiplier(spec.epochs * steps)(np.arange(spec.epochs * steps))
    activities: list[Activity | None] = [None] * len(feeds)
    started = time.perf_counter() - done.seconds
    for epoch in range(done.epoch + 1, spec.epochs + 1):
        net.train()
        optimizer.train()
        losses.zero_()
        for number, (x, y) in enumerate(_together(feeds, spec.batch, orders)):
            _set_lr(optimizer, spec.lr * float(multipliers[(epoch - 1) * steps + number]))
            advance(x.contiguous(memory_format=layout), y)
        # The only moment of an epoch at which the processor waits for the device.
        mean_losses = (losses / steps).tolist()
        for outcome, loss in zip(outcomes, mean_losses, strict=True):
            if outcome.status == "done" and not math.isfinite(loss):
                outcome.status, outcome.error = "diverged", f"the loss is {loss} in epoch {epoch} of {spec.epochs}"
        if epoch % spec.measure_every == 0 or epoch == spec.epochs:
            optimizer.eval()  # a schedule-free rule is measured at its average
            activities = _look(net, feeds, outcomes, epoch, mean_losses)
            if write and outcomes[0].status == "done":
                write({name: values[-1] for name, values in outcomes[0].curves.items()})
        if checkpoint and outcomes[0].status == "done":
            keep(
                checkpoint, spec, net, optimizer, orders[0],
                Progress(epoch, outcomes[0].curves, time.perf_counter() - started),
            )  # fmt: skip
        if progress is not None:
            progress(epoch, mean_losses)
        if all(outcome.status == "diverged" for outcome in outcomes):
            break

    if done.epoch >= spec.epochs:  # the file holds the end of the run, but not what is looked at there
        activities = [measure(net, feeds[0].training(1024))]
    seconds = (time.perf_counter() - started) / len(outcomes)
    for replica, (outcome, feed, activity) in enumerate(zip(outcomes, feeds, activities, strict=True)):
        outcome.summary = {"seconds": seconds, "steps": spec.epochs * steps}
        if outcome.status == "diverged" or activity is None:
            continue
        one = _one(net, replica).eval()
        try:
            smaller, removal = remove_dead(one, activity)
            outcome.summary |= assess(one, smaller, removal, activity, feed)
            if spec.thresholds:
                outcome.summary["thresholds"] = zeroed(one, activity, feed.test(1024))
            outcome.net, outcome.smaller = one, smaller
        except InputError as error:  # finite on the training images, but not on the others
            outcome.status, outcome.error = "diverged", str(error)
    return outcomes


def _feeds(spec: RunSpec, images: Images | Feed, device: str) -> list[Feed]:
    """A feed for each seed; without a validation part they share one."""
    if not isinstance(images, Images):
        if spec.validation or len(spec.seeds) > 1:
            raise InputError(f"validation {spec.validation} or several seeds: images in memory are accepted for them")
        if images.augment != spec.augment:
            raise InputError(
                f"augment {spec.augment} of the spec with a feed of augment {images.augment}: one is accepted"
            )
        return [images]
    if spec.validation:
        return [Resident(images.validation(spec.validation, seed), device, spec.augment) for seed in spec.seeds]
    return [Resident(images, device, spec.augment)] * len(spec.seeds)


def _first(spec: RunSpec, feed: Feed) -> list[nn.Module]:
    """The networks of all seeds before the first step."""
    architecture = Architecture(spec.model, spec.width, feed.shape[0], len(feed.classes), spec.head)
    nets = []
    for seed in spec.seeds:
        torch.manual_seed(seed)
        nets.append(build(architecture))
    return nets


def _started(start: Saved, feed: Feed, spec: RunSpec) -> nn.Module:
    """The network of a file, which stays as it is. InputError if it does not fit the images or is not float32."""
    torch.manual_seed(spec.seeds[0])  # dropout
    config: Any = start.net.config
    have, want = (config.in_channels, config.classes), (feed.shape[0], len(feed.classes))
    if have != want:
        raise InputError(
            f"start for images of {have[0]} channels in {have[1]} classes: these have {want[0]} in {want[1]}"
        )
    dtype = next(start.net.parameters()).dtype
    if dtype != torch.float32:
        raise InputError(f"start in {dtype}: float32 is accepted")
    return copy.deepcopy(start.net)


def _together(feeds: list[Feed], batch: int, orders: list[torch.Generator]) -> Iterator[Batch]:
    """The epochs of all seeds side by side: images (n, seeds x C, H, W) and labels (seeds, n)."""
    epochs = [feed.epoch(batch, order) for feed, order in zip(feeds, orders, strict=True)]
    for parts in zip(*epochs, strict=True):
        yield torch.cat([x for x, _ in parts], dim=1), torch.stack([y for _, y in parts])


def _set_lr(optimizer: Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(lr)  # the recorded step reads it where it is
        else:
            group["lr"] = lr


def _one(net: nn.Module, replica: int) -> nn.Module:
    return net.take(replica) if isinstance(net, Replicas) else net


def assess(net: nn.Module, smaller: nn.Module, removal: Removal, activity: Activity, feed: Feed) -> dict[str, Any]:
    """The end of a run as plain data: both measures of inactive filters, over all, by layer and over thresholds; test
    error and loss; what the removal of the dead filters took away, and its certificate on test images."""
    loss, error = _test(net, feed)
    x, y = joined(feed.test(1024), max(1, CERTIFIED // math.prod(feed.shape)))
    return {
        "inactive_by_activation": activity.inactive_by_activation(),
        "inactive_by_scale": activity.inactive_by_scale(),
        "layers_by_activation": activity.layers_by_activation(),
        "layers_by_scale": activity.layers_by_scale(),
        "sweep": [tuple(point) for point in activity.sweep(10.0**k for k in range(-14, 1))],
        "test_error": error,
        "test_loss": loss,
        "channels": [len(gamma) for gamma in activity.gamma],
        "removal": removal.as_dict() | {"share": removal.share},
        "certificate": certify(net, smaller, x, y).as_dict(),
    }


def _look(
    net: nn.Module, feeds: list[Feed], outcomes: list[Outcome], epoch: int, losses: list[float]
) -> list[Activity | None]:
    """Measure every replica that has not diverged, and add a point to its curves."""
    seen: list[Activity | None] = []
    for replica, (feed, outcome) in enumerate(zip(feeds, outcomes, strict=True)):
        seen.append(None)
        if outcome.status == "diverged":
            continue
        one = _one(net, replica)
        try:
            activity = measure(one, feed.training(1024))
        except InputError as error:  # the images were fine for the steps before: it is the network that is not finite
            outcome.status, outcome.error = "diverged", f"{error}, seen after epoch {epoch}"
            continue
        seen[-1] = activity
        point = {
            "epoch": float(epoch),
            "loss": losses[replica],
            "inactive_by_activation": activity.inactive_by_activation(),
            "inactive_by_scale": activity.inactive_by_scale(),
            "test_error": _test(one, feed)[1],
        }
        for name, value in point.items():
            outcome.curves.setdefault(name, []).append(value)
    return seen


def _test(net: nn.Module, feed: Feed) -> tuple[float, float]:
    """Mean cross entropy and share of errors, in evaluation mode."""
    loss, wrong, count = 0.0, 0, 0
    with evaluation(net):
        for x, y in feed.test(1024):
            outputs = net(x)
            loss += float(cross_entropy(outputs, y, reduction="sum"))
            wrong += int((outputs.argmax(dim=1) != y).sum())
            count += len(y)
    return loss / count, wrong / count
