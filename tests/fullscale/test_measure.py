"""The measures of a filter, against their definitions worked out image by image."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.errors import InputError
from fullscale.measure import Activity, Shares, measure
from fullscale.models import Chain, NetConfig


def random_chain(seed: int, channels: tuple[int, ...], strides: tuple[int, ...]) -> Chain:
    generator = torch.Generator().manual_seed(seed)
    net = Chain(NetConfig(channels, strides, in_channels=2, classes=3)).double()
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.2, 2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(generator=generator)
    return net


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def activity_by_definition(net: Chain, images: torch.Tensor) -> tuple[list[list[float]], list[list[float]]]:
    """Peak and selectivity of each filter of each layer, one image and one filter at a time."""
    planes: list[list[list[float]]] = [[[] for _ in range(c)] for c in net.config.channels]
    for image in images:
        x = image[None]
        for i, stride in enumerate(net.config.strides):
            p = {k: v for k, v in net.state_dict().items() if k.startswith(f"blocks.{i}.")}
            x = torch.nn.functional.conv2d(x, p[f"blocks.{i}.conv.weight"], stride=stride, padding=1)
            mean, var = p[f"blocks.{i}.norm.running_mean"], p[f"blocks.{i}.norm.running_var"]
            scale = p[f"blocks.{i}.norm.weight"] / (var + 1e-5).sqrt()
            x = (scale[:, None, None] * (x - mean[:, None, None]) + p[f"blocks.{i}.norm.bias"][:, None, None]).relu()
            for c in range(x.shape[1]):
                planes[i][c].append(max(abs(v) for v in x[0, c].flatten().tolist()))
    peaks = [[max(values) for values in layer] for layer in planes]
    selectivities = [
        [sum(v < 1e-3 * max(values) for v in values) / len(values) if max(values) > 0 else 1.0 for values in layer]
        for layer in planes
    ]
    return peaks, selectivities


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 6), st.integers(1, 9))
def test_activity_follows_the_definition_whatever_the_batch(seed: int, count: int, side: int, batch: int) -> None:
    net = random_chain(seed, (3, 4), (1, 2))
    images = noise(seed + 1, count, 2, side, side)
    activity = measure(net, images, batch)
    peaks, selectivities = activity_by_definition(net, images)
    for i in range(2):
        assert activity.peak[i].tolist() == pytest.approx(peaks[i], rel=1e-12, abs=1e-14)
        assert activity.selectivity[i].tolist() == selectivities[i]
        assert torch.equal(activity.gamma[i], net.state_dict()[f"blocks.{i}.norm.weight"])
        assert torch.equal(activity.beta[i], net.state_dict()[f"blocks.{i}.norm.bias"])


def test_activity_stays_what_it_was_while_the_network_trains_on() -> None:
    net = random_chain(0, (3, 4), (1, 1))
    activity = measure(net, noise(1, 4, 2, 3, 3))
    before = [tensor.clone() for tensor in (*activity.gamma, *activity.beta)]
    for tensor in net.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(a, b) for a, b in zip((*activity.gamma, *activity.beta), before, strict=True))


def detector(beta: float = 0.0) -> Chain:
    """One filter that puts out the image's only channel as it is, plus beta."""
    net = Chain(NetConfig((1,), (1,), in_channels=1, classes=2)).double()
    state = net.state_dict()
    state["blocks.0.conv.weight"].zero_()[0, 0, 1, 1] = 1
    state["blocks.0.norm.running_var"].fill_(1 - 1e-5)
    state["blocks.0.norm.bias"].fill_(beta)
    return net


def test_selectivity_compares_each_image_with_the_peak_over_all_of_them() -> None:
    images = torch.zeros(5, 1, 3, 3, dtype=torch.float64)
    # In units of the largest: 1, just above the threshold, just below it, negative only, nothing.
    for image, value in enumerate((500, 0.50001, 0.49999, -500, 0)):
        images[image, 0, 2, 0] = value
    activity = measure(detector(), images, batch=2)
    assert activity.peak[0].item() == pytest.approx(500, rel=1e-12)
    assert activity.selectivity[0].item() == 3 / 5
    # A filter that never fires is as selective as can be; one that is always on is not selective at all.
    assert measure(detector(beta=-501), images).selectivity[0].item() == 1
    assert measure(detector(beta=1e4), images).selectivity[0].item() == 0


