"""Filters put to 0 in a run of the network, which stays as it is: the test error at every threshold (claim S9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.graph import evaluation, trace, units
from fullscale.measure.activity import Activity
from fullscale.measure.observe import Rerun, of_batches
from fullscale.thresholds import MEASURES, decades

# Labelled images in batches: (n, C, H, W), normalized, and whole numbers (n,).
Labelled = Iterable[tuple[Tensor, Tensor]]


def zeroed(net: nn.Module, activity: Activity, test: Labelled, values: Sequence[float] = decades()) -> dict[str, Any]:
    """What the thresholds do to one network, as plain data, which `fullscale.thresholds.by_threshold` takes.

    activity: of this network, on its training images. test: gone through once; each batch runs once for each different
    set of filters. A filter below a threshold puts out 0, also where its shift would have it put out a constant.
    thresholds: the values, rising; sparsity, error: by "activation" and by "scale", one number a threshold, the share of all
    filters below it and the test error without these; error_before: with all of them; filters, images, test_images: how many.
    Raises InputError for images or labels that do not fit, outputs that are not finite, and thresholds out of range.
    """
    values = sorted(values)
    off = {(by, value): torch.cat(activity.below(by, value)) for by in MEASURES for value in values}
    keys = {at: mask.numpy().tobytes() for at, mask in off.items()}
    none = torch.zeros(activity.filters, dtype=torch.bool)
    masks = {none.numpy().tobytes(): none} | {keys[at]: mask for at, mask in off.items()}
    errors, count = _errors(net, list(masks.values()), test)
    share = dict(zip(masks, errors, strict=True))
    return {
        "thresholds": values,
        "sparsity": {by: [off[by, value].double().mean().item() for value in values] for by in MEASURES},
        "error": {by: [share[keys[by, value]] for value in values] for by in MEASURES},
        "error_before": share[none.numpy().tobytes()],
        "filters": activity.filters,
        "images": activity.images,
        "test_images": count,
    }


def _errors(net: nn.Module, masks: list[Tensor], test: Labelled) -> tuple[list[float], int]:
    """The share of errors with the filters of each mask (all filters,) at 0, and the number of images."""
    graph = trace(net)
    found = units(graph)
    nodes = {unit.node: i for i, unit in enumerate(found)}
    like = next(net.parameters())
    sizes = [int(net.get_submodule(unit.norm).weight.numel()) for unit in found]  # type: ignore[operator, union-attr]
    runs = [Rerun(graph, nodes, _Zero((~mask).to(like.device).split(sizes))) for mask in masks]
    wrong, count = [0] * len(masks), 0
    with evaluation(graph):
        for part, labels in test:
            [x] = of_batches(net, graph, [part])
            y = labels.to(like.device)
            for i, run in enumerate(runs):
                wrong[i] += int((_checked(run.on(x), y).argmax(dim=1) != y).sum())
            count += len(labels)
    if count == 0:
        raise InputError("no test images: batches of one or more are accepted")
    return [n / count for n in wrong], count


@dataclass(frozen=True)
class _Zero:
    """Puts filters to 0: keep holds a bool tensor (filters,) a layer."""

    keep: Sequence[Tensor]

    def __call__(self, layer: int, out: Tensor) -> Tensor:
        return torch.where(self.keep[layer].view(1, -1, *(1,) * (out.ndim - 2)), out, 0)


def _checked(outputs: Tensor, labels: Tensor) -> Tensor:
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1] or labels.is_floating_point():
        raise InputError(f"labels {labels.dtype} {tuple(labels.shape)}: one whole number for each image is accepted")
    if not ((labels >= 0) & (labels < outputs.shape[1])).all():
        raise InputError(
            f"labels from {int(labels.min())} to {int(labels.max())}: 0 to {outputs.shape[1] - 1} are accepted"
        )
    if not outputs.isfinite().all():
        raise InputError("outputs are not finite: the network diverged, or the images did")
    return outputs
