"""Our rules and couplings as other libraries state them, and their paths: one row a pair in `ROWS`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytorch_optimizer
import schedulefree
import torch
from conformance.oracle import TOLERANCE, Setting, scalars, spelled, theirs
from pytorch_optimizer.optimizer.muon import base as muon_base

Of = Callable[[Any], Any]
# From (rate and multiplier as functions of the step's count, strength, hyperparameters) to a transformation.
Build = Callable[[Of, Of, Any, dict[str, Any]], Any]
# pytorch_optimizer and schedulefree add 1e-15 to what they take the root of, at a v of 1e-4 or more: half of 1e-11,
# relative, and a path may be a few times as sensitive to it.
UNDER_THE_ROOT = 5e-11


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

# The torch optimizer that each pair of rule and coupling is, and what must be added to its arguments.
TORCH: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {
    ("sgd", "l2"): (torch.optim.SGD, {}),
    ("momentum", "l2"): (torch.optim.SGD, {}),
    ("nesterov", "l2"): (torch.optim.SGD, {"nesterov": True}),
    ("adagrad", "l2"): (torch.optim.Adagrad, {}),
    ("adadelta", "l2"): (torch.optim.Adadelta, {}),
    ("rmsprop", "l2"): (torch.optim.RMSprop, {}),
    ("rmsprop_momentum", "l2"): (torch.optim.RMSprop, {}),
    ("rmsprop_centered", "l2"): (torch.optim.RMSprop, {"centered": True}),
    ("adam", "l2"): (torch.optim.Adam, {}),
    ("adam", "decoupled_lr"): (torch.optim.AdamW, {}),
    ("amsgrad", "l2"): (torch.optim.Adam, {"amsgrad": True}),
    ("amsgrad", "decoupled_lr"): (torch.optim.AdamW, {"amsgrad": True}),
    ("adamax", "l2"): (torch.optim.Adamax, {}),
    ("nadam", "l2"): (torch.optim.NAdam, {}),
    ("nadam", "decoupled_lr"): (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    ("radam", "l2"): (torch.optim.RAdam, {}),
    ("radam", "decoupled_lr"): (torch.optim.RAdam, {"decoupled_weight_decay": True}),
}
# The rules that torch has element by element; its Muon is held to another comparison.
TORCH_RULES = sorted({rule for rule, _ in TORCH})

# The class that each pair of rule and coupling is, and what must be added to its arguments: the same formula.
PYTORCH_OPTIMIZER: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {
    ("sgd", "decoupled_lr"): (pytorch_optimizer.SGDW, {}),
    ("momentum", "decoupled_lr"): (pytorch_optimizer.SGDW, {}),
    ("nesterov", "decoupled_lr"): (pytorch_optimizer.SGDW, {"nesterov": True}),
    ("adadelta", "l2"): (pytorch_optimizer.AdaDelta, {}),
    ("adadelta", "decoupled_lr"): (pytorch_optimizer.AdaDelta, {"weight_decouple": True}),
    ("adadelta", "decoupled_constant"): (pytorch_optimizer.AdaDelta, {"weight_decouple": True, "fixed_decay": True}),
    ("adamax", "l2"): (pytorch_optimizer.AdaMax, {}),
    ("adamax", "decoupled_lr"): (pytorch_optimizer.AdaMax, {"weight_decouple": True}),
    ("adamax", "decoupled_constant"): (pytorch_optimizer.AdaMax, {"weight_decouple": True, "fixed_decay": True}),
    ("radam", "decoupled_lr"): (pytorch_optimizer.RAdam, {"degenerated_to_sgd": True}),
    ("radam", "decoupled_constant"): (pytorch_optimizer.RAdam, {"degenerated_to_sgd": True, "fixed_decay": True}),
    ("adabelief", "l2"): (pytorch_optimizer.AdaBelief, {"weight_decouple": False}),
    ("adabelief", "decoupled_lr"): (pytorch_optimizer.AdaBelief, {}),
    ("adabelief", "decoupled_constant"): (pytorch_optimizer.AdaBelief, {"fixed_decay": True}),
    ("adan", "decoupled_lr"): (pytorch_optimizer.Adan, {"weight_decouple": True}),
    ("lion", "l2"): (pytorch_optimizer.Lion, {"weight_decouple": False}),
    ("lion", "decoupled_lr"): (pytorch_optimizer.Lion, {}),
    ("lion", "decoupled_constant"): (pytorch_optimizer.Lion, {"fixed_decay": True}),
    ("schedule_free", "decoupled_lr"): (pytorch_optimizer.ScheduleFreeAdamW, {}),
    ("muon", "l2"): (pytorch_optimizer.Muon, {"weight_decouple": False}),
    ("muon", "decoupled_lr"): (pytorch_optimizer.Muon, {}),
}


def in_optax(build: Build, setting: Setting) -> np.ndarray:
    """optax's weights after each step (steps, *shape)."""
    with jax.enable_x64(True):
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


