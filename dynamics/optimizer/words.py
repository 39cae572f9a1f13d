"""The vocabulary in which a step is traced: every word over lists of tensors and over numbers that all tensors share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamics.optimizer.trace import Number, Operation, Trace, Value
from dynamics.words import FLOATS, Words


def _word(kind: str, number: str | None, whole: bool | None = None) -> Callable[..., Any]:
    """A word of one argument: an operation on a list, or `number`, a template, of a number."""

    def word(x: Any, *more: Any) -> Any:
        if isinstance(x, Value):
            return x.mapped(kind, *more, whole=whole)
        if isinstance(x, Number) and x.value is None and number:
            return x.trace.number(number, x)
        if isinstance(x, Number) and (x.value is None or more):
            raise TypeError(f"{kind} of a number that all tensors share")
        plain = x.value if isinstance(x, Number) else x
        return FLOATS[kind](plain)

    return word


def _largest(a: Any, b: Any) -> Any:
    if isinstance(a, Value) and isinstance(b, Value):
        x, y = a.whole(), b.whole()
        return Value(a.trace, a.trace.literal(1), a.trace.operation("maximum", x, y, whole=x.whole or y.whole))
    if isinstance(a, Value):
        return a.mapped("at_least", b)
    if isinstance(b, Value):
        return b.mapped("at_least", a)
    known = [x.value if isinstance(x, Number) else x for x in (a, b)]
    if None not in known:
        return FLOATS["maximum"](*known)
    return (a if isinstance(a, Number) else b).trace.number("maximum({}, {})", a, b)


def _power(base: Any, exponent: Any) -> Any:
    return (base if isinstance(base, Number) else exponent).trace.number("power({}, {})", base, exponent)


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    if isinstance(condition, Operation):
        return _chosen(condition, yes, no)
    trace: Trace = condition.trace
    place, trace.choices = trace.choices, trace.choices + 1
    if not isinstance(yes, Value) and not isinstance(no, Value):
        return trace.number("where({}, {}, {})", condition, yes, no)
    if place in trace.answers:
        return yes if trace.answers[place] else no
    if not condition.tensor:
        trace.questions[place] = condition
    return _chosen(condition, yes, no)


def _chosen(condition: Any, yes: Any, no: Any) -> Value:
    trace = (yes if isinstance(yes, Value) else no).trace
    parts = [condition, *(x.whole() if isinstance(x, Value) else trace.as_number(x) for x in (yes, no))]
    whole = any(p.whole for p in parts if isinstance(p, Operation))
    return Value(trace, trace.literal(1), trace.operation("where", *parts, whole=whole))


# The vocabulary in which a step is traced.
TRACED: Words = {
    "sqrt": _word("sqrt", "sqrt({})"),
    "sign": _word("sign", None),
    "maximum": _largest,
    "power": _power,
    "where": _choose,
    "norm": _word("norm", None, whole=False),
    "orthogonal": _word("orthogonal", None),
    "aspect": _word("aspect", None, whole=False),
}
