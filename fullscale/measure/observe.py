"""One pass over a set of images: what every filter of a network put out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd

from dynamics.errors import InputError
from fullscale.graph import Unit, evaluation, trace, units
from fullscale.measure.activity import SELECTIVE_BELOW, Activity

# A set of images in memory, or batches of a larger one: images alone, or first of a pair with labels.
Source = Tensor | Iterable[Any]


def measure(net: nn.Module, images: Source, batch: int = 1024) -> Activity:
    """What every filter of a network puts out over a set of images, in evaluation mode.

    Takes one pass, on the network's device and in its precision. Keeps each image's largest activation of each filter
    on the CPU until the end, since only then a filter's peak is known and the selectivity exact: N x filters numbers of
    the network's precision. The network comes back in the mode it was in.

    Args:
        net: any network that torch.fx can trace and that has a BatchNorm.
        images: (N, C, H, W), normalized; or an iterable of batches, (n, C, H, W) or pairs of these and labels, for what
            does not fit into memory.
        batch: images taken at a time where they are in memory.

    Returns:
        The Activity: for each BatchNorm, tensors (filters,) of peak, spread, gamma, beta and selectivity.

    Raises:
        InputError: for images that do not fit the network and for a network that has diverged.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        >>> _ = nn.init.ones_(net[0].weight), nn.init.zeros_(net[1].weight[:3])
        >>> (measure(net, torch.rand(8, 1, 9, 9)).peak[0] > 0).tolist()
        [False, False, False, True]

    Source:
        Mehta, Kim, Theobalt, arXiv 1905.04967: a filter's activity and selectivity.
    """
    graph = trace(net)
    parts = split(net, graph, images, batch) if torch.is_tensor(images) else of_batches(net, graph, images)
    _check_finite(net)
    found = units(graph)
    seen = _Extremes([unit.node for unit in found])
    run = Rerun(graph, seen.nodes, seen.look)
    with evaluation(graph):
        for x in parts:
            run.on(x)
            seen.end_of_batch()
    if not seen.highest:
        raise InputError("no batches of images: one or more are accepted")
    return seen.summary(net, found)


class Rerun(fx.Interpreter):
    """Runs a graph, and lets `look` replace (or just see) what each of the nodes puts out before anything reads it."""

    def __init__(self, graph: fx.GraphModule, nodes: dict[str, int], look: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__(graph)
        self.nodes, self.look = nodes, look
        # An error of the network's own code is to reach its user as it is.
        self.extra_traceback = False

    def on(self, images: Tensor) -> Tensor:
        """The network's outputs for these images. Raises InputError for images that do not fit it."""
        try:
            outputs: Tensor = self.run(images)
        except Exception:
            # The shapes alone are run only now, since that takes longer than a small network does.
            trace(self.module, images[:1])
            raise
        return outputs

    def run_node(self, n: fx.Node) -> Any:
        """As the interpreter's; at once, since the next operation may write in place."""
        result = super().run_node(n)
        return self.look(self.nodes[n.name], result) if n.name in self.nodes else result


