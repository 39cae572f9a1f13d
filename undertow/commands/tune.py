"""`undertow tune`: the learning-rate grid of the CNN experiment."""

from __future__ import annotations

import argparse
from typing import Any

from undertow.commands.arguments import add_out


def add(commands: Any) -> None:
    """Add the command."""
    text = "redo the learning-rate grid of the CNN experiment and write its outcome (it took about 10 minutes on two cores)"
    parser = commands.add_parser("tune", help=text, description=f"{text[0].upper()}{text[1:]}.")
    add_out(parser, "tuned.json and results.sqlite")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the chosen learning rates."""
    from figures.reproduce import tune, writable

    found = tune(writable(arguments.out))
    for name, cell in found["chosen"].items():
        print(f"{name:10} lr {cell['lr']:<8g} validation accuracy {cell['accuracy']:.2%}, {cell['seeds']} seeds")
    print(f"outcome: {(arguments.out / 'tuned.json').resolve()}")
    return 0
