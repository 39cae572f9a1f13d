"""`undertow claims`: what is claimed, and what the data say."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from undertow.commands.arguments import add_out, add_rules, wrapped

if TYPE_CHECKING:
    from pathlib import Path

    from evidence.claim import Claim, Finding


def add(commands: Any) -> None:
    """Add the command."""
    text = "print the claims with estimates and verdicts; toy worlds that are not stored yet are run for it"
    parser = commands.add_parser("claims", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="a claim, e.g. S6, with all claims of that row; all if none"
    )
    parser.add_argument("--why", action="store_true", help="tell the evidence: experiment, constants, rule, samples")
    parser.add_argument("--json", action="store_true", help="print the same as data")
    add_out(parser, "results.sqlite, where results are kept")
    add_rules(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings."""
    from figures.reproduce import table
    from figures.results import claims_like

    claims = claims_like(arguments.ids)
    findings = _findings(claims, arguments.out)
    silent = [claim for claim in claims if claim.id not in {f.claim.id for f in findings}]
    if arguments.json:
        print(json.dumps([_as_dict(f) for f in findings], indent=2))
    elif arguments.why:
        print("\n\n".join(_why(f) for f in findings))
    elif findings:
        print(table(findings))
    if silent and not arguments.json:
        print(
            f"{'' if not findings else chr(10)}not run yet, see undertow reproduce: {', '.join(c.id for c in silent)}"
        )
    return 0


def _findings(claims: list[Claim], out: Path) -> list[Finding]:
    from evidence.progress import Live
    from evidence.store import Store
    from figures.reproduce import writable
    from figures.results import cnn_data, judged, toy_data
    from synthetic import worlds

    names = [name for name in worlds.WORLDS if any(claim.experiment == name for claim in claims)]
    data: dict[str, Any] = {}
    with Store(writable(out) / "results.sqlite") as store, Live() as live:
        if names:
            with worlds.processes() as pool:
                data |= toy_data(names, store, live, pool)
        if any(claim.experiment in ("pocket", "grid", "thresholds") for claim in claims) and (rows := _cnn_rows(store)):
            data |= cnn_data(rows, store.path)
    return judged(claims, data)


def _cnn_rows(store: Any) -> list[Any]:
    """The stored runs of the CNN experiment; none unless all are there."""
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        return []
    from fullscale import pocket
    from fullscale.data import load
    from fullscale.sweep import KIND

    images = load(pocket.DATA)
    rows = [store.get(KIND, spec.as_dict()) for spec in pocket.specs(images.digest, len(images.train.labels))]
    return [] if None in rows else rows


def _constants(experiment: str) -> dict[str, Any]:
    from dataclasses import asdict

    from synthetic.worlds import WORLDS

    return asdict(WORLDS[experiment]) if experiment in WORLDS else {}  # type: ignore[call-overload]


def _command(claim: Claim) -> str:
    from synthetic.worlds import WORLDS

    return f"undertow reproduce --only {claim.experiment if claim.experiment in WORLDS else 'fullscale'} --fresh"


def _why(f: Finding) -> str:
    claim, e = f.claim, f.estimate
    lines = [f"{claim.id}: {f.verdict}", wrapped(claim.sentence), f"  source: {claim.source}"]
    lines += [wrapped(f"formula: {claim.formula}")] if claim.formula else []
    lines += [wrapped(f"measured: {' '.join((claim.estimate.__doc__ or '').split())}")]
    lines += [
        f"  estimate: {e.value:.6g} {e.unit}",
        f"  interval: [{e.low:.6g}, {e.high:.6g}], {e.interval}, n = {e.n}",
    ]
    lines += [f"  holds if: {claim.rule_in_words}"]
    lines += [wrapped(f"samples: {_samples(e.samples)}")] if e.samples else []
    constants = ", ".join(f"{name} {_short(value)}" for name, value in _constants(claim.experiment).items())
    lines += [wrapped(f"experiment {claim.experiment}: {constants}" if constants else f"experiment {claim.experiment}")]
    lines += [f"  picture: figures/{claim.figure}.svg"] if claim.figure else []
    return "\n".join([*lines, f"  again: {_command(claim)}"])


def _samples(samples: tuple[float, ...]) -> str:
    ordered = sorted(samples)
    if len(ordered) <= 12:
        return ", ".join(f"{x:.4g}" for x in ordered)
    fifths = [ordered[round(k * (len(ordered) - 1) / 4)] for k in range(5)]
    return f"smallest, quartiles and largest of {len(ordered)}: " + ", ".join(f"{x:.4g}" for x in fifths)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(list(value)) if isinstance(value, tuple) else str(value)


def _as_dict(f: Finding) -> dict[str, Any]:
    claim, e = f.claim, f.estimate

    def number(x: float) -> float | None:
        return x if math.isfinite(x) else None

    return {
        "id": claim.id,
        "verdict": f.verdict,
        "sentence": claim.sentence,
        "source": claim.source,
        "formula": claim.formula,
        "value": number(e.value),
        "low": number(e.low),
        "high": number(e.high),
        "n": e.n,
        "unit": e.unit,
        "interval": e.interval,
        "samples": [number(x) for x in e.samples],
        "holds_if": claim.rule_in_words,
        "experiment": claim.experiment,
        "constants": _constants(claim.experiment),
        "again": _command(claim),
    }
