"""The store: what goes in comes out, found by what was asked for, and no file of others is touched."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import fields, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.errors import InputError
from evidence import store as module
from evidence.store import Record, Row, Store, canonical, environment, key_of, record
from fullscale.spec import RunSpec

ROOT = str(Path(__file__).resolve().parents[2])
finite = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
leaves = st.none() | st.booleans() | st.integers() | finite | st.text()
plain = st.dictionaries(
    st.text(), st.recursive(leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3))
)
SPEC = RunSpec("digest", 0.5, "adam", "l2", 1e-3, 1e-4, 16, 3, 0, hyper=(("beta1", 0.8),), model="vgg11")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def turned(value: Any) -> Any:
    """The same data with every dictionary in the opposite order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(plain)
def test_the_order_in_which_a_spec_is_written_does_not_matter(spec: dict[str, Any]) -> None:
    assert canonical(turned(spec)) == canonical(spec)
    assert key_of("train", turned(spec)) == key_of("train", spec)
    assert json.loads(canonical(spec)) == spec


@given(plain, plain)
def test_different_specs_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = canonical(one) == canonical(other)
    assert (key_of("train", one) == key_of("train", other)) == same
    assert key_of("train", one) != key_of("tune", one)


CHANGED: dict[str, Any] = {
    "digest": "other", "width": 0.25, "optimizer": "rmsprop", "coupling": "decoupled_lr", "lr": 2e-3, "strength": 2e-4,
    "batch": 17, "epochs": 4, "seed": 1, "schedule": "cosine", "hyper": (("beta1", 0.7),), "measure_every": 2,
    "validation": 0.1, "model": "vgg16", "head": "imagenet", "augment": True, "precision": "bf16", "start": "other",
    "thresholds": True, "size": 16, "classes": ("a", "b"), "label_noise": 0.1, "held_out": 0.1, "watch": True,
    "record": True,
}  # fmt: skip


def test_a_change_of_any_field_or_of_the_meaning_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(CHANGED) | {"processes", "sync_batchnorm"} == {field.name for field in fields(SPEC)}
    shared = replace(SPEC, processes=2)
    specs = [SPEC, shared, replace(shared, sync_batchnorm=True)]
    for name, value in CHANGED.items():
        specs.append(replace(SPEC, **{name: value} | ({} if name != "optimizer" else {"hyper": ()})))
    keys = {key_of("train", spec.as_dict()) for spec in specs}
    monkeypatch.setattr(module, "MEANING", module.MEANING + 1)
    assert len(keys | {key_of("train", SPEC.as_dict())}) == 4 + len(CHANGED)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            key_of("train", {"lr": value})


@given(spec=plain, summary=plain, curves=plain, error=st.text())
def test_what_goes_in_comes_out(spec: dict[str, Any], summary: Any, curves: Any, error: str) -> None:
    with Store(Path(":memory:")) as store:
        assert store.get("train", spec) is None
        put = store.put("train", spec, summary=summary, curves=curves, status="diverged", error=error)
        found = store.get("train", spec)
        assert found == put
        assert (found.spec, found.summary, found.curves) == (spec, summary, curves)
        assert (found.key, found.kind, found.status, found.error) == (key_of("train", spec), "train", "diverged", error)
        assert found.environment == environment()
        assert {"python", "machine", "system", "numpy", "torch", "undertow"} <= set(found.environment)
        assert store.get("tune", spec) is None


def test_numbers_come_back_to_the_last_bit_and_reading_changes_nothing(path: Path) -> None:
    curves = {"loss": [0.1 + 0.2, 1e-308, 1.7976931348623157e308, math.nan]}
    with Store(path) as store:
        store.put("train", {}, summary={}, curves=curves)
    before = path.read_bytes()
    with Store(path) as store:
        [row] = store.rows("train")
    assert row.curves["loss"][:3] == curves["loss"][:3]
    assert math.isnan(row.curves["loss"][3])
    assert path.read_bytes() == before


