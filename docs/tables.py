"""The tables of the pages, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from docs import costs, probed, reliability, runs
from docs.fill import ROOT, read
from docs.values import claims, estimate, finding, noted, percent
from figures.paper import Row
from figures.paper_table import Answer, Cell, lines, powers


def table(name: str) -> str:
    """The table of that name; `claims GROUP` has all claims whose id begins with that row or letter. KeyError for others."""
    kind, _, rest = name.partition(" ")
    if kind == "claims":
        return _claims(rest)
    if kind == "noted":
        found = noted("tables")[rest]
        return _markdown(found["columns"], found["rows"])
    if kind == "reliability":
        return _markdown(*reliability.table(rest))
    if kind == "forecast":
        from docs import forecast

        return _markdown(forecast.columns(rest), forecast.rows(rest))
    if kind == "interventions":
        from docs import interventions

        return _markdown(interventions.COLUMNS, interventions.rows(rest))
    if kind == "probed":
        return _markdown(*probed.table(rest))
    return _TABLES[name]()


def group(claim: str) -> str:
    """The row or letter under which a claim stands in docs/results.md: "S6" for "S6 balance", "B" for "B5 critical"."""
    first = claim.split(maxsplit=1)[0].rstrip("abc")
    return first if first[0] == "S" else first[0]


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)])


def _claims(which: str) -> str:
    found = [claim for claim in claims().values() if group(claim["id"]) == which]
    later = [id for id in read("docs/findings.json")["not judged yet"] if group(id) == which]
    if not found and not later:
        raise KeyError(which)
    columns = ("claim", "what is said", "estimate", "verdict", "holds if", "seen in")
    judged = _markdown(
        columns,
        (
            (
                f"**{c['id']}**",
                f"{c['sentence']} ({c['source']})" + "".join(f" **Against it: {id}.**" for id in c.get("against", ())),
                estimate(c),
                _verdict(c),
                c["holds_if"],
                c["experiment"],
            )
            for c in found
        ),
    )
    parts = [judged] * bool(found) + [f"Not judged yet, for want of runs: {', '.join(later)}."] * bool(later)
    return "\n\n".join(parts)


def _verdict(claim: dict[str, Any]) -> str:
    return f"**{claim['verdict']}**" if claim["verdict"] == "fails" else str(claim["verdict"])


def _paper() -> str:
    import undertow.experiments  # noqa: F401
    from evidence.registry import CLAIMS

    found = {id: finding(claim) for id, claim in claims().items()}
    return _markdown(
        ("Claim", "What the paper says", "Toy worlds", "Real CNN"),
        (
            (
                f"**{_linked(line.row)}** {line.row.short}",
                f"{line.row.says}<br>`{line.row.formula}`",
                _cell(line.toy),
                _cell(line.cnn),
            )
            for line in lines(found, CLAIMS)
        ),
    )


def _linked(row: Row) -> str:
    """The row's id, with a link to its claims in docs/results.md where they have a heading there."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    heading = re.search(rf"^### ({group(row.id)}: .*)$", text, re.MULTILINE)
    if heading is None:
        return row.id
    anchor = re.sub(r"[^\w -]", "", heading[1].lower()).replace(" ", "-")
    return f"[{row.id}](docs/results.md#{anchor})"


def _cell(cell: Cell) -> str:
    said = [_answer(answer) for answer in cell.answers]
    return "<br>".join([*said, *([f"not tested: {cell.untested}"] if cell.untested else [])])


def _answer(answer: Answer) -> str:
    told = f"{answer.told}: " if answer.told else ""
    verdict = f"**{answer.verdict}**, " if answer.verdict else ""
    against = f" (**{answer.against}**)" if answer.against else ""
    return told + verdict + answer.number.replace("*", "\\*") + against


def _cnn() -> str:
    runs = read("docs/findings.json")["cnn"]
    pairs = [
        (a, b) for a in runs for b in runs if a["optimizer"] == b["optimizer"] and a["strength"] > 0 == b["strength"]
    ]
    first = ("inactive_by_activation", "inactive_by_scale", "parameters", "error_before", "error_after")
    columns = ("inactive by activation", "by scale", "parameters left", "test error", "test error after removal")
    return _markdown(
        ("optimizer, tuned lr", *columns, "without L2: inactive", "test error"),
        (
            (
                f"{a['optimizer']}, {a['lr']:g}",
                *(percent(a[name]) for name in first),
                percent(b["inactive_by_activation"]),
                percent(b["error_before"]),
            )
            for a, b in pairs
        ),
    )


def _grid() -> str:
    from fullscale.lr_grid import kept

    cells = [cell for cell in kept()["cells"] if cell["optimizer"] in ("adam", "rmsprop")]
    chosen = kept()["chosen"]
    return _markdown(
        ("optimizer", "lr", "validation accuracy", "filters inactive by activation"),
        (
            (
                c["optimizer"],
                f"{c['lr']:g}" + (", chosen" if chosen[c["optimizer"]]["lr"] == c["lr"] else ""),
                percent(c["each"]["accuracy"]),
                percent(c["each"]["inactive_by_activation"]),
            )
            for c in cells
            if c["status"] == "done"
        ),
    )


