"""How long a weight without a gradient takes from one size to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics import rules
from dynamics.answers.setting import Setting
from dynamics.couplings import compose
from dynamics.theory import closed
from dynamics.words import FLOATS

# Up to here stepping in Python is faster than compiling; beyond it the compiled simulator takes over.
_PYTHON_STEPS = 30_000
_COMPILED_STEPS = 100_000_000
# The parts of a stretch, after each of which it ends if the target is passed.
_PIECES = 16
# Where it would take this many times as long still, at the speed of the latest stretch, stepping on is given up.
_HOPELESS = 100
# Within so many steps without a gradient every rule has used its eps: RAdam, the last to do so, at its sixth.
_USES_EPS = 10


@dataclass(frozen=True)
class DecayTime:
    """Steps a weight needs from one size to another without a gradient.

    steps: None if it never gets there or was not seen to; how: "closed form", "simulated", or why there is no number.
    """

    steps: int | None
    how: str


def _without_gradient(setting: Setting) -> Callable[[float, tuple[Any, ...]], tuple[Any, ...]]:
    step, hyper = compose(setting.rule, setting.coupling, FLOATS), tuple(setting.hyper.values())

    def advance(w: float, inner: tuple[Any, ...]) -> tuple[Any, ...]:
        try:
            return step(w, 0.0, inner, setting.lr, 1.0, setting.strength, hyper)
        except ZeroDivisionError:  # a rule without eps divides 0 by 0: where arrays give NaN, floats raise
            return (math.nan, *inner)

    return advance


def one_step(setting: Setting, start: float = 1.0) -> float:
    """Where the first step from fresh state takes a weight of size `start` that gets no gradient."""
    return float(_without_gradient(setting)(start, setting.rule.fresh(start, setting.hyper))[0])


def late_step(setting: Setting, start: float, steps: int) -> float:
    """The largest step in the second half of so many, of a fresh weight of size `start` that gets no gradient."""
    advance, w, inner, largest = _without_gradient(setting), start, setting.rule.fresh(start, setting.hyper), 0.0
    for t in range(steps):
        before = w
        w, *rest = advance(w, inner)
        inner = tuple(rest)
        if 2 * t >= steps and abs(w - before) > largest:
            largest = abs(w - before)
    return largest


def decay_time(
    setting: Setting, start: float = 1.0, target: float = 1e-3, inner: Sequence[float] | None = None
) -> DecayTime:
    """Steps from `start` until |w| <= target without a gradient: closed form if any, else stepped.

    inner: state and clock at the start; None: fresh.
    """
    rule, coupling, lr, strength = setting.rule, setting.coupling, setting.lr, setting.strength
    shares = [share(strength, lr, 1.0) for share in coupling.doors.values()]
    if not any(shares) or (coupling.in_gradient and lr == 0):
        return DecayTime(None, "never: nothing pulls")
    # Rules by themselves, not by what they know: the closed forms are proved for these.
    plain = coupling.gradient is None or rule is rules.sgd
    alone = len(shares) == 1 and coupling.sign is None and not rule.takes_pull
    if plain and alone and (inner is None or rule is rules.sgd):
        share = shares[0] * (lr if coupling.gradient else 1.0)
        if _undefined(setting, start, inner):
            return DecayTime(None, "never: with eps 0 a step without a gradient is 0 / 0")
        if 0 < share < 2:
            return _geometric(share, target / start, "closed form")
        return DecayTime(None, f"never: each step multiplies it by {1 - share:g}")

    advance, w, first = _without_gradient(setting), start, inner
    inner = rule.fresh(start, setting.hyper) if first is None else tuple(first)
    heavy = rule in (rules.momentum, rules.nesterov) and coupling.gradient is not None and first is None
    roots = closed.momentum_roots(lr * strength, setting.hyper["momentum"], rule is rules.nesterov) if heavy else None
    for t in range(1, _PYTHON_STEPS + 1):
        w, *rest = advance(w, inner)
        inner = tuple(rest)
        if abs(w) <= target:
            return DecayTime(t, "simulated")
        if math.isnan(w) and setting.hyper.get("eps") == 0 and _undefined(setting, start, first):
            return DecayTime(None, "never: with eps 0 a step without a gradient is 0 / 0")
        if not abs(w) < math.inf:
            return DecayTime(None, f"never: it diverges within {t:,} steps")
        if roots and t % 1_000 == 0 and abs(roots[1] / roots[0]) ** t < 1e-16 and abs(roots[0]) < 1:
            # The faster of the two rates is gone: what is left is one power. Both rates are real then, and
            # (1 - slow) (1 - fast) = lr strength keeps the digits that 1 - slow would lose.
            rate = math.log1p(-(lr * strength / (1 - roots[1])).real)
            return DecayTime(t + math.ceil(math.log(target / abs(w)) / rate), "simulated, then closed form")
    return _at_eps(setting, w, inner, target, _PYTHON_STEPS) or _compiled(setting, w, inner, target)


def _geometric(share: float, ratio: float, how: str, before: int = 0) -> DecayTime:
    if share == 0 or math.log(ratio) / -share == math.inf:
        return DecayTime(None, f"never within what a float holds: a step takes off {share:g} of it")
    return DecayTime(before + closed.geometric_steps(share, ratio), how)


def _at_eps(setting: Setting, w: float, inner: Sequence[float], target: float, t: int) -> DecayTime | None:
    """The rest of the way where sqrt(v) is far below eps: plain decay by lr strength / eps a step; None before."""
    rule, eps = setting.rule, setting.hyper.get("eps", 0.0)
    if rule.divides_by != "mean" or setting.coupling.gradient is None:
        return None
    if max(setting.strength * abs(w), math.sqrt(inner[rule.inner.index("v")])) >= 1e-3 * eps:
        return None
    share = setting.lr * setting.strength / (1 - setting.hyper.get("momentum", 0.0)) / eps
    return _geometric(share, target / abs(w), "simulated, then closed form", t)


def _undefined(setting: Setting, start: float, inner: Sequence[float] | None) -> bool:
    """Whether a rule without eps divides 0 by 0 where there is no gradient."""
    if setting.hyper.get("eps") != 0:
        return False
    advance, w = _without_gradient(setting), start
    now = setting.rule.fresh(start, setting.hyper) if inner is None else tuple(inner)
    for _ in range(_USES_EPS):
        w, *rest = advance(w, now)
        now = tuple(rest)
    return math.isnan(w)


def _compiled(setting: Setting, w: float, inner: Sequence[float], target: float) -> DecayTime:
    """From step _PYTHON_STEPS on: ever longer stretches, and within the one that passes `target`, ever finer looks."""
    from dynamics.simulate.lanes import simulate

    lanes = {"lr": setting.lr, "strength": setting.strength, **setting.hyper}
    names, now, span = ("w", *setting.rule.inner), _PYTHON_STEPS, _PYTHON_STEPS
    peaks = [math.inf, math.inf]  # the largest sizes in stretches, each as long as all before
    while now < _COMPILED_STEPS:
        steps = np.unique(np.linspace(0, span, 1_001, dtype=np.int64))
        before, at, passed, peak = abs(w), 0, False, 0.0
        # Piece by piece: what lies beyond the target is not stepped through.
        for piece in np.array_split(steps[1:], min(_PIECES, len(steps) - 1)):
            state = dict(zip(names[1:], inner, strict=True))
            fields = simulate(
                setting.rule,
                setting.coupling,
                record=piece - steps[at],
                lanes=lanes,
                start=w,
                state=state,
                fields=names,
            ).fields
            below = np.abs(fields["w"][:, 0]) <= target
            passed, peak = bool(below.any()), max(peak, float(np.abs(fields["w"]).max()))
            if count := int(below.argmax()) if passed else len(piece):
                w, *inner = (float(fields[name][count - 1, 0]) for name in names)
                at += count
            if passed or not abs(w) < math.inf:
                break
        if passed and steps[at + 1] - steps[at] == 1:
            return DecayTime(now + int(steps[at + 1]), "simulated")
        now += int(steps[at])
        if not abs(w) < math.inf:
            return DecayTime(None, f"never: it diverges within {now:,} steps")
        if not passed and (rest := _at_eps(setting, w, inner, target, now)):
            return rest
        lost = before - abs(w)
        if not passed and 0 <= lost * _HOPELESS * _COMPILED_STEPS < (abs(w) - target) * span:
            return DecayTime(
                None, f"not within {now:,} steps, nor within {_HOPELESS * _COMPILED_STEPS:.0e} at that speed"
            )
        if not passed:
            if peak >= peaks[1] >= peaks[0]:
                return DecayTime(None, f"not within {now:,} steps, in which its largest size does not fall")
            peaks = [peaks[1], peak]
        # The next stretch is as long as all before; once the target is passed within one, the step between two looks.
        span = int(steps[at + 1] - steps[at]) if passed else now
    return DecayTime(None, f"not within {now:,} steps")
