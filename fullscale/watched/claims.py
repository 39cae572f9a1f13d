"""What is claimed of watched runs for S6: the questions, and the answers of the runs on digits that come with the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evidence.claim import Decision, Estimate, Margin, above, mean_interval
from evidence.registry import claim, experiment
from evidence.sources import MEHTA
from evidence.store import Store
from fullscale.studies import Study, find_study
from fullscale.studies.standing import Standing, standing
from fullscale.watched.estimate import Record, agreement, foretold, killed

STUDY: Study = find_study("digits-watched")
KEPT = "fullscale/studies/digits-watched.sqlite"
EARLY, LATER = 0.1, 0.3
AREA = "area under the ROC curve"
_FURTHER = f"{MEHTA}, read further here, exploratory"
_DERIVED = "derived here, exploratory"
Find = Callable[[Any], Sequence[Record]]


def over_networks(samples: Sequence[float] | NDArray[np.float64], unit: str) -> Estimate:
    """Mean and t-interval over networks, one a seed; those without a number (NaN) are left out, and counted in words.

    Of fewer than two that are left no estimate is made: all its numbers are NaN.
    """
    values = np.asarray(samples, dtype=float)
    known = values[np.isfinite(values)]
    if len(known) < 2:
        nan = float("nan")
        return Estimate(nan, nan, nan, len(known), unit, f"{len(known)} of {len(values)} networks have a number")
    found = mean_interval(known, unit, "seeds")
    out = len(values) - len(known)
    return replace(found, interval=f"{found.interval}, {out} of {len(values)} without a number") if out else found


def agreement_over(found: Any, records: Find, of: str) -> Estimate:
    """Spearman's rank correlation, within layers, of selectivity and the regularizer's share of the updates since the measured
    epoch before, over the filters active at 30% of the training, one number a network. On digits chosen after trial runs of other
    seeds had been looked at, on CIFAR-10 before the first watched run.
    """
    return over_networks(agreement(records(found), of, LATER), "rank correlation")


def foretold_over(found: Any, records: Find, moment: float) -> Estimate:
    """Share of all pairs in one layer, of a filter that is inactive at the end and one that is not, both active at the moment, in
    which the first is more selective, ties counting half, one number a network. On digits chosen after trial runs of other seeds
    had been looked at, on CIFAR-10 before the first watched run.
    """
    return over_networks(foretold(records(found), "selectivity", moment), AREA)


def scale_ahead(found: Any, records: Find) -> Estimate:
    """Area under the ROC curve, within layers, for being inactive at the end, over the filters active at 10% of the training, of a
    small abs(gamma) minus that of selectivity, one number a network. On digits chosen after trial runs of other seeds had been
    looked at, on CIFAR-10 before the first watched run.
    """
    scale, selectivity = (foretold(records(found), by, EARLY) for by in ("gamma", "selectivity"))
    return over_networks(scale - selectivity, f"more {AREA}")


def killed_over(found: Any, records: Find) -> Estimate:
    """Of the deaths by activation, the share in which the regularizer moved the filter's largest output farthest towards 0 since it
    was clearly alive, one number a network. Chosen after trial runs on digits of other seeds had been looked at.
    """
    return over_networks(100 * killed(records(found)), "% of deaths")


class Question(NamedTuple):
    """What is asked of watched runs: a sentence that may not hold, who says so, and how it is answered."""

    sentence: str
    source: str
    estimator: Callable[..., Estimate]
    fixed: dict[str, Any]
    decision: Decision


# By what stands behind "S6 digits" in the claim's id.
QUESTIONS = {
    "": Question(
        "Of a layer's active filters at 30% of the training, the more selective get the larger regularizer's share of the updates "
        "of their scales.",
        MEHTA, agreement_over, {"of": "gamma"}, above(0),
    ),
    "weights": Question(
        "Of a layer's active filters at 30% of the training, the more selective get the larger regularizer's share of the updates "
        "of their weights.",
        _FURTHER, agreement_over, {"of": "weights"}, above(0),
    ),
    "dies": Question(
        "Of a layer's filters that are active at 10% of the training, the more selective are inactive at its end.",
        _FURTHER, foretold_over, {"moment": EARLY}, above(0.5),
    ),
    "dies later": Question(
        "Of a layer's filters that are active at 30% of the training, the more selective are inactive at its end.",
        _FURTHER, foretold_over, {"moment": LATER}, above(0.5),
    ),
    "gamma": Question(
        "A small scale at 10% of the training tells better than high selectivity which active filters are inactive at the end.",
        _DERIVED, scale_ahead, {}, above(0),
    ),
    "killed": Question(
        "More than half of the filters that die are killed by the regularizer.", _DERIVED, killed_over, {}, above(50),
    ),
}  # fmt: skip


def declare(
    data: str,
    experiment: str,
    records: Find,
    names: Iterable[str] = QUESTIONS,
    margin: Margin = "with the data",
    figure: str = "",
) -> None:
    """Registers questions as claims on an experiment.

    Args:
        data: which images, as it stands in the id: "S6 digits".
        experiment: whose data bear on them.
        records: finds the watched runs' records in those data.
        names: of QUESTIONS.
        margin: when the decisions were chosen, as for `evidence.registry.claim`.
        figure: in which they are seen.

    Raises:
        InputError: for claims that are declared already.

    Example:
        >>> from evidence.registry import find_claims
        >>> declare("pets", "pets-watched", list, ["dies"])
        >>> find_claims(["S6 pets dies"])[0].experiment
        'pets-watched'
    """
    for name in names:
        asked = QUESTIONS[name]
        claim(
            f"S6 {data} {name}".strip(), sentence=asked.sentence, source=asked.source, experiment=experiment,
            decision=asked.decision, figure=figure, margin=margin, records=records, **asked.fixed,
        )(asked.estimator)  # fmt: skip


@cache
def kept() -> list[Record]:
    """The records of the runs that come with the package."""
    with (
        resources.as_file(resources.files("fullscale.studies").joinpath("digits-watched.sqlite")) as path,
        Store(path, reading=True) as store,
    ):
        return of_study(standing(STUDY, store, curves=True))


def of_study(stands: Standing) -> list[Record]:
    """The records of a study that is complete, of the runs that did not diverge."""
    return [row.curves["filters"] for row in stands.rows if row is not None and row.status == "done"]


experiment(
    "watched",
    lambda: {"kept": KEPT} | dict(STUDY.fixed) | {"seeds": STUDY.axes["seed"]},
    "undertow study digits-watched",
)
declare("digits", "watched", list, figure="watched")
