"""`undertow reproduce`, `claims` and `phase`: what they print, what they write, and what they do not do twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xarray as xr
from console import Said, refused, run
from PIL import Image

VERDICTS = dict.fromkeys(("S8 silent", "S8 selective", "A1", "B1", "B3"), "holds") | {"S8 always": "fails"}


@dataclass(frozen=True)
class Reproduced:
    """A first run of some toy worlds, and a second one over what it left, with what was stored after each."""

    folder: Path
    said: tuple[Said, Said]
    stored: tuple[list[Any], list[Any]]


@pytest.fixture(scope="module")
def two_worlds() -> Iterator[None]:
    """Commands find these two worlds only, beside the CNN's experiments: enough to see what they do, in seconds."""
    import undertow.experiments  # noqa: F401
    from evidence import registry

    kept = {n: e for n, e in registry.EXPERIMENTS.items() if e.world is None or n in ("silence", "selective")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "EXPERIMENTS", kept)
        yield


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory, two_worlds: None) -> Reproduced:
    from evidence.store import Store

    folder = tmp_path_factory.mktemp("reproduced") / "new" / "out"
    said, stored = [], []
    for _ in range(2):
        said.append(run("reproduce", "--only", "synthetic", "--out", folder))
        with Store(folder / "results.sqlite") as store:
            stored.append(store.rows("silence") + store.rows("selective"))
    return Reproduced(folder, (said[0], said[1]), (stored[0], stored[1]))


def verdicts(table: list[str]) -> dict[str, str]:
    found = {}
    for claim, estimate in zip(table[::2], table[1::2], strict=True):
        name, verdict, _ = re.split(r"  +", claim, maxsplit=2)
        found[name] = verdict
        assert re.search(r"\d.* \[\S+, \S+\] .*\(n = \d+, .+\)$", estimate)
    return found


def test_reproduce_prints_every_verdict_and_simulates_nothing_twice(reproduced: Reproduced) -> None:
    first, second = reproduced.said
    assert (first.status, first.problems, second.status) == (0, [], 0)
    *table, report = first.out.splitlines()
    assert report == f"report: {(reproduced.folder / 'report.html').resolve()}"
    assert verdicts(table) == VERDICTS
    before, after = reproduced.stored
    assert len(before) == 2
    assert after == before  # to the time at which they were stored
    assert second.out == first.out
    assert "stored already" in second.err


