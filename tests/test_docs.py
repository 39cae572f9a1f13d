"""The documentation says what the programs and the stored results say."""

from __future__ import annotations

import json
import math
import re
import tomllib

import pytest
from markdown_it import MarkdownIt
from transcripts import PAGES, ROOT, commands, printed

from docs import runs, tables, values
from docs.__main__ import main
from docs.fill import FINDINGS, blocks, filled
from dynamics.errors import InputError
from figures.paper import PAPER
from figures.paper_table import number

TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
STORED = json.loads(FINDINGS.read_text(encoding="utf-8"))
SHOWN = [(page, command, shown) for page, text in TEXTS.items() for command, shown in commands(text)]
# The worlds of these claims take a second each.
CHEAP = ("S8", "A1", "B1", "B3")


def test_there_are_transcripts_of_ten_recipes_and_of_conversions() -> None:
    said = [command for page, command, _ in SHOWN if page == "docs/recipes.md"]
    assert sum(command.startswith("explain") for command in said) >= 10
    assert sum(command.startswith("convert") for command in said) >= 4
    assert len({run.recipe for run in runs.runs()}) == 10
    assert len(runs.runs()) == sum("--schedule" in command for command in said if command.startswith("explain"))


@pytest.mark.parametrize(("page", "command", "shown"), SHOWN, ids=[f"{page}: {command}" for page, command, _ in SHOWN])
def test_the_transcript_is_what_is_printed(page: str, command: str, shown: str) -> None:
    # `python tests/transcripts.py` writes down what is printed now: read the difference first.
    assert printed(command).rstrip() == shown.rstrip()


@pytest.mark.parametrize("page", TEXTS)
def test_the_numbers_are_those_that_are_stored(page: str) -> None:
    # `make docs` writes them; without new results `python -m docs` does.
    assert filled(TEXTS[page]) == TEXTS[page]


@pytest.mark.parametrize("page", TEXTS)
def test_no_line_begins_with_a_mark_within_a_paragraph(page: str) -> None:
    # GitHub would end the paragraph there.
    assert not re.findall(r"^ *<!-- value.*", TEXTS[page], re.MULTILINE)


def test_a_changed_number_and_an_unknown_block_are_seen() -> None:
    good = filled("<!-- value:claim S3 --><!-- end -->")
    assert filled(good.replace("points", "apples")) == good != good.replace("points", "apples")
    assert (
        filled("<!-- value:count claims -->7<!-- end -->")
        == f"<!-- value:count claims -->{len(STORED['claims'])}<!-- end -->"
    )
    for unknown in (
        "value:claim S99",
        "value:weather",
        "value:left weather",
        "table:weather",
        "table:claims Z",
        "table:noted weather",
    ):
        with pytest.raises(InputError, match="is unknown"):
            filled(f"<!-- {unknown} -->\n<!-- end -->")


def test_every_claim_stands_in_the_results_once_and_every_noted_number_somewhere() -> None:
    used = [block for text in TEXTS.values() for block in blocks(text)]
    groups = [name.removeprefix("claims ") for kind, name in used if kind == "table" and name.startswith("claims ")]
    ids = [*(claim["id"] for claim in STORED["claims"]), *STORED["not judged yet"]]
    assert sorted(groups) == sorted(set(map(tables.group, ids)))
    noted = {name.removeprefix("noted ") for _, name in used if name.startswith("noted ")}
    assert noted == {*values.noted("values"), *values.noted("tables")}


def test_the_stored_claims_are_those_that_exist() -> None:
    import undertow.experiments  # noqa: F401
    from evidence.registry import CLAIMS

    compared = json.loads((ROOT / "fullscale" / "compared.json").read_text())["findings"]
    stored = [*(claim["id"] for claim in STORED["claims"]), *STORED["not judged yet"]]
    assert sorted(stored) == sorted({*CLAIMS, *(finding["id"] for finding in compared)})


def test_cheap_worlds_still_find_what_is_stored(tmp_path) -> None:
    stored = {claim["id"]: claim for claim in STORED["claims"]}
    again = json.loads(printed(f"claims {' '.join(CHEAP)} --json --out {tmp_path}", errors=False))
    assert len(again) >= 6
    for found in again:
        kept = stored[found["id"]]
        assert [found[name] for name in ("verdict", "n", "unit")] == [kept[name] for name in ("verdict", "n", "unit")]
        # Another processor rounds otherwise.
        for name in ("value", "low", "high"):
            assert math.isclose(found[name], kept[name], rel_tol=1e-6, abs_tol=1e-9), (found["id"], name)


def test_the_papers_table_links_every_claim_to_its_results_and_says_what_has_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = tables.table("paper").splitlines()[2:]
    headings = re.findall(r"^### (S\d+): ", TEXTS["docs/results.md"], re.MULTILINE)
    for line, row in zip(rows, PAPER, strict=True):
        number = row.id.rstrip("abc")
        assert line.startswith(
            f"| **[{row.id}](docs/results.md#{number.lower()}-" if number in headings else f"| **{row.id}**"
        )
    fewer = {id: claim for id, claim in values.claims().items() if id != "S1 toy"}
    monkeypatch.setattr(tables, "claims", lambda: fewer)
    assert tables.table("paper").splitlines()[2].split(" | ")[2] == "not tested yet"


@pytest.mark.parametrize(
    ("x", "width", "shown"),
    [
        *[(44.397, 3.2, "44.4"), (1.0009, 0.001, "1.0009"), (3903.4, 52437.0, "3,903"), (-0.2, 60.0, "0")],
        *[(2.17e-6, 6.4e-5, "2.2e-6"), (10.0, 0.0, "10"), (-0.948, 0.47, "-0.95")],
    ],
)
def test_numbers_have_the_digits_that_their_interval_bears(x: float, width: float, shown: str) -> None:
    assert number(x, width) == shown


@pytest.mark.parametrize("page", TEXTS)
def test_tables_have_as_many_cells_in_every_row(page: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(TEXTS[page])
    lines = TEXTS[page].splitlines()
    found = [lines[slice(*token.map)] for token in tokens if token.type == "table_open" and token.map]
    # A table that does not parse would be text, with its bars.
    assert not any(token.type == "inline" and "|---|" in token.content for token in tokens)
    for table in found:
        assert len({len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in table}) == 1, table[0]


@pytest.mark.parametrize("page", [*TEXTS, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


BLOCKS = [
    (page, block) for page, text in TEXTS.items() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}: {block.splitlines()[-1]}" for page, block in BLOCKS])
def test_the_python_runs(page: str, block: str) -> None:
    exec(compile(block, page, "exec"), {})


def test_the_readme_is_short_and_the_versions_agree() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_store_without_results_changes_nothing(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    before = FINDINGS.read_bytes()
    assert main(["--out", str(tmp_path)]) == 2
    assert "results.sqlite is missing" in capsys.readouterr().err
    assert FINDINGS.read_bytes() == before
