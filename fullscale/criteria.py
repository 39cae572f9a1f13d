"""Filters removed by what published criteria, chance or their selectivity say of them: baselines beside the dead filters.

l1         Li et al., "Pruning Filters for Efficient ConvNets" (arXiv 1608.08710): the filters of smallest L1 norm of every layer,
           the same share of each, since norms of layers of different sizes cannot be compared. Where a residual sum couples
           layers, the shortcut's projection decides, as in the paper; the stage's first convolution where there is none.
gamma      Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (arXiv 1708.06519): the smallest
           abs(gamma) of BatchNorm over the whole network; of coupled layers the mean. Their training, with L1 on gamma, is not
           part of the criterion.
random     every filter as likely as any other.
selective  derived from claim S12 of Mehta, Kim, Theobalt (arXiv 1905.04967): the most selective features of the network first, of
           equals the one with the lower peak; of coupled layers the mean of their places in that order.
selective_layer  the same with equal shares of every layer, as "l1": selectivity grows with depth, and the order of the
           whole network begins with the last layers.

Scores and surgery are torch-pruning's (Fang et al., arXiv 2301.12900). It drops BatchNorm's shift: a constant filter goes with what
it contributed. The order is kept here, since torch-pruning's own pruner removes all filters that share the threshold's score,
and leaves a layer whole that would lose every filter.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import among
from fullscale.graph import Graph, evaluation, taken
from fullscale.graph.activations import parameter
from fullscale.graph.units import LAYERS
from fullscale.measure import Graphs, batches, measured
from fullscale.spec import CRITERIA, Criterion

# What a filter is read from: the channels of these can be cut.
_CONVOLUTION, _LINEAR = nn.modules.conv._ConvNd, nn.Linear


class Selective(tp.importance.Importance):  # type: ignore[misc]
    """torch-pruning's interface for scores that are known: the mean over the BatchNorms that a channel goes through.

    scores: by BatchNorm, (channels,), the smallest to be removed first.
    """

    def __init__(self, scores: Mapping[nn.Module, Tensor]) -> None:
        self.scores = scores

    def __call__(self, group: Any) -> Tensor:
        """(channels of the group,)"""
        total = torch.zeros(len(group[0].idxs), dtype=torch.float64)
        count = torch.zeros_like(total)
        for item in group:
            if item.dep.target.module in self.scores:
                total.index_add_(0, torch.tensor(item.root_idxs), self.scores[item.dep.target.module][item.idxs])
                count.index_add_(0, torch.tensor(item.root_idxs), torch.ones(len(item.idxs), dtype=torch.float64))
        return total / count


def prune_by(
    net: nn.Module, criterion: Criterion, share: float, images: Tensor, seed: int = 0, graphs: Graphs | None = None
) -> tuple[nn.Module, float]:
    """A smaller network without the filters that `criterion` ranks lowest, and the share of filters that were removed.

    net: any network that both torch.export and torch-pruning can follow; it is left as it was. Filters are BatchNorm's channels,
    as for `remove_dead`. The last layer keeps its outputs; layers without BatchNorm and grouped convolutions stay whole, with
    what a sum couples to them. share: in [0, 1). Less is reached, by up to one coupled channel, where channels go together,
    and where every layer is down to the last filter, which it keeps. images: (N, C, H, W), all of which the selective
    criteria measure; the others use their shape alone. seed: of "random". graphs: of networks of this structure, kept from one call
    to the next, since tracing takes most of the time. The smaller network has the device, precision, modes and requires_grad
    flags of `net`.

    Raises InputError for another criterion or share, for images that do not fit, for a network that cannot be traced or cut.
    """
    among("criterion", criterion, tuple(CRITERIA))
    if not 0 <= share < 1:
        raise InputError(f"share {share}: a number in [0, 1) is accepted")
    example = next(batches(net, images[:2]))
    small = copy.deepcopy(net)
    graphs = graphs or Graphs()
    traced = graphs.of(small, taken(example).to(small))
    norms = {small.get_submodule(unit.norm): unit.norm for unit in traced.units if unit.batch}
    flags = {name: parameter.requires_grad for name, parameter in small.named_parameters()}
    # torch-pruning follows gradients: without them it finds nothing, and says nothing.
    small.requires_grad_()
    with evaluation(small), torch.enable_grad():
        cutter = tp.DependencyGraph().build_dependency(small, example_inputs=[example])
    groups = [g for g in cutter.get_all_groups(_last(traced.graph, small), [tp.ops.TORCH_CONV]) if _can_go(g, norms)]
    scores = _scores(criterion, groups, norms, net, images, seed, graphs)
    filters = _filters(net, norms)
    for group, gone in zip(groups, _lowest(groups, scores, norms, round(share * filters)), strict=True):
        if gone:
            cutter.get_pruning_group(group[0].dep.target.module, group[0].dep.handler, gone).prune()
    for name, tensor in small.named_parameters():
        tensor.requires_grad_(flags[name])
    _run(small, example)
    return small, 1 - _filters(small, norms) / filters


def _last(traced: Graph, net: nn.Module) -> list[nn.Module]:
    """The layers whose outputs reach the network's output through no other layer."""
    found: list[nn.Module] = []
    waiting = list(traced.results)
    while waiting:
        node = waiting.pop()
        name = parameter(traced, node.args[LAYERS[node.target][0]]) if node.target in LAYERS else None
        if name is None:
            waiting += node.all_input_nodes
        else:
            found.append(net.get_submodule(name.rpartition(".")[0]))
    return found


