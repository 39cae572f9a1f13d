"""Filters put to 0 in a run of the network, which stays as it is: the test error at every threshold (claim S9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.given import shown
from fullscale.graph import Unit
from fullscale.graph.network import network
from fullscale.measure.activity import Activity
from fullscale.measure.graphs import Graphs
from fullscale.measure.source import parts, undrawn
from fullscale.thresholds import MEASURES, decades

# Labelled images in batches: (n, ...), normalized, or all that the network takes; and whole numbers (n,).
Labelled = Iterable[tuple[Any, Tensor]]


@checked
def zeroed(
    net: nn.Module,
    activity: Activity,
    test: Labelled,
    values: Sequence[float] = decades(),
    graphs: Graphs | None = None,
) -> dict[str, Any]:
    """What the thresholds do to one network, as plain data, which `fullscale.thresholds.by_threshold` takes.

    activity: of this network, on its training images. test: gone through once; each batch runs once for each different
    set of filters. A filter below a threshold puts out 0, also where its shift would have it put out a constant. graphs: of
    this network's structure, if there are some already.
    thresholds: the values, rising; sparsity, error: by "activation" and by "scale", one number a threshold, the share of the
    filters below it (by scale of those that have one) and the test error without these; error_before: with all of them;
    filters, images, test_images: how many.
    Raises InputError for images or labels that do not fit, outputs that are not finite, and thresholds out of range.
    """
    values = sorted(values)
    off = {(by, value): torch.cat(activity.below(by, value)) for by in MEASURES for value in values}
    keys = {at: mask.numpy().tobytes() for at, mask in off.items()}
    none = torch.zeros(activity.filters, dtype=torch.bool)
    masks = {none.numpy().tobytes(): none} | {keys[at]: mask for at, mask in off.items()}
    errors, count = _errors(network(net), list(masks.values()), test, graphs or Graphs())
    share = dict(zip(masks, errors, strict=True))
    shares = activity.sweep(values)
    return {
        "thresholds": values,
        "sparsity": {by: [getattr(point, f"by_{by}") for point in shares] for by in MEASURES},
        "error": {by: [share[keys[by, value]] for value in values] for by in MEASURES},
        "error_before": share[none.numpy().tobytes()],
        "filters": activity.filters,
        "images": activity.images,
        "test_images": count,
    }


def _errors(net: nn.Module, masks: list[Tensor], test: Labelled, graphs: Graphs) -> tuple[list[float], int]:
    """The share of errors with the filters of each mask (all filters,) at 0, and the number of images."""
    wrong, count = [0] * len(masks), 0
    with undrawn(test):
        for pair in test:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise InputError(f"test holds {shown(pair)}: pairs of images and labels are accepted")
            given, labels = pair
            [part] = parts([given], 1)
            inputs = part.to(net)
            if not isinstance(labels, Tensor):
                raise InputError(f"labels of type {type(labels).__name__}: a tensor of whole numbers is accepted")
            y = labels.to(inputs.tensors()[0].device)
            traced = graphs.of(net, inputs)
            for i, mask in enumerate(masks):
                outputs = traced.run(net, inputs, _Zero.of(traced.units, ~mask.to(y.device)))
                if len(outputs) != 1:
                    raise InputError(f"a network of {len(outputs)} outputs has no test error: one tensor is accepted")
                wrong[i] += int((_checked(outputs[0], y).argmax(dim=1) != y).sum())
            count += len(labels)
    if count == 0:
        raise InputError("no test images: batches of one or more are accepted")
    return [n / count for n in wrong], count


@dataclass(frozen=True)
class _Zero:
    """Puts filters to 0. dims: of each layer, the dimension of the channels; keep: a bool tensor (filters,)."""

    dims: Sequence[int]
    keep: Sequence[Tensor]

    @classmethod
    def of(cls, units: Sequence[Unit], keep: Tensor) -> _Zero:
        """keep: (all filters,)."""
        each = keep.split([unit.filters for unit in units])
        return cls([unit.dim for unit in units], each)

    def __call__(self, layer: int, out: Tensor) -> Tensor:
        return torch.where(self.keep[layer].view(-1, *(1,) * (out.ndim - 1 - self.dims[layer])), out, 0)


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
