"""What is mutated, and what decides whether a mutant is seen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from conformance.libraries import SCHEDULE_FREE, in_torch
from conformance.oracle import TOLERANCE
from mutants.oracles import Case, cases_of, coupling_cases

from dynamics import couplings
from dynamics.couplings import COUPLINGS, DOORS, Coupling, compose
from dynamics.probe.mutations import Mutant, mutants_of
from dynamics.rule import RANGES, Rule
from dynamics.rules import RULES
from dynamics.words import bind, newton_schulz, tensors

# A thousand times the tolerance: no mistake is near the border.
BORDER = 1e3 * TOLERANCE


@dataclass(frozen=True, eq=False)
class Target:
    """A function with its mutants. stays(function): whether the update stays on the other libraries' paths with it."""

    name: str
    function: Callable[..., Any]
    alike: Sequence[Sequence[str]]
    stays: Callable[[Callable[..., Any]], bool]
    local: bool = True

    @functools.cached_property
    def mutants(self) -> list[Mutant]:
        return mutants_of(self.function, self.alike, self.local)

    def killed(self, mutant: Mutant) -> bool:
        return not self.stays(mutant.function())


def stays(case: Case, rule: Rule, coupling: Coupling, make: Callable[..., Any] = compose) -> bool:
    """Whether the update stays on the case's path; the first step off it ends the comparison.

    Dividing by zero is off the path, too: over floats it raises.
    """
    setting = case.setting
    hyper = tuple(setting.hyper.values())
    scale = max(1.0, float(np.abs(case.rows).max()))
    with np.errstate(divide="raise", invalid="raise", over="ignore", under="ignore"):
        try:
            step = make(rule, coupling, case.words)
            w, inner = case.start, rule.fresh(case.start, setting.hyper)
            for g, multiplier, expected in zip(case.given, setting.multipliers, case.rows, strict=True):
                rate = float(setting.lr * multiplier)
                w, *inner = step(w, g, tuple(inner), rate, float(multiplier), setting.strength, hyper)
                if not np.abs(np.asarray(w) - expected).max() <= BORDER * scale:
                    return False
        except Exception:  # whatever it is, a run that raises is off the path
            return False
    return True


def _step(rule: Rule) -> Target:
    def still(step: Callable[..., Any]) -> bool:
        mutant = replace(rule, step=step)
        return all(stays(case, mutant, COUPLINGS[case.setting.coupling]) for case in cases_of(rule.name))

    shares = [name for name in rule.defaults if RANGES[name] is RANGES["beta1"]]
    sizes = ["lr", *(name for name in rule.defaults if name not in shares)]
    fields = ["w", "g", *(["pull"] if rule.takes_pull else []), *rule.state]
    return Target(f"{rule.name}.step", rule.step, [shares, sizes, fields, list(rule.clock)], still)


@functools.cache
def _evaluated(rule: str) -> tuple[Case, np.ndarray]:
    (case, *_) = cases_of(rule)
    return case, in_torch(SCHEDULE_FREE, case.setting, evaluated=True)


def _average(rule: Rule) -> Target:
    assert rule.average is not None

    def still(average: Callable[..., Any]) -> bool:
        case, evaluated = _evaluated(rule.name)
        hyper = tuple(case.setting.hyper.values())
        step = compose(rule, COUPLINGS[case.setting.coupling], case.words)
        w, inner = case.start, rule.fresh(case.start, case.setting.hyper)
        for g, multiplier, expected in zip(case.given, case.setting.multipliers, evaluated, strict=True):
            rate = float(case.setting.lr * multiplier)
            w, *inner = step(w, g, tuple(inner), rate, float(multiplier), case.setting.strength, hyper)
            with np.errstate(divide="ignore", invalid="ignore"):
                found = bind(average, case.words)(w, *inner[: len(rule.state)], *hyper)
            if not np.abs(found - expected).max() <= BORDER:
                return False
        return True

    return Target(f"{rule.name}.average", rule.average, [["beta1", "beta2"], ["w", *rule.state]], still)


