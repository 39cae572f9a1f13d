"""`undertow reproduce`: run every experiment that is not stored yet, judge the claims, draw the figures, write the
report."""

from __future__ import annotations

import argparse

from undertow.commands.arguments import Parser, add_out, add_rules, add_worlds


def add(parser: Parser) -> None:
    """Add its flags."""
    add_out(parser, "report.html, explorer.html, figures and results.sqlite")
    parser.add_argument(
        "--only", metavar="PART", help="run one part alone: synthetic, fullscale, or a world by its name"
    )
    add_worlds(parser)
    parser.add_argument("--fresh", action="store_true", help="run again what is stored")
    add_rules(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table of claims and the path of the report."""
    from undertow.commands.claims import table
    from undertow.reproduce import reproduce

    findings, report = reproduce(arguments.out, arguments.only, arguments.fresh, arguments.worlds)
    print(table(findings))
    print(f"report: {report.resolve()}")
    return 0
