"""One definition, five executions: floats, NumPy, sympy, torch and the compiled kernel take the same steps.

sympy runs at 50 digits, so it also says how much float64 loses: 1e-12 of the largest weight on the path, over steps
from any state. NumPy and the kernel do the same operations in the same order, and agree to the last bit. torch runs
three times: in its words, and as an optimizer whose plan holds numbers or tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from conformance.oracle import spelled
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from properties.draws import FEW, hyperparameters, multipliers, rates, strengths

from dynamics.couplings import COUPLINGS, compose
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES
from dynamics.simulate.gradients import selective
from dynamics.simulate.kernel import kernel
from dynamics.words import FLOATS, NUMPY, bind, newton_schulz, symbols, tensors

TOLERANCE = 1e-12
STEPS = 4
EVERY_PAIR = [(rule, coupling) for rule in RULES for coupling in COUPLINGS]

Setup = dict[str, Any]
# What each execution returns: the weights after each step, as floats.
Path = list[float]

weights = st.floats(-2, 2)
signals = st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3)
below_one = st.floats(0, 0.999)
# What each field can be in the middle of a run; fields not named here are of the size of a weight or a gradient.
FIELDS = {
    "power1": below_one,
    "power2": below_one,
    "power3": below_one,
    "decay": below_one,
    "mu_product": below_one,
    "t": st.integers(0, 5000).map(float),
    "lr_max": rates,
    "weights": st.floats(0, 10),
    # Squares, and large enough that v - m^2 stays positive.
    **{name: st.floats(4.5, 9) for name in ("v", "vmax", "s", "n", "a", "u")},
}


@st.composite
def setups(draw: st.DrawFn, rule: str, coupling: str) -> Setup:
    """A state in the middle of a run, settings, and a gradient pull (w - target) that follows the weight.

    Signs and switches (lion, cautious, l1, radam's first steps) may fall either way by rounding alone. Such draws are
    left out: those where a change in the ninth digit of any of the numbers moves the path in the fifth.
    """
    setup = {
        "w": draw(weights),
        "inner": tuple(draw(FIELDS.get(name, weights)) for name in RULES[rule].inner),
        "lr": draw(rates),
        "multiplier": draw(multipliers),
        "strength": draw(strengths),
        "hyper": draw(hyperparameters(rule)),
        "pull": draw(signals),
        "target": draw(signals),
    }
    path = by_floats(rule, coupling, setup)
    for change in (1 + 1e-9, 1 - 1e-9):
        moved = by_floats(rule, coupling, changed(setup, change))
        assume(np.max(np.abs(np.subtract(moved, path))) <= 1e-5 * max(1.0, *map(abs, path)))
    return setup


def changed(setup: Setup, factor: float) -> Setup:
    """Weight, state, target and hyperparameters, each a little other; factors alternate, so that none cancels another."""
    inner = tuple(x * (factor if k % 2 else 2 - factor) for k, x in enumerate(setup["inner"]))
    hyper = {name: x * factor for name, x in setup["hyper"].items()}
    return setup | {"w": setup["w"] * factor, "inner": inner, "target": setup["target"] * (2 - factor), "hyper": hyper}


def stepped(rule: str, coupling: str, words: Any, setup: Setup, number: Callable[[float], Any]) -> list[Any]:
    """Steps in one vocabulary, `number` turning a float of the setup into what stands for a weight there."""
    step = compose(RULES[rule], COUPLINGS[coupling], words)
    w, target, state = number(setup["w"]), number(setup["target"]), RULES[rule].state
    inner = tuple(number(x) if name in state else x for name, x in zip(RULES[rule].inner, setup["inner"], strict=True))
    path = []
    for _ in range(STEPS):
        g = setup["pull"] * (w - target)
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
    path = stepped(rule, coupling, tensors(), setup, lambda x: torch.tensor([[x]], dtype=torch.float64))
    return [w.item() for w in path]


def by_plan(rule: str, coupling: str, setup: Setup, capturable: bool = False) -> Path:
    w = torch.nn.Parameter(torch.tensor([[setup["w"]]], dtype=torch.float64))
    strength = 0.0 if coupling == "none" else setup["strength"]
    settings = {"lr": setup["lr"], "weight_decay": strength, "capturable": capturable}
    optimizer = Optimizer([w], rule, coupling, **settings, **spelled(setup["hyper"]))
    optimizer.param_groups[0]["lr"] = setup["lr"] * setup["multiplier"]
    for name, value in zip(RULES[rule].inner, setup["inner"], strict=True):
        clock = torch.tensor(value, dtype=torch.float64) if capturable else value
        optimizer.state[w][name] = torch.full_like(w, value) if name in RULES[rule].state else clock
    path = []
    for _ in range(STEPS):
        w.grad = setup["pull"] * (w.detach() - setup["target"])
        optimizer.step()
        path.append(w.item())
    return path


def by_plan_of_tensors(rule: str, coupling: str, setup: Setup) -> Path:
    return by_plan(rule, coupling, setup, capturable=True)


# The words of whole tensors for one exact number.
NUMBER = {"largest": max, "norm": abs, "times": operator.mul, "transpose": lambda x: x, "range": range}
WHOLE = {"norm": abs, "orthogonal": bind(newton_schulz, NUMBER), "shape_factor": lambda x: 1}


@cache
def symbolic(rule: str, coupling: str) -> Callable[..., Any]:
    # Not formula.symbol: its w is positive, which settles the sign of a weight.
    names = ("w", "g", *RULES[rule].inner, "lr", "multiplier", "strength", *RULES[rule].defaults)
    given = {name: sp.Symbol(name, real=True) for name in names}
    inner, hyper = (tuple(given[name] for name in each) for each in (RULES[rule].inner, RULES[rule].defaults))
    step = compose(RULES[rule], COUPLINGS[coupling], symbols())
    after = step(given["w"], given["g"], inner, given["lr"], given["multiplier"], given["strength"], hyper)
    return sp.lambdify(list(given.values()), list(after), modules=[WHOLE, "mpmath"], cse=True)


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
    # The arguments that simulate gives, of which the kernels are kept: test_simulator runs these very ones.
    loop = kernel(RULES[rule], selective, tuple(COUPLINGS.values()), uniform, False)
    gradient = (1.0, setup["pull"], setup["target"], 0.0)  # it arrives at every step, without noise
    table = np.array([[x] for x in (setup["lr"], setup["strength"], *setup["hyper"].values(), *gradient)])
    cells = np.array([[setup["w"]], *([x] for x in setup["inner"])])
    code, zero = np.array([list(COUPLINGS).index(coupling)]), np.zeros(1, dtype=np.uint32)
    watched = np.zeros((2, 1))
    path = []
    for t in range(STEPS):
        loop(t, t + 1, np.array([setup["multiplier"]]), cells, table, code, zero, zero, *watched, 0, 1, 1)
        path.append(float(cells[0, 0]))
    return path


def by_uniform_kernel(rule: str, coupling: str, setup: Setup) -> Path:
    return by_kernel(rule, coupling, setup, uniform=True)


EXECUTIONS = (by_floats, by_numpy, by_tensors, by_plan, by_plan_of_tensors, by_uniform_kernel)


# Between them they say every word of a rule; compiling the kernel of each takes seconds.
SOME = ("sgd", "nesterov", "adam", "rmsprop_centered", "lion", "lamb", "muon", "schedule_free")


@pytest.mark.parametrize(
    ("rule", "coupling"),
    [pytest.param(*pair, marks=() if pair[0] in SOME else pytest.mark.thorough) for pair in EVERY_PAIR],
)
@given(data=st.data())
@settings(max_examples=3)
def test_all_executions_take_the_same_steps(rule: str, coupling: str, data: st.DataObject) -> None:
    setup = data.draw(setups(rule, coupling))
    exact = by_sympy(rule, coupling, setup)
    size = max(1.0, *map(abs, exact), abs(setup["w"]))
    # Where nothing is shared among lanes, the loop depends on a rule by its fields alone; test_simulator draws from all.
    executions = (*EXECUTIONS, by_kernel) if rule in FEW else EXECUTIONS
    found = {execution.__name__: execution(rule, coupling, setup) for execution in executions}
    for name, path in found.items():
        assert np.max(np.abs(np.subtract(path, exact))) <= TOLERANCE * size, name
    assert found.get("by_kernel", found["by_numpy"]) == found["by_uniform_kernel"] == found["by_numpy"]


@pytest.mark.parametrize(("rule", "coupling"), EVERY_PAIR)
def test_exact_arithmetic_confirms_the_first_step(rule: str, coupling: str) -> None:
    """The same code over sympy's rational numbers, not its expressions: nothing is rounded but roots and powers."""
    whole = {
        "orthogonal": lambda x, eps: WHOLE["orthogonal"](sp.N(x, 40), eps),
        "norm": abs,
        "shape_factor": lambda x: 1,
    }
    step = compose(RULES[rule], COUPLINGS[coupling], symbols() | whole)
    numbers = (sp.Rational(1, 10), sp.Rational(1, 2), sp.Rational(1, 100))
    hyper = {name: sp.nsimplify(x) for name, x in RULES[rule].defaults.items()}
    w, g = sp.Rational(3, 2), sp.Rational(-2, 7)
    exact = step(w, g, tuple(map(sp.nsimplify, RULES[rule].fresh(w, hyper))), *numbers, list(hyper.values()))
    fresh = RULES[rule].fresh(1.5, RULES[rule].defaults)
    settings = list(RULES[rule].defaults.values())
    found = compose(RULES[rule], COUPLINGS[coupling], FLOATS)(1.5, -2 / 7, fresh, *map(float, numbers), settings)
    np.testing.assert_allclose(found, [float(sp.N(x, 40)) for x in exact], rtol=TOLERANCE, atol=1e-15)
