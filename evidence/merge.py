"""Stores of several machines joined into one: equal results once, and never two different ones for one run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamics.door import checked
from dynamics.errors import InputError
from evidence.files import writing
from evidence.store import Record, Row, Store

# How long a run took: equal results differ in it, as they do in their environment and in when they were made.
TIME = "seconds"
_SHORT = 40  # characters of a value in a message


@dataclass
class Merged:
    """What a merge has done. new: runs that the target lacked; known: rows of runs that it had, or that two sources have."""

    new: int = 0
    known: int = 0


@dataclass(frozen=True)
class _Seen:
    """The row that is kept of a run so far: where it stands; the smallest rank stays; its result as a digest."""

    store: Store
    rank: tuple[bool, str, Record]
    result: str

    @classmethod
    def of(cls, store: Store, record: Record) -> _Seen:
        row = store.checked(record)
        result = json.dumps([row.kind, row.spec, row.status, _timeless(row.summary), row.curves], sort_keys=True)
        failed = row.status == "failed"
        return cls(store, (failed, row.finished, record), "" if failed else hashlib.sha256(result.encode()).hexdigest())


@checked
def merge(sources: Sequence[Path], into: Path) -> Merged:
    """Join the runs of these stores into the store `into`, with those that it holds; it is made if it is not there.

    Results of a run are equal if status, curves and summary are, to the last bit, but for the seconds in the summary. The
    oldest of equal results is kept, and of several failed tries the oldest; a failed try gives way to any result. All is
    written in one transaction, or nothing.

    Args:
        sources: files of stores, which stay as they are.
        into: file of the store that takes their runs.

    Returns:
        How many runs were new, and how many rows were of known ones.

    Raises:
        InputError: for a file that is no store or is named twice, and for two different results of one run; then nothing is
            written.

    Example:
        >>> for name, flips in ("a.sqlite", 100), ("b.sqlite", 200):
        ...     with Store(Path(name)) as store:
        ...         _ = store.put("coin", {"flips": flips}, summary={"heads": flips // 2}, curves={})
        >>> merge([Path("a.sqlite"), Path("b.sqlite")], Path("both.sqlite"))
        Merged(new=2, known=0)
    """
    _refuse_twice([*sources, into])
    with ExitStack() as stack:
        opened = [stack.enter_context(Store(path, reading=True)) for path in sources]
        merged = Merged()
        stack.enter_context(writing(into.parent))
        target = stack.enter_context(Store(into))
        target.write(_kept(opened, target, merged))
    return merged


def _refuse_twice(paths: Sequence[Path]) -> None:
    known: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            place = path.stat()
        except (OSError, ValueError):  # it is not there, or cannot be: its opening says so
            continue
        twin = known.setdefault((place.st_dev, place.st_ino), path)
        if twin is not path:
            raise InputError(f"{path} is the same file as {twin}: each store is accepted once")


def _kept(sources: Sequence[Store], target: Store, merged: Merged) -> Iterator[Record]:
    """What is to be written to the target, in this order; it is looked at as it then is."""
    seen: dict[str, _Seen] = {}
    for source in sources:
        for record in source.records():
            new = _Seen.of(source, record)
            old = seen.get(record.key)
            if old is None and (there := target.record(record.key)) is not None:
                old = _Seen.of(target, there)
            if old is not None and old.result and new.result and old.result != new.result:
                raise InputError(_conflict(old, new))
            merged.new, merged.known = merged.new + (old is None), merged.known + (old is not None)
            if old is None or new.rank < old.rank:
                seen[record.key] = new
                yield record
            else:
                seen[record.key] = old


def _timeless(value: Any) -> Any:
    """The same data without times, at any depth."""
    if isinstance(value, dict):
        return {name: _timeless(part) for name, part in value.items() if name != TIME}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def _conflict(old: _Seen, new: _Seen) -> str:
    one, other = (seen.store.checked(seen.rank[-1]) for seen in (old, new))
    spec = ", ".join(f"{name} {_short(value)}" for name, value in other.spec.items())
    return (
        f"{old.store.path} and {new.store.path} hold two different results of one run ({_difference(one, other)}) of "
        f"{other.kind}, {spec}: stores whose results are equal are accepted"
    )


def _difference(one: Row, other: Row) -> str:
    """The first part in which two rows differ."""
    if one.status != other.status:
        return f"{one.status} and {other.status}"
    for what in ("summary", "curves"):
        a, b = _timeless(getattr(one, what)), _timeless(getattr(other, what))
        for name in dict.fromkeys([*a, *b]):
            if _text(a.get(name)) != _text(b.get(name)):
                return f"{name} {_short(a.get(name))} and {_short(b.get(name))}"
    return "of different specs"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."
