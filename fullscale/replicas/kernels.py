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

from fullscale.replicas.blocks import LANES, dots, shape, sums

_PLAIN: dict[str, Any] = {"error_model": "numpy", "nogil": True}
# Sums may be reordered into vectors; infinities and NaN stay what they are.
_REORDERED: dict[str, Any] = _PLAIN | {"fastmath": {"reassoc", "contract"}}


def whole_vectors(images: int, size: int) -> bool:
    """Whether a batch of so many images, of numbers of `size` bytes, is a whole number of vectors."""
    return images % LANES[size] == 0


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
    """A convolution, and, going back, its gradient with respect to the images, for batches of `images`.

    (x, w, y, stride, padding, back): x (R, ci, H, W, N), w (R, co, k, k, ci), y (R, co, O, P, N); from x and w comes y, going
    back from y and w comes x.
    """
    wide, vectors = shape(images, size)
    block, one = sums(wide, vectors, size), sums(1, vectors, size)
    lanes = vectors * LANES[size]

    @numba.njit(**_PLAIN)  # type: ignore[untyped-decorator]
    def run(x, w, y, stride, padding, back):  # type: ignore[no-untyped-def]
        source, target = (y, x) if back else (x, y)
        kernel, n = w.shape[2], x.shape[4]
        reads, rows, columns = source.shape[1:4]
        gives, height, width = target.shape[1:4]
        a_filter, a_channel = kernel * kernel * w.shape[4], 1
        if back:
            a_filter, a_channel = a_channel, a_filter
        x_channel, out_filter = rows * columns * n, height * width * n
        at, taps = np.empty(kernel * kernel, np.intp), np.empty(kernel * kernel, np.intp)
        for r in range(w.shape[0]):
            from_, to, by = source[r].ctypes.data, target[r].ctypes.data, w[r].ctypes.data
            for place in range(height * width):
                count = _met(place // width, place % width, kernel, stride, padding, rows, columns, back, at, taps)
                at *= n
                taps *= w.shape[4]
                for start in range(0, n, lanes):
                    data, here = from_ + size * start, to + size * (place * n + start)
                    f = 0
                    while f < gives:
                        out, weight = here + size * f * out_filter, by + size * f * a_filter
                        if f + wide <= gives:
                            block(
                                out, data, weight, at.ctypes.data, taps.ctypes.data, count, reads, out_filter, x_channel,
                                a_filter, a_channel,
                            )  # fmt: skip
                            f += wide
                        else:
                            one(
                                out, data, weight, at.ctypes.data, taps.ctypes.data, count, reads, out_filter, x_channel,
                                a_filter, a_channel,
                            )  # fmt: skip
                            f += 1

    return run  # type: ignore[no-any-return]


@cache
def weigh(size: int) -> Callable[..., None]:
    """The gradient of a convolution with respect to its weights.

    (x, w, y, stride, padding): x (R, ci, H, W, N) and the gradient y (R, co, O, P, N) give w (R, co, k, k, ci).
    """
    four, three, tall, one = (dots(f, c, size) for f, c in ((4, 4), (4, 3), (4, 1), (1, 1)))
    lanes = LANES[size]

    @numba.njit(**_PLAIN)  # type: ignore[untyped-decorator]
    def run(x, w, y, stride, padding):  # type: ignore[no-untyped-def]
        replicas, filters, kernel, _, channels = w.shape
        height, width, n = x.shape[2:]
        places, columns = y.shape[2] * y.shape[3], y.shape[3]
        x_at, y_at = np.empty(places, np.intp), np.empty(places, np.intp)
        x_channel, y_filter, w_filter, vectors = height * width * n, places * n, kernel * kernel * channels, n // lanes
        for r in range(replicas):
            data, given, to = x[r].ctypes.data, y[r].ctypes.data, w[r].ctypes.data
            for tap in range(kernel * kernel):
                count = 0
                for place in range(places):
                    u = place // columns * stride + tap // kernel - padding
                    v = place % columns * stride + tap % kernel - padding
                    if 0 <= u < height and 0 <= v < width:
                        x_at[count], y_at[count] = (u * width + v) * n, place * n
                        count += 1
                for f in range(0, filters - filters % 4, 4):
                    c = 0
                    while c < channels:
                        out = to + size * (f * w_filter + tap * channels + c)
                        g, images = given + size * f * y_filter, data + size * c * x_channel
                        if c + 4 <= channels:
                            four(
                                out,
                                g,
                                images,
                                y_at.ctypes.data,
                                x_at.ctypes.data,
                                count,
                                vectors,
                                w_filter,
                                y_filter,
                                x_channel,
                            )
                            c += 4
                        elif c + 3 == channels:
                            three(
                                out,
                                g,
                                images,
                                y_at.ctypes.data,
                                x_at.ctypes.data,
                                count,
                                vectors,
                                w_filter,
                                y_filter,
                                x_channel,
                            )
                            c += 3
                        else:
                            tall(
                                out,
                                g,
                                images,
                                y_at.ctypes.data,
                                x_at.ctypes.data,
                                count,
                                vectors,
                                w_filter,
                                y_filter,
                                x_channel,
                            )
                            c += 1
                for f in range(filters - filters % 4, filters):
                    for c in range(channels):
                        out = to + size * (f * w_filter + tap * channels + c)
                        g, images = given + size * f * y_filter, data + size * c * x_channel
                        one(
                            out,
                            g,
                            images,
                            y_at.ctypes.data,
                            x_at.ctypes.data,
                            count,
                            vectors,
                            w_filter,
                            y_filter,
                            x_channel,
                        )

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
