"""Each rule is optax's transformation of that name wherever the two libraries state the same formula."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np
import optax
import pytest
from conformance.oracle import TOLERANCE, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import hyperparameters, rates, strengths

from dynamics.couplings import COUPLINGS, compose
from dynamics.rules import RULES
from dynamics.words import NUMPY

START = np.linspace(-1.0, 2.0, 6)


@pytest.fixture(autouse=True, scope="module")
def _float64() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def run(transformation: optax.GradientTransformation, given: jax.Array) -> jax.Array:
    def advance(carry: tuple, gradient: jax.Array) -> tuple:
        w, state = carry
        updates, state = transformation.update(gradient, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), w

    start = jax.numpy.asarray(START)
    return jax.lax.scan(advance, (start, transformation.init(start)), given)[1]


@functools.cache
def compiled(rule: str, coupling: str) -> Callable[..., jax.Array]:
    """One compilation a pair: the numbers are arguments."""
    return jax.jit(lambda lr, strength, hyper, given: run(OPTAX[rule, coupling](lr, strength, hyper), given))


def our_path(rule: str, coupling: str, lr: float, strength: float, hyper: dict, given: np.ndarray) -> np.ndarray:
    step = compose(RULES[rule], COUPLINGS[coupling], NUMPY)
    w, inner, rows = START, RULES[rule].fresh(), []
    for g in given:
        w, *inner = step(w, g, tuple(inner), lr, 1.0, strength, tuple(hyper.values()))
        rows.append(w)
    return np.array(rows)


def difference(ours: np.ndarray, theirs: jax.Array) -> float:
    return float(np.abs(ours - np.asarray(theirs)).max() / max(1.0, np.abs(theirs).max()))


def adam(lr: float, hyper: dict) -> optax.GradientTransformation:
    return optax.adam(lr, b1=hyper["beta1"], b2=hyper["beta2"], eps=hyper["eps"])


def adamw(lr: float, strength: float, hyper: dict) -> optax.GradientTransformation:
    return optax.adamw(lr, b1=hyper["beta1"], b2=hyper["beta2"], eps=hyper["eps"], weight_decay=strength)


# What stands for our (rule, coupling) there; add_decayed_weights before a rule is L2, after it weight decay x lr.
OPTAX = {
    ("sgd", "none"): lambda lr, strength, hyper: optax.sgd(lr),
    ("sgd", "l2"): lambda lr, strength, hyper: optax.chain(optax.add_decayed_weights(strength), optax.sgd(lr)),
    ("momentum", "none"): lambda lr, strength, hyper: optax.sgd(lr, momentum=hyper["momentum"]),
    ("momentum", "l2"): lambda lr, strength, hyper: optax.chain(
        optax.add_decayed_weights(strength), optax.sgd(lr, momentum=hyper["momentum"])
    ),
    ("momentum", "decoupled_lr"): lambda lr, strength, hyper: optax.chain(
        optax.trace(hyper["momentum"]), optax.add_decayed_weights(strength), optax.scale(-lr)
    ),
    ("nesterov", "l2"): lambda lr, strength, hyper: optax.chain(
        optax.add_decayed_weights(strength), optax.sgd(lr, momentum=hyper["momentum"], nesterov=True)
    ),
    ("adam", "none"): lambda lr, strength, hyper: adam(lr, hyper),
    ("adam", "l2"): lambda lr, strength, hyper: optax.chain(optax.add_decayed_weights(strength), adam(lr, hyper)),
    ("adam", "decoupled_lr"): adamw,
}


@pytest.mark.parametrize(("rule", "coupling"), sorted(OPTAX))
@given(data=st.data())
@settings(max_examples=10)
def test_path_is_optaxs(rule: str, coupling: str, data: st.DataObject) -> None:
    lr, strength, hyper = data.draw(rates), data.draw(strengths), data.draw(hyperparameters(rule))
    rows = gradients(data.draw(st.integers(0, 1000))).numpy()
    theirs = compiled(rule, coupling)(lr, strength, hyper, rows)
    assert difference(our_path(rule, coupling, lr, strength, hyper, rows), theirs) <= TOLERANCE


def test_rmsprop_differs_by_where_eps_stands_and_by_its_default_decay() -> None:
    rows = gradients(1).numpy()
    small, large = 1e-12, 1e-2

    def gap(eps: float, **decay: float) -> float:
        theirs = run(optax.rmsprop(0.01, eps=eps, **decay), rows)
        return difference(our_path("rmsprop", "none", 0.01, 0.0, {"alpha": 0.99, "eps": eps}, rows), theirs)

    # Equal decay and an eps that hardly counts: the same path; sqrt(v) + eps is not sqrt(v + eps); .99 is not .9.
    assert gap(small, decay=0.99) < 1e-8
    assert gap(large, decay=0.99) > 1e-3
    assert gap(small) > 1e-2
    # optax offers our place for eps, too, and then it is the same formula.
    theirs = run(optax.rmsprop(0.01, decay=0.99, eps=large, eps_in_sqrt=False), rows)
    assert difference(our_path("rmsprop", "none", 0.01, 0.0, {"alpha": 0.99, "eps": large}, rows), theirs) <= TOLERANCE
