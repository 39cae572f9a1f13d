"""The one budget of bytes that anything compressed may unpack to, so that a small file cannot take hours or all memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO

from dynamics.errors import InputError

# Bytes that are free, and how many more for each byte that was read: pictures hardly shrink, MNIST's files to a fifth; a file of
# zeros shrinks to a thousandth, and is refused after a second or two.
FREE, TIMES = 2**28, 50
# Bytes of the pixels of a data set in memory; while they are put in order there are two copies.
LIMIT = 2**32


def check_unpacked(shown: str, length: int, packed: int) -> None:
    """InputError for more than `FREE` bytes and `TIMES` those packed."""
    if length > FREE + TIMES * packed:
        raise InputError(
            f"{shown} unpacks to {length:,} bytes and more: up to {TIMES} times the packed ones and {FREE:,} are accepted"
        )


class Unpacked(io.RawIOBase):
    """Passes an unpacked stream on, and remembers its length and where its last byte other than zero ends.

    packed: bytes that were read so far to unpack it. shown: how messages name the file. Reading raises InputError as
    `check_unpacked` does.
    """

    def __init__(self, stream: IO[bytes], packed: Callable[[], int], shown: str) -> None:
        self.stream, self.packed, self.shown = stream, packed, shown
        self.length = self.used = 0

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        chunk = self.stream.read(size)
        content = len(chunk.rstrip(b"\0"))
        if content:
            self.used = self.length + content
        self.length += len(chunk)
        check_unpacked(self.shown, self.length, self.packed())
        return chunk
