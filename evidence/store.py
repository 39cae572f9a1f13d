"""The store of runs: one SQLite file, one row a run, found by the hash of what was asked for.

The store decides what still has to run: a spec whose key is stored is skipped. Only the driver writes; workers hand
results back. A transaction is on the disk when it ends, and a process killed within one leaves a journal beside the file,
from which the next that opens the store takes it back: the closed store is one file. This module imports neither torch nor
a dataset.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from dynamics import door, given
from dynamics.errors import InputError
from dynamics.given import among, line, shown
from dynamics.rules import own_digests
from evidence.forms import check_plain

SCHEMA = 2  # 2: curves in the last column, so that the others are read without them; files of format 1 stay as they are
# Raised when the meaning of stored results changes: older rows then no longer answer for new specs.
MEANING = 2  # 2: the optimizer's step in another order of operations, so that runs end at other weights

_TABLE = """
create table runs (
    key text primary key,
    kind text not null,
    spec text not null,
    status text not null check (status in ('done', 'diverged', 'failed')),
    summary text not null,
    environment text not null,
    error text not null,
    finished text not null,
    curves text not null
) strict
"""
STATUSES = ("done", "diverged", "failed")
_AT_ONCE = 500  # keys asked for in one query


@dataclass(frozen=True)
class Row:
    """One stored run. kind: which experiment; status: done, diverged or failed (error says why); finished: when, in UTC.

    curves is empty where it was left unread.
    """

    key: str
    kind: str
    spec: dict[str, Any]
    status: str
    summary: dict[str, Any]
    curves: dict[str, Any]
    environment: dict[str, str]
    error: str
    finished: str


class Record(NamedTuple):
    """A row as it stands in the file: a text a column, curves empty where they are left unread."""

    key: str
    kind: str
    spec: str
    status: str
    summary: str
    environment: str
    error: str
    finished: str
    curves: str

    def row(self) -> Row:
        """What the texts say. Raises ValueError where they are no row."""
        if not all(isinstance(text, str) for text in self):
            raise ValueError("a run holds something else than texts")
        if self.status not in STATUSES:
            raise ValueError(f"status {shown(self.status)} of a run is none of {', '.join(STATUSES)}")
        parts = {name: json.loads(getattr(self, name) or "{}") for name in ("spec", "summary", "environment", "curves")}
        for name, part in parts.items():
            if not isinstance(part, dict):
                raise ValueError(f"{name} of a run is no object")
        if not all(isinstance(version, str) for version in parts["environment"].values()):
            raise ValueError("environment of a run holds another value than a text")
        for name in ("spec", "summary"):
            check_plain(name, parts[name])
        return Row(self.key, self.kind, status=self.status, error=self.error, finished=self.finished, **parts)


_ALL = ", ".join(Record._fields)
_BUT_CURVES = _ALL.replace("curves", "'' as curves")


Check = Callable[[Row], object]


class NoRoomError(InputError):
    """The disk is full: what was being stored is not."""


def canonical(spec: Mapping[str, Any]) -> str:
    """The one JSON text of a spec: sorted keys, no spaces, numbers as Python writes them."""
    return _json("spec", spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _json(name: str, value: Mapping[str, Any], **how: Any) -> str:
    try:
        return json.dumps(value, **how)
    except (TypeError, ValueError, RecursionError):
        raise InputError(
            f"{name} {shown(value)}: texts, finite numbers, lists and mappings of them are accepted, as JSON holds them"
        ) from None


@door.checked
def key_of(kind: str, spec: Mapping[str, Any]) -> str:
    """The key under which a run of `kind` with this spec is stored: a SHA-256 in hexadecimal."""
    text = canonical(spec)
    # A rule of the user's own may change under its name: results of another version of its file do not answer.
    own = "".join(f"\n{name} {digest}" for name, digest in own_digests().items() if f'"{name}"' in text)
    return hashlib.sha256(f"{MEANING}\n{kind}\n{text}{own}".encode()).hexdigest()


def environment() -> dict[str, str]:
    """Versions and machine that a result depends on; a package that is not installed is left out."""
    return dict(_environment())


@cache
def _environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for name in ("undertow", "numpy", "numba", "scipy", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@door.checked
def record(
    kind: str,
    spec: Mapping[str, Any],
    *,
    summary: Mapping[str, Any],
    curves: Mapping[str, Any],
    status: str = "done",
    error: str = "",
) -> Record:
    """A run that ends now, as the store writes it. Raises InputError where it is no plain data."""
    among("status", status, STATUSES)
    said = error.encode(errors="backslashreplace").decode()  # a file name in it may be no text
    texts = (canonical(spec), status, _json("summary", summary), json.dumps(environment()), said)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Record(key_of(kind, spec), kind, *texts, now, _json("curves", curves))


class Store:
    """The runs in one file, found by what was asked for; a context manager.

    Args:
        path: of the SQLite file, which is made with the first run that is stored, if it is not there.
        reading: only read: the file must be there, may be on a disk that cannot be written, and stays as it is.

    Raises:
        InputError: where the file cannot be used.

    Example:
        >>> with Store(Path("runs.sqlite")) as store:
        ...     _ = store.put("coin", {"flips": 100}, summary={"heads": 52}, curves={})
        ...     store.get("coin", {"flips": 100}).summary, store.get("coin", {"flips": 200})
        ({'heads': 52}, None)
    """

    def __init__(self, path: Path, reading: bool = False) -> None:
        self.path = given.kind("store", path, Path, "a Path")
        given.flag("reading", reading)
        self._version = self._newest = -1
        size = self._size()
        if reading and size is None:
            raise InputError(f"store {line(path)} is missing: a store is accepted")
        # Of what is not there yet an empty store in memory takes the place; making: the file is made now.
        self._unmade, self._making = not reading and not size, False
        if not reading and not os.access(path if size is not None else path.parent, os.W_OK):
            raise InputError(
                f"store {line(path)} cannot be used or cannot be written: a writable SQLite file is accepted"
            )
        self._open(reading)

    def _size(self) -> int | None:
        """Bytes of the file, None where nothing is. InputError for what is no file."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"store {line(self.path)} cannot be used ({reason}): a store is accepted") from None
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"store {line(self.path)} cannot be used (it is no file): a store is accepted")
        return found.st_size

    def _open(self, reading: bool = False) -> None:
        try:
            self._db = self._opened(reading)
            try:
                self._begin(reading)
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter of what SQLite says of a damaged file
            what = "a store" if reading else "a writable SQLite file"
            raise InputError(f"store {line(self.path)} cannot be used ({_said(error)}): {what} is accepted") from None

    def _reopen(self, making: bool) -> None:
        self._db.close()
        self._unmade, self._making = not making and not self._size(), making
        if making:
            self.path.parent.mkdir(parents=True, exist_ok=True)  # who has made it may have ended, and it was empty
        self._open()

    def _opened(self, reading: bool) -> sqlite3.Connection:
        # Another process may be writing: its transactions are short. This one begins its own transactions itself.
        if not reading:
            return sqlite3.connect(":memory:" if self._unmade else self.path, timeout=60, isolation_level=None)
        address = f"{self.path.absolute().as_uri()}?mode=ro"
        db = sqlite3.connect(address, timeout=60, isolation_level=None, uri=True)
        try:
            db.execute("select count(*) from sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            db.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            # A process was killed while it wrote, and what it left half done is to be taken back first.
            with closing(sqlite3.connect(self.path, timeout=60)) as other:
                other.execute("select count(*) from sqlite_master").fetchone()
            db = sqlite3.connect(address, timeout=60, isolation_level=None, uri=True)
        return db

    def _begin(self, reading: bool) -> None:
        with self._db:  # one look at all three: between two looks another process may make the table
            self._db.execute("begin")
            version = int(self._db.execute("pragma user_version").fetchone()[0])
            tables = [row[0] for row in self._db.execute("select name from sqlite_master where type = 'table'")]
            # What SQLite would run while rows are read or written.
            code = self._db.execute(
                "select type, name from sqlite_master where type in ('trigger', 'view') or sql like 'create virtual%'"
            ).fetchone()
            columns = {row[1] for row in self._db.execute("pragma table_info(runs)")}
        if version < 0:
            raise InputError(f"store {self.path} has no format ({version}): one from 1 to {SCHEMA} is accepted")
        if version > SCHEMA:
            raise InputError(
                f"store {self.path} was written by a newer version (format {version}): up to {SCHEMA} is accepted"
            )
        if version == 0 and not tables and not reading:
            # Only a new file is written to: opening a store waits for no other process.
            if not self._making:
                with self._db:
                    self._db.execute("begin immediate")
                    self._make_table()
        elif version == 0 or columns != set(Record._fields):
            holds = (
                "a table of runs with other columns"
                if "runs" in tables
                else f"other tables ({shown(tables[0]).strip(chr(39))})"
                if tables
                else "no table of runs"
            )
            raise InputError(f"store {self.path} holds {holds}: a file of this program is accepted")
        elif code:
            raise InputError(f"store {self.path} holds a {code[0]} {shown(code[1])}: a table of runs alone is accepted")

    def _make_table(self) -> None:
        self._db.execute(_TABLE.replace("create table", "create table if not exists"))
        self._db.execute(f"pragma user_version = {SCHEMA}")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @door.checked
    def get(self, kind: str, spec: Mapping[str, Any]) -> Row | None:
        """The stored run of this spec, or None. A failed run counts as not stored: it has no result."""
        found = self.find([key_of(kind, spec)])
        return next((row for row in found.values() if row.status != "failed"), None)

    @door.checked
    def find(self, keys: Sequence[str], curves: bool = True, check: Check | None = None) -> dict[str, Row]:
        """Those of these keys that are stored, failed ones too, with their rows; curves=False leaves the curves unread.

        check: raises ValueError for a row that is not in its kind's form (`evidence.forms`); the store is then damaged.
        """
        found: dict[str, Row] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            asked = ", ".join("?" * len(some))
            found |= {row.key: row for row in self._rows(f"where key in ({asked})", some, curves, check)}
        return found

    @door.checked
    def rows(self, kind: str, curves: bool = True, check: Check | None = None) -> list[Row]:
        """All runs of a kind, oldest first; curves=False leaves the curves unread, which most of the time goes into.

        check: as for `find`.
        """
        return self._rows("where kind = ? order by finished, key", [kind], curves, check)

    def records(self) -> Iterator[Record]:
        """All runs of all kinds as they stand in the file, one after another: they may be more than the memory holds."""
        with self._usable():
            for values in self._db.execute(f"select {_ALL} from runs order by key"):
                yield Record(*values)

    @door.checked
    def record(self, key: str) -> Record | None:
        """The run of this key as it stands in the file, or None."""
        with self._usable():
            found = self._db.execute(f"select {_ALL} from runs where key = ?", [key]).fetchone()
        return None if found is None else Record(*found)

    def checked(self, record: Record) -> Row:
        """What a record of this file says; InputError where it is damaged."""
        with self._usable():
            row = record.row()
            check_plain("curves", row.curves)
            return row

    @door.checked
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
        made = record(kind, spec, summary=summary, curves=curves, status=status, error=error)
        self.write([made])
        return made.row()

    def write(self, records: Iterable[Record]) -> int:
        """Store these runs in one transaction, all or none, and say how many; runs of equal keys are replaced.

        What `records` reads from this store, while it is gone through, belongs to the same transaction.
        """
        with self._transaction():
            columns = ", ".join("?" * len(Record._fields))
            return self._db.executemany(f"insert or replace into runs ({_ALL}) values ({columns})", records).rowcount

    def news(self) -> list[str]:
        """The keys of runs that others have stored in this file since this was last asked, and of all runs the first time.

        Cheap where there are none; own runs may be among them.
        """
        with self._usable():
            version = self._db.execute("pragma data_version").fetchone()[0]
            if version == self._version:
                return []
            self._version = version
            found = self._db.execute("select rowid, key from runs where rowid > ? order by rowid", [self._newest])
            new = found.fetchall()
        self._newest = new[-1][0] if new else self._newest
        return [key for _, key in new]

    def _rows(self, which: str, values: Sequence[str], curves: bool, check: Check | None) -> list[Row]:
        with self._usable():
            found = self._db.execute(f"select {_ALL if curves else _BUT_CURVES} from runs {which}", values)
            rows = [Record(*texts).row() for texts in found]
            if check is not None:
                for row in rows:
                    check(row)
            return rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._usable(making=True):
            try:
                with self._db:
                    self._db.execute("begin immediate")
                    if self._making:
                        self._make_table()
                    yield
                self._making = False
            except BaseException:
                if self._making:  # the first run did not come into the file: there is none
                    if not self._size():
                        self.path.unlink(missing_ok=True)
                    self._reopen(making=False)
                raise

    @contextmanager
    def _usable(self, making: bool = False) -> Iterator[None]:
        try:
            if self._unmade and (making or self._size()):  # made by another process, or now
                self._reopen(making)
            yield
        except (sqlite3.IntegrityError, InputError):  # the fault of who stores, not the file's
            raise
        except (sqlite3.Error, ValueError, OSError, RecursionError) as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                raise NoRoomError(
                    f"store {self.path} has no room ({_said(error)}): a disk with free space is accepted"
                ) from None
            what = f"store {self.path} is damaged or locked ({_said(error)})"
            raise InputError(f"{what}: a whole one is accepted, or none, and then all runs again") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())  # SQLite tells what it cannot read as it stands, with its lines
