"""Train a network as a RunSpec says, measuring its filters along the way. Read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.checkpoint import Saved
from fullscale.data import Images
from fullscale.distributed import Team, team_of
from fullscale.execution import CudaGraphStep, Execution
from fullscale.feed import Batch, Feed, Resident, Share
from fullscale.forecast.recorded import Recorded
from fullscale.measure import Activity, measured
from fullscale.models import Architecture, build
from fullscale.outcome import Outcome, conclude, graphs_of, look, take
from fullscale.replicas import Replicas
from fullscale.replicas.optimizers import Optimizers
from fullscale.resume import Progress, holds_state_of, keep, load_run, restore, restore_optimizer
from fullscale.room import check_training
from fullscale.spec import Precision, RunSpec, together_key
from fullscale.watched.run import Watch

# Called after each epoch with the epochs done and the mean loss of each run.
Notify = Callable[[int, list[float]], None]
# Called after each measurement of a run with the point that was added to its curves.
Write = Callable[[dict[str, float]], None]
# Learning rates of steps by their numbers, so that a run of any length has no more of them in memory than an epoch's.
Rates = Callable[[NDArray[np.int64]], NDArray[np.float64]]


def one_thread() -> None:
    """Small networks train fastest on one thread; denormal numbers, which dying filters are full of, count as 0."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@checked
def train(
    spec: RunSpec,
    images: Images | Feed,
    progress: Notify | None = None,
    *,
    execution: Execution | None = None,
    checkpoint: Path | None = None,
    start: Saved | None = None,
    write: Write | None = None,
) -> Outcome:
    """Train a network on the training images, measure it there, test it on the test images.

    The run has diverged when its loss or its weights are no longer finite. A run of several processes is one call in each
    of them (`fullscale.distributed`): the first measures and writes, and its Outcome alone has measures and networks.

    Args:
        spec: what is run.
        images: in memory, or a `Feed` (for data that are not).
        progress: called after each epoch with the epochs done and the mean loss.
        execution: where and how; None: on the CPU.
        checkpoint: a file that the run is written to after every epoch and, if it is there already, goes on from, with
            the same end to the last bit on a CPU.
        start: the network to start from, with its optimizer's state if the file holds one of the same rule.
        write: called after each measurement with the point that was added to the curves.

    Returns:
        The Outcome.

    Raises:
        InputError: if the spec's digest is not that of the images, if an epoch has no whole batch, and for a checkpoint
            of another run; where a run of several processes is not started by as many.

    Example:
        >>> from fullscale.data import Split
        >>> part = Split(np.arange(1024, dtype=np.uint8).reshape(16, 1, 8, 8), np.arange(16) % 2)
        >>> images = Images("stripes", ("even", "odd"), part, part)
        >>> spec = RunSpec(images.digest, 0.0625, "adam", "l2", lr=1e-3, strength=1e-4, batch=8, epochs=1, seed=0)
        >>> outcome = train(spec, images)
        >>> outcome.status, outcome.summary["steps"]
        ('done', 2)
    """
    (outcome,) = _train([spec], images, progress, execution, checkpoint, start, write)
    return outcome


