"""`undertow tune`: redo the learning-rate grid of the CNN experiment and write its outcome (it took about 10 minutes
on two cores)."""

from __future__ import annotations

import argparse
import json

from undertow.commands.arguments import Parser, add_out


def add(parser: Parser) -> None:
    """Add its flags."""
    add_out(parser, "tuned.json and results.sqlite")


def run(arguments: argparse.Namespace) -> int:
    """Print the chosen learning rates."""
    from evidence.files import writable, write_whole
    from undertow.extras import needs_fullscale

    needs_fullscale()
    from evidence.progress import Live
    from evidence.store import Store
    from fullscale import digits_study, lr_grid
    from fullscale.data import load
    from fullscale.sweep import local_executor, run_all

    folder = writable(arguments.out)
    images = load(digits_study.DATA)
    specs = lr_grid.specs(images)
    with Store(folder / "results.sqlite") as store, Live() as live, local_executor(images) as executor:
        found = lr_grid.outcome(run_all(specs, store, executor, live.task("grid", len(specs))))
    write_whole(folder / "tuned.json", (json.dumps(found, indent=1) + "\n").encode())
    for name, cell in found["chosen"].items():
        print(f"{name:10} lr {cell['lr']:<8g} validation accuracy {cell['accuracy']:.2%}, {cell['seeds']} seeds")
    print(f"outcome: {(folder / 'tuned.json').resolve()}")
    return 0
