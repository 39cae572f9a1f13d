"""What an optimizer setting does to a weight: the answer behind `undertow explain`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import sympy as sp

from dynamics import formula
from dynamics.couplings import COUPLINGS, Coupling, find_coupling
from dynamics.passage import Passage, Setting, one_step, passage
from dynamics.rule import Rule, check
from dynamics.rules import find_rule


@dataclass(frozen=True)
class Stability:
    """The largest stable learning rate on curvature h with denominator P = sqrt(v) + eps, as formula, and without a
    gradient (h = 0, P = eps for rules with a denominator, else 1) as number; None: no learning rate is too large."""

    formula: str
    latex: str
    without_gradient: float | None
    settles: bool


@dataclass(frozen=True)
class Explanation:
    """One setting explained. JSON by `as_dict`."""

    optimizer: str
    coupling: str
    lr: float
    strength: float
    hyperparameters: dict[str, float]
    paper: str
    semantics: str
    differs: str
    formula: dict[str, str]
    latex: dict[str, str]
    one_step_formula: str
    one_step_from_1: float
    steps_from_1_to_1e_3: dict[str, Passage]
    stability: Stability
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def explain(
    optimizer: str | Rule, coupling: str | Coupling, *, lr: float | None = None, strength: float = 0.0, **hyper: float
) -> Explanation:
    """Explain `optimizer` with a regularizer of `strength` entering by `coupling`, at learning rate lr (None: default).

    Raises InputError for unknown names and values out of range.
    """
    rule, coupled = find_rule(optimizer), find_coupling(coupling)
    rate = check("lr", rule.lr if lr is None else lr)
    strength = check("strength", strength)
    values = rule.hyperparameters(**hyper)
    numbers = {
        formula.symbol(k): v for k, v in ({"lr": rate, "strength": strength, "multiplier": 1.0} | values).items()
    }
    written = formula.update(rule, coupled).written()
    setting = Setting(rule, coupled, rate, strength, values)
    passages = {name: passage(replace(setting, coupling=c)) for name, c in COUPLINGS.items() if name != "none"}
    stability = _stability(setting, numbers)
    return Explanation(
        optimizer=rule.name,
        coupling=coupled.name,
        lr=rate,
        strength=strength,
        hyperparameters=values,
        paper=rule.paper,
        semantics=rule.semantics,
        differs=rule.differs,
        formula={name: formula.spoken(e) for name, e in written.items()},
        latex={name: formula.spoken(e, sp.latex) for name, e in written.items()},
        one_step_formula=sp.sstr(formula.silent_step(rule, coupled), order="none"),
        one_step_from_1=one_step(setting),
        steps_from_1_to_1e_3=passages,
        stability=stability,
        warnings=_warnings(setting, stability),
    )


def _stability(setting: Setting, numbers: dict[sp.Symbol, float]) -> Stability:
    limit = formula.stability_limit(setting.rule, setting.coupling)
    denominator = formula.symbol("P")
    eps = numbers.get(formula.symbol("eps"), 1.0)
    # One at a time: with eps 0 numerator and denominator vanish together where P cancels.
    alone = sp.cancel(limit.subs(formula.symbol("h"), 0)).subs(numbers | {denominator: eps})
    largest = float(alone) if setting.strength > 0 and alone.is_finite and alone.is_number else None
    settles = largest is None or setting.lr < largest
    if setting.coupling.gradient is None:
        # Decay by itself is a factor a step, whatever the rule.
        factor = 1.0
        for share in (setting.coupling.before, setting.coupling.after):
            factor *= 1 - share(setting.strength, setting.lr, 1.0) if share else 1
        settles = abs(factor) <= 1
    return Stability(sp.sstr(limit, order="none"), sp.latex(limit), largest, settles)


def _warnings(setting: Setting, stability: Stability) -> list[str]:
    rule, l2 = setting.rule, setting.coupling.gradient is not None
    found = []
    if setting.coupling.doors == (None, None, None) and setting.strength:
        found.append(f"strength {setting.strength:g} with coupling none has no effect")
    if not stability.settles and rule.adaptive and l2:
        found.append(
            f"lr {setting.lr:g} is above the stability limit {stability.without_gradient:.3g} of a weight without a "
            "gradient: near 0 it never settles, but comes back in bursts"
        )
    elif not stability.settles:
        found.append(
            f"at lr {setting.lr:g} and strength {setting.strength:g} the regularizer alone makes a weight grow"
        )
    # At weights of size 1 the pull must stand out from eps, or the denominator is eps and the strength counts again.
    if rule.adaptive and l2 and setting.lr > 0 and setting.strength > 100 * setting.hyper["eps"]:
        found.append(
            "the strength hardly sets the speed: without a gradient the step is about lr, whatever the strength"
        )
    return found
