"""The proof that two networks compute the same: the largest difference of their outputs, and what the smaller one saves."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import among, items, number, whole
from dynamics.result import Result
from fullscale.cost import multiply_adds, parameters
from fullscale.graph import Example, Inputs, taken, untouched
from fullscale.graph.network import network
from fullscale.prune.compare import Comparison, Difference, compare, run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Interleaved runs of each network, of which the median is reported.
# The most random images, and the most numbers of one: as many as fit into no memory are a slip.
IMAGES, SIZE = 1 << 24, 1 << 31
RUNS = 9
# Noise of another size is no more than this many images.
RESIZED = 8
Judged = Literal["held_out", "noise", "both"]


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one batch in evaluation mode: median, smallest and largest of interleaved runs."""

    images: int
    before: tuple[float, float, float]
    after: tuple[float, float, float]


@dataclass(frozen=True)
class Certificate(Result):
    """How far a smaller network's outputs are from the original's, and what it saves.

    difference: largest absolute difference of any output, in the networks' own precision; relative: that, divided by the
    original's largest absolute number in that output. held_out: on images that were given, None without any; error: the
    share of them that is misclassified, told by the output at the place `labelled` ("" for an only one). random: on
    standard normal noise of the same size, None where the networks give nothing finite for it; resized: of another size
    (H, W), None where the network takes no other.
    differences: the same for each output. multiply_adds: for one image of the first size.
    """

    held_out_images: int
    held_out_difference: float | None
    held_out_relative: float | None
    random_images: int
    random_seed: int
    random_difference: float | None
    random_relative: float | None
    resized: tuple[int, ...] | None
    resized_difference: float | None
    resized_relative: float | None
    labelled: str | None
    error_before: float | None
    error_after: float | None
    precision: str
    parameters_before: int
    parameters_after: int
    multiply_adds_before: int
    multiply_adds_after: int
    differences: tuple[Difference, ...]
    latency: tuple[Latency, ...] = ()

    @property
    def largest_held_out(self) -> float | None:
        """The difference on held-out images, divided by the output's largest absolute number where that is above 1."""
        held_out = [one.scaled for one in self.differences if one.on == "held_out"]
        return max(held_out) if held_out else None

    @property
    def largest(self) -> float:
        """The largest such difference, on held-out images and on noise."""
        return max(one.scaled for one in self.differences)

    @property
    def rounding(self) -> float:
        """The largest difference that rounding alone makes to an output of the original, divided alike.

        It is measured: all weights and inputs are moved by their last bit, at random.
        """
        return max(one.rounding / max(1.0, one.size) for one in self.differences)

    def judged(self, on: Judged | None = None) -> tuple[Difference, ...]:
        """The differences that `passes` decides by."""
        if on is None:
            on = "held_out" if self.held_out_images else "noise"
        among("on", on, ("held_out", "noise", "both"))
        if on == "held_out" and not self.held_out_images:
            raise InputError("on 'held_out': no images were held out; noise and both are accepted")
        chosen = tuple(one for one in self.differences if on == "both" or (one.on == "held_out") == (on == "held_out"))
        if not chosen:
            raise InputError("on 'noise': the networks give nothing finite for it; held_out is accepted")
        return chosen

    def passes(self, tolerance: float | None = None, on: Judged | None = None) -> bool:
        """Whether the two networks compute the same.

        Args:
            tolerance: the largest difference of an output, divided by its largest absolute number where that is above 1.
                If not given, each output may differ by 32 times what rounding alone does to it, which is measured
                (`rounding`), and by 8 units in the last place of its largest number, or 1e-12 of it if that is more.
            on: "held_out", "noise" or "both". If not given, the held-out images where there are any, and else the noise.
                Filters that are dead for every input, which is what `remove_dead(net)` and `undertow prune` remove, pass on
                both. Those that `remove_dead(net, activity)` and `undertow prune --empirical` remove besides were dead
                on the measured images alone, and may answer to noise.

        Returns:
            True or False.

        Raises:
            InputError: for any other `on`, for "held_out" where there were no such images, and for "noise" where the networks
                give nothing finite for it.

        Example:
            >>> net = nn.Linear(3, 2)
            >>> certify(net, net, shape=(3,)).passes(on="both")
            True
        """
        tolerance = None if tolerance is None else number("tolerance", tolerance, 0)
        return all(one.over(tolerance) <= 1 for one in self.judged(on))

    def rows(self) -> list[dict[str, Any]]:
        """One row for each output on each set of inputs."""
        return [asdict(one) | {"relative": one.relative, "scaled": one.scaled} for one in self.differences]

    @property
    def finding(self) -> str:
        """Whether the two networks compute the same, and what the smaller one saves."""
        same, on = (
            "the same" if self.passes() else "something else",
            "held-out images" if self.held_out_images else "noise",
        )
        return (
            f"the smaller network computes {same} on {on}, with {self.parameters_after:,} of {self.parameters_before:,} "
            f"parameters and {self.multiply_adds_after:,} of {self.multiply_adds_before:,} multiply-adds"
        )

    def _draw(self, axes: Axes) -> None:
        from fullscale.drawing import draw_certificate

        draw_certificate(self, axes)

    def as_dict(self) -> dict[str, Any]:
        """The certificate as plain data, ready for JSON."""
        return asdict(self) | {"largest": self.largest, "rounding": self.rounding}


