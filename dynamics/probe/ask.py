"""What else an optimizer does, beside its law: each question is one run or two, and an answer of a line or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dynamics.couplings import COUPLINGS
from dynamics.probe.claims import Claims, claims_of
from dynamics.probe.drive import Array, decay_drives
from dynamics.probe.finding import Finding, note, wrong
from dynamics.probe.fit import Seen, measured
from dynamics.probe.follow import candidate
from dynamics.probe.identify import EXACT, Law
from dynamics.probe.precision import drive_of, types
from dynamics.probe.subject import Place, Refusal, Subject, Torch

# Flags of torch's optimizers that choose another way to compute the same.
_PATHS = ("foreach", "fused", "capturable")


def questions(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    """All answers that are more than "as expected"; a question that the optimizer refuses to be asked has none."""
    unlike = list(_again(subject, law, claims))
    yield from unlike
    if any(finding.kind == "wrong" for finding in unlike):
        return  # each of the others compares two runs
    for ask in (_paths, _maximized, _absent, _zeros, _second_group, _resumed, _neighbours, types):
        try:
            yield from ask(subject, law, claims)
        except Refusal:
            continue


def _part(law: Law, one: Array, other: Array, start: Array) -> bool:
    """Whether two paths part, over how far they go, by more than another order of the same operations does."""
    allowed, floor = (1e-3, 1e-3) if law.seen[0].grain else (1e-6, 1e-8)
    scale = np.maximum(np.abs(one - start).max(0), floor * np.abs(one).max(0))
    with np.errstate(all="ignore"):
        off = np.abs(one - other) / np.where(scale > 0, scale, 1e-30)
    return bool(np.nan_to_num(off[:, np.isfinite(one).all(0)], nan=np.inf).max(initial=0.0) > allowed)


def _again(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    drive = drive_of(subject, law)
    one, other = (subject.run({law.place: drive}) for _ in range(2))
    if not np.array_equal(one.rows[0], other.rows[0], equal_nan=True):
        yield wrong("it does not do the same twice: two fresh ones part on the same gradients")
    if one.wrote:
        yield note("it writes into the gradients: they cannot be accumulated over steps or looked at afterwards")


def _paths(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    drive = drive_of(subject, law)
    usual = subject.run({law.place: drive}).rows[0]
    group = subject.groups[subject.places[law.place].group]
    for flag in _PATHS:
        for value in (True, False) if flag in group and isinstance(group[flag], bool | None) else ():
            try:
                found = subject.run({law.place: drive}, flags={flag: value}).rows[0]
            except Refusal:
                continue
            if _part(law, usual, found, drive.start):
                nearest = _nearest(law, law.seen_as(drive, found))
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
    drive = drive_of(subject, law)
    turned = replace(drive, gradients=-drive.gradients)
    found = law.seen_as(turned, subject.run({law.place: drive}, flags={"maximize": True}).rows[0])
    allowed = max(EXACT, 10 * law.fitted.off)
    if measured(law.candidate, [found], law.fitted.values).off > allowed:
        other = {**law.fitted.values, "strength": -law.fitted.at("strength")}
        turns = measured(law.candidate, [found], other).off <= allowed
        yield wrong(
            "with maximize=True the decay turns round as well: weights grow" if turns
            else "with maximize=True it does something else than with the gradients' sign turned"
        )  # fmt: skip


def _absent(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    drive = drive_of(subject, law).constant()
    gone = np.arange(8, 16)
    found = subject.run({law.place: drive}, absent={law.place: gone.tolist()}).rows[0]
    if not np.array_equal(found[7], found[15], equal_nan=True):
        given = drive.gradients.copy()
        given[gone] = 0.0
        zeros = replace(drive, gradients=given)
        taken = subject.run({law.place: zeros}).rows[0]
        as_zero = not _part(law, taken, found, drive.start)
        yield wrong(f"a parameter without a gradient moves{', as if its gradient were 0' if as_zero else ''}")
        return
    rest = replace(drive, gradients=np.delete(drive.gradients, gone, 0), multipliers=np.ones(drive.steps - len(gone)))
    waited = subject.run({law.place: rest}).rows[0]
    if _part(law, waited, np.delete(found, gone, 0), drive.start):
        yield note("a step without a gradient leaves a parameter where it is, but its clock goes on")


def _zeros(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    if not law.found:
        return
    drive = drive_of(subject, law)
    given = drive.gradients.copy()
    given[8:16] = 0.0
    silent = replace(drive, gradients=given)
    found = law.seen_as(silent, subject.run({law.place: silent}).rows[0])
    if measured(law.candidate, [found], law.fitted.values).off > max(EXACT, 10 * law.fitted.off):
        stays = np.array_equal(found.rows[7], found.rows[15], equal_nan=True)
        yield wrong(
            "a gradient of 0 in all of a tensor is taken for none: neither its memory nor its decay goes on" if stays
            else "where the gradients of a tensor are all 0 it does something else"
        )  # fmt: skip


def _second_group(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    if not isinstance(subject, Torch) or not law.found:
        return
    place = subject.places[law.place]
    own = subject.groups[place.group]
    other = {name: change(own[name]) for name, change in _CHANGED.items() if _changeable(own.get(name))}
    # Some keep other numbers under that name.
    other = {n: v for n, v in other.items() if not law.fitted.values.keys().isdisjoint(claims_of("", {n: v}).values)}
    if not claims.rule:  # of which nothing says what its betas are
        other.pop("betas", None)
    if not other:
        return

    def make(tensors: list[Any]) -> Any:
        optimizer = subject.make(tensors[:-1])
        optimizer.add_param_group({"params": [tensors[-1]], **other})
        return optimizer

    last = len(subject.places)
    two = replace(subject, make=make, places=[*subject.places, Place(len(subject.groups), "another", place.ndim)])
    drive = drive_of(subject, law)
    found = law.seen_as(drive, two.run({last: drive}).rows[0])
    asked = claims_of(subject.name, {**own, **other}).values
    values = {
        name: asked[name] * (value / claims.values[name] if claims.values[name] else 1.0)
        if name in claims.values
        else value
        for name, value in law.fitted.values.items()
    }
    if "strength" not in values and asked.get("strength"):
        return  # without a regularizer nothing says how it would enter
    if measured(law.candidate, [found], values).off > max(EXACT, 10 * law.fitted.off):
        first = law.fitted.values
        kept = [n for n in values if measured(law.candidate, [found], {**values, n: first[n]}).off < EXACT]
        which = f": its {kept[0]} is that of the first" if kept else ""
        yield wrong(f"a second parameter group is not led by its own values{which}")


def _changeable(value: Any) -> bool:
    return isinstance(value, float | tuple | list) and not isinstance(value, bool)


# Values of another group, from those of the first.
_CHANGED: Mapping[str, Callable[[Any], Any]] = {
    "lr": lambda lr: 3.0 * lr,
    "weight_decay": lambda strength: 2.0 * strength,
    "betas": lambda betas: tuple(0.9 * beta for beta in betas),
}


def _resumed(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    if not isinstance(subject, Torch):
        return
    drive = drive_of(subject, law).constant()
    try:
        found = subject.run({law.place: drive}, resumed=drive.steps // 2).rows[0]
    except Refusal as error:
        yield note(f"it cannot be resumed: {error}")
        return
    usual = subject.run({law.place: drive}).rows[0]
    if _part(law, usual, found, drive.start):
        yield wrong("resumed from its state_dict it does not go on as before")


def _neighbours(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    if law.whole:
        yield note("what one weight does depends on the gradients of the other weights of its tensor")
    others = [k for k in range(len(subject.places)) if k != law.place]
    if others:
        drive = drive_of(subject, law)
        (beside,) = decay_drives(subject.places[others[0]].ndim, law.whole, (1.0,))
        beside = replace(beside, multipliers=drive.multipliers)
        large = replace(beside, gradients=1e3 * beside.gradients)
        one, other = (subject.run({law.place: drive, others[0]: x}).rows[0] for x in (beside, large))
        if _part(law, one, other, drive.start):
            yield note(
                "what a weight does depends on the gradients of other parameters, as where a norm over all is clipped"
            )
