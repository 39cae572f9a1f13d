"""What else an optimizer does, beside its law: each question is one run or two, and an answer of a line or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from dynamics.probe.claims import Claims, claims_of
from dynamics.probe.drive import Array, Drive, decay_drives
from dynamics.probe.fit import Fitted, Seen, measured
from dynamics.probe.follow import candidate
from dynamics.probe.identify import EXACT, Law
from dynamics.probe.subject import Place, Refusal, Subject, Torch
from dynamics.couplings import COUPLINGS

# Flags of torch's optimizers that choose another way to compute the same.
_PATHS = ("foreach", "fused", "capturable", "differentiable")
# Of a number in float32, and in bfloat16, half a unit in the last place.
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-9}


@dataclass(frozen=True)
class Finding:
    """One thing that was found. kind: "wrong", what acts is not what is claimed; "note", what is good to know."""

    kind: Literal["wrong", "note"]
    said: str

    def __str__(self) -> str:
        return self.said


def wrong(said: str) -> Finding:
    """What acts is not what is claimed."""
    return Finding("wrong", said)


def note(said: str) -> Finding:
    """What is good to know."""
    return Finding("note", said)


def questions(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    """All answers that are more than "as expected"; a question that the optimizer refuses to be asked has none."""
    for ask in (_again, _paths, _maximized, _absent, _second_group, _resumed, _neighbours, _types):
        try:
            yield from ask(subject, law, claims)
        except Refusal:
            continue


def _drive(subject: Subject, law: Law) -> Drive:
    (drive,) = decay_drives(subject.places[law.place].ndim, law.whole, (1.0,))
    return drive if subject.has_rate else drive.constant()


def _differs(one: Array, other: Array, start: Array) -> float:
    """How far two paths are apart, over how far they go."""
    scale = np.maximum(np.abs(one - start).max(0), 1e-8 * np.abs(one).max(0))
    with np.errstate(all="ignore"):
        off = np.abs(one - other) / np.where(scale > 0, scale, 1e-30)
    return float(np.nan_to_num(off[:, np.isfinite(one).all(0)], nan=np.inf).max(initial=0.0))


def _again(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    drive = _drive(subject, law)
    one, other = (subject.run({law.place: drive}) for _ in range(2))
    if not np.array_equal(one.rows[0], other.rows[0], equal_nan=True):
        yield wrong("it does not do the same twice: two fresh ones part on the same gradients")
    if one.wrote:
        yield note("it writes into the gradients: they cannot be accumulated over steps or looked at afterwards")


def _paths(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    drive = _drive(subject, law)
    usual = subject.run({law.place: drive}).rows[0]
    group = subject.groups[subject.places[law.place].group]
    for flag in _PATHS:
        for value in (True, False) if flag in group and isinstance(group[flag], bool | None) else ():
            try:
                found = subject.run({law.place: drive}, flags={flag: value}).rows[0]
            except Refusal:
                continue
            if _differs(usual, found, drive.start) > 1e-6:
                nearest = _nearest(law, Seen(drive, found))
                yield wrong(f"with {flag}={value} it does something else{nearest}")


def _nearest(law: Law, seen: Seen) -> str:
    """What a path is, if the rule is the same and the coupling another of ours."""
    rule, values = law.candidate.rule, law.fitted.values
    strength = values.get("strength", 0.0)
    for coupling in COUPLINGS.values():
        for sign in (1.0, -1.0) if coupling.doors else (1.0,):
            of = candidate(rule, coupling)
            if measured(of, [seen], {**values, "strength": sign * strength}).off < EXACT:
                return f": {of.words}{'' if sign > 0 else ', with the opposite sign'}"
    return ""


def _maximized(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    if "maximize" not in subject.groups[subject.places[law.place].group] or not law.found:
        return
    drive = _drive(subject, law)
    turned = replace(drive, gradients=-drive.gradients)
    found = Seen(turned, subject.run({law.place: drive}, flags={"maximize": True}).rows[0])
    allowed = max(EXACT, 10 * law.fitted.off)
    if measured(law.candidate, [found], law.fitted.values).off > allowed:
        other = {**law.fitted.values, "strength": -law.fitted.at("strength")}
        turns = measured(law.candidate, [found], other).off <= allowed
        yield wrong(
            "with maximize=True the decay turns round as well: weights grow" if turns
            else "with maximize=True it does something else than with the gradients' sign turned"
        )  # fmt: skip


def _absent(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    drive = _drive(subject, law).constant()
    gone = range(8, 16)
    found = subject.run({law.place: drive}, absent={law.place: gone}).rows[0]
    if not np.array_equal(found[7], found[15], equal_nan=True):
        zeros = replace(drive, gradients=np.where(np.isin(np.arange(drive.steps), gone).reshape(-1, *[1] * drive.start.ndim), 0.0, drive.gradients))
        taken = subject.run({law.place: zeros}).rows[0]
        as_zero = _differs(taken, found, drive.start) < EXACT
        yield wrong(f"a parameter without a gradient moves{', as if its gradient were 0' if as_zero else ''}")
        return
    rest = replace(drive, gradients=np.delete(drive.gradients, list(gone), 0), multipliers=np.ones(drive.steps - len(gone)))
    waited = subject.run({law.place: rest}).rows[0]
    if _differs(waited, np.delete(found, list(gone), 0), drive.start) > 1e-6:
        yield note("a step without a gradient leaves a parameter where it is, but its clock goes on")


def _second_group(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    if not isinstance(subject, Torch) or not law.found:
        return
    place = subject.places[law.place]
    own = subject.groups[place.group]
    other = {name: change(own[name]) for name, change in _CHANGED.items() if _changeable(own.get(name))}
    if not other:
        return

    def make(tensors: list[Any]) -> Any:
        optimizer = subject.make(tensors[:-1])
        optimizer.add_param_group({"params": [tensors[-1]], **other})
        return optimizer

    last = len(subject.places)
    two = replace(subject, make=make, places=[*subject.places, Place(len(subject.groups), "another", place.ndim)])
    drive = _drive(subject, law)
    found = Seen(drive, two.run({last: drive}).rows[0])
    asked = claims_of(subject.name, {**own, **other}).values
    values = {name: asked.get(name, value) if name in claims.values else value for name, value in law.fitted.values.items()}
    if "strength" not in values and asked.get("strength"):
        return  # without a regularizer nothing says how it would enter
    if measured(law.candidate, [found], values).off > max(EXACT, 10 * law.fitted.off):
        kept = [n for n in values if measured(law.candidate, [found], {**values, n: law.fitted.values[n]}).off < EXACT]
        yield wrong(f"a second parameter group is not led by its own values{': ' + kept[0] + ' is the first group' + chr(39) + 's' if kept else ''}")


def _changeable(value: Any) -> bool:
    return isinstance(value, float | tuple | list) and not isinstance(value, bool)


_CHANGED: Mapping[str, Callable[[Any], Any]] = {
    "lr": lambda lr: 3.0 * lr,
    "weight_decay": lambda strength: 2.0 * strength + 0.0,
    "betas": lambda betas: tuple(0.9 * beta for beta in betas),
}


def _resumed(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    drive = _drive(subject, law).constant()
    try:
        found = subject.run({law.place: drive}, resumed=drive.steps // 2).rows[0]
    except Refusal as error:
        yield note(f"it cannot be resumed: {error}")
        return
    usual = subject.run({law.place: drive}).rows[0]
    if _differs(usual, found, drive.start) > 1e-6:
        yield wrong("resumed from its state_dict it does not go on as before")


def _neighbours(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    if law.whole:
        yield note("what one weight does depends on the gradients of the other weights of its tensor")
    others = [k for k in range(len(subject.places)) if k != law.place]
    if others:
        drive = _drive(subject, law)
        (beside,) = decay_drives(subject.places[others[0]].ndim, law.whole, (1.0,))
        beside = replace(beside, multipliers=drive.multipliers)
        large = replace(beside, gradients=1e3 * beside.gradients)
        one, other = (subject.run({law.place: drive, others[0]: x}).rows[0] for x in (beside, large))
        if _differs(one, other, drive.start) > EXACT:
            yield note("what a weight does depends on the gradients of other parameters, as where a norm over all is clipped")


def _types(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    for dtype in ROUNDING:
        try:
            yield from _type(subject, law, dtype)
        except Refusal as error:
            yield note(f"{dtype} is refused: {error}")


def _type(subject: Subject, law: Law, dtype: str) -> Iterator[Finding]:
    drive = _drive(subject, law)
    run = subject.run({law.place: drive}, dtype=dtype)
    if run.kept and run.kept != {dtype}:
        yield note(f"for weights in {dtype} its state is in {', '.join(sorted(run.kept))}")
    if not law.found:
        return
    silent = ~np.any(drive.gradients != 0, axis=0) & (drive.start != 0)
    before = law.seen[1].rows[-1][silent] if law.seen[1].drive.base == 1.0 else None
    after = run.rows[0][-1][silent]
    if before is not None and silent.any() and np.any(before != drive.start[silent]):
        start = drive.start[silent]
        moved = np.abs(after / start - 1)
        asked = np.abs(before / start - 1)
        if np.all(moved < 4 * ROUNDING[dtype]) and np.all(asked > 1e-12) and np.all(moved < 0.1 * asked):
            step = float(np.max(asked)) / drive.steps
            yield note(
                f"in {dtype} a decay of {step:.1g} a step is lost: half a unit in the last place is {ROUNDING[dtype]:.1g}"
            )
            return
    yield from _other_law(subject, law, dtype)


def _other_law(subject: Subject, law: Law, dtype: str) -> Iterator[Finding]:
    """Whether the regularizer enters by another way in this type: at a strength and a rate that its rounding lets through."""
    group = subject.groups[subject.places[law.place].group]
    if "weight_decay" not in group or "strength" not in law.fitted.values or not subject.has_rate:
        return
    rate = law.fitted.values["lr"]
    base = max(1.0, 0.02 / rate)
    strength = 1.0
    (drive,) = decay_drives(subject.places[law.place].ndim, law.whole, (base,))
    drive = replace(drive, multipliers=np.ones(drive.steps))
    rows = subject.run({law.place: drive}, dtype=dtype, flags={"weight_decay": strength}).rows[0]
    seen = Seen(drive, rows, 4 * ROUNDING[dtype])
    values = {**law.fitted.values, "strength": strength * law.fitted.values["strength"] / max(_claimed(group), 1e-30)}
    here = _far(law.fitted, seen, values)
    if here < 0.1:
        return
    for coupling in COUPLINGS.values():
        of = candidate(law.candidate.rule, coupling)
        if _far(Fitted(of, {}, 0, 0, 0), seen, values) < 0.1 * here:
            yield wrong(f"in {dtype} it is another one: {of.words}")
            return


def _claimed(group: Mapping[str, Any]) -> float:
    return abs(float(group["weight_decay"]))


def _far(fitted: Fitted, seen: Seen, values: Mapping[str, float]) -> float:
    return measured(fitted.candidate, [seen], values).mean