def certify(
    before: nn.Module,
    after: nn.Module,
    held_out: Example | None = None,
    labels: Tensor | None = None,
    *,
    example: Example | None = None,
    shape: tuple[int, ...] | None = None,
    seed: int = 0,
    random_images: int = 256,
    timed: tuple[int, ...] = (),
) -> Certificate:
    """Compare two networks on held-out images and on standard normal noise of that size, and count what the second one
    saves.

    Every output is compared with that of the same place. Both networks run in evaluation mode, as Python runs them; they
    and the images stay as they are. Whole numbers among the inputs, such as token ids, are no noise: they are kept.

    Args:
        before: the network as it was; out of its torch.compile, DataParallel or AveragedModel, if it is in one.
        after: the smaller one.
        held_out: what forward takes: one tensor (N, ...), a tuple of arguments, or a dictionary of keyword arguments.
        labels: of these images, (N,) whole numbers. They are held against the output (N, classes); of several such
            against "logits" or "out", or the first of a tuple.
        example: as `held_out`; the noise is drawn in its shapes where there are no held-out images.
        shape: of one image, such as (C, H, W), where there is neither.
        seed: from which alone the noise is drawn.
        random_images: of noise, one or more.
        timed: numbers of images; for each, one forward pass of both networks is timed, in turn, 9 times.

    Returns:
        The Certificate; its `passes()` says whether they compute the same.

    Raises:
        InputError: for images or labels that do not fit the networks, for networks whose outputs are not alike, and for
            outputs that are not finite (but for a mask: -inf at the same places of both; and, if there are held-out images,
            for what is not finite on noise at the same places of both).

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 7 * 7, 2))
        >>> proof = certify(net, net, shape=(1, 9, 9), random_images=8)
        >>> proof.largest, proof.parameters_before, proof.passes()
        (0.0, 434, True)
    """
    if held_out is None and example is None and shape is None:
        raise InputError("neither held-out images nor an example nor the shape of random ones: one of them is accepted")
    random_images = whole("random_images", random_images, 1, IMAGES)
    timed = tuple(whole("timed", count, 1, IMAGES) for count in items("timed", timed, "numbers of images"))
    seed = whole("seed", seed, -(2**63), 2**63 - 1)
    shape = tuple(whole("shape", size, 1, SIZE) for size in items("shape", () if shape is None else shape))
    if math.prod(shape) > SIZE:
        raise InputError(f"shape {shape}: at most {SIZE:,} numbers an image are accepted")
    if labels is not None and held_out is None:
        raise InputError("labels without held-out images: both or neither is accepted")
    if labels is not None and not isinstance(labels, Tensor):
        raise InputError(f"labels of type {type(labels).__name__}: a tensor of whole numbers is accepted")
    before, after = network(before), network(after)
    shown = [taken(x) for x in (held_out, example) if x is not None]
    inputs = shown[0] if shown else taken(torch.empty(1, *shape, dtype=torch.float64))
    noise = _noise(before, inputs, random_images, seed)
    seen = None if held_out is None else compare(before, after, inputs, "held_out", seed, labels)
    random = compare(before, after, noise, "random", seed)
    if seen is None and len(random.differences) < random.outputs:
        raise InputError(
            "outputs are not finite: the network diverged, or it takes no normal noise; held-out images are accepted"
        )
    resized, larger = _resized(before, after, noise, seed)
    return Certificate(
        held_out_images=0 if seen is None else len(inputs),
        held_out_difference=None if seen is None else seen.difference,
        held_out_relative=None if seen is None else seen.relative,
        random_images=random_images,
        random_seed=seed,
        random_difference=random.difference,
        random_relative=random.relative,
        resized=resized,
        resized_difference=None if larger is None else larger.difference,
        resized_relative=None if larger is None else larger.relative,
        labelled=None if seen is None else seen.labelled,
        error_before=None if seen is None else seen.error_before,
        error_after=None if seen is None else seen.error_after,
        precision=str(random.precision).removeprefix("torch."),
        parameters_before=parameters(before),
        parameters_after=parameters(after),
        multiply_adds_before=multiply_adds(before, noise),
        multiply_adds_after=multiply_adds(after, noise),
        differences=tuple(one for made in (seen, random, larger) if made is not None for one in made.differences),
        latency=tuple(_latency(before, after, noise, count) for count in timed),
    )


