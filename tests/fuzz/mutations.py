"""Changes of files that a reader may stumble over, drawn by hypothesis, each a plain tuple of what is done and where.

Two kinds: of the bytes as they lie there (flipped, cut, doubled, zeroed, put in, numbers replaced), and of what a reader finds
below the checksums of its container: the header of a safetensors file, a cell of a store, a member of an archive.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st

from fuzz.valid import squeeze, tar

SHARE = st.integers(0, 9999).map(lambda n: n / 10_000)  # where in a file
NUMBERS = (0, 1, -1, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**63))
ODD: tuple[Any, ...] = (
    *(None, True, [], {}, "", "x", "\n", "\0", -1, 0, 1, 0.5, 1e308, float("nan"), float("inf"), 10**30, 2**63, -(2**63), [[]]),
    *([None], {"x": 1}, "a" * 100_000, list(range(10_000)), "1", [1, "a"], {"": {}}, "NaN", [-1], [2**40, 2**40]),
    *(2**40, "basicnet", "F64"),
)  # fmt: skip
DEEP = "[" * 100_000 + "]" * 100_000
Mutation = tuple[Any, ...]

BYTES = st.one_of(
    st.tuples(st.just("flipped"), SHARE, st.integers(1, 255)),
    st.tuples(st.just("flipped"), st.integers(0, 63), st.integers(1, 255)),
    st.tuples(st.just("cut"), SHARE),
    st.tuples(st.just("doubled")),
    st.tuples(st.just("zeroed"), SHARE, st.sampled_from([1, 4, 16, 1000])),
    st.tuples(st.just("put in"), SHARE, st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("left out"), SHARE, st.sampled_from([1, 4, 16, 1000])),
    st.tuples(st.just("number"), st.integers(0, 63), st.sampled_from("<>"), st.sampled_from("bhiq"), st.sampled_from(NUMBERS)),
    st.tuples(st.just("number"), SHARE, st.sampled_from("<>"), st.sampled_from("bhiq"), st.sampled_from(NUMBERS)),
)  # fmt: skip
VALUES = (
    *("", "-1", "0", "1e400", "nan", "[]", "{}", '""', "true", "9" * 5000, "[[]]", '"\\u0000"', "1979-05-27", '["x"]'),
    *("[0.1, 0.1]", "1e-3", "[" * 2000, "[1, 2, 3]", '"\\n"', "1_000_000", "[-1]", "[1e9]", '"digits"', '"../x"'),
    "[" + "0," * 10_000 + "]",
)  # fmt: skip
LINES = (
    *("raise SystemExit", "raise ValueError('a\\nb')", "import nowhere", "1/0", "x = = 1", "[unknown]", "\0", "print('x')"),
    *("[axes]", "lr = [0.1]", "raise KeyboardInterrupt", "def f(): f()\nf()", "import warnings; warnings.warn('x')", "exit(3)"),
    "class A(BaseException): pass\nraise A",
)  # fmt: skip
TEXT = st.one_of(
    BYTES,
    st.tuples(st.just("value"), st.integers(0, 30), st.sampled_from(VALUES)),
    st.tuples(st.just("line out"), st.integers(0, 30)),
    st.tuples(st.just("line twice"), st.integers(0, 30)),
    st.tuples(st.just("line"), st.integers(0, 30), st.sampled_from(LINES)),
)
TREE = st.tuples(
    st.just("tree"), st.integers(0, 60), st.sampled_from(["value", "out", "more", "deep"]), st.integers(0, len(ODD) - 1)
)
MEMBER = st.one_of(
    st.tuples(st.just("member"), st.integers(0, 20), BYTES),
    st.tuples(st.just("name"), st.integers(0, 20), st.sampled_from(
        ["../x", "/x", "a/../../x", "", "x" * 300, "new\nline", "train", "x/" * 500 + "x", "odd\udcff", "data_batch_9", "n\0l"])),
    st.tuples(st.just("no member"), st.integers(0, 20)),
    st.tuples(st.just("twice"), st.integers(0, 20)),
    st.tuples(st.just("empty"), st.integers(0, 20)),
    st.tuples(st.just("other"), st.integers(0, 20), st.integers(0, 20)),
)  # fmt: skip
CELLS = (
    *("", "5", "[]", "null", "{}", '"x"', "{", DEEP, "NaN", "[NaN]", '{"seconds": "x"}', '{"epoch": 5}', None, -1, 2**62, 1.5),
    *('{"epoch": [1], "loss": ["x"]}', b"\xff", "\0", "failed", "done", "\n", '{"optimizer": "adam"}', '{"removal": []}'),
    "1" * 5000,
)  # fmt: skip
CELL = st.tuples(st.just("cell"), st.integers(0, 99), st.sampled_from(CELLS))


def at(where: float, size: int) -> int:
    """A place in a file: from its start as a whole number, or as a share of it."""
    return min(where, max(size - 1, 0)) if isinstance(where, int) else int(where * size)


def in_bytes(mutation: Mutation, data: bytes) -> bytes:
    """Change bytes as a mutation of BYTES says."""
    kind, *rest = mutation
    here = at(rest[0], len(data)) if rest else 0
    if kind == "flipped":
        return data[:here] + bytes([data[here] ^ rest[1]]) + data[here + 1 :] if data else b"\xff"
    if kind == "cut":
        return data[:here]
    if kind == "doubled":
        return data * 2
    if kind == "zeroed":
        return data[:here] + bytes(len(data[here : here + rest[1]])) + data[here + rest[1] :]
    if kind == "put in":
        return data[:here] + rest[1] + data[here:]
    if kind == "left out":
        return data[:here] + data[here + rest[1] :]
    _, order, form, number = rest
    bits = 8 * struct.calcsize(order + form)
    wrapped = (number + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    packed = struct.pack(order + form, wrapped)
    return data[:here] + packed + data[here + len(packed) :]


def in_text(mutation: Mutation, data: bytes) -> bytes:
    """Change a text as a mutation of TEXT says."""
    kind, *rest = mutation
    if kind not in ("value", "line out", "line twice", "line"):
        return in_bytes(mutation, data)
    lines = data.decode().splitlines()
    here = rest[0] % len(lines)
    if kind == "value":
        given = [k for k, line in enumerate(lines) if "=" in line] or [here]
        here = given[rest[0] % len(given)]
        lines[here] = f"{lines[here].split('=')[0]}= {rest[1]}"
    elif kind == "line out":
        del lines[here]
    else:
        lines.insert(here, lines[here] if kind == "line twice" else rest[1])
    return ("\n".join(lines) + "\n").encode()


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in JSON."""
    yield path
    if isinstance(tree, dict | list):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(part, (*path, key))


