"""The measures on networks of many shapes, against what their own modules put out, counted filter by filter."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import noise
from torch import Tensor, nn

from fullscale.measure import MEANINGS, Activity, Graphs, Shares, batches, measure, measured

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: nn.LeakyReLU(0.1, inplace=True),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
KINDS = {"chain": "gelu", "residual": "relu", "concatenating": "leaky_relu"}
# A graph serves every network of one structure.
GRAPHS: dict[tuple[str, str], Graphs] = defaultdict(Graphs)


class Small(nn.Module):
    """Three layers on images of two channels, the last on features alone; joined in one of three ways."""

    def __init__(self, kind: str, activation: str) -> None:
        super().__init__()
        self.kind, self.activation = kind, activation
        self.first, self.norm1 = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.second, self.norm2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.third, self.norm3 = nn.Linear(6 if kind == "concatenating" else 3, 4), nn.BatchNorm1d(4)
        self.act1, self.act2, self.act3 = (ACTIVATIONS[activation]() for _ in range(3))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.first(x)))
        y = self.norm2(self.second(x))
        if self.kind == "residual":
            y.add_(x)  # in place, after the norm has put out what is measured
            x = self.act2(y)
        else:
            y = self.act2(y)
            x = torch.cat([x, y], dim=1) if self.kind == "concatenating" else y
        features = x.mean(dim=(2, 3))
        z = self.norm3(self.third(features))
        if self.kind == "residual":
            z.add_(features.sum(dim=1, keepdim=True))
        result: Tensor = self.head(self.act3(z))
        return result


def behind(net: Small) -> dict[str, nn.Module]:
    """The module whose output each norm's filters are read from."""
    if net.kind == "residual":
        return {"norm1": net.act1, "norm2": net.norm2, "norm3": net.norm3}
    return {"norm1": net.act1, "norm2": net.act2, "norm3": net.act3}


def small(seed: int, kind: str, activation: str) -> Small:
    """With scales and shifts over many decades, some of them 0 and some right at the thresholds."""
    generator = torch.Generator().manual_seed(seed)
    net = Small(kind, activation).double().eval()
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.2, 2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(generator=generator)
        if "norm" in name and name.endswith(("weight", "bias")):
            tensor.mul_(10.0 ** torch.randint(-15, 2, tensor.shape, generator=generator).double())
            tensor.mul_(torch.rand(tensor.shape, generator=generator) > 0.2)
    net.norm1.weight.data[0], net.norm2.weight.data[0], net.norm2.bias.data[0] = 1e-3, 0, 1e-12
    return net


def seen(net: Small, images: Tensor) -> dict[str, np.ndarray]:
    """What is behind each norm: (images, filters, places)."""
    found: dict[str, np.ndarray] = {}
    copied = copy.deepcopy(net)
    for name, module in behind(copied).items():
        module.register_forward_hook(
            lambda _, __, out, name=name: found.update({name: out.detach().numpy().reshape(*out.shape[:2], -1).copy()})
        )
    copied(images)
    return found


def drawn(make: Callable[[int, str, str], Small]) -> st.SearchStrategy[Small]:
    return st.builds(lambda seed, pair: make(seed, *pair), st.integers(0, 2**32), st.sampled_from([*KINDS.items()]))


networks = drawn(small)


def found(net: Small, images: Any, batch: int = 1024) -> Activity:
    return measured(net, images, GRAPHS[net.kind, net.activation], batch)


