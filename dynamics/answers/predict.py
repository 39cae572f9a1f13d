"""What a practitioner asks of a setting, by closed form where its regime holds and by simulation where it does not.

silent_steps     how long a weight lasts that gets no gradient
equilibrium_rms  how large it stays under pure noise
fixed_point      where it rests under a gradient that pulls it to a target
l2_over_decay    how much harder L2 pulls than decay x lr of equal strength; decay_strength converts by it

Gradients are those of `selective` in `dynamics.simulate.gradients`:
they arrive with probability `arrival`, with standard deviation sigma.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dynamics import couplings, rules
from dynamics.answers.decay_time import passage
from dynamics.answers.setting import Setting
from dynamics.errors import InputError
from dynamics.theory import closed

# Closed forms are chosen by the rules and couplings for which they are proved, whatever those are called: what a rule
# says of itself is not enough for a theorem. For all others the answer is simulated.
_LINEAR = (rules.sgd, rules.momentum, rules.nesterov)
_SCALED = (rules.adam, rules.rmsprop)
_CLIPPED = (*_SCALED, rules.adamax, rules.nadam, rules.lion)
_LANES, _FIRST, _LONGEST, _CLOSE = 512, 4_000, 1_024_000, 0.02


@dataclass(frozen=True)
class Prediction:
    """value: None if there is none. how: where it comes from. regime: what the closed form assumes, or why it does not
    apply and the value was simulated."""

    value: float | None
    how: Literal["closed form", "simulated"]
    regime: str


def silent_steps(setting: Setting, start: float = 1.0, target: float = 1e-3) -> Prediction:
    """Steps until a fresh weight without a gradient has gone from start to target; start/2 as target: the half-life."""
    lr, strength, hyper = setting.lr, setting.strength, setting.hyper

    def formula() -> tuple[float, str]:
        match setting.rule, setting.coupling:
            case rule, coupling if len(coupling.doors) == 1 and not coupling.in_gradient and not rule.takes_pull:
                share = next(iter(coupling.doors.values()))(strength, lr, 1.0)
                return closed.geometric_steps(share, target / start), "the rule itself does not move it: exact"
            case rules.sgd, couplings.l2:
                return closed.geometric_steps(lr * strength, target / start), "exact"
            case rules.adam, couplings.l2:
                return closed.adam_steps(start, target, lr, strength, **hyper), "free of the strength, within 3%"
            case rules.adamax, couplings.l2:
                return closed.adamax_steps(start, target, lr, strength, **hyper), "free of the strength, within 5%"
            case rules.adagrad, couplings.l2:
                root = math.sqrt(hyper["initial_accumulator"])
                return closed.adagrad_steps(start, target, lr, strength, root, hyper["eps"]), "within 5%"
        raise InputError(_no_form(setting, "the time to decay"))

    try:
        return Prediction(*_closed(formula))
    except InputError as outside:
        found = passage(setting, start, target)
        why = str(outside) if found.steps is not None else found.how
        return Prediction(found.steps, "simulated", why)


def equilibrium_rms(setting: Setting, sigma: float, arrival: float = 1.0) -> Prediction:
    """Root mean square of a weight under gradients of mean 0, standard deviation sigma at arrival."""
    lr, strength, hyper = setting.lr, setting.strength, setting.hyper
    rms = sigma * math.sqrt(arrival)
    # Dividing by sqrt(v) + eps, where the closed forms of Adam divide by sqrt(v), is a smaller lr for the gradient.
    seen = rms / (rms + hyper.get("eps", 0.0)) if rms else 1.0

    def formula() -> tuple[float, str]:
        match setting.rule, setting.coupling:
            case rules.sgd, couplings.l2 | couplings.decoupled_lr:
                square, regime = closed.sgd_mean_square(lr, strength, rms), "exact"
            case rules.momentum, couplings.l2:
                square, regime = closed.momentum_mean_square(lr, strength, rms, **hyper), "exact"
            case rules.adam, couplings.decoupled_lr:
                square = closed.adamw_mean_square(lr, strength, hyper["beta1"], hyper["beta2"], arrival) * seen**2
                regime = "v settled: within 4%"
            case rules.adam, couplings.l2:
                square = closed.adam_l2_mean_square(
                    lr * seen, strength, sigma, arrival, beta1=hyper["beta1"], beta2=hyper["beta2"]
                )
                regime = "v settled and set by the noise: within 3%"
            case rules.lion, couplings.decoupled_lr if hyper["beta1"] == 0:
                square, regime = closed.sign_mean_square(lr, strength, arrival), "exact"
            case _:
                raise InputError(_no_form(setting, "the size under noise"))
        return math.sqrt(square), regime

    def simulated() -> float | None:
        found = _stationary(setting, 0.0, lambda w: float((w * w).mean()), sigma=sigma, arrival=arrival)
        return None if found is None else math.sqrt(found)

    return _predict(formula, simulated)


def fixed_point(setting: Setting, pull: float, target: float, arrival: float = 1.0, sigma: float = 0.0) -> Prediction:
    """Mean of a weight whose gradient, when it arrives, is pull (w - target) plus noise."""
    strength, hyper = setting.strength, setting.hyper
    steady = arrival == 1 and sigma == 0

    def formula() -> tuple[float, str]:
        match setting.rule, setting.coupling:
            case rule, couplings.l2 if rule in _LINEAR:
                return closed.l2_fixed_point(arrival, pull, target, strength), "exact in the mean"
            case rule, couplings.decoupled_lr if rule in _LINEAR:
                momentum = hyper.get("momentum", 0.0)
                return closed.decay_fixed_point(arrival * pull, target, strength, momentum), "exact in the mean"
            case rule, couplings.l2 if rule in _SCALED:
                found = closed.adam_l2_fixed_point(arrival, pull, target, strength, hyper[rule.memory])
                return found, "lr small, eps far below sqrt(v): within 2% of target"
            case rule, couplings.decoupled_lr if rule in _CLIPPED and steady:
                _small_eps(setting, abs(pull * target), "the gradient at weight 0")
                return float(closed.clipped_fixed_point(target, strength)), "no noise: up to a few lr"
            case rules.adam, couplings.decoupled_lr if sigma > 0:
                closed.l2_over_decay(arrival, sigma, 0.0, target, hyper["eps"], hyper["beta2"])
                rms = sigma * math.sqrt(arrival)
                _small_eps(setting, rms, "sigma sqrt(arrival)")
                return closed.noisy_adamw_fixed_point(arrival * pull, target, strength, rms), "noise sets v: within 5%"
        raise InputError(_no_form(setting, "the fixed point"))

    def simulated() -> float | None:
        return _stationary(
            setting, target, lambda w: float(w.mean()), sigma=sigma, arrival=arrival, pull=pull, target=target
        )

    return _predict(formula, simulated)


def l2_over_decay(setting: Setting, sigma: float, arrival: float = 1.0, w: float = 1.0) -> Prediction:
    """What L2 takes off a weight of size w over what decay x lr of equal strength takes; `setting` has coupling l2."""
    if setting.coupling is not couplings.l2:
        raise InputError(f"coupling {setting.coupling.name!r}: l2 is accepted")
    hyper = setting.hyper

    def formula() -> tuple[float, str]:
        if setting.rule in _LINEAR:
            return closed.momentum_l2_over_decay(hyper.get("momentum", 0.0)), "once the buffer is filled"
        if setting.rule in _SCALED:
            found = closed.l2_over_decay(arrival, sigma, setting.strength, w, hyper["eps"], hyper[setting.rule.memory])
            return found, "v settled: within 4%"
        raise InputError(_no_form(setting, "L2 over decay"))

    def simulated() -> float | None:
        from dynamics.answers.pull_rate import pull_rates

        found = float(pull_rates(setting, sigma, arrival, w)[-1, 0].mean()) / (setting.lr * setting.strength)
        return found if math.isfinite(found) else None

    return _predict(formula, simulated)


def decay_strength(setting: Setting, sigma: float, arrival: float = 1.0, w: float = 1.0) -> Prediction:
    """The strength of decay x lr that pulls as `setting`, an L2, does on a weight of size w."""
    ratio = l2_over_decay(setting, sigma, arrival, w)
    value = None if ratio.value is None else ratio.value * setting.strength
    return Prediction(value, ratio.how, ratio.regime)


def _small_eps(setting: Setting, scale: float, what: str) -> None:
    eps = setting.hyper.get("eps", 0.0)
    if eps > 1e-2 * scale:
        raise InputError(f"eps {eps:g}: at most {1e-2 * scale:.3g} is accepted, a hundredth of {what}")


def _no_form(setting: Setting, what: str) -> str:
    return f"{setting.rule.name} with {setting.coupling.name}: no closed form for {what} is known"


def _closed(formula: Callable[[], tuple[float, str]]) -> tuple[float, Literal["closed form"], str]:
    value, regime = formula()
    return value, "closed form", regime


def _predict(formula: Callable[[], tuple[float, str]], simulated: Callable[[], float | None]) -> Prediction:
    """The closed form; outside its regime the simulated value, with what the closed form's precondition said."""
    try:
        return Prediction(*_closed(formula))
    except InputError as outside:
        value = simulated()
        why = str(outside) if value is not None else f"{outside}; not stationary within {_LONGEST} steps"
        return Prediction(value, "simulated", why)


def _stationary(
    setting: Setting, start: float, measure: Callable[[np.ndarray], float], **gradient: float
) -> float | None:
    """`measure` of the weights once a run has settled: its second half agrees with the quarter before it."""
    from dynamics.simulate.gradients import selective
    from dynamics.simulate.lanes import simulate

    lanes = (
        {"lr": setting.lr, "strength": setting.strength, "pull": 0.0, "target": 0.0} | dict(setting.hyper) | gradient
    )
    last = _FIRST
    while last <= _LONGEST:
        record = np.unique(np.linspace(last // 4, last, 200, dtype=np.int64))
        w = simulate(
            setting.rule, setting.coupling, selective, record=record, lanes=lanes, start=start,
            stream=np.arange(_LANES),
        ).w  # fmt: skip
        late = record > last // 2
        with np.errstate(all="ignore"):  # a weight may have diverged; its size is then no number
            before, after = measure(w[~late]), measure(w[late])
        if not math.isfinite(after):
            return None
        if abs(after - before) <= _CLOSE * abs(after):
            return after
        last *= 4
    return None