def in_tree(mutation: Mutation, text: str) -> str:
    """Change JSON as a mutation of TREE says; JSON within a text of it, too."""
    _, where, how, odd = mutation
    tree = json.loads(text)
    *path, last = list(places(tree))[1:][where % (len(list(places(tree))) - 1)]
    part = tree
    for key in path:
        part = part[key]
    if isinstance(part[last], str) and part[last][:1] in ("{", "[") and odd % 3:
        part[last] = in_tree((_, where * 7 + odd, how, odd), part[last])
    elif how == "out":
        del part[last]
    elif how == "deep":
        part[last] = "@deep@"
    elif how == "more" and isinstance(part, dict):
        part["more"] = ODD[odd]
    else:
        part[last] = ODD[odd]
    return json.dumps(tree).replace('"@deep@"', DEEP)


def in_header(mutation: Mutation, data: bytes) -> bytes:
    """Change the header of a safetensors file."""
    [size] = struct.unpack("<Q", data[:8])
    header = in_tree(mutation, data[8 : 8 + size].decode()).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def changed(members: Mapping[str, bytes], mutation: Mutation) -> list[tuple[str, bytes]]:
    """Change files by name as a mutation of MEMBER says."""
    kind, which, *rest = mutation
    found = list(members.items())
    name, data = found[which % len(found)]
    new = {
        "member": lambda: [(name, in_bytes(rest[0], data))],
        "name": lambda: [(rest[0], data)],
        "no member": list,
        "twice": lambda: [(name, data)] * 2,
        "empty": lambda: [(name, b"")],
        "other": lambda: [(name, found[rest[0] % len(found)][1])],
    }[kind]()
    found[which % len(found)] = ("", b"")
    return [*(pair for pair in found if pair != ("", b"")), *new]


def in_tar(mutation: Mutation, data: bytes) -> bytes:
    """Change a member of a tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in changed(members, mutation):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def in_zip(mutation: Mutation, data: bytes) -> bytes:
    """Change a member of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in changed(members, mutation):
            info = zipfile.ZipInfo("x")
            info.filename = name.encode(errors="replace").decode() or "x"
            if info.filename not in archive.namelist():
                archive.writestr(info, content)
    return file.getvalue()


def in_store(mutation: Mutation, data: bytes) -> bytes:
    """Change a cell of a store, or what SQLite says of it."""
    _, where, value = mutation
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        path.write_bytes(data)
        db = sqlite3.connect(path)
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        cells = [(t, row[1]) for t in tables for row in db.execute(f"pragma table_info({t})")]
        if where % 10 == 0:
            db.execute(f"pragma user_version = {value if isinstance(value, int) and abs(value) < 2**31 else -5}")
        elif where % 10 == 1:
            table, column = cells[where % len(cells)]
            db.execute(f"alter table {table} rename column {column} to odd" if where % 3 else f"drop table {table}")
        else:
            table, column = cells[where % len(cells)]
            try:
                db.execute(f"update {table} set {column} = ? where rowid = (select min(rowid) from {table})", (value,))
            except sqlite3.Error:
                db.execute("pragma user_version = 999")
        db.commit()
        db.close()
        return path.read_bytes()


def in_pickle(mutation: Mutation, data: bytes) -> bytes:
    """Change a value of a pickled table."""
    _, where, how, odd = mutation
    table = pickle.loads(data)
    key = list(table)[where % len(table)]
    if how == "out":
        del table[key]
    else:
        table[key if how == "value" else b"more"] = ODD[odd]
    return pickle.dumps(table, 2)


def in_packed(change: Callable[[Mutation, bytes], bytes], mutation: Mutation, data: bytes) -> bytes:
    """Change what is packed by gzip."""
    return squeeze(change(mutation, gzip.decompress(data)))


def drawn(strategy: st.SearchStrategy[Mutation], by: int, count: int) -> list[Mutation]:
    """So many different values, always the same ones by one seed."""
    found: dict[str, Mutation] = {}
    for turn in range(10):

        @seed(by + turn)
        @settings(
            max_examples=2 * count + 10,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(strategy)
        def collect(value: Mutation) -> None:
            found.setdefault(repr(value), value)

        collect()
        if len(found) >= count:
            break
    return list(found.values())[-count:]  # the first are the plainest


def in_batch(mutation: Mutation, data: bytes) -> bytes:
    """Change a batch of CIFAR within its archive."""

    def inner(unpacked: bytes) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            members = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        name = list(members)[mutation[1] % len(members)]
        return tar(members | {name: in_pickle(mutation, members[name])})

    return squeeze(inner(gzip.decompress(data)))
