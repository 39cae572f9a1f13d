"""The map of claims: each strip where its numbers belong, whatever the unit."""

from __future__ import annotations

import math

import pytest
from matplotlib.colors import to_hex
from pictures import assert_readable

from evidence.claim import Claim, Decision, Estimate, Finding, above, below, judge, never_above, within
from figures.verdicts import VERDICTS, draw, place


def finding(name: str, rule: Decision, value: float, low: float, high: float) -> Finding:
    claim = Claim(name, "A sentence.", "here", "silence", lambda data: data, rule)
    return judge(claim, Estimate(value, low, high, 5, "units", "95% t-interval over seeds"))


@pytest.mark.parametrize(
    ("rule", "numbers", "expected"),
    [
        (within(10, 20), (15, 12, 18), (0.5, 0.2, 0.8, 1.0)),
        (within(10, 20), (900, 25, 2_000), (2.0, 1.5, 2.0, 1.0)),
        (above(100), (150, 125, 200), (0.5, 0.25, 1.0, 2.0)),
        (above(100), (50, 0, 90), (-0.5, -1.0, -0.1, 2.0)),
        (below(1), (0.5, 0.2, 0.6), (0.625, 0.5, 1.0, 2.0)),
        (never_above(0), (0, 0, 0), (0.0, 0.0, 0.0, 2.0)),
        (within(0, 1), (math.nan, math.nan, math.nan), (0.5, 0.5, 0.5, 1.0)),
    ],
)
def test_numbers_are_placed_by_the_range_in_which_the_claim_holds(
    rule: Decision, numbers: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    assert place(finding("X", rule, *numbers)) == pytest.approx(expected)


def many(count: int) -> list[Finding]:
    rules = [(within(0.95, 1.05), 1.0), (above(1), 3.0), (never_above(0), 5.0), (within(0, 1), 0.99)]
    return [
        finding(f"S{k} words", *(rule := rules[k % 4])[:1], rule[1], rule[1] - 0.02, rule[1] + 0.02)
        for k in range(count)
    ]


@pytest.mark.parametrize("count", [1, 7, 80])
def test_every_claim_has_its_strip_with_its_verdict(count: int) -> None:
    findings = many(count)
    picture = draw(findings)
    names = [label.get_text() for axes in picture.figure.axes for label in axes.get_yticklabels()]
    assert names == [f.claim.id for f in findings]
    rows = math.ceil(count / 3)
    marked = {}
    for column, axes in enumerate(picture.figure.axes):
        for line in axes.lines:
            if line.get_marker() in "oDX":
                for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
                    marked[column * rows + int(y)] = (x, to_hex(line.get_color()), line.get_marker())
    assert marked == {
        k: (place(f)[0], to_hex(VERDICTS[f.verdict][0]), VERDICTS[f.verdict][1]) for k, f in enumerate(findings)
    }
    if count > 7:
        assert_readable(picture.figure)


def test_title_and_text_are_counted() -> None:
    picture = draw(many(8))
    assert "Of 8 claims 4 hold, 2 undecided, 2 fail" in picture.figure.get_suptitle()
    assert picture.alt.endswith("Failing: S2 words, S6 words.")
