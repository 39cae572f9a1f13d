"""What an optimizer setting does to a weight: the answer behind `undertow explain`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from dynamics.answers.course import Course, course
from dynamics.answers.decay_time import DecayTime, decay_time, late_step, one_step
from dynamics.answers.eps import eps_role
from dynamics.answers.law import Law, silent_law
from dynamics.answers.predict import Prediction, equilibrium_rms
from dynamics.answers.pull_rate import Gradients, formula_rate, pull_rates, settling
from dynamics.answers.schedule import plan
from dynamics.answers.setting import Setting, as_setting, unit_note
from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.libraries.catalogue import elsewhere
from dynamics.result import Result
from dynamics.theory import formula

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The gradients of the regimes, where none are given: their size when they arrive, and how often they do.
TYPICAL_RMS = 1e-3
ARRIVALS = (0.01, 0.1, 1.0)
# Where steps do not shrink with the weight, one of size lr still moves by more than this share of lr after so many.
_SHRUNK, _RIPPLES = 4_000, 1e-3


@dataclass(frozen=True)
class Stability:
    """The largest stable learning rate on curvature h with denominator P, as formula, and without a gradient (h = 0, P as
    it is once past gradients are forgotten) as number; None: no learning rate is too large, or P remembers them.

    scale: what P is, in the rule's own state; "" where the formula has none.
    """

    formula: str
    latex: str
    scale: str
    without_gradient: float | None
    settles: bool


@dataclass(frozen=True)
class Regime:
    """The pull on a small weight whose zero-mean gradients have this rms when they arrive, at this share of steps.

    rate: share of the weight a step, None where the pull is no such share; half_life: steps; how: "closed form" or
    "simulated", or why there is no number.
    """

    rms: float
    arrival: float
    rate: float | None
    half_life: float | None
    how: str


@dataclass(frozen=True)
class Explanation(Result):
    """One setting explained. JSON by `as_dict`; one row of a table.

    one_step_from_1: None where it is no finite number. rest: where a weight rests on the quadratic h (w - w_star)^2 / 2 with
    w_star above 0, or why nowhere. no_limit: why there is no stability limit, or why none was derived. notes: which numbers are
    a library's defaults. run: over a run with its schedule, where one is given.
    """

    setting: str
    optimizer: str
    coupling: str
    lr: float
    strength: float
    hyperparameters: dict[str, float]
    paper: str
    semantics: str
    library: str
    differs: str
    formula: dict[str, str]
    latex: dict[str, str]
    one_step_formula: str
    one_step_from_1: float | None
    silent: Law
    steps_from_1_to_1e_3: dict[str, DecayTime]
    pull: str
    regimes: list[Regime]
    equilibrium: Prediction | None
    stability: Stability | None
    rest: str
    no_limit: str
    eps: str
    notes: list[str]
    warnings: list[str]
    run: Course | None = None

    def __str__(self) -> str:
        from dynamics.answers.printed import explanation

        return explanation(self)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    def rows(self) -> list[dict[str, Any]]:
        """One row, so that those of several settings stand below each other."""
        from dynamics.answers.drawing import row_of_explanation

        return [row_of_explanation(self)]

    @property
    def finding(self) -> str:
        """How long a weight without a gradient lasts, or what a run leaves of it."""
        from dynamics.answers.drawing import explained

        return explained(self)

    def _draw(self, axes: Axes) -> None:
        from dynamics.answers.drawing import draw_explanation

        draw_explanation(self, axes)


def explain(
    setting: Setting | str,
    gradient_rms: float = TYPICAL_RMS,
    *,
    schedule: str | None = None,
    steps: int | None = None,
    warmup: int | None = None,
    final: float = 0.0,
    decay_steps: int | None = None,
    steps_per_epoch: float | None = None,
) -> Explanation:
    """What a setting does to a weight: formula, decay without a gradient, pull, stability limit, point of rest.

    Args:
        setting: rule, coupling and their numbers, as `parse` reads them, or their text.
        gradient_rms: root mean square of the gradients where they arrive, in units of the gradient, for regimes and
            equilibrium.
        schedule: of a run, by a name of `dynamics.answers.schedule.plan`, the setting's lr being its largest; None: no run.
        steps: of the run.
        warmup: of the run, in steps, as in `plan`.
        final: the share of lr to which cosine, linear and trapezoid fall.
        decay_steps: of a trapezoid, in steps.
        steps_per_epoch: to speak of the run's epochs too.

    Returns:
        The Explanation; plain data by `as_dict`.

    Raises:
        InputError: for a gradient_rms that is not positive, and for numbers of a run out of range or without a schedule.

    Example:
        >>> explain("sgd lr=0.1 l2=1e-4").silent.text
        'geometric: it loses 1e-05 of itself a step, in proportion to the strength'

    Source:
        Derived from the rule's own step (`dynamics.theory`); docs/theory.md has the proofs.
    """
    setting = as_setting("setting", setting)
    rule, coupled = setting.rule, setting.coupling
    beside = {
        **{"steps": steps, "warmup": warmup, "final": final or None},
        **{"decay_steps": decay_steps, "steps_per_epoch": steps_per_epoch},
    }
    lone = [name for name, value in beside.items() if value is not None]
    if schedule is None and lone:
        raise InputError(f"{lone[0]} without schedule: a schedule is needed, as in schedule='cosine'")
    if schedule is not None and steps is None:
        raise InputError(f"schedule {schedule} without steps: the steps of the run are needed")
    planned = None if schedule is None or steps is None else plan(schedule, steps, warmup, final, decay_steps)
    size, pulls = Gradients(gradient_rms).rms, bool(coupled.doors) and setting.strength > 0 and setting.lr > 0
    numbers = {
        formula.symbol(k): v
        for k, v in {"lr": setting.lr, "strength": setting.strength, "multiplier": 1.0, **setting.hyper}.items()
    }
    written = formula.update(rule, coupled).written()
    stability, no_limit = _stability(setting, numbers)
    silent, first = silent_law(setting), one_step(setting)
    others = {name: decay_time(replace(setting, coupling=c)) for name, c in COUPLINGS.items() if c.doors}
    return Explanation(
        setting=str(setting),
        optimizer=rule.name,
        coupling=coupled.name,
        lr=setting.lr,
        strength=setting.strength,
        hyperparameters=dict(setting.hyper),
        paper=rule.paper,
        semantics=rule.semantics,
        library=elsewhere(rule).offered.get(coupled.name, ""),
        differs=elsewhere(rule).differs,
        formula={name: formula.spoken(e) for name, e in written.items()},
        latex={name: formula.spoken(e, sp.latex) for name, e in written.items()},
        one_step_formula=formula.text(formula.silent_step(rule, coupled), order="none"),
        one_step_from_1=first if math.isfinite(first) else None,
        silent=silent,
        steps_from_1_to_1e_3=others,
        pull=_pull(setting),
        regimes=[_regime(setting, Gradients(gradient_rms, p)) for p in ARRIVALS] if pulls else [],
        equilibrium=equilibrium_rms(setting, size) if pulls else None,
        stability=stability,
        rest=_rest(setting),
        no_limit=no_limit,
        eps=eps_role(setting),
        notes=list(setting.notes),
        warnings=_warnings(setting, stability, silent),
        run=None if planned is None else course(setting, planned, size, steps_per_epoch),
    )


def _pull(setting: Setting) -> str:
    """The fraction of a weight taken off a step, as formula, or why there is none."""
    try:
        return formula.text(formula.effective_decay(setting.rule, setting.coupling), order="none")
    except InputError as error:
        return str(error).partition(": ")[2]


def _regime(setting: Setting, gradients: Gradients) -> Regime:
    rate, how = formula_rate(setting, gradients), "closed form"
    if rate is None:
        size = 1.0
        if setting.coupling.in_gradient:
            size = min(1.0, gradients.rms * math.sqrt(gradients.arrival) / (30 * setting.strength))
        rates = pull_rates(setting, gradients.rms, gradients.arrival, size)
        rate, how = float(rates.mean()), "simulated"
        if setting.coupling.sign is not None or not np.isfinite(rates).all():
            return Regime(gradients.rms, gradients.arrival, None, None, "the pull is no share of the weight")
        if rate <= 2 * float(rates.std(ddof=1)) / math.sqrt(rates.size):
            return Regime(gradients.rms, gradients.arrival, None, None, "no pull stands out from the gradients' noise")
        if setting.rule.divides_by == "sum" and setting.coupling.in_gradient:
            return Regime(
                gradients.rms, gradients.arrival, rate, None,
                f"simulated, at step {settling(setting)}: it falls as 1 / sqrt(t)",
            )  # fmt: skip
    half = math.log(2) / -math.log1p(-rate) if 0 < rate < 1 else None
    return Regime(gradients.rms, gradients.arrival, rate, half, how)


def _stability(setting: Setting, numbers: dict[sp.Symbol, float]) -> tuple[Stability | None, str]:
    try:
        limit = formula.stability(setting.rule, setting.coupling)
    except InputError as error:
        why = str(error).partition(": ")[2]
        if why.startswith("none exists"):
            return None, "no limit: its steps do not grow with the distance from the minimum in proportion"
        return None, f"not derived: {why}"
    P, eps = formula.symbol("P"), formula.symbol("eps")
    # One at a time: with eps 0 numerator and denominator vanish together where P cancels.
    alone = sp.cancel(limit.lr.subs(formula.symbol("h"), 0))
    if P in alone.free_symbols:
        # At eps 0 the denominator follows the weight itself, however small: there is no limit at rest.
        silent = sp.nan if limit.silent is None or numbers.get(eps) == 0 else limit.silent
        numbers = numbers | {P: silent.subs(numbers)}
    alone = alone.subs(numbers)
    known = setting.strength > 0 and not alone.free_symbols and alone.is_finite and alone.is_positive
    largest = float(alone) if known else None
    scale = "" if limit.scale is None else formula.text(limit.scale)
    settles = _settles(setting, largest)
    return Stability(formula.text(limit.lr, order="none"), sp.latex(limit.lr), scale, largest, settles), ""


def _rest(setting: Setting) -> str:
    """The fixed point on a quadratic as formula, at eps = 0 where eps is in it, or why there is none."""
    try:
        found = formula.fixed_point(setting.rule, setting.coupling)
    except InputError as error:
        return str(error).partition(": ")[2]
    text = formula.text(found.at_eps_zero, order="none")
    text += " (at eps = 0)" if found.at_eps_zero != found.weight else ""
    return f"{text}, if {found.regime}" if found.regime else text


def _settles(setting: Setting, largest: float | None) -> bool:
    if setting.coupling.in_gradient or setting.rule.takes_pull:
        pulls = setting.strength > 0 and setting.lr > 0
        without_eps = pulls and setting.coupling.gradient and setting.hyper.get("eps") == 0
        ripples = without_eps and late_step(setting, setting.lr, _SHRUNK) > _RIPPLES * setting.lr
        return not ripples and (largest is None or setting.lr < largest)
    # Decay by itself is a factor a step, whatever the rule.
    return all(share(setting.strength, setting.lr, 1.0) <= 2 for share in setting.coupling.doors.values())


def _warnings(setting: Setting, stability: Stability | None, silent: Law) -> list[str]:
    rule, l2 = setting.rule, setting.coupling.gradient is not None
    found = [note] if (note := unit_note(setting)) else []
    if not setting.coupling.doors and setting.strength:
        found.append(f"strength {setting.strength:g} with coupling none has no effect")
    settles = _settles(setting, None) if stability is None else stability.settles
    if not settles and l2 and setting.hyper.get("eps") == 0:
        found.append("at eps = 0 a weight without a gradient never settles at 0, but keeps moving by a part of lr")
    elif not settles and rule.adaptive and l2 and stability is not None and "eps" in setting.hyper:
        ratio = setting.lr * setting.strength / setting.hyper["eps"]
        found.append(
            f"at lr strength / eps = {ratio:.3g} a weight without a gradient never settles near 0, but comes back in "
            f"bursts: lr {setting.lr:g} is above the stability limit {stability.without_gradient:.3g}"
        )
    elif not settles:
        found.append(
            f"at lr {setting.lr:g} and strength {setting.strength:g} the regularizer alone makes a weight grow"
        )
    # The path says it: where the pull does not stand out from eps, or from an initial accumulator, the strength counts.
    if rule.adaptive and setting.coupling.in_gradient and silent.free_of_strength:
        found.append(
            "the strength hardly sets the speed: at twice the strength a weight without a gradient decays no faster"
        )
    return found
