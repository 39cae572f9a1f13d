"""One pass over a set of images: what every filter of a network put out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import kind
from fullscale.graph import Unit
from fullscale.graph.network import network
from fullscale.measure.activity import Activity
from fullscale.measure.graphs import Graphs
from fullscale.measure.kept import Kept
from fullscale.measure.places import Place, extremes
from fullscale.measure.source import Source, parts, undrawn


def measure(net: nn.Module, images: Source, batch: int = 1024) -> Activity:
    """What every filter of a network puts out over a set of images, in evaluation mode.

    A filter is a channel behind a BatchNorm, or, where there is none, a channel of a convolution or linear layer behind an
    activation (`fullscale.graph.units`). One pass, on the network's device and in its precision, over the graph of what its
    Python code does; nothing of the network and of the images is changed. Each image's largest activation of each filter
    is kept on the CPU until the end, since only then a filter's peak is known and the selectivity exact: N x filters
    numbers of the network's precision.

    Args:
        net: any network that torch.export can follow; out of what torch.compile, the parallel containers and averaging wrap
            around it.
        images: (N, ...), floating point numbers normalized, or token ids; a tuple of tensors, in the order in which forward
            takes them, or a dictionary of its keyword arguments, with the same N; or an iterable, no tuple, of batches, each
            one of these or a pair that begins with one and goes on with labels. A DataLoader's random numbers are drawn anew
            by who goes through it next.
        batch: images taken at a time where they are in memory.

    Returns:
        The Activity: for each layer, tensors (filters,) of peak, spread, gamma, beta and selectivity.

    Raises:
        InputError: for images that do not fit the network, for a network that has diverged, and for one that torch.export
            cannot follow or that has no filters.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        >>> _ = nn.init.ones_(net[0].weight), nn.init.zeros_(net[1].weight[:3])
        >>> (measure(net, torch.rand(8, 1, 9, 9)).peak[0] > 0).tolist()
        [False, False, False, True]

    Source:
        Mehta, Kim, Theobalt, arXiv 1905.04967: a filter's activity and selectivity.
    """
    return measured(net, images, Graphs(), batch)


def measured(net: nn.Module, images: Source, graphs: Graphs, batch: int = 1024) -> Activity:
    """As `measure`, with graphs that are there already or are kept for the next time, of this network's structure."""
    net = network(net)
    kind("graphs", graphs, Graphs, "Graphs")
    _check_finite(net)
    seen = _Extremes()
    with undrawn(images):
        for part in parts(images, batch):
            inputs = part.to(net)
            traced = graphs.of(net, inputs)
            seen.begin(traced.units, graphs.places(net, inputs), len(inputs))
            traced.run(net, inputs, seen.look)
            seen.end()
    if not seen.kept.count:
        raise InputError("no batches of images: one or more are accepted")
    return seen.summary(net)


class _Extremes:
    """Of each filter, its largest absolute activation on each image, its smallest and its largest on all of them."""

    def __init__(self) -> None:
        self.units: tuple[Unit, ...] = ()
        self.places: tuple[Place | None, ...] = ()
        self.images = 0
        self.now: list[tuple[Tensor, Tensor]] = []
        self.kept = Kept()
        self.low = self.high = torch.empty(0)
        self.without_images: set[int] = set()

    def begin(self, units: tuple[Unit, ...], places: tuple[Place | None, ...], images: int) -> None:
        """A batch of so many images."""
        if self.kept.count and [unit.filters for unit in units] != [unit.filters for unit in self.units]:
            raise InputError("batches on which the network has other layers: inputs of one kind are accepted")
        self.units, self.places, self.images = units, places, images
        self.now = [(torch.empty(0), torch.empty(0))] * len(units)
        self.without_images |= {i for i, place in enumerate(places) if place is None and images > 1}

    def look(self, i: int, x: Tensor) -> Tensor:
        """A layer's output -> itself."""
        self.now[i] = extremes(x, self.units[i].dim, self.images, self.places[i])
        return x

    def end(self) -> None:
        """Join the layers, so that one copy a batch goes to the CPU."""
        low, high = (torch.cat([ends[side] for ends in self.now], dim=1) for side in (0, 1))
        lowest, largest = low.amin(dim=0), high.amax(dim=0)
        if self.kept.count:
            lowest, largest = torch.minimum(lowest, self.low), torch.maximum(largest, self.high)
        self.low, self.high = lowest, largest
        self.kept.add(torch.maximum(high, low.neg_(), out=high))

    def summary(self, net: nn.Module) -> Activity:
        """What the whole set has shown."""
        sizes = [unit.filters for unit in self.units]
        low, high = self.low.cpu(), self.high.cpu()
        without = low > high  # those to which nothing came
        low, high = low.masked_fill(without, 0), high.masked_fill(without, 0)
        peak = torch.maximum(high, -low).abs()  # not -0
        for unit, own in zip(self.units, peak.split(sizes), strict=True):
            if not own.isfinite().all():
                raise InputError(
                    f"activations behind {unit.norm} are not finite: the network diverged, or the images did"
                )
        selectivity = self.kept.selectivity(peak).split(sizes)
        for i in self.without_images:
            selectivity[i][peak.split(sizes)[i] > 0] = torch.nan
        gamma, beta = zip(*(unit.scales(net) for unit in self.units), strict=True)
        return Activity(
            norms=tuple(unit.norm for unit in self.units),
            activations=tuple(unit.activation for unit in self.units),
            scaled=tuple("BatchNorm" if unit.batch else "norm" if unit.scale else "" for unit in self.units),
            peak=peak.double().split(sizes),
            spread=(high.double() - low.double()).split(sizes),
            gamma=gamma,
            beta=beta,
            selectivity=selectivity,
            images=self.kept.count,
        )


def _check_finite(net: nn.Module) -> None:
    # ReLU hides what went wrong: a running mean of infinity looks like a filter that is merely dead. Other buffers may hold
    # infinity for good reason, such as a mask of what attention does not see.
    statistics = ((name, buffer) for name, buffer in net.named_buffers() if "running_" in name)
    for name, tensor in (*net.named_parameters(), *statistics):
        if not tensor.detach().isfinite().all():
            raise InputError(f"{name} is not finite: the network diverged")
