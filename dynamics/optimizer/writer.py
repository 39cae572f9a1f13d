"""The statements that compute a traced step over lists of tensors, in place wherever the old value is no longer needed.

Three things are decided here: which product or quotient a sum takes in as it adds, in whose tensors each list is
written, and when a list is let go. What is known is arithmetic; what a rule is, is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dynamics.optimizer.trace import Number, Operation, Trace, Value


class Writer:
    """The statements of `lists`, in the order in which the step was traced."""

    def __init__(self, after: dict[str, Any], trace: Trace) -> None:
        self.lines: list[str] = []
        self.place: dict[Operation, str] = {}
        self.texts: dict[str, Number] = {}
        self.temporaries = 0
        results = {name: v.whole() if isinstance(v, Value) else trace.as_number(v) for name, v in after.items()}
        lists = {name: x for name, x in results.items() if isinstance(x, Operation)}
        needed = _needed(lists.values())
        referred = Counter(x for operation in needed for x in operation.operands) + Counter(lists.values())
        self.inlined = {x for operation in needed if (x := _inlined(operation, referred)) is not None}
        self.left = Counter(x for operation in needed for x in self.reads(operation)) + Counter(lists.values())
        self.home = {x: name for name, x in reversed(lists.items())}
        for operation in reversed(needed):
            self._settle(operation, referred)
        for operation in needed:
            if operation not in self.inlined:
                self._write(operation)
        self._finish(results)

    def numbers(self) -> list[Number]:
        """The numbers that the statements mention, literals apart."""
        return list(self.texts.values())

    def reads(self, operation: Operation) -> list[Operation]:
        """The lists that its statements read; none if it is itself written within another."""
        if operation in self.inlined:
            return []
        return [y for x in operation.operands for y in (x.operands if x in self.inlined else [x])]

    def _settle(self, operation: Operation, referred: Counter[Operation]) -> None:
        """Let the chain of lists that ends as a field be computed in that field's own tensors."""
        name = self.home.get(operation)
        for x in self.reads(operation):
            if name and x.kind != "leaf" and x not in self.home and referred[x] == 1 and _from(x, name):
                self.home[x] = name
                return

    def _free(self, x: Operation, operation: Operation) -> bool:
        """Whether `operation` may be written over x: nobody reads x but this, once, and the tensors are ours."""
        place = self.place[x]
        ours = place.startswith("t_") or place == self.home.get(operation)
        alone = self.left[x] == 1 and self.reads(operation).count(x) == 1
        return ours and alone and x.whole == operation.whole and place != "g"

    def _text(self, number: Number) -> str:
        if number.value is None:
            self.texts[number.text] = number
        return number.text

    def _call(self, name: str, place: str, arguments: str, in_place: bool) -> str:
        """Write one foreach call; where its result is."""
        rest = f", {arguments}" if arguments else ""
        if in_place:
            self.lines.append(f"each_{name}_({place}{rest})")
            return place
        return self._new(f"each_{name}({place}{rest})")

    def _new(self, expression: str) -> str:
        place = f"t_{self.temporaries}"
        self.temporaries += 1
        self.lines.append(f"{place} = {expression}")
        return place

    def _write(self, operation: Operation) -> None:
        kind, parts = operation.kind, operation.parts
        if kind == "leaf":
            place = parts[0]
        elif kind == "sum":
            place = self._sum(operation)
        elif kind in ("product", "maximum"):
            a, b = parts if self._free(parts[0], operation) or not self._free(parts[1], operation) else reversed(parts)
            name = "mul" if kind == "product" else kind
            place = self._call(name, self.place[a], self.place[b], self._free(a, operation))
        elif kind == "quotient":
            place = self._call("div", self.place[parts[0]], self.place[parts[1]], self._free(parts[0], operation))
        elif kind in ("sqrt", "abs"):
            place = self._call(kind, self.place[parts[0]], "", self._free(parts[0], operation))
        elif kind == "at_least" and not parts[1].tensor:
            place = self._call("maximum", self.place[parts[0]], self._text(parts[1]), self._free(parts[0], operation))
        elif kind == "norm":
            place = self._new(f"each_norm({self.place[parts[0]]})")
        elif kind == "sign":
            place = self._each("sign({})", parts)
        elif kind == "orthogonal":
            place = self._each("orthogonal({}, {})", parts)
        elif kind == "shape_factor":
            place = self._each("{0}.new_full((), shape_factor({0}))", parts)
        elif kind == "greater":
            place = self._each("{} > {}", parts)
        elif kind == "where":
            place = self._each("choose({}, {}, {})", parts)
        else:
            raise TypeError(f"no plan for {kind} over tensors")
        self.place[operation] = place
        for x in (read := self.reads(operation)):
            self.left[x] -= 1
        dead = {self.place[x] for x in read if not self.left[x]} - {place}
        self.lines += [f"del {x}" for x in sorted(dead) if x.startswith("t_")]

    def _each(self, template: str, parts: tuple[Any, ...]) -> str:
        """A list made tensor by tensor, for what torch has no foreach of."""
        names = [f"x{k}" if isinstance(p, Operation) else self._text(p) for k, p in enumerate(parts)]
        lists = [(n, self.place[p]) for n, p in zip(names, parts, strict=True) if isinstance(p, Operation)]
        over, source = ", ".join(n for n, _ in lists), ", ".join(p for _, p in lists)
        source = source if len(lists) == 1 else f"zip({source})"
        return self._new(f"[{template.format(*names)} for {over} in {source}]")

    def _sum(self, operation: Operation) -> str:
        *flat, constant = operation.parts
        terms = list(zip(flat[::2], flat[1::2], strict=True))
        plain = [term for term in terms if term[1] not in self.inlined]
        # Best written over tensors that are free, else over a term that needs no factor.
        plain.sort(key=lambda t: (t[1].whole < operation.whole, not self._free(t[1], operation), t[0].value != 1))
        (factor, base), *others = plain
        place, own = self.place[base], self._free(base, operation)
        share = _share(factor, others[0][0]) if others and base.whole == others[0][1].whole else None
        if share is not None:
            place = self._call("lerp", place, f"{self.place[others[0][1]]}, {self._text(share)}", own)
            others, own = [], True
        elif factor.value != 1:
            place, own = self._call("mul", place, self._text(factor), own), True
        for weight, x in others:
            scaled, alpha = self.place[x], ""
            if weight.tensor:
                scaled = self._call("mul", scaled, self._text(weight), self._free(x, operation))
            elif weight.value != 1:
                alpha = f", alpha={self._text(weight)}"
            place, own = self._call("add", place, scaled + alpha, own), True
        for weight, x in terms:
            if x in self.inlined:
                name = "addcmul" if x.kind == "product" else "addcdiv"
                a, b = (self.place[y] for y in x.operands)
                value = f", value={self._text(weight)}" if weight.value != 1 else ""
                place, own = self._call(name, place, f"{a}, {b}{value}", own), True
        return self._call("add", place, self._text(constant), own) if constant.value != 0 else place

    def _finish(self, results: dict[str, Any]) -> None:
        """Bring every field's result into the field's own tensors."""
        pending = {
            name: self.place[x] for name, x in results.items() if isinstance(x, Operation) and self.place[x] != name
        }
        while pending:
            ready = [name for name in pending if name not in pending.values()]
            if not ready:
                raise TypeError(f"no plan for fields that change places: {', '.join(pending)}")
            self.lines.append(f"each_copy_({ready[0]}, {pending.pop(ready[0])})")
        for name, x in results.items():
            if isinstance(x, Number):
                self.lines.append(f"for x in {name}: x.fill_({self._text(x)})")


