"""What is claimed of the trial for S6, decided before its first run (docs/interventions.md), and the answers of the kept runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dynamics.estimate import holm
from evidence.claim import Decision, Estimate, above, below, within
from evidence.registry import claim, experiment
from evidence.sources import MEHTA
from fullscale.interventions.arms import TRIALS
from fullscale.interventions.estimate import Record, effect
from fullscale.interventions.stored import KEPT, kept
from fullscale.studies import find_study
from fullscale.watched.claims import over_networks

POINTS = "points"
FIGURE = "interventions"
EXPERIMENTS = {name: f"interventions-{name}" for name in TRIALS}
_FURTHER = f"{MEHTA}, read further here"
_DERIVED = "derived here"
_EXPLORATORY = ", exploratory"


class Contrast(NamedTuple):
    """What is asked of one arm: a sentence that may not hold, who says so, the arm, and how its effect decides."""

    sentence: str
    source: str
    arm: str
    decision: Decision


# By what stands behind "S6 cause" in the claim's id: a family, judged together.
PRIMARY = {
    "size": Contrast(
        "Gradients a tenth as large, from a tenth of the training on, kill filters that would live.",
        _DERIVED, "scale 0.1", above(0),
    ),
    "size larger": Contrast(
        "Gradients ten times as large, from a tenth of the training on, save filters that would die.",
        _DERIVED, "scale 10", below(0),
    ),
    "rarity": Contrast(
        "Gradients that arrive at one step in ten, their mean square as before, kill filters that would live.",
        _FURTHER, "arrival 0.1", above(0),
    ),
    "rarity 0.01": Contrast(
        "Gradients that arrive at one step in a hundred, their mean square as before, kill filters that would live.",
        _FURTHER, "arrival 0.01", above(0),
    ),
    "regularizer": Contrast(
        "Without the regularizer, from a tenth of the training on, filters live that would die.",
        _FURTHER, "strength 0", below(0),
    ),
}  # fmt: skip
SECONDARY = {
    "rarity mean": Contrast(
        "Gradients that arrive at one step in ten, their mean as before, kill filters that would live.",
        _FURTHER + _EXPLORATORY, "arrival 0.1, mean kept", above(0),
    ),
    "memory shorter": Contrast(
        "A memory of squares of 100 steps in place of 1,000 kills filters that would live.",
        _DERIVED + _EXPLORATORY, "beta2 0.99", above(0),
    ),
    "memory longer": Contrast(
        "A memory of squares of 10,000 steps in place of 1,000 saves filters that would die.",
        _DERIVED + _EXPLORATORY, "beta2 0.9999", below(0),
    ),
}  # fmt: skip
# Of a sentence about two arms: the effect of the first minus that of the second.
BETWEEN = {
    "rarity size": (
        Contrast(
            "Of two ways to make gradients as small in mean square, the one that makes them rare kills more filters.",
            _FURTHER + _EXPLORATORY, "arrival 0.1, nothing kept", above(0),
        ),
        "scale 0.316",
    ),
    "rarity theory": (
        Contrast(
            "Gradients that are rare, p = 0.1, at equal mean square kill as many filters, within 10 points, as gradients that are "
            "smaller by sqrt(p).",
            _DERIVED + _EXPLORATORY, "arrival 0.1", within(-10, 10),
        ),
        "scale 0.316",
    ),
}  # fmt: skip


def cause(records: Sequence[Record], which: str) -> Estimate:
    """Share of the treated filters that are inactive at the end, minus that of the same filters in the untreated twin, one number a
    network. The treated filters, a quarter of each layer's active ones, were drawn by lot; the interval's level is by Holm's
    procedure over the five primary contrasts.
    """
    samples = {one: effect(records, contrast.arm) for one, contrast in PRIMARY.items()}
    if any(len(values) < 2 for values in samples.values()):
        return over_networks(samples[which], POINTS)
    return holm(samples, {one: [0.0] for one in samples}, POINTS)[which]


def cause_by(records: Sequence[Record], arm: str, of: str = "treated") -> Estimate:
    """Share of the treated filters that are inactive at the end, minus that of the same filters in the untreated twin, one number a
    network; for siblings, of the active filters that are not treated."""
    return over_networks(effect(records, arm, of), POINTS)


def cause_between(records: Sequence[Record], arm: str, other: str) -> Estimate:
    """Effect of one arm minus that of another on the same filters of the same network, one number a network."""
    first, second = ({r["seed"] for r in records if r["arm"] == name} for name in (arm, other))
    both = [record for record in records if record["seed"] in first & second]
    return over_networks(effect(both, arm) - effect(both, other), POINTS)


def bearing() -> dict[str, list[Record]]:
    """The kept runs, by experiment; without one of which there are none."""
    return {EXPERIMENTS[name]: records for name, records in kept().items()}


def _constants(name: str) -> dict[str, Any]:
    trial = TRIALS[name]
    study = find_study(trial.study)
    return {"kept": KEPT, "arms": list(trial.arms)} | dict(study.fixed) | {"seed": list(trial.seeds), "watch": False}


def _declare() -> None:
    for name, again in (("digits", "make interventions"), ("cifar", "make interventions DATA=PLACE")):
        experiment(EXPERIMENTS[name], lambda name=name: _constants(name), again)  # type: ignore[misc]
    for name, asked in PRIMARY.items():
        _claim(name, asked, which=name)(cause)
        if asked.arm in TRIALS["cifar"].arms:
            _claim(f"cifar {name}", asked, "cifar", arm=asked.arm)(cause_by)
    for name, asked in SECONDARY.items():
        _claim(name, asked, arm=asked.arm)(cause_by)
    for name, (asked, other) in BETWEEN.items():
        _claim(name, asked, arm=asked.arm, other=other)(cause_between)
    stays = "Without the regularizer of a quarter of the filters, within 5 points as many of the others die."
    asked = Contrast(stays, _DERIVED + _EXPLORATORY, "strength 0", within(-5, 5))
    _claim("siblings", asked, arm=asked.arm, of="siblings")(cause_by)


def _claim(name: str, asked: Contrast, data: str = "digits", **fixed: Any) -> Any:
    return claim(
        f"S6 cause {name}", sentence=asked.sentence, source=asked.source, experiment=EXPERIMENTS[data],
        decision=asked.decision, figure=FIGURE, margin="before", **fixed,
    )  # fmt: skip


_declare()
