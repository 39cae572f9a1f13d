"""The symmetries that are found hold over whole runs, and those that the theory names are among what is found or are not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from dynamics.couplings import COUPLINGS, compose
from dynamics.rules import RULES
from dynamics.theory import formula
from dynamics.words import FLOATS, tensors

# THEORY A3: without a gradient the path is the same for (c strength, c eps).
A3 = sorted(set(RULES) - {"sgd", "momentum", "nesterov", "adadelta", "radam", "adabelief"})


def numbers(rule: str) -> dict[str, Any]:
    """Settings under which every branch is near: eps beside the gradients, RAdam's first steps and the later ones."""
    values = RULES[rule].hyperparameters() | {"lr": 0.05, "strength": 0.3, "w": 1.3}
    values |= {name: x for name, x in {"eps": 0.05, "beta2": 0.9, "initial_accumulator": 0.1}.items() if name in values}
    return values


def path(rule: str, coupling: str, values: dict[str, Any], scale: float, silent: bool = False) -> list[Any]:
    """The weights of 12 steps; gradients are multiplied by scale."""
    made = RULES[rule]
    step = compose(made, COUPLINGS[coupling], tensors() if isinstance(values["w"], torch.Tensor) else FLOATS)
    hyper = {name: values[name] for name in made.defaults}
    w, inner, weights = values["w"], made.fresh(values["w"], hyper), []
    for t in range(12):
        g = 0 * w if silent else scale * (0.7 * w - 0.4 + 0.5 * (t % 3 == 1))
        rate = values["lr"] * (1.0 if t < 6 else 0.5)
        w, *rest = step(w, g, inner, rate, 0.7, values["strength"], tuple(hyper.values()))
        inner = tuple(rest)
        weights.append(w)
    return weights


def scaled(values: dict[str, Any], exponents: dict[str, Fraction], c: float) -> dict[str, Any]:
    return {name: x * c ** float(exponents.get(name, 0)) for name, x in values.items()}


@pytest.mark.parametrize("rule", A3)
def test_without_a_gradient_strength_and_eps_together_leave_the_path_alone(rule: str) -> None:
    found = formula.unchanged(RULES[rule], COUPLINGS["l2"], ("strength", "eps"), without_gradient=True)
    assert found is not None
    assert path(rule, "l2", scaled(numbers(rule), found, 8.0), 1.0, silent=True) == pytest.approx(
        path(rule, "l2", numbers(rule), 1.0, silent=True), rel=1e-9
    )


@pytest.mark.parametrize("rule", sorted(set(RULES) - set(A3)))
def test_and_where_they_do_not_the_path_changes(rule: str) -> None:
    assert formula.unchanged(RULES[rule], COUPLINGS["l2"], ("strength", "eps"), without_gradient=True) is None
    both = {"strength": Fraction(1), "eps": Fraction(1)}
    first, second = (path(rule, "l2", scaled(numbers(rule), both, c), 1.0, silent=True) for c in (1.0, 4.0))
    assert not np.allclose(first, second, rtol=1e-3)


@pytest.mark.parametrize(("coupling", "together"), [("decoupled_lr", ("g", "eps")), ("l2", ("g", "strength", "eps"))])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_gradients_scale(rule: str, coupling: str, together: tuple[str, ...]) -> None:
    """THEORY B9, for every rule: whether it holds is what two runs say."""
    found = formula.unchanged(RULES[rule], COUPLINGS[coupling], together)
    assert (found is not None) == (rule in A3)
    exponents = found or {name: Fraction(1) for name in together}
    changed = path(rule, coupling, scaled(numbers(rule), exponents, 4.0), 4.0)
    assert np.allclose(changed, path(rule, coupling, numbers(rule), 1.0), rtol=1e-9) == (rule in A3)


@pytest.mark.parametrize("rule", ["adam", "lion", "muon", "lars"])
def test_adamw_like_rules_do_not_bear_a_strength_that_follows_the_gradient(rule: str) -> None:
    assert formula.unchanged(RULES[rule], COUPLINGS["decoupled_lr"], ("g", "strength", "eps")) is None
    assert formula.unchanged(RULES[rule], COUPLINGS["l2"], ("g", "eps")) is None


@pytest.mark.parametrize("rule", ["lars", "lamb", "muon"])
@pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
def test_symmetries_of_tensor_rules_hold_for_a_whole_matrix(rule: str, coupling: str) -> None:
    w = torch.linspace(-1, 1.5, 6, dtype=torch.float64).reshape(2, 3)
    together = ("g", "strength", "eps") if coupling == "l2" else ("g", "eps")
    found = formula.unchanged(RULES[rule], COUPLINGS[coupling], together)
    assert found is not None
    plain = numbers(rule) | {"w": w}
    one, two = path(rule, coupling, plain, 1.0), path(rule, coupling, scaled(plain, found, 4.0), 4.0)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=0) for a, b in zip(one, two, strict=True))


def test_a_number_alone_would_hide_that_lamb_reads_eps() -> None:
    """Of one number, LAMB's step is its size, whatever eps; of a matrix it is not, and that is what is asked."""
    assert formula.unchanged(RULES["lamb"], COUPLINGS["none"], ("eps",)) is None
    assert path("lamb", "none", numbers("lamb"), 1.0) == pytest.approx(
        path("lamb", "none", numbers("lamb") | {"eps": 5.0}, 1.0)
    )


def test_the_state_follows() -> None:
    found = formula.unchanged(RULES["adam"], COUPLINGS["l2"], ("strength", "eps"), without_gradient=True)
    assert found == {"m": 1, "v": 2, "eps": 1, "strength": 1}
    # Schedule-Free weighs by the square of the largest rate so far, and so its clock follows the rate.
    found = formula.unchanged(RULES["schedule_free"], COUPLINGS["none"], ("w", "lr"))
    assert found == {"z": 1, "lr_max": 1, "weights": 2, "w": 1, "lr": 1}
