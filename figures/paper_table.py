"""What stands in the cells of the paper's table: verdicts and numbers, made once for README, report and terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from evidence.claim import Estimate, Verdict
from figures.paper import PAPER, Row, Shown


@dataclass(frozen=True)
class Answer:
    """A finding as a cell shows it. verdict: empty where its study is not stored. against: who says the contrary, if anyone,
    e.g. "network: fails"."""

    shown: Shown
    verdict: Verdict | str
    number: str
    against: str = ""

    @property
    def told(self) -> str:
        """Data and label, as far as there are any: "CIFAR-10, equal steps"."""
        return ", ".join(part for part in (self.shown.data, self.shown.label) if part)


@dataclass(frozen=True)
class Cell:
    """Findings, and what is not tested with the reason, if anything is not."""

    answers: tuple[Answer, ...]
    untested: str = ""


@dataclass(frozen=True)
class Line:
    """A row with its two cells."""

    row: Row
    toy: Cell
    cnn: Cell

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Those of both cells."""
        return self.toy.answers + self.cnn.answers


NOT_YET = "not tested yet"
Found = Mapping[str, tuple[Verdict, Estimate]]


def lines(found: Found, known: Container[str], rows: Sequence[Row] = PAPER) -> list[Line]:
    """The table. found: verdict and estimate by the claim's id; known: the ids of all claims that there are. What is no claim is
    left out, what has not been judged says so."""
    made = []
    for row in rows:
        toy, cnn = (tuple(one for one in cell if one.id in known) for cell in (row.toy, row.cnn))
        said = Cell(_answers(toy, cnn, "network", found), "" if toy else row.no_toy)
        beside = "; ".join(why for why in ("" if cnn else row.no_cnn, row.left) if why)
        made.append(Line(row, said, Cell(_answers(cnn, toy, "toy", found), beside)))
    return made


def _answers(here: Sequence[Shown], there: Sequence[Shown], name: str, found: Found) -> tuple[Answer, ...]:
    """The findings of one cell, each marked if one of the other cell contradicts it; name: what that one is called."""
    answers: list[Answer] = []
    for one in here:
        if one.id not in found:
            open_too = [a for a in answers if a.number == NOT_YET and a.shown.data == one.data != ""]
            if open_too:  # one line for all of a study
                answers[answers.index(open_too[0])] = Answer(Shown(open_too[0].shown.id, data=one.data), "", NOT_YET)
            else:
                answers.append(Answer(one, "", NOT_YET))
            continue
        verdict, estimate = found[one.id]
        contrary = {"holds": "fails", "fails": "holds"}.get(verdict)
        said = {found[other.id][0] for other in there if other.id in found and other.about == one.about}
        against = f"{name}: {contrary}" if contrary in said else ""
        answers.append(Answer(one, verdict, in_brief(estimate, one.scale, one.unit), against))
    return tuple(answers)


def in_brief(estimate: Estimate, scale: float = 1, unit: str | None = None) -> str:
    """Value, unit, interval, n and, of the cells of a grid, the worst; a star where the interval is from the smallest sample to
    the largest."""
    unit = estimate.unit if unit is None else unit
    if not math.isfinite(estimate.value):
        return f"no estimate ({estimate.interval})"
    value, low, high = (scale * x for x in (estimate.value, estimate.low, estimate.high))
    shown = [number(x, high - low) for x in (value, low, high)]
    star = "*" if estimate.interval.startswith("smallest to largest") else ""
    over = re.search(r"over ([a-z]+)", estimate.interval)
    unit = f" {unit}" if unit and not unit.startswith("%") else unit
    cells = re.search(r"for all (\d+) cells at once(, \d+ left out \(.*?\))?, the worst: (.*)", estimate.interval)
    worst = f"; worst of {cells[1]}{cells[2] or ''}: {cells[3]}" if cells else ""
    moving = re.search(r"; not converged: \d+ of \d+ cells", estimate.interval)
    late = moving[0] if moving else ""
    return (
        f"{shown[0]}{unit} [{shown[1]}, {shown[2]}]{star}, n = {estimate.n}{f' {over[1]}' if over else ''}{worst}{late}"
    )


def number(x: float, width: float) -> str:
    """x to two digits of the width of its interval; to four where there is none; tiny ones as powers of ten."""
    if width == 0 or not math.isfinite(width):
        return f"{x:.4g}"
    if max(abs(x), width) < 1e-3:
        return powers(x)
    digits = max(0, 1 - math.floor(math.log10(width)))
    return f"{round(x, digits) + 0.0:,.{digits}f}"  # + 0.0: no -0


def powers(x: float) -> str:
    """Two digits, 1e-6 rather than 1e-06."""
    return re.sub(r"e([-+])0", r"e\1", f"{x:.2g}")
