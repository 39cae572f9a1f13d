"""The IDX format of MNIST and its kin.

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits": two zero bytes, the element type
(8: unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit number, then the elements.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Mapping
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

from .images import Images, Split
from .unpacked import LIMIT, Unpacked

NAME = re.compile(r"(train|t10k)-(images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?")
CHUNK = 2**20
DIMENSIONS = {"images": 3, "labels": 1}


def part(name: str) -> tuple[str, str] | None:
    """("train" or "t10k", "images" or "labels") for the name of an IDX file, None for another name."""
    match = NAME.fullmatch(name)
    return (match[1], match[2][:6]) if match else None


def array(file: IO[bytes], name: str, shown: str) -> NDArray[np.uint8]:
    """The elements of the IDX file called `name`: uint8 (N, H, W) for images, (N,) for labels.

    shown: how messages name the file. Raises InputError for another magic number and for a file shorter or longer than
    its header says, or one whose gzip layer is broken.
    """
    found = part(name)
    assert found is not None
    kind = found[1]
    if not name.endswith(".gz"):
        return _array(file, kind, shown)
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            return _array(cast(IO[bytes], Unpacked(cast(IO[bytes], unpacked), file.tell, shown)), kind, shown)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{shown}: broken gzip data ({error}): a whole gzipped IDX file is accepted") from error


def _array(file: IO[bytes], kind: str, shown: str) -> NDArray[np.uint8]:
    dimensions = DIMENSIONS[kind]
    head = file.read(4 + 4 * dimensions)
    magic = bytes((0, 0, 8, dimensions))
    if head[:4] != magic:
        raise InputError(f"{shown}: magic number {head[:4].hex()!r}: {magic.hex()!r} (IDX {kind}) is accepted")
    if len(head) < 4 + 4 * dimensions:
        raise InputError(f"{shown}: {len(head)} bytes: a whole IDX header ({4 + 4 * dimensions} bytes) is accepted")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    if 0 in shape:
        raise InputError(f"{shown}: dimensions {shape}: positive ones are accepted")
    size = math.prod(shape)
    if size > LIMIT:
        raise InputError(f"{shown}: dimensions {shape}, {size:,} bytes: up to {LIMIT:,} are accepted")
    # Grows with what is there: a header that lies must not make us allocate what it claims.
    body = bytearray()
    while chunk := file.read(min(CHUNK, size + 1 - len(body))):
        body += chunk
    if len(body) != size:
        has = "more" if len(body) > size else len(body)
        raise InputError(f"{shown}: {has} bytes after the header, which says {shape}: exactly {size} are accepted")
    return np.frombuffer(body, np.uint8).reshape(shape)


def images(name: str, source: str, tables: Mapping[tuple[str, ...], NDArray[np.uint8]]) -> Images:
    """The task that four IDX arrays make: (N, 1, H, W); the classes are the label values that occur.

    name: of the task; source: how messages name it; tables: arrays by path.
    Raises InputError for a part that is absent or there twice with different content, labels that do not fit
    their images in number, and for train and t10k with different classes.
    """
    parts: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for path, table in sorted(tables.items(), key=lambda item: item[0]):
        key = part(path[-1])
        assert key is not None
        # The same file packed and unpacked side by side is common and harmless.
        if not np.array_equal(parts.setdefault(key, table), table):
            raise InputError(
                f"{source}: {'/'.join(path)!r} differs from another {key[0]} {key[1]} file: one is accepted"
            )
    for key in ((side, kind) for side in ("train", "t10k") for kind in DIMENSIONS):
        if key not in parts:
            wanted = f"{key[0]}-{key[1]}-idx{DIMENSIONS[key[1]]}-ubyte"
            raise InputError(
                f"{source}: no {wanted!r} (or .gz): all four of train and t10k, images and labels, are accepted"
            )
    values = {side: np.unique(parts[side, "labels"]) for side in ("train", "t10k")}
    if not np.array_equal(values["train"], values["t10k"]):
        train, test = (values[side].tolist() for side in ("train", "t10k"))
        raise InputError(f"{source}: train has labels {train}, t10k {test}: the same are accepted")
    splits = []
    for side in ("train", "t10k"):
        pictures, labels = parts[side, "images"], parts[side, "labels"]
        if len(pictures) != len(labels):
            raise InputError(
                f"{source}: {len(labels)} {side} labels for {len(pictures)} images: one an image is accepted"
            )
        splits.append(Split(pictures[:, None], np.searchsorted(values[side], labels).astype(np.int64)))
    return Images(name, tuple(str(value) for value in values["train"]), *splits)