@checked
def train_together(
    specs: Sequence[RunSpec], images: Images, progress: Notify | None = None, *, execution: Execution | None = None
) -> list[Outcome]:
    """As `train`, for runs that advance together as one program, which takes less than half the time (`fullscale.replicas`).

    They may differ in seed, optimizer, coupling, strength, lr, hyperparameters, schedule and thresholds. None sees another,
    so that each ends as it would alone, but for rounding, and one that diverges leaves the others as they are. On a CPU, in float32
    and with a batch that is a multiple of 8, a run comes out the same to the last bit in any company.

    Args:
        specs: of runs that share a `fullscale.spec.together_key`.
        images: in memory.
        progress: called after each epoch with the epochs done and the mean loss of each run.
        execution: where and how; None: on the CPU. Of its two means on CUDA, replicas use graphs alone, not the compiler.

    Returns:
        The Outcomes in the order of the specs; seconds are each one's share of the time.

    Raises:
        InputError: as `train`, and for runs that cannot go together, or none.

    Example:
        >>> from dataclasses import replace
        >>> from fullscale.data import Split
        >>> part = Split(np.arange(1024, dtype=np.uint8).reshape(16, 1, 8, 8), np.arange(16) % 2)
        >>> images = Images("stripes", ("even", "odd"), part, part)
        >>> spec = RunSpec(images.digest, 0.0625, "adam", "l2", lr=1e-3, strength=1e-4, batch=8, epochs=1, seed=0)
        >>> [outcome.status for outcome in train_together([spec, replace(spec, optimizer="sgd", seed=1)], images)]
        ['done', 'done']
    """
    keys = {together_key(spec) for spec in specs}
    if not len(specs):
        raise InputError("0 runs: at least one is accepted")
    if len(specs) > 1 and (len(keys) > 1 or "" in keys):
        raise InputError(
            f"{len(specs)} runs, of which some go alone or are of another kind: one together_key is accepted"
        )
    return _train(specs, images, progress, execution, joint="" not in keys)


