"""Which rule with which coupling an optimizer is for one parameter, or what is nearest to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from dynamics.couplings import COUPLINGS
from dynamics.probe.claims import Claims
from dynamics.probe.drive import ROUNDING, Array, Drive, decay_drives, update_drive
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
# Rules further off than this, in the mean, are not looked through for slips, nor more than these.
_WORTH = 0.3
_LOOKED_THROUGH = 2
# Over how far weights go: of an optimizer that does not do the same twice, what else it does shows only below this.
_MOST_NOISE = 1e-2
# How many of those that come near without a search are searched for.
_NEAREST = 8


@dataclass(frozen=True, eq=False)
class Law:
    """What an optimizer does to one parameter.

    place: of the subject's places. fitted: the best candidate, with the values that suit it. whole: the gradients of other
    entries of the tensor have an effect. seen: what it was found from. clear: where it is coarse, all others are much further off.
    rule_known: the rule is the candidate's, as steps from 0 show, whatever its regularizer does.
    """

    place: int
    fitted: Fitted
    whole: bool
    seen: tuple[Seen, ...]
    clear: bool = False
    rule_known: bool = False

    def seen_as(self, drive: Drive, rows: Array) -> Seen:
        """Another path of the same optimizer."""
        return replace(self.seen[0], drive=drive, rows=rows)

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


def seen_on(subject: Subject, place: int, drives: Iterable[Drive], noise: float) -> tuple[Seen, ...]:
    """What the subject does along each of these drives."""
    runs = [(drive, subject.run({place: drive})) for drive in drives]
    kept = frozenset().union(*(run.kept for _, run in runs))
    rows = [run.rows[0] for _, run in runs]
    # Whatever the weights' own type: a state in float32, or steps from 0 that are such numbers, tell how it computes.
    narrow = ("float32" in kept and "float64" not in kept) or np.array_equal(
        rows[0], rows[0].astype(np.float32), equal_nan=True
    )
    grain = ROUNDING["float32"] if narrow else 0.0
    return tuple(Seen(drive, each, grain=grain, noise=noise) for (drive, _), each in zip(runs, rows, strict=True))


def noise_of(subject: Subject, place: int) -> float:
    """How far weights part where two fresh ones are led along the same; 0 where that is too far to see anything else."""
    drive = drives_of(subject, place, whole=False)[-1]
    one, other = (subject.run({place: drive}).rows[0] for _ in range(2))
    apart, moved = (float(np.nan_to_num(np.abs(x)).max()) for x in (one - other, one - drive.start))
    return apart if apart < _MOST_NOISE * moved else 0.0


def is_whole(subject: Subject, place: int, noise: float) -> bool:
    """Whether an entry's weight depends on the gradients of other entries."""
    (drive,) = decay_drives(subject.places[place].ndim, True, (1.0,))
    drive = drive if subject.has_rate else drive.constant()
    other = drive.gradients.copy()
    other.reshape(len(other), -1)[:, 0] *= 3.0
    rows = [
        subject.run({place: one}).rows[0].reshape(len(other), -1) for one in (drive, replace(drive, gradients=other))
    ]
    apart = np.abs(rows[0] - rows[1])[:, 1:]
    both = np.isnan(rows[0]) & np.isnan(rows[1])
    return bool((~(apart <= 4 * noise) & ~both[:, 1:]).any())


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
    alone = None if whole or clear or found.off < ROUNDED else _without_drift(seen[0])
    known = alone is not None and measured(plain(found.candidate.rule), [alone], found.values).off < ROUNDED
    return Law(place, _in_words_of(claims, found, seen), whole, seen, clear, known)


def _in_words_of(claims: Claims, found: Fitted, seen: Sequence[Seen]) -> Fitted:
    """The same by the coupling that is claimed, where one cannot be told from the other, as in SGD."""
    of = found.candidate
    if claims.coupling in ("", of.coupling) or of.slips or found.off > EXACT or not found.at("strength"):
        return found
    other = measured(candidate(of.rule, COUPLINGS[claims.coupling]), seen, found.values)
    return other if other.off < EXACT else found


def _of_weights(seen: Sequence[Seen], claims: Claims) -> tuple[Fitted, bool]:
    """Of an optimizer that takes each weight by itself: first its rule, from steps from 0, and then its regularizer."""
    order = [rule for rule in RULES.values() if rule.unit == "weight"]
    order.sort(key=lambda rule: rule.name != claims.rule)
    alone = _without_drift(seen[0])
    fitted: list[Fitted] = []
    best: Fitted | None = None
    for some in (order[:1], order[1:]):  # the one that it is said to be, then all others
        new = _rules(some, [alone], claims.values)
        fitted = sorted([*fitted, *new], key=lambda one: one.mean)
        near = [one for one in new if one.off < COARSE][:2]
        if new[0].off > EXACT and some == order[:1]:
            other = _as_claimed(map(plain, order[1:]), alone, claims.values)
            near = [*(other or _misprinted(new[0], alone, claims.values)), *near]
        for rule in near:
            best = _least(best, _explained(rule, seen, claims.values))
            if best.off < ROUNDED:
                return best, False
    if best is not None and _leads(fitted, best):
        return best, True
    if (exact := next((one for one in fitted if one.off < EXACT), None)) is not None:
        return _alone(exact, seen, claims.values), False
    said = [one for one in fitted if one.candidate.rule.name == claims.rule]
    near = [*said, *(one for one in fitted if one.mean < _WORTH and one not in said)][:_LOOKED_THROUGH]
    slipped = _slipped(near, alone, claims.values)
    if slipped is not None:
        return _least(best, _explained(slipped, seen, claims.values)), False
    return best or _alone(fitted[0], seen, claims.values), False


def _without_drift(alone: Seen) -> Seen:
    """Steps from 0 without what moves even a weight that is 0 and has no gradient, if that is one number for all."""
    silent = ~np.any(alone.drive.gradients != 0, axis=0)
    drift = alone.rows[:, silent]
    if not drift.any() or (drift != drift[:, :1]).any():
        return alone
    return replace(alone, rows=alone.rows - drift[:, 0].reshape(-1, *(1,) * silent.ndim))


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
        for of in ways[:_NEAREST]:
            best = _least(best, _with_way(rule, of, seen, claimed))
            if best.off < EXACT:
                return best
    assert best is not None  # the first kind has some for every rule
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
    """The rule with a slip that explains each step by itself, or None: slips that people make before misprints.

    Of either, those are searched that come nearest with the values that are claimed or suit the rule without it.
    """
    for kind in (slips, misprints):
        tried: list[Fitted] = []
        for near in rules:
            usual = near.candidate.rule.defaults
            for of in _with(kind(near.candidate.rule)):
                for begun in (claimed, near.values):
                    values = {name: begun.get(name, near.values.get(name, usual.get(name, 0.0))) for name in of.names}
                    tried.append(measured(of, [alone], values))
        for one in sorted(tried, key=lambda one: one.mean)[:_NEAREST]:
            found = fit(one.candidate, [alone], one.values, one.candidate.names, steps=15)
            if found.off < EXACT:
                return found
    return None


def _with(changed: Iterable[tuple[str, Rule]]) -> Iterator[Candidate]:
    for words, rule in changed:
        yield replace(candidate(rule, COUPLINGS["none"]), slips=(words,))
