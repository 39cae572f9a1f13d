"""`undertow reproduce`: every experiment, the claims, the figures, the report."""

from __future__ import annotations

import argparse
from typing import Any

from undertow.commands.arguments import add_out, add_rules, add_worlds


def add(commands: Any) -> None:
    """Add the command."""
    text = "run every experiment that is not stored yet, judge the claims, draw the figures, write the report"
    parser = commands.add_parser("reproduce", help=text, description=f"{text[0].upper()}{text[1:]}.")
    add_out(parser, "report.html, explorer.html, figures and results.sqlite")
    parser.add_argument(
        "--only", metavar="PART", help="run one part alone: synthetic, fullscale, or a world by its name"
    )
    add_worlds(parser)
    parser.add_argument("--fresh", action="store_true", help="run again what is stored")
    add_rules(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table of claims and the path of the report."""
    from undertow.commands.claims import table
    from undertow.reproduce import reproduce

    findings, report = reproduce(arguments.out, arguments.only, arguments.fresh, arguments.worlds)
    print(table(findings))
    print(f"report: {report.resolve()}")
    return 0