def _noise(net: nn.Module, inputs: Inputs, count: int, seed: int) -> Inputs:
    """So many random images in the shapes of the inputs, in the network's precision; whole numbers are repeated."""
    return _repeated(inputs, count).to(net).noise(torch.Generator().manual_seed(seed))


def _repeated(inputs: Inputs, count: int) -> Inputs:
    images = len(inputs)
    rows = torch.arange(count) % images
    return inputs.map(lambda t: t[rows.to(t.device)] if t.ndim and len(t) == images else t)


def _resized(
    before: nn.Module, after: nn.Module, noise: Inputs, seed: int
) -> tuple[tuple[int, ...] | None, Comparison | None]:
    """The comparison on noise of another size, with borders elsewhere; nothing where the first network takes no other size."""
    sizes = [tuple(t.shape[2:]) for t in noise.tensors() if t.is_floating_point() and t.ndim > 2]
    if not sizes:
        return None, None
    taller = noise.rows(0, RESIZED).map(_taller)
    try:
        run(before, taller.rows(0, 1))
    except InputError:
        return None, None
    size = next(tuple(t.shape[2:]) for t in taller.tensors() if t.is_floating_point() and t.ndim > 2)
    return size, compare(before, after, taller, "resized", seed)


def _taller(tensor: Tensor) -> Tensor:
    """Noise repeated, a third longer in the first dimension behind the channels and a quarter in the others."""
    if not tensor.is_floating_point() or tensor.ndim < 3:
        return tensor
    tensor = tensor.repeat(1, 1, *(2,) * (tensor.ndim - 2))
    for dim in range(2, tensor.ndim):
        old = tensor.shape[dim] // 2
        tensor = tensor.narrow(dim, 0, old + max(1, old // (3 if dim == 2 else 4)))
    return tensor


def _latency(before: nn.Module, after: nn.Module, noise: Inputs, images: int) -> Latency:
    chosen = [_repeated(noise, images).to(net) for net in (before, after)]
    taken: tuple[list[float], list[float]] = [], []
    with untouched(before), untouched(after):
        for run in range(RUNS + 2):
            for net, inputs, times in zip((before, after), chosen, taken, strict=True):
                copies = inputs.map(Tensor.clone)  # a network may write into what it takes
                _wait(copies)
                start = time.perf_counter()
                net(*copies.args, **copies.named)
                _wait(copies)
                if run > 1:  # the first two warm up
                    times.append(1e3 * (time.perf_counter() - start))
    return Latency(images, *((statistics.median(times), min(times), max(times)) for times in taken))


def _wait(inputs: Inputs) -> None:
    if inputs.tensors()[0].is_cuda:
        torch.cuda.synchronize()