@settings(max_examples=25, deadline=None)
@given(networks, st.sampled_from([1, 5]), st.floats(-15, 2))
def test_every_network_is_measured_as_its_own_modules_put_out(net: Small, count: int, exponent: float) -> None:
    images = noise(count, count, 2, 3, 4)
    activity, planes = found(net, images), seen(net, images)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for tensor in net.state_dict().values():
        tensor.zero_()  # as training might: what was measured stays
    behind_sums = "identity" if net.kind == "residual" else net.activation
    assert activity.activations == (net.activation, behind_sums, behind_sums)
    assert list(activity.meaning()) == list(dict.fromkeys(activity.activations))
    assert activity.images == count
    table, layers = [], []
    for layer, activation in zip(("norm1", "norm2", "norm3"), activity.activations, strict=True):
        rows: list[dict[str, Any]] = []
        for i, each in enumerate(planes[layer].transpose(1, 0, 2)):
            sizes = np.abs(each).max(axis=1)
            peak, spread = sizes.max(), each.max() - each.min()
            selectivity = np.mean(sizes / peak < 1e-3) if peak > 0 else 1.0
            gamma, beta = float(state[f"{layer}.weight"][i]), float(state[f"{layer}.bias"][i])
            rows.append(
                {
                    "layer": layer, "filter": i, "activation": activation, "gamma": gamma, "beta": beta, "peak": peak,
                    "spread": spread, "selectivity": selectivity, "universality": 1 - selectivity,
                    "inactive_by_activation": peak < 1e-12, "inactive_by_scale": abs(gamma) < 1e-3,
                    "constant": spread < 1e-12,
                }
            )  # fmt: skip
        counts = {name: sum(row[name] for row in rows) for name in COUNTED}
        layers.append({"layer": layer, "activation": activation, "filters": len(rows)} | counts | middle(rows))
        table += rows
    assert activity.table() == table
    assert activity.layers() == layers
    counts = {name: sum(row[name] for row in table) for name in COUNTED}
    assert activity.totals() == {"filters": 10} | counts | middle(table)
    assert activity.filters == 10
    # Any threshold is answered from this one pass; the largest peak is not below itself.
    for t in (10.0**exponent, max(row["peak"] for row in table)):
        below = {n: [[abs(r[n]) < t for r in table if r["layer"] == x["layer"]] for x in layers] for n in NUMBERS}
        every = {name: sum(map(sum, layers)) / 10 for name, layers in below.items()}
        assert activity.sweep([t]) == [Shares(t, every["peak"], every["gamma"])]
        assert activity.constant(t) == every["spread"]
        assert [x.tolist() for x in activity.below("activation", t)] == below["peak"]
        assert [x.tolist() for x in activity.below("scale", t)] == below["gamma"]
        assert list(activity.layers_by_activation(t)) == [sum(x) / len(x) for x in below["peak"]]
        assert list(activity.layers_by_scale(t)) == [sum(x) / len(x) for x in below["gamma"]]


COUNTED, NUMBERS = ("inactive_by_activation", "inactive_by_scale", "constant"), ("peak", "gamma", "spread")


def middle(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    active = [row["selectivity"] for row in rows if not row["inactive_by_activation"]]
    return {"median_selectivity": median(active) if active else None}


@settings(max_examples=10, deadline=None)
@given(networks, st.sampled_from([(5, 5), (5, 4), (6, 5), (10, 5)]))
def test_a_stream_of_batches_is_measured_as_the_images_in_memory(net: Small, sizes: tuple[int, int]) -> None:
    count, batch = sizes
    images = noise(count, count, 2, 3, 4)
    expected, whole = found(net, images, batch), found(net, images)
    for name in ("peak", "spread"):
        for one, other in zip(getattr(expected, name), getattr(whole, name), strict=True):
            assert one.tolist() == pytest.approx(other.tolist(), rel=1e-9, abs=1e-12)
    alone = iter(images.split(batch))
    labelled = ((part, torch.zeros(len(part), dtype=torch.int64)) for part in images.split(batch))
    for activity in (found(net, alone), found(net, labelled)):
        assert (activity.images, activity.table()) == (count, expected.table())


def test_batches_of_other_sizes_and_shapes_are_one_set() -> None:
    net = small(1, "residual", "silu")
    a, b = noise(0, 3, 2, 3, 3), noise(1, 1, 2, 5, 4)
    for both, one, other in zip(*(measure(net, x).peak for x in ([a, b], a, b)), strict=True):
        assert torch.equal(both, torch.maximum(one, other))


def test_the_channels_are_those_of_the_convolution_that_reads_the_images() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first, self.norm = nn.Conv2d(5, 2, 1), nn.Conv2d(3, 5, 1), nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.norm(self.last(self.first(x)))
            return result

    assert [len(part) for part in batches(Backwards(), torch.zeros(5, 3, 2, 2), 2)] == [2, 2, 1]
    assert measure(Backwards().eval(), torch.zeros(2, 3, 2, 2)).images == 2


def test_features_alone_are_measured_too() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()).double().eval()
    x = noise(0, 6, 4)
    with torch.no_grad():
        assert torch.equal(measure(net, x).peak[0], net(x).amax(dim=0))


