"""Whether an optimizer does the same in other types of numbers, and what their rounding swallows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dynamics.couplings import COUPLINGS
from dynamics.probe.claims import Claims
from dynamics.probe.drive import ROUNDING, Drive, decay_drives
from dynamics.probe.finding import Finding, note, wrong
from dynamics.probe.fit import Seen, measured
from dynamics.probe.follow import Candidate, candidate
from dynamics.probe.identify import Law
from dynamics.probe.subject import Refusal, Subject, Torch


def drive_of(subject: Subject, law: Law) -> Drive:
    (drive,) = decay_drives(subject.places[law.place].ndim, law.whole, (1.0,))
    return drive if subject.has_rate else drive.constant()


def types(subject: Subject, law: Law, claims: Claims) -> Iterator[Finding]:
    """What differs where weights and gradients are in float32 or bfloat16."""
    if law.seen[0].grain:
        yield note("it computes in float32, for weights in float64 too: what acts is known to six digits or so")
    for dtype in ROUNDING:
        try:
            yield from _type(subject, law, dtype)
        except Refusal as error:
            yield note(f"{dtype} is refused: {error}")


def _type(subject: Subject, law: Law, dtype: str) -> Iterator[Finding]:
    drive = drive_of(subject, law)
    run = subject.run({law.place: drive}, dtype=dtype)
    if run.kept and run.kept != {dtype}:
        yield note(f"for weights in {dtype} its state is in {', '.join(sorted(run.kept))}")
    if not law.found:
        return
    silent = ~np.any(drive.gradients != 0, axis=0) & (drive.start != 0)
    asked, acts = law.seen[1].rows[:, silent], run.rows[0][:, silent]
    if silent.any() and (asked[0] != asked[-1]).all() and (acts[0] == acts[-1]).all():
        share = float(np.max(np.abs(asked[-1] / asked[0] - 1))) / (len(asked) - 1)
        half = ROUNDING[dtype]
        yield note(f"in {dtype} a decay of {share:.0e} a step is lost: half a unit in the last place is {half:.0e}")
        return
    yield from _other_law(subject, law, dtype)


def _other_law(subject: Subject, law: Law, dtype: str) -> Iterator[Finding]:
    """Whether the regularizer enters by another way in this type: at a strength and a rate that its rounding lets through."""
    group = subject.groups[subject.places[law.place].group]
    if (
        not isinstance(subject, Torch)
        or "weight_decay" not in group
        or "strength" not in law.fitted.values
        or not subject.has_rate
    ):
        return
    rate = law.fitted.values["lr"]
    base = max(1.0, 0.02 / rate)
    strength = 1.0
    (drive,) = decay_drives(subject.places[law.place].ndim, law.whole, (base,))
    drive = replace(drive, multipliers=np.ones(drive.steps))
    rows = subject.run({law.place: drive}, dtype=dtype, flags={"weight_decay": strength}).rows[0]
    seen = Seen(drive, rows, 16 * ROUNDING[dtype])
    values = {**law.fitted.values, "strength": strength * law.fitted.values["strength"] / max(_claimed(group), 1e-30)}
    here = _far(law.candidate, seen, values)
    if here < 0.1:
        return
    for coupling in COUPLINGS.values():
        of = candidate(law.candidate.rule, coupling)
        if _far(of, seen, values) < 0.1 * here:
            yield wrong(f"in {dtype} it is another one: {of.words}")
            return


def _claimed(group: Mapping[str, Any]) -> float:
    return abs(float(group["weight_decay"]))


def _far(of: Candidate, seen: Seen, values: Mapping[str, float]) -> float:
    return measured(of, [seen], values).mean
