"""A composed step as a graph: the rule's own code run over symbols that tell lists of tensors from plain numbers.

Numbers (learning rate, hyperparameters, clock) are named expressions, the same for all tensors. A `Value` stands for a
list, one tensor a parameter, as a number times an `Operation`. Keeping the factor apart folds chains of numbers before
any tensor is touched: lr * (m * c) / d is one number times m / d, and w - s * w is (1 - s) * w. `TRACED` is the vocabulary
that a rule is given for this: every word over lists and over numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dynamics.words import FLOATS, Words


class Trace:
    """What one run of a step has asked for: numbers, operations on lists, and conditions that choose between lists.

    tensors: names of numbers that are tensors of no dimension when the plan runs; all others are Python's.
    answers: the conditions already decided, by their place among all; an undecided one is noted in `questions`.
    """

    def __init__(self, tensors: frozenset[str] = frozenset(), answers: Mapping[int, bool] | None = None) -> None:
        self.tensors = tensors
        self.answers = answers or {}
        self.questions: dict[int, Number] = {}
        self.choices = 0
        self.numbers: dict[str, Number] = {}
        self.operations: dict[Any, Operation] = {}

    def literal(self, value: float) -> Number:
        """A number known while tracing."""
        return Number(self, repr(float(value)), float(value), False, ())

    def given(self, name: str) -> Number:
        """A number known when the plan runs."""
        return Number(self, name, None, name in self.tensors, ())

    def leaf(self, name: str) -> Value:
        """A list handed to the plan."""
        return Value(self, self.literal(1), self.operation("leaf", name))

    def number(self, template: str, *parts: Any) -> Number:
        """The number that `template` makes of its parts: the same one for the same expression."""
        needs = tuple(self.as_number(p) for p in parts)
        expression = template.format(*(n.text for n in needs))
        if expression not in self.numbers:
            name = f"n{len(self.numbers)}"
            self.numbers[expression] = Number(self, name, None, any(n.tensor for n in needs), needs, expression)
        return self.numbers[expression]

    def as_number(self, x: Any) -> Number:
        """A Python number as a literal; TypeError for a list, which no number can be made of."""
        if isinstance(x, Number):
            return x
        if isinstance(x, int | float):
            return self.literal(x)
        raise TypeError(f"{type(x).__name__} where a number of the step is needed")

    def operation(self, kind: str, *parts: Any, whole: bool = True) -> Operation:
        """The operation of that kind on those parts: the same one for the same parts."""
        key = (kind, *(p.text if isinstance(p, Number) else p for p in parts))
        if key not in self.operations:
            self.operations[key] = Operation(kind, parts, whole, len(self.operations))
        return self.operations[key]

    def combined(self, terms: list[tuple[Number, Operation]], constant: Number) -> Value:
        """The sum of one or two terms and a constant, as a list."""
        if len(terms) == 1 and constant.value == 0:
            return Value(self, *terms[0])
        flat = [part for term in terms for part in term]
        whole = any(operation.whole for _, operation in terms)
        return Value(self, self.literal(1), self.operation("sum", *flat, constant, whole=whole))


@dataclass(frozen=True, eq=False)
class Operation:
    """One list. parts: operations and numbers. whole: a tensor of the parameter's shape each, or else one number each."""

    kind: str
    parts: tuple[Any, ...]
    whole: bool
    order: int

    @property
    def operands(self) -> list[Operation]:
        return [p for p in self.parts if isinstance(p, Operation)]

    def __bool__(self) -> bool:
        raise TypeError("a step chooses by where(), not by if: its tensors are not known while it is planned")


