"""The few words a rule may use beside arithmetic, for each world in which it runs.

A rule, a coupling and a gradient are plain functions over `sqrt` and `where`. `bind` gives the same code object another
vocabulary, so there is one definition of each and no copies: Python floats, NumPy arrays, sympy symbols, torch tensors,
and scalars inside a compiled kernel (`dynamics.kernel`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, cast

import numpy as np

Words = Mapping[str, Any]


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


FLOATS: Words = {"sqrt": math.sqrt, "where": _choose}
NUMPY: Words = {"sqrt": np.sqrt, "where": np.where}

# The words under which rules are written: a rule called as it stands runs over NumPy arrays and floats.
sqrt = np.sqrt
where = np.where


def symbols() -> Words:
    """The vocabulary of sympy (imported here, so that nobody else pays for it)."""
    import sympy

    def piecewise(condition: Any, yes: Any, no: Any) -> Any:
        return sympy.Piecewise((yes, condition), (no, True))

    return {"sqrt": sympy.sqrt, "where": piecewise}


def tensors() -> Words:
    """The vocabulary of torch tensors."""
    import torch

    return {"sqrt": torch.sqrt, "where": torch.where}


def bind(function: Callable[..., Any], words: Words) -> Callable[..., Any]:
    """The same code as `function`, reading its globals from `words`: a second execution, not a second definition.

    Defaults and closures are refused by construction: rules have neither.
    """
    plain = cast(FunctionType, function)
    return FunctionType(plain.__code__, dict(words), plain.__name__)
