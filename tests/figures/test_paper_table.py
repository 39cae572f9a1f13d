"""The paper's table: what stands in a cell, what is left out, and how it is printed at any width."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import undertow.experiments  # noqa: F401
from evidence.claim import Claim, Estimate, Finding, above, every_cell
from evidence.registry import CLAIMS, worlds
from figures.paper import PAPER, Row, Shown
from figures.paper_table import NOT_YET, in_brief, lines
from undertow.commands import paper

VERDICTS = ("holds", "fails", "undecided")
ROW = Row(
    "S99",
    "a word",
    "a sentence",
    "a formula",
    (Shown("T1", about="one"), Shown("T2", about="two")),
    (Shown("N1", data="digits", about="one"), Shown("N2", about="two")),
    no_toy="no toys",
    no_cnn="no nets",
    left="the rest",
)
IDS = ("T1", "T2", "N1", "N2")


def estimate(interval: str = "95% t-interval over seeds") -> Estimate:
    return Estimate(0.5, 0.25, 0.75, 8, "points", interval)


@given(st.dictionaries(st.sampled_from(IDS), st.sampled_from(VERDICTS)))
def test_a_verdict_is_marked_exactly_where_the_other_cell_says_the_opposite_of_the_same(
    verdicts: dict[str, str],
) -> None:
    [line] = lines({id: (v, estimate()) for id, v in verdicts.items()}, IDS, [ROW])  # type: ignore[misc]
    assert [answer.shown.id for answer in line.answers] == list(IDS)
    for toy, network in zip(line.toy.answers, line.cnn.answers, strict=True):
        opposite = {toy.verdict, network.verdict} == {"holds", "fails"}
        assert toy.against == (f"network: {network.verdict}" if opposite else "")
        assert network.against == (f"toy: {toy.verdict}" if opposite else "")
    for answer in line.answers:
        assert answer.verdict == verdicts.get(answer.shown.id, "")
        assert answer.number == ("0.50 points [0.25, 0.75], n = 8 seeds" if answer.verdict else NOT_YET)


def test_what_hangs_on_the_length_of_runs_contradicts_no_toy_world() -> None:
    row = next(row for row in PAPER if row.id == "S3")
    verdicts = {"S3 toy": "holds", "S3": "undecided", "S3 any lr": "holds", "S3 any lr steps": "fails"}
    found = {id: (verdict, estimate()) for id, verdict in verdicts.items()}
    [line] = lines(found, found, [row])  # type: ignore[arg-type]
    assert [answer.against for answer in line.answers] == [""] * 4
    [line] = lines(found | {"S3": ("fails", estimate())}, found, [row])  # type: ignore[arg-type]
    assert [answer.against for answer in line.answers] == ["network: fails", "toy: holds", "", ""]


def test_cells_that_are_left_out_are_named_beside_the_worst() -> None:
    cells = every_cell({"adam 0.1": [1, 2, 3], "adam 0.2": [4, 5, 6]}, "points", left_out={"all of sgd (1, 3)": 2})
    brief = in_brief(above(0).worst(cells))
    assert brief.endswith("n = 3 seeds; worst of 2, 2 left out (all of sgd (1, 3)): adam 0.1")


def test_what_is_no_claim_is_left_out_and_an_empty_cell_says_why() -> None:
    [line] = lines({}, (), [ROW])
    assert line.answers == ()
    assert (line.toy.untested, line.cnn.untested) == ("no toys", "no nets; the rest")
    [line] = lines({}, IDS, [ROW])
    assert (line.toy.untested, line.cnn.untested) == ("", "the rest")
    assert line.cnn.answers[0].told == "digits"


def test_a_star_marks_an_interval_of_all_samples_and_no_estimate_is_said() -> None:
    assert in_brief(estimate("smallest to largest"), 100, "%") == "50% [25, 75]*, n = 8"
    nothing = Estimate(float("nan"), 0, 0, 8, "points", "no variation")
    assert in_brief(nothing) == "no estimate (no variation)"


def test_every_row_shows_what_bears_on_it_and_only_the_study_on_cifar_may_be_absent() -> None:
    assert [row.id for row in PAPER] == [f"S{n}" for n in (1, 2, 3, 4, "5a", "5b", "5c", *range(6, 14))]
    absent = {one.id for row in PAPER for one in row.toy + row.cnn if one.id not in CLAIMS}
    assert not [id for id in absent if " cifar" not in id]
    for row in PAPER:
        for shown, toy in ((row.toy, True), (row.cnn, False)):
            own = [claim.id for claim in CLAIMS.values() if claim.id == row.id or claim.id.startswith(f"{row.id} ")]
            bearing = {id for id in own if (CLAIMS[id].experiment in worlds()) == toy}
            there = {one.id for one in shown if one.id in CLAIMS}
            assert there <= bearing
            assert bool(there) == bool(bearing), row.id
            assert f"{row.id} cifar" not in bearing - there  # a primary contrast of that study
            assert there or not toy or row.no_toy


@settings(max_examples=15)
@given(st.integers(1, 160), st.booleans())
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width: int, found: bool) -> None:
    findings = [
        Finding(Claim(id, "", "", "", lambda data: data, above(0)), estimate(), "fails")
        for id in (CLAIMS if found else ())
    ]
    table = paper.made(paper.bearing([], ""), findings, fails=False)
    text = paper.as_text(table, width)
    longest = max(map(len, text.split()))  # which stays whole
    assert max(map(len, text.splitlines())) <= max(width, longest)
    kept = "".join(text.split())
    for row in PAPER:
        for words in (row.id, row.says, row.formula):
            assert "".join(words.split()) in kept
    judged = [answer for line in table for answer in line.answers if answer.verdict]
    assert kept.count("fails") == len(judged) + 2  # two in the foot
    assert bool(judged) == found


def test_the_table_as_data_has_every_row_and_null_for_what_is_not_judged() -> None:
    rows = paper.as_data(paper.made(paper.bearing([], ""), [], fails=False))
    assert [row["id"] for row in rows] == [row.id for row in PAPER]
    assert {answer["verdict"] for row in rows for answer in row["toy"]["answers"]} == {None}
    assert rows[-1]["toy"]["not_tested"] == "toy worlds have no test images"
