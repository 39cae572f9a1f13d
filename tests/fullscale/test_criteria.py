"""Each criterion removes the filters that its definition names, through torch-pruning, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dynamics.errors import InputError
from fullscale import checkpoint
from fullscale.criteria import CRITERIA, prune_by
from fullscale.measure import Graphs, measure
from fullscale.models import Architecture, Chain, NetConfig, build


def randomized(net: nn.Module, seed: int = 0) -> nn.Module:
    """Scales, shifts and running statistics that differ from filter to filter."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.normal_(generator=generator)
                module.bias.normal_(generator=generator)
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return net.eval()


def chain(channels: tuple[int, ...] = (7, 10, 13), seed: int = 0) -> Chain:
    torch.manual_seed(seed)
    net = randomized(Chain(NetConfig(channels, (1, 2, 1)[: len(channels)], 2, 3)), seed)
    assert isinstance(net, Chain)
    return net


def images(count: int = 40, channels: int = 2, side: int = 6) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def kept(net: nn.Module, small: nn.Module) -> dict[str, list[int]]:
    """By BatchNorm, the filters of `net` that `small` still has, told by their running means."""
    norms = {name: old for name, old in net.named_modules() if isinstance(old, _BatchNorm)}
    means = {name: small.get_submodule(name).running_mean for name in norms}
    return {name: [int((old.running_mean == value).nonzero()) for value in means[name]] for name, old in norms.items()}


def gone(net: nn.Module, small: nn.Module) -> list[tuple[str, int]]:
    left = kept(net, small)
    return [(name, i) for name in left for i in range(net.get_submodule(name).num_features) if i not in left[name]]


