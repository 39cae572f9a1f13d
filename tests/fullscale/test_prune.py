"""Removing dead filters leaves what a network computes as it was, and the certificate can tell when it did not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planting import difference, noise, outputs
from torch import Tensor

from dynamics.errors import InputError
from fullscale.checkpoint import rebuild
from fullscale.measure import measure
from fullscale.models import Chain, NetConfig
from fullscale.prune import Certificate, LayerRemoval, certify, remove_dead

# How BatchNorm's (gamma, beta) make each kind of filter; a live one keeps the random numbers it has.
PLANTS = {
    "dead": (0.0, -0.5),
    "dead at zero": (0.0, 0.0),
    "underflowed dead": (-1e-30, -1e-3),
    "constant": (0.0, 0.7),
    "large constant": (0.0, 30.0),
    "tiny constant": (0.0, 1e-9),
    "underflowed constant": (1e-30, 0.4),
    "silent": (1.0, -1e6),
}
PROVABLY_DEAD = ("dead", "dead at zero", "underflowed dead")
CONSTANT = ("constant", "large constant", "tiny constant", "underflowed constant")


def planted(
    seed: int, plan: list[list[str]], strides: list[int], in_channels: int = 2, dtype: torch.dtype = torch.float64
) -> Chain:
    """A random network with random running statistics whose filters are of the planned kinds."""
    config = NetConfig(tuple(len(layer) for layer in plan), tuple(strides), in_channels, classes=3)
    generator = torch.Generator().manual_seed(seed)
    net = Chain(config).double()
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.2, 2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(generator=generator)
        if name.endswith("conv.weight"):
            tensor.div_((9 * tensor.shape[1]) ** 0.5)
    for i, layer in enumerate(plan):
        for c, kind in enumerate(layer):
            if kind in PLANTS:
                for name, value in zip(("weight", "bias"), PLANTS[kind], strict=True):
                    net.state_dict()[f"blocks.{i}.norm.{name}"][c] = value
    return net.to(dtype).eval()


def widths(net: Chain) -> tuple[int, ...]:
    """The filters that each block has."""
    return tuple(block.conv.out_channels for block in net.blocks)


@dataclass(frozen=True)
class Case:
    seed: int
    plan: list[list[str]]
    strides: list[int]
    height: int
    width: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kinds = st.sampled_from(["live", *PLANTS])
    layer = st.one_of(
        st.lists(kinds, min_size=1, max_size=6),
        st.lists(st.sampled_from(["live", *CONSTANT]), min_size=2, max_size=6),
        # A whole layer that is of one kind.
        st.builds(lambda kind, size: [kind] * size, kinds, st.integers(1, 4)),
    )
    plan = draw(st.lists(layer, min_size=2, max_size=4))
    strides = [draw(st.integers(1, 2)) for _ in plan]
    side = st.integers(1, 9)
    return Case(draw(st.integers(0, 2**32)), plan, strides, draw(side), draw(side))


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([(torch.float64, 1e-12), (torch.float32, 1e-5)]))
def test_outputs_stay_on_the_measured_images(case: Case, precision: tuple[torch.dtype, float]) -> None:
    dtype, tolerance = precision
    net = planted(case.seed, case.plan, case.strides, dtype=dtype)
    images = noise(case.seed + 1, 6, 2, case.height, case.width)
    smaller, removal = remove_dead(net, measure(net, images))
    assert difference(net, smaller, images) <= tolerance
    for before, after, layer in zip(case.plan, widths(smaller), removal.layers, strict=True):
        assert layer.filters == len(before)
        assert layer.provably_dead >= sum(kind in PROVABLY_DEAD for kind in before)
        assert layer.constant >= sum(kind in CONSTANT for kind in before)
        # A live one may happen not to fire; what reads dead filters alone is a constant, whatever was planted.
        assert layer.empirically_dead + layer.provably_dead >= before.count("silent")
        assert len(layer.kept) == after
    kept = sum(widths(smaller))
    assert removal.share == pytest.approx(1 - kept / sum(map(len, case.plan)))


@settings(max_examples=40, deadline=None)
@given(cases())
def test_outputs_stay_on_any_images_of_any_size(case: Case) -> None:
    net = planted(case.seed, case.plan, case.strides)
    smaller, removal = remove_dead(net, measure(net, noise(case.seed + 1, 30, 2, case.height, case.width)))
    # What was only seen not to fire may fire elsewhere; those planted as silent cannot.
    assume(all(a.empirically_dead == b.count("silent") for a, b in zip(removal.layers, case.plan, strict=True)))
    for height, width in ((case.height, case.width), (case.width + 1, case.height), (1, 1), (2, 7)):
        images = noise(case.seed + 2, 6, 2, height, width)
        assert difference(net, smaller, images) <= 1e-12


PLAN = [
    ["live", "constant", "dead", "large constant", "live", "underflowed constant", "silent"],
    ["constant", "live", "constant", "live", "dead at zero"],
]


def test_report_names_classes_and_the_filters_that_stay() -> None:
    net = planted(2, PLAN, [1, 2])
    smaller, removal = remove_dead(net, measure(net, noise(1, 20, 2, 6, 6)))
    assert removal.layers == (
        LayerRemoval(
            "blocks.0.norm", 7, provably_dead=1, constant=3, empirically_dead=1, unread=0, kept=(0, 3, 4)
        ),  # 3: the largest constant
        LayerRemoval("blocks.1.norm", 5, provably_dead=1, constant=2, empirically_dead=0, unread=0, kept=(1, 3)),
    )
    assert widths(smaller) == (3, 2)
    assert removal.share == pytest.approx(7 / 12)
    assert json.loads(json.dumps(removal.as_dict()))["layers"][1]["kept"] == [1, 3]


@pytest.mark.parametrize("kind", PLANTS)
def test_layers_that_are_dead_as_a_whole_keep_one_filter(kind: str) -> None:
    net, images = planted(5, [[kind] * 3, [kind] * 4, [kind] * 2], [1, 2, 1]), noise(1, 20, 2, 5, 5)
    smaller, removal = remove_dead(net, measure(net, images))
    assert widths(smaller) == (1, 1, 1)
    assert [layer.kept for layer in removal.layers] == [(0,)] * 3
    assert difference(net, smaller, images) <= 1e-12


def test_nothing_dead_gives_an_equal_network_of_its_own() -> None:
    net = planted(5, [["live"] * 3, ["live"] * 4], [1, 2])
    smaller, removal = remove_dead(net, measure(net, noise(1, 50, 2, 5, 5)))
    assert removal.share == 0
    assert widths(smaller) == widths(net)
    for (name, new), old in zip(smaller.state_dict().items(), net.state_dict().values(), strict=True):
        assert torch.equal(new, old), name
        assert new.data_ptr() != old.data_ptr()


def dropped(net: Chain, i: int, kept: list[int]) -> dict[str, Tensor]:
    """The weights after the usual removal in layer `i`: the filters and the inputs that read them are cut out."""
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for name in ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        state[f"blocks.{i}.{name}"] = state[f"blocks.{i}.{name}"][kept]
    state[f"blocks.{i + 1}.conv.weight"] = state[f"blocks.{i + 1}.conv.weight"][:, kept]
    return state


def test_dropping_constants_changes_the_network_and_a_bias_restores_all_but_the_border() -> None:
    net = planted(7, [["live", "constant", "constant", "live"], ["live"] * 3], [1, 1])
    images = noise(1, 20, 2, 7, 7)
    config = NetConfig((2, 3), (1, 1), 2, 3)

    def planes(network: Chain) -> Tensor:
        with torch.no_grad():
            result: Tensor = network.blocks[1](network.blocks[0](images))
        return result

    state = dropped(net, 0, [0, 3])
    naive = rebuild(config, dict(state)).eval()
    assert difference(net, naive, images) > 1e-2

    # The bias that the two constants amount to where the whole window sees them, here by way of the running mean.
    seen = 0.7 * net.state_dict()["blocks.1.conv.weight"][:, 1:3].sum(dim=(1, 2, 3))
    state["blocks.1.norm.running_mean"] -= seen
    biased = rebuild(config, state).eval()
    apart = (planes(biased) - planes(net)).abs().amax(dim=(0, 1))
    assert apart[1:-1, 1:-1].max() <= 1e-12
    apart[1:-1, 1:-1] = torch.inf
    assert apart.min() > 1e-2
    assert difference(net, biased, images) > 1e-3

    smaller, _ = remove_dead(net, measure(net, images))
    assert difference(net, smaller, images) <= 1e-12


def test_scales_up_to_the_limit_cost_no_more_than_the_limit_suggests() -> None:
    net, images = planted(3, [["live", "constant", "dead", "constant"], ["live"] * 2], [1, 1]), noise(1, 30, 2, 5, 5)
    net.state_dict()["blocks.0.norm.weight"][1:] = 1e-12
    smaller, removal = remove_dead(net, measure(net, images))
    assert removal.layers[0] == LayerRemoval("blocks.0.norm", 4, 1, 2, 0, 0, (0, 1))
    assert 0 < difference(net, smaller, images) <= 1e-10
    net.state_dict()["blocks.0.norm.weight"][1:] = 1.001e-12
    # Beyond it only the filter that does not fire can go.
    assert remove_dead(net, measure(net, images))[1].layers[0] == LayerRemoval(
        "blocks.0.norm", 4, 0, 0, 1, 0, (0, 1, 3)
    )


def test_filter_that_fires_however_faintly_stays() -> None:
    net, images = planted(3, [["live"] * 3, ["live"] * 2], [1, 1]), noise(1, 30, 2, 5, 5)
    state = net.state_dict()
    state["blocks.0.norm.weight"][1], state["blocks.0.norm.bias"][1] = 1e-11, 0
    activity = measure(net, images)
    assert 1e-12 < activity.peak[0][1] < 1e-10
    assert 1 in remove_dead(net, activity)[1].layers[0].kept


def test_a_silent_filter_that_stays_is_still_silent() -> None:
    net = planted(3, [["dead", "live", "live", "live", "dead", "live"], ["live"] * 3], [1, 1])
    # Filter 5 is large everywhere; it alone is read by filter 0 of the next layer, which it keeps below 0, and by no other.
    state = net.state_dict()
    state["blocks.0.norm.weight"][5], state["blocks.0.norm.bias"][5] = 0.1, 50
    state["blocks.1.conv.weight"][0], state["blocks.1.conv.weight"][:, 5] = 0, 0
    state["blocks.1.conv.weight"][0, 5, 1, 1] = -1
    state["blocks.1.norm.running_mean"][0], state["blocks.1.norm.bias"][0] = 0, 9
    state["blocks.1.norm.weight"][0] = 1
    images = noise(1, 9, 2, 6, 6)
    activity = measure(net, images)
    smaller, removal = remove_dead(net, activity)
    assert removal.layers[1].empirically_dead == 1
    assert widths(smaller) == (3, 2)
    # Asked for threes, it comes back, and what it reads with it.
    smaller, _ = remove_dead(net, activity, multiple=3)
    assert widths(smaller) == (6, 3)
    assert difference(net, smaller, images) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_modes_flags_and_precision_carry_over_and_the_network_is_left_alone(dtype: torch.dtype) -> None:
    net, images = planted(2, PLAN, [1, 2], dtype=dtype).train(), noise(1, 20, 2, 6, 6)
    net.blocks[1].eval()
    net.head.bias.requires_grad_(False)
    next(net.blocks[0].parameters()).requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes, random = [m.training for m in net.modules()], torch.get_rng_state()
    smaller, _ = remove_dead(net, measure(net, images))
    certify(net, smaller, images, torch.zeros(20, dtype=torch.long))
    assert torch.equal(torch.get_rng_state(), random)
    for network in (net, smaller):
        assert [m.training for m in network.modules()] == modes
        frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
        assert frozen == ["blocks.0.conv.weight", "head.bias"]
        assert {t.dtype for t in network.state_dict().values()} == {dtype, torch.int64}
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    with torch.no_grad():
        for tensor in smaller.state_dict().values():
            tensor.zero_()
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_activity_of_another_network_is_refused() -> None:
    net, images = planted(2, PLAN, [1, 2]), noise(1, 20, 2, 6, 6)
    for other in (planted(6, PLAN, [1, 2]), planted(2, PLAN[:1], [1]), planted(2, [*PLAN, ["live"]], [1, 2, 1])):
        with pytest.raises(InputError, match="another network"):
            remove_dead(net, measure(other, images))


def test_certificate_reports_what_removal_saves_and_costs() -> None:
    net, images = planted(2, PLAN, [1, 2]), noise(1, 50, 2, 6, 5)
    smaller, _ = remove_dead(net, measure(net, images))
    held_out = noise(2, 40, 2, 6, 5)
    labels = outputs(net, held_out).argmax(dim=1)
    labels[:10] = (labels[:10] + 1) % 3
    certificate = certify(net, smaller, held_out, labels, seed=4, random_images=17)
    assert certificate.error_before == certificate.error_after == 10 / 40
    assert 0 < certificate.held_out_difference < 1e-11
    assert 0 < certificate.random_difference < 1e-11
    assert (certificate.held_out_images, certificate.random_images, certificate.random_seed) == (40, 17, 4)
    assert certificate.parameters_before == 2 * 7 * 9 + 2 * 7 + 7 * 5 * 9 + 2 * 5 + 5 * 3 + 3
    assert certificate.parameters_after == 2 * 3 * 9 + 2 * 3 + 3 * 2 * 9 + 2 * 2 + 2 * 3 + 3
    assert certificate.multiply_adds_before == 9 * 2 * 7 * 30 + 9 * 7 * 5 * 9 + 15
    assert certificate.multiply_adds_after == 9 * 2 * 3 * 30 + 9 * 3 * 2 * 9 + 6
    told = json.loads(json.dumps(certificate.as_dict()))
    assert told.pop("largest") == certificate.largest
    assert told["resized"] == [8, 6]
    assert Certificate(**told | {"latency": (), "resized": (8, 6)}) == certificate
    assert certify(net, smaller, held_out, labels, seed=4, random_images=17) == certificate
    assert certify(net, smaller, held_out, labels, seed=5, random_images=17) != certificate


def test_certificate_measures_differences_by_definition() -> None:
    net, other = planted(2, PLAN, [1, 2]), planted(2, PLAN, [1, 2])
    other.head.bias.data[1] += 0.25
    other.head.weight.data *= -1
    held_out = noise(2, 10, 2, 6, 5)
    labels = outputs(net, held_out).argmax(dim=1)
    labels[0] = (labels[0] + 1) % 3
    certificate = certify(net, other, held_out, labels, seed=3, random_images=8)
    for images, told, relative in (
        (held_out, certificate.held_out_difference, certificate.held_out_relative),
        (noise(3, 8, 2, 6, 5), certificate.random_difference, certificate.random_relative),
    ):
        old, new = outputs(net, images), outputs(other, images)
        largest = max(abs(a - b) for a, b in zip(old.flatten().tolist(), new.flatten().tolist(), strict=True))
        assert told == pytest.approx(largest, rel=1e-12)
        assert relative == pytest.approx(largest / float(old.abs().max()), rel=1e-12)
    assert certificate.error_before == 1 / 10
    wrong = outputs(other, held_out).argmax(dim=1) != labels
    assert certificate.error_after == int(wrong.sum()) / 10 > 1 / 10


class Wider(torch.nn.Module):
    """Another network for wide images."""

    def __init__(self, net: Chain) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.net(x) + (x.shape[-1] > 5)
        return result


def test_certificate_takes_the_largest_difference_of_all_images() -> None:
    net, other = planted(2, PLAN, [1, 2]), planted(2, PLAN, [1, 2])
    other.head.bias.data[1] += 0.25
    certificate = certify(net, other, shape=(2, 6, 5), random_images=8)
    assert (certificate.held_out_images, certificate.held_out_difference, certificate.error_before) == (0, None, None)
    assert certificate.largest_held_out is None
    assert certificate.random_difference == pytest.approx(0.25)
    assert certificate.resized_difference == pytest.approx(0.25)
    assert certificate.largest == max(
        min(certificate.random_difference, certificate.random_relative),
        min(0.25, certificate.resized_relative or 0),
    )
    assert certificate.passes(certificate.largest)
    assert not certificate.passes(certificate.largest / 2)
    # Only at another size do these two differ.
    certificate = certify(net, Wider(net), noise(2, 4, 2, 6, 5), random_images=3)
    assert certificate.held_out_difference == certificate.random_difference == certificate.largest_held_out == 0
    assert certificate.largest == min(1.0, certificate.resized_relative or 0) > 0
    # And some networks take one size alone.
    fixed = torch.nn.Sequential(torch.nn.Conv2d(2, 1, 1), torch.nn.Flatten(), torch.nn.Linear(30, 3))
    certificate = certify(fixed, fixed, noise(2, 4, 2, 6, 5), random_images=3)
    assert (certificate.resized, certificate.resized_difference, certificate.largest) == (None, None, 0)
    with pytest.raises(InputError, match="neither held-out images nor the shape"):
        certify(net, net)


def test_certificate_tells_times_in_order() -> None:
    net = planted(2, PLAN, [1, 2])
    certificate = certify(net, net, shape=(2, 6, 5), random_images=3, timed=(1, 7))
    assert [latency.images for latency in certificate.latency] == [1, 7]
    for latency in certificate.latency:
        for median, low, high in (latency.before, latency.after):
            assert 0 < low <= median <= high


def test_certificate_sees_a_filter_that_was_silent_on_the_training_images_only() -> None:
    net = planted(5, [["live"] * 3, ["live"] * 2], [1, 1], in_channels=1)
    # Filter 1 fires for bright pixels only, and there are none among the training images.
    state = net.state_dict()
    state["blocks.0.conv.weight"][1] = torch.eye(3)[1] * torch.eye(3)[1][:, None]
    state["blocks.0.norm.weight"][1], state["blocks.0.norm.bias"][1] = 1, -10
    images = noise(1, 30, 1, 5, 5).clamp(-3, 3)
    smaller, removal = remove_dead(net, measure(net, images))
    assert removal.layers[0].empirically_dead == 1
    labels = torch.zeros(30, dtype=torch.long)
    assert certify(net, smaller, images, labels).held_out_difference < 1e-12
    assert certify(net, smaller, images * 10, labels).held_out_difference > 1e-2


def test_networks_without_output_are_equal_and_others_infinitely_far() -> None:
    net, other = planted(2, PLAN, [1, 2]), planted(2, PLAN, [1, 2])
    net.head.weight.data.zero_()
    net.head.bias.data.zero_()
    labels = torch.zeros(3, dtype=torch.long)
    assert certify(net, net, noise(1, 3, 2, 4, 4), labels).held_out_relative == 0
    assert certify(net, other, noise(1, 3, 2, 4, 4), labels).held_out_relative == float("inf")


Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"labels": torch.zeros(3, dtype=torch.long)}, "one whole number for each image"),
        (lambda a: a | {"labels": torch.zeros(4)}, "one whole number for each image"),
        (lambda a: a | {"labels": torch.tensor([1, 2, 3, 1])}, "labels from 1 to 3: 0 to 2 are accepted"),
        (lambda a: a | {"labels": torch.tensor([-1, 2, 0, 1])}, "labels from -1 to 2: 0 to 2 are accepted"),
        (lambda a: a | {"held_out": torch.zeros(4, 3, 5, 5)}, "images of shape"),
        (lambda a: a | {"held_out": torch.full((4, 2, 5, 5), torch.nan)}, "outputs are not finite"),
        (lambda a: a | {"random_images": 0}, "0 random images"),
        (lambda a: a | {"after": Chain(NetConfig((2,), (1,), 2, 4))}, "3 and 4 classes"),
        (lambda a: a | {"after": Chain(NetConfig((2,), (1,), 1, 3))}, "images of shape"),
    ],
)
def test_certificate_refuses_what_cannot_be_compared(change: Change, message: str) -> None:
    net = planted(2, PLAN, [1, 2])
    arguments: dict[str, Any] = {"before": net, "after": net}
    arguments |= {"held_out": torch.zeros(4, 2, 5, 5), "labels": torch.zeros(4, dtype=torch.long)}
    certify(**arguments)
    with pytest.raises(InputError, match=message):
        certify(**change(arguments))