class _Extremes:
    """Of each filter, its largest absolute activation on each image, its smallest and its largest on all of them."""

    def __init__(self, nodes: list[str]) -> None:
        self.nodes = {name: i for i, name in enumerate(nodes)}
        self.now: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * len(nodes)
        self.highest: list[Tensor] = []
        self.low = self.high = torch.empty(0)

    def look(self, i: int, x: Tensor) -> Tensor:
        """(n, filters, ...) -> itself."""
        plane = tuple(range(2, x.ndim))
        self.now[i] = (x.amin(plane), x.amax(plane)) if plane else (x.clone(), x.clone())
        return x

    def end_of_batch(self) -> None:
        """Join the layers, so that one copy a batch goes to the CPU."""
        low, high = (torch.cat([ends[side] for ends in self.now], dim=1) for side in (0, 1))
        lowest, largest = low.amin(dim=0), high.amax(dim=0)
        if self.highest:
            lowest, largest = torch.minimum(lowest, self.low), torch.maximum(largest, self.high)
        self.low, self.high = lowest, largest
        self.highest.append(torch.maximum(high, -low).cpu())

    def summary(self, net: nn.Module, found: tuple[Unit, ...]) -> Activity:
        """What the whole set has shown."""
        modules = [net.get_submodule(unit.norm) for unit in found]
        spread = self.high.cpu().double() - self.low.cpu().double()
        sizes = [len(_number(module.weight)) for module in modules]
        peaks, selectivities, first = [], [], 0
        for unit, filters in zip(found, sizes, strict=True):
            rows = torch.cat([part[:, first : first + filters] for part in self.highest])
            first += filters
            peak = rows.amax(dim=0)
            if not peak.isfinite().all():
                raise InputError(
                    f"activations behind {unit.norm} are not finite: the network diverged, or the images did"
                )
            selective = (rows / peak < SELECTIVE_BELOW).double().mean(dim=0)
            peaks.append(peak.double())
            selectivities.append(torch.where(peak > 0, selective, 1.0))
        return Activity(
            norms=tuple(unit.norm for unit in found),
            activations=tuple(unit.activation for unit in found),
            peak=tuple(peaks),
            spread=spread.split(sizes),
            # Copies, since the network trains on.
            gamma=tuple(_number(module.weight) for module in modules),
            beta=tuple(_number(module.bias) for module in modules),
            selectivity=tuple(selectivities),
            images=sum(len(part) for part in self.highest),
        )


def batches(net: nn.Module, images: Tensor, size: int = 1024) -> Iterator[Tensor]:
    """`images` (N, C, H, W) in slices of `size`, moved to the network's device and precision.

    Raises InputError for a size below 1, for no images, and for images that are not floating point numbers of the
    channels that the network reads.
    """
    return split(net, trace(net), images, size)


def split(net: nn.Module, graph: fx.GraphModule, images: Tensor, size: int) -> Iterator[Tensor]:
    """`batches` of a network whose graph is there already."""
    if size < 1:
        raise InputError(f"batch {size}: a positive whole number is accepted")
    _check_images(_reads(graph), images)
    first = next(net.parameters())
    return (images[i : i + size].to(first) for i in range(0, len(images), size))


def of_batches(net: nn.Module, graph: fx.GraphModule, parts: Iterable[Any]) -> Iterator[Tensor]:
    """The images of each batch (images, or a tuple that begins with them) on the network's device, in its precision.

    Raises InputError, when it comes to such a batch, as `batches` does.
    """
    accepted, first = _reads(graph), next(net.parameters())
    for part in parts:
        images = part[0] if isinstance(part, tuple | list) else part
        _check_images(accepted, images)
        yield images.to(first)


def _check_images(accepted: tuple[str, ...], images: Tensor) -> None:
    fits = images.ndim == len(accepted) and (accepted[1] == "C" or images.shape[1] == int(accepted[1]))
    if not fits or images.numel() == 0:
        raise InputError(f"images of shape {tuple(images.shape)}: ({', '.join(accepted)}) is accepted")
    if not images.is_floating_point():
        raise InputError(f"images of type {images.dtype}: normalized floating point images are accepted")


def _reads(graph: fx.GraphModule) -> tuple[str, ...]:
    """The shape of images that a network reads, in words, as far as its first layer tells."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"][:1]
    readers = [user for node in inputs for user in node.users if user.op == "call_module"]
    modules = [graph.get_submodule(str(reader.target)) for reader in readers]
    first = next((m for m in modules if isinstance(m, _ConvNd | nn.Linear)), None)
    if isinstance(first, nn.Linear):
        return ("N", str(first.in_features))
    if isinstance(first, _ConvNd):
        return ("N", str(first.in_channels), *("L", "HW", "DHW")[first.weight.ndim - 3])
    return ("N", "C", "H", "W")


def _number(tensor: Any) -> Tensor:
    result: Tensor = tensor.detach().to("cpu", copy=True).double()
    return result


def _check_finite(net: nn.Module) -> None:
    # ReLU hides what went wrong: a running mean of infinity looks like a filter that is merely dead.
    for name, tensor in net.state_dict().items():
        if not tensor.isfinite().all():
            raise InputError(f"{name} is not finite: the network diverged")
