"""The measures of a filter, against their definitions worked out image by image."""

from __future__ import annotations

import math

import pytest
import torch
from planting import noise, randomize
from torch import nn

from dynamics.errors import InputError
from fullscale.measure import Activity, Shares, measure
from fullscale.models import Chain, NetConfig


def random_chain(seed: int, channels: tuple[int, ...], strides: tuple[int, ...]) -> nn.Module:
    return randomize(Chain(NetConfig(channels, strides, in_channels=2, classes=3)), seed)


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
