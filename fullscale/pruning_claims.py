"""What the comparison of pruning criteria found: labelled data, statements with intervals, and the outcome as it is kept."""

from __future__ import annotations

import json
from functools import partial
from importlib import metadata, resources
from typing import Any

import numpy as np
import xarray as xr

from dynamics.errors import InputError
from evidence.claim import Estimate, Finding, above, below, mean_interval, within
from evidence.registry import claim, experiment, find_claims, judged
from evidence.sources import MEHTA
from evidence.store import Row, Store, environment

KIND = "compare"
# Points of test error that a removal may cost and still be called one without loss: 3.6 images of the digits.
PRICE = 0.01
COSTS = ("reached", "parameters", "multiply_adds")


def by_criterion(rows: list[Row], name: str) -> xr.Dataset:
    """The rows of one comparison as labelled data; NaN where a network diverged or a criterion was not tried.

    test_error (training, criterion, share, tuned, seed), tuned "no" or "yes"; reached, the share of filters removed, and
    parameters and multiply_adds (training, criterion, share, seed). For the removal of dead filters dead_error (training, tuned,
    seed), dead_reached, dead_parameters, dead_multiply_adds (training, seed). At share 0 is the network itself.
    Raises InputError if every network diverged.
    """
    trainings = list(dict.fromkeys(row.spec["base"]["name"] for row in rows))
    criteria = list(dict.fromkeys(c for row in rows for c in row.spec["base"]["criteria"]))
    seeds = list(dict.fromkeys(row.spec["seed"] for row in rows))
    shares = [0.0, *rows[0].spec["shares"]]
    if all(row.status != "done" for row in rows):
        raise InputError("every network of the comparison diverged: nothing is left to look at")
    axes, ends = ("training", "criterion", "share", "seed"), ("training", "seed")
    coords = {"training": trainings, "criterion": criteria, "share": shares, "seed": seeds, "tuned": ["no", "yes"]}
    named: dict[str, tuple[str, ...]] = dict.fromkeys(COSTS, axes) | {f"dead_{key}": ends for key in COSTS}
    named |= {"test_error": (*axes, "tuned"), "dead_error": (*ends, "tuned")}
    cells = {name: np.full([len(coords[axis]) for axis in along], np.nan) for name, along in named.items()}
    for row in rows:
        t, k = trainings.index(row.spec["base"]["name"]), seeds.index(row.spec["seed"])
        for point in row.summary.get("points", ()):
            if point["criterion"] == "dead":
                for key in (*COSTS, "error"):
                    cells[f"dead_{key}"][t, k] = point[key]
                continue
            # The network itself is where every criterion that was tried begins.
            whole = point["criterion"] == "whole"
            for criterion in row.spec["base"]["criteria"] if whole else [point["criterion"]]:
                cell = t, criteria.index(criterion), shares.index(point["share"]), k
                cells["test_error"][cell] = point["error"]
                for key in COSTS:
                    cells[key][cell] = point[key]
    data = xr.Dataset({name: (along, cells[name]) for name, along in named.items()}, coords)
    spec = rows[0].spec
    data.attrs = {key: spec[key] for key in ("width", "batch", "epochs", "tuning_steps")} | {"data": name}
    data.attrs["bases"] = {row.spec["base"]["name"]: row.spec["base"] for row in rows}
    return data


def affordable(
    data: xr.Dataset, training: str, criterion: str, tuned: str, ceiling: xr.DataArray | None = None
) -> np.ndarray:
    """(seed,): the share of filters up to which a removal costs at most PRICE of test error, between shares by straight lines.

    ceiling (seed,): the error that must not be passed, instead of the untouched network's plus PRICE. The largest share that
    was tried, where it never is.
    """
    at = data.sel(training=training, criterion=criterion)
    if ceiling is None:
        ceiling = at.test_error.sel(share=0.0, tuned="no") + PRICE
    found = []
    for seed in data.seed.values:
        one = at.sel(seed=seed)
        error, share = one.test_error.sel(tuned=tuned).values, one.reached.values
        limit = float(ceiling.sel(seed=seed))
        over = np.flatnonzero(~(error <= limit))
        if len(over) == 0:
            found.append(share[-1])
        elif over[0] == 0:
            found.append(0.0 if np.isfinite(error[0]) else np.nan)
        else:
            i = over[0]
            found.append(share[i - 1] + (share[i] - share[i - 1]) * (limit - error[i - 1]) / (error[i] - error[i - 1]))
    return np.array(found)


