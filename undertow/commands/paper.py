"""The paper's table for `undertow claims --paper`: as wide as the terminal and no wider, or as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dynamics.lines import hanging
from evidence.claim import Claim, Finding
from evidence.registry import CLAIMS, find_claims
from figures.paper import PAPER, Row
from figures.paper_table import NOT_YET, Cell, Line, lines

_FOOT = (
    "Brackets: 95% interval, where several are judged at once 95% for all of their verdicts together; a star marks one from the "
    "smallest sample to the largest. `network: fails` beside a toy world, `toy: fails` beside a network: the other says the "
    "opposite. The evidence: undertow claims ID --why"
)


def bearing(names: Sequence[str], text: str) -> dict[str, list[Claim]]:
    """By row of the paper, the claims of its line that are asked for: `names` as in `find_claims`, and with `text` in id or
    sentence, or in the row's own words. Rows without any are left out, but none is where nothing is asked for."""
    asked = {claim.id for claim in find_claims(names)}
    found = {}
    for row in PAPER:
        own = text.casefold() in f"{row.id} {row.short} {row.says}".casefold()
        some = [CLAIMS[one.id] for one in row.toy + row.cnn if one.id in asked]
        some = [claim for claim in some if own or has(claim, text)]
        if some or not (names or text):
            found[row.id] = some
    return found


def has(claim: Claim, text: str) -> bool:
    """Whether the text is in the claim's id or sentence, capitals or not."""
    return text.casefold() in f"{claim.id}\n{claim.sentence}".casefold()


def beside(asked: dict[str, list[Claim]]) -> list[Claim]:
    """All claims of those rows: what is asked for, and what may contradict it."""
    return [CLAIMS[one.id] for row in _rows(asked) for one in row.toy + row.cnn if one.id in CLAIMS]


def made(asked: dict[str, list[Claim]], findings: Sequence[Finding], fails: bool) -> list[Line]:
    """The lines with the findings that are asked for; fails: of these only those that fail."""
    whole = lines({f.claim.id: (f.verdict, f.estimate) for f in findings}, CLAIMS, _rows(asked))

    def part(cell: Cell, ids: set[str]) -> Cell:
        some = tuple(a for a in cell.answers if a.shown.id in ids and (a.verdict == "fails" or not fails))
        return Cell(some, "" if fails else cell.untested)

    kept = []
    for line in whole:
        ids = {claim.id for claim in asked[line.row.id]}
        kept.append(replace(line, toy=part(line.toy, ids), cnn=part(line.cnn, ids)))
    return [line for line in kept if line.answers or not fails]


def _rows(asked: dict[str, list[Claim]]) -> list[Row]:
    return [row for row in PAPER if row.id in asked]


def as_text(table: Sequence[Line], width: int) -> str:
    """The table in lines of at most `width` characters."""
    return "\n\n".join([*(_line(line, width) for line in table), hanging("", _FOOT, width)])


def _line(line: Line, width: int) -> str:
    row = line.row
    said = [hanging(f"{row.id:5}", f"{row.short}: {row.says}", width), hanging(" " * 5, row.formula, width)]
    for name, cell in (("toy", line.toy), ("network", line.cnn)):
        for answer in cell.answers:
            told = f"{answer.told}: " if answer.told else ""
            against = f" ({answer.against})" if answer.against else ""
            said.append(hanging(f"     {name:9}{answer.verdict:11}", f"{told}{answer.number}{against}", width))
        if cell.untested:
            said.append(hanging(f"     {name:9}", f"not tested: {cell.untested}", width))
    return "\n".join(said)


def as_data(table: Sequence[Line]) -> list[dict[str, Any]]:
    """The table for programs; the verdict is null where a study is not stored."""

    def cell(found: Cell) -> dict[str, Any]:
        answers = [
            {"id": a.shown.id, "label": a.shown.label, "data": a.shown.data, "verdict": a.verdict or None}
            | {"number": None if a.number == NOT_YET else a.number, "against": a.against or None}
            for a in found.answers
        ]
        return {"answers": answers, "not_tested": found.untested or None}

    return [
        {name: getattr(line.row, name) for name in ("id", "short", "says", "formula")}
        | {"toy": cell(line.toy), "cnn": cell(line.cnn)}
        for line in table
    ]
