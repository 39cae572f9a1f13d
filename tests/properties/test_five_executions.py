"""One definition, five executions: floats, NumPy, sympy, torch and the compiled kernel take the same steps.

sympy runs at 50 digits, so it also says how much float64 loses: 1e-12 of the largest weight on the path, over steps
from any state. NumPy and the kernel do the same operations in the same order, and agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import hyperparameters, multipliers, rates, strengths

from dynamics import formula
from dynamics.couplings import COUPLINGS, compose
from dynamics.gradients import selective
from dynamics.kernel import kernel
from dynamics.rules import RULES
from dynamics.torch_face import LISTS, Optimizer, TensorList
from dynamics.words import FLOATS, NUMPY, tensors

TOLERANCE = 1e-12
STEPS = 4
EVERY_PAIR = [(rule, coupling) for rule in RULES for coupling in COUPLINGS]

Setup = dict[str, Any]
# What each execution returns: the weights after each step, as floats.
Path = list[float]

weights = st.floats(-2, 2)
signals = st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3)


@st.composite
def setups(draw: st.DrawFn, rule: str) -> Setup:
    """A state in the middle of a run, settings, and a gradient pull (w - target) that follows the weight."""
    kinds = {"v": st.floats(0, 4), "power1": st.floats(0, 0.999), "power2": st.floats(0, 0.999)}
    return {
        "w": draw(weights),
        "inner": tuple(draw(kinds.get(name, weights)) for name in RULES[rule].inner),
        "lr": draw(rates),
        "multiplier": draw(multipliers),
        "strength": draw(strengths),
        "hyper": draw(hyperparameters(rule)),
        "pull": draw(signals),
        "target": draw(signals),
    }


def stepped(rule: str, coupling: str, words: Any, setup: Setup, number: Callable[[float], Any]) -> list[Any]:
    """Steps in one vocabulary, `number` turning a float of the setup into what stands for a weight there."""
    step = compose(RULES[rule], COUPLINGS[coupling], words)
    clock = len(RULES[rule].clock)
    w, held = number(setup["w"]), setup["inner"]
    inner = tuple(number(x) if k < len(held) - clock else x for k, x in enumerate(held))
    target, path = number(setup["target"]), []
    for _ in range(STEPS):
        g = setup["pull"] * (w - target) if words is not LISTS else (w - target) * setup["pull"]
        rate = setup["lr"] * setup["multiplier"]
        w, *rest = step(w, g, inner, rate, setup["multiplier"], setup["strength"], tuple(setup["hyper"].values()))
        inner = tuple(rest)
        path.append(w)
    return path


def by_floats(rule: str, coupling: str, setup: Setup) -> Path:
    return stepped(rule, coupling, FLOATS, setup, float)


def by_numpy(rule: str, coupling: str, setup: Setup) -> Path:
    return [float(w[0]) for w in stepped(rule, coupling, NUMPY, setup, lambda x: np.array([x]))]


def by_tensors(rule: str, coupling: str, setup: Setup) -> Path:
    return [w.item() for w in stepped(rule, coupling, tensors(), setup, lambda x: torch.tensor(x, dtype=torch.float64))]


def by_tensor_lists(rule: str, coupling: str, setup: Setup) -> Path:
    path = stepped(rule, coupling, LISTS, setup, lambda x: TensorList([torch.tensor([x], dtype=torch.float64)]))
    return [w.tensors[0].item() for w in path]


def by_optimizer(rule: str, coupling: str, setup: Setup) -> Path:
    w = torch.nn.Parameter(torch.tensor([setup["w"]], dtype=torch.float64))
    hyper = dict(setup["hyper"])
    if "beta1" in hyper:
        hyper["betas"] = (hyper.pop("beta1"), hyper.pop("beta2"))
    strength = 0.0 if coupling == "none" else setup["strength"]
    optimizer = Optimizer([w], rule, coupling, lr=setup["lr"], weight_decay=strength, **hyper)
    optimizer.param_groups[0]["lr"] = setup["lr"] * setup["multiplier"]
    for name, value in zip(RULES[rule].inner, setup["inner"], strict=True):
        state = name in RULES[rule].state
        optimizer.state[w][name] = torch.tensor([value], dtype=torch.float64) if state else value
    path = []
    for _ in range(STEPS):
        w.grad = setup["pull"] * (w.detach() - setup["target"])
        optimizer.step()
        path.append(w.item())
    return path


@cache
def symbolic(rule: str, coupling: str) -> Callable[..., Any]:
    after = formula.update(RULES[rule], COUPLINGS[coupling]).after
    names = ("w", "g", *RULES[rule].inner, "lr", "multiplier", "strength", *RULES[rule].defaults)
    return sp.lambdify([formula.symbol(name) for name in names], list(after.values()), modules="mpmath")


def by_sympy(rule: str, coupling: str, setup: Setup) -> Path:
    path = []
    with mpmath.workdps(50):
        exact = mpmath.mpf
        w, inner = exact(setup["w"]), [exact(x) for x in setup["inner"]]
        given = [exact(setup["lr"]) * exact(setup["multiplier"]), exact(setup["multiplier"]), exact(setup["strength"])]
        hyper = [exact(x) for x in setup["hyper"].values()]
        for _ in range(STEPS):
            g = exact(setup["pull"]) * (w - exact(setup["target"]))
            w, *inner = symbolic(rule, coupling)(w, g, *inner, *given, *hyper)
            path.append(float(w))
    return path


def by_kernel(rule: str, coupling: str, setup: Setup, uniform: bool = False) -> Path:
    loop = kernel(RULES[rule], selective, tuple(COUPLINGS.values()), uniform)
    gradient = (1.0, setup["pull"], setup["target"], 0.0)  # it arrives at every step, without noise
    table = np.array([[x] for x in (setup["lr"], setup["strength"], *setup["hyper"].values(), *gradient)])
    cells = np.array([[setup["w"]], *([x] for x in setup["inner"])])
    code, zero = np.array([list(COUPLINGS).index(coupling)]), np.zeros(1, dtype=np.uint64)
    path = []
    for t in range(STEPS):
        loop(t, t + 1, np.array([setup["multiplier"]]), cells, table, code, zero, zero, 0, 1, 1)
        path.append(float(cells[0, 0]))
    return path


def by_uniform_kernel(rule: str, coupling: str, setup: Setup) -> Path:
    return by_kernel(rule, coupling, setup, uniform=True)


EXECUTIONS = (by_floats, by_numpy, by_tensors, by_tensor_lists, by_optimizer, by_kernel, by_uniform_kernel)


@pytest.mark.parametrize(("rule", "coupling"), EVERY_PAIR)
@given(data=st.data())
@settings(max_examples=25)
def test_all_executions_take_the_same_steps(rule: str, coupling: str, data: st.DataObject) -> None:
    setup = data.draw(setups(rule))
    exact = by_sympy(rule, coupling, setup)
    size = max(1.0, *map(abs, exact), abs(setup["w"]))
    found = {execution.__name__: execution(rule, coupling, setup) for execution in EXECUTIONS}
    for name, path in found.items():
        assert np.max(np.abs(np.subtract(path, exact))) <= TOLERANCE * size, name
    assert found["by_kernel"] == found["by_uniform_kernel"] == found["by_numpy"]


@pytest.mark.parametrize(("rule", "coupling"), EVERY_PAIR)
def test_exact_rational_arithmetic_confirms_the_first_step(rule: str, coupling: str) -> None:
    """The same code over sympy's rational numbers, not its expressions: nothing is rounded but the root."""
    step = compose(RULES[rule], COUPLINGS[coupling], formula.symbols())
    numbers = (sp.Rational(1, 10), sp.Rational(1, 2), sp.Rational(1, 100))
    hyper = {"eps": 1e-8, "momentum": 0.9, "alpha": 0.99, "beta1": 0.9, "beta2": 0.999}
    given = [hyper[name] for name in RULES[rule].defaults]
    fresh = tuple(sp.Integer(int(x)) for x in RULES[rule].fresh())
    exact = step(sp.Rational(3, 2), sp.Rational(-2, 7), fresh, *numbers, [sp.nsimplify(x) for x in given])
    found = compose(RULES[rule], COUPLINGS[coupling], FLOATS)(
        1.5, -2 / 7, RULES[rule].fresh(), *map(float, numbers), given
    )
    np.testing.assert_allclose(found, [float(sp.N(x, 40)) for x in exact], rtol=TOLERANCE)
