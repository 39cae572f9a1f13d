"""Train BasicNet as a RunSpec says, measuring its filters along the way. Read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.torch_face import Optimizer
from fullscale.data import Images, Split
from fullscale.measure import Activity, evaluation, measure
from fullscale.models import Chain, basicnet
from fullscale.prune import Removal, certify, remove_dead
from fullscale.replicas import Replicas
from fullscale.spec import RunSpec

Curves = dict[str, list[float]]
# Called after each epoch with the epochs done and the mean loss of each seed.
Progress = Callable[[int, list[float]], None]


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
    net: Chain | None = None
    smaller: Chain | None = None


def one_thread() -> None:
    """Small networks train fastest on one thread; denormal numbers, which dying filters are full of, count as 0."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@dataclass(frozen=True, eq=False)
class Tensors:
    """A task as float32 images (N, C, H, W) and labels (N,): each channel has mean 0 and variance 1 over train."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def tensors(images: Images) -> Tensors:
    """The images normalized by the mean and standard deviation of each channel of the training part."""
    mean = images.train.images.mean(axis=(0, 2, 3), dtype=np.float64)[:, None, None]
    spread = images.train.images.std(axis=(0, 2, 3), dtype=np.float64)[:, None, None]
    scale = np.where(spread > 0, spread, 1.0).astype(np.float32)

    def part(split: Split) -> tuple[Tensor, Tensor]:
        x = (split.images.astype(np.float32) - mean.astype(np.float32)) / scale
        return torch.from_numpy(x), torch.from_numpy(split.labels)

    return Tensors(*part(images.train), *part(images.test))


def train(spec: RunSpec, images: Images, progress: Progress | None = None) -> list[Outcome]:
    """Train each seed on images.train, measure it there, test it on images.test; one outcome a seed.

    A seed sets the first weights and the data order (and its validation part). A seed whose loss or weights are no
    longer finite has diverged; the others go on.
    Raises InputError if the spec's digest is not that of the images, or if an epoch has no whole batch.
    """
    if spec.digest != images.digest:
        raise InputError(f"digest {spec.digest[:12]} of the spec is not that of the images, {images.digest[:12]}")
    whole = None if spec.validation else tensors(images)
    tasks = [whole or tensors(images.validation(spec.validation, seed)) for seed in spec.seeds]
    count = len(tasks[0].x)
    steps = count // spec.batch
    if steps == 0:
        raise InputError(f"batch {spec.batch}: at most the {count} training images are accepted")

    nets = []
    for seed in spec.seeds:
        torch.manual_seed(seed)
        nets.append(basicnet(spec.width, in_channels=tasks[0].x.shape[1], classes=len(images.classes)))
    joined = Replicas(nets)
    numbers: dict[str, Any] = {"lr": spec.lr, "weight_decay": spec.strength, **dict(spec.hyper)}
    optimizer = Optimizer(joined.parameters(), spec.optimizer, spec.coupling, **numbers)
    orders = [torch.Generator().manual_seed(seed) for seed in spec.seeds]
    multipliers = spec.multiplier(spec.epochs * steps)(np.arange(spec.epochs * steps))
    outcomes = [Outcome(seed) for seed in spec.seeds]
    started = time.perf_counter()

    activities: list[Activity | None] = [None] * len(tasks)
    for epoch in range(1, spec.epochs + 1):
        joined.train()
        optimizer.train()
        shuffled = [torch.randperm(count, generator=order) for order in orders]
        losses = torch.zeros(len(tasks))
        for step in range(steps):
            chosen = [s[step * spec.batch : (step + 1) * spec.batch] for s in shuffled]
            x = torch.cat([task.x[c] for task, c in zip(tasks, chosen, strict=True)], dim=1)
            y = torch.stack([task.y[c] for task, c in zip(tasks, chosen, strict=True)])
            for group in optimizer.param_groups:
                group["lr"] = spec.lr * float(multipliers[(epoch - 1) * steps + step])
            outputs = joined(x.contiguous(memory_format=torch.channels_last))
            each = cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(dim=1)
            optimizer.zero_grad()
            # The sum: no replica's gradient depends on how many others there are.
            each.sum().backward()
            optimizer.step()
            losses += each.detach()
        mean_losses = (losses / steps).tolist()
        for outcome, loss in zip(outcomes, mean_losses, strict=True):
            if outcome.status == "done" and not math.isfinite(loss):
                outcome.status, outcome.error = "diverged", f"the loss is {loss} in epoch {epoch} of {spec.epochs}"
        if epoch % spec.measure_every == 0 or epoch == spec.epochs:
            optimizer.eval()  # a schedule-free rule is measured at its average
            activities = _look(joined, tasks, outcomes, epoch, mean_losses)
        if progress is not None:
            progress(epoch, mean_losses)
        if all(outcome.status == "diverged" for outcome in outcomes):
            break

    for replica, outcome in enumerate(outcomes):
        outcome.summary = {"seconds": (time.perf_counter() - started) / len(outcomes), "steps": spec.epochs * steps}
        task, activity = tasks[replica], activities[replica]
        if outcome.status == "diverged" or activity is None:
            continue
        net = joined.take(replica).eval()
        try:
            smaller, removal = remove_dead(net, activity)
            outcome.summary |= assess(net, smaller, removal, activity, task.test_x, task.test_y)
            outcome.net, outcome.smaller = net, smaller
        except InputError as error:  # finite on the training images, but not on the others
            outcome.status, outcome.error = "diverged", str(error)
    return outcomes


def assess(net: Chain, smaller: Chain, removal: Removal, activity: Activity, x: Tensor, y: Tensor) -> dict[str, Any]:
    """The end of a run as plain data: both measures of inactive filters, over all, by layer and over thresholds; test
    error and loss; what the removal of the dead filters took away, and its certificate. x, y: the test images."""
    loss, error = _test(net, x, y)
    return {
        "inactive_by_activation": activity.inactive_by_activation(),
        "inactive_by_scale": activity.inactive_by_scale(),
        "layers_by_activation": activity.layers_by_activation(),
        "layers_by_scale": activity.layers_by_scale(),
        "sweep": [tuple(point) for point in activity.sweep(10.0**k for k in range(-14, 1))],
        "test_error": error,
        "test_loss": loss,
        "channels": net.config.channels,
        "removal": removal.as_dict() | {"share": removal.share},
        "certificate": certify(net, smaller, x, y).as_dict(),
    }


def _look(
    joined: Replicas, tasks: list[Tensors], outcomes: list[Outcome], epoch: int, losses: list[float]
) -> list[Activity | None]:
    """Measure every replica that has not diverged, and add a point to its curves."""
    found: list[Activity | None] = []
    for replica, (task, outcome) in enumerate(zip(tasks, outcomes, strict=True)):
        found.append(None)
        if outcome.status == "diverged":
            continue
        net = joined.take(replica)
        try:
            activity = measure(net, task.x)
        except InputError as error:  # the images were fine for the steps before: it is the network that is not finite
            outcome.status, outcome.error = "diverged", f"{error}, seen after epoch {epoch}"
            continue
        found[-1] = activity
        point = {
            "epoch": float(epoch),
            "loss": losses[replica],
            "inactive_by_activation": activity.inactive_by_activation(),
            "inactive_by_scale": activity.inactive_by_scale(),
            "test_error": _test(net, task.test_x, task.test_y)[1],
        }
        for name, value in point.items():
            outcome.curves.setdefault(name, []).append(value)
    return found


def _test(net: Chain, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean cross entropy and share of errors, in evaluation mode."""
    with evaluation(net):
        outputs = torch.cat([net(part) for part in x.split(1024)])
        return float(cross_entropy(outputs, y)), float((outputs.argmax(dim=1) != y).double().mean())
