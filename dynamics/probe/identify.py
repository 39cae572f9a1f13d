"""Which rule with which coupling an optimizer is for one parameter, or what is nearest to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from dynamics.couplings import COUPLINGS
from dynamics.probe.claims import Claims
from dynamics.probe.drive import Drive, decay_drives, update_drive
from dynamics.probe.fit import Fitted, Seen, fit, measured, nearness
from dynamics.probe.follow import Candidate, candidate, plain
from dynamics.probe.slips import misprints, slips
from dynamics.probe.subject import Subject
from dynamics.probe.ways import known, unusual, within
from dynamics.rule import Rule
from dynamics.rules import RULES

# Relative to how far a weight moves. EXACT: two orders of the same operations in float64. ROUNDED: a part of it is
# computed in float32. COARSE: in bfloat16, and then nothing but a clear lead over all others tells.
EXACT, ROUNDED, COARSE = 1e-9, 1e-6, 3e-2
# So much further off than the best must all others be, where it is not exact.
_LEAD = 30.0
# Rules further off than this, in the mean, are not looked through for slips.
_WORTH = 0.3
# How many of those that come near without a search are searched for.
_NEAREST = 8


@dataclass(frozen=True, eq=False)
class Law:
    """What an optimizer does to one parameter.

    place: of the subject's places. fitted: the best candidate, with the values that suit it. whole: the gradients of other
    entries of the tensor have an effect. seen: what it was found from. clear: where it is coarse, all others are much further off.
    """

    place: int
    fitted: Fitted
    whole: bool
    seen: tuple[Seen, ...]
    clear: bool = False

    @property
    def candidate(self) -> Candidate:
        """The best candidate."""
        return self.fitted.candidate

    @property
    def rule(self) -> str:
        """The name of the rule, also where it has a slip."""
        return self.candidate.rule.name

    @property
    def found(self) -> bool:
        """Whether it is the candidate, and not merely near it."""
        return self.fitted.off < ROUNDED or self.clear


def seen_on(subject: Subject, place: int, drives: Iterable[Drive]) -> tuple[Seen, ...]:
    """What the subject does along each of these drives."""
    return tuple(Seen(drive, subject.run({place: drive}).rows[0]) for drive in drives)


def is_whole(subject: Subject, place: int) -> bool:
    """Whether an entry's weight depends on the gradients of other entries."""
    (drive,) = decay_drives(subject.places[place].ndim, True, (1.0,))
    drive = drive if subject.has_rate else drive.constant()
    other = drive.gradients.copy()
    other.reshape(len(other), -1)[:, 0] *= 3.0
    rows = [
        subject.run({place: one}).rows[0].reshape(len(other), -1) for one in (drive, replace(drive, gradients=other))
    ]
    return not np.array_equal(rows[0][:, 1:], rows[1][:, 1:], equal_nan=True)


def drives_of(subject: Subject, place: int, whole: bool) -> list[Drive]:
    """What a parameter is led along: one that shows the rule alone, and those that show the regularizer."""
    ndim = subject.places[place].ndim
    bases = (1.0, 3.0) if subject.has_rate else (1.0,)
    drives = [update_drive(ndim, whole), *decay_drives(ndim, whole, bases)]
    if whole:  # of which no single weight stays silent
        drives += [replace(drive, gradients=np.zeros_like(drive.gradients)) for drive in drives[1:]]
    return drives if subject.has_rate else [drive.constant() for drive in drives]


def identify(place: int, seen: tuple[Seen, ...], whole: bool, claims: Claims) -> Law:
    """The law of one parameter, from what was seen along `drives_of`. claims: what the search begins with."""
    found, clear = _of_tensors(seen, claims) if whole else _of_weights(seen, claims)
    return Law(place, found, whole, seen, clear)