def torchs(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of ours under the names of torch and pytorch_optimizer."""
    names = {"initial_accumulator": "initial_accumulator_value", "trust": "trust_coefficient"}
    return {names.get(name, name): value for name, value in settings.items()}


def in_torch(offer: tuple[Any, dict[str, Any]], setting: Setting, evaluated: bool = False) -> np.ndarray:
    """The weights of a class of torch's kind after each step; evaluated: its averages of them."""
    kind, extra = offer
    arguments = spelled(setting.hyper) | {"lr": setting.lr, "weight_decay": setting.strength} | extra
    other = kind.__module__.startswith("pytorch_optimizer")
    if setting.rule in ("muon", "lars"):
        del arguments["eps"]  # 1e-7 and none there, and no argument
    marks = {"use_muon": True} if setting.rule == "muon" else {}
    # Muon orthogonalizes in bfloat16; the function that does it takes another dtype.
    whole = functools.partial(_ORTHOGONAL, dtype=torch.float64)
    with scalars(torch.float32 if other else torch.float64), mock.patch.object(muon_base, _ORTHOGONAL.__name__, whole):
        return theirs(lambda weights: kind([{"params": weights, **marks}], **torchs(arguments)), setting, evaluated)


_ORTHOGONAL = muon_base.zero_power_via_newton_schulz_5


def by_hand(setting: Setting) -> np.ndarray:
    """torch's optimizer of the rule without a regularizer, and the coupling's pull done by hand around its steps."""
    kind, extra = TORCH[setting.rule, "l2"]
    arguments = torchs({"lr": setting.lr, **spelled(setting.hyper), **extra})
    with scalars(torch.float64):
        return theirs(lambda weights: kind(weights, **arguments), setting, by_hand=setting.coupling)


@dataclass(frozen=True)
class Row:
    """A pair of ours that a library's factory is: at the fixed hyperparameters and, if steady, a constant lr."""

    library: str
    rule: str
    coupling: str
    factory: Any
    fixed: dict[str, float] = field(default_factory=dict)
    steady: bool = False
    tolerance: float = TOLERANCE

    def path(self, setting: Setting) -> np.ndarray:
        return in_optax(self.factory, setting) if self.library == "optax" else in_torch(self.factory, setting)


SCHEDULE_FREE = schedulefree.AdamWScheduleFree, {}
ROWS = (
    *(Row("torch", *pair, offer) for pair, offer in TORCH.items()),
    *(Row("optax", *pair, build) for pair, build in OPTAX.items()),
    Row("optax", "adagrad", "l2", _l2(lambda rate, hyper: optax.adagrad(rate, **renamed(hyper))), {"eps": 0.0}),
    Row("optax", "radam", "l2", _l2(lambda rate, hyper: optax.radam(rate, **renamed(hyper))), {"eps": 0.0}),
    Row("optax", "adan", "decoupled_lr", _with_decay(optax.adan, eps_root=0.0), {"beta2": 0.5}),
    Row("optax", "schedule_free", "decoupled_lr", _schedule_free, steady=True),
    *(
        Row(
            "pytorch_optimizer",
            *pair,
            offer,
            {"eps": 1e-7} if pair[0] == "muon" else {},
            tolerance=UNDER_THE_ROOT if pair[0] == "schedule_free" else TOLERANCE,
        )
        for pair, offer in PYTORCH_OPTIMIZER.items()
    ),
    Row("schedulefree", "schedule_free", "decoupled_lr", SCHEDULE_FREE),
)