def _needed(results: Iterable[Operation]) -> list[Operation]:
    """All operations behind the results, in the order in which they were traced."""
    found: set[Operation] = set()

    def visit(operation: Operation) -> None:
        if operation not in found:
            found.add(operation)
            for operand in operation.operands:
                visit(operand)

    for result in results:
        visit(result)
    return sorted(found, key=lambda operation: operation.order)


def _from(operation: Operation, name: str) -> bool:
    """Whether the field's old value goes into the operation."""
    return operation.parts[0] == name if operation.kind == "leaf" else any(_from(x, name) for x in operation.operands)


def _inlined(operation: Operation, referred: Counter[Operation]) -> Operation | None:
    """The product or quotient that a sum of two can take in as it adds: nobody else reads it."""
    if operation.kind != "sum" or len(operation.operands) != 2:
        return None
    (f, x), (h, y) = zip(operation.parts[:-1:2], operation.parts[1::2], strict=True)
    for factor, inner, base in ((h, y, x), (f, x, y)):
        fits = inner.kind in ("product", "quotient") and base.whole == operation.whole
        if fits and referred[inner] == 1 and not factor.tensor:
            found: Operation = inner
            return found
    return None


def _share(first: Number, second: Number) -> Number | None:
    """The weight of the second term where both add up to one by how they are written, as a + (1 - a) does."""
    together = first.is_rest_of(second) or second.is_rest_of(first)
    return second if together and not (first.tensor or second.tensor) else None
