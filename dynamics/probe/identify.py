"""Which rule with which coupling an optimizer is for one parameter, or what is nearest to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dynamics.couplings import COUPLINGS
from dynamics.probe.drive import Drive, decay_drives, update_drive
from dynamics.probe.fit import Fitted, Seen, fit, measured
from dynamics.probe.follow import Candidate, candidate, plain
from dynamics.probe.slips import misprints, slips
from dynamics.probe.subject import Subject
from dynamics.probe.ways import known, unusual
from dynamics.rule import Rule
from dynamics.rules import RULES

# Relative to how far a weight moves. EXACT: two orders of the same operations in float64. ROUNDED: a part of it is
# computed in float32. COARSE: in bfloat16, and then nothing but a clear lead over all others tells.
EXACT, ROUNDED, COARSE = 1e-9, 1e-5, 3e-2
# So much further off than the best must all others be, where it is not exact.
_LEAD = 30.0


@dataclass(frozen=True, eq=False)
class Law:
    """What an optimizer does to one parameter.

    place: of the subject's places. fitted: the best candidate, with the values that suit it; exact: whether it is that one,
    in float64; whole: the gradients of other entries of the tensor have an effect.
    """

    place: int
    fitted: Fitted
    whole: bool
    seen: tuple[Seen, ...]

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

    clear: bool = False


def seen_on(subject: Subject, place: int, drives: Iterable[Drive]) -> tuple[Seen, ...]:
    """What the subject does along each of these drives."""
    return tuple(Seen(drive, subject.run({place: drive}).rows[0]) for drive in drives)


def is_whole(subject: Subject, place: int) -> bool:
    """Whether an entry's weight depends on the gradients of other entries."""
    drive = update_drive(subject.places[place].ndim, even=True)
    other = drive.gradients.copy()
    other.reshape(len(other), -1)[:, 0] *= 3.0
    rows = [subject.run({place: one}).rows[0].reshape(len(other), -1) for one in (drive, replace(drive, gradients=other))]
    return not np.array_equal(rows[0][:, 1:], rows[1][:, 1:], equal_nan=True)


def identify(subject: Subject, place: int, claimed: Mapping[str, float]) -> Law:
    """The law of one parameter. claimed: values from which searches begin."""
    whole = is_whole(subject, place)
    ndim = subject.places[place].ndim
    bases = (1.0, 3.0) if subject.has_rate else (1.0,)
    drives = [update_drive(ndim, whole), *decay_drives(ndim, whole, bases)]
    if not subject.has_rate:
        drives = [drive.constant() for drive in drives]
    alone, *natural = seen_on(subject, place, drives)
    seen = (alone, *natural)
    rules = _rules([alone], claimed, whole)
    best = _coupled(rules[0], seen, claimed)
    if best.off < ROUNDED:
        return Law(place, best, whole, seen)
    ways = _best((_with_way(rules[0], c, seen, claimed) for c in _ways(rules[0])), EXACT) if rules[0].off < COARSE else None
    if ways is not None and ways.off < ROUNDED:
        return Law(place, ways, whole, seen)
    slipped = _slipped(rules, alone, claimed)
    if slipped is not None:
        found = _coupled(slipped, seen, claimed)
        if found.off > ROUNDED:
            other = _best((_with_way(slipped, c, seen, claimed) for c in _ways(slipped)), EXACT)
            found = other if other is not None and other.off < found.off else found
        return Law(place, found, whole, seen)
    found = min((one for one in (best, ways) if one is not None), key=lambda one: one.off)
    rest = [one.off for one in rules[1:]]
    clear = found.off < COARSE and min(rest, default=np.inf) > _LEAD * rules[0].off
    return Law(place, found, whole, seen, clear)


def _rules(seen: Sequence[Seen], claimed: Mapping[str, float], whole: bool) -> list[Fitted]:
    """All rules by how near they come; the first that is exact ends the search."""
    found = []
    # Of two that do the same a rule of single weights comes first, unless the whole tensor counts.
    order = sorted(RULES.values(), key=lambda rule: (rule.unit == "weight") == whole)
    nearest = sorted(order, key=lambda rule: measured(plain(rule), seen, _start(rule, claimed)).off > EXACT)
    for rule in nearest:
        if rule.unit != "weight" and not whole:
            continue
        of = plain(rule)
        found.append(fit(of, seen, claimed, of.names))
        if found[-1].off < EXACT:
            break
    return sorted(found, key=lambda one: one.off)


def _start(rule: Rule, claimed: Mapping[str, float]) -> dict[str, float]:
    usual = {"lr": rule.lr} | dict(rule.defaults)
    return {name: float(claimed.get(name, value)) for name, value in usual.items()}


def _coupled(rule: Fitted, seen: Sequence[Seen], claimed: Mapping[str, float]) -> Fitted:
    """The rule with the coupling that suits it best."""
    best = _best((_with_way(rule, c, seen, claimed) for c in known(rule.candidate.rule)), EXACT)
    assert best is not None
    return replace(best, candidate=replace(best.candidate, slips=rule.candidate.slips))


def _with_way(rule: Fitted, of: Candidate, seen: Sequence[Seen], claimed: Mapping[str, float]) -> Fitted:
    """First the strength alone, on weights that move freely; all values together where that comes near."""
    values = dict(rule.values) | {"strength": claimed.get("strength", 0.01)}
    free = ("strength",) if "strength" in of.names else ()
    found = fit(of, seen[1:], values, free)
    if not EXACT < found.off < 0.3 and rule.off < EXACT:
        return measured(of, seen, found.values)
    return fit(of, seen, found.values, of.names)


def _best(found: Iterable[Fitted], enough: float) -> Fitted | None:
    best: Fitted | None = None
    for one in found:
        if best is None or one.off < best.off:
            best = one
        if best.off < enough:
            break
    return best


def _ways(rule: Fitted) -> Iterator[Candidate]:
    for of in unusual(rule.candidate.rule):
        yield replace(of, slips=(*rule.candidate.slips, *of.slips))


def _slipped(rules: Sequence[Fitted], alone: Seen, claimed: Mapping[str, float]) -> Fitted | None:
    """The rule with a slip that explains each step by itself, or None."""
    none = COUPLINGS["none"]
    for kind in (slips, misprints):
        for near in rules[:3]:
            for words, rule in kind(near.candidate.rule):
                of = replace(candidate(rule, none), slips=(words,))
                for begun in (claimed, near.values):
                    found = fit(of, [alone], begun, of.names, steps=15)
                    if found.off < EXACT:
                        return found
    return None