def test_float32_network_accepts_images_of_another_precision() -> None:
    net, images = random_chain(3, (3, 4), (1, 2)), noise(4, 5, 2, 4, 4)
    double = measure(net, images)
    single = measure(net.float(), images)
    for a, b in zip(double.peak, single.peak, strict=True):
        assert b.dtype == torch.float64
        assert a.tolist() == pytest.approx(b.tolist(), rel=1e-5)


def hand_made() -> Activity:
    def layers(*rows: list[float]) -> tuple[torch.Tensor, ...]:
        return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)

    peak = layers([0, 1e-13, 1e-12, 2], [1e-5, 3])
    gamma = layers([1e-4, -1e-4, 1e-3, -2], [-1e-6, 0])
    return Activity(
        norms=("first", "second"),
        activations=("relu", "gelu"),
        peak=peak,
        spread=peak,
        gamma=gamma,
        beta=layers([5] * 4, [5] * 2),
        selectivity=peak,
        images=5,
    )


def test_shares_count_what_lies_strictly_below_the_threshold() -> None:
    activity = hand_made()
    assert activity.inactive_by_activation() == 2 / 6
    assert activity.inactive_by_scale() == 4 / 6
    assert activity.layers_by_activation() == (2 / 4, 0)
    assert activity.layers_by_scale() == (2 / 4, 1)
    assert activity.layers_by_activation(1e-4) == (3 / 4, 1 / 2)
    assert activity.layers_by_scale(2.5) == (1, 1)


def test_sweep_gives_both_measures_at_each_threshold() -> None:
    assert hand_made().sweep([1e-14, 1e-5 * 1.1, 10]) == [
        Shares(1e-14, 1 / 6, 1 / 6),
        Shares(1e-5 * 1.1, 4 / 6, 2 / 6),
        Shares(10, 1, 1),
    ]
    assert hand_made().sweep([]) == []


@pytest.mark.parametrize("threshold", [0, -1e-3, math.inf, math.nan])
def test_threshold_without_meaning_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        hand_made().sweep([threshold])


@pytest.mark.parametrize("training", [True, False])
def test_network_is_left_as_it_was(training: bool) -> None:
    net = random_chain(0, (3, 4), (1, 1)).train(training)
    net.blocks[1].eval()
    modes = [module.training for module in net.modules()]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    measure(net, noise(1, 4, 2, 3, 3))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    # Also when it fails on the way.
    net.blocks[1].norm.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure(net, noise(1, 4, 2, 3, 3))
    assert [module.training for module in net.modules()] == modes


@pytest.mark.parametrize(
    "name", ["blocks.0.conv.weight", "blocks.1.norm.running_mean", "blocks.1.norm.bias", "head.weight"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_diverged_network_is_named_as_such(name: str, value: float) -> None:
    net = random_chain(0, (3, 4), (1, 1))
    net.state_dict()[name].view(-1)[0] = value
    with pytest.raises(InputError, match=f"^{name} is not finite: the network diverged$"):
        measure(net, noise(1, 4, 2, 3, 3))


def test_overflow_on_the_way_is_divergence_too() -> None:
    net = random_chain(0, (3,), (1,)).float()
    net.state_dict()["blocks.0.norm.weight"].fill_(1e38)
    with pytest.raises(InputError, match=r"activations behind blocks\.0\.norm are not finite: the network diverged"):
        measure(net, noise(1, 4, 2, 3, 3))


@pytest.mark.parametrize(
    ("images", "batch"),
    [
        (torch.zeros(4, 3, 5, 5), 2),
        (torch.zeros(2, 5, 5), 2),
        (torch.zeros(0, 2, 5, 5), 2),
        (torch.tensor(0.0), 2),
        (torch.zeros(4, 2, 5, 5, dtype=torch.uint8), 2),
        (torch.zeros(4, 2, 5, 5), 0),
    ],
)
def test_images_that_do_not_fit_are_refused(images: torch.Tensor, batch: int) -> None:
    with pytest.raises(InputError, match="accepted"):
        measure(random_chain(0, (3, 4), (1, 1)), images, batch)
