"""All verdicts on one page: how many claims hold by chapter, and every sentence that does not."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from dynamics.errors import InputError
from evidence.claim import Finding
from evidence.registry import EXPERIMENTS
from figures.story import CHAPTERS
from figures.style import WIDTH, Picture, fixed_layout, styled

# By verdict: colour, mark, the verb of a count.
VERDICTS = {
    "holds": ("#0072B2", "o", "hold"),
    "undecided": ("0.45", "D", "undecided"),
    "fails": ("#D55E00", "X", "fail"),
}
NETWORKS = "Real CNNs"
_LINE = 0.16  # inches from one line to the next
_LETTERS = 86  # of a sentence in a line


@checked
def draw(findings: Sequence[Finding]) -> Picture:
    """Chapter by chapter: a bar of verdicts, then the sentences of claims that fail or are undecided, with their numbers."""
    if not len(findings):
        raise InputError("0 findings: one or more are accepted")
    parts: dict[str, list[Finding]] = {}
    for finding in findings:
        parts.setdefault(chapter_of(finding), []).append(finding)
    told = [chapter.title for chapter in CHAPTERS]
    order = sorted(parts, key=lambda title: told.index(title) if title in told else len(told))
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in VERDICTS}
    said = ", ".join(f"{n} {VERDICTS[verdict][2]}" for verdict, n in counts.items())
    with styled():
        lines = {title: [(f, _wrapped(f)) for f in parts[title] if f.verdict != "holds"] for title in order}
        height = 0.7 + _LINE * sum(3.6 + sum(len(text) + 0.35 for _, text in lines[title]) for title in order)
        figure = plt.figure(figsize=(WIDTH, height))
        fixed_layout(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, WIDTH), ylim=(-height, 0), xticks=[], yticks=[])
        axes.set_axis_off()
        axes.text(0.06, -0.22, f"Of {len(findings)} claims {said}", fontsize=11, weight="bold", va="center")
        axes.text(0.06, -0.45, "cross: the data refute it; diamond: undecided", fontsize=9, color="0.3", va="center")
        y, most = -0.55, max(map(len, parts.values()))
        for title in order:
            y = _chapter(axes, title, parts[title], lines[title], y, most)
    return Picture(
        "verdicts",
        figure,
        "A bar a chapter, as long as it has claims: blue hold, grey undecided, orange fail. Below it the sentence of each claim "
        "that does not hold, with its name, estimate and interval (n, unit and kind of interval: in the tables). A claim that "
        "the data refute is a result.",
        f"{len(findings)} claims, {said}. Failing: "
        + (", ".join(f.claim.id for f in findings if f.verdict == "fails") or "none")
        + ".",
    )


def chapter_of(finding: Finding) -> str:
    """The chapter in which the claim's world stands; of networks, one for all."""
    name = finding.claim.experiment
    for chapter in CHAPTERS:
        if name in chapter.worlds:
            return chapter.title
    experiment = EXPERIMENTS.get(name)
    if experiment is not None and experiment.world is None:
        return NETWORKS
    return (experiment.chapter if experiment is not None else "") or name


def _wrapped(finding: Finding) -> list[str]:
    e = finding.estimate
    numbers = f"{e.value:.3g} [{e.low:.3g}, {e.high:.3g}]" if math.isfinite(e.value) else "not a number"
    words = f"{finding.claim.sentence} ({finding.claim.id}: {numbers})"
    return textwrap.wrap(words, _LETTERS, break_on_hyphens=False)


def _chapter(
    axes: Axes, title: str, findings: Sequence[Finding], lines: Sequence[tuple[Finding, list[str]]], y: float, most: int
) -> float:
    """One chapter from the height y down; where the next begins."""
    axes.text(0.06, y - _LINE, title, fontsize=10, weight="bold", va="center")
    left, y = 0.06, y - 2 * _LINE
    for verdict, (colour, *_) in VERDICTS.items():
        number = sum(f.verdict == verdict for f in findings)
        width = (WIDTH - 2.2) * number / most
        axes.barh(y, width, left=left, height=0.7 * _LINE, color=colour)
        left += width
    words = ", ".join(
        f"{n} {verb}"
        for verdict, (_, _, verb) in VERDICTS.items()
        if (n := sum(f.verdict == verdict for f in findings))
    )
    axes.text(left + 0.08, y, words, fontsize=9, color="0.3", va="center")
    y -= 1.1 * _LINE
    for finding, text in lines:
        colour, mark, _ = VERDICTS[finding.verdict]
        axes.plot(0.14, y, mark, color=colour, markersize=5)
        for k, line in enumerate(text):
            axes.text(0.28, y - k * _LINE, line, fontsize=9, va="center")
        y -= (len(text) + 0.35) * _LINE
    return y - 0.5 * _LINE
