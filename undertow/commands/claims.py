"""`undertow claims`: print the claims with estimates and verdicts; toy worlds that are not stored yet are run for it."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from dynamics.lines import hanging, width, wrapped
from undertow.commands.arguments import Parser, add_json, add_out, add_rules, add_worlds, say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from evidence.claim import Claim, Finding


# Characters of a line of the paper's table where no terminal says how many there are.
PAPER = 80


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="a claim or a group, e.g. S6 or E, with all of its claims; all if none"
    )
    parser.add_argument(
        "--grep", default="", metavar="TEXT", help="only claims with TEXT in id or sentence, in any case"
    )
    parser.add_argument("--fails", action="store_true", help="only claims that fail")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--why", action="store_true", help="tell the evidence: experiment, constants, rule, samples")
    shape.add_argument("--paper", action="store_true", help="the paper's table: toy worlds beside real CNNs, by claim")
    add_json(parser)
    add_worlds(parser)
    add_out(parser, "results.sqlite, where results are kept")
    add_rules(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings."""
    from evidence.files import check_folder

    check_folder(arguments.out)
    from evidence.registry import EXPERIMENTS, find_claims
    from undertow.commands import paper
    from undertow.experiments import declare

    declare(arguments.worlds)
    claims = [claim for claim in find_claims(arguments.ids) if paper.has(claim, arguments.grep)]
    rows = paper.bearing(arguments.ids, arguments.grep) if arguments.paper else {}
    if not (rows if arguments.paper else claims):
        where = "in a claim of the paper's table" if arguments.paper else "in a claim's id or sentence"
        asked = f"--grep {arguments.grep!r}" if arguments.grep else f"--paper with {' '.join(arguments.ids)}"
        raise InputError(f"{asked}: what stands {where} is accepted; undertow claims lists them all")
    if arguments.paper:
        claims = paper.beside(rows)
    findings, incomplete = _findings(claims, arguments.out, arguments.worlds)
    known = {f.claim.id for f in findings}
    kept = [f for f in findings if f.verdict == "fails" or not arguments.fails]
    if arguments.paper:
        lines = paper.made(rows, findings, arguments.fails)
        if arguments.json:
            print(json.dumps(paper.as_data(lines), indent=2))
        elif lines:
            say(paper.as_text(lines, width(PAPER) or PAPER))
        elif findings:
            say(f"of {len(rows)} rows none fails")
    elif arguments.json:
        print(json.dumps([as_dict(f) for f in kept], indent=2))
    elif kept:
        say("\n\n".join(_why(f) for f in kept) if arguments.why else table(kept, width()))
    elif findings:
        say(f"of {len(findings)} claims none fails")
    silent = [claim for claim in claims if claim.id not in known]
    if silent and findings and not arguments.json:
        print()
    for said in dict.fromkeys(incomplete.get(claim.experiment, "") for claim in silent):
        mine = [claim for claim in silent if incomplete.get(claim.experiment, "") == said]
        ids = ", ".join(claim.id for claim in mine)
        line = f"not run yet, see undertow reproduce: {ids}"
        if said:
            again = EXPERIMENTS[mine[0].experiment].again
            makes = "undertow reproduce" if again.startswith("undertow reproduce") else again
            line = f"{said}; no verdict before {makes}: {ids}"
        if arguments.paper and not arguments.json:
            line = hanging("", line, width(PAPER))
        print(line, file=sys.stderr) if arguments.json else say(line)
    return 0


def table(findings: list[Finding], most: int | None = None) -> str:
    """Claims and verdicts for a terminal, in lines of at most so many characters."""
    wide = max((len(f.claim.id) for f in findings), default=0)
    heads = [f"{f.claim.id:{wide}}  {f.verdict:9}  " for f in findings]
    return "\n".join(
        f"{hanging(head, f.claim.sentence, most)}\n{hanging(' ' * len(head), f.estimate.in_words(), most)}"
        for head, f in zip(heads, findings, strict=True)
    )


