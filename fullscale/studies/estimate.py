"""How long what is left of a study takes, from how long stored runs took."""

from __future__ import annotations

import statistics
from typing import Any

from evidence.store import Row
from fullscale.spec import RunSpec
from fullscale.studies.runs import Found
from fullscale.studies.standing import Standing


def seconds_left(standing: Standing) -> float | None:
    """Seconds that the missing runs take one after another; None until a run of the study is stored.

    A run takes as long as the stored ones of its shape took for an image; of a shape that none has, as long for a
    multiply-add as all of them.
    """
    done = [
        (spec, row, _passed(spec, standing.found[run.source]))
        for run, spec, row in zip(standing.runs, standing.specs, standing.rows, strict=True)
        if row is not None and row.status == "done" and {"seconds", "certificate"} <= row.summary.keys()
    ]
    if not done:
        return None
    by_shape: dict[Any, list[float]] = {}
    for spec, row, images in done:
        by_shape.setdefault(_shape(spec), []).append(row.summary["seconds"] / images)
    an_image = {shape: statistics.fmean(each) for shape, each in by_shape.items()}
    a_product = statistics.fmean(row.summary["seconds"] / images / _multiply_adds(row) for _, row, images in done)
    total = 0.0
    for run, spec, stored in zip(standing.runs, standing.specs, standing.rows, strict=True):
        if stored is None or stored.status == "failed":
            found, shape = standing.found[run.source], _shape(spec)
            if shape not in an_image:
                an_image[shape] = a_product * cost(spec, found)
            total += an_image[shape] * _passed(spec, found)
    return total


def _passed(spec: RunSpec, found: Found) -> int:
    """Images that a run trains on, each as often as it does."""
    return spec.epochs * found.training(spec)


def _shape(spec: RunSpec) -> tuple[Any, ...]:
    return (
        spec.model,
        spec.width,
        spec.head,
        spec.digest,
        spec.batch,
        spec.precision,
        spec.augment,
        spec.measure_every,
    )


def _multiply_adds(row: Row) -> float:
    return float(row.summary["certificate"]["multiply_adds_before"])


def cost(spec: RunSpec, found: Found) -> float:
    """Multiply-adds of a run's network for one image."""
    import torch

    from fullscale.cost import multiply_adds
    from fullscale.models import Architecture, build

    with torch.device("meta"):
        net = build(Architecture(spec.model, spec.width, found.shape[0], len(found.counts), spec.head))
    return multiply_adds(net, torch.empty(1, *found.shape, device="meta"))


def in_words(seconds: float) -> str:
    """A length of time in the largest unit of which there are two."""
    for unit, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds"