def test_reproduce_writes_a_report_that_needs_nothing_else(reproduced: Reproduced) -> None:
    page = (reproduced.folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script .*|link|img|iframe|object)\b", page)
    assert set(re.findall(r"""(?:src|href)\s*=\s*["']((?!#)[^"']*)""", page)) == {"explorer.html"}
    assert not re.search(r"@import|url\((?!#)", page)
    assert page.count("<svg") == page.count("</svg>") == 3
    for name, verdict in VERDICTS.items():
        id = name.lower().replace(" ", "-")
        assert page.count(f'<li id="claim-{id}"><b class="verdict {verdict}">{verdict}</b>') == 1
    assert re.findall(r'<tr id="(.*?)">', page) == ["paper-S8"]
    assert 'Of 6 claims <span class="holds">5 hold</span>, <span class="fails">1 fail</span>' in page
    assert (reproduced.folder / "explorer.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    for name in ("silence", "crossover", "verdicts"):
        picture = reproduced.folder / "figures" / name
        assert ElementTree.parse(picture.with_suffix(".svg")).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        with Image.open(picture.with_suffix(".png")) as image:
            image.load()
            assert min(image.size) > 100


def copied(reproduced: Reproduced, folder: Path) -> Path:
    """The stored results in a folder of one's own."""
    (folder / "results.sqlite").write_bytes((reproduced.folder / "results.sqlite").read_bytes())
    return folder


def test_fresh_simulates_again(reproduced: Reproduced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evidence import registry

    asked = []

    @dataclass(frozen=True)
    class Weak:
        """A world in which L2 pulls weakly: the new numbers must be those that are judged and kept."""

        def run(self, threads: int = 1) -> xr.Dataset:
            asked.append(threads)
            [row] = [row for row in reproduced.stored[0] if row.kind == "selective"]
            data = xr.Dataset.from_dict(row.curves)
            data["ratio"] *= 0.01
            return data

    weak = replace(registry.EXPERIMENTS["selective"], world=Weak())
    monkeypatch.setattr(registry, "EXPERIMENTS", {"selective": weak})
    monkeypatch.setattr("undertow.reproduce.processes", lambda *_, **__: ThreadPoolExecutor(1))
    arguments = ("reproduce", "--only", "synthetic", "--out", copied(reproduced, tmp_path))
    assert run(*arguments).out.count("holds") == 3
    assert asked == []
    fresh = run(*arguments, "--fresh")
    assert asked == [1]
    assert "S8 selective  fails" in fresh.out
    assert run(*arguments).out == fresh.out
    assert len(asked) == 1


def test_the_same_results_give_the_same_report(reproduced: Reproduced, tmp_path: Path) -> None:
    assert run("reproduce", "--only", "synthetic", "--out", copied(reproduced, tmp_path)).status == 0
    for name in ("report.html", "explorer.html", "figures/silence.svg", "figures/crossover.svg"):
        assert (tmp_path / name).read_bytes() == (reproduced.folder / name).read_bytes()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"report.html", "explorer.html", "figures", "results.sqlite"}


def test_the_papers_section_judges_all_claims_on_its_study(tmp_path: Path) -> None:
    from evidence.registry import find_claims
    from evidence.store import Store
    from fullscale.paper.kept import NAME
    from undertow.reproduce import _paper

    with Store(tmp_path / "results.sqlite") as store:
        section = _paper(store, tmp_path)
    assert {found.claim.id for found in section.findings} == {claim.id for claim in find_claims(experiments=[NAME])}
    assert len(section.pictures) == 3


def test_a_world_alone_brings_its_claims_and_pictures(reproduced: Reproduced, tmp_path: Path) -> None:
    said = run("reproduce", "--only", "selective", "--out", copied(reproduced, tmp_path))
    *table, _ = said.out.splitlines()
    assert set(verdicts(table)) == {"S8 selective", "S8 always", "B1", "B3"}
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"crossover", "verdicts"}
    assert "undertow reproduce --only selective --fresh" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_claims_prints_verdicts_why_and_data(reproduced: Reproduced, tmp_path: Path) -> None:
    out = ("--out", copied(reproduced, tmp_path))
    said = run("claims", "S8", "A1", *out)
    assert verdicts(said.out.splitlines()) == {name: VERDICTS[name] for name in VERDICTS if name[:2] in ("S8", "A1")}
    said = run("claims", "B1", "--why", *out)
    assert said.out.startswith("B1: holds\n")
    # The rule in words comes from the decision and the estimate's unit.
    assert "holds if: interval within [0.95, 1.05] simulated / predicted; margin chosen with the data\n" in said.out
    for words in ("source:", "formula:", "measured:", "n = 10", "samples:", "lr 0.001", "--only selective"):
        assert words in said.out
    found = {entry["id"]: entry for entry in json.loads(run("claims", "S8", "--json", *out).out)}
    assert {name: entry["verdict"] for name, entry in found.items()} == {n: v for n, v in VERDICTS.items() if "S8" in n}
    one = found["S8 selective"]
    assert len(one["samples"]) == one["n"] == 10
    assert one["low"] < one["value"] < one["high"]
    assert one["constants"]["lr"] == 1e-3
    said = run("claims", "S1", "A1", *out)
    assert said.status == 0
    assert any(line.startswith("not run yet, see undertow reproduce: S1") for line in said.out.splitlines())
    refused(run("claims", "S99", "--out", tmp_path / "new"), "'S99'", "S8, S9", "undertow claims")
    assert not (tmp_path / "new").exists()


