"""Convolution and BatchNorm over replicas on a processor, the images of a batch being its innermost dimension.

Arrays are (R, C, H, W, N): replicas, channels, rows, columns, images. One weight then meets whole vectors of images, so that
a convolution is multiply-adds of registers and nothing else: no copy of the patches, no tap that falls on the padding is
computed (5 of 9 in a map of 2x2), and few channels are as fast as many. Compiled by numba where first used, for the batch's
number of vectors and the type of the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types

from fullscale.replicas.blocks import LANES, dots, shape, sums

_PLAIN: dict[str, Any] = {"error_model": "numpy", "nogil": True}
# Sums may be reordered into vectors; infinities and NaN stay what they are.
_REORDERED: dict[str, Any] = _PLAIN | {"fastmath": {"reassoc", "contract"}}


def whole_vectors(images: int, size: int) -> bool:
    """Whether a batch of so many images, of numbers of `size` bytes, is a whole number of vectors."""
    return images % LANES[size] == 0


def _signature(size: int, *more: Any) -> Any:
    """Three arrays, stride, padding and more. One for all strides: what numba sees apart it compiles once more."""
    array = types.Array({4: types.float32, 8: types.float64}[size], 5, "A")  # type: ignore[no-untyped-call, call-overload]
    return types.void(array, array, array, types.intp, types.intp, *more)


@numba.njit(**_PLAIN)  # type: ignore[untyped-decorator]
def _met(i, j, kernel, stride, padding, rows, columns, back, at, taps):  # type: ignore[no-untyped-def]
    """The pixels that pixel (i, j) is made from, and by which tap of the kernel; their number."""
    count = 0
    for k in range(kernel):
        u = i + padding - k if back else i * stride + k - padding
        if u < 0 or (back and u % stride):
            continue
        u = u // stride if back else u
        if u >= rows:
            continue
        for m in range(kernel):
            v = j + padding - m if back else j * stride + m - padding
            if v < 0 or (back and v % stride):
                continue
            v = v // stride if back else v
            if v < columns:
                at[count], taps[count] = u * columns + v, k * kernel + m
                count += 1
    return count


@cache
def convolve(images: int, size: int) -> Callable[..., None]:
    """A convolution, or, going back, its gradient with respect to the images, for batches of `images`.

    (source, w, target, stride, padding, back): source (R, c, H, W, N), w (R, f, k, k, c), target (R, f, O, P, N), which is
    written. Going back, source is the gradient of what the convolution gave, and f are the channels that it read.
    """
    wide, vectors = shape(images, size)
    block, one = sums(wide, vectors, size), sums(1, vectors, size)
    lanes = vectors * LANES[size]

    @numba.njit(_signature(size, types.boolean), **_PLAIN)  # type: ignore[untyped-decorator]
    def run(source, w, target, stride, padding, back):  # type: ignore[no-untyped-def]
        kernel, n = w.shape[2], source.shape[4]
        reads, rows, columns = source.shape[1:4]
        gives, height, width = target.shape[1:4]
        x_channel, out_filter, w_filter = rows * columns * n, height * width * n, kernel * kernel * reads
        at, taps = np.empty(kernel * kernel, np.intp), np.empty(kernel * kernel, np.intp)
        for r in range(w.shape[0]):
            read, write, by = source[r].ctypes.data, target[r].ctypes.data, w[r].ctypes.data
            for place in range(height * width):
                count = _met(place // width, place % width, kernel, stride, padding, rows, columns, back, at, taps)
                at *= n
                taps *= reads
                a, t = at.ctypes.data, taps.ctypes.data
                for start in range(0, n, lanes):
                    data, here = read + size * start, write + size * (place * n + start)
                    for f in range(0, gives - gives % wide, wide):
                        out, weight = here + size * f * out_filter, by + size * f * w_filter
                        block(out, data, weight, a, t, count, reads, out_filter, x_channel, w_filter, 1)
                    for f in range(gives - gives % wide, gives):
                        out, weight = here + size * f * out_filter, by + size * f * w_filter
                        one(out, data, weight, a, t, count, reads, out_filter, x_channel, w_filter, 1)

    return run  # type: ignore[no-any-return]


@numba.njit(**_PLAIN)  # type: ignore[untyped-decorator]
def _meetings(x_shape, y_shape, kernel, stride, padding):  # type: ignore[no-untyped-def]
    """For each tap of the kernel the pixels of x that it reads, the pixels of y that it gives to, and their number."""
    height, width, columns = x_shape[2], x_shape[3], y_shape[3]
    places = y_shape[2] * columns
    x_at, y_at = np.empty((kernel * kernel, places), np.intp), np.empty((kernel * kernel, places), np.intp)
    counts = np.zeros(kernel * kernel, np.intp)
    for tap in range(kernel * kernel):
        for place in range(places):
            u = place // columns * stride + tap // kernel - padding
            v = place % columns * stride + tap % kernel - padding
            if 0 <= u < height and 0 <= v < width:
                x_at[tap, counts[tap]], y_at[tap, counts[tap]] = u * width + v, place
                counts[tap] += 1
    return x_at, y_at, counts


@cache
def weigh(size: int) -> Callable[..., None]:
    """The gradient of a convolution with respect to its weights.

    (x, w, y, stride, padding): x (R, ci, H, W, N) and the gradient y (R, co, O, P, N) give w (R, co, k, k, ci).
    """
    four, three, tall, one = (dots(f, c, size) for f, c in ((4, 4), (4, 3), (4, 1), (1, 1)))
    lanes = LANES[size]

    @numba.njit(_signature(size), **_PLAIN)  # type: ignore[untyped-decorator]
    def run(x, w, y, stride, padding):  # type: ignore[no-untyped-def]
        replicas, filters, kernel, _, channels = w.shape
        n = x.shape[4]
        x_at, y_at, counts = _meetings(x.shape, y.shape, kernel, stride, padding)
        x_at *= n
        y_at *= n
        x_channel, y_filter, w_filter = (
            x.shape[2] * x.shape[3] * n,
            y.shape[2] * y.shape[3] * n,
            kernel * kernel * channels,
        )
        vectors = n // lanes
        for r in range(replicas):
            data, given, to = x[r].ctypes.data, y[r].ctypes.data, w[r].ctypes.data
            f = 0
            while f < filters:
                high = 4 if f + 4 <= filters else 1
                c = 0
                while c < channels:
                    left = channels - c
                    deep = 1 if high == 1 or left < 3 else 3 if left == 3 else 4
                    g, images = given + size * f * y_filter, data + size * c * x_channel
                    # All taps in a row: what they read stays in the cache.
                    for tap in range(kernel * kernel):
                        out = to + size * (f * w_filter + tap * channels + c)
                        ys, xs, count = y_at[tap].ctypes.data, x_at[tap].ctypes.data, counts[tap]
                        if deep == 4:
                            four(out, g, images, ys, xs, count, vectors, w_filter, y_filter, x_channel)
                        elif deep == 3:
                            three(out, g, images, ys, xs, count, vectors, w_filter, y_filter, x_channel)
                        elif high == 4:
                            tall(out, g, images, ys, xs, count, vectors, w_filter, y_filter, x_channel)
                        else:
                            one(out, g, images, ys, xs, count, vectors, w_filter, y_filter, x_channel)
                    c += deep
                f += high

    return run  # type: ignore[no-any-return]


@numba.njit(**_REORDERED)  # type: ignore[untyped-decorator]
def normalize(x, gamma, beta, mean, inverse, variance, eps, rectify, y):  # type: ignore[no-untyped-def]
    """BatchNorm of x (R, C, M) into y, with ReLU if `rectify`; mean, inverse deviation and variance (R, C) are written."""
    zero = np.zeros(1, x.dtype)[0]
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            row, out = x[r, c], y[r, c]
            count = x.dtype.type(row.size)
            total = zero
            for k in range(row.size):
                total += row[k]
            middle = total / count
            total = zero
            for k in range(row.size):
                away = row[k] - middle
                total += away * away
            spread = total / count
            scale = 1 / np.sqrt(spread + eps)
            mean[r, c], variance[r, c], inverse[r, c] = middle, spread, scale
            scale = scale * gamma[r, c]
            shift = beta[r, c] - middle * scale
            for k in range(row.size):
                value = row[k] * scale + shift
                # As written: NaN stays NaN.
                out[k] = zero if rectify and value < zero else value


@numba.njit(**_REORDERED)  # type: ignore[untyped-decorator]
def denormalize(x, y, g, gamma, mean, inverse, rectify, x_gradient, gamma_gradient, beta_gradient):  # type: ignore[no-untyped-def]
    """The gradients of `normalize`: from g, that of y, those of x, gamma and beta."""
    zero = np.zeros(1, x.dtype)[0]
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            row, out, given, back = x[r, c], y[r, c], g[r, c], x_gradient[r, c]
            middle, scale = mean[r, c], inverse[r, c]
            plain, weighted = zero, zero
            for k in range(row.size):
                slope = zero if rectify and out[k] <= zero else given[k]
                plain += slope
                weighted += slope * (row[k] - middle)
            weighted *= scale
            gamma_gradient[r, c], beta_gradient[r, c] = weighted, plain
            a = scale * gamma[r, c]
            slant = weighted * scale / x.dtype.type(row.size)
            level = plain / x.dtype.type(row.size)
            for k in range(row.size):
                slope = zero if rectify and out[k] <= zero else given[k]
                back[k] = a * (slope - level - (row[k] - middle) * slant)
