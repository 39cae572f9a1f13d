"""The functions of `dynamics` as JavaScript, printed by sympy from the very code that runs.

sympy's own arithmetic puts terms in order and merges factors, which moves the last bits; where a rule takes the sign of a
difference that is 0 but for rounding (Lion at the end of its way), a last bit decides. So the functions run over nodes that
sympy leaves as they are: the JavaScript does the same operations on doubles, in the same order. It then equals NumPy to the
last bit, but for powers, which JavaScript does not fix.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import sympy as sp
from sympy.printing.jscode import JavascriptCodePrinter

from dynamics.couplings import Coupling, compose
from dynamics.rule import Rule
from dynamics.simulate import random
from dynamics.words import Words, bind, newton_schulz


class Kept(sp.Expr):  # type: ignore[misc]
    """A node of an expression with its arguments as they were given: nothing is merged, moved or evaluated."""

    __array_ufunc__ = None  # NumPy then leaves its own numbers to this class

    def __new__(cls, *given: Any) -> Kept:
        made: Kept = sp.Expr.__new__(cls, *map(sp.sympify, given))
        return made


class Name(Kept, sp.Symbol):  # type: ignore[misc]
    """A variable."""

    def __new__(cls, name: str) -> Name:
        made: Name = sp.Symbol.__new__(cls, name)
        return made


class Operation(Kept):
    """Two operands and a sign of JavaScript between them."""

    sign = ""


class Call(Kept):
    """A function of JavaScript on its arguments."""

    function = ""


class Choice(Kept):
    """condition ? yes : no."""


class Negative(Kept):
    """The same number with the other sign."""


class Word(Kept):
    """The lowest 32 bits, read as a number >= 0."""


class Signed(Kept):
    """The lowest 32 bits, read with a sign."""


def _operation(sign: str) -> type[Operation]:
    return type(f"Operation{sign}", (Operation,), {"sign": sign})


def _call(function: str) -> type[Call]:
    return type(function, (Call,), {"function": function})


_TIMES, _POWER = _operation("*"), _call("Math.pow")
_ABS, _ROOT, _SIGN, _LARGER, _FLOOR = (_call(f"Math.{name}") for name in ("abs", "sqrt", "sign", "max", "floor"))
_TWO_SIDED = {"add": "+", "sub": "-", "truediv": "/", "lshift": "<<", "rshift": ">>>", "xor": "^", "or": "|"}
_COMPARED = {"lt": "<", "gt": ">", "le": "<=", "ge": ">="}
_NODES = {name: _operation(sign) for name, sign in (_TWO_SIDED | _COMPARED).items()} | {"mul": _TIMES}


def _give_operators() -> None:
    """Python's operators on `Kept`, each making a node of its own."""
    for name, node in (_NODES | {"pow": _POWER, "abs": _ABS, "neg": Negative}).items():
        setattr(Kept, f"__{name}__", lambda *given, node=node: node(*given))
    for name in (*_TWO_SIDED, "mul"):
        setattr(Kept, f"__r{name}__", lambda a, b, node=_NODES[name]: node(b, a))


_give_operators()


def _same(x: Any) -> Any:
    return x


def words() -> Words:
    """The vocabulary of `dynamics.words` over such nodes; a weight is a tensor of its own, as in the kernel."""
    number = {"largest": _LARGER, "norm": _ABS, "times": _TIMES, "transpose": _same, "range": range}
    return {
        "sqrt": _ROOT,
        "sign": _SIGN,
        "maximum": _LARGER,
        "power": _POWER,
        "where": Choice,
        "round_down": _FLOOR,
        "norm": _ABS,
        "orthogonal": bind(newton_schulz, number),
        "shape_factor": lambda x: 1.0,
    }