def test_claims_takes_text_failures_and_the_papers_table(
    reproduced: Reproduced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("--out", copied(reproduced, tmp_path))
    said = run("claims", "S8", "--fails", *out)
    assert (said.status, set(verdicts(said.out.splitlines()))) == (0, {"S8 always"})
    assert set(verdicts(run("claims", "--grep", "GRADIENTS ARE large", *out).out.splitlines())) == {"S8 always"}
    assert [f["id"] for f in json.loads(run("claims", "S8", "--grep", "silent", "--json", *out).out)] == ["S8 silent"]
    assert run("claims", "A1", "--fails", *out).out == "of 1 claims none fails\n"
    assert json.loads(run("claims", "A1", "--fails", "--json", *out).out) == []
    monkeypatch.setenv("COLUMNS", "60")
    table = run("claims", "S8", "--paper", *out).out
    assert max(map(len, table.splitlines())) <= 60
    # What is not run yet is said within the same width; beside data for programs it is one line.
    said = run("claims", "S4", "S5", "--paper", *out).out
    assert max(map(len, said.splitlines())) <= 60
    missing = "not run yet, see undertow reproduce: S4, S4 schedule, S4 schedule strong, S5a, S5a steps, S5b, S5c"
    assert missing in " ".join(said.split())
    assert missing in run("claims", "S4", "S5", "--paper", "--json", *out).problems
    assert re.findall(r"^     toy +(\w+)", table, re.MULTILINE) == ["holds", "holds", "fails"]
    assert re.findall(
        r"^(S\w+) ", run("claims", "--paper", "--grep", "regularizes HARDER", *out).out, re.MULTILINE
    ) == ["S8"]
    none = run("claims", "S12", "S13", "--paper", "--fails", *out)
    assert none.out.startswith("of 2 rows none fails\n\n")
    [row] = json.loads(run("claims", "S8", "S5a", "--paper", "--fails", "--json", *out).out)
    assert [(a["id"], a["verdict"]) for a in row["toy"]["answers"]] == [("S8 always", "fails")]
    new = ("--out", tmp_path / "new")
    refused(run("claims", "--grep", "no such words", *new), "'no such words'", "a claim's id or sentence")
    refused(run("claims", "A1", "--paper", *new), "A1", "the paper's table")
    refused(run("claims", "--paper", "--grep", "no such words", *new), "'no such words'", "the paper's table")
    refused(run("claims", "--paper", "--why", *new), "--why", "--paper")
    assert not (tmp_path / "new").exists()


def test_kept_outcomes_bear_on_claims_and_constants_are_told_for_cnns_too(tmp_path: Path) -> None:
    from fullscale import lr_grid, pruning_claims, pruning_data

    said = run("claims", "S10", "S3 any lr steps", "--why", "--out", tmp_path)
    told = {part.split(":")[0]: part for part in said.out.split("\n\n")}
    kept = pruning_data.by_criterion(pruning_data.kept_rows())
    verdicts = {f.claim.id: f.verdict for f in pruning_claims.findings(kept)}
    assert len(verdicts) == 10
    for name in ("S10 l1", "S10 gamma"):
        assert told[name].startswith(f"{name}: {verdicts[name]}\n")
        assert (
            "experiment compare: kept fullscale/compared.json, name digits, bases {adam {name adam, optimizer adam, lr 0.01"
            in " ".join(told[name].split())
        )
        assert "again: undertow compare" in told[name]
    assert "strength 0.005" in " ".join(told["S3 any lr steps"].split())
    from evidence.registry import EXPERIMENTS

    assert EXPERIMENTS["pocket"].constants()["lr"] == {n: c["lr"] for n, c in lr_grid.kept()["chosen"].items()}


def test_phase_draws_a_diagram_and_says_how_much_it_did(tmp_path: Path) -> None:
    said = run("phase", "batch", "--cells", "4", "--seeds", "2", "--steps", "50", "--threads", "1", "--out", tmp_path)
    assert (said.status, said.problems) == (0, [])
    assert "32 lanes x 50 steps" in said.out
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"phase_batch.svg", "phase_batch.png"}
    for arguments, words in (
        (["nowhere"], ["'nowhere'", "selectivity, rate, batch, epoch"]),
        (["batch", "--cells", "0"], ["cells 0", "a whole number from 2"]),
        (["batch", "--device", "tpu"], ["'tpu'", "cpu and cuda"]),
    ):
        refused(run("phase", *arguments, "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()