def _of_weights(seen: Sequence[Seen], claims: Claims) -> tuple[Fitted, bool]:
    """Of an optimizer that takes each weight by itself: first its rule, from steps from 0, and then its regularizer."""
    order = [rule for rule in RULES.values() if rule.unit == "weight"]
    order.sort(key=lambda rule: rule.name != claims.rule)
    fitted: list[Fitted] = []
    best: Fitted | None = None
    for some in (order[:1], order[1:]):  # the one that it is said to be, then all others
        new = _rules(some, seen[:1], claims.values)
        fitted = sorted([*fitted, *new], key=lambda one: one.mean)
        near = [one for one in new if one.off < COARSE][:2]
        if new[0].off > EXACT and some == order[:1]:
            other = _as_claimed(map(plain, order[1:]), seen[0], claims.values)
            near = [*(other or _misprinted(new[0], seen[0], claims.values)), *near]
        for rule in near:
            best = _least(best, _explained(rule, seen, claims.values))
            if best.off < ROUNDED:
                return best, False
    if best is not None and _leads(fitted, best):
        return best, True
    near = [one for one in fitted if one.candidate.rule.name == claims.rule or one.mean < _WORTH][:3]
    slipped = _slipped(near, seen[0], claims.values)
    if slipped is not None:
        return _least(best, _explained(slipped, seen, claims.values)), False
    return best or _alone(fitted[0], seen, claims.values), False


def _alone(rule: Fitted, seen: Sequence[Seen], claimed: Mapping[str, float]) -> Fitted:
    """The rule that is nearest, with the coupling that is nearest then: what is said where nothing fits."""
    fixed = replace(rule, off=0.0)  # its values stay
    return _best(_with_way(fixed, c, seen, claimed) for c in known(rule.candidate.rule))


def _of_tensors(seen: Sequence[Seen], claims: Claims) -> tuple[Fitted, bool]:
    """Of an optimizer whose steps depend on whole tensors, by their norms: rule and regularizer together."""
    order = sorted(RULES.values(), key=lambda rule: (rule.name != claims.rule, rule.unit == "weight"))
    every = [of for rule in order for of in known(rule)]
    every.sort(
        key=lambda of: (
            of.coupling not in ("none", claims.coupling),
            of.rule.name != claims.rule,
            of.coupling != "none",
        )
    )
    start = {of: _begun(of, claims.values) for of in every}
    as_said = [measured(of, seen, start[of]) for of in every]
    best = min(as_said, key=lambda one: one.off)
    if best.off > ROUNDED and (coarse := _coarse(seen, claims)) is not None:
        return coarse, True
    if best.off > ROUNDED:
        near = sorted(as_said, key=lambda one: one.mean)
        best = _best([best, *(fit(one.candidate, seen, one.values, one.candidate.names) for one in near[:_NEAREST])])
    return best, False


def _coarse(seen: Sequence[Seen], claims: Claims) -> Fitted | None:
    """The rule that it is said to be, with the values that are claimed, if its steps come near and silent weights do exactly
    as one of our couplings says; None otherwise."""
    if claims.rule not in RULES:
        return None
    silent = [one for one in seen if not one.drive.gradients.any()]
    rule = RULES[claims.rule]
    found = _best(
        fit(of, silent, _begun(of, claims.values), ("strength",) if "strength" in of.names else ())
        for of in known(rule)
    )
    if found.off > ROUNDED:
        return None
    near = measured(found.candidate, seen, found.values)
    return near if near.mean < COARSE else None


def _begun(of: Candidate, claimed: Mapping[str, float]) -> dict[str, float]:
    usual = _start(of.rule, claimed) | {"strength": claimed.get("strength", 0.0)}
    return {name: usual[name] for name in of.names}


def _least(one: Fitted | None, other: Fitted) -> Fitted:
    return other if one is None or other.off < one.off else one


def _leads(fitted: Sequence[Fitted], best: Fitted) -> bool:
    """Whether it is coarse, as of a part in bfloat16, but all other rules are much further off."""
    rest = [one.off for one in fitted if one.candidate.rule.name != best.candidate.rule.name]
    return best.off < COARSE and min(rest, default=np.inf) > _LEAD * best.off


def _explained(rule: Fitted, seen: Sequence[Seen], claimed: Mapping[str, float]) -> Fitted:
    """The rule with that way for a regularizer to enter which suits it best: ours, and else all others."""
    found = _coupled(rule, seen, claimed)
    return found if found.off < ROUNDED else _least(found, _unusual(rule, seen, claimed))


def _rules(order: Sequence[Rule], seen: Sequence[Seen], claimed: Mapping[str, float]) -> list[Fitted]:
    """These rules by how near they come to each step by itself; the first that is exact ends the search."""
    found: list[Fitted] = []
    every = [plain(rule) for rule in order]
    if len(every) > 1:
        every.sort(key=lambda of: nearness(of, seen, claimed, of.names))
    for of in every[:_NEAREST]:
        found.append(fit(of, seen, claimed, of.names))
        if found[-1].off < EXACT:
            break
    return sorted(found, key=lambda one: one.mean)


