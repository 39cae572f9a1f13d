"""The proof that two networks compute the same: the largest difference of their outputs, and what the smaller one saves."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.cost import multiply_adds, parameters
from fullscale.graph import evaluation
from fullscale.measure import batches

# Interleaved runs of each network, of which the median is reported.
RUNS = 9


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one batch in evaluation mode: median, smallest and largest of interleaved runs."""

    images: int
    before: tuple[float, float, float]
    after: tuple[float, float, float]


@dataclass(frozen=True)
class Certificate:
    """How far a smaller network's outputs are from the original's, and what it saves.

    difference: largest absolute difference of any output, in the networks' own precision; relative: that, divided by the
    original's largest absolute output. held_out: on images that were given, None without any; error: the share of them
    that is misclassified. random: on standard normal noise of the same size; resized: of another size (H, W), None where
    the network takes no other. multiply_adds: for one image of the first size.
    A change in the order of summation alone shows as about 1e-6 relative in float32, 1e-15 in float64.
    """

    held_out_images: int
    held_out_difference: float | None
    held_out_relative: float | None
    random_images: int
    random_seed: int
    random_difference: float
    random_relative: float
    resized: tuple[int, int] | None
    resized_difference: float | None
    resized_relative: float | None
    error_before: float | None
    error_after: float | None
    precision: str
    parameters_before: int
    parameters_after: int
    multiply_adds_before: int
    multiply_adds_after: int
    latency: tuple[Latency, ...] = ()

    @property
    def largest_held_out(self) -> float | None:
        """The difference on held-out images, divided by the largest absolute output where that is above 1."""
        return _scaled(self.held_out_difference, self.held_out_relative)

    @property
    def largest(self) -> float:
        """The largest such difference, on held-out images and on noise."""
        noise = (self.random_difference, self.random_relative), (self.resized_difference, self.resized_relative)
        each = (self.largest_held_out, *(_scaled(*pair) for pair in noise))
        return max(difference for difference in each if difference is not None)

    def passes(self, tolerance: float) -> bool:
        """Whether `largest` is at most this."""
        return self.largest <= tolerance

    def as_dict(self) -> dict[str, Any]:
        """The certificate as plain data, ready for JSON."""
        return asdict(self) | {"largest": self.largest}


def _scaled(difference: float | None, relative: float | None) -> float | None:
    return None if difference is None or relative is None else min(difference, relative)


def certify(
    before: nn.Module,
    after: nn.Module,
    held_out: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    shape: tuple[int, int, int] | None = None,
    seed: int = 0,
    random_images: int = 256,
    timed: tuple[int, ...] = (),
) -> Certificate:
    """Compare two networks on held-out images and on standard normal noise of that size, and count what the second one
    saves.

    Both are evaluated in evaluation mode and come back in the mode they were in.

    Args:
        before: the network as it was.
        after: the smaller one.
        held_out: images (N, C, H, W).
        labels: of these images, (N,) whole numbers.
        shape: (C, H, W) of the noise, where there are no held-out images.
        seed: from which alone the noise is drawn.
        random_images: of noise, one or more.
        timed: numbers of images; for each, one forward pass of both networks is timed, in turn, 9 times.

    Returns:
        The Certificate.

    Raises:
        InputError: for images or labels that do not fit the networks, for networks that do not fit each other, and for
            outputs that are not finite.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 7 * 7, 2))
        >>> proof = certify(net, net, shape=(1, 9, 9), random_images=8)
        >>> proof.largest, proof.parameters_before, proof.passes(1e-6)
        (0.0, 434, True)
    """
    if held_out is None and shape is None:
        raise InputError("neither held-out images nor the shape of random ones: one of them is accepted")
    if random_images < 1:
        raise InputError(f"{random_images} random images: a positive whole number is accepted")
    size = tuple(held_out.shape[1:]) if held_out is not None else shape
    assert size is not None
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn(random_images, *size, generator=source, dtype=torch.float64)
    old, new = _outputs(before, noise), _outputs(after, noise)
    if old.shape != new.shape:
        raise InputError(f"networks of {old.shape[1]} and {new.shape[1]} classes cannot be compared")
    random_difference, random_relative = _distance(old, new)
    resized = _resized(before, after, noise[:8])
    difference = relative = error_before = error_after = None
    if held_out is not None:
        if labels is not None:
            _check_labels(labels, len(held_out), old.shape[1])
        old, new = _outputs(before, held_out), _outputs(after, held_out)
        difference, relative = _distance(old, new)
        if labels is not None:
            error_before, error_after = _error(old, labels), _error(new, labels)
    return Certificate(
        held_out_images=0 if held_out is None else len(held_out),
        held_out_difference=difference,
        held_out_relative=relative,
        random_images=random_images,
        random_seed=seed,
        random_difference=random_difference,
        random_relative=random_relative,
        resized=resized[0],
        resized_difference=resized[1],
        resized_relative=resized[2],
        error_before=error_before,
        error_after=error_after,
        precision=str(next(before.parameters()).dtype).removeprefix("torch."),
        parameters_before=parameters(before),
        parameters_after=parameters(after),
        multiply_adds_before=multiply_adds(before, noise),
        multiply_adds_after=multiply_adds(after, noise),
        latency=tuple(_latency(before, after, noise, count) for count in timed),
    )


def _resized(
    before: nn.Module, after: nn.Module, noise: Tensor
) -> tuple[tuple[int, int] | None, float | None, float | None]:
    """The distance on noise of another size, with borders elsewhere; nothing where the first network takes no other size."""
    height, width = noise.shape[2:]
    taller = noise.repeat(1, 1, 2, 2)[:, :, : height + max(1, height // 3), : width + max(1, width // 4)]
    try:
        old = _outputs(before, taller)
    except RuntimeError:
        return None, None, None
    return (taller.shape[2], taller.shape[3]), *_distance(old, _outputs(after, taller))


def _check_labels(labels: Tensor, images: int, classes: int) -> None:
    if labels.shape != (images,) or labels.is_floating_point():
        raise InputError(f"labels {labels.dtype} {tuple(labels.shape)}: one whole number for each image is accepted")
    if not ((labels >= 0) & (labels < classes)).all():
        raise InputError(f"labels from {int(labels.min())} to {int(labels.max())}: 0 to {classes - 1} are accepted")


def _outputs(net: nn.Module, images: Tensor) -> Tensor:
    with evaluation(net):
        outputs = torch.cat([net(x) for x in batches(net, images, 64)]).double().cpu()
    if not outputs.isfinite().all():
        raise InputError("outputs are not finite: the network diverged, or the images did")
    return outputs


def _distance(old: Tensor, new: Tensor) -> tuple[float, float]:
    difference, scale = float((old - new).abs().max()), float(old.abs().max())
    return difference, difference / scale if scale > 0 else (0.0 if difference == 0 else inf)


def _error(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(dim=1) != labels.cpu()).double().mean())


def _latency(before: nn.Module, after: nn.Module, noise: Tensor, images: int) -> Latency:
    first = next(before.parameters())
    x = noise[torch.arange(images) % len(noise)].to(first)
    taken: tuple[list[float], list[float]] = [], []
    for run in range(RUNS + 2):
        for net, times in zip((before, after), taken, strict=True):
            with evaluation(net):
                if first.is_cuda:
                    torch.cuda.synchronize()
                start = time.perf_counter()
                net(x)
                if first.is_cuda:
                    torch.cuda.synchronize()
            if run > 1:  # the first two warm up
                times.append(1e3 * (time.perf_counter() - start))
    return Latency(images, *((statistics.median(times), min(times), max(times)) for times in taken))
