"""All verdicts on one page: bars as long as the counts, and the sentence of every claim that does not hold."""

from __future__ import annotations

import math

import pytest
from matplotlib.colors import to_hex
from pictures import assert_readable

import fullscale.claims  # noqa: F401
import synthetic.worlds  # noqa: F401
from evidence.claim import Claim, Decision, Estimate, Finding, above, judge, never_above, within
from figures.verdicts import NETWORKS, VERDICTS, chapter_of, draw

SENTENCE = (
    "Of all the features that nobody excites, those of the largest networks fall silent first, under every optimizer"
)


def finding(name: str, rule: Decision, value: float, world: str = "silence") -> Finding:
    claim = Claim(name, f"{SENTENCE} ({name}).", "here", world, lambda data: data, rule)
    return judge(claim, Estimate(value, value - 0.02, value + 0.02, 5, "units", "95% t-interval over seeds"))


def many(count: int) -> list[Finding]:
    """Holds, holds, fails, undecided, in turn; in two chapters, and one of a user's own."""
    rules = [(within(0.95, 1.05), 1.0), (above(1), 3.0), (never_above(0), 5.0), (within(0, 1), 0.99)]
    homes = ("silence", "minibatch", "mine")
    return [finding(f"S{k} words", *rules[k % 4], homes[k % 3]) for k in range(count)]


@pytest.mark.parametrize("count", [1, 7, 80])
def test_bars_count_and_sentences_tell_what_does_not_hold(count: int) -> None:
    findings = many(count)
    picture = draw(findings)
    [axes] = picture.figure.axes
    bars: dict[str, list[float]] = {}
    for patch in axes.patches:
        bars.setdefault(to_hex(patch.get_facecolor()), []).append(patch.get_width())
    unit = sum(map(sum, bars.values())) / count
    for verdict, (colour, mark, _) in VERDICTS.items():
        number = sum(f.verdict == verdict for f in findings)
        assert sum(bars[to_hex(colour)]) == pytest.approx(number * unit)
        marked = [line for line in axes.lines if line.get_marker() == mark]
        assert len(marked) == (0 if verdict == "holds" else number)
    said = " ".join(text.get_text() for text in axes.texts)
    for f in findings:
        assert (f"{SENTENCE} ({f.claim.id})." in said) == (f.verdict != "holds")
        assert (f"({f.claim.id}: {f.estimate.value:g} [" in said) == (f.verdict != "holds")
    if count > 1:
        assert_readable(picture.figure)


def test_a_number_that_is_none_is_said_so() -> None:
    [axes] = draw([finding("X", within(0, 1), math.nan)]).figure.axes
    assert "(X: not a number)" in " ".join(text.get_text() for text in axes.texts)


def test_claims_stand_in_the_report_chapters() -> None:
    one, other = (chapter_of(finding("X", above(0), 1.0, world)) for world in ("silence", "laws"))
    assert one == other == "A weight that the loss no longer sees"
    assert chapter_of(finding("X", above(0), 1.0, "pocket")) == NETWORKS
    assert chapter_of(finding("X", above(0), 1.0, "mine")) == "mine"
    texts = [text.get_text() for text in draw(many(12)).figure.axes[0].texts]
    titles = ["A weight that the loss no longer sees", "Batch size, capacity, difficulty", "mine"]
    assert [text for text in texts if text in titles] == titles


def test_title_and_text_are_counted() -> None:
    picture = draw(many(8))
    assert picture.figure.axes[0].texts[0].get_text() == "Of 8 claims 4 hold, 2 undecided, 2 fail"
    assert picture.alt.endswith("Failing: S2 words, S6 words.")
