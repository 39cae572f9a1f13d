"""Pictures, folders and archives for tests of data: one builder for every form, and what a refusal is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dynamics.errors import InputError
from fullscale.data import load

Content = dict[str, bytes]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".tgz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def png(value: int, mode: str = "L", size: tuple[int, int] = (4, 3), kind: str = "PNG") -> bytes:
    """A picture of random pixels, width x height `size`, in the format `kind`."""
    shape = size[::-1] if mode == "L" else (*size[::-1], 3)
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8)).save(file, kind)
    return file.getvalue()


TREE = {f"{side}/{c}/{k}.png": png(k) for side in ("train", "test") for c in "ab" for k in range(3)}


def unpack(folder: Path, files: Content) -> Path:
    """The files in a folder; a name that ends in / is an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(data)
    return folder


def tarred(files: Content, suffix: str = ".tar", extra: Iterable[tarfile.TarInfo] = ()) -> bytes:
    """The files, then `extra` members without content, as a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.size, member.type = len(data), tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(member, io.BytesIO(data))
        for member in extra:
            archive.addfile(member)
    return COMPRESS[suffix](file.getvalue())


def pack(path: Path, files: Content, *extra: Any) -> Path:
    """The files as an archive of the form that the ending says, or as a folder where there is none.

    extra: behind them, TarInfo for a tar, (ZipInfo, content) for a zip.
    """
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for info, data in [*((zipfile.ZipInfo(name), data) for name, data in files.items()), *extra]:
                archive.writestr(info, data)
    elif path.suffix:
        path.write_bytes(tarred(files, path.suffix, extra))
    else:
        unpack(path, files)
    return path


def refused(source: Any, *words: str, read: tuple[Callable[..., Any], ...] = (load,)) -> None:
    """One line that names the culprit and says what is accepted, by each of the readers."""
    for one in read:
        with pytest.raises(InputError) as caught:
            one(source)
        message = str(caught.value)
        assert "\n" not in message
        for word in (*words, "accepted"):
            assert word in message


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call
