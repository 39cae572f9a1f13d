"""Whether a network has room in memory, asked before it is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from dynamics.room import check_room
from dynamics.rules import find_rule
from fullscale.models import Architecture, build
from fullscale.spec import RunSpec


def check_network(architecture: Architecture) -> None:
    """InputError unless there is room for the network's weights, float32."""
    check_room(_named(architecture, count := _weights(architecture)), 4 * count)


def check_training(
    architecture: Architecture, specs: Sequence[RunSpec], shape: tuple[int, int, int], device: str
) -> None:
    """InputError unless there is room for the weights, their gradients, what the optimizers keep of each, and the images (C, H,
    W) of a batch, all float32: the least that training takes.

    specs: of the runs that are trained together.
    """
    count, spec = _weights(architecture), specs[0]
    numbers = sum(2 + len(find_rule(one.optimizer).state) for one in specs) * count
    numbers += len(specs) * spec.batch // spec.processes * math.prod(shape)
    cuda = torch.device(device).type == "cuda"
    have = torch.cuda.get_device_properties(device).total_memory if cuda else None
    check_room(f"batch {spec.batch} for {_named(architecture, count)}", 4 * numbers, have)


def _weights(architecture: Architecture) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(architecture).parameters())


def _named(architecture: Architecture, count: int) -> str:
    return (
        f"{architecture.model} of width {architecture.width:g} with {architecture.classes:,} outputs, {count:,} weights"
    )