def test_a_row_of_equal_spec_is_replaced_and_a_failed_one_counts_as_not_stored(path: Path) -> None:
    with Store(path) as store:
        store.put("train", {"lr": 1}, summary={}, curves={}, status="failed", error="no memory")
        assert store.get("train", {"lr": 1}) is None
        assert [row.error for row in store.rows("train")] == ["no memory"]
        for error in (1, 2):
            store.put("train", {"lr": 1}, summary={"error": error}, curves={})
            assert store.get("train", {"lr": 1}).summary == {"error": error}
        store.put("train", {"lr": 2}, summary={}, curves={})
        store.put("tune", {"lr": 1}, summary={}, curves={})
        with pytest.raises(ValueError, match="'finished'"):
            store.put("tune", {"lr": 2}, summary={}, curves={}, status="finished")
        assert [len(store.rows(kind)) for kind in ("train", "tune", "other")] == [2, 1, 0]


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "results.sqlite"):
        with pytest.raises(InputError, match="cannot be used"):
            Store(path)


def test_others_read_whole_rows_while_runs_are_stored(path: Path) -> None:
    done, problems, seen = [], [], [0]

    def read() -> None:
        try:
            while not done:
                with Store(path) as reader:
                    rows = reader.rows("train")
                    problems.extend(r for r in rows if r.summary != {"size": len(r.curves["loss"])})
                    seen.append(len(rows))
        except Exception as error:
            problems.append(error)

    with Store(path) as store:
        readers = [Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for k in range(30):
            store.put("train", {"k": k}, summary={"size": 500 + k}, curves={"loss": [0.5] * (500 + k)})
        done.append(True)
        for reader in readers:
            reader.join()
        assert len(store.rows("train")) == 30
    assert problems == []
    assert max(seen) > 0


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("curves", "{x"),
        ("summary", "x"),
        *(
            (name, shape)
            for name in ("spec", "summary", "curves", "environment")
            for shape in ("[]", "1", '"x"', "null")
        ),
        ("environment", '{"python": 3}'),
    ],
)
def test_a_damaged_row_is_said_in_one_line(path: Path, column: str, text: str) -> None:
    with Store(path) as store:
        store.put("kind", {"a": 1}, summary={}, curves={})
    changed(path, f"update runs set {column} = ?", text)
    for read in (lambda store: store.get("kind", {"a": 1}), lambda store: store.rows("kind")):
        with (
            Store(path) as store,
            pytest.raises(InputError, match=r"^store .* is damaged or locked .*: a whole one") as said,
        ):
            read(store)
        assert "\n" not in str(said.value)


def changed(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path) as db:
        db.execute(statement, values)
    db.close()


def test_without_curves_none_is_read(path: Path) -> None:
    with Store(path) as store:
        put = [store.put("train", {"k": k}, summary={"k": k}, curves={"loss": [k]}) for k in range(3)]
    changed(path, "update runs set curves = 'damaged'")
    with Store(path) as store:
        # Runs that ended within one millisecond stand in the order of their keys.
        bare = sorted((replace(row, curves={}) for row in put), key=lambda row: (row.finished, row.key))
        assert store.rows("train", curves=False) == bare
        assert store.find([row.key for row in put], curves=False).keys() == {row.key for row in put}


@given(st.integers(0, 1203), st.sampled_from([1, 500, 1203]))
def test_any_number_of_keys_is_found(stored: int, asked: int) -> None:
    keys = [key_of("train", {"k": k}) for k in range(asked)]
    with Store(Path(":memory:")) as store:
        store.write(record("train", {"k": k}, summary={}, curves={}) for k in range(stored))
        assert store.find(keys).keys() == set(keys[:stored])


FORMAT_1 = """create table runs (key text primary key, kind text not null, spec text not null,
    status text not null check (status in ('done', 'diverged', 'failed')), summary text not null, curves text not null,
    environment text not null, error text not null, finished text not null) strict"""


def test_a_store_of_format_1_answers_and_takes_more(path: Path) -> None:
    spec, key = {"lr": 1}, key_of("train", {"lr": 1})
    values = (key, "train", '{"lr":1}', "done", '{"a": 1}', '{"loss": [2]}', '{"python": "3"}', "", "2026-01-01")
    changed(path, FORMAT_1)
    changed(path, f"insert into runs values ({', '.join('?' * 9)})", *values)
    changed(path, "pragma user_version = 1")
    for reading in (True, False):
        with Store(path, reading) as store:
            found = store.get("train", spec)
            assert found == Row(key, "train", spec, "done", {"a": 1}, {"loss": [2]}, {"python": "3"}, "", "2026-01-01")
    with Store(path) as store:
        put = store.put("train", {"lr": 2}, summary={"b": 2}, curves={"loss": [3]})
        assert store.rows("train") == [found, put]
        with pytest.raises(InputError, match=r"\(format 7\): up to 2 is accepted"):
            changed(path, "pragma user_version = 7"), Store(path)


