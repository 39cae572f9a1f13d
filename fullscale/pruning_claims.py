"""What the comparisons of pruning criteria found: statements with intervals, and the outcome as it is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.estimate import Estimate, holm, mean_interval
from evidence.claim import Finding, above, below, within
from evidence.registry import claim, experiment, find_claims, judged
from evidence.sources import MEHTA
from evidence.store import Row, Store, environment
from fullscale.pruning_data import KEPT, PRICE, affordable, by_criterion, plain, silenced, stored, table, whole
from fullscale.pruning_study import DIGITS, PAPER

if TYPE_CHECKING:
    import xarray as xr


def better(data: xr.Dataset, training: str, one: str, other: str) -> Estimate:
    """Points of filters that the one order can remove more than the other, at a loss of at most 1 point of test error after
    fine-tuning; one sample a seed."""
    more = affordable(data, training, one, "yes") - affordable(data, training, other, "yes")
    return mean_interval(100 * more, "points of filters more", "seeds")


_ORDERS = {"selective": "over the whole network", "selective_layer": "in every layer alike"}
_OTHERS = {"random": "chance", "gamma": "the smallest abs(gamma) (Liu et al.)"}
_NETWORKS = {"adam": "Adam and strong L2", "momentum": "momentum and weak L2"}
experiment("compare", lambda: {"kept": f"fullscale/{KEPT['digits']}"} | DIGITS.constants(), "undertow compare")
experiment(PAPER.name, PAPER.constants, f"undertow compare {PAPER.name} --data PATH")
_compare = partial(claim, experiment="compare", figure="pruning")
for _training, _by in _NETWORKS.items():
    for _order, _how in _ORDERS.items():
        for _other, _further in (("random", True), ("gamma", False)):
            _compare(
                f"S12 {_order} {_other} {_training}",
                sentence=f"Removing the most selective features {_how} can go {'further' if _further else 'less far'} without "
                f"loss than {_OTHERS[_other]}, in networks trained by {_by}.",
                source=f"derived from {MEHTA}",
                decision=above(0) if _further else below(0),
                training=_training,
                one=_order,
                other=_other,
            )(better)


@_compare(
    "S10 l1",
    sentence="Adam and L2 silence more filters than L1 norms (Li et al.) can remove from a network trained by momentum, at "
    "equal test error.",
    source=MEHTA,
    decision=above(0),
    training="momentum",
    criterion="l1",
)
@_compare(
    "S10 gamma",
    sentence="Adam and L2 silence about as many filters as abs(gamma) can remove from a network trained by momentum with L1 on "
    "gamma (Liu et al.), at equal test error.",
    source=MEHTA,
    decision=within(-10, 10),
    training="slimming",
    criterion="gamma",
)
def beside_dead(data: xr.Dataset, training: str, criterion: str) -> Estimate:
    """Points of filters that Adam + L2 silences beyond what the criterion can remove after fine-tuning, without passing the
    silenced network's test error by more than 1 point; one sample a seed."""
    limit = data.dead_error.sel(training="adam", tuned="no") + PRICE
    more = data.dead_reached.sel(training="adam").values - affordable(data, training, criterion, "yes", limit)
    return mean_interval(100 * more, "points of filters more", "seeds")


# By training and criterion, with the margins of docs/protocol.md, which were set before the first run.
_CONTRASTS = {"momentum l1": above(5), "slimming gamma": within(-5, 5)}
_on_vgg = partial(claim, source=MEHTA, experiment=PAPER.name, figure="pruning_vgg16", margin="before")


@_on_vgg(
    "S10 cifar l1",
    sentence="Adam and L2 silence more of VGG-16's filters than L1 norms (Li et al.) can remove after training by momentum, "
    "at equal test error and equal steps of training.",
    decision=_CONTRASTS["momentum l1"],
    contrast="momentum l1",
)
@_on_vgg(
    "S10 cifar slimming",
    sentence="Adam and L2 silence about as many of VGG-16's filters as Network Slimming (Liu et al.) can remove, at equal test "
    "error and equal steps of training.",
    decision=_CONTRASTS["slimming gamma"],
    contrast="slimming gamma",
)
def at_one_error(data: xr.Dataset, contrast: str) -> Estimate:
    """Points of filters that Adam + L2 silences beyond what the criterion removes, fine-tuning included: each at a test error
    at most 1 point above that of the momentum network before any cut. Of a network that is above it untouched, no filter
    counts. One sample a seed; the intervals of the two contrasts are Holm's."""
    pairs = {name: name.split() for name in _CONTRASTS}
    samples = {
        name: 100 * (silenced(data, "adam") - affordable(data, one, by, "yes")) for name, (one, by) in pairs.items()
    }
    margins = {name: [end for end in (d.low, d.high) if np.isfinite(end)] for name, d in _CONTRASTS.items()}
    return holm(samples, margins, "points of filters more")[contrast]


def findings(data: xr.Dataset, name: str = DIGITS.name) -> list[Finding]:
    """The verdicts of the claims on a comparison."""
    experiment = "compare" if name == DIGITS.name else name
    return judged(find_claims(experiments=[experiment]), {experiment: data})


def outcome(rows: Sequence[Row], name: str = DIGITS.name) -> dict[str, Any]:
    """All of it as plain data for JSON: versions, means, table, findings, and the rows without their keys."""
    data = by_criterion(rows)
    judgements = [
        {"id": f.claim.id, "sentence": f.claim.sentence, "verdict": f.verdict, "rule": f.holds_if}
        | {part: getattr(f.estimate, part) for part in ("value", "low", "high", "n", "unit", "interval")}
        for f in findings(data, name)
    ]
    parts = {
        "versions": environment() | {"torch-pruning": metadata.version("torch-pruning")},
        "price": PRICE,
        "whole": whole(data),
        "table": table(data) if data.sizes["criterion"] else [],
        "findings": judgements,
        "rows": [{part: getattr(row, part) for part in _ROW} for row in rows],
    }
    return {part: plain(value) for part, value in parts.items()}


_ROW = ("finished", "status", "error", "spec", "environment", "summary")


def as_text(rows: Sequence[Row], name: str = DIGITS.name) -> str:
    """The outcome as JSON, one line a part and one a row."""
    *parts, (_, each) = outcome(rows, name).items()
    lines = [f"{_line(part)}: {_line(value)}" for part, value in parts]
    found = ",\n".join(map(_line, each))
    return "{\n" + ",\n".join([*lines, f'"rows": [\n{found}\n]']) + "\n}\n"


def _line(part: Any) -> str:
    return json.dumps(part, allow_nan=False)


def bearing(store: Store) -> dict[str, xr.Dataset]:
    """What the claims on comparisons look at, by experiment, of those that are `stored`."""
    rows = {"compare": stored(store), PAPER.name: stored(store, PAPER.name)}
    return {experiment: by_criterion(found) for experiment, found in rows.items() if found}
