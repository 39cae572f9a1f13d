"""Each image's largest activation of every filter, kept until it is known what the filters' peaks are."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fullscale.measure.activity import SELECTIVE_BELOW

# Images whose selectivity is counted at a time: as much memory again for so many.
COUNTED = 1024
# Bytes of a block of what is kept. A large one comes from the system and not out of the gaps between a network's results,
# which are of other sizes; memory of it that is not written to is not taken.
BLOCK = 1 << 26


class Kept:
    """Rows of numbers, (images, filters), as many as come: in blocks on the CPU, so that none is copied again."""

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []
        self.count = self.free = 0

    def add(self, rows: Tensor) -> None:
        """(n, filters)"""
        self.count += len(rows)
        while len(rows):
            if not self.free:
                self.free = max(1, BLOCK // (rows.shape[1] * rows.element_size()))
                self.blocks.append(torch.empty(self.free, rows.shape[1], dtype=rows.dtype))
            now, rows = rows[: self.free], rows[self.free :]
            start = len(self.blocks[-1]) - self.free
            self.blocks[-1][start : start + len(now)] = now
            self.free -= len(now)

    def rows(self) -> Iterator[Tensor]:
        """All of them, a few at a time."""
        left = self.count
        for block in self.blocks:
            yield from block[:left].split(COUNTED)
            left -= len(block)

    def selectivity(self, peak: Tensor) -> Tensor:
        """Of filters with these peaks the share of the images below SELECTIVE_BELOW of it: (filters,) -> (filters,).

        In slices, as the intermediate results take several times the memory of what is kept.
        """
        below = torch.zeros(len(peak), dtype=torch.int64)
        for rows in self.rows():
            below += (rows / peak < SELECTIVE_BELOW).sum(dim=0)
        return torch.where(peak > 0, below.double() / self.count, 1.0)