@pytest.mark.parametrize("reading", [True, False])
@pytest.mark.parametrize("case", ["text", "other", "other, same number", "no table"])
def test_a_file_that_is_no_store_is_refused_as_it_is(path: Path, case: str, reading: bool) -> None:
    if case == "text":
        path.write_text("notes, not a database, and long enough to have a header of a hundred bytes " * 3)
    else:
        changed(path, "create table notes (text)" if "other" in case else "create table runs (key)")
        changed(path, f"pragma user_version = {0 if case == 'other' else 1}")
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf"^store {path} .*accepted$"):
        Store(path, reading)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("before", ["user_version", "sqlite_master", "table_info", "begin immediate"])
def test_two_processes_may_make_one_store(path: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    connect = sqlite3.connect

    class Overtaken(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if before in sql:
                self._overtake()
            return super().execute(sql, *values)

        def _overtake(self) -> None:
            with closing(connect(path, timeout=0)) as other, suppress(sqlite3.OperationalError), other:
                other.execute("begin immediate")
                other.execute(module._TABLE)
                other.execute(f"pragma user_version = {module.SCHEMA}")

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=Overtaken, **options))
    with Store(path) as store:
        store.put("coin", {"flips": 1}, summary={}, curves={})
        assert store.get("coin", {"flips": 1})


