"""Removing dead filters leaves what a network computes as it was."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import difference, noise

from dynamics.errors import InputError
from fullscale.graph import taken
from fullscale.measure import Graphs, measure, measured
from fullscale.models import Chain, NetConfig
from fullscale.prune import LayerRemoval, certify, remove_dead
from fullscale.prune.removal import removed

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


KINDS = st.sampled_from(["live", *PLANTS])
LAYERS = (
    st.lists(KINDS, min_size=1, max_size=6)
    | st.lists(st.sampled_from(["live", *CONSTANT]), min_size=2, max_size=6)
    | st.builds(lambda kind, size: [kind] * size, KINDS, st.integers(1, 4))  # all of one kind
)
SIDE = st.integers(1, 9)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    layers=st.lists(st.tuples(LAYERS, st.integers(1, 2)), min_size=2, max_size=4),
    sides=st.tuples(SIDE, SIDE),
    double=st.booleans(),
)
def test_outputs_stay(seed: int, layers: list[tuple[list[str], int]], sides: tuple[int, int], double: bool) -> None:
    plan, strides = map(list, zip(*layers, strict=True))
    net = planted(seed, plan, strides, dtype=torch.float64 if double else torch.float32)
    images, graphs = noise(seed + 1, 12, 2, *sides), Graphs()
    inputs = taken(images).to(net)
    activity = measured(net, images, graphs)
    smaller, removal = removed(net, graphs.of(net, inputs).graph, inputs, activity)
    assert difference(net, smaller, images) <= (1e-12 if double else 1e-5)
    for before, after, layer in zip(plan, widths(smaller), removal.layers, strict=True):
        assert layer.filters == len(before)
        assert layer.provably_dead >= sum(kind in PROVABLY_DEAD for kind in before)
        assert layer.constant >= sum(kind in CONSTANT for kind in before)
        # A live one may happen not to fire; what reads dead filters alone is a constant, whatever was planted.
        assert layer.empirically_dead + layer.provably_dead >= before.count("silent")
        assert len(layer.kept) == after
        assert len(set(before)) > 1 or "live" in before or after == 1
    assert removal.share == pytest.approx(1 - sum(widths(smaller)) / sum(map(len, plan)))
    # What was only seen not to fire may fire elsewhere; those planted as silent cannot.
    if double and all(a.empirically_dead == b.count("silent") for a, b in zip(removal.layers, plan, strict=True)):
        for height, width in ((sides[1] + 1, sides[0]), (1, 1), (2, 7)):
            assert difference(net, smaller, noise(seed + 2, 6, 2, height, width)) <= 1e-12


PLAN = [
    ["live", "constant", "dead", "large constant", "live", "underflowed constant", "silent"],
    ["constant", "live", "constant", "live", "dead at zero"],
]


def test_report_names_classes_and_the_filters_that_stay() -> None:
    net = planted(2, PLAN, [1, 2])
    smaller, removal = remove_dead(net, measure(net, noise(1, 20, 2, 6, 6)))
    assert removal.layers == (
        # 3: the largest constant
        LayerRemoval("blocks.0.norm", 7, provably_dead=1, constant=3, empirically_dead=1, unread=0, kept=(0, 3, 4)),
        LayerRemoval("blocks.1.norm", 5, provably_dead=1, constant=2, empirically_dead=0, unread=0, kept=(1, 3)),
    )
    assert widths(smaller) == (3, 2)
    assert json.loads(json.dumps(removal.as_dict()))["layers"][1]["kept"] == [1, 3]


def test_nothing_dead_gives_an_equal_network() -> None:
    net = planted(5, [["live"] * 3, ["live"] * 4], [1, 2])
    smaller, removal = remove_dead(net, measure(net, noise(1, 50, 2, 5, 5)))
    assert removal.share == 0
    assert all(torch.equal(new, net.state_dict()[name]) for name, new in smaller.state_dict().items())


def test_scales_up_to_the_limit_cost_no_more_than_the_limit_suggests() -> None:
    net, images = planted(3, [["live", "constant", "dead", "constant"], ["live"] * 2], [1, 1]), noise(1, 30, 2, 5, 5)
    net.state_dict()["blocks.0.norm.weight"][1:] = 1e-12
    smaller, removal = remove_dead(net, measure(net, images))
    assert removal.layers[0] == LayerRemoval("blocks.0.norm", 4, 1, 2, 0, 0, (0, 1))
    assert 0 < difference(net, smaller, images) <= 1e-10
    net.state_dict()["blocks.0.norm.weight"][1:] = 1.001e-12
    # Beyond it only the filter that does not fire can go, and one that fires however faintly stays.
    kept = LayerRemoval("blocks.0.norm", 4, 0, 0, 1, 0, (0, 1, 3))
    assert remove_dead(net, measure(net, images))[1].layers[0] == kept
    net.state_dict()["blocks.0.norm.bias"][1] = 0
    assert remove_dead(net, measure(net, images))[1].layers[0] == kept


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
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
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
    assert all(one.grad is not None for one in net.parameters())
    assert all(one.grad is None and one.is_leaf for one in smaller.parameters())
    with torch.no_grad():
        for tensor in smaller.state_dict().values():
            tensor.zero_()
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_activity_of_another_network_is_refused() -> None:
    net, images = planted(2, PLAN, [1, 2]), noise(1, 20, 2, 6, 6)
    for other in (planted(6, PLAN, [1, 2]), planted(2, PLAN[:1], [1]), planted(2, [*PLAN, ["live"]], [1, 2, 1])):
        with pytest.raises(InputError, match="another network"):
            remove_dead(net, measure(other, images))