def test_half_precision_gives_double_numbers() -> None:
    net = small(2, "chain", "relu")
    half, full = (measure(x, noise(0, 4, 2, 3, 3)) for x in (copy.deepcopy(net).bfloat16(), net))
    assert all(value.dtype == torch.float64 for value in (*half.peak, *half.spread, *half.selectivity))
    # 8 bits of mantissa, over two layers.
    assert half.peak[0].tolist() == pytest.approx(full.peak[0].tolist(), rel=0.05)


OTHERS: dict[str, Callable[[], nn.Module]] = {
    **ACTIVATIONS, "hardswish": nn.Hardswish, "mish": nn.Mish, "softplus": nn.Softplus, "sigmoid": nn.Sigmoid,
    "selu": nn.SELU, "celu": nn.CELU, "tanh": nn.Tanh, "hardtanh": nn.Hardtanh, "identity": nn.Identity,
}  # fmt: skip


class Every(nn.Module):
    """A filter behind each activation, whose input is a constant on every image, give or take a scale."""

    def __init__(self, to: dict[str, float], scale: float) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({name: nn.BatchNorm2d(1) for name in to})
        self.activations = nn.ModuleDict({name: OTHERS[name]() for name in to})
        for name, shift in to.items():
            self.get_parameter(f"norms.{name}.weight").data.fill_(scale)
            self.get_parameter(f"norms.{name}.bias").data.fill_(shift)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: self.activations[name](norm(x)) for name, norm in self.norms.items()}


# The input at which an activation's filters are inactive, constant; one at which they are no longer; what is said of it.
LOW: dict[str, tuple[float, float, int, int, str]] = {
    "relu": (-0.2, 0.0, 1, 1, "exactly 0 for every image"),
    "relu6": (-0.2, 0.0, 1, 1, "exactly 0 for every image"),
    "hardswish": (-3.2, -2.8, 1, 1, "exactly 0 for every image"),
    "gelu": (-7.5, -7.0, 1, 1, "no filter is removed for its activation"),
    "silu": (-31.5, -30.5, 1, 1, "no filter is removed for its activation"),
    "mish": (-31.5, -30.5, 1, 1, "falls towards 0"),
    "softplus": (-28.0, -27.0, 1, 1, "falls towards 0"),
    "sigmoid": (-28.0, -27.0, 1, 1, "falls towards 0"),
    **dict.fromkeys(("elu", "selu", "celu", "tanh", "hardtanh"), (-40, -40, 0, 1, "saturates")),
    "leaky_relu": (-1e6, -1, 0, 0, "passes both signs on"),
    "identity": (-1e6, -1, 0, 0, "the BatchNorm's own output"),
}


def test_what_a_low_input_means_for_an_activation() -> None:
    graphs, images = Graphs(), torch.linspace(-1, 1, 10, dtype=torch.float64).view(10, 1, 1, 1)
    at_low, at_high, flat = (
        measured(Every({name: float(row[k]) for name, row in LOW.items()}, scale).double().eval(), images, graphs)
        for k, scale in ((0, 0.1), (1, 0.1), (1, 0.0))
    )
    assert (at_low.activations, at_low.meaning()) == (tuple(LOW), {name: MEANINGS[name] for name in LOW})
    assert at_low.layers_by_activation() == tuple(row[2] for row in LOW.values())
    assert [float(spread < 1e-12) for spread in at_low.spread] == [row[3] for row in LOW.values()]
    assert at_high.inactive_by_activation() == 0
    assert (flat.constant(), flat.inactive_by_scale()) == (1, 1)
    for (name, row), peak in zip(LOW.items(), at_low.peak, strict=True):
        assert row[4] in MEANINGS[name]
        assert ("exactly 0 for every image" in MEANINGS[name]) == (peak.item() == 0)
