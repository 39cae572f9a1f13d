"""undertow: what an optimizer and its regularizer do to a weight, from the formula to filters that die in a real CNN.

The command line, and the names that a user imports. Heavy modules load when they are needed, so that help is instant.
"""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import commands.claims
import commands.compare
import commands.convert
import commands.explain
import commands.fetch
import commands.measure
import commands.phase
import commands.prune
import commands.reproduce
import commands.train
import commands.tune
from commands.arguments import Parser, Run
from dynamics.errors import InputError

if TYPE_CHECKING:
    from dynamics.convert import convert
    from dynamics.couplings import COUPLINGS
    from dynamics.explain import explain
    from dynamics.live import read
    from dynamics.pull import pull_share
    from dynamics.rules import RULES
    from dynamics.setting import parse
    from dynamics.simulator import simulate
    from dynamics.torch_face import Optimizer
    from dynamics.torch_groups import parameter_groups
    from fullscale.checkpoint import load_network
    from fullscale.measure import measure
    from fullscale.monitor import Monitor
    from fullscale.prune import certify, remove_dead

__all__ = [
    "COUPLINGS",
    "RULES",
    "InputError",
    "Monitor",
    "Optimizer",
    "certify",
    "convert",
    "explain",
    "load_network",
    "main",
    "measure",
    "parameter_groups",
    "parse",
    "pull_share",
    "read",
    "remove_dead",
    "simulate",
]

COMMANDS = {
    "explain": commands.explain,
    "convert": commands.convert,
    "claims": commands.claims,
    "phase": commands.phase,
    "reproduce": commands.reproduce,
    "train": commands.train,
    "measure": commands.measure,
    "prune": commands.prune,
    "compare": commands.compare,
    "fetch": commands.fetch,
    "tune": commands.tune,
}
# Where the names above live: they are loaded when they are asked for.
_HOMES = {
    "COUPLINGS": "dynamics.couplings",
    "Monitor": "fullscale.monitor",
    "Optimizer": "dynamics.torch_face",
    "RULES": "dynamics.rules",
    "certify": "fullscale.prune",
    "convert": "dynamics.convert",
    "explain": "dynamics.explain",
    "load_network": "fullscale.checkpoint",
    "measure": "fullscale.measure",
    "parameter_groups": "dynamics.torch_groups",
    "parse": "dynamics.setting",
    "pull_share": "dynamics.pull",
    "read": "dynamics.live",
    "remove_dead": "fullscale.prune",
    "simulate": "dynamics.simulator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def _broken_executor() -> type[Exception]:
    # Looked up only when something was raised.
    from concurrent.futures import BrokenExecutor

    return BrokenExecutor


def parser() -> Parser:
    """The parser of the command line."""
    top = Parser(prog="undertow", description="What an optimizer and its regularizer do to a weight.")
    below = top.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS.values():
        command.add(below)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. 2: an input that cannot be used, said in one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a bullet shows a question mark
        sys.stdout.reconfigure(errors="replace")
    try:
        asked = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        run: Run = asked.run
        return run(asked)
    except InputError as error:
        print(f"undertow: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "undertow: interrupted; what was finished is stored, the same command goes on from there", file=sys.stderr
        )
        return 130
    except _broken_executor():
        print(
            "undertow: a worker process was killed; what was finished is stored, run the same command again",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:  # the reader of our output has left, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
