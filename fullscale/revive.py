"""Dead units of a network in training made new, together with what the optimizer remembers of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dynamics import given
from dynamics.errors import InputError
from dynamics.rule import Rule
from dynamics.theory.pull import carriers
from fullscale.graph import Example, taken, trace, units
from fullscale.graph.network import network
from fullscale.monitor.state import bare, fields, understood
from fullscale.prune.reach import Reach, reach
from fullscale.prune.removal import example_for
from fullscale.prune.training import read_in_training
from fullscale.prune.walk import walk


class _Held(NamedTuple):
    """A tensor of the optimizer's state: of which parameter, and which field of which rule."""

    tensor: Tensor
    of: Tensor
    field: str
    rule: Rule


class _New(NamedTuple):
    """New numbers of a tensor: all of its shape, and which of them are to be taken, True or False."""

    tensor: Tensor
    entries: Tensor
    numbers: Tensor


def revive(
    net: nn.Module,
    optimizer: Any,
    filters: Mapping[str, Sequence[int]] | Iterable[Mapping[str, Any]],
    *,
    example: Example | None = None,
) -> dict[str, tuple[int, ...]]:
    """Make filters new: weights that are drawn again, and an optimizer that remembers nothing of them.

    The weights and the bias that make a filter are drawn as `reset_parameters` of its layer draws them, with torch's global
    random numbers; its BatchNorm gets a scale of 1, a shift of 0 and running statistics of 0 and 1; and what reads it in
    the next layers gets weights of 0. So the outputs stay as they are where the filter had put out 0. Where it had put out a
    constant, the next layers lose that constant. A weight between two filters that are both named is drawn, not 0, or
    neither of them would ever get a gradient. To be called between a step and the next backward pass; where processes train
    together, in each of them, with the same random numbers.

    What the optimizer holds of these weights, and of no others, is made that of a weight as old as the others: means and
    momenta 0, schedule-free's z the new weight, and all that it divides by (squares, their maximum or sum) the mean over those
    entries of the tensor that stay; of a tensor that is new as a whole, the largest. Not 0, as in ReDo: Adam counts the steps of a
    whole parameter, so that squares of 0 miss their correction, and steps up to 7 times too long kill the filters again.
    Measured on scikit-learn's digits under Adam at lr 1e-2 with L2, 300 steps later (docs/monitor.md): of 52 dead filters of
    BasicNets that were given new weights, 52 were alive with these means, 49 with a count of steps for each weight, 38 with the
    state as it was, 6 with squares of 0. The price: they learn slowly at first. Within 100 steps, at lr 1e-3 and 1e-2, new
    weights went 4 to 200 times less far than with a count of their own; with squares of 0, 2 to 5 times farther.

    Args:
        net: any network that torch.export can follow. Filters can be made new that have weights of their own: of a convolution
            or linear layer, before a BatchNorm or directly before an activation. Those that join a residual sum have none.
        optimizer: of torch.optim, timm or schedulefree, one of the rules here, or `dynamics.optimizer.Optimizer`; it must
            hold all parameters of the filters.
        filters: by name of the BatchNorm, or of the layer where there is none, the numbers of the filters. Or rows of
            `Monitor.deaths`: those of filters that have come back by themselves are then left out.
        example: what forward takes, as for `remove_dead`; needed only for networks without a `config`.

    Returns:
        The filters that were made new, by layer.

    Raises:
        InputError: as `fullscale.graph.trace`; for an unknown layer, a filter that it does not have or that is named twice,
            filters without weights of their own, parameters that the optimizer does not hold, and tensors in its state
            that are none of its rule's. Nothing is then changed.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 2))
        >>> optimizer = torch.optim.Adam(net.parameters())
        >>> revive(net, optimizer, {"1": [0, 3]}, example=torch.rand(2, 1, 9, 9))
        {'1': (0, 3)}
        >>> net[4].weight.view(2, 4, 49)[:, :, 0].eq(0).all(dim=0).tolist()
        [True, False, False, True]

    Source:
        The weights: Sokar, Agarwal, Castro, Evci 2023, arXiv 2302.12902 (ReDo). The optimizer's state: derived, and measured.
    """
    net, optimizer = network(net), bare(optimizer)
    named = _named(filters)
    inputs = taken(example_for(net) if example is None else example).to(net)
    graph = trace(net, inputs)
    every = {unit.norm: unit for unit in units(graph)}
    for name, channels in named.items():
        unit = every[given.among("layer", name, tuple(every))]
        for channel in channels:
            given.whole(f"filter of {name}", channel, 0, unit.filters - 1)
    if not named:
        return {}
    found, stays = walk(graph, net), read_in_training(net, graph, inputs)
    reached = [(reach(graph, net, found, every[name], own, stays), own) for name, own in named.items()]
    held = _held(net, optimizer, [one for one, _ in reached])
    with torch.no_grad():
        new = _drawn(reached)
        for one in held:
            if id(one.of) in new:
                _put(new, one.tensor, new[id(one.of)].entries, _start(one, new[id(one.of)]))
        for tensor, entries, numbers in new.values():
            tensor[entries] = numbers[entries]
    return named