def _watched() -> str:
    from docs import watched

    return _markdown(watched.COLUMNS, watched.rows())


def _long() -> str:
    from fullscale.digits_long import kept

    return _markdown(
        ("optimizer, lr", "steps", "filters inactive by activation", "test error"),
        (
            (f"{c.optimizer}, {c.lr:g}", f"{c.steps:,}", percent(c.inactive.tolist()), percent(c.test_error.tolist()))
            for c in kept()
            if c.l2
        ),
    )


def _cifar() -> str:
    from figures.report_runs import by_strength
    from fullscale.paper.kept import TABLE, kept
    from fullscale.studies.table import cells

    head, rows = by_strength(cells(kept()[TABLE]))
    return _markdown(head, ([f"**{v}**" if lowest else v for v in values] for values, lowest in rows))


def _thresholds() -> str:
    points = read("docs/findings.json")["thresholds"]
    by = {(p["measure"], p["threshold"]): p for p in points}
    return _markdown(
        ("threshold", "inactive by activation", "inactive by scale", "change of test error by activation", "by scale"),
        (
            (powers(t), *(percent(by[m, t][what]) for what in ("sparsity", "change") for m in ("activation", "scale")))
            for t in dict.fromkeys(p["threshold"] for p in points)
        ),
    )


def _criteria() -> str:
    found = read("fullscale/compared.json")["table"]
    trainings = list(dict.fromkeys(row["training"] for row in found))
    by = {(row["criterion"], row["training"], row["tuned"]): row for row in found}
    criteria = list(dict.fromkeys(row["criterion"] for row in found))

    def cell(criterion: str, training: str, tuned: str) -> str:
        row = by.get((criterion, training, tuned))
        return f"{row['share']:.0%} [{round(100 * row['low'])}, {round(100 * row['high'])}]" if row else ""

    return _markdown(
        ("criterion", *(f"{training}, {when}" for training in trainings for when in ("as cut", "fine-tuned"))),
        (
            (f"`{criterion}`", *(cell(criterion, training, tuned) for training in trainings for tuned in ("no", "yes")))
            for criterion in criteria
        ),
    )


def _triple(values: Sequence[float]) -> str:
    return f"{median(values):.2f}" + (f" [{min(values):.2f}, {max(values):.2f}]" if len(values) > 1 else "")


def _kernel() -> str:
    cases = read("bench/measured.json")["cases"]
    names = [c["name"] for c in cases[0]["contestants"]]
    gradients = {"silent": "no gradient", "random": "random gradients"}
    heads = (f"{case['weights']:,} weights, {gradients[case['gradient']]}" for case in cases)

    def cell(contestant: dict[str, Any]) -> str:
        speed = f"{median(contestant['weight_steps_per_second']) / 1e6:,.0f}"
        return f"{speed}; {_triple(contestant['ratios'])}" if contestant["ratios"] else speed

    return _markdown(
        ("", *heads),
        (
            (name, *(cell(next(c for c in case["contestants"] if c["name"] == name)) for case in cases))
            for name in names
        ),
    )


def _torch() -> str:
    rows = read("bench/measured.json")["torch_face"]
    threads = sorted({row["threads"] for row in rows})
    by = {(row["rule"], row["threads"]): row for row in rows}
    return _markdown(
        ("rule", *(f"{n} thread{'s' if n > 1 else ''}" for n in threads)),
        (
            (rule, *(_triple(by[rule, n]["ratios"]) for n in threads))
            for rule in dict.fromkeys(row["rule"] for row in rows)
        ),
    )


def _side_by_side() -> str:
    from bench.side_by_side import Cell, Row
    from bench.side_by_side import table as side_by_side

    found = read("bench/side_by_side.json")
    return side_by_side([Row(Cell(**row["cell"]), row["speeds"]) for row in found["rows"]], found["machine"])


def _studies() -> str:
    from fullscale.studies import asked, built_in, find_study

    rows = []
    for name in built_in():
        study = find_study(name)
        where = "" if "data" in study.product.names else "; needs `--data`"
        rows.append((f"`{name}`", study.title + where, str(len(asked(study)))))
    return _markdown(("name", "what it asks for", "runs"), rows)


def _costs() -> str:
    return _markdown(*costs.rows())


def _runs() -> str:
    return _markdown(runs.COLUMNS, runs.runs())


def _rules() -> str:
    from dynamics.answers.table import overview

    return overview()


_TABLES: dict[str, Callable[[], str]] = {
    "paper": _paper,
    "cnn": _cnn,
    "grid": _grid,
    "watched": _watched,
    "long": _long,
    "cifar": _cifar,
    "thresholds": _thresholds,
    "criteria": _criteria,
    "kernel": _kernel,
    "torch": _torch,
    "side by side": _side_by_side,
    "rules": _rules,
    "costs": _costs,
    "runs": _runs,
    "studies": _studies,
}