def _findings(claims: list[Claim], out: Path, file: Path | None) -> tuple[list[Finding], dict[str, str]]:
    """Findings, and what to say of experiments of which only a part is stored."""
    from functools import partial
    from importlib.util import find_spec

    from evidence.executors.local import processes
    from evidence.files import writing
    from evidence.progress import Live
    from evidence.registry import judged, worlds
    from evidence.store import Store
    from evidence.study import world_data
    from fullscale.claims import stored
    from undertow.experiments import declare

    asked = {claim.experiment for claim in claims}
    names = [name for name in worlds() if name in asked]
    data: dict[str, Any] = {}
    incomplete: dict[str, str] = {}
    with writing(out), Store(out / "results.sqlite") as store, Live() as live:
        if names:
            with processes([partial(declare, file)], preload=["undertow.experiments"]) as pool:
                data |= world_data(names, store, pool, live)
        if not asked <= set(names) and find_spec("sklearn") is not None:
            found, incomplete = stored(store)
            data |= found
    return judged(claims, data), incomplete


def _why(f: Finding) -> str:
    from evidence.registry import EXPERIMENTS, opposed

    claim, e = f.claim, f.estimate
    lines = [f"{claim.id}: {f.verdict}", wrapped(claim.sentence), f"  source: {claim.source}"]
    lines += [wrapped(f"formula: {claim.formula}")] if claim.formula else []
    lines += [wrapped(f"measured: {claim.measured}")] if claim.measured else []
    lines += [
        f"  estimate: {e.value:.6g} {e.unit}",
        f"  interval: [{e.low:.6g}, {e.high:.6g}], {e.interval}, n = {e.n}",
    ]
    lines += [f"  holds if: {f.holds_if}"]
    lines += [wrapped(f"against it: {other.id}, on {other.experiment}: {other.sentence}") for other in opposed(claim)]
    lines += [wrapped(f"samples: {_samples(e.samples)}")] if e.samples else []
    constants = ", ".join(
        f"{name} {_short(value)}" for name, value in EXPERIMENTS[claim.experiment].constants().items()
    )
    lines += [wrapped(f"experiment {claim.experiment}: {constants}")]
    lines += [f"  picture: figures/{claim.figure}.svg"] if claim.figure else []
    return "\n".join([*lines, f"  again: {EXPERIMENTS[claim.experiment].again}"])


def _samples(samples: tuple[float, ...]) -> str:
    ordered = sorted(samples)
    if len(ordered) <= 12:
        return ", ".join(f"{x:.4g}" for x in ordered)
    fifths = [ordered[round(k * (len(ordered) - 1) / 4)] for k in range(5)]
    return f"smallest, quartiles and largest of {len(ordered)}: " + ", ".join(f"{x:.4g}" for x in fifths)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} {_short(part)}" for name, part in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(list(value)) if isinstance(value, tuple) else str(value)


def as_dict(f: Finding, constants: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A finding as plain data, null for what is not finite. constants: of the experiment, if they are not its own."""
    from evidence.registry import EXPERIMENTS, opposed

    claim, e = f.claim, f.estimate

    def number(x: float) -> float | None:
        return x if math.isfinite(x) else None

    own = EXPERIMENTS[claim.experiment]
    return (
        {"id": claim.id, "verdict": f.verdict}
        | {name: getattr(claim, name) for name in ("sentence", "source", "measured", "formula")}
        | {name: number(getattr(e, name)) for name in ("value", "low", "high")}
        | {"n": e.n, "unit": e.unit, "interval": e.interval, "samples": [number(x) for x in e.samples]}
        | {"holds_if": f.holds_if, "against": [other.id for other in opposed(claim)], "experiment": claim.experiment}
        | {"constants": own.constants() if constants is None else constants, "again": own.again}
    )
