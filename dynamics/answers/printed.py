"""Answers as text for people: what `print` shows of them, and the commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dynamics.answers.course import in_words, one_line
from dynamics.couplings import COUPLINGS
from dynamics.lines import wrapped

if TYPE_CHECKING:
    from dynamics.answers.convert import Conversion
    from dynamics.answers.decay_time import DecayTime
    from dynamics.answers.explain import Explanation, Regime
    from dynamics.answers.match import Range
    from dynamics.answers.pull_rate import Gradients
    from dynamics.answers.same_size import SameSize


def explanation(e: Explanation) -> str:
    """One explanation for people."""
    hyper = "".join(f", {name} {value:g}" for name, value in e.hyperparameters.items())
    lines = [f"{e.optimizer} with {COUPLINGS[e.coupling].label}: lr {e.lr:g}, strength {e.strength:g}{hyper}"]
    about = [text for text in (e.paper, f"as {e.semantics}" if e.semantics else "") if text]
    lines += [wrapped("; ".join(about))] if about else []
    lines += [f"  {note}" for note in e.notes]
    lines += [wrapped(f"offered by: {e.library}")] if e.library else []
    lines += [wrapped(f"elsewhere: {e.differs}")] if e.differs else []
    lines += ["", "One step (t = 1, 2, ...):"]
    lines += [f"  {name} <- {text}" for name, text in e.formula.items()]
    lines += ["", "Without a gradient, from fresh state and size 1:", f"  first step: w <- {e.one_step_formula}"]
    after = "no finite number" if e.one_step_from_1 is None else f"{e.one_step_from_1:.10g}"
    lines += [f"  1 -> {after}", f"  {e.silent.text}", f"  half-life: {_steps(e.silent.half_life)}"]
    lines += ["  steps from 1 to 1e-3, by this and by other couplings of the same strength:"]
    lines += [f"    {COUPLINGS[name].label:30} {_steps(p)}" for name, p in e.steps_from_1_to_1e_3.items()]
    if e.regimes:
        lines += ["", f"With zero-mean gradients of rms {e.regimes[0].rms:g} when they arrive, on a small weight:"]
        lines += [f"  fraction taken off a step: {e.pull}"]
        lines += [f"    arriving at {r.arrival:4.0%} of the steps: {_regime(r)}" for r in e.regimes]
    if e.equilibrium is not None:
        lines += [f"  equilibrium size, arriving at every step: {_equilibrium(e)}"]
    scale = e.stability.scale if e.stability else ""
    of_rule = "sqrt(v) + eps for a rule that divides by it" if scale in ("", "epsilon + sqrt(v)") else scale
    lines += ["", f"Stability on curvature h, with P = {of_rule}:"]
    if e.stability is None:
        lines += [f"  {e.no_limit}"]
    else:
        lines += [f"  eta < {e.stability.formula}"]
        if e.stability.without_gradient is not None:
            lines += [f"  without a gradient: lr < {e.stability.without_gradient:.4g}"]
    lines += [wrapped(f"fixed point on the quadratic h*(w - w_star)**2/2, w_star > 0: {e.rest}")]
    lines += ["", "What eps does:", wrapped(e.eps)] if e.eps else []
    if e.run is not None:
        lines += ["", *in_words(e.run)]
    return "\n".join([*lines, "", *(f"warning: {text}" for text in e.warnings)]).rstrip()


def side_by_side(found: Sequence[Explanation]) -> str:
    """Several explanations, one below the other in a line for each question."""
    rows: dict[str, Callable[[Explanation], str]] = {
        "without a gradient": lambda e: e.silent.text,
        "half-life": lambda e: _steps(e.silent.half_life),
        "steps from 1 to 1e-3": lambda e: (
            _steps(e.steps_from_1_to_1e_3[e.coupling]) if e.coupling != "none" else "never"
        ),
        "fraction taken off a step": lambda e: e.pull,
        "equilibrium size": lambda e: _equilibrium(e) if e.equilibrium else "none: nothing pulls",
        "fixed point on a quadratic": lambda e: e.rest,
        "stable for eta <": lambda e: e.stability.formula if e.stability else e.no_limit.partition(":")[0],
    }
    for k, regime in enumerate(next((e.regimes for e in found if e.regimes), [])):
        rows[f"gradients of rms {regime.rms:g} at {regime.arrival:.0%}"] = lambda e, k=k: (  # type: ignore[misc]
            _regime(e.regimes[k]) if e.regimes else "nothing pulls"
        )
    if found[0].run is not None:
        rows[f"left after {found[0].run.schedule}"] = _left
    lines = []
    wide = max(len(e.setting) for e in found)
    for title, told in rows.items():
        lines += [f"{title}:"] + [f"  {e.setting:{wide}}  {told(e)}" for e in found] + [""]
    lines += [f"note: {e.setting}: {text}" for e in found for text in e.notes]
    lines += [f"warning: {e.setting}: {text}" for e in found for text in e.warnings]
    return "\n".join(lines).rstrip()


def _steps(time: DecayTime) -> str:
    return time.how if time.steps is None else f"{time.steps:,} ({time.how})"


def _regime(regime: Regime) -> str:
    if regime.rate is None:
        return regime.how
    half = f", half-life {regime.half_life:,.0f} steps" if regime.half_life is not None else ""
    return f"{regime.rate:.3g} of the weight a step{half} ({regime.how})"


def _equilibrium(e: Explanation) -> str:
    assert e.equilibrium is not None
    p = e.equilibrium
    return f"{p.value:.3g} ({p.how})" if p.value is not None else p.regime


def _left(e: Explanation) -> str:
    assert e.run is not None
    return one_line(e.run)


def same_size(c: SameSize, gradients: Gradients) -> str:
    """The strength of the same size, for people."""
    seen = f"gradients of mean 0 and rms {gradients.rms:g} at {100 * gradients.arrival:.4g}% of the steps"
    if c.strength is None or c.regimes is None:
        lines = [f"{c.source}: no strength leaves weights the same size under {seen}", wrapped(f"why: {c.why}")]
        return "\n".join([*lines, *(wrapped(f"note: {note}") for note in c.notes)])
    lines = [
        f"{c.source}  ->  {c.target}",
        wrapped(f"strength {c.strength:.4g}" + (f": {c.library}" if c.library else "")),
    ]
    lines += [wrapped(f"both leave weights of rms {c.size:.3g}, under {seen}")]
    lines += [f"  closed forms: {c.regimes[0]}; {c.regimes[1]}"]
    if c.rates[0] and c.rates[1]:
        lines += [f"  the pull is {c.rates[1] / c.rates[0]:.4g} times that of the first"]
    return "\n".join([*lines, *(wrapped(f"note: {note}") for note in c.notes)])


def conversion(c: Conversion) -> str:
    """A conversion for people."""
    seen = "any gradients"
    if c.gradients is not None:
        gradients = c.gradients
        seen = f"gradients of rms {gradients.rms:g} at {100 * gradients.arrival:.4g}% of the steps"
    if c.strength is None:
        lines = [f"{c.source}: no constant strength gives the same pull under {seen}", wrapped(f"why: {c.why}")]
        if c.horizon is not None:
            h = c.horizon
            lines += [
                wrapped(
                    f"from step {h.first:,} to {h.steps:,} the best constant is {h.strength:.4g}: right on average; the pull "
                    f"to be matched is {h.early:.2f} times its own in the first eighth and {h.late:.2f} times in the last"
                )
            ]
        return "\n".join([*lines, *(wrapped(f"note: {note}") for note in c.notes)])
    assert c.ratio is not None
    lines = [
        f"{c.source}  ->  {c.target}",
        wrapped(f"strength {c.strength:.4g}" + (f": {c.library}" if c.library else "")),
    ]
    lines += [f"  both take {c.rate:.3g} of a weight a step, under {seen}"]
    if c.formula is not None:
        lines += [f"  closed form: {c.formula:.4g}"]
    r = c.ratio
    lines += [
        f"  simulated: the pull is {r.value:.4f} [{r.low:.4f}, {r.high:.4f}] times that to be matched, "
        f"n = {r.n} seeds ({r.interval.removesuffix(' over seeds')})"
    ]
    lines += ["  until the two differ by a tenth, all else equal:"]
    names = {"weight": "weights", "gradient_rms": "gradient rms", "arrival": "arrival"}
    lines += [f"    {names[name]:13} {_range(reach)}" for name, reach in c.holds.items()]
    return "\n".join([*lines, *(wrapped(f"note: {note}") for note in c.notes)])


def _range(reach: Range) -> str:
    if reach.low is None:
        return "all that were tried" if reach.high is None else f"up to {reach.high:.3g}"
    return f"from {reach.low:.3g}" if reach.high is None else f"{reach.low:.3g} to {reach.high:.3g}"