def _train(
    specs: Sequence[RunSpec],
    images: Images | Feed,
    progress: Notify | None = None,
    execution: Execution | None = None,
    checkpoint: Path | None = None,
    start: Saved | None = None,
    write: Write | None = None,
    joint: bool = False,
) -> list[Outcome]:
    spec = specs[0]
    if spec.digest != images.digest:
        raise InputError(f"digest {spec.digest[:12]} of the spec is not that of the images, {images.digest[:12]}")
    run = execution or Execution()
    if spec.watch and (checkpoint or start):
        raise InputError("watch of a run that goes on from a file: a run from its first step is accepted")
    if spec.watch or spec.record:
        # A step that CUDA graphs recorded is replayed without what follows it, and a compiled network's inputs are not seen.
        run = replace(run, graphs=False, compile=run.compile and not spec.record)
    with run.applied(), team_of(spec, run) as team:
        feeds = feeds_of(specs, images, run.device)
        steps = spec.epochs * feeds[0].steps(spec.batch)
        saved = load_run(checkpoint, spec) if checkpoint else None
        architecture = Architecture(spec.model, spec.width, feeds[0].shape[0], len(feeds[0].classes), spec.head)
        check_training(architecture, specs, feeds[0].shape, run.device)
        nets = (
            [saved.net]
            if saved
            else [_started(start, feeds[0], spec)]
            if start
            else drawn(architecture, [s.seed for s in specs])
        )
        for one in nets:
            # Replicas have a layout of their own; looked at one by one on a processor, these are fastest in plain order.
            layout = torch.contiguous_format if joint else run.layout(one)
            one.to(run.device, memory_format=layout)  # type: ignore[call-overload]
        net: nn.Module = nets[0]
        optimizer: Optimizer | Optimizers
        if joint:
            net = side_by_side = Replicas(nets)
            optimizer = Optimizers(side_by_side, specs, run.graphs)
        else:
            lr = torch.tensor(spec.lr, dtype=torch.float64, device=run.device) if run.graphs else spec.lr
            numbers: dict[str, Any] = {"weight_decay": spec.strength, "capturable": run.graphs, **dict(spec.hyper)}
            optimizer = Optimizer(net.parameters(), spec.optimizer, spec.coupling, lr=lr, **numbers)
        orders = [torch.Generator().manual_seed(s.seed) for s in specs]
        outcomes = [Outcome() for _ in specs]
        done = Progress()
        if saved and isinstance(optimizer, Optimizer):
            done = restore(saved, net, optimizer, orders[0])
            outcomes[0].curves = done.curves
        elif start and isinstance(optimizer, Optimizer) and holds_state_of(start, optimizer):
            restore_optimizer(net, optimizer, start)
        watch: Watch | Recorded | None = None
        if (spec.watch or spec.record) and isinstance(optimizer, Optimizer):
            watch = Watch(net, optimizer, spec) if spec.watch else Recorded(net, optimizer, spec, feeds[0].shape, saved)
        team.check_same("settings, images or a checkpoint", (spec, done.epoch))

        plans = [(s.lr, s.multiplier(steps)) for s in specs]

        def rates(taken: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.stack([lr * plan(taken) for lr, plan in plans], axis=1)

        how: dict[str, Any] = {"done": done.epoch, "execution": run, "precision": spec.precision, "team": team}
        loop = epoch_by_epoch(net, optimizer, feeds, orders, rates, steps, spec.batch, **how)
        activities: list[Activity | None] = [None] * len(feeds)
        started = time.perf_counter() - done.seconds
        for epoch, losses in enumerate(loop, done.epoch + 1):
            for outcome, loss in zip(outcomes, losses, strict=True):
                if outcome.status == "done" and not math.isfinite(loss):
                    outcome.status, outcome.error = "diverged", f"the loss is {loss} in epoch {epoch} of {spec.epochs}"
            if epoch % spec.measure_every == 0 or epoch == spec.epochs:
                optimizer.eval()  # a schedule-free rule is measured at its average
                if team.leads:
                    activities = look(net, feeds, outcomes, epoch, losses)
                    if watch and activities[0] is not None:
                        watch.measured(epoch, activities[0])
                    if write and outcomes[0].status == "done":
                        write({name: values[-1] for name, values in outcomes[0].curves.items()})
            if team.leads and checkpoint and isinstance(optimizer, Optimizer) and outcomes[0].status == "done":
                so_far = Progress(epoch, outcomes[0].curves, time.perf_counter() - started)
                monitor = watch.monitor if isinstance(watch, Recorded) else None
                keep(checkpoint, spec, net, optimizer, orders[0], so_far, monitor)
            if progress is not None:
                progress(epoch, losses)
            outcomes[0].status = team.as_led(outcomes[0].status)
            if all(outcome.status == "diverged" for outcome in outcomes):
                break

        if not team.leads:
            return outcomes
        if done.epoch >= spec.epochs:  # the file holds the end of the run, but not what is looked at there
            activities = [measured(net, feeds[0].training(1024), graphs_of(net))]
            if isinstance(watch, Recorded) and activities[0] is not None:
                watch.measured(done.epoch, activities[0])
        seconds = (time.perf_counter() - started) / len(outcomes)
        for replica, (outcome, feed, activity) in enumerate(zip(outcomes, feeds, activities, strict=True)):
            outcome.summary = {"seconds": seconds, "steps": steps}
            if spec.processes > 1:
                parts = 1 if spec.sync_batchnorm else spec.processes
                outcome.summary["batchnorm_batch"] = spec.batch // parts
            if outcome.status == "done" and activity is not None:
                if watch:
                    outcome.filters = watch.table()
                conclude(outcome, take(net, replica).eval(), activity, feed, specs[replica].thresholds)
        return outcomes


def epoch_by_epoch(
    net: nn.Module,
    optimizer: Optimizer | Optimizers,
    feeds: Sequence[Feed],
    orders: Sequence[torch.Generator],
    rates: Rates,
    total: int,
    batch: int,
    *,
    done: int = 0,
    penalty: Callable[[], Tensor] | None = None,
    execution: Execution | None = None,
    precision: Precision = "float32",
    team: Team | None = None,
) -> Iterator[list[float]]:
    """The one training loop: takes the steps of an epoch whenever it is asked for the next mean losses, one a feed.

    net: one network, or as many `Replicas` as there are feeds, on the device of `execution`; it starts from the weights that
    it has. orders: what decides each feed's order of images. rates: learning rates of steps of the whole run by their numbers
    (n,): (n,) or (n, parameter groups). total: its steps, the last epoch may be cut short; done: epochs of it that were taken
    before. penalty: what is added to the loss (the mean cross entropy over the batch, summed over the networks). team: the
    processes that share each batch.
    """
    run, team = execution or Execution(), team or Team()
    device, joint = torch.device(run.device), isinstance(net, Replicas)
    layout = run.layout(net)
    forward = team.forward(torch.compile(net, dynamic=False) if run.compile and not joint else net, feeds[0].shape)  # type: ignore[arg-type]
    losses = torch.zeros(len(feeds), device=device)

    def step(x: Tensor, y: Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            outputs = forward(x).view(*y.shape, -1)
            each = cross_entropy(outputs.flatten(0, 1).float(), y.flatten(), reduction="none").view(y.shape).mean(dim=1)
        # The sum: no network's gradient depends on how many others there are.
        total = each.sum() if penalty is None else each.sum() + penalty()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.add_(each.detach())

    advance = CudaGraphStep(step) if run.graphs else step
    steps = feeds[0].steps(batch)
    for first in range(done * steps, total, steps):
        team.begin_epoch(orders[0].initial_seed(), first // steps)
        net.train()
        optimizer.train()
        losses.zero_()
        coming = rates(np.arange(first, min(first + steps, total)))
        for (x, y), lr in zip(_together(feeds, batch, orders, (team.rank, team.size)), coming, strict=False):
            _set_lr(optimizer.param_groups, lr)
            advance(x if joint else x.contiguous(memory_format=layout), y)
        # The only moment of an epoch at which the processor waits for the device.
        yield team.mean(losses / len(coming)).tolist()


def feeds_of(specs: Sequence[RunSpec], images: Images | Feed, device: str) -> list[Feed]:
    """A feed for each run; without a validation part they share one. InputError for a feed that is not as the specs say."""
    first = specs[0]
    if not isinstance(images, Images):
        for name in ("validation", "held_out"):
            if getattr(first, name):
                raise InputError(f"{name} {getattr(first, name)}: images in memory are accepted for it")
        if images.augment != first.augment:
            raise InputError(
                f"augment {first.augment} of the spec with a feed of augment {images.augment}: one is accepted"
            )
        if first.size and images.shape[1:] != (first.size,) * 2:
            raise InputError(f"size {first.size} of the spec with a feed of {images.shape[1:]} pixels: one is accepted")
        return [images]
    if first.validation:
        return [Resident(images.validation(s.validation, s.seed), device, s.augment, s.shift) for s in specs]
    held_out = None
    if first.held_out:
        parts = images.validation(first.held_out)
        images, held_out = replace(images, train=parts.train), parts.test
    return [Resident(images, device, first.augment, first.shift, held_out)] * len(specs)


def drawn(architecture: Architecture, seeds: Sequence[int]) -> list[nn.Module]:
    """Networks before their first step, the weights of each drawn by its seed."""
    nets = []
    for seed in seeds:
        torch.manual_seed(seed)
        nets.append(build(architecture))
    return nets


def _started(start: Saved, feed: Feed, spec: RunSpec) -> nn.Module:
    """The network of a file, which stays as it is. InputError if it does not fit the images or is not float32."""
    torch.manual_seed(spec.seed)  # dropout
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


def _together(feeds: Sequence[Feed], batch: int, orders: Sequence[torch.Generator], share: Share) -> Iterator[Batch]:
    """The epochs of all seeds side by side: images (n, seeds x C, H, W) and labels (seeds, n)."""
    epochs = [feed.epoch(batch, order, share) for feed, order in zip(feeds, orders, strict=True)]
    for parts in zip(*epochs, strict=True):
        yield torch.cat([x for x, _ in parts], dim=1), torch.stack([y for _, y in parts])


def _set_lr(groups: list[dict[str, Any]], rates: Any) -> None:
    """Give every group its learning rate, or all the only one."""
    for group, lr in zip(groups, np.broadcast_to(rates, len(groups)).tolist(), strict=True):
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(lr)  # the recorded step reads it where it is
        else:
            group["lr"] = lr