def _start(rule: Rule, claimed: Mapping[str, float]) -> dict[str, float]:
    usual = {"lr": rule.lr} | dict(rule.defaults)
    return {name: float(claimed.get(name, value)) for name, value in usual.items()}


def _coupled(rule: Fitted, seen: Sequence[Seen], claimed: Mapping[str, float]) -> Fitted:
    """The rule with the coupling that suits it best."""
    best = _best(_with_way(rule, c, seen, claimed) for c in known(rule.candidate.rule))
    return replace(best, candidate=replace(best.candidate, slips=rule.candidate.slips))


def _with_way(rule: Fitted, of: Candidate, seen: Sequence[Seen], claimed: Mapping[str, float]) -> Fitted:
    """The strength alone, on weights that move freely; all values together where steps from 0 did not tell the rule's."""
    values = dict(rule.values) | {"strength": claimed.get("strength", 0.01)}
    free = ("strength",) if "strength" in of.names else ()
    found = fit(of, seen[1:], values, free)
    if found.off < EXACT or rule.off < EXACT or (rule.off < ROUNDED and found.off > 0.3):
        return measured(of, seen, found.values)
    return fit(of, seen, found.values, of.names)


def _best(found: Iterable[Fitted]) -> Fitted:
    """The first that is exact, or else the least far off."""
    best: Fitted | None = None
    for one in found:
        best = _least(best, one)
        if best.off < EXACT:
            break
    assert best is not None
    return best


def _unusual(rule: Fitted, seen: Sequence[Seen], claimed: Mapping[str, float]) -> Fitted:
    """The rule with the way that suits it best of those that are none of our couplings."""
    values = dict(rule.values) | {"strength": claimed.get("strength", 0.01)}
    best: Fitted | None = None
    for kind in (unusual, within):
        ways = [replace(of, slips=(*rule.candidate.slips, *of.slips)) for of in kind(rule.candidate.rule)]
        ways.sort(key=lambda of: nearness(of, seen[1:], values, ("strength",)))
        best = _least(best, _best(_with_way(rule, of, seen, claimed) for of in ways[:_NEAREST]))
        if best.off < EXACT:
            break
    assert best is not None
    return best


def _misprinted(rule: Fitted, alone: Seen, claimed: Mapping[str, float]) -> list[Fitted]:
    """The rule with the first slip or misprint that, with the values that are claimed, explains each step by itself."""
    kinds = (_with(kind(rule.candidate.rule)) for kind in (slips, misprints))
    return _as_claimed(chain.from_iterable(kinds), alone, claimed)


def _as_claimed(candidates: Iterable[Candidate], alone: Seen, claimed: Mapping[str, float]) -> list[Fitted]:
    """The first that, with the values that are claimed, explains each step by itself; none if none does."""
    for of in candidates:
        start = _start(of.rule, claimed)
        found = measured(of, [alone], {name: start.get(name, 0.0) for name in of.names})
        if found.off < EXACT:
            return [found]
    return []


def _slipped(rules: Sequence[Fitted], alone: Seen, claimed: Mapping[str, float]) -> Fitted | None:
    """The rule with a slip that explains each step by itself, or None.

    Slips that people make are each fitted; of misprints, of which there are hundreds, those that come nearest as they are.
    """
    for near in rules:
        for of in _with(slips(near.candidate.rule)):
            for begun in (claimed, near.values):
                found = fit(of, [alone], begun, of.names, steps=15)
                if found.off < EXACT:
                    return found
    tried: list[Fitted] = []
    for near in rules:
        for of in _with(misprints(near.candidate.rule)):
            tried += [
                measured(of, [alone], {n: begun.get(n, near.values[n]) for n in of.names})
                for begun in (claimed, near.values)
            ]
    for one in sorted(tried, key=lambda one: one.mean)[:_NEAREST]:
        found = fit(one.candidate, [alone], one.values, one.candidate.names, steps=15)
        if found.off < EXACT:
            return found
    return None


def _with(changed: Iterable[tuple[str, Rule]]) -> Iterator[Candidate]:
    for words, rule in changed:
        yield replace(candidate(rule, COUPLINGS["none"]), slips=(words,))
