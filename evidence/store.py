"""The store of runs: one SQLite file, one row a run, found by the hash of what was asked for.

The store decides what still has to run: a spec whose key is stored is skipped. Only the driver writes; workers hand
results back. This module imports neither torch nor a dataset.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from dynamics.errors import InputError
from dynamics.rules import own_digests

SCHEMA = 1
# Raised when the meaning of stored results changes: older rows then no longer answer for new specs.
MEANING = 2  # 2: the optimizer's step in another order of operations, so that runs end at other weights

_TABLE = """
create table if not exists runs (
    key text primary key,
    kind text not null,
    spec text not null,
    status text not null check (status in ('done', 'diverged', 'failed')),
    summary text not null,
    curves text not null,
    environment text not null,
    error text not null,
    finished text not null
) strict
"""


@dataclass(frozen=True)
class Row:
    """One stored run. kind: which experiment; status: done, diverged or failed (error says why)."""

    key: str
    kind: str
    spec: dict[str, Any]
    status: str
    summary: dict[str, Any]
    curves: dict[str, Any]
    environment: dict[str, str]
    error: str
    finished: str


def canonical(spec: Mapping[str, Any]) -> str:
    """The one JSON text of a spec: sorted keys, no spaces, numbers as Python writes them."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key_of(kind: str, spec: Mapping[str, Any]) -> str:
    """The key under which a run of `kind` with this spec is stored: a SHA-256 in hexadecimal."""
    text = canonical(spec)
    # A rule of the user's own may change under its name: results of another version of its file do not answer.
    own = "".join(f"\n{name} {digest}" for name, digest in own_digests().items() if f'"{name}"' in text)
    return hashlib.sha256(f"{MEANING}\n{kind}\n{text}{own}".encode()).hexdigest()


def environment() -> dict[str, str]:
    """Versions and machine that a result depends on; a package that is not installed is left out."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for name in ("undertow", "numpy", "numba", "scipy", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class Store:
    """The runs in one file, found by what was asked for; a context manager.

    Args:
        path: of the SQLite file, which is made if it is not there.

    Raises:
        InputError: where the file cannot be used.

    Example:
        >>> with Store(Path("runs.sqlite")) as store:
        ...     _ = store.put("coin", {"flips": 100}, summary={"heads": 52}, curves={})
        ...     store.get("coin", {"flips": 100}).summary, store.get("coin", {"flips": 200})
        ({'heads': 52}, None)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Another process may be writing: its transactions are short.
            self._db = sqlite3.connect(path, timeout=60)
            version = int(self._db.execute("pragma user_version").fetchone()[0])
            if not 0 <= version <= SCHEMA:
                self._db.close()
                raise InputError(
                    f"store {path} was written by a newer version (format {version}): up to {SCHEMA} is accepted"
                )
            if version == 0:
                self._refuse_foreign()
                # Only a new file is written to: opening a store waits for no other process.
                with self._db:
                    self._db.execute(_TABLE)
                    self._db.execute(f"pragma user_version = {SCHEMA}")
        except sqlite3.DatabaseError as error:
            raise InputError(f"store {path} cannot be used ({error}): a writable SQLite file is accepted") from None

    def _refuse_foreign(self) -> None:
        tables = [row[0] for row in self._db.execute("select name from sqlite_master where type = 'table'")]
        if tables:
            self._db.close()
            raise InputError(f"store {self.path} holds other tables ({tables[0]}): a file of this program is accepted")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def get(self, kind: str, spec: Mapping[str, Any]) -> Row | None:
        """The stored run of this spec, or None. A failed run counts as not stored: it is tried again."""
        return self._first("select * from runs where key = ? and status != 'failed'", key_of(kind, spec))

    def rows(self, kind: str) -> list[Row]:
        """All runs of a kind, oldest first."""
        with self._usable():
            found = self._db.execute("select * from runs where kind = ? order by finished, key", (kind,)).fetchall()
            return [_row(values) for values in found]

    def put(
        self,
        kind: str,
        spec: Mapping[str, Any],
        *,
        summary: Mapping[str, Any],
        curves: Mapping[str, Any],
        status: str = "done",
        error: str = "",
    ) -> Row:
        """Store one run (in one transaction; a run of equal key is replaced) and hand its row back."""
        key = key_of(kind, spec)
        texts = (canonical(spec), status, json.dumps(summary), json.dumps(curves), json.dumps(environment()), error)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._usable(), self._db:
            self._db.execute("insert or replace into runs values (?, ?, ?, ?, ?, ?, ?, ?, ?)", (key, kind, *texts, now))
        row = self._first("select * from runs where key = ?", key)
        assert row is not None
        return row

    def _first(self, query: str, key: str) -> Row | None:
        with self._usable():
            found = self._db.execute(query, (key,)).fetchone()
            return None if found is None else _row(found)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:  # a row that this program should not have made: its own fault, not the file's
            raise
        except (sqlite3.Error, ValueError) as error:
            what = f"store {self.path} is damaged or locked ({error})"
            raise InputError(f"{what}: a whole one is accepted, or none, and then all runs again") from error


def _row(values: tuple[Any, ...]) -> Row:
    key, kind, spec, status, summary, curves, env, error, finished = values
    return Row(
        key, kind, json.loads(spec), status, json.loads(summary), json.loads(curves), json.loads(env), error, finished
    )
