"""Two networks on the same inputs: how far each of their outputs is apart, beside what rounding alone does to it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.graph import Inputs
from fullscale.graph.trace import call
from fullscale.prune.rounding import rounding
from fullscale.thresholds import INACTIVE_ACTIVATION

# Images at a time; rounding is measured on the first so many.
BATCH = 64
# What two equal networks may differ by: so many times what rounding does to the first one. Removals from 19 networks, in
# both precisions, differed by up to 2 times as much.
ROUNDINGS = 32
# And by no less than so many units in the last place of the output's largest number, nor than this share of it, since a
# filter that puts out less counts as dead.
UNITS, SHARE = 8, INACTIVE_ACTIVATION
# Where labels are held against one of several outputs.
LABELLED = ("['logits']", ".logits", "['out']", ".out", "[0]")


@dataclass(frozen=True)
class Difference:
    """How far one output of two networks is apart on one set of inputs.

    on: "held_out", "random" or "resized". output: its place, "" for an only one. difference: the largest absolute one; size:
    the original's largest absolute number there. rounding: the largest difference when all weights and inputs of the original
    are moved by their last bit; allowed: what two equal networks may differ by.
    """

    on: str
    output: str
    difference: float
    size: float
    rounding: float
    allowed: float

    @property
    def relative(self) -> float:
        """The difference divided by the size; infinite where an output of zeros differs."""
        return self.difference / self.size if self.size > 0 else (0.0 if self.difference == 0 else inf)

    @property
    def scaled(self) -> float:
        """The difference, divided by the size where that is above 1."""
        return min(self.difference, self.relative)

    def over(self, tolerance: float | None) -> float:
        """How many times the difference is what it may be: `scaled` by the tolerance, or the difference by `allowed`."""
        have, most = (self.difference, self.allowed) if tolerance is None else (self.scaled, tolerance)
        return have / most if most > 0 else (0.0 if have == 0 else inf)


@dataclass(frozen=True)
class Comparison:
    """Every output on one set of inputs of so many, the precision of the first network, and errors where there were labels."""

    differences: tuple[Difference, ...]
    outputs: int
    precision: torch.dtype
    labelled: str | None = None
    error_before: float | None = None
    error_after: float | None = None

    @property
    def difference(self) -> float | None:
        """The largest of all outputs; None where there is nothing to compare."""
        return max((one.difference for one in self.differences), default=None)

    @property
    def relative(self) -> float | None:
        """The same, relative."""
        return max((one.relative for one in self.differences), default=None)


def compare(
    before: nn.Module, after: nn.Module, inputs: Inputs, on: str, seed: int, labels: Tensor | None = None
) -> Comparison:
    """Run both networks on the inputs, in batches, each time from the same state and the same random numbers.

    On noise, which a network may not be made for (a logarithm takes no negative numbers), what is not finite in both at the same
    places is left out, and so is an output that is nothing else.
    """
    apart: dict[str, float] = {}
    size: dict[str, float] = {}
    labelled, wrong = None, [0, 0]
    for start in range(0, len(inputs), BATCH):
        part = inputs.rows(start, start + BATCH)
        old, new = (run(net, part.to(net)) for net in (before, after))
        _check_alike(old, new)
        for place, value in old.items():
            found = _distance(value, new[place], on)
            if found is None:
                continue
            difference, largest = found
            apart[place] = max(apart.get(place, 0.0), difference)
            size[place] = max(size.get(place, 0.0), largest)
        if labels is not None:
            if labelled is None:
                labelled = label_place(old, len(part))
                _check_labels(labels, len(inputs), old[labelled].shape[1])
            y = labels[start : start + BATCH].cpu()
            for i, outputs in enumerate((old, new)):
                wrong[i] += int((outputs[labelled].argmax(dim=1).cpu() != y).sum())
    precision = _precision(before, old)
    eps = torch.finfo(precision).eps
    rounded = rounding(before, inputs.rows(0, BATCH).to(before), seed)
    differences = tuple(
        Difference(
            on,
            place,
            apart[place],
            size[place],
            rounded[place],
            max(ROUNDINGS * rounded[place], max(UNITS * eps, SHARE) * size[place]),
        )
        for place in apart
    )
    errors = (None, None) if labels is None else (wrong[0] / len(inputs), wrong[1] / len(inputs))
    return Comparison(differences, len(old), precision, labelled, *errors)


def run(net: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """What the network gives; InputError, naming what its code raised, where it gives nothing."""
    name = type(net).__name__
    try:
        outputs = call(net, inputs)
    except Exception as error:  # whatever the network's own code raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"inputs of shape {inputs.shapes()} do not fit {name} ({reason})") from error
    if not outputs:
        raise InputError(f"{name} gives no tensor: outputs to compare are accepted")
    return outputs


def _check_alike(old: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    shapes = [{place: tuple(tensor.shape) for place, tensor in outputs.items()} for outputs in (old, new)]
    if shapes[0] == shapes[1]:
        return
    said = [", ".join(f"{place or 'output'} {shape}" for place, shape in held.items()) for held in shapes]
    raise InputError(
        f"networks with outputs {said[0]} and {said[1]} cannot be compared: the same places and shapes are accepted"
    )


def _distance(old: Tensor, new: Tensor, on: str) -> tuple[float, float] | None:
    """The largest absolute difference and the largest absolute number of the first; None where noise gives nothing finite."""
    if old.is_complex():
        old, new = torch.view_as_real(old), torch.view_as_real(new.to(old.dtype))
    old, new = (tensor.cpu().double() for tensor in (old, new))
    masked = (old == -inf) & (new == -inf)
    if on != "held_out":
        masked = ~old.isfinite() & ((old == new) | (old.isnan() & new.isnan()))
    old, new = old[~masked], new[~masked]
    if on != "held_out" and masked.any() and not len(old):
        return None
    if not (old.isfinite().all() and new.isfinite().all()) or (masked.any() and not len(old)):
        raise InputError("outputs are not finite: the network diverged, or the images did")
    return (float((old - new).abs().max()), float(old.abs().max())) if len(old) else (0.0, 0.0)


def label_place(outputs: dict[str, Tensor], images: int) -> str:
    """The place of the output that labels are held against."""
    fitting = [p for p, t in outputs.items() if t.ndim == 2 and len(t) == images and t.is_floating_point()]
    if len(fitting) == 1:
        return fitting[0]
    for place in LABELLED:
        if place in fitting:
            return place
    said = ", ".join(f"{place or 'output'} {tuple(tensor.shape)}" for place, tensor in outputs.items())
    raise InputError(
        f"labels with outputs {said}: one output (N, classes), or one that is named logits or out, is accepted"
    )


def _check_labels(labels: Tensor, images: int, classes: int) -> None:
    if labels.is_meta or labels.shape != (images,) or labels.is_floating_point() or labels.is_complex():
        raise InputError(f"labels {labels.dtype} {tuple(labels.shape)}: one whole number for each image is accepted")
    if not ((labels >= 0) & (labels < classes)).all():
        raise InputError(f"labels from {int(labels.min())} to {int(labels.max())}: 0 to {classes - 1} are accepted")


def _precision(net: nn.Module, outputs: dict[str, Tensor]) -> torch.dtype:
    """Of the network's first floating point parameter, or of its outputs."""
    held = (tensor.dtype for tensor in (*net.parameters(), *outputs.values()) if tensor.is_floating_point())
    return next(held, torch.float32)
