"""Every file format, mutated, before the command that reads it.

Two kinds of change: of the bytes as they lie there (flipped, cut, doubled, zeroed, put in, numbers replaced), and of what a reader
finds below the checksums of its container: the header of a safetensors file, a cell of a store, a member of an archive.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.cage import Case, Left
from fuzz.commands import copy, fault_of, timeless
from fuzz.valid import squeeze, tar, vouched, zipped
from undertow.__main__ import main

SHARE = st.integers(0, 9999).map(lambda n: n / 10_000)  # where in a file
NUMBERS = (0, 1, -1, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**63))
ODD: tuple[Any, ...] = (
    *(None, True, [], {}, "", "x", "\n", "\0", -1, 0, 1, 0.5, 1e308, float("nan"), float("inf"), 10**30, 2**63, -(2**63), [[]], [None]),
    *({"x": 1}, "a" * 100_000, list(range(10_000)), "1", [1, "a"], {"": {}}, "NaN", [-1], [2**40, 2**40], 2**40, "basicnet", "F64"),
)  # fmt: skip
DEEP = "[" * 100_000 + "]" * 100_000
Bytes = Callable[[bytes], bytes]
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
TEXT = st.one_of(
    BYTES,
    st.tuples(st.just("value"), st.integers(0, 30), st.sampled_from(
        ["", "-1", "0", "1e400", "nan", "[]", "{}", '""', "true", "9" * 5000, "[[]]", '"\\u0000"', "1979-05-27", '["x"]', "[0.1, 0.1]", "1e-3",
         "[" * 2000, "[1, 2, 3]", '"\\n"', "1_000_000", "[-1]", "[1e9]", '"digits"', '"../x"', "[" + "0," * 10_000 + "]"]
    )),
    st.tuples(st.just("line out"), st.integers(0, 30)),
    st.tuples(st.just("line twice"), st.integers(0, 30)),
    st.tuples(st.just("line"), st.integers(0, 30), st.sampled_from(
        ["raise SystemExit", "raise ValueError('a\\nb')", "import nowhere", "1/0", "x = = 1", "[unknown]", "\x00", "print('x')", "[axes]", "lr = [0.1]",
         "raise KeyboardInterrupt", "def f(): f()\nf()", "import warnings; warnings.warn('x')", "exit(3)", "class A(BaseException): pass\nraise A"]
    )),
)  # fmt: skip
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
CELL = st.tuples(
    st.just("cell"), st.integers(0, 99), st.sampled_from(["", "5", "[]", "null", "{}", '"x"', "{", DEEP, "NaN", "[NaN]", '{"seconds": "x"}', '{"epoch": 5}',
    '{"epoch": [1], "loss": ["x"]}', None, -1, 2**62, 1.5, b"\xff", "\0", "failed", "done", "\n", '{"optimizer": "adam"}', '{"removal": []}', "1" * 5000])
)  # fmt: skip


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
        here = [k for k, line in enumerate(lines) if "=" in line][rest[0] % sum("=" in line for line in lines)]
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
    kind, where, how, odd = mutation
    table = pickle.loads(data)
    key = list(table)[where % len(table)]
    if how == "out":
        del table[key]
    else:
        table[key if how == "value" else b"more"] = ODD[odd]
    return pickle.dumps(table, 2)


def in_gz(inner: Bytes, data: bytes) -> bytes:
    """Change what is packed by gzip."""
    return squeeze(inner(gzip.decompress(data)))


@dataclass(frozen=True)
class Format:
    """A file that a command reads.

    Args:
        file: its name in the folder of the case.
        words: the command; `needs`: what else it needs, as in `fuzz.valid.Invocation`.
        changes: each way to change it, in words, with what draws it.
        sealed: the ways that must not change an answer: a checksum says that something is amiss.
        after: what is written beside the changed file.
    """

    file: str
    words: str
    needs: Mapping[str, str]
    changes: Mapping[str, tuple[st.SearchStrategy[Mutation], Callable[[Mutation, bytes], bytes]]]
    sealed: Sequence[str] = ()
    after: Callable[[bytes], tuple[str, bytes]] | None = None


RAW = {"bytes": (BYTES, in_bytes)}
WORDS = {"text": (TEXT, in_text)}
HEADER = {**RAW, "header": (TREE, in_header)}
NET = {"net.safetensors": "net.safetensors"}
MEASURE = "measure net.safetensors --json --data "


def _measured(file: str, changes: Any, **more: Any) -> Format:
    source = file.split("/")[0]
    net = "net" if source in ("data", "gz") else "colour"
    return Format(file, MEASURE + source, {"net.safetensors": f"{net}.safetensors", source: source}, changes, **more)


def _in_tgz(change: Callable[[Mutation, bytes], bytes], mutation: Mutation, data: bytes) -> bytes:
    return in_gz(partial(change, mutation), data)


def _in_batch(mutation: Mutation, data: bytes) -> bytes:
    """Change a batch of CIFAR within its archive."""

    def inner(unpacked: bytes) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            members = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        name = list(members)[mutation[1] % len(members)]
        return tar(members | {name: in_pickle(mutation, members[name])})

    return in_gz(inner, data)


FORMATS: dict[str, Format] = {
    "network (safetensors)": Format("net.safetensors", MEASURE + "data", {"data": "data", **NET}, HEADER, ("bytes",)),
    "network, pruned": Format(
        "net.safetensors", "prune net.safetensors -o smaller.safetensors", {"net.safetensors": "trained/smaller.safetensors"}, HEADER, ("bytes",)
    ),
    "training checkpoint": Format(
        "out/training.safetensors", "train data --epochs 2 --batch 4 --width 0.03125 --out out", {"data": "data", "out": "trained"}, HEADER,
        ("bytes",),
    ),
    "state_dict (.pt)": Format(
        "net.pt", "measure --net networks:make --weights net.pt --data data --json",
        {"net.pt": "net.pt", "networks.py": "networks.py", "data": "data"}, {**RAW, "member": (MEMBER, in_zip)},
    ),
    "store, read": Format(
        "results.sqlite", "results little.toml --store results.sqlite --json",
        {n: n for n in ("results.sqlite", "little.toml", "data")}, {**RAW, "cell": (CELL, in_store)},
    ),
    "store, merged": Format(
        "results.sqlite", "merge results.sqlite --into all.sqlite", {"results.sqlite": "results.sqlite", "all.sqlite": "stored/results.sqlite"},
        {**RAW, "cell": (CELL, in_store)},
    ),
    "store, judged": Format(
        "out/results.sqlite", "claims X1 --worlds worlds.py --out out --json", {"worlds.py": "worlds.py", "out": "stored"},
        {"cell": (CELL, in_store), **RAW},
    ),
    "study (.toml)": Format(
        "little.toml", "study little.toml --out out --dry-run", {"little.toml": "little.toml", "data": "data", "out": "studied"}, WORDS
    ),
    "study (.py)": Format(
        "little.py", "study little.py --out out --dry-run", {"little.py": "little.py", "data": "data", "out": "studied"}, WORDS
    ),
    "worlds (.py)": Format("worlds.py", "run coin --worlds worlds.py --json", {"worlds.py": "worlds.py"}, WORDS),
    "rules (.py)": Format("rules.py", "explain signum --rules rules.py --l2 1e-3", {"rules.py": "rules.py"}, WORDS),
    "network of one's own (.py)": Format(
        "networks.py", "measure --net networks:make --weights net.pt --data data --json",
        {"net.pt": "net.pt", "networks.py": "networks.py", "data": "data"}, WORDS,
    ),
    "CIFAR (.tar.gz)": _measured(
        "cifar.tar.gz", {"batch": (TREE, _in_batch), "member": (MEMBER, partial(_in_tgz, in_tar)), **RAW},
        after=lambda data: ("SHA256SUMS", vouched("cifar.tar.gz", data)),
    ),
    "CIFAR, not vouched for": Format("cifar.tar.gz", MEASURE + "cifar.tar.gz", {"net.safetensors": "colour.safetensors", "cifar.tar.gz": "cifar.tar.gz", "SHA256SUMS": "SHA256SUMS"}, RAW,
                                     ("bytes",)),
    "IDX images": _measured("data/train-images-idx3-ubyte", RAW),
    "IDX labels": _measured("data/t10k-labels-idx1-ubyte", RAW),
    "IDX.gz": _measured(
        "gz/train-images-idx3-ubyte.gz", {**RAW, "packed": (BYTES, partial(_in_tgz, in_bytes))}, sealed=("bytes",)
    ),
    "TinyImageNet (.zip)": _measured("tiny.zip", {**RAW, "member": (MEMBER, in_zip)}),
    "pictures (.zip)": _measured("pictures.zip", {**RAW, "member": (MEMBER, in_zip)}),
    "pictures (.tar)": _measured("pictures.tar", {**RAW, "member": (MEMBER, in_tar)}),
    "PNG": _measured("pictures/train/a/0.png", RAW),
    "JPEG": _measured("pictures/train/a/1.jpeg", RAW),
}  # fmt: skip


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
        @given(strategy)
        def collect(value: Mutation) -> None:
            found.setdefault(repr(value), value)

        collect()
        if len(found) >= count:
            break
    return list(found.values())[-count:]  # the first are the plainest


def cases(
    by: int, count: int, valid: Path, said: Mapping[tuple[str, ...], str], names: Sequence[str] = ()
) -> Iterator[Case]:
    """`count` cases drawn by a seed, as many of each format."""
    asked = names or list(FORMATS)
    for k, name in enumerate(asked):
        form = FORMATS[name]
        mine = count // len(asked) + (k < count % len(asked))
        for j, (way, (strategy, change)) in enumerate(form.changes.items()):
            some = mine // len(form.changes) + (j < mine % len(form.changes))
            for mutation in drawn(strategy, by * 1000 + 10 * k + j, some):
                yield _case(name, form, way, mutation, change, valid, said)


def _case(
    name: str, form: Format, way: str, mutation: Mutation, change: Callable[[Mutation, bytes], bytes], valid: Path,
    said: Mapping[tuple[str, ...], str],
) -> Case:  # fmt: skip
    words = form.words.split()

    def prepare(folder: Path) -> None:
        for target, source in form.needs.items():
            copy(valid / source, folder / target)
        path = folder / form.file
        data = change(mutation, path.read_bytes())
        path.write_bytes(data)
        if form.after is not None:
            beside, content = form.after(data)
            (folder / beside).write_bytes(content)

    shown = repr(mutation)
    what = f"{way} {shown if len(shown) < 120 else shown[:100] + '...' + shown[-17:]}"
    judged = partial(judge, form, way, said.get(tuple(words)))
    return Case("formats", name, what, lambda: main(words), judged, prepare)


def judge(form: Format, way: str, said: str | None, left: Left) -> str:
    """The outcome: refused, the same answer as to the valid file, or another one, where nothing tells that the file was changed."""
    if fault := fault_of(left):
        return fault
    if left.status == 2:
        return "refused"
    same = said is None or timeless(left.out) == timeless(said)
    if way in form.sealed and not same:
        return f"another answer to a file whose checksum is wrong: {left.out[:100]!r}"
    return "same answer" if same else "another answer"