def score(net: Chain, criterion: str, x: Tensor) -> dict[tuple[str, int], Any]:
    """What the criterion says of each filter, by hand."""
    of: dict[str, Callable[[nn.Module, int, Any], Any]] = {
        "l1": lambda block, c, row: float(block.conv.weight.detach()[c].double().abs().sum()),
        "gamma": lambda block, c, row: abs(row["gamma"]),
        "selective": lambda block, c, row: (-row["selectivity"], row["peak"]),
    }
    rows = measure(net, x).table()
    say = of[criterion.removesuffix("_layer")]
    return {
        (row["layer"], row["filter"]): say(net.get_submodule(row["layer"][:-5]), row["filter"], row) for row in rows
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("criterion", ["gamma", "selective", "l1", "selective_layer"])
def test_the_lowest_go_of_the_network_or_of_each_layer_but_never_the_last(criterion: Any, share: float) -> None:
    net, x = chain(), images()
    with torch.no_grad():  # dead ones, which go first by selectivity and by scale
        for i, c in ((0, 3), (1, 0), (2, 9)):
            net.blocks[i].norm.weight[c], net.blocks[i].norm.bias[c] = 0, -1
    small, reached = prune_by(net, criterion, share, x)
    scores = score(net, criterion, x)
    order = sorted(scores, key=lambda key: scores[key])
    if criterion in ("l1", "selective_layer"):
        for name, left in kept(net, small).items():
            of = [key for key in order if key[0] == name]
            assert abs(len(of) - len(left) - share * len(of)) <= 1
            assert {(name, c) for c in left} == set(of[len(of) - len(left) :])
    else:
        best = {[key for key in order if key[0] == name][-1] for name in kept(net, small)}
        wanted = [key for key in order if key not in best][: round(share * len(scores))]
        assert gone(net, small) == sorted(wanted)
        assert reached == pytest.approx(len(wanted) / len(scores))


def test_what_is_left_is_what_it_was() -> None:
    net, x = chain(), images()
    before, reads = {name: tensor.clone() for name, tensor in net.state_dict().items()}, [0, 1]
    small, _ = prune_by(net, "gamma", 0.5, x)
    left = kept(net, small)
    for old, block, filters in zip(net.blocks, small.blocks, left.values(), strict=True):
        assert torch.equal(block.conv.weight, old.conv.weight[filters][:, reads])
        assert torch.equal(block.norm.bias, old.norm.bias[filters])
        reads = filters
    assert torch.equal(small.head.weight, net.head.weight[:, reads])
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_random_is_seeded_uniform_and_leaves_the_global_generator_alone() -> None:
    net, x, draws, graphs = chain((6, 6)), images(2), 30, Graphs()
    state = torch.random.get_rng_state()
    drawn = [gone(net, prune_by(net, "random", 0.5, x, seed, graphs)[0]) for seed in range(draws)]
    assert drawn[1] == gone(net, prune_by(net, "random", 0.5, x, 1)[0])
    assert torch.equal(torch.random.get_rng_state(), state)
    counts = [sum(key in each for each in drawn) for key in score(net, "gamma", x)]
    assert len(counts) == 12
    # Each is binomial with p = 1/2; five standard deviations.
    assert np.abs(np.array(counts) - draws / 2).max() < 5 * np.sqrt(draws / 4)


def test_no_layer_is_emptied_and_ties_take_no_more_than_asked() -> None:
    net, x = chain(), images()
    with torch.no_grad():
        net.blocks[1].norm.weight.zero_()
    small, reached = prune_by(net, "gamma", 0.2, x)
    assert reached == pytest.approx(6 / 30)
    assert len(kept(net, small)["blocks.1.norm"]) == 4
    small, reached = prune_by(net, "gamma", 0.99, x)
    assert [len(left) for left in kept(net, small).values()] == [1, 1, 1]
    assert reached == pytest.approx(27 / 30)


@cache
def graphs_of(model: str) -> Graphs:
    return Graphs()


@settings(max_examples=8)
@given(st.sampled_from(["basicnet", "vgg11", "resnet20"]), st.sampled_from(CRITERIA), st.floats(0, 0.95))
def test_every_family_is_cut_saved_and_loaded(tmp_path_factory: Any, model: str, criterion: Any, share: float) -> None:
    net, x = randomized(build(Architecture(model, 1 / 8, 2, 3))), images(4, side=32)
    small, reached = prune_by(net, criterion, share, x, graphs=graphs_of(model))
    every, left = (sum(m.num_features for m in n.modules() if isinstance(m, nn.BatchNorm2d)) for n in (net, small))
    assert reached == pytest.approx(1 - left / every)
    # Rounding for chains; in ResNet-20 a sum's channel is that of up to four filters, and layers have two to eight.
    assert reached <= share + 0.5 / every
    if model != "resnet20":
        assert reached >= min(share, 1 - 9 / every) - 0.5 / every - 1e-9
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    checkpoint.save(small, path)
    with torch.no_grad():
        assert torch.equal(checkpoint.load_network(path)(x), small(x))
        assert small(x).shape == (4, 3)


def test_a_shortcuts_projection_decides_for_its_sum() -> None:
    net, x = randomized(build(Architecture("resnet20", 0.5, 2, 3))), images(4, side=16)
    small, _ = prune_by(net, "l1", 0.5, x)
    left = kept(net, small)
    norms = net.layer2[0].downsample[0].weight.detach().abs().flatten(1).sum(dim=1)
    chosen = left["layer2.0.downsample.1"]
    assert chosen == sorted(norms.argsort(descending=True)[: len(chosen)].tolist())
    assert left["layer2.0.bn2"] == left["layer2.1.bn2"] == left["layer2.2.bn2"] == chosen


class Foreign(nn.Module):
    """Depthwise and grouped convolutions, one without BatchNorm, and a last layer that is a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.bare = nn.Conv2d(8, 8, 1)
        self.grouped = nn.Sequential(nn.Conv2d(8, 6, 1, groups=2), nn.BatchNorm2d(6), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(6, 3, 1), nn.BatchNorm2d(3))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.grouped(self.bare(self.depth(self.wide(x))))).mean(dim=(2, 3))
        return result


@pytest.mark.parametrize("criterion", CRITERIA)
def test_networks_from_elsewhere(criterion: Any) -> None:
    net = randomized(Foreign()).train()
    net.depth.eval()
    net.wide[0].weight.requires_grad_(False)
    small, reached = prune_by(net, criterion, 0.5, images())
    assert small(images()).shape == (40, 3)
    assert small.wide[0].out_channels == small.depth[0].groups == small.bare.in_channels == 2
    assert (small.bare.out_channels, small.grouped[0].out_channels) == (8, 6)
    assert reached == pytest.approx(12 / 25)
    assert (small.training, small.depth.training) == (True, False)
    assert (small.wide[0].weight.requires_grad, small.bare.weight.requires_grad) == (False, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("l2", 0.5, images()), "criterion 'l2' is unknown: accepted are l1, gamma"),
        (("l1", 1.0, images()), "share 1.0: a number in \\[0, 1\\)"),
        (("l1", float("nan"), images()), "share nan"),
        (("l1", 0.5, images(channels=3)), "inputs of shape"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        prune_by(chain(), *arguments)
