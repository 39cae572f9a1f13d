"""Where dropping dead filters is exact, torch-pruning's graph surgery gives the same network."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch_pruning as tp
from planting import Inverted, noise, randomize
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fullscale.models import Architecture, build
from fullscale.prune import remove_dead

IMAGES = noise(1, 3, 3, 16, 16)
WIDTHS = {"basicnet": 1 / 16, "vgg16": 1 / 16, "resnet20": 1 / 2, "resnet18": 1 / 16, "resnet50": 1 / 16}
NETWORKS = {name: partial(build, Architecture(name, width, 3, 5)) for name, width in WIDTHS.items()}
NETWORKS |= {"vgg16, imagenet": partial(build, Architecture("vgg16", 1 / 32, 3, 5, "imagenet")), "inverted": Inverted}


def norms_of(net: nn.Module) -> dict[str, _BatchNorm]:
    return {name: module for name, module in net.named_modules() if isinstance(module, _BatchNorm)}


def by_torch_pruning(net: nn.Module, seed: int) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Filters of every layer that is free to lose some, chosen by chance and cut out with all that depends on them; by
    BatchNorm, which they were."""
    smaller = copy.deepcopy(net).eval()
    first = tp.DependencyGraph().build_dependency(smaller, IMAGES)
    generator = torch.Generator().manual_seed(seed)
    chosen = {name: torch.zeros(module.num_features, dtype=torch.bool) for name, module in norms_of(net).items()}
    names = {module: name for name, module in norms_of(smaller).items()}
    # The outputs, and what has no BatchNorm to be dead by.
    fixed = [[module for module in smaller.modules() if isinstance(module, nn.Linear)][-1]]
    fixed += [smaller.squeeze[1]] if isinstance(smaller, Inverted) else []
    for group in list(first.get_all_groups(ignored_layers=fixed, root_module_types=[nn.Conv2d])):
        count = group[0].dep.target.module.out_channels
        gone = torch.nonzero(torch.rand(count, generator=generator) < 0.4).flatten().tolist()[: count - 1]
        if not gone:
            continue
        whole = first.get_pruning_group(group[0].dep.target.module, group[0].dep.handler, gone)
        for dependency, indices in whole:
            if dependency.target.module in names and dependency.handler == tp.prune_batchnorm_out_channels:
                chosen[names[dependency.target.module]][indices] = True
        whole.prune()
    return smaller, chosen


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_filters_leave_the_same_network(name: str) -> None:
    net = randomize(NETWORKS[name](), 1).eval()
    theirs, chosen = by_torch_pruning(net, 2)
    # What was cut out there becomes dead here, so that nothing is lost by it; a shift below 0 needs a ReLU for that.
    for norm, gone in chosen.items():
        module = net.get_submodule(norm)
        module.weight.data[gone], module.bias.data[gone] = 0, 0 if name == "inverted" else -0.1
    ours, removal = remove_dead(net, example=IMAGES)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    layers = [layer for layer in removal.layers if layer.name in chosen]
    assert sum(len(layer.kept) for layer in layers) < 0.8 * sum(layer.filters for layer in layers)
    with torch.no_grad():
        expected = net(IMAGES)
        assert (ours.eval()(IMAGES) - expected).abs().max() <= 1e-12 * max(1.0, float(expected.abs().max()))
    for key, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[key]), key
