"""What there is to draw of a setting: the path of a weight without a gradient, and the pull against the gradients' size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynamics.answers.decay_time import decay_time
from dynamics.answers.pull_rate import pull_rates
from dynamics.answers.setting import Setting
from dynamics.simulate.lanes import simulate

# A path ends where the weight is this small, or after this many steps.
_END, _LONGEST = 1e-3, 2_000_000
_RECORDS = 400


@dataclass(frozen=True)
class Curve:
    """y against x, (points,) each; `setting` in words."""

    setting: str
    x: np.ndarray
    y: np.ndarray


def silent_paths(settings: Sequence[Setting]) -> list[Curve]:
    """abs(w) against steps without a gradient, from fresh state and size 1 down to 1e-3."""
    return [_path(setting) for setting in settings]


def _path(setting: Setting) -> Curve:
    end = decay_time(setting, 1.0, _END).steps
    last = min(_LONGEST, 100_000 if end is None else max(end, 2))
    steps = np.unique(
        np.concatenate([np.geomspace(1, last, _RECORDS), np.linspace(0, last, _RECORDS)]).astype(np.int64)
    )
    lanes = {"lr": setting.lr, "strength": setting.strength, **setting.hyper}
    path = simulate(setting.rule, setting.coupling, record=steps, lanes=lanes)
    return Curve(str(setting), steps, np.abs(path.w[:, 0]))


def pull_curves(settings: Sequence[Setting], rms: np.ndarray) -> list[Curve]:
    """Share of a small weight that the regularizer takes off a step, against the rms of gradients at every step.

    NaN where the pull is no share of the weight.
    """
    curves = []
    for setting in settings:
        size = np.minimum(1.0, rms / (30 * setting.strength)) if setting.coupling.in_gradient else np.ones_like(rms)
        rates = pull_rates(setting, rms, 1.0, size)[0].mean(axis=1)
        curves.append(Curve(str(setting), rms, np.where(rates > 0, rates, np.nan)))
    return curves
