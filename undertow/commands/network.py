"""The network that a command is about: a file that holds its configuration, or one of the user's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dynamics.errors import InputError
from undertow.commands.arguments import Parser, path

if TYPE_CHECKING:
    from torch import Tensor, nn


def add_network(parser: Parser) -> None:
    """Its flags."""
    parser.add_argument("checkpoint", type=path, nargs="?", metavar="CHECKPOINT", help="a network's .safetensors file")
    own = parser.add_argument_group("a network of your own", "instead of CHECKPOINT")
    own.add_argument(
        "--net",
        metavar="MODULE:FUNCTION",
        help="networks:make for make() in networks.py in this folder, or of an installed package; it is called without "
        "arguments and gives a torch.nn.Module",
    )
    own.add_argument(
        "--weights", type=path, metavar="FILE",
        help="its weights: .safetensors, or the state_dict in a .pt or .pth file, of which no code is run",
    )  # fmt: skip


def check_network(arguments: argparse.Namespace) -> Path:
    """The file that the network is in; InputError unless there is one that can be read. Nothing heavy is loaded for it."""
    from dynamics.given import file

    net, weights, checkpoint = arguments.net, arguments.weights, arguments.checkpoint
    if (net is None) != (weights is None):
        said = "--net without --weights" if weights is None else "--weights without --net"
        raise InputError(f"{said}: both or neither is accepted")
    if (net is None) == (checkpoint is None):
        said = "no network" if net is None else f"CHECKPOINT {checkpoint} and --net {net}"
        raise InputError(f"{said}: CHECKPOINT, or --net with --weights, is accepted")
    if weights is None:
        return file(checkpoint, "a network's safetensors file is accepted")
    return file(weights, "a network's weights are accepted")


def classes(net: nn.Module, images: Tensor) -> int | None:
    """How many classes a network tells apart: numbers an image of its one output (N, classes), None without such a one."""
    from fullscale.graph import taken
    from fullscale.prune.compare import label_place, run

    known = getattr(getattr(net, "config", None), "classes", None)
    if isinstance(known, int):
        return known
    found = run(net, taken(images).to(net))
    try:
        return found[label_place(found, len(images))].shape[1]
    except InputError:
        return None
