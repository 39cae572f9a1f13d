"""Numbers that remember which part of them is the regularizer's: a vocabulary in which the very same rules run.

An attributed number has a total, which is what the rule computes, and two parts of it, the loss's and the regularizer's
(pull). What is linear splits: sums, multiples, quotients by a plain scale. What is not, sees the total alone and is
plain: products of two attributed numbers (g * g), roots, maxima, absolute values, norms. So a denominator is a scale
that gradient and pull share, and what it divides keeps its parts. sign(x) = x / abs(x) is such a quotient, and
orthogonal(x) is x under a matrix made from the total, which acts on both parts (in formulas, where that matrix has
no name, it is written orthogonal(x) / x). Totals take the same operations in the same order as the rule itself: they
are its numbers to the last bit.
"""

from __future__ import annotations

from typing import Any

from dynamics.words import Words, bind, newton_schulz


class Attributed:
    """A total and the two parts of it that are the loss's and the regularizer's; what is neither is the starting point."""

    __slots__ = ("loss", "pull", "total")
    __array_ufunc__ = None  # NumPy then leaves mixed arithmetic to this class, and so does torch below

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        return NotImplemented

    def __init__(self, total: Any, loss: Any, pull: Any) -> None:
        self.total, self.loss, self.pull = total, loss, pull

    def __add__(self, other: Any) -> Attributed:
        if isinstance(other, Attributed):
            return Attributed(self.total + other.total, self.loss + other.loss, self.pull + other.pull)
        return Attributed(self.total + other, self.loss, self.pull)

    def __sub__(self, other: Any) -> Attributed:
        if isinstance(other, Attributed):
            return Attributed(self.total - other.total, self.loss - other.loss, self.pull - other.pull)
        return Attributed(self.total - other, self.loss, self.pull)

    def __rsub__(self, other: Any) -> Attributed:
        return Attributed(other - self.total, -self.loss, -self.pull)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Pull):
            return other * self
        if isinstance(other, Attributed):
            return self.total * other.total
        return Attributed(self.total * other, self.loss * other, self.pull * other)

    def __truediv__(self, other: Any) -> Attributed:
        return Attributed(self.total / other, self.loss / other, self.pull / other)

    def __neg__(self) -> Attributed:
        return Attributed(-self.total, -self.loss, -self.pull)

    def __abs__(self) -> Any:
        return abs(self.total)

    __radd__ = __add__
    __rmul__ = __mul__


class Pull(Attributed):
    """What is the regularizer's as a whole, and so is every multiple of it: its strength, its share of a weight."""

    __slots__ = ()

    def __init__(self, total: Any) -> None:
        super().__init__(total, 0, total)

    def __mul__(self, other: Any) -> Pull:
        return Pull(self.total * total(other))

    __rmul__ = __mul__


def total(x: Any) -> Any:
    """What the rule itself would hold: the total of an attributed number, anything else as it is."""
    return x.total if isinstance(x, Attributed) else x


def parts(x: Any) -> tuple[Any, Any]:
    """The loss's and the regularizer's part; a plain number has neither."""
    return (x.loss, x.pull) if isinstance(x, Attributed) else (0, 0)


def _times(factor: Any, x: Any) -> Any:
    # The matrix product; of x with itself turned over it is a scale, and plain.
    if isinstance(factor, Attributed):
        return factor.total @ total(x)
    if isinstance(x, Attributed):
        return Attributed(factor @ x.total, factor @ x.loss, factor @ x.pull)
    return factor @ x


def _turned(x: Attributed) -> Attributed:
    return Attributed(x.total.T, x.loss.T, x.pull.T)


def attributed(words: Words) -> Words:
    """The vocabulary `words` over attributed numbers; plain numbers may stand beside them."""

    def sign(x: Any) -> Any:
        if not isinstance(x, Attributed):
            return words["sign"](x)
        size = abs(x.total)
        size = words["where"](size > 0, size, 1.0)
        return Attributed(words["sign"](x.total), x.loss / size, x.pull / size)

    def where(condition: Any, yes: Any, no: Any) -> Any:
        chosen = words["where"](condition, total(yes), total(no))
        if not isinstance(yes, Attributed) and not isinstance(no, Attributed):
            return chosen
        return Attributed(
            chosen, *(words["where"](condition, a, b) for a, b in zip(parts(yes), parts(no), strict=True))
        )

    def plain(word: str) -> Any:
        return lambda *given: words[word](*map(total, given))

    wide = bind(
        newton_schulz,
        {"largest": plain("maximum"), "norm": plain("norm"), "times": _times, "transpose": _turned, "range": range},
    )

    def orthogonal(x: Any, eps: Any) -> Any:
        if not isinstance(x, Attributed):
            return words["orthogonal"](x, eps)
        if getattr(x.total, "ndim", 0) == 2 and not hasattr(x.total, "__array_ufunc__"):  # a tensor of torch
            return wide(x, eps) if x.total.shape[0] <= x.total.shape[1] else _turned(wide(_turned(x), eps))
        whole = words["orthogonal"](x.total, eps)
        factor = whole / words["where"](abs(x.total) > 0, x.total, 1.0)
        return Attributed(whole, x.loss * factor, x.pull * factor)

    shared = {name: plain(name) for name in ("sqrt", "maximum", "power", "norm", "shape_factor")}
    return shared | {"sign": sign, "where": where, "orthogonal": orthogonal}
