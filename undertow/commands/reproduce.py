"""`undertow reproduce`: run every experiment that is not stored yet, judge the claims, draw the figures, write the
report."""

from __future__ import annotations

import argparse

from dynamics.errors import InputError
from dynamics.lines import width
from undertow.commands.arguments import Parser, add_out, add_rules, add_worlds, say


def add(parser: Parser) -> None:
    """Add its flags."""
    add_out(parser, "report.html, explorer.html, figures and results.sqlite")
    parser.add_argument(
        "--only", metavar="PART", help="run one part alone: synthetic, fullscale, or a world by its name"
    )
    add_worlds(parser)
    parser.add_argument(
        "--study", choices=["paper"], help="train the primary runs of the study paper again and compare; needs --data"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="with --study: one seed of five, without S5b and S5c; under ten minutes on two cores",
    )
    parser.add_argument("--data", metavar="DATA", help="with --study: where CIFAR-10 is, a folder or an archive")
    parser.add_argument("--fresh", action="store_true", help="run again what is stored")
    add_rules(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table of claims and the path of the report; with --study, how it compares."""
    _check(arguments)
    if arguments.study:
        from evidence.files import check_folder
        from fullscale.data import check_source

        check_source(arguments.data)
        check_folder(arguments.out)
        from undertow.redo import redo

        say(redo(arguments.out, arguments.data, arguments.quick, arguments.fresh))
        return 0
    from evidence.files import check_folder

    check_folder(arguments.out)
    from undertow.experiments import check_part, declare

    declare(arguments.worlds)
    check_part(arguments.only)
    from undertow.commands.claims import table
    from undertow.reproduce import reproduce

    findings, report = reproduce(arguments.out, arguments.only, arguments.fresh, arguments.worlds)
    say(table(findings, width()))
    say(f"report: {report.resolve()}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """InputError for flags that do not go together."""
    if arguments.study and arguments.data is None:
        raise InputError(f"--study {arguments.study} without --data: say where CIFAR-10 is")
    for name in ("quick", "data"):
        if getattr(arguments, name) not in (None, False) and not arguments.study:
            raise InputError(f"--{name} without --study: --study paper is accepted beside it")
    for name in ("only", "worlds"):
        if getattr(arguments, name) and arguments.study:
            raise InputError(
                f"--{name} {getattr(arguments, name)} with --study {arguments.study}: one of them is accepted"
            )
