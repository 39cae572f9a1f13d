"""What a probe says: the law of each parameter, what is claimed and what acts, what else it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.couplings import COUPLINGS
from dynamics.probe.claims import Claims
from dynamics.probe.finding import Finding, note, wrong
from dynamics.probe.fit import measured
from dynamics.probe.identify import EXACT, ROUNDED, Law
from dynamics.probe.subject import Place, Subject
from dynamics.probe.ways import KIN
from dynamics.result import Result
from dynamics.rules import RULES

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Answer:
    """What an optimizer is for one kind of parameter.

    group, parameter: which; rule, coupling: their names here, "" where it is none of them; words: what it is, or what is
    nearest; found: whether it is that; slips: how it departs from the rule and coupling as they are; values: lr, strength
    and the hyperparameters that act, recovered from behaviour; claimed: those that its group claims; off: how far it is
    from that, over how far weights move, at most; first: the first step at which it is a billionth off, 0 if at none.
    """

    group: int
    parameter: str
    rule: str
    coupling: str
    words: str
    found: bool
    slips: tuple[str, ...]
    values: Mapping[str, float]
    claimed: Mapping[str, float]
    off: float
    first: int

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value:.6g}" for name, value in self.values.items() if name != "strength" or value)
        if not self.found:
            return f"none of those known: nearest is {self.words} ({values}), first difference at step {self.first}"
        within = (
            "" if self.off < EXACT else f", within {self.off:.0e}" if self.off < 1 else ", as near as coarse numbers go"
        )
        slips = "".join(f"; {slip}" for slip in self.slips if slip not in self.words)
        return f"{self.words}{slips} ({values}){within}"


@dataclass(frozen=True)
class Probe(Result):
    """What an optimizer does, found by stepping it.

    name: of its class; answers: one for each kind of parameter in each group; findings: where what acts is not what is
    claimed, and what is good to know.
    """

    name: str
    answers: tuple[Answer, ...]
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """What acts and is not what is claimed, a line each; empty where all is as it should be."""
        return tuple(finding.said for finding in self.findings if finding.kind == "wrong")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self) | {"wrong": list(self.wrong)}

    def rows(self) -> list[dict[str, Any]]:
        """One row for each value that acts on a parameter, beside the one that is claimed."""
        return [
            {"group": a.group, "parameter": a.parameter, "rule": a.rule, "coupling": a.coupling, "found": a.found}
            | {"value": name, "claimed": a.claimed.get(name), "acting": float(acting), "off": a.off}
            for a in self.answers
            for name, acting in a.values.items()
        ]

    @property
    def finding(self) -> str:
        """Where what acts is not what is claimed."""
        none = "" if all(answer.found for answer in self.answers) else "none of the rules here, the nearest is shown"
        return f"{self.name}: {'; '.join(self.wrong) or none or 'what is claimed is what acts'}"

    def _draw(self, axes: Axes) -> None:
        from dynamics.probe.drawing import draw

        draw(self.answers, axes)

    def __str__(self) -> str:
        lines = [self.name]
        for group, parameters, answer in joined(self.answers):
            many = len({a.group for a in self.answers}) > 1 or len(set(parameters)) < len(
                {a.parameter for a in self.answers}
            )
            where = f"group {group}, {', '.join(parameters)}: " if many else ""
            lines.append(f"  {where}{answer}")
        lines += [f"  {'WRONG' if f.kind == 'wrong' else 'note'}: {f.said}" for f in self.findings]
        if not self.wrong and all(answer.found for answer in self.answers):
            lines.append("  what is claimed is what acts")
        return "\n".join(lines)


def joined(answers: Sequence[Answer]) -> Iterator[tuple[int, list[str], Answer]]:
    """Answers that say the same, once."""
    left = list(answers)
    while left:
        first = left[0]
        same = [a for a in left if a.group == first.group and str(a) == str(first)]
        left = [a for a in left if a not in same]
        yield first.group, [a.parameter for a in same], first


def answer_of(place: Place, law: Law, claims: Claims) -> Answer:
    """A law in words."""
    values = dict(law.fitted.values)
    if "strength" in law.candidate.names and not values.get("strength"):
        values["strength"] = 0.0
    return Answer(
        place.group, place.label, law.rule, law.candidate.coupling, law.candidate.words, law.found, law.candidate.slips,
        values, {name: claims.values[name] for name in law.candidate.names if name in claims.values},
        law.fitted.off, law.fitted.first,
    )  # fmt: skip


def compared(place: Place, law: Law, claims: Claims, several: bool) -> Iterator[Finding]:
    """Where a law is not what is claimed of it."""
    of = f"{place.label}: " if several else ""
    found, values = law.candidate, law.fitted.values
    strength = values.get("strength", 0.0)
    if not law.found:
        if law.rule_known and not found.slips:
            told = wrong if claims.values.get("strength") else note
            yield told(
                f"{of}it is {found.rule.label}, with a regularizer that is none known here: nearest is {found.way}, first "
                f"difference at step {law.fitted.first}{_on_silence(law)}"
            )
            return
        with_them = f" with {', '.join(claims.variants)}" if claims.variants else ""
        said = (
            f"none of the rules here{with_them}: nearest is {found.words}, first difference at step {law.fitted.first}"
        )
        yield (wrong if claims.rule and not claims.variants else note)(f"{of}{said}")
        return
    if claims.rule and RULES[claims.rule].unit == "matrix" and place.ndim < 2:
        yield note(f"{of}{RULES[claims.rule].label} is of matrices; what is none it moves by {found.words}")
        claims = replace(claims, rule="")  # of which nothing is claimed
    elif not claims.allows(found.rule.name):
        yield wrong(f"{of}by its name it is {RULES[claims.rule].label}, it acts as {found.rule.label}")
    for slip in found.slips:
        told = note if not claims.rule or (claims.coupling != "l2" and slip in KIN) else wrong
        yield told(f"{of}{found.rule.label} with a difference: {slip}")
    claimed = claims.values.get("strength", 0.0)
    if claimed and not strength:
        yield wrong(f"{of}weight decay {claimed:g} is claimed, none acts")
    elif strength and found.coupling and claims.coupling and found.coupling != claims.coupling:
        yield wrong(
            f"{of}by its name it has {COUPLINGS[claims.coupling].label}, what acts is {COUPLINGS[found.coupling].label}"
        )
    if strength < 0:
        yield wrong(f"{of}its weight decay has the opposite sign: weights grow")
    for name, value in values.items():
        stated = claims.values.get(name)
        if stated is None or (name == "strength" and not (claimed and strength)) or not _acts(law, name, stated):
            continue
        yield wrong(f"{of}{_SAID.get(name, name)} {stated:g} is claimed, {value:.6g} acts")


def _on_silence(law: Law) -> str:
    """What weights without a gradient lose of themselves in a step, at a learning rate that is held for some."""
    seen = law.seen[1]
    silent = ~np.any(seen.drive.gradients != 0, axis=0) & (seen.drive.start != 0)
    held = int(np.sum(np.cumprod(seen.drive.multipliers == 1.0)))
    path = np.concatenate([seen.drive.start[None], seen.rows])[: held + 1, silent]
    with np.errstate(all="ignore"):
        lost = 1 - path[1:] / path[:-1]
    if not silent.any() or not np.isfinite(lost).all():
        return ""
    low, high = float(lost.min()), float(lost.max())
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return f"; a weight without a gradient loses {high:.3g} of itself a step"
    return f"; a weight without a gradient loses {low:.3g} to {high:.3g} of itself a step, at one learning rate"


_SAID = {"strength": "weight decay"}


def _acts(law: Law, name: str, stated: float) -> bool:
    """Whether the stated value is not what acts: with it the paths part."""
    if abs(stated - law.fitted.values[name]) <= 1e-6 * abs(stated):
        return False
    with_it = measured(law.candidate, law.seen, {**law.fitted.values, name: stated})
    return with_it.off > max(10 * law.fitted.off, ROUNDED)


def between(subject: Subject, laws: Mapping[int, Law]) -> Iterator[Finding]:
    """What shows between parameters: which of them a weight decay is on."""
    decays = {k: abs(law.fitted.at("strength")) > 0 for k, law in laws.items() if law.found}
    on = [subject.places[k].label for k, acts in decays.items() if acts]
    off = [subject.places[k].label for k, acts in decays.items() if not acts]
    if not on or not off:
        return
    light = [label for label in on if _is_light(label)]
    heavy = [label for label in off if not _is_light(label)]
    if light and len(light) == len(on):
        yield wrong(f"weight decay acts on {', '.join(on)} and not on {', '.join(off)}: the opposite of what is usual")
    elif light and any(_is_light(label) for label in off):
        yield wrong(
            f"weight decay acts on {', '.join(light)}, though not on {', '.join(x for x in off if _is_light(x))}"
        )
    elif heavy:
        yield note(f"no weight decay on {', '.join(heavy)}")
    else:
        yield note(f"no weight decay on {', '.join(off)}")


def _is_light(label: str) -> bool:
    """What decays are usually kept off: biases and norms."""
    return "bias" in label or "norm" in label or label in ("1-D", "scale")
