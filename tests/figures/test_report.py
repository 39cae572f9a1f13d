"""The report: one page that needs nothing else, in which data are text and never markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import xarray as xr
from matplotlib import pyplot as plt
from worlds import cnn

from dynamics.errors import InputError
from evidence.claim import Claim, Estimate, Finding, above
from figures.report import Section, write
from figures.style import InlineSvg, Picture, label_of, save, styled
from fullscale.digits_study import OPTIMIZERS
from fullscale.lr_grid import kept

NASTY = "<script>alert('x')</script> & \"quoted\" <b>"
VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """What a browser would see: tags with attributes, in order, and whether each one was closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def finding(verdict: str, text: str = "A sentence.") -> Finding:
    claim = Claim("S0", text, text, "silence", lambda data: data, above(0), "", text, text)
    return Finding(claim, Estimate(1.5, 1.25, 1.75, 7, text, text), verdict)  # type: ignore[arg-type]


def picture(name: str, folder: Path, text: str = "What is seen.") -> InlineSvg:
    with styled():
        figure, axes = plt.subplots()
        axes.plot([0, 1], [0, 1], "o-")
        axes.set_title(text)
    return save(Picture(name, figure, text, text), folder)


def part(pictures: list[InlineSvg], findings: list[Finding], data: xr.Dataset | None = None) -> Section:
    return Section("Part", "synthetic", findings, pictures, "", data)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    plt.close("all")


def written(folder: Path, *sections: Section) -> str:
    path = folder / "report.html"
    write(path, list(sections))
    return path.read_text(encoding="utf-8")


def test_data_are_text_and_never_markup(folder: Path) -> None:
    section = Section(NASTY, "synthetic", [finding("holds", NASTY)], [picture("one", folder, NASTY)], NASTY)
    page = Page(written(folder, section))
    assert not [tag for tag, _ in page.tags if tag in ("script", "b")]
    assert page.text.count(NASTY) >= 9  # title, contents, text, sentence, source, formula, unit, rule, caption
    [found] = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert found["aria-label"] == NASTY
    assert found["role"] == "img"


def test_every_finding_is_there_whatever_its_verdict(folder: Path) -> None:
    findings = [finding(verdict) for verdict in ("holds", "fails", "undecided")]
    page = Page(written(folder, part([], findings)))
    cells = [attributes.get("class") for tag, attributes in page.tags if tag == "td" and "class" in attributes]
    assert cells == ["holds", "fails", "undecided"]
    assert page.text.count("1.5 [1.25, 1.75] A sentence. (n = 7, A sentence.)") == 3
    assert "undertow reproduce --only synthetic --fresh" in page.text


def test_claims_stand_below_the_picture_in_which_they_are_seen(folder: Path) -> None:
    seen, other = finding("holds", "Seen in one."), finding("fails", "Seen nowhere.")
    seen = replace(seen, claim=replace(seen.claim, figure="one"))
    text = written(folder, part([picture("one", folder), picture("two", folder)], [other, seen]))
    order = [text.index(words) for words in ('id="figure-one"', "Seen in one.", 'id="figure-two"', "Seen nowhere.")]
    assert order == sorted(order)


def test_the_page_begins_with_the_score_and_the_contents(folder: Path) -> None:
    path = folder / "report.html"
    sections = [
        part([], [finding("holds"), finding("fails")]),
        Section("More", "synthetic", [finding("undecided")], []),
    ]
    write(path, sections, picture("verdicts", folder), "explorer.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "Of 3 claims 1 hold, 1 fail, 1 undecided." in page.text
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links[0] == "explorer.html"
    assert {link[1:] for link in links[1:]} <= ids  # type: ignore[index]
    assert text.index("figure-verdicts") < text.index("<h2")
    assert "undertow claims S0 --why" in page.text


def test_an_estimate_never_stands_without_its_n_and_interval() -> None:
    assert Estimate(0.12345, -1, 2e9, 3, "steps", "95% t-interval over seeds").in_words() == (
        "0.1235 [-1, 2e+09] steps (n = 3, 95% t-interval over seeds)"
    )


def test_pictures_do_not_refer_into_each_other(folder: Path) -> None:
    pictures = [picture("one", folder), picture("two", folder)]
    text = written(folder, part(pictures, []))
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 10
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert len(references) > 10
    assert {one or other for one, other in references} <= set(ids)


def test_the_page_fetches_nothing(folder: Path) -> None:
    pictures = [picture("one", folder)]
    page = Page(written(folder, part(pictures, [finding("holds")], small())))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "image")
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")


def small():
    return cnn(dict(zip(OPTIMIZERS, (0.0, 0.01, 0.2, 0.4), strict=True)))


def test_what_was_removed_is_told_for_each_optimizer_and_strength(folder: Path) -> None:
    data = small()
    data["removed"].loc[{"optimizer": "adam", "strength": 5e-3}] = 0.375
    data["difference"].loc[{"optimizer": "adam", "strength": 5e-3, "seed": 2}] = 0.5
    text = written(folder, part([], [], data))
    rows = [re.findall(r'<td class="number">(.*?)</td>', row) for row in re.findall("<tr>.*?</tr>", text, re.DOTALL)]
    cells = {(row[0], row[1]): row[2:] for row in rows if row}
    assert set(cells) == {(label_of(name), strength) for name in OPTIMIZERS for strength in ("0", "0.005")}
    lr, _, removed, left, errors, differences = cells["Adam", "0.005"]
    assert (lr, removed, left, errors) == ("0.003", "37.5%", "50.0%, 50.0%", "4.00%, 5.00%")
    assert differences == "5.0e-01, 3.0e-02"  # the largest of all seeds


def test_the_page_is_replaced_in_one_step_and_nothing_is_left_beside_it(folder: Path) -> None:
    section = Section("First", "synthetic", [finding("holds")], [])
    first = written(folder, section)
    assert written(folder, section) == first
    assert [path.name for path in folder.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_said_and_leaves_nothing(folder: Path) -> None:
    (folder / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html cannot be written"):
        write(folder / "report.html", [])
    assert [path.name for path in folder.iterdir()] == ["report.html"]


def test_the_grid_is_told_cell_by_cell_with_the_chosen_ones_marked(folder: Path) -> None:
    section = Section("Part", "fullscale", [], [], "", None, kept())
    text = written(folder, section)
    rows = [re.findall(r'<td class="number">(.*?)</td>', row) for row in re.findall("<tr>.*?</tr>", text, re.DOTALL)]
    rows = [row for row in rows if row]
    assert len(rows) == len(kept()["cells"])
    chosen = {row[0]: row[1] for row in rows if row[-1] == "chosen"}
    assert chosen == {label_of(name): f"{cell['lr']:g}" for name, cell in kept()["chosen"].items()}
    assert "chosen by looking at where sparsity emerges" in text