def _named(filters: Any) -> dict[str, tuple[int, ...]]:
    """The filters by layer, of both forms that they can have."""
    if isinstance(filters, Mapping):
        found = {}
        for name, channels in given.mapping("filters", filters).items():
            own = [given.whole(f"filter of {name}", x, 0) for x in given.items(f"filters of {name}", channels)]
            if twice := [x for x in own if own.count(x) > 1]:
                raise InputError(f"filters of {name}: {twice[0]} is named twice; each once is accepted")
            found[name] = tuple(own)
        return {name: own for name, own in found.items() if own}
    rows: dict[str, set[int]] = {}
    for row in given.several(
        "filters", filters, "a mapping from layers to numbers of filters, or rows of Monitor.deaths,"
    ):
        if not isinstance(row, Mapping) or not {"layer", "channel", "revived"} <= row.keys():
            raise InputError(f"filters with {given.shown(row)}: rows of Monitor.deaths are accepted")
        if row["revived"] is None:
            layer = given.text("layer", row["layer"])
            rows.setdefault(layer, set()).add(given.whole(f"filter of {layer}", row["channel"], 0))
    return {name: tuple(sorted(own)) for name, own in rows.items()}


def _held(net: nn.Module, optimizer: Any, reached: Iterable[Reach]) -> list[_Held]:
    """What the optimizer holds of the parameters of filters. InputError where it does not hold one, and for what is unknown."""
    own: dict[int, Tensor] = {}
    for one in reached:
        parts = (one.layer, *([] if one.norm is None else [one.norm]))
        own |= {id(p): p for part in parts for p in part.parameters(recurse=False)}
        own |= {id(p): p for p, _ in one.outgoing}
    names = {id(p): name for name, p in net.named_parameters()}
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    found: list[_Held] = []
    for key, p in own.items():
        if key not in groups:
            raise InputError(
                f"optimizer without {names[key]}: one that holds all parameters of the filters is accepted"
            )
        state = {name: x for name, x in (optimizer.state.get(p) or {}).items() if torch.is_tensor(x)}
        large = {name: x for name, x in state.items() if x.shape == p.shape or x.numel() > 1}
        known: dict[int, _Held] = {}
        why = ""
        try:
            rule = understood(optimizer, groups[key])[0].rule
            known = {id(x): _Held(x, p, field, rule) for field, x in fields(optimizer, rule, p).items()}
        except InputError as error:
            why = f" ({error})"
        if unknown := [name for name, x in large.items() if id(x) not in known or x.shape != p.shape]:
            raise InputError(
                f"optimizer's {', '.join(unknown)} of {names[key]}: the fields of a known rule, of the parameter's shape "
                f"{tuple(p.shape)}, are accepted{why}"
            )
        found += [known[id(x)] for x in large.values()]
    return found


def _start(held: _Held, of: _New) -> Tensor | float:
    """What the new entries of a tensor of the state start with."""
    if held.rule.starts.get(held.field) == "w":
        return of.numbers
    if held.field in carriers(held.rule):
        return 0.0
    stays = held.tensor[~of.entries].double()
    return float(stays.mean() if stays.numel() else held.tensor.max())


def _drawn(reached: Iterable[tuple[Reach, Sequence[int]]]) -> dict[int, _New]:
    """The new numbers of parameters and buffers, by their ids."""
    new: dict[int, _New] = {}
    every = list(reached)
    for one, _ in every:
        for weight, entries in one.outgoing:
            _put(new, weight, entries, 0.0)
    for one, channels in every:
        for name, drawn in _redrawn(one.layer).items():
            axis = one.axis if name == "weight" else 0
            _put(new, one.layer._parameters[name], _along(drawn, axis, channels), drawn)
        norm = one.norm
        if norm is not None:
            for tensor, start in (
                (norm.weight, 1.0),
                (norm.bias, 0.0),
                (norm.running_mean, 0.0),
                (norm.running_var, 1.0),
            ):
                if tensor is not None:
                    _put(new, tensor, _along(tensor, 0, channels), start)
    return new


def _redrawn(layer: nn.Module) -> dict[str, Tensor]:
    """All parameters of a layer as its own `reset_parameters` draws them; the layer keeps those that it has."""
    own: Any = layer
    kept = dict(own._parameters)
    drawn = {name: nn.Parameter(torch.empty_like(p), False) for name, p in kept.items() if p is not None}
    try:
        own._parameters.update(drawn)
        own.reset_parameters()
    finally:
        own._parameters.update(kept)
    return {name: p.detach() for name, p in drawn.items()}


def _along(tensor: Tensor, axis: int, channels: Sequence[int]) -> Tensor:
    entries = torch.zeros(tensor.shape, dtype=torch.bool)
    entries.movedim(axis, 0)[list(channels)] = True
    return entries.to(tensor.device)


def _put(new: dict[int, _New], tensor: Any, entries: Tensor, numbers: Any) -> None:
    """Note new numbers of a tensor, one or all of its shape; those that were noted before give way."""
    if not isinstance(numbers, Tensor):
        numbers = torch.full_like(tensor, float(numbers))
    _, before, others = new.get(id(tensor), _New(tensor, torch.zeros_like(entries), numbers))
    new[id(tensor)] = _New(tensor, before | entries, torch.where(entries, numbers, others))
