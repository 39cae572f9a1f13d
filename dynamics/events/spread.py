"""How errors spread: an ellipsoid that holds them, taken through the Jacobian of every event."""

from __future__ import annotations

import math

from dynamics.simulate.kernel import compiled

# Rounding of a step, in relative terms: a handful of operations.
ROUND = 16 * 2.0**-53


@compiled
def follow(spread, jacobian, add, size):  # type: ignore[no-untyped-def]
    """The ellipsoid of errors {e: e' spread^-1 e <= 1} taken through a Jacobian, and what errors up to `add` put to it.

    spread: the upper triangle of a symmetric matrix, row by row; jacobian: row by row; size: scales of the three numbers.
    """
    a, b, c, d, e, f = spread
    i, j, k, m, n, o, p, q, r = jacobian
    ia, ib, ic = i * a + j * b + k * c, i * b + j * d + k * e, i * c + j * e + k * f
    ma, mb, mc = m * a + n * b + o * c, m * b + n * d + o * e, m * c + n * e + o * f
    pa, pb, pc = p * a + q * b + r * c, p * b + q * d + r * e, p * c + q * e + r * f
    a, b, c = ia * i + ib * j + ic * k, ia * m + ib * n + ic * o, ia * p + ib * q + ic * r
    d, e, f = ma * m + mb * n + mc * o, ma * p + mb * q + mc * r, pa * p + pb * q + pc * r
    # A box lies in the ellipsoid of axes sqrt(3) add; with this weight the sum's trace is smallest.
    x, y, z = 1 / (size[0] * size[0]), 1 / (size[1] * size[1]), 1 / (size[2] * size[2])
    old, new = a * x + d * y + f * z, 3 * (add[0] * add[0] * x + add[1] * add[1] * y + add[2] * add[2] * z)
    if new == 0:
        return a, b, c, d, e, f
    if old == 0:
        return 3 * add[0] * add[0], 0.0, 0.0, 3 * add[1] * add[1], 0.0, 3 * add[2] * add[2]
    weight = math.sqrt(new / old)
    g, h = 1 + weight, 3 + 3 / weight
    return (
        a * g + h * add[0] * add[0],
        b * g,
        c * g,
        d * g + h * add[1] * add[1],
        e * g,
        f * g + h * add[2] * add[2],
    )
