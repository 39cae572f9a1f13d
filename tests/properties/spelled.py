"""Formulas as a person writes them, read back into the symbols of `dynamics.theory.formula`."""

from __future__ import annotations

import sympy as sp

from dynamics.theory import formula


def read(text: str) -> sp.Expr:
    """The expression that the text means, names as formulas print them."""
    # lambda is a word of Python, and sympify reads Python.
    names = ("h", "P", "beta1", "eta", "kappa", "epsilon", "v", "v_max", "u", "s", "a", "m", "n", "trust", "g", "w")
    spelled = {"mu": "momentum", "eta": "lr", "kappa": "multiplier", "epsilon": "eps", "v_max": "vmax"}
    known = {name: formula.symbol(spelled.get(name, name)) for name in (*names, "mu")}
    known["strength"] = formula.symbol("strength")
    known["norm"] = sp.Function("norm", nonnegative=True)
    return sp.sympify(text.replace("lambda", "strength"), locals=known)