def _share(coupling: Coupling, door: str) -> Target:
    def still(share: Callable[..., Any]) -> bool:
        mutant = replace(coupling, **{door: share})
        return all(stays(case, RULES[case.setting.rule], mutant) for case in coupling_cases(coupling.name))

    return Target(f"{coupling.name}.{door}", coupling.doors[door], [["strength", "lr", "multiplier"]], still)


def _nothing(strength, lr, multiplier):
    return 0.0


def _as_in_lanes(coupling: Coupling) -> Coupling:
    """As the simulator composes lanes of several couplings: nothing goes through a door around the step that is closed."""
    return replace(coupling, before=coupling.before or _nothing, after=coupling.after or _nothing)


def _part_of_composition(name: str, alike: Sequence[Sequence[str]]) -> Target:
    """A function of `dynamics.couplings` that every composed step goes through."""

    def still(changed: Callable[..., Any]) -> bool:
        with mock.patch.object(couplings, name, changed):
            return all(
                stays(case, RULES[case.setting.rule], opened)
                for coupling in COUPLINGS.values()
                for opened in (coupling, _as_in_lanes(coupling))
                for case in coupling_cases(coupling.name)
            )

    return Target(name, getattr(couplings, name), alike, still, local=False)


def _orthogonal() -> Target:
    """Five steps of Newton and Schulz, within Muon on a tall and on a wide matrix."""

    def still(changed: Callable[..., Any]) -> bool:
        matrix = {"largest": lambda a, b: a.clamp(min=b), "norm": torch.linalg.vector_norm, "times": torch.matmul}
        wide = bind(changed, {**matrix, "transpose": torch.t, "range": range})

        def orthogonal(x: torch.Tensor, eps: float) -> torch.Tensor:
            found: torch.Tensor = wide(x, eps) if x.shape[0] <= x.shape[1] else wide(x.T, eps).T
            return found

        words = {**tensors(), "orthogonal": orthogonal}
        return all(
            stays(
                case, RULES["muon"], COUPLINGS["decoupled_lr"], lambda rule, coupling, _: compose(rule, coupling, words)
            )
            for case in cases_of("muon")
        )

    return Target("newton_schulz", newton_schulz, [["x", "gram"]], still)


def through_other_doors() -> Iterator[tuple[str, bool]]:
    """Every coupling with its share sent through each other door: name, and whether that is seen."""
    for coupling in COUPLINGS.values():
        for door, share in coupling.doors.items():
            for other in DOORS:
                if other != door:
                    wrong = replace(coupling, **{door: None, other: share})
                    cases = coupling_cases(coupling.name)
                    seen = not all(stays(case, RULES[case.setting.rule], wrong) for case in cases)
                    yield f"{coupling.name}: {door} => {other}", seen


def from_other_starts() -> Iterator[tuple[str, bool]]:
    """Every rule with one field of its state or clock started elsewhere: name, and whether that is seen."""
    for rule in RULES.values():
        other = {
            name: replace(rule, starts={k: v for k, v in rule.starts.items() if k != name}) for name in rule.starts
        }
        for name, value in rule.clock.items():
            other[name] = replace(rule, clock={**rule.clock, name: 0.5 if value else 1.0})
        for name, wrong in other.items():
            seen = not all(stays(case, wrong, COUPLINGS[case.setting.coupling]) for case in cases_of(rule.name))
            yield f"{rule.name}: {name} starts elsewhere", seen


@functools.cache
def targets() -> tuple[Target, ...]:
    """Every rule's step and average, every coupling's share, and what composes them."""
    return (
        *(_step(rule) for rule in RULES.values()),
        *(_average(rule) for rule in RULES.values() if rule.average is not None),
        *(_share(coupling, door) for coupling in COUPLINGS.values() for door in coupling.doors),
        _orthogonal(),
        _part_of_composition(
            "_update", [["w", "g", "start", "moved"], ["gradient", "signed", "before", "after", "cautious"]]
        ),
        _part_of_composition("grows", [["w", "start"]]),
    )
