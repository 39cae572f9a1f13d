"""How long a weight without a gradient lasts: every rule with every coupling, in steps from 1 to a thousandth."""

from __future__ import annotations

from collections.abc import Sequence

from dynamics.answers.decay_time import DecayTime, decay_time
from dynamics.answers.setting import make
from dynamics.couplings import COUPLINGS
from dynamics.libraries.catalogue import elsewhere
from dynamics.libraries.reference import libraries
from dynamics.rules import BUILT_IN, RULES

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
LR = 1e-3


def steps_from_1(
    rules: Sequence[str] = BUILT_IN,
    couplings: Sequence[str] = ("l2",),
    strengths: Sequence[float] = STRENGTHS,
    target: float = 1e-3,
) -> dict[tuple[str, str], list[DecayTime]]:
    """(rule, coupling) -> for each strength the steps from 1 to target at lr 1e-3 (Adagrad 1e-2), other numbers default.

    Without a gradient, from fresh state. Raises InputError for unknown names and values out of range.
    """
    return {
        (rule, coupling): [
            decay_time(make(rule, coupling, lr=_lr(rule), strength=strength), target=target) for strength in strengths
        ]
        for coupling in couplings
        for rule in rules
    }


def _lr(rule: str) -> float:
    # Adagrad's steps shrink from the start: it is shown at its usual learning rate, ten times that of the others.
    return RULES[rule].lr if RULES[rule].divides_by == "sum" else LR


def overview() -> str:
    """The README's table: for each rule its steps under L2 and under decay x lr at the least and the largest strength, and
    the libraries that offer the rule with a coupling."""
    ends = (STRENGTHS[0], STRENGTHS[-1])
    found = steps_from_1(couplings=("l2", "decoupled_lr"), strengths=ends)
    lines = [
        f"| rule | L2, strength {ends[0]:g} to {ends[1]:g} | decay x lr | L2 offered by | decay x lr offered by | others |",
        "|---|---|---|---|---|---|",
    ]
    for name, rule in RULES.items():
        steps = [_ends([p.steps for p in found[name, coupling]]) for coupling in ("l2", "decoupled_lr")]
        rest = "; ".join(
            f"{c}: {libraries(rule, COUPLINGS[c])}" for c in elsewhere(rule).offered if c not in ("l2", "decoupled_lr")
        )
        shared = [libraries(rule, COUPLINGS[coupling]) for coupling in ("l2", "decoupled_lr")]
        lines.append(f"| {name} | {' | '.join([*steps, *shared, rest])} |")
    return "\n".join(lines)


def _ends(steps: Sequence[int | None]) -> str:
    shown = list(dict.fromkeys("never" if s is None else f"{s:,}" for s in steps))
    return " to ".join(shown)