class _Printer(JavascriptCodePrinter):  # type: ignore[misc]
    """sympy's printer for JavaScript, with the nodes above and every number to its last digit."""

    def bare(self, e: sp.Expr) -> str:
        """The expression where no parentheses are needed around it."""
        if isinstance(e, Operation):
            return f"{self._print(e.args[0])} {e.sign} {self._print(e.args[1])}"
        return str(self._print(e))

    def _print_Operation(self, e: Operation) -> str:
        return f"({self.bare(e)})"

    def _print_Call(self, e: Call) -> str:
        return f"{e.function}({', '.join(map(self.bare, e.args))})"

    def _print_Choice(self, e: Choice) -> str:
        condition, yes, no = map(self._print, e.args)
        return f"({condition} ? {yes} : {no})"

    def _print_Negative(self, e: Negative) -> str:
        return f"(-{self._print(e.args[0])})"

    def _print_Word(self, e: Word) -> str:
        (inner,) = e.args
        if isinstance(inner, _TIMES):  # 64 bits do not fit into a double
            return f"(Math.imul({', '.join(map(self._print, inner.args))}) >>> 0)"
        return f"({self._print(inner)} >>> 0)"

    def _print_Signed(self, e: Signed) -> str:
        return f"({self._print(e.args[0])} | 0)"

    def _print_Float(self, e: sp.Float) -> str:
        return repr(float(e))


def printed(signature: str, result: Any) -> str:
    """A JavaScript function of that signature with this result: an expression, or a tuple of them as an array.

    What occurs more than once is computed once, under the names x0, x1, ..., which no signature has.
    """
    rows = result if isinstance(result, tuple) else (result,)
    names = (Name(f"x{k}") for k in count())
    shared, rows = sp.cse(list(map(sp.sympify, rows)), symbols=names, order="none")
    show = _Printer()
    lines = "".join(f"const {name} = {show.bare(value)};\n" for name, value in shared)
    made = ", ".join(map(show.bare, rows))
    if isinstance(result, tuple):
        made = f"[{made}]"
    return f"({signature}) => {{\n{lines}return {made};\n}}" if shared else f"({signature}) => {made}"


def function(python: Callable[..., Any], scope: Words, **fixed: Any) -> str:
    """A function of `dynamics` over the words `scope` as JavaScript; fixed: arguments that are no numbers."""
    names = list(inspect.signature(python).parameters)
    result = bind(python, scope)(*(fixed.get(name, Name(name)) for name in names))
    return printed(", ".join(name for name in names if name not in fixed), result)


def update(rule: Rule, coupling: Coupling) -> str:
    """The composed step: ([w, *state, *clock], g, lr, multiplier, strength, [*hyperparameters]) => [w, *state, *clock]."""
    inner, hyper = tuple(map(Name, rule.inner)), tuple(map(Name, rule.defaults))
    step = compose(rule, coupling, words())
    after = step(Name("w"), Name("g"), inner, Name("lr"), Name("multiplier"), Name("strength"), hyper)
    cells, rest = ", ".join(("w", *rule.inner)), ", ".join(rule.defaults)
    return printed(f"[{cells}], g, lr, multiplier, strength, [{rest}]", after)


def fresh(rule: Rule) -> str:
    """What a rule starts from: (w, [*hyperparameters]) => [w, *state, *clock]."""
    w = Name("w")
    return printed(
        f"w, [{', '.join(rule.defaults)}]", (w, *rule.fresh(w, {name: Name(name) for name in rule.defaults}))
    )


def gradient(python: Callable[..., Any]) -> str:
    """A gradient of `dynamics.simulate.gradients`, with its own arguments."""
    return function(python, words())


def closed(python: Callable[..., Any], **fixed: Any) -> str:
    """A closed form of `dynamics.theory.closed`, for numbers that it accepts: the checks of its regime are not printed."""
    unchecked = {name: lambda *_, **__: None for name in ("require", "below_one", "counted", "probability", "positive")}
    scope = {"math": SimpleNamespace(sqrt=_ROOT), "float": _same, "int": _same, **unchecked}
    return function(inspect.unwrap(python), scope, **fixed)


def generator() -> dict[str, str]:
    """The random numbers of `dynamics.simulate.random`: its functions threefry, star and unit."""
    scope: dict[str, Any] = {
        "word": lambda x: sp.Integer(x) if isinstance(x, int | sp.Integer) else Word(x),
        "signed": Signed,
        "PARITY": sp.Integer(int(random.PARITY)),
        "STAR": sp.Integer(int(random.STAR)),
        **{name: tuple(sp.Integer(int(x)) for x in getattr(random, name)) for name in ("EVEN", "ODD", "LEFT")},
    }
    for name in ("turned", "four_rounds", "threefry", "star", "unit"):
        scope[name] = bind(getattr(random, name), scope)
    return {name: function(getattr(random, name), scope) for name in ("threefry", "star", "unit")}
