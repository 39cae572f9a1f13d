"""The measures on networks of many shapes, against what their own modules put out, counted filter by filter."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from statistics import median

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import noise
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.measure import MEANINGS, Activity, batches, measure

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: nn.LeakyReLU(0.1, inplace=True),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
KINDS = ("chain", "residual", "concatenating")


class Small(nn.Module):
    """Three layers on images of two channels, the last on features alone; joined in one of three ways."""

    def __init__(self, kind: str, activation: str) -> None:
        super().__init__()
        self.kind = kind
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
    """With scales and shifts over many decades, some of them 0."""
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
    return net


def seen(net: Small, images: Tensor) -> dict[str, np.ndarray]:
    """What is behind each norm: (images, filters, places)."""
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            found[name] = output.detach().numpy().reshape(*output.shape[:2], -1).copy()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in behind(net).items()]
    with torch.no_grad():
        net(images)
    for handle in handles:
        handle.remove()
    return found


def by_definition(plane: np.ndarray) -> tuple[list[float], list[float], list[float]]:
    """Peak, spread and selectivity of each filter."""
    peaks, spreads, selectivities = [], [], []
    for c in range(plane.shape[1]):
        each = [max(abs(v) for v in image[c]) for image in plane]
        peaks.append(max(each))
        spreads.append(max(v for image in plane for v in image[c]) - min(v for image in plane for v in image[c]))
        quiet = sum(v / max(each) < 1e-3 for v in each) if max(each) > 0 else len(each)
        selectivities.append(quiet / len(each))
    return peaks, spreads, selectivities


networks = st.builds(small, st.integers(0, 2**32), st.sampled_from(KINDS), st.sampled_from(sorted(ACTIVATIONS)))


@settings(max_examples=20, deadline=None)
@given(networks, st.integers(1, 6), st.floats(-15, 2))
def test_every_network_is_measured_as_its_own_modules_put_out(net: Small, count: int, exponent: float) -> None:
    images = noise(count, count, 2, 3, 4)
    activity, threshold = measure(net, images), 10.0**exponent
    planes = seen(net, images)
    assert activity.norms == ("norm1", "norm2", "norm3")
    below = constant = 0
    for i, name in enumerate(activity.norms):
        peaks, spreads, selectivities = by_definition(planes[name])
        assert activity.peak[i].tolist() == peaks
        assert activity.spread[i].tolist() == spreads
        assert activity.selectivity[i].tolist() == selectivities
        assert activity.universality[i].tolist() == [1 - s for s in selectivities]
        assert torch.equal(activity.gamma[i], net.state_dict()[f"{name}.weight"])
        assert torch.equal(activity.beta[i], net.state_dict()[f"{name}.bias"])
        # Any threshold is answered from this one pass.
        below += sum(p < threshold for p in peaks)
        constant += sum(s < threshold for s in spreads)
        assert activity.layers_by_activation(threshold)[i] == sum(p < threshold for p in peaks) / len(peaks)
        assert activity.below("activation", threshold)[i].tolist() == [p < threshold for p in peaks]
    assert activity.inactive_by_activation(threshold) == below / 10
    assert activity.constant(threshold) == constant / 10
    assert activity.images == count


@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_told(kind: str) -> None:
    activity = measure(small(0, kind, "gelu"), noise(0, 2, 2, 3, 3))
    assert activity.activations == ("gelu", *("identity" if kind == "residual" else "gelu",) * 2)
    assert list(activity.meaning()) == (["gelu", "identity"] if kind == "residual" else ["gelu"])


@settings(max_examples=10, deadline=None)
@given(networks, st.integers(1, 7), st.integers(1, 4))
def test_a_stream_of_batches_is_measured_as_the_images_in_memory(net: Small, count: int, batch: int) -> None:
    images = noise(count, count, 2, 3, 3)
    expected = measure(net, images, batch)
    for name in ("peak", "spread"):
        for one, other in zip(getattr(expected, name), getattr(measure(net, images), name), strict=True):
            assert one.tolist() == pytest.approx(other.tolist(), rel=1e-9, abs=1e-12)
    alone = iter(images.split(batch))
    labelled = ((part, torch.zeros(len(part), dtype=torch.int64)) for part in images.split(batch))
    for found in (measure(net, alone), measure(net, labelled)):
        assert found.images == count
        for name in ("peak", "spread", "selectivity"):
            for one, other in zip(getattr(found, name), getattr(expected, name), strict=True):
                assert torch.equal(one, other)


def test_batches_of_other_sizes_and_shapes_are_one_set() -> None:
    net = small(1, "residual", "silu")
    a, b = noise(0, 3, 2, 3, 3), noise(1, 1, 2, 5, 4)
    both = measure(net, [a, b])
    for whole, one, other in zip(both.peak, measure(net, a).peak, measure(net, b).peak, strict=True):
        assert torch.equal(whole, torch.maximum(one, other))


def refused(net: nn.Module, images: object, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        measure(net, images)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_what_does_not_fit_is_refused() -> None:
    net = small(0, "chain", "relu")
    refused(net, [], "no batches")
    refused(net, [noise(0, 2, 2, 3, 3), noise(0, 2, 3, 3, 3)], "(2, 3, 3, 3)", "(N, 2, H, W)")
    refused(net, noise(0, 2, 2, 3, 3).int(), "int32")
    refused(net, noise(0, 2, 2, 3, 3) * math.inf, "norm1")
    # A plane smaller than a kernel within: only running the network tells.
    deep = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 5), nn.BatchNorm2d(2))
    refused(deep, torch.zeros(1, 2, 4, 4), "(1, 2, 4, 4)", "do not fit the network")
    refused(nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), torch.zeros(3, 5), "(N, 4)")
    refused(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()), noise(0, 2, 2, 3, 3), "no BatchNorm")


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
    half = measure(copy.deepcopy(net).bfloat16(), noise(0, 4, 2, 3, 3))
    full = measure(net, noise(0, 4, 2, 3, 3))
    assert all(value.dtype == torch.float64 for value in (*half.peak, *half.spread, *half.selectivity))
    # 8 bits of mantissa, over two layers.
    assert half.peak[0].tolist() == pytest.approx(full.peak[0].tolist(), rel=0.05)


class Shifted(nn.Module):
    """One filter whose activation's input is a constant on every image, give or take a tenth."""

    def __init__(self, name: str, input_at: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        nn.init.constant_(self.norm.weight, 0.1)
        nn.init.constant_(self.norm.bias, input_at)
        self.act = {
            **ACTIVATIONS, "hardswish": nn.Hardswish, "mish": nn.Mish, "softplus": nn.Softplus, "sigmoid": nn.Sigmoid,
            "selu": nn.SELU, "celu": nn.CELU, "tanh": nn.Tanh, "hardtanh": nn.Hardtanh, "identity": nn.Identity,
        }[name]()  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.act(self.norm(x))
        return result


@pytest.mark.parametrize(
    ("name", "inactive_at", "active_at"),
    [
        ("relu", -0.2, 0.0),
        ("relu6", -0.2, 0.0),
        ("hardswish", -3.2, -2.8),
        ("gelu", -7.5, -7.0),
        ("silu", -31.5, -30.5),
        ("mish", -31.5, -30.5),
        ("softplus", -28.0, -27.0),
        ("sigmoid", -28.0, -27.0),
    ],
)
def test_what_a_low_input_means_for_an_activation(name: str, inactive_at: float, active_at: float) -> None:
    images = torch.linspace(-1, 1, 10, dtype=torch.float64).view(10, 1, 1, 1)
    low, high = (measure(Shifted(name, at).double().eval(), images) for at in (inactive_at, active_at))
    assert (low.inactive_by_activation(), low.constant()) == (1, 1)
    assert high.inactive_by_activation() == 0
    assert low.meaning() == {name: MEANINGS[name]}
    assert ("exactly 0 for every image" in MEANINGS[name]) == (low.peak[0].item() == 0)


@pytest.mark.parametrize("name", ["elu", "selu", "celu", "tanh", "hardtanh"])
def test_a_saturated_filter_is_constant_and_not_inactive(name: str) -> None:
    images = torch.linspace(-1, 1, 10, dtype=torch.float64).view(10, 1, 1, 1)
    stuck = measure(Shifted(name, -40).double().eval(), images)
    assert (stuck.inactive_by_activation(), stuck.constant()) == (0, 1)
    assert "saturates" in MEANINGS[name]


@pytest.mark.parametrize("name", ["leaky_relu", "identity"])
def test_a_filter_that_passes_both_signs_on_is_inactive_at_no_distance_from_0(name: str) -> None:
    images = torch.linspace(-1, 1, 10, dtype=torch.float64).view(10, 1, 1, 1)
    far = measure(Shifted(name, -1e6).double().eval(), images)
    assert (far.inactive_by_activation(), far.constant()) == (0, 0)
    flat = Shifted(name, -1.0).double().eval()
    nn.init.zeros_(flat.norm.weight)
    constant = measure(flat, images)
    assert (constant.inactive_by_activation(), constant.constant(), constant.inactive_by_scale()) == (0, 1, 1)


def hand_made() -> Activity:
    def layers(*rows: list[float]) -> tuple[Tensor, ...]:
        return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)

    return Activity(
        norms=("a", "b"),
        activations=("relu", "gelu"),
        peak=layers([0, 1, 1e-13, 3], [1e-20]),
        spread=layers([0, 0, 1e-13, 3], [1e-20]),
        gamma=layers([1, 1e-4, -1e-9, -1], [2]),
        beta=layers([-9, 1, 0, 0], [-99]),
        selectivity=layers([1, 0.5, 1, 0.25], [1]),
        images=8,
    )


def test_tables_say_the_same_as_the_shares() -> None:
    activity = hand_made()
    table = activity.table()
    assert [(row["layer"], row["filter"]) for row in table] == [("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 0)]
    assert table[1] == {
        "layer": "a", "filter": 1, "activation": "relu", "gamma": 1e-4, "beta": 1.0, "peak": 1.0, "spread": 0.0,
        "selectivity": 0.5, "universality": 0.5, "inactive_by_activation": False, "inactive_by_scale": True,
        "constant": True,
    }  # fmt: skip
    first, second = activity.layers()
    assert first == {
        "layer": "a", "activation": "relu", "filters": 4, "inactive_by_activation": 2, "inactive_by_scale": 2,
        "constant": 3, "median_selectivity": median([0.5, 0.25]),
    }  # fmt: skip
    assert (second["inactive_by_activation"], second["median_selectivity"]) == (1, None)
    total = activity.totals()
    assert total["filters"] == activity.filters == 5
    for name, share in (
        ("inactive_by_activation", activity.inactive_by_activation()),
        ("inactive_by_scale", activity.inactive_by_scale()),
        ("constant", activity.constant()),
    ):
        assert total[name] == sum(row[name] for row in table) == share * 5
