"""Odd values and odd places: what may stand where a number, a text or a path is wanted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NUMBERS = (
    *("nan", "inf", "-inf", "1e400", "-1", "0", "-0.0", "1e-320", "1e308", "1000000000000", "99999999999999999999", "9" * 5000),
    *("1.5", "", " ", "abc", "1_0", "0x10", "1e3", "True", "None", "1,5", "\N{ARABIC-INDIC DIGIT THREE}"),
    *("1\n2", "\0", "--", "1e-17"),
)  # fmt: skip
TEXTS = (
    *("", " ", "abc", "Adam", "-", "--", "a" * 5000, "new\nline", "\0", "\udcff", "\N{SNOWMAN}", "%s", "{}", "a=b", "=", "a="),
    *("adam lr=", "adam lr=nan", "adam lr=1e-3 lr=1", "adam =1", "adam l2=-1", "adam beta1=1e308", "../x", "os:system"),
    *(",", "[[", "x " * 999),
)  # fmt: skip
# Values without a type whose words say where images, a network or a study are.
PLACES = ("data", "study")
# The endings that a path must have before anything else is looked at.
ENDINGS = {
    "plot": ".svg", "csv": ".csv", "checkpoint": ".safetensors", "weights": ".pt", "study": ".toml", "start": ".safetensors",
    "rules": ".py", "worlds": ".py", "parquet": ".parquet", "netcdf": ".nc", "stores": ".sqlite", "store": ".sqlite",
    "into": ".sqlite",
}  # fmt: skip
KINDS = (
    "net.safetensors",
    "net.pt",
    "results.sqlite",
    "little.toml",
    "little.py",
    "worlds.py",
    "cifar.tar.gz",
    "tiny.zip",
)
KINDS += ("pictures.tar", "data", "trained/training.safetensors", "rules.py")
ODD = (
    *("missing", "deep", "folder", "fifo", "null", "full", "zero", "dangling", "loop", "locked", "shut", "empty", "text"),
    *("newline", "not UTF-8", "230 characters", "5,000 characters", "4,000 folders", "NUL", "no name", "here"),
    *("itself", "below a file"),
)  # fmt: skip


def odd_path(kind: str, ending: str, words: Sequence[str], folder: Path) -> str:
    """Make what lies at an odd path; the path."""
    path = folder / f"odd{ending}"
    if kind in KINDS:
        copy(folder.parent / "valid" / kind, path)
    makers: dict[str, Callable[[], Any]] = {
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "dangling": lambda: path.symlink_to("nowhere"),
        "loop": lambda: path.symlink_to(path.name),
        "empty": path.touch,
        "locked": lambda: (path.touch(), path.chmod(0)),
        "shut": lambda: ((folder / "shut").mkdir(), (folder / "shut").chmod(0)),
        "text": lambda: path.write_text("a text\n"),
        "newline": lambda: None,
        "below a file": path.touch,
        "null": lambda: device(path, 3),
        "zero": lambda: device(path, 5),
        "full": lambda: device(path, 7),
    }
    makers.get(kind, lambda: None)()
    names = {
        "missing": f"nowhere{ending}", "deep": f"nowhere/deeper/odd{ending}", "shut": f"shut/odd{ending}",
        "newline": f"new\nline{ending}", "not UTF-8": f"odd\udcff{ending}", "230 characters": "o" * 230 + ending,
        "5,000 characters": "o" * 5000 + ending, "4,000 folders": "o/" * 4000 + ending, "NUL": f"o\0d{ending}", "no name": "",
        "here": ".", "below a file": f"odd{ending}/odd{ending}",
        "itself": next((word for word in words[1:] if "." in word and not word.startswith("-")), "."),
    }  # fmt: skip
    return names.get(kind, path.name)


def device(path: Path, minor: int) -> None:
    """A device of one's own where that can be made, else a link to the system's, which only root could harm."""
    try:
        os.mknod(path, 0o20666, os.makedev(1, minor))
        path.chmod(0o666)
    except PermissionError:
        path.symlink_to({3: "/dev/null", 5: "/dev/zero", 7: "/dev/full"}[minor])


def copy(source: Path, target: Path) -> None:
    """A file, or a folder with all that is in it."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
