"""What a worker does for a comparison of pruning criteria: train a network, cut it every way, test what is left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dynamics.optimizer import Optimizer
from dynamics.simulate.schedules import step_decay
from fullscale.cost import multiply_adds, parameters
from fullscale.criteria import prune_by
from fullscale.data import Images
from fullscale.execution import Execution
from fullscale.feed import Batch, Feed, Resident
from fullscale.measure import measured
from fullscale.models import Architecture, build
from fullscale.outcome import graphs_of, loss_and_error, without_dead
from fullscale.pruning_study import Base, PruningStudy, parted
from fullscale.replicas import Replicas
from fullscale.studies.runs import Source
from fullscale.sweep import as_worker, images_at
from fullscale.train import drawn, epoch_by_epoch


def cost(study: PruningStudy, images: Images) -> int:
    """Multiply-adds of the network for one image."""
    shape = images.train.images.shape[1:]
    with torch.device("meta"):
        net = build(Architecture(study.model, study.width, shape[0], len(images.classes)))
    return multiply_adds(net, torch.empty(1, *shape, device="meta"))


def work(study: PruningStudy, base: Base, seed: int, source: Source, together: bool) -> dict[str, Any]:
    """One network, as the store takes it; together: trained as if it had company, with the same end to the last bit."""
    (row,) = _worked(study, base, [seed], source, together)
    return row


def work_together(works: Sequence[Any]) -> list[dict[str, Any]]:
    """The networks of one training, trained as one program. works: of each, as `PruningStudy.run` makes it."""
    study, base, _, source, together = works[0].args
    return _worked(study, base, [one.args[2] for one in works], source, together)


def _worked(
    study: PruningStudy, base: Base, seeds: Sequence[int], source: Source, together: bool
) -> list[dict[str, Any]]:
    as_worker()
    images, held_out = parted(images_at(*source), study.held_out)
    feed = Resident(images, held_out=held_out)
    started = time.perf_counter()
    rows: list[dict[str, Any]] = []
    for seed, net in zip(seeds, trained(study, base, seeds, feed, together), strict=True):
        if net is None:
            rows.append({"status": "diverged", "error": "its outputs are not finite", "summary": {}, "curves": {}})
            continue
        points = _points(study, base, seed, net, feed)
        rows.append({"summary": {"images": images.name, "points": points}, "curves": {}})
    for row in rows:
        row["summary"]["seconds"] = (time.perf_counter() - started) / len(rows)
    return rows


def trained(
    study: PruningStudy, base: Base, seeds: Sequence[int], feed: Feed, together: bool
) -> list[nn.Module | None]:
    """A network for each seed, None where one diverged; together: as one program, or else one seed is accepted.

    Source: of the penalty on BatchNorm's scales, Liu et al., "Network Slimming" (arXiv 1708.06519), equation 1. Here scales
    begin at 1, in the paper at 1/2.
    """
    nets = drawn(Architecture(study.model, study.width, feed.shape[0], len(feed.classes)), seeds)
    if together:
        net: nn.Module = Replicas(nets)
    else:
        (net,) = nets
        net.to(memory_format=Execution().layout(net))  # type: ignore[call-overload]
    optimizer = Optimizer(net.parameters(), base.optimizer, "l2", lr=base.lr, weight_decay=base.strength)
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    each = feed.steps(study.batch)
    steps = each * study.epochs(base, each)
    plan = step_decay([steps * 4 // 5])
    norms = [path for path, layer in nets[0].named_modules() if isinstance(layer, nn.BatchNorm2d)]

    def penalty() -> Tensor:
        weights = net.weights() if isinstance(net, Replicas) else dict(net.named_parameters())
        return base.slimming * torch.cat([weights[f"{path}.weight"].flatten() for path in norms]).abs().sum()

    how = penalty if base.slimming else None
    feeds = [feed] * len(seeds)
    for losses in epoch_by_epoch(
        net, optimizer, feeds, orders, lambda taken: base.lr * plan(taken), steps, study.batch, penalty=how
    ):
        if not any(map(math.isfinite, losses)):
            break
    taken = [net.take(k) if isinstance(net, Replicas) else net for k in range(len(seeds))]
    return [one.eval() if math.isfinite(error_on(one, feed.test(1024))) else None for one in taken]


def _points(study: PruningStudy, base: Base, seed: int, net: nn.Module, feed: Feed) -> list[dict[str, Any]]:
    """The whole network, the one without its dead filters, and what each criterion makes of it at each share."""
    dead, removal = without_dead(net, measured(net, feed.training(1024), graphs_of(net)))
    # The selective criteria look at all images, the others at their shape.
    looked = "selective" in " ".join(base.criteria)
    x = torch.cat([images for images, _ in feed.training(1024)]) if looked else next(feed.training(2))[0]
    cut: list[tuple[str, float, nn.Module, float]] = [
        ("whole", 0.0, net, 0.0),
        ("dead", removal.share, dead, removal.share),
    ]
    for criterion in base.criteria:
        for share in study.shares:
            cut.append((criterion, share, *prune_by(net, criterion, share, x, seed, graphs_of(net))))
    points: list[dict[str, Any]] = []
    for name, share, small, reached in cut:
        if name == "dead" and not share:  # the whole network again
            points.append(points[0] | {"criterion": "dead"})
            continue
        point = {"criterion": name, "share": share, "reached": reached}
        point |= {"parameters": parameters(small), "multiply_adds": multiply_adds(small, x)}
        before = _errors(small, feed)
        fine_tune(small, feed, base, study.batch, study.tuning(base), seed)
        after = _errors(small, feed)
        points.append(point | {what: [before[what], after[what]] for what in before})
    return points


def fine_tune(net: nn.Module, feed: Feed, base: Base, batch: int, steps: int, seed: int) -> None:
    """Train the network on, in place, as `base` does but at a constant tenth of its lr and without slimming."""
    optimizer = Optimizer(net.parameters(), base.optimizer, "l2", lr=base.lr / 10, weight_decay=base.strength)
    order = torch.Generator().manual_seed(seed)
    constant = base.lr / 10
    for _ in epoch_by_epoch(net, optimizer, [feed], [order], lambda taken: np.full(len(taken), constant), steps, batch):
        pass
    net.eval()


def _errors(net: nn.Module, feed: Feed) -> dict[str, float]:
    """Of the test images, and of those held out, if there are any."""
    found = {"error": error_on(net, feed.test(1024))}
    held_out = list(feed.held_out(1024))
    return found | ({"held_out": error_on(net, held_out)} if held_out else {})


def error_on(net: nn.Module, parts: Iterable[Batch]) -> float:
    """The share of these images that is misclassified; NaN if an output is not finite."""
    loss, error = loss_and_error(net, parts)
    return error if math.isfinite(loss) else math.nan
