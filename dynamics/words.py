"""The few words a rule may use beside arithmetic and abs, for each world in which it runs.

A rule, a coupling and a gradient are plain functions over these words. `bind` gives the same code object another
vocabulary, so there is one definition of each and no copies: Python floats, NumPy arrays, sympy symbols, torch tensors,
and scalars inside a compiled kernel (`dynamics.simulate.kernel`).

sqrt, sign, maximum(a, b), power(base, exponent), where(condition, yes, no), round_down(x) (the floor) act element by element.
norm(x) is the Frobenius norm of a whole tensor, orthogonal(x, eps) and shape_factor(x) belong to a whole matrix. Where a number
stands for a weight (floats, lanes of an array, the kernel) each number is a tensor of its own: norm is abs, a matrix is 1 x 1.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, cast

import numpy as np

Words = Mapping[str, Any]


def bind(function: Callable[..., Any], words: Words) -> Callable[..., Any]:
    """The same code as `function`, reading its globals from `words`: a second execution, not a second definition.

    Defaults and closures are refused by construction: rules have neither.
    """
    plain = cast(FunctionType, function)
    return FunctionType(plain.__code__, {"__builtins__": builtins, **words}, plain.__name__)


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


def _root(x: float) -> float:
    return math.sqrt(x) if x >= 0 else math.nan  # arrays say NaN too; math.sqrt would raise


def _sign(x: float) -> float:
    return x if math.isnan(x) else (x > 0) - (x < 0)


def _larger(a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def _same(x: Any) -> Any:
    return x


def _one(x: Any) -> float:
    return 1.0


def newton_schulz(x, eps):
    """x with all its singular values moved to about 1 (0.68 to 1.13), for a matrix that is no taller than wide.

    Five steps of the quintic of Jordan et al. 2024 (Muon). Over the words largest(number, eps), norm, times (the matrix
    product) and transpose; a number is a 1 x 1 matrix.
    """
    x = x * (1 / largest(norm(x), eps))
    for _ in range(5):
        gram = times(x, transpose(x))
        x = 3.4445 * x + times(-4.775 * gram + 2.0315 * times(gram, gram), x)
    return x


# The words under which it is written.
largest, times, transpose = _larger, operator.mul, _same


def _number_words(sqrt: Any, sign: Any, maximum: Any, power: Any, where: Any, round_down: Any, absolute: Any) -> Words:
    number = {"largest": maximum, "norm": absolute, "times": operator.mul, "transpose": _same}
    return {
        "sqrt": sqrt,
        "sign": sign,
        "maximum": maximum,
        "power": power,
        "where": where,
        "round_down": round_down,
        "norm": absolute,
        "orthogonal": bind(newton_schulz, number),
        "shape_factor": _one,
    }


# NumPy's own power may differ from the C library's in the last bit, and the compiled kernel calls the latter.
_POWER = np.vectorize(math.pow, otypes=[np.float64])

FLOATS: Words = _number_words(_root, _sign, _larger, math.pow, _choose, math.floor, abs)
NUMPY: Words = _number_words(np.sqrt, np.sign, np.maximum, _POWER, np.where, np.floor, np.abs)

# The words under which rules are written: a rule called as it stands runs over NumPy arrays and floats.
sqrt, sign, maximum, power, where, round_down = (
    NUMPY[name] for name in ("sqrt", "sign", "maximum", "power", "where", "round_down")
)
norm, orthogonal, shape_factor = (NUMPY[name] for name in ("norm", "orthogonal", "shape_factor"))


def symbols() -> Words:
    """The vocabulary of sympy (imported here, so that nobody else pays for it); words of whole tensors stay unevaluated."""
    import sympy

    def piecewise(condition: Any, yes: Any, no: Any) -> Any:
        return sympy.Piecewise((yes, condition), (no, True))

    return {
        "sqrt": sympy.sqrt,
        "sign": sympy.sign,
        "maximum": sympy.Max,
        "power": sympy.Pow,
        "where": piecewise,
        "round_down": sympy.floor,
        "norm": sympy.Function("norm", nonnegative=True),
        "orthogonal": sympy.Function("orthogonal", real=True),
        "shape_factor": sympy.Function("shape_factor", positive=True),
    }


def tensors() -> Words:
    """The vocabulary of torch tensors, each one parameter; numbers may stand beside them."""
    import torch

    def largest(a: Any, b: Any) -> Any:
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
            return torch.maximum(a, b)
        if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
            tensor, number = (a, b) if isinstance(a, torch.Tensor) else (b, a)
            return tensor.clamp(min=number)
        return _larger(a, b)

    def direction(x: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.isnan(x), x, torch.sign(x))  # torch's own sign of NaN is 0, which would hide it

    def root(x: Any) -> Any:
        return torch.sqrt(x) if isinstance(x, torch.Tensor) else _root(x)

    def choose(condition: Any, yes: Any, no: Any) -> Any:
        if not isinstance(condition, torch.Tensor):
            return _choose(condition, yes, no)
        if not isinstance(yes, torch.Tensor) and not isinstance(no, torch.Tensor):
            yes = torch.full_like(condition, yes, dtype=torch.float64)  # of two numbers torch would make float32
        return torch.where(condition, yes, no)

    def shape_factor(x: torch.Tensor) -> float:
        return math.sqrt(max(1.0, x.shape[0] / x.shape[1])) if x.ndim == 2 else 1.0

    matrix = {"largest": largest, "norm": torch.linalg.vector_norm, "times": operator.matmul, "transpose": torch.t}
    wide = bind(newton_schulz, matrix)
    number = FLOATS["orthogonal"]

    def orthogonal(x: torch.Tensor, eps: float) -> torch.Tensor:
        if x.ndim != 2:
            return torch.as_tensor([[number(float(x), eps)]], dtype=x.dtype).reshape(x.shape)
        found: torch.Tensor = wide(x, eps) if x.shape[0] <= x.shape[1] else wide(x.T, eps).T
        return found

    return {
        "sqrt": root,
        "sign": direction,
        "maximum": largest,
        "power": operator.pow,
        "where": choose,
        "round_down": torch.floor,
        "norm": torch.linalg.vector_norm,
        "orthogonal": orthogonal,
        "shape_factor": shape_factor,
    }