def test_reading_makes_and_changes_nothing(path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        Store(path, reading=True)
    with pytest.raises(InputError, match="is no file"):
        Store(path.parent, reading=True)
    path.touch()
    with pytest.raises(InputError, match="no table of runs"):
        Store(path, reading=True)
    assert path.read_bytes() == b""
    with Store(path) as store:
        put = store.put("train", {}, summary={}, curves={})
    before = path.read_bytes()
    with Store(path, reading=True) as store:
        assert store.rows("train") == [put]
        assert store.rows("tune") == []
        with pytest.raises(InputError, match="readonly"):
            store.put("train", {}, summary={}, curves={})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from evidence.store import Store, record
with Store(Path(sys.argv[1])) as store:
    store.put("train", {"k": -1}, summary={}, curves={})
    store._db.execute("pragma cache_size = 2")  # so that half of it is in the file, and not only in memory
    def endless():
        for k in range(400):
            yield record("train", {"k": k}, summary={}, curves={"loss": [0.5] * 500})
        os.kill(os.getpid(), signal.SIGKILL)
    store.write(endless())
"""


@pytest.mark.parametrize("reading", [True, False])
def test_a_killed_writer_leaves_a_store_as_it_was(path: Path, reading: bool) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, env=os.environ | {"PYTHONPATH": ROOT})
    assert done.returncode == -signal.SIGKILL
    assert path.stat().st_size > 100_000
    assert len(list(path.parent.iterdir())) == 2  # a journal of what is to be taken back
    with Store(path, reading) as store:
        assert [row.spec for row in store.rows("train")] == [{"k": -1}]
    assert list(path.parent.iterdir()) == [path]


def test_news_are_what_others_have_stored(path: Path) -> None:
    with Store(path) as store, Store(path) as other:
        first = store.put("train", {"k": 0}, summary={}, curves={})
        assert store.news() == [first.key]
        assert store.news() == []
        store.put("train", {"k": 1}, summary={}, curves={})
        assert store.news() == []
        theirs = [other.put("train", {"k": k}, summary={}, curves={}).key for k in (0, 2)]
        assert set(theirs) <= set(store.news())
        assert store.news() == []


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("create trigger t after insert on runs begin delete from runs; end", "holds a trigger 't'"),
        ("create view v as select 1", "holds a view 'v'"),
        ("drop table runs; create view runs as select 1 as key", "holds no table of runs"),
        ("alter table runs add column x text", "a table of runs with other columns"),
        ("pragma user_version = -5", r"has no format \(-5\): one from 1 to 2 is accepted"),
    ],
)
def test_what_runs_by_itself_and_other_tables_are_refused(path: Path, sql: str, words: str) -> None:
    with Store(path) as store:
        store.put("kind", {}, summary={}, curves={})
    with closing(sqlite3.connect(path)) as db:
        db.executescript(sql)
    for reading in (True, False):
        with pytest.raises(InputError, match=words) as said:
            Store(path, reading)
        assert "\n" not in str(said.value)


def test_what_is_no_file_is_left_alone(path: Path) -> None:
    os.mkfifo(path)
    device = path.with_name("device")
    device.symlink_to("/dev/null")
    for place in (path, device, Path("x" * 5000)):
        for reading in (True, False):
            with pytest.raises(InputError, match=r"is no file|cannot be used|is missing"):
                Store(place, reading)


@pytest.mark.parametrize("part", ["summary", "curves"])
@pytest.mark.parametrize("value", [10**5000, {1}, float], ids=["long", "set", "class"])
def test_what_is_no_plain_data_is_not_stored(path: Path, part: str, value: Any) -> None:
    with Store(path) as store, pytest.raises(InputError, match=f"^{part} .*as JSON holds them"):
        store.put("kind", {"a": 1}, **{"summary": {}, "curves": {}, part: {"a": value}})
    assert not path.exists()


@pytest.mark.parametrize("column", ["spec", "summary"])
@pytest.mark.parametrize("text", ['{"a":' * 40 + "1" + "}" * 40, '{"a": 1%s}' % ("0" * 400), "[" * 100_000])
def test_data_that_nobody_can_calculate_with_are_refused(path: Path, column: str, text: str) -> None:
    with Store(path) as store:
        store.put("kind", {"a": 1}, summary={}, curves={})
        changed(path, f"update runs set {column} = ?", text)
        with pytest.raises(InputError, match="is damaged or locked"):
            store.rows("kind")


def test_whatever_byte_of_the_file_is_changed_it_is_read_or_refused_in_one_line(path: Path) -> None:
    with Store(path) as store:
        store.put("kind", {"a": 1}, summary={"b": [1.5]}, curves={"c": [1]})
    content, draws, seen = path.read_bytes(), random.Random(0), set[str]()
    used = [place for place, byte in enumerate(content) if byte]
    for place in [*draws.sample(used, 200), *used[:60]]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << draws.randrange(8)
        path.write_bytes(flipped)
        try:
            with Store(path, reading=True) as store:
                seen.add(f"{len(store.rows('kind'))} rows")
        except InputError as error:
            seen.add("more lines" if "\n" in str(error) else "one line")
    assert {"1 rows", "one line"} <= seen <= {"0 rows", "1 rows", "one line"}


def test_a_file_is_made_with_the_first_run_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"

    def failing() -> Iterator[Record]:
        yield record("kind", {"n": 1}, summary={}, curves={})
        raise KeyboardInterrupt

    with Store(path) as store, Store(path) as other:
        assert store.get("kind", {}) is None
        with pytest.raises(KeyboardInterrupt):
            store.write(failing())
        assert list(tmp_path.iterdir()) == []
        assert (store.rows("kind"), store.news()) == ([], [])
        other.put("kind", {"n": 2}, summary={}, curves={})
        assert [row.spec for row in store.rows("kind")] == [{"n": 2}]  # made meanwhile by another
        store.put("kind", {"n": 3}, summary={}, curves={})
        assert [row.spec for row in other.rows("kind")] == [{"n": 2}, {"n": 3}]
    path.unlink()
    path.touch()  # empty, as a process leaves it that is killed while it makes the file
    with Store(path) as store:
        store.put("kind", {"n": 4}, summary={}, curves={})
        assert len(store.rows("kind")) == 1


def test_places_that_hold_no_store(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "loop", "x" * 256, "x/" * 2500, "a\0b", ".", "missing/below"):
        for reading in (False, True):
            with pytest.raises(InputError, match=r"^store [^\n]{1,500} is accepted$"):
                Store(tmp_path / name, reading)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop", "pipe"]
