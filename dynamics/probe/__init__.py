"""What an optimizer of anyone's does, found by stepping it: its rule, its coupling, and where it departs from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dynamics.probe.ask import questions
from dynamics.probe.claims import Claims, claims_of
from dynamics.probe.drive import Array, update_drive
from dynamics.probe.find import find_subject
from dynamics.probe.finding import Finding, note, wrong
from dynamics.probe.fit import Seen, measured
from dynamics.probe.identify import EXACT, Law, drives_of, identify, is_whole, noise_of, seen_on
from dynamics.probe.report import Answer, Probe, answer_of, between, compared
from dynamics.probe.subject import Subject, Torch
from dynamics.probe.ways import without

Told = Callable[[str], object]


def probe(optimizer: Any) -> Probe:
    """What an optimizer does to weights: which rule with which coupling it is, with which values, and what else it does.

    It is stepped on tiny tensors with chosen gradients, as a black box; nothing of it is read but its claims: its name and
    its parameter groups. The weights and the state of an optimizer in use stay as they are: a copy is stepped.

    Args:
        optimizer: a torch optimizer, or whatever has a `step` and `param_groups`; or a function that makes one, of
            parameters or of a network (its argument is then called net, network, model or module, or is annotated so); or
            a transformation of optax, or a function of a learning rate that makes one.

    Returns:
        A Probe: `answers` says what acts on each kind of parameter, `wrong` where this is not what is claimed.

    Raises:
        InputError: for anything else, and for an optimizer that raises when it is made or stepped.

    Example:
        >>> import torch
        >>> from undertow import probe
        >>> print(probe(lambda parameters: torch.optim.Adam(parameters, weight_decay=0.1)))
        torch.Adam
          Adam, L2 in the gradient (lr 0.001, beta1 0.9, beta2 0.999, eps 1e-08, strength 0.1)
          note: in bfloat16 a decay of 8e-04 a step is lost: half a unit in the last place is 2e-03
          what is claimed is what acts
    """
    subject, findings = _heeding(find_subject(optimizer))
    laws = _laws(subject)
    for k, law in laws.items():
        findings += compared(subject.places[k], law, _claims(subject, k), len(laws) > 1)
    findings += between(subject, laws)
    first = next(iter(laws))
    findings += questions(subject, laws[first], _claims(subject, first))
    answers = tuple(answer_of(subject.places[k], law, _claims(subject, k)) for k, law in laws.items())
    return Probe(subject.name, answers, tuple(_once(findings, subject)))


def _heeding(subject: Subject) -> tuple[Subject, list[Finding]]:
    """The subject, without a rate where one that is set while it runs has no effect; and that this is so."""
    first = next(k for k, place in enumerate(subject.places) if place.held)
    drive = update_drive(subject.places[first].ndim, even=True)
    if not isinstance(subject, Torch) or not subject.has_rate:
        return subject, []
    one, other = (subject.run({first: each}).rows[0] for each in (drive, drive.constant()))
    if not np.array_equal(one, other, equal_nan=True):
        return subject, []
    told = wrong if _claims(subject, first).rule else note  # of Rprop it is so
    said = "a learning rate that is set while it runs has no effect: no schedule acts"
    return replace(subject, has_rate=False), [told(said)]


def _claims(subject: Subject, place: int) -> Claims:
    return claims_of(subject.name, subject.groups[subject.places[place].group])


def _laws(subject: Subject) -> dict[int, Law]:
    """The law of every parameter, in the order of places; those that are alike are identified once."""
    laws: dict[int, Law] = {}
    held = [k for k, place in enumerate(subject.places) if place.held]
    for k in sorted(held, key=lambda k: -_claims(subject, k).values.get("strength", 0.0)):
        claims = _claims(subject, k)
        noise = noise_of(subject, k)
        whole = is_whole(subject, k, noise)
        seen = seen_on(subject, k, drives_of(subject, k, whole), noise)
        laws[k] = next(
            (same for law in laws.values() if (same := _like(law, k, seen, claims, whole))), None
        ) or identify(k, seen, whole, claims)
    return {k: laws[k] for k in sorted(laws, key=lambda k: (subject.places[k].group, k))}


def _like(law: Law, place: int, seen: tuple[Seen, ...], claims: Claims, whole: bool) -> Law | None:
    """The law of another parameter, if this one follows it as well, with its own group's values or without a decay."""
    if whole != law.whole:
        return None
    if all(np.array_equal(_flat(one), _flat(other), equal_nan=True) for one, other in zip(law.seen, seen, strict=True)):
        return replace(law, place=place, seen=seen)
    if not law.found:
        return None
    own = {name: claims.values.get(name, value) for name, value in law.fitted.values.items()}
    for of, values in ((law.candidate, law.fitted.values), (law.candidate, own), (without(law.candidate), own)):
        found = measured(of, seen, {name: values[name] for name in of.names})
        if found.off < max(EXACT, 3 * law.fitted.off):
            return replace(law, place=place, fitted=found, seen=seen)
    return None


def _flat(seen: Seen) -> Array:
    return seen.rows.reshape(len(seen.rows), -1)


def _once(findings: list[Finding], subject: Subject) -> list[Finding]:
    """What is found of all parameters alike, said once and of none."""
    labels = [place.label for place in subject.places]
    said: dict[str, list[Finding]] = {}
    for finding in findings:
        label = next((label for label in labels if finding.said.startswith(f"{label}: ")), "")
        said.setdefault(finding.said.removeprefix(f"{label}: ") if label else finding.said, []).append(finding)
    joined = []
    for text, each in said.items():
        if len(each) == len(labels) > 1 or (len(each) == 1 and len(labels) == 1):
            joined.append(replace(each[0], said=text))
        elif len(each) > 1:
            joined.append(
                replace(each[0], said=f"{', '.join(one.said.removesuffix(f': {text}') for one in each)}: {text}")
            )
        else:
            joined.append(each[0])
    return joined
