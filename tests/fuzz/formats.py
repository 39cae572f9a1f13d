"""Every file format, changed, before the command that reads it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from dynamics.errors import InputError
from fuzz import mutations as m
from fuzz.cage import Case, Left
from fuzz.commands import fault_of, timeless
from fuzz.mutations import BYTES, CELL, MEMBER, TEXT, TREE, Mutation
from fuzz.odd import copy
from fuzz.valid import vouched
from undertow.__main__ import main


@dataclass(frozen=True)
class Format:
    """A file that a command reads.

    Args:
        file: its name in the folder of the case.
        words: the command; `needs`: what else it needs, as in `fuzz.valid.Invocation`.
        changes: each way to change it, in words, with what draws it.
        sealed: the ways that must not change an answer: a checksum says that something is amiss.
        after: what is written beside the changed file.
    read: what reads it, given the words, if it is not the program.
    """

    file: str
    words: str
    needs: Mapping[str, str]
    changes: Mapping[str, tuple[st.SearchStrategy[Mutation], Callable[[Mutation, bytes], bytes]]]
    sealed: Sequence[str] = ()
    after: Callable[[bytes], tuple[str, bytes]] | None = None
    read: Callable[[list[str]], int] = main


def _watch_on(words: list[str]) -> int:
    """As a program that goes on with a monitor: nothing but Python reads its file."""
    from fullscale.monitor.stored import read

    try:
        print(read(Path(words[1])))
    except InputError as error:
        print(f"undertow: {error}", file=sys.stderr)
        return 2
    return 0


RAW = {"bytes": (BYTES, m.in_bytes)}
WORDS = {"text": (TEXT, m.in_text)}
HEADER = {**RAW, "header": (TREE, m.in_header)}
NET = {"net.safetensors": "net.safetensors"}
MEASURE = "measure net.safetensors --json --data "


def _measured(file: str, changes: Any, **more: Any) -> Format:
    source = file.split("/", maxsplit=1)[0]
    net = "net" if source in ("data", "gz") else "colour"
    return Format(file, MEASURE + source, {"net.safetensors": f"{net}.safetensors", source: source}, changes, **more)


FORMATS: dict[str, Format] = {
    "network (safetensors)": Format("net.safetensors", MEASURE + "data", {"data": "data", **NET}, HEADER, ("bytes",)),
    "network, pruned": Format(
        "net.safetensors",
        "prune net.safetensors -o smaller.safetensors",
        {"net.safetensors": "trained/smaller.safetensors"},
        HEADER,
        ("bytes",),
    ),
    "training checkpoint": Format(
        "out/training.safetensors",
        "train data --epochs 2 --batch 4 --width 0.03125 --out out",
        {"data": "data", "out": "trained"},
        HEADER,
        ("bytes",),
    ),
    "monitor": Format(
        "monitor.safetensors",
        "monitor monitor.safetensors",
        {"monitor.safetensors": "monitor.safetensors"},
        HEADER,
        ("bytes",),
        read=_watch_on,
    ),
    "state_dict (.pt)": Format(
        "net.pt",
        "measure --net networks:make --weights net.pt --data data --json",
        {"net.pt": "net.pt", "networks.py": "networks.py", "data": "data"},
        {**RAW, "member": (MEMBER, m.in_zip)},
    ),
    "store, read": Format(
        "results.sqlite",
        "results little.toml --store results.sqlite --json",
        {n: n for n in ("results.sqlite", "little.toml", "data")},
        {**RAW, "cell": (CELL, m.in_store)},
    ),
    "store, merged": Format(
        "results.sqlite",
        "merge results.sqlite --into all.sqlite",
        {"results.sqlite": "results.sqlite", "all.sqlite": "stored/results.sqlite"},
        {**RAW, "cell": (CELL, m.in_store)},
    ),
    "store, judged": Format(
        "out/results.sqlite",
        "claims X1 --worlds worlds.py --out out --json",
        {"worlds.py": "worlds.py", "out": "stored"},
        {"cell": (CELL, m.in_store), **RAW},
    ),
    "study (.toml)": Format(
        "little.toml",
        "study little.toml --out out --dry-run",
        {"little.toml": "little.toml", "data": "data", "out": "studied"},
        WORDS,
    ),
    "study (.py)": Format(
        "little.py",
        "study little.py --out out --dry-run",
        {"little.py": "little.py", "data": "data", "out": "studied"},
        WORDS,
    ),
    "worlds (.py)": Format("worlds.py", "run coin --worlds worlds.py --json", {"worlds.py": "worlds.py"}, WORDS),
    "rules (.py)": Format("rules.py", "explain signum --rules rules.py --l2 1e-3", {"rules.py": "rules.py"}, WORDS),
    "network of one's own (.py)": Format(
        "networks.py",
        "measure --net networks:make --weights net.pt --data data --json",
        {"net.pt": "net.pt", "networks.py": "networks.py", "data": "data"},
        WORDS,
    ),
    "CIFAR (.tar.gz)": _measured(
        "cifar.tar.gz",
        {"batch": (TREE, m.in_batch), "member": (MEMBER, partial(m.in_packed, m.in_tar)), **RAW},
        after=lambda data: ("SHA256SUMS", vouched("cifar.tar.gz", data)),
    ),
    "CIFAR, not vouched for": Format(
        "cifar.tar.gz",
        MEASURE + "cifar.tar.gz",
        {"net.safetensors": "colour.safetensors", "cifar.tar.gz": "cifar.tar.gz", "SHA256SUMS": "SHA256SUMS"},
        RAW,
        ("bytes",),
    ),
    "IDX images": _measured("data/train-images-idx3-ubyte", RAW),
    "IDX labels": _measured("data/t10k-labels-idx1-ubyte", RAW),
    "IDX.gz": _measured(
        "gz/train-images-idx3-ubyte.gz", {**RAW, "packed": (BYTES, partial(m.in_packed, m.in_bytes))}, sealed=("bytes",)
    ),
    "TinyImageNet (.zip)": _measured("tiny.zip", {**RAW, "member": (MEMBER, m.in_zip)}),
    "pictures (.zip)": _measured("pictures.zip", {**RAW, "member": (MEMBER, m.in_zip)}),
    "pictures (.tar)": _measured("pictures.tar", {**RAW, "member": (MEMBER, m.in_tar)}),
    "PNG": _measured("pictures/train/a/0.png", RAW),
    "JPEG": _measured("pictures/train/a/1.jpeg", RAW),
}


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
            for mutation in m.drawn(strategy, by * 1000 + 10 * k + j, some):
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
    return Case("formats", name, what, lambda: form.read(words), judged, prepare)


def judge(form: Format, way: str, said: str | None, left: Left) -> str:
    """The outcome: refused, the same answer as to the valid file, or another one, where nothing tells that the file was changed."""
    if form.file.endswith(".py"):  # of which code may warn as it likes: two lines, where and what
        own = rf"(?m)^\S*{re.escape(form.file)}:\d+: \w*Warning: .*\n(  .*\n)?\n?"
        left = replace(left, err=re.sub(own, "", left.err))
    if fault := fault_of(left):
        return fault
    if left.status == 2:
        return "refused"
    same = said is None or timeless(left.out) == timeless(said)
    if way in form.sealed and not same:
        return f"another answer to a file whose checksum is wrong: {left.out[:100]!r}"
    return "same answer" if same else "another answer"
