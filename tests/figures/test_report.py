"""The report: one page that needs nothing else, in which data are text and never markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import browser, needs_browser
from matplotlib import pyplot as plt
from worlds import cnn

from dynamics.errors import InputError
from evidence.claim import Claim, Estimate, Finding, above
from figures import report_runs
from figures.paper import PAPER
from figures.report import Section, write
from figures.style import InlineSvg, Picture, label_of, save, styled
from fullscale.digits_study import OPTIMIZERS
from fullscale.lr_grid import kept
from fullscale.studies.table import MEASURES

NASTY = "<script>alert('x')</script> & \"quoted\" <!--HASH--> <b>"
VOID = {"meta", "br", "link", "img", "input"}


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


def finding(verdict: str, text: str = "A sentence.", id: str = "S1 toy") -> Finding:
    claim = Claim(id, text, text, "silence", lambda data: data, above(0), "", text, text)
    return Finding(claim, Estimate(1.5, 1.25, 1.75, 7, text, text), verdict)  # type: ignore[arg-type]


def picture(name: str, folder: Path, text: str = "What is seen.") -> InlineSvg:
    with styled():
        figure, axes = plt.subplots()
        axes.plot([0, 1], [0, 1], "o-")
        axes.set_title(text)
    return save(Picture(name, figure, text, text), folder)


def part(pictures: list[InlineSvg], findings: list[Finding], *tables: str) -> Section:
    return Section("Part", "synthetic", findings, pictures, "", tables)


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
    classes = [attributes.get("class", "") for tag, attributes in page.tags if tag == "b"]
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert all(name.startswith("verdict ") for name in classes if name)
    # Title, contents, chapter of the fold, text, sentence (twice), source, formula, unit (three times), rule, caption.
    assert page.text.count(NASTY) >= 13
    [found] = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert found["aria-label"] == NASTY
    assert found["role"] == "img"


def verdicts(page: str, part: str) -> list[str]:
    """The verdicts in the table (paper), in the chapters or in the fold."""
    table, rest = page.split("</table>", 1)
    where = dict(zip(("paper", "chapters", "fold"), (table, *rest.split("<details", 1)), strict=True))
    return re.findall(r'<b class="verdict (\w+)">', where[part])


def test_a_finding_of_the_paper_is_in_the_table_in_its_chapter_and_in_the_fold_whatever_its_verdict(
    folder: Path,
) -> None:
    ids = ("S1 toy", "S2 toy", "S3 toy")
    findings = [finding(verdict, id=id) for verdict, id in zip(("holds", "fails", "undecided"), ids, strict=True)]
    findings.append(finding("fails", "A derived one.", "E8 lr"))
    text = written(folder, part([], findings))
    assert verdicts(text, "paper")[:1] == ["holds"]
    assert [v for v in verdicts(text, "paper") if v != "untested"] == ["holds", "fails", "undecided"]
    assert verdicts(text, "chapters") == ["holds", "fails", "undecided"]
    assert verdicts(text, "fold") == ["holds", "fails", "undecided", "fails"]
    assert Page(text).text.count("1.5 [1.25, 1.75] A sentence. (n = 7, A sentence.)") == 6
    assert "undertow reproduce --only synthetic --fresh" in text
    [fold] = [attributes for tag, attributes in Page(text).tags if tag == "details"]
    assert "open" not in fold


def test_what_a_network_contradicts_is_said_in_both_cells(folder: Path) -> None:
    text = written(folder, part([], [finding("holds", id="S2 toy"), finding("fails", id="S2")]))
    row = text.split('id="paper-S2"')[1].split("</tr>")[0]
    assert re.findall(r'class="against">([^<]+)<', row) == ["network: fails", "toy: holds"]
    text = written(folder, part([], [finding("holds", id="S2 toy"), finding("undecided", id="S2")]))
    assert 'class="against"' not in text


def test_a_part_shows_only_the_rows_it_bears_on_and_opens_the_fold(folder: Path) -> None:
    path = folder / "report.html"
    write(path, [part([], [finding("holds")])], part=True)
    text = path.read_text(encoding="utf-8")
    assert re.findall(r'<tr id="(.*?)">', text) == ["paper-S1"]
    assert "untested" not in verdicts(text, "paper")
    assert '<details id="all" open>' in text
    write(path, [part([], [])], part=True)
    assert "<table" not in path.read_text(encoding="utf-8")


def test_claims_stand_below_the_picture_in_which_they_are_seen(folder: Path) -> None:
    seen, other = finding("holds", "Seen in one."), finding("fails", "Seen nowhere.", "S2 toy")
    seen = replace(seen, claim=replace(seen.claim, figure="one"))
    text = written(folder, part([picture("one", folder), picture("two", folder)], [other, seen]))
    order = [text.index(words) for words in ('id="figure-one"', "Seen in one.", 'id="figure-two"', "Seen nowhere.")]
    assert order == sorted(order)
    links = dict(re.findall(r'<tr id="paper-(S[12])">.*?<a href="#(.*?)">chapter 1</a>', text))
    assert links == {"S1": "figure-one", "S2": "part"}


def test_the_page_begins_with_the_table_then_the_score_and_the_contents(folder: Path) -> None:
    path = folder / "report.html"
    sections = [
        part([], [finding("holds"), finding("fails", id="S2 toy")]),
        Section("More", "synthetic", [finding("undecided", id="E8 lr")], []),
    ]
    write(path, sections, picture("verdicts", folder), "explorer.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "Of 3 claims 1 hold, 1 fail, 1 undecided." in page.text
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]
    assert {link[1:] for link in links if link != "explorer.html"} <= ids
    order = [
        text.index(words) for words in ('class="paper"', "Of 3 claims", "explorer.html", "<nav", "<h2", "<details")
    ]
    assert order == sorted(order)
    assert text.index("figure-verdicts") > order[-1]
    assert "undertow claims &#x27;S1 toy&#x27; --why" in text


@needs_browser
def test_on_a_phone_verdicts_are_seen_figures_are_readable_and_the_search_searches(folder: Path) -> None:
    findings = [finding("holds"), finding("fails", "Momentum is a derived word.", "E8 lr")]
    address = f"file://{folder / 'report.html'}"
    written(folder, part([picture("one", folder)], findings, report_runs.removal(small())))
    with browser(folder / "profile") as driver:
        run = driver.execute_script
        screen = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        driver.get(address)
        assert run("return document.documentElement.scrollWidth") == 390
        ends = "e => Math.max(...[...e.querySelectorAll('.verdict')].map(v => v.getBoundingClientRect().right))"
        rights = run(f"return [...document.querySelectorAll('.paper tbody tr')].map({ends})")
        assert len(rights) == len(PAPER)
        assert all(0 < right <= 390 for right in rights)
        # A letter of nine points, which is 9 in the picture's own units, has nine pixels.
        assert run("return Math.min(...[...document.querySelectorAll('svg')].map(e => e.getScreenCTM().a))") > 0.99
        assert not run("return document.getElementById('all').open")
        run("location.hash = '#claim-e8-lr'")
        driver.execute_async_script("setTimeout(arguments[0], 50)")
        assert run("return document.getElementById('all').open")
        search = "const box = document.getElementById('search'); box.value = arguments[0]; box.dispatchEvent(new Event('input'));"
        seen = "return [...document.querySelectorAll('#all li')].filter(e => e.checkVisibility()).map(e => e.id)"
        for words, left in (
            ("FAILS momentum", ["claim-e8-lr"]),
            ("nowhere", []),
            ("", ["claim-s1-toy", "claim-e8-lr"]),
        ):
            assert run(search + seen, words) == left
        assert run("return document.getElementById('shown').textContent") == "2 of 2"
        assert driver.get_log("browser") == []


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
    page = Page(written(folder, part(pictures, [finding("holds")], report_runs.removal(small()))))
    [policy] = [str(a["content"]) for tag, a in page.tags if "http-equiv" in a]
    assert policy.startswith("default-src 'none';")
    assert "script-src 'sha256-" in policy  # the page's own script and no other
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object", "image")
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")


def small():
    return cnn(dict(zip(OPTIMIZERS, (0.0, 0.01, 0.2, 0.4), strict=True)))


def test_what_was_removed_is_told_for_each_optimizer_and_strength(folder: Path) -> None:
    data = small()
    data["removed"].loc[{"optimizer": "adam", "strength": 5e-3}] = 0.375
    data["difference"].loc[{"optimizer": "adam", "strength": 5e-3, "seed": 2}] = 0.5
    text = written(folder, part([], [], report_runs.removal(data)))
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
    section = part([], [], report_runs.grid(kept()))
    text = written(folder, section)
    rows = [re.findall(r'<td class="number">(.*?)</td>', row) for row in re.findall("<tr>.*?</tr>", text, re.DOTALL)]
    rows = [row for row in rows if row]
    assert len(rows) == len(kept()["cells"])
    chosen = {row[0]: row[1] for row in rows if row[-1] == "chosen"}
    assert chosen == {label_of(name): f"{cell['lr']:g}" for name, cell in kept()["chosen"].items()}
    assert "chosen by looking at where sparsity emerges" in text


def test_the_papers_table_marks_the_lowest_error_and_counts_what_diverged(folder: Path) -> None:
    def cell(optimizer: str, coupling: str, strength: float, *errors: float) -> dict[str, object]:
        whole = len(errors) == 3
        measure = {"mean": sum(errors) / 3 if whole else None, "low": 0.0 if whole else None, "high": 0.5}
        axes = {"optimizer": optimizer, "coupling": coupling, "strength": strength, "lr": 0.3}
        return {"cell": axes, "runs": 3, "done": len(errors)} | dict.fromkeys(MEASURES, measure)

    cells = [
        cell("sgd", "l2", 1e-3, 0.1, 0.1, 0.1),
        cell("sgd", "none", 0.0, 0.1, 0.2, 0.3),
        cell("adam", "l2", 1e-3, 0.2, 0.3),
        cell("adam", "l2", 3e-3, 0.4, 0.4, 0.4),
    ]
    text = written(folder, part([], [], report_runs.strengths(cells)))
    rows = [re.findall(r'<td class="number">(.*?)</td>', row) for row in re.findall("<tr>.*?</tr>", text, re.DOTALL)]
    assert [row for row in rows if row] == [
        ["SGD, 0.3", "no regularizer", "3 of 3", *["20.0% [0.0, 50.0]"] * 3],
        [f"<b>{x}</b>" for x in ("SGD, 0.3", "L2 in the gradient, 0.001", "3 of 3", *["10.0% [0.0, 50.0]"] * 3)],
        ["Adam, 0.3", "L2 in the gradient, 0.001", "2 of 3", *["-"] * 3],
        [f"<b>{x}</b>" for x in ("Adam, 0.3", "L2 in the gradient, 0.003", "3 of 3", *["40.0% [0.0, 50.0]"] * 3)],
    ]
