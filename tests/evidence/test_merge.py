"""Stores joined: order and repetition do not matter, equal results are kept once, and different ones are refused."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from console import refused, run
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.errors import InputError
from evidence.merge import Merged, merge
from evidence.store import Record, Store, record

# Rows of few runs, so that stores have them in common: the result follows from the run, all else is free.
rows = st.builds(
    lambda k, failed, finished, seconds, python: record(
        "train",
        {"k": k},
        summary={} if failed else {"error": k / 7, "seconds": seconds, "parts": [{"seconds": seconds}]},
        curves={} if failed else {"loss": [k, float("nan")]},
        status="failed" if failed else "diverged" if k == 3 else "done",
        error=python if failed else "",
    )._replace(finished=f"2026-01-0{finished}", environment=f'{{"python": "{python}"}}'),
    st.integers(0, 5), st.booleans(), st.integers(1, 3), st.integers(0, 2), st.sampled_from(["3.11", "3.12"]),
)  # fmt: skip
stores = st.lists(rows, max_size=6)


class Folder:
    """Stores by their names in one folder."""

    def __init__(self, place: str) -> None:
        self.place = Path(place)

    def made(self, name: str, records: Sequence[Record]) -> Path:
        with Store(self.place / name) as store:
            store.write(records)
        return self.place / name

    def joined(self, name: str, *sources: Path) -> Path:
        merge(sources, self.place / name)
        return self.place / name


def content(path: Path) -> list[Record]:
    with Store(path, reading=True) as store:
        return list(store.records())


@pytest.fixture(scope="module")
def hasty() -> Iterator[None]:
    """Stores do not wait for the disk."""
    begin = Store._begin

    def begun(store: Store, reading: bool) -> None:
        begin(store, reading)
        store._db.execute("pragma synchronous = off")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_begin", begun)
        yield


@pytest.mark.usefixtures("hasty")
@settings(max_examples=8)
@given(stores, stores, stores)
def test_neither_order_nor_grouping_nor_repetition_matters(a: Any, b: Any, c: Any) -> None:
    with TemporaryDirectory() as place:
        here = Folder(place)
        a, b, c = (here.made(name, records) for name, records in zip("abc", (a, b, c), strict=True))
        before = [path.read_bytes() for path in (a, b, c)]
        all_three = content(here.joined("abc", a, b, c))
        assert content(here.joined("cab", c, a, b)) == all_three
        assert content(here.joined("a (bc)", a, here.joined("bc", b, c))) == all_three
        assert content(here.joined("(ab) c", here.joined("ab", a, b), c)) == all_three
        again = here.made("again", content(a))
        assert content(here.joined("aa", a, again)) == content(a)
        assert merge([b, c], a) is not None  # into what is there
        assert content(a) == all_three
        assert [path.read_bytes() for path in (b, c)] == before[1:]
        results = {r.key: {x for x in content(b) + content(c) if x.key == r.key} for r in all_three}
        assert len(results) == len(all_three)
        assert {row.key for row in all_three} == {r.key for x in (a, b, c) for r in content(x)}
        assert not any(
            row.status == "failed" and any(x.status != "failed" for x in results[row.key]) for row in all_three
        )
        assert sorted(path.name for path in here.place.iterdir()) == sorted(
            ["a", "b", "c", "abc", "cab", "a (bc)", "bc", "(ab) c", "ab", "again", "aa"]
        )


def one(path: Path, status: str = "done", curves: Any = None, **summary: Any) -> Path:
    with Store(path) as store:
        store.put("train", {"optimizer": "adam", "lr": 0.001}, summary=summary, curves=curves or {}, status=status)
        store.put("train", {"optimizer": path.stem}, summary={}, curves={})
    return path


def test_two_results_of_one_run_are_refused_in_words(tmp_path: Path) -> None:
    a = one(tmp_path / "a.sqlite", error=0.25, seconds=3.0)
    others = {
        "error 0.25 and 0.26": one(tmp_path / "b.sqlite", error=0.26, seconds=3.0),
        "done and diverged": one(tmp_path / "c.sqlite", status="diverged", error=0.25),
        "loss null and [1, 2]": one(tmp_path / "d.sqlite", error=0.25, curves={"loss": [1, 2]}),
    }
    equal = one(tmp_path / "e.sqlite", error=0.25, seconds=4.0)
    for words, other in others.items():
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        said = (f"{a} and {other}", f"({words}) of train, lr 0.001, optimizer adam", "are accepted")
        refused(run("merge", equal, a, other, "--into", tmp_path / "deep" / "new.sqlite"), *said[1:], str(other))
        refused(run("merge", a, other, "--into", tmp_path / "new.sqlite"), *said)
        refused(run("merge", other, "--into", a), *said[1:])
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert merge([a, equal], tmp_path / "new.sqlite") == Merged(new=3, known=1)


@pytest.mark.parametrize(
    "case", ["missing", "folder", "text", "twice", "link", "target", "newer", "damaged", "no argument"]
)
def test_what_cannot_be_merged_is_refused_and_nothing_is_written(tmp_path: Path, case: str) -> None:
    a, bad = one(tmp_path / "a.sqlite"), tmp_path / "bad.sqlite"
    target = tmp_path / "new" / "target.sqlite"
    if case == "folder":
        bad.mkdir()
    elif case == "text":
        bad.write_text("no database" * 99)
    elif case == "link":
        os.link(a, bad)
    elif case in ("newer", "damaged"):
        one(bad)
        with sqlite3.connect(bad) as db:
            db.execute(
                "pragma user_version = 3" if case == "newer" else "update runs set curves = '[]' where rowid = 2"
            )
        db.close()
    elif case in ("twice", "target"):
        bad, target = (a, target) if case == "twice" else (one(bad), a)
    before = sorted(tmp_path.rglob("*")), a.read_bytes()
    words = {"missing": "is missing", "folder": "is no file", "text": "not a database", "newer": "newer version",
             "damaged": "is damaged", "no argument": "FILE"}  # fmt: skip
    sources = [a, bad] if case != "no argument" else []
    refused(run("merge", *sources, "--into", target), words.get(case, "same file"))
    assert (sorted(tmp_path.rglob("*")), a.read_bytes()) == before


def test_the_command_says_what_is_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = one(tmp_path / "a.sqlite", error=1), one(tmp_path / "b.sqlite", error=1)
    said = run("merge", a, b)
    assert (said.status, said.out, said.err) == (0, "3 rows were new, 1 known; all are in out/results.sqlite\n", "")
    assert len(content(tmp_path / "out" / "results.sqlite")) == 3
    assert run("merge", b).out.startswith("0 rows were new, 2 known")


def test_a_full_disk_leaves_the_target_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, target = tmp_path / "a.sqlite", one(tmp_path / "target.sqlite")
    with Store(a) as store:
        store.write(record("train", {"k": k}, summary={}, curves={"x": [0.1] * 1000}) for k in range(50))
    begin = Store._begin

    def small(store: Store, reading: bool) -> None:
        begin(store, reading)
        store._db.execute("pragma max_page_count = 20")

    monkeypatch.setattr(Store, "_begin", small)
    before = content(target)
    for into in (target, tmp_path / "new.sqlite"):
        with pytest.raises(InputError, match="has no room"):
            merge([a], into)
    assert content(target) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.sqlite", "target.sqlite"]