def _can_go(group: Any, norms: Mapping[nn.Module, str]) -> bool:
    modules = [item.dep.target.module for item in group]
    # torch-pruning cuts a convolution of one filter a channel as it does others, and other groups only in step.
    in_step = any(isinstance(m, _CONVOLUTION) and 1 < m.groups != m.out_channels for m in modules)
    return any(module in norms for module in modules) and not in_step


def _scores(
    criterion: Criterion,
    groups: list[Any],
    norms: Mapping[nn.Module, str],
    net: nn.Module,
    images: Tensor,
    seed: int,
    graphs: Graphs,
) -> list[np.ndarray]:
    """A number for each channel of each group; the smallest goes first."""
    importance: Any = tp.importance.RandomImportance()
    if criterion == "l1":
        # torch-pruning begins a group at the last layer whose filters are in it: of a residual sum, the shortcut's.
        importance = tp.importance.MagnitudeImportance(p=1, group_reduction="first", normalizer=None)
    if criterion == "gamma":
        # By its default, torch-pruning divides each layer's scales by their mean: no threshold of the whole network then.
        importance = tp.importance.BNScaleImportance(normalizer=None)
    if criterion in ("selective", "selective_layer"):
        activity = measured(net, images, graphs)
        order = np.lexsort((torch.cat(activity.peak).numpy(), torch.cat(activity.universality).numpy()))
        place = torch.empty(len(order), dtype=torch.float64)
        place[torch.from_numpy(order)] = torch.arange(len(order), dtype=torch.float64)
        places = dict(zip(activity.norms, place.split([len(peak) for peak in activity.peak]), strict=True))
        importance = Selective({module: places[name] for module, name in norms.items()})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = [importance(group).double().cpu().numpy() for group in groups]
    return [_within(scores) for scores in found] if criterion in ("l1", "selective_layer") else found


def _within(scores: np.ndarray) -> np.ndarray:
    """Places within one layer, as shares of it: one threshold on them takes the same share of every layer."""
    return (scores.argsort(kind="stable").argsort() + 0.5) / len(scores)


def _lowest(
    groups: list[Any], scores: list[np.ndarray], norms: Mapping[nn.Module, str], filters: int
) -> list[list[int]]:
    """The channels of each group that go: the lowest of all groups together, up to a number of filters."""
    if not groups:
        return []
    keys, owners, channels, weights = [], [], [], []
    for i, (group, score) in enumerate(zip(groups, scores, strict=True)):
        # The last filter of a layer stays, and it is the best one.
        able = np.delete(np.arange(len(score)), score.argmax())
        keys.append(score[able])
        channels.append(able)
        owners.append(np.full(len(able), i))
        weights.append(np.full(len(able), sum(item.dep.target.module in norms for item in group)))
    order = np.concatenate(keys).argsort(kind="stable")
    going = order[np.concatenate(weights)[order].cumsum() <= filters]
    owner, channel = np.concatenate(owners)[going], np.concatenate(channels)[going]
    return [sorted(channel[owner == i].tolist()) for i in range(len(groups))]


def _filters(net: nn.Module, norms: Mapping[nn.Module, str]) -> int:
    return sum(len(torch.as_tensor(net.get_submodule(name).weight)) for name in norms.values())


def _run(small: nn.Module, example: Tensor) -> None:
    with evaluation(small):
        try:
            small(example)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"torch-pruning cannot cut {type(small).__name__} ({reason})") from error
