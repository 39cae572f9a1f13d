"""How large a weight stays under pure noise: by closed form where its regime holds, by simulation where it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dynamics import couplings, rules
from dynamics.answers.setting import Setting
from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.given import number
from dynamics.theory import closed

_LANES, _FIRST, _LONGEST, _CLOSE = 512, 4_000, 1_024_000, 0.02


@dataclass(frozen=True)
class Prediction:
    """value: None if there is none. how: where it comes from. regime: what the closed form assumes, or why it does not
    apply and the value was simulated."""

    value: float | None
    how: Literal["closed form", "simulated"]
    regime: str


@checked
def equilibrium_rms(setting: Setting, sigma: float, arrival: float = 1.0) -> Prediction:
    """Root mean square of a weight whose gradients have mean 0 and arrive at a share of the steps.

    sigma: the standard deviation of a gradient that arrives. arrival: the probability that one does, at each step.
    Gradients are those of `selective` in `dynamics.simulate.gradients`. Where the closed form's precondition is not met,
    the value is simulated and `regime` is what the precondition said.
    """
    number("sigma", sigma, 0)
    number("arrival", arrival, 0, 1)
    try:
        return closed_rms(setting, sigma, arrival)
    except InputError as outside:
        found = _stationary_square(setting, sigma, arrival)
        value = None if found is None else math.sqrt(found)
        why = str(outside) if value is not None else f"{outside}; not stationary within {_LONGEST} steps"
        return Prediction(value, "simulated", why)


def closed_rms(setting: Setting, sigma: float, arrival: float = 1.0) -> Prediction:
    """As `equilibrium_rms` by closed form alone; InputError where its precondition is not met, or none is known."""
    square, regime = equilibrium_square(setting, sigma, arrival)
    return Prediction(math.sqrt(square), "closed form", regime)


def equilibrium_square(setting: Setting, sigma: float, arrival: float) -> tuple[float, str]:
    """E[w^2] by closed form, and how near it is: for the rules and couplings, whatever they are called, for which it is proved."""
    lr, strength, hyper = setting.lr, setting.strength, setting.hyper
    rms = sigma * math.sqrt(arrival)
    # Dividing by sqrt(v) + eps, where the closed forms of Adam divide by sqrt(v), is a smaller lr for the gradient.
    seen = rms / (rms + hyper.get("eps", 0.0)) if rms else 1.0
    match setting.rule, setting.coupling:
        case rules.sgd, couplings.l2 | couplings.decoupled_lr:
            return closed.sgd_mean_square(lr, strength, rms), "exact"
        case rules.momentum, couplings.l2:
            return closed.momentum_mean_square(lr, strength, rms, **hyper), "exact"
        case rules.adam, couplings.decoupled_lr:
            square = closed.adamw_mean_square(lr, strength, hyper["beta1"], hyper["beta2"], arrival) * seen**2
            return square, "v settled: within 4%"
        case rules.adam, couplings.l2:
            square = closed.adam_l2_mean_square(
                lr * seen, strength, sigma, arrival, beta1=hyper["beta1"], beta2=hyper["beta2"]
            )
            return square, "v settled and set by the noise: within 3%"
        case rules.lion, couplings.decoupled_lr if hyper["beta1"] == 0:
            return closed.sign_mean_square(lr, strength, arrival), "exact"
    raise InputError(
        f"{setting.rule.name} with {setting.coupling.name}: no closed form for the size under noise is known"
    )


def _stationary_square(setting: Setting, sigma: float, arrival: float) -> float | None:
    """E[w^2] once a run has settled: the mean of its second half agrees with that of the quarter before it."""
    from dynamics.simulate.gradients import selective
    from dynamics.simulate.lanes import simulate

    lanes = {"lr": setting.lr, "strength": setting.strength, "pull": 0.0, "target": 0.0} | dict(setting.hyper)
    lanes |= {"sigma": sigma, "arrival": arrival}
    last = _FIRST
    while last <= _LONGEST:
        record = np.unique(np.linspace(last // 4, last, 200, dtype=np.int64))
        w = simulate(
            setting.rule,
            setting.coupling,
            selective,
            record=record,
            lanes=lanes,
            start=0.0,
            stream=np.arange(_LANES),
            threads=4,
        ).w
        late = record > last // 2
        with np.errstate(all="ignore"):  # a weight may have diverged; its size is then no number
            before, after = float((w[~late] ** 2).mean()), float((w[late] ** 2).mean())
        if not math.isfinite(after):
            return None
        if abs(after - before) <= _CLOSE * abs(after):
            return after
        last *= 4
    return None
