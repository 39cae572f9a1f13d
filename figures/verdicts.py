"""The map of all claims: each estimate and its interval beside the range in which the claim holds, in units of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from evidence.claim import Finding
from figures.style import Picture, styled

VERDICTS = {"holds": ("#0072B2", "o"), "undecided": ("0.45", "D"), "fails": ("#D55E00", "X")}
_COLUMNS = 3


def draw(findings: Sequence[Finding]) -> Picture:
    """A strip a claim. The range of "holds" is the grey band from 0 to 1, or from 0 on where it has one end only; a strip is
    scaled so that interval and band are both seen, and an arrow stands for what is further out."""
    rows = math.ceil(len(findings) / _COLUMNS)
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in VERDICTS}
    said = ", ".join(f"{n} {'fail' if v == 'fails' else 'hold' if v == 'holds' else v}" for v, n in counts.items())
    with styled():
        figure, columns = plt.subplots(1, _COLUMNS, figsize=(10.6, 0.9 + 0.23 * rows), squeeze=False)
        for k, axes in enumerate(columns[0]):
            part = findings[k * rows : (k + 1) * rows]
            axes.set(xlim=(-1.15, 2.15), ylim=(rows - 0.4, -0.8), yticks=range(len(part)), xticks=[])
            axes.set_yticklabels([f.claim.id for f in part], fontsize=8)
            axes.grid(False)
            axes.spines["bottom"].set_visible(False)
            axes.spines["left"].set_visible(False)
            axes.tick_params(length=0)
            _strips(axes, part)
        figure.suptitle(f"Of {len(findings)} claims {said}", x=0.01, ha="left", weight="bold")
    return Picture(
        "verdicts",
        figure,
        "Every claim's estimate with its interval (n and kind of interval: in the tables). Grey: where the claim holds, each "
        "strip in units of its own; circle holds, diamond undecided, cross fails; an arrow stands for what lies further out.",
        f"{len(findings)} claims, {said}. Failing: "
        + (", ".join(f.claim.id for f in findings if f.verdict == "fails") or "none")
        + ".",
    )


def place(finding: Finding) -> tuple[float, float, float, float]:
    """(value, low, high) and the right end of the band, on a strip whose band begins at 0; clipped to [-1, 2].

    A band with two ends ends at 1. With one end, the unit is the distance of the farthest number from that end, so that the
    band has no other end than the strip's.
    """
    e, rule = finding.estimate, finding.claim.decision
    numbers = np.array([e.value, e.low, e.high])
    if math.isfinite(rule.low) and math.isfinite(rule.high):
        unit = (numbers - rule.low) / ((rule.high - rule.low) or 1.0)
        end = 1.0
    else:
        away = numbers - rule.low if math.isfinite(rule.low) else rule.high - numbers
        farthest = float(np.max(np.abs(away))) or 1.0
        unit, end = away / farthest, 2.0
    value, low, high = np.clip(np.nan_to_num(unit, nan=0.5), -1.0, 2.0)
    return float(value), float(min(low, high)), float(max(low, high)), end


def _strips(axes: Axes, findings: Sequence[Finding]) -> None:
    """All strips of a column; few artists, for each costs time."""
    placed = np.array([place(finding) for finding in findings]).reshape(-1, 4)
    axes.barh(range(len(findings)), placed[:, 3], height=0.74, color="0.9", zorder=1)
    for verdict, (colour, mark) in VERDICTS.items():
        rows = np.flatnonzero([finding.verdict == verdict for finding in findings])
        value, low, high, _ = placed[rows].T
        axes.hlines(rows, low, high, color=colour, linewidth=1.6, zorder=2)
        axes.plot(value, rows, mark, color=colour, markersize=4.6, zorder=3)
        axes.plot(np.full((low <= -1.0).sum(), -1.08), rows[low <= -1.0], "<", color=colour, markersize=4, zorder=3)
        axes.plot(np.full((high >= 2.0).sum(), 2.08), rows[high >= 2.0], ">", color=colour, markersize=4, zorder=3)
