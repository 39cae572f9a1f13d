"""`undertow run`: run one toy world with other constants, judge its claims and draw it; nothing is stored."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings

from dynamics.errors import InputError
from dynamics.lines import width
from undertow.commands.arguments import Parser, add_rules, add_worlds, drawable, path, say

if TYPE_CHECKING:
    import xarray as xr

    from evidence.claim import Claim, Finding
    from evidence.registry import World


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument("world", metavar="WORLD", help="a toy world by its name, as in reproduce --only")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a constant, e.g. lr=1e-2 or optimizers=adam,sgd, or rates=(0.1,0.2),(0.01,0.02); may be given several times",
    )
    parser.add_argument("--plot", type=path, metavar="FILE", help="draw the world into a .png, .svg or .pdf file")
    parser.add_argument("--json", action="store_true", help="print constants and claims as data")
    add_worlds(parser)
    add_rules(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the world's claims with their verdicts."""
    from evidence.progress import Live
    from evidence.registry import find_claims, find_world
    from evidence.study import dataset_of
    from undertow.commands.claims import as_dict, table
    from undertow.experiments import declare

    declare(arguments.worlds)
    found = find_world(arguments.world).world
    assert found is not None
    world = with_constants(found, arguments.set)
    draw = _drawing(arguments.world) if arguments.plot is not None else None
    if draw is not None:
        drawable("--plot", arguments.plot)
    # Constants of anybody's may overflow: what is no number then is in the verdicts.
    with Live() as live, catch_warnings(action="ignore", category=RuntimeWarning):
        live.line(f"{arguments.world}: {', '.join(arguments.set) or 'with the constants of its claims'}")
        try:
            data = dataset_of(world, threads=len(os.sched_getaffinity(0)))
        except InputError:
            raise
        except Exception as error:
            if not (arguments.set or arguments.worlds):
                raise
            given = f" with {', '.join(arguments.set)}" if arguments.set else ""
            raise InputError(f"{arguments.world} does not run{given} ({type(error).__name__}: {error})") from error
        findings, without = _judged(find_claims(experiments=[arguments.world]), data)
    if draw is not None:
        from figures.style import save_as

        save_as(draw(data), arguments.plot)
    if arguments.json:
        constants = asdict(world)  # type: ignore[call-overload]
        print(json.dumps({"constants": constants, "claims": [as_dict(f, constants) for f in findings]}, indent=2))
    elif findings:
        say(table(findings, width()))
    for line in without:
        print(line, file=sys.stderr) if arguments.json else say(line)
    return 0


def with_constants(world: World, given: Sequence[str]) -> World:
    """The world with other constants, each as "name=value"; values of a tuple with commas between them.

    Raises InputError for a name that is none of its constants, and for a value of another type.
    """
    kinds = typing.get_type_hints(type(world))
    names = [field.name for field in fields(world)]  # type: ignore[arg-type]
    changed: dict[str, Any] = {}
    for setting in given:
        name, equals, text = setting.partition("=")
        if not equals or name not in names:
            raise InputError(f"--set {setting}: NAME=VALUE is accepted, with a name of {', '.join(names)}")
        try:
            changed[name] = _value(text, kinds[name])
        except ValueError:
            raise InputError(f"--set {setting}: {_accepted(kinds[name])} is accepted") from None
    return replace(world, **changed)  # type: ignore[type-var]


def _value(text: str, kind: Any) -> Any:
    """The text as a value of this type; ValueError if it is none."""
    inside = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        parts = [part.removeprefix("(").removesuffix(")") for part in _parts(text)]
        kinds = inside[:1] * len(parts) if inside[-1] is Ellipsis else inside
        return tuple(_value(part, one) for part, one in zip(parts, kinds, strict=True))
    if typing.get_origin(kind) is typing.Literal:
        return inside[inside.index(text)]
    if kind is bool:
        return ("false", "true").index(text) == 1
    value = kind(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(text)
    return value


def _parts(text: str) -> list[str]:
    """What stands between commas outside of parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _accepted(kind: Any) -> str:
    inside = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        of = _accepted(inside[0])
        if typing.get_origin(inside[0]) is tuple:
            of = f"({of})"
        return f"{of}, or several with commas between them," if inside[-1] is Ellipsis else f"{len(inside)} times {of}"
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(inside)
    return {int: "a whole number", float: "a finite number", bool: "true or false"}.get(kind, "a word")


def _drawing(name: str) -> Callable[[xr.Dataset], Any]:
    """What draws this world alone; InputError if no picture does."""
    from evidence.registry import FIGURES
    from figures.story import CHAPTERS
    from undertow.reproduce import drawing

    alone: Mapping[tuple[str, ...], str] = {p.worlds: p.name for chapter in CHAPTERS for p in chapter.pictures} | {
        figure.worlds: picture for picture, figure in FIGURES.items()
    }
    if (name,) not in alone:
        drawn = ", ".join(worlds[0] for worlds in alone if len(worlds) == 1)
        raise InputError(f"--plot: there is no picture of {name} alone; of these there is: {drawn}")
    return drawing(alone[name,])  # type: ignore[no-any-return]


def _judged(claims: Sequence[Claim], data: xr.Dataset) -> tuple[list[Finding], list[str]]:
    """The findings, and a line for each claim that speaks of settings which these data do not have."""
    from evidence.claim import judge

    findings, without = [], []
    for claim in claims:
        try:
            findings.append(judge(claim, data))
        except (LookupError, ValueError) as error:
            said = " ".join(str(error).split())
            without.append(f"{claim.id}  is not about these constants ({type(error).__name__}: {said})")
    return findings, without
