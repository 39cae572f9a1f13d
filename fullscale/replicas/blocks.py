"""The two innermost loops of a convolution, written as LLVM's vector code, for numba's functions to call.

Each keeps a block of sums in registers: what LLVM makes of such loops in Python does not (it keeps the sums in memory), and
that decides the speed. Offsets and strides count numbers, not bytes; addresses are whole numbers, nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Numbers in a vector of 32 bytes, by their size in bytes.
LANES = {4: 8, 8: 4}
_POINTER = 8


@cache
def registers() -> int:
    """How many vector registers this processor has."""
    return (
        16
        if binding.get_process_triple().startswith("x86") and not binding.get_host_cpu_features().get("avx512vl")
        else 32
    )


@cache
def shape(images: int, size: int) -> tuple[int, int]:
    """The block of sums that fits the registers: filters, vectors of images. The vectors divide the batch."""
    free = registers() - 1
    most = 5 if free > 16 else 3
    vectors = next(v for v in range(most, 0, -1) if images // LANES[size] % v == 0)
    return next(f for f in (8, 4, 2, 1) if f * vectors <= free - vectors), vectors


class _Writer:
    """Writes LLVM's code for vectors of one type."""

    def __init__(self, builder: Any, size: int) -> None:
        self.builder, self.size, self.lanes = builder, size, LANES[size]
        self.real = ir.FloatType() if size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.real, self.lanes)
        self.suffix = f"v{self.lanes}f{8 * size}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self.fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.{self.suffix}")

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.add(a, ir.Constant(a.type, b) if isinstance(b, int) else b)

    def times(self, a: Any, b: int) -> Any:
        return self.builder.mul(a, ir.Constant(a.type, b))

    def pointer(self, base: Any, offset: Any, kind: Any) -> Any:
        return self.builder.inttoptr(self.add(base, self.times(offset, self.size)), kind.as_pointer())

    def entry(self, base: Any, index: Any) -> Any:
        """A whole number out of a list of them."""
        at = self.builder.inttoptr(self.add(base, self.times(index, _POINTER)), base.type.as_pointer())
        return self.builder.load(at)

    def load(self, base: Any, offset: Any) -> Any:
        return self.builder.load(self.pointer(base, offset, self.vector), align=self.size)

    def store(self, value: Any, base: Any, offset: Any) -> None:
        self.builder.store(value, self.pointer(base, offset, value.type), align=self.size)

    def spread(self, base: Any, offset: Any) -> Any:
        """A vector of one number."""
        number = self.builder.load(self.pointer(base, offset, self.real))
        nothing, whole = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        first = self.builder.insert_element(nothing, number, ir.Constant(whole, 0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(whole, self.lanes), None))

    def zeros(self, rows: int, columns: int) -> list[list[Any]]:
        """Sums, which LLVM puts into registers."""
        nothing = ir.Constant(self.vector, None)
        cells = [[cgutils.alloca_once(self.builder, self.vector) for _ in range(columns)] for _ in range(rows)]
        for cell in (cell for row in cells for cell in row):
            self.builder.store(nothing, cell)
        return cells

    def gain(self, cell: Any, a: Any, b: Any) -> None:
        self.builder.store(self.builder.call(self.fma, [a, b, self.builder.load(cell)]), cell)

    def total(self, cell: Any) -> Any:
        """The sum over a vector's numbers."""
        kind = ir.FunctionType(self.real, [self.real, self.vector])
        reduce = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.vector.reduce.fadd.{self.suffix}")
        return self.builder.call(reduce, [ir.Constant(self.real, 0.0), self.builder.load(cell)], fastmath=("reassoc",))


@cache
def sums(filters: int, vectors: int, size: int) -> Callable[..., None]:
    """Writes out[f, n] = sum over taps t and channels c of x[at[t] + c * x_channel + n] * w[taps[t] + f * w_filter + c *
    w_channel], for `filters` f, `vectors` of images n and `count` taps; out[f] begins at f * out_filter."""

    @intrinsic  # type: ignore[untyped-decorator]
    def block(context, out, x, w, at, taps, count, channels, out_filter, x_channel, w_filter, w_channel):  # type: ignore[no-untyped-def]
        def generate(target, builder, signature, values):  # type: ignore[no-untyped-def]
            out, x, w, at, taps, count, channels, out_filter, x_channel, w_filter, w_channel = values
            write = _Writer(builder, size)
            cells = write.zeros(filters, vectors)
            steps = [write.times(w_filter, f) for f in range(filters)]
            with cgutils.for_range(builder, count) as tap:
                first, weight = write.entry(at, tap.index), write.entry(taps, tap.index)
                with cgutils.for_range(builder, channels) as channel:
                    here = write.add(first, builder.mul(channel.index, x_channel))
                    there = write.add(weight, builder.mul(channel.index, w_channel))
                    images = [write.load(x, write.add(here, v * write.lanes)) for v in range(vectors)]
                    for row, step in zip(cells, steps, strict=True):
                        factor = write.spread(w, write.add(there, step))
                        for cell, image in zip(row, images, strict=True):
                            write.gain(cell, image, factor)
            for f, row in enumerate(cells):
                for v, cell in enumerate(row):
                    write.store(builder.load(cell), out, write.add(write.times(out_filter, f), v * write.lanes))
            return target.get_dummy_value()

        return types.void(*(types.intp,) * 11), generate

    return block  # type: ignore[no-any-return]


@cache
def dots(filters: int, channels: int, size: int) -> Callable[..., None]:
    """Writes out[f, c] = sum over positions t and images n of g[g_at[t] + f * g_filter + n] * x[x_at[t] + c * x_channel + n], for
    `vectors` of images; out[f, c] lies at f * out_filter + c."""

    @intrinsic  # type: ignore[untyped-decorator]
    def block(context, out, g, x, g_at, x_at, count, vectors, out_filter, g_filter, x_channel):  # type: ignore[no-untyped-def]
        def generate(target, builder, signature, values):  # type: ignore[no-untyped-def]
            out, g, x, g_at, x_at, count, vectors, out_filter, g_filter, x_channel = values
            write = _Writer(builder, size)
            cells = write.zeros(filters, channels)
            rows = [write.times(g_filter, f) for f in range(filters)]
            columns = [write.times(x_channel, c) for c in range(channels)]
            with cgutils.for_range(builder, count) as position:
                g_first, x_first = write.entry(g_at, position.index), write.entry(x_at, position.index)
                with cgutils.for_range(builder, vectors) as vector:
                    n = write.times(vector.index, write.lanes)
                    here, there = write.add(g_first, n), write.add(x_first, n)
                    images = [write.load(x, write.add(there, column)) for column in columns]
                    for cell_row, row in zip(cells, rows, strict=True):
                        gradient = write.load(g, write.add(here, row))
                        for cell, image in zip(cell_row, images, strict=True):
                            write.gain(cell, gradient, image)
            for f, cell_row in enumerate(cells):
                for c, cell in enumerate(cell_row):
                    write.store(write.total(cell), out, write.add(write.times(out_filter, f), c))
            return target.get_dummy_value()

        return types.void(*(types.intp,) * 10), generate

    return block  # type: ignore[no-any-return]
