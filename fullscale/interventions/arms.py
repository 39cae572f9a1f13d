"""What the trial asks for: the arms, and on which runs of which study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from fullscale.interventions.treatment import Treatment
from fullscale.spec import RunSpec
from fullscale.studies import Found, asked, find_study

NONE = "none"


class Arm(NamedTuple):
    """kind: what of the treated filters' updates is changed. treatment: how; None where no filter is treated."""

    kind: str
    treatment: Treatment | None


# The order is that in which they run, the decisive ones first.
ARMS: dict[str, Arm] = {
    NONE: Arm("none", None),
    "scale 0.1": Arm("size", Treatment(scale=0.1)),
    "scale 10": Arm("size", Treatment(scale=10.0)),
    "arrival 0.1": Arm("rarity", Treatment(arrival=0.1)),
    "arrival 0.01": Arm("rarity", Treatment(arrival=0.01)),
    "strength 0": Arm("regularizer", Treatment(strength=0.0)),
    "arrival 0.1, mean kept": Arm("rarity", Treatment(arrival=0.1, kept="mean")),
    "arrival 0.1, nothing kept": Arm("rarity", Treatment(arrival=0.1, kept="none")),
    "scale 0.316": Arm("size", Treatment(scale=0.1**0.5)),
    "scale 0.3": Arm("size", Treatment(scale=0.3)),
    "scale 3": Arm("size", Treatment(scale=3.0)),
    "arrival 0.3": Arm("rarity", Treatment(arrival=0.3)),
    "beta2 0.9999": Arm("memory", Treatment(beta2=0.9999)),
    "beta2 0.99": Arm("memory", Treatment(beta2=0.99)),
}


@dataclass(frozen=True)
class Trial:
    """The same arms on the networks of some seeds of a study's setting.

    name: of the images; study: whose setting it has; stages: names of ARMS, those of a stage complete over all seeds, and over all
    trials, before the next begins.
    """

    name: str
    study: str
    seeds: tuple[int, ...]
    stages: tuple[tuple[str, ...], ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """Those of all stages."""
        return tuple(arm for stage in self.stages for arm in stage)

    def spec(self, found: Found, seed: int) -> RunSpec:
        """The run of a seed, on these images."""
        run = next(iter(asked(find_study(self.study))))
        return replace(run.on(found), seed=seed, watch=False, measure_every=2)

    def groups(self, stage: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """(seed, arms) that are trained side by side; none of a stage that it does not have."""
        for arms in self.stages[stage : stage + 1]:
            for seed in self.seeds if arms else ():
                yield seed, arms


DIGITS = Trial("digits", "digits-watched", (8, 9, 10, 11, 12, 13), (tuple(ARMS)[:6], tuple(ARMS)[6:9], tuple(ARMS)[9:]))
CIFAR = Trial(
    "cifar", "paper-5-filters", (12, 13, 14), ((), (NONE, "scale 0.1", "scale 10", "arrival 0.1", "strength 0")),
)  # fmt: skip
STAGES = 3
TRIALS = {trial.name: trial for trial in (DIGITS, CIFAR)}


def key(trial: Trial, spec: RunSpec, arm: str) -> dict[str, Any]:
    """What the store keeps of an arm of one network, and hashes."""
    treatment = ARMS[arm].treatment
    return {"trial": trial.name, "run": spec.as_dict(), "treatment": {} if treatment is None else treatment.as_dict()}