class Number:
    """A number that all tensors share; value is None if it is known only when the plan runs."""

    __slots__ = ("expression", "needs", "tensor", "text", "trace", "value")

    def __init__(
        self,
        trace: Trace,
        text: str,
        value: float | None,
        tensor: bool,
        needs: tuple[Number, ...],
        expression: str = "",
    ) -> None:
        self.trace, self.text, self.value, self.tensor = trace, text, value, tensor
        self.needs, self.expression = needs, expression

    def _with(self, symbol: str, other: Any, turned: bool = False) -> Any:
        if isinstance(other, Value):
            return NotImplemented
        a, b = self, self.trace.as_number(other)
        if turned:
            a, b = b, a
        if a.value is not None and b.value is not None:
            return self.trace.literal(_PYTHON[symbol](a.value, b.value))
        # What is not there costs nothing.
        if symbol in "+-" and b.value == 0:
            return a
        if symbol == "+" and a.value == 0:
            return b
        if symbol in "*/" and b.value == 1:
            return a
        if symbol == "*" and a.value == 1:
            return b
        if (symbol in "*/" and a.value == 0) or (symbol == "*" and b.value == 0):
            return self.trace.literal(0)
        return self.trace.number("{} %s {}" % symbol, a, b)  # noqa: UP031

    def __add__(self, other: Any) -> Any:
        return self._with("+", other)

    def __sub__(self, other: Any) -> Any:
        return self._with("-", other)

    def __mul__(self, other: Any) -> Any:
        return self._with("*", other)

    def __truediv__(self, other: Any) -> Any:
        return self._with("/", other)

    def __radd__(self, other: Any) -> Any:
        return self._with("+", other, turned=True)

    def __rsub__(self, other: Any) -> Any:
        return self._with("-", other, turned=True)

    def __rmul__(self, other: Any) -> Any:
        return self._with("*", other, turned=True)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with("/", other, turned=True)

    def __gt__(self, other: Any) -> Any:
        return self.trace.number("{} > {}", self, other)

    def __lt__(self, other: Any) -> Any:
        return self.trace.number("{} < {}", self, other)

    def __bool__(self) -> bool:
        raise TypeError("a step chooses by where(), not by if: its numbers are not known while it is planned")

    def is_rest_of(self, other: Number) -> bool:
        """Whether this is written as 1 - other."""
        return self.expression == f"1.0 - {other.text}"


_PYTHON: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


class Value:
    """A list of tensors within a step: factor times an operation."""

    __slots__ = ("factor", "operation", "trace")

    def __init__(self, trace: Trace, factor: Number, operation: Operation) -> None:
        self.trace, self.factor, self.operation = trace, factor, operation

    def whole(self) -> Operation:
        """The list with its factor multiplied in, as one operation."""
        if self.factor.value == 1:
            return self.operation
        return self.trace.operation(
            "sum", self.factor, self.operation, self.trace.literal(0), whole=self.operation.whole
        )

    def _plus(self, other: Any, sign: int) -> Value | Number:
        if not isinstance(other, Value):
            constant = sign * self.trace.as_number(other)
            return self if constant.value == 0 else self.trace.combined([(self.factor, self.operation)], constant)
        factor = sign * other.factor
        if other.operation is self.operation:
            total = self.factor + factor
            return total if total.value == 0 else Value(self.trace, total, self.operation)
        return self.trace.combined([(self.factor, self.operation), (factor, other.operation)], self.trace.literal(0))

    def __add__(self, other: Any) -> Any:
        return self._plus(other, 1)

    def __sub__(self, other: Any) -> Any:
        return self._plus(other, -1)

    __radd__ = __add__

    def __rsub__(self, other: Any) -> Any:
        return -1 * self + other

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, Value):
            factor = self.factor * self.trace.as_number(other)
            return factor if factor.value == 0 else Value(self.trace, factor, self.operation)
        return self._of_two("product", self.factor * other.factor, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if not isinstance(other, Value):
            return Value(self.trace, self.factor / other, self.operation)
        return self._of_two("quotient", self.factor / other.factor, other)

    def _of_two(self, kind: str, factor: Number, other: Value) -> Value:
        a, b = self.operation, other.operation
        return Value(self.trace, factor, self.trace.operation(kind, a, b, whole=a.whole or b.whole))

    def __abs__(self) -> Value:
        return self.mapped("abs")

    def __gt__(self, other: Any) -> Any:
        whole = self.whole()
        return self.trace.operation("greater", whole, self.trace.as_number(other), whole=whole.whole)

    def __bool__(self) -> bool:
        raise TypeError("a step chooses by where(), not by if: its tensors are not known while it is planned")

    def mapped(self, kind: str, *more: Any, whole: bool | None = None) -> Value:
        """The list that a word makes of this one."""
        operand = self.whole()
        numbers = [self.trace.as_number(x) for x in more]
        shape = operand.whole if whole is None else whole
        return Value(self.trace, self.trace.literal(1), self.trace.operation(kind, operand, *numbers, whole=shape))


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
    "shape_factor": _word("shape_factor", None, whole=False),
}