def better(data: xr.Dataset, training: str, one: str, other: str) -> Estimate:
    """Points of filters that the one order can remove more than the other, at a loss of at most 1 point of test error after
    fine-tuning; one sample a seed."""
    more = affordable(data, training, one, "yes") - affordable(data, training, other, "yes")
    return mean_interval(100 * more, "points of filters more", "seeds")


_ORDERS = {"selective": "over the whole network", "selective_layer": "in every layer alike"}
_OTHERS = {"random": "chance", "gamma": "the smallest abs(gamma) (Liu et al.)"}
_NETWORKS = {"adam": "Adam and strong L2", "momentum": "momentum and weak L2"}
experiment("compare", lambda: {"kept": "fullscale/compared.json"} | kept().attrs, "undertow compare")
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
    ceiling = data.dead_error.sel(training="adam", tuned="no") + PRICE
    silenced = data.dead_reached.sel(training="adam").values
    more = silenced - affordable(data, training, criterion, "yes", ceiling)
    return mean_interval(100 * more, "points of filters more", "seeds")


def findings(data: xr.Dataset) -> list[Finding]:
    """The verdicts of the claims on the comparison."""
    return judged(find_claims(experiments=["compare"]), {"compare": data})


def table(data: xr.Dataset) -> list[dict[str, Any]]:
    """What each criterion can remove at a price of PRICE: training, criterion, tuned, and the mean share of filters over seeds
    with its 95% t-interval; for "dead" the share that was silent, and in `error` what its removal changed."""
    rows: list[dict[str, Any]] = []
    for training in data.training.values:
        silent = mean_interval(data.dead_reached.sel(training=training).values, "", "seeds")
        before = data.test_error.sel(training=training, criterion="gamma", share=0.0, tuned="no")
        change = data.dead_error.sel(training=training, tuned="no") - before
        rows.append(_row(training, "dead", "no", silent) | {"error": float(np.abs(change).max())})
        for criterion in data.criterion.values:
            for tuned in ("no", "yes"):
                share = affordable(data, training, criterion, tuned)
                if np.isfinite(share).any():
                    rows.append(_row(training, criterion, tuned, mean_interval(share, "", "seeds")))
    return rows


def _row(training: str, criterion: str, tuned: str, share: Estimate) -> dict[str, Any]:
    named = {"training": str(training), "criterion": str(criterion), "tuned": tuned}
    return named | {"share": share.value, "low": share.low, "high": share.high, "n": share.n}


def outcome(data: xr.Dataset) -> dict[str, Any]:
    """All of it as plain data for JSON: versions, table, findings, and the dataset with null for NaN."""
    judgements = [
        {"id": f.claim.id, "sentence": f.claim.sentence, "verdict": f.verdict, "rule": f.holds_if}
        | {name: _plain(getattr(f.estimate, name)) for name in ("value", "low", "high", "n", "unit", "interval")}
        for f in findings(data)
    ]
    versions = environment() | {"torch-pruning": metadata.version("torch-pruning")}
    parts = {"versions": versions, "price": PRICE, "table": table(data), "findings": judgements, "data": data.to_dict()}
    return {name: _plain(part) for name, part in parts.items()}


def as_text(data: xr.Dataset) -> str:
    """The outcome as JSON, one line a part."""
    parts = (f"{json.dumps(name)}: {json.dumps(part, allow_nan=False)}" for name, part in outcome(data).items())
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def kept() -> xr.Dataset:
    """The comparison that fullscale/compared.json holds."""
    stored = json.loads(resources.files("fullscale").joinpath("compared.json").read_text())
    return xr.Dataset.from_dict(stored["data"]).map(lambda part: part.astype(float), keep_attrs=True)


def stored(store: Store, digest: str) -> xr.Dataset:
    """The comparison that is kept, as `undertow compare` has run it again on the images of this digest; the kept one itself
    where not all of that is stored."""
    data = kept()
    shared = {name: data.attrs[name] for name in ("width", "batch", "epochs", "tuning_steps")}
    shared |= {"digest": digest, "shares": data.share.values[1:].tolist()}
    specs = [shared | {"base": b, "seed": int(k)} for b in data.attrs["bases"].values() for k in data.seed.values]
    rows = [row for spec in specs if (row := store.get(KIND, spec)) is not None]
    return by_criterion(rows, data.attrs["data"]) if len(rows) == len(specs) else data
