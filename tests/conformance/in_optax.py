"""Our rules and couplings as optax states them, and how to run them: float64 needs jax_enable_x64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from conformance.sides import Setting

Of = Callable[[Any], Any]
# From (rate and multiplier as functions of the step's count, strength, hyperparameters) to a transformation.
Build = Callable[[Of, Of, Any, dict[str, Any]], Any]


def _decayed(strength: Any) -> Any:
    return optax.add_decayed_weights(strength)


def _l2(build: Callable[[Of, dict[str, Any]], Any]) -> Build:
    return lambda rate, multiplier, strength, hyper: optax.chain(_decayed(strength), build(rate, hyper))


def _decoupled(build: Callable[[dict[str, Any]], Any]) -> Build:
    return lambda rate, multiplier, strength, hyper: optax.chain(
        build(hyper), _decayed(strength), optax.scale_by_learning_rate(rate)
    )


def _corrected(alias: Callable[..., Any], spell: Callable[[dict[str, Any]], dict[str, Any]]) -> Build:
    def build(rate: Of, multiplier: Of, strength: Any, hyper: dict[str, Any]) -> Any:
        return alias(rate, weight_decay=lambda count: strength * multiplier(count), **spell(hyper))

    return build


def renamed(hyper: dict[str, Any]) -> dict[str, Any]:
    names = {"beta1": "b1", "beta2": "b2", "beta3": "b3", "alpha": "decay", "trust": "trust_coefficient"}
    names["initial_accumulator"] = "initial_accumulator_value"
    return {names.get(name, name): value for name, value in hyper.items()}


def alias_of(alias: Callable[..., Any], **extra: Any) -> Build:
    return lambda rate, multiplier, strength, hyper: alias(rate, **renamed(hyper), **extra)


def _with_decay(alias: Callable[..., Any], **extra: Any) -> Build:
    return lambda rate, multiplier, strength, hyper: alias(rate, weight_decay=strength, **renamed(hyper), **extra)


def _belief(hyper: dict[str, Any]) -> dict[str, Any]:
    return {**renamed(hyper), "eps_root": hyper["eps"]}


def _buffered(scale: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda hyper: optax.chain(
        scale(decay=hyper["alpha"], eps=hyper["eps"], eps_in_sqrt=False), optax.trace(hyper["momentum"])
    )


def _buffered_l2(scale: Callable[..., Any]) -> Build:
    inner = _buffered(scale)
    return _l2(lambda rate, hyper: optax.chain(inner(hyper), optax.scale_by_learning_rate(rate)))


def _schedule_free(rate: Of, multiplier: Of, strength: Any, hyper: dict[str, Any]) -> Any:
    return optax.contrib.schedule_free_adamw(rate(0), weight_decay=strength, **renamed(hyper))


# What stands for our (rule, coupling) there: the same formula.
OPTAX: dict[tuple[str, str], Build] = {
    ("sgd", "l2"): _l2(lambda rate, hyper: optax.sgd(rate)),
    ("sgd", "decoupled_lr"): _decoupled(lambda hyper: optax.identity()),
    ("momentum", "l2"): _l2(lambda rate, hyper: optax.sgd(rate, **hyper)),
    ("momentum", "decoupled_lr"): _decoupled(lambda hyper: optax.trace(hyper["momentum"])),
    ("nesterov", "l2"): _l2(lambda rate, hyper: optax.sgd(rate, nesterov=True, **hyper)),
    ("nesterov", "decoupled_lr"): _decoupled(lambda hyper: optax.trace(hyper["momentum"], nesterov=True)),
    ("adadelta", "l2"): _with_decay(optax.adadelta),
    ("adadelta", "decoupled_lr"): _decoupled(lambda hyper: optax.scale_by_adadelta(**hyper)),
    ("rmsprop", "l2"): _l2(lambda rate, hyper: optax.rmsprop(rate, eps_in_sqrt=False, **renamed(hyper))),
    ("rmsprop", "decoupled_lr"): _decoupled(lambda hyper: optax.scale_by_rms(eps_in_sqrt=False, **renamed(hyper))),
    ("rmsprop_momentum", "l2"): _buffered_l2(optax.scale_by_rms),
    ("rmsprop_momentum", "decoupled_lr"): _decoupled(_buffered(optax.scale_by_rms)),
    ("rmsprop_centered", "l2"): _buffered_l2(optax.scale_by_stddev),
    ("rmsprop_centered", "decoupled_lr"): _decoupled(_buffered(optax.scale_by_stddev)),
    ("adam", "none"): alias_of(optax.adam),
    ("adam", "l2"): _l2(lambda rate, hyper: optax.adam(rate, **renamed(hyper))),
    ("adam", "decoupled_lr"): _with_decay(optax.adamw),
    ("adam", "corrected"): _corrected(optax.adamw, renamed),
    ("adamax", "l2"): _l2(lambda rate, hyper: optax.adamax(rate, **renamed(hyper))),
    ("adamax", "decoupled_lr"): _with_decay(optax.adamaxw),
    ("adamax", "corrected"): _corrected(optax.adamaxw, renamed),
    ("adabelief", "l2"): _l2(lambda rate, hyper: optax.adabelief(rate, **_belief(hyper))),
    ("adabelief", "decoupled_lr"): _decoupled(lambda hyper: optax.scale_by_belief(**_belief(hyper))),
    ("lion", "l2"): _l2(lambda rate, hyper: optax.lion(rate, weight_decay=0.0, **renamed(hyper))),
    ("lion", "decoupled_lr"): _with_decay(optax.lion),
    ("lion", "corrected"): _corrected(optax.lion, renamed),
    ("lars", "l2"): _with_decay(optax.lars),
    ("lamb", "l2"): _l2(lambda rate, hyper: optax.lamb(rate, **renamed(hyper))),
    ("lamb", "decoupled_lr"): _with_decay(optax.lamb),
    ("lamb", "corrected"): _corrected(optax.lamb, renamed),
}

# The same formula at some settings only: the values that a hyperparameter must have, or a constant learning rate.
OPTAX_AT: dict[tuple[str, str], tuple[dict[str, float], Build]] = {
    ("adagrad", "l2"): ({"eps": 0.0}, _l2(lambda rate, hyper: optax.adagrad(rate, **renamed(hyper)))),
    ("radam", "l2"): ({"eps": 0.0}, _l2(lambda rate, hyper: optax.radam(rate, **renamed(hyper)))),
    ("adan", "decoupled_lr"): ({"beta2": 0.5}, _with_decay(optax.adan, eps_root=0.0)),
    ("schedule_free", "decoupled_lr"): ({}, _schedule_free),
}


def path(build: Build, setting: Setting) -> np.ndarray:
    """optax's weights after each step (steps, *shape)."""
    arguments = setting.lr, setting.strength, setting.hyper, setting.given, setting.multipliers, setting.start
    return np.asarray(_compiled(build)(*arguments))


@functools.cache
def _compiled(build: Build) -> Callable[..., jax.Array]:
    """One compilation a transformation: the numbers are arguments."""

    def run(lr: Any, strength: Any, hyper: Any, given: Any, multipliers: Any, start: Any) -> jax.Array:
        transformation = build(lambda count: lr * multipliers[count], lambda count: multipliers[count], strength, hyper)

        def advance(carry: tuple, gradient: jax.Array) -> tuple:
            w, state = carry
            updates, state = transformation.update(gradient, state, w)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        start = jnp.asarray(start)
        rows: jax.Array = jax.lax.scan(advance, (start, transformation.init(start)), given)[1]
        return rows

    return jax.jit(run)
