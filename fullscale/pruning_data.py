"""What a comparison of pruning criteria left, as labelled data: from its rows, from those that come with the package, read off
as shares of filters that can go at a price."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.errors import InputError
from dynamics.estimate import mean_interval
from evidence.store import Row, Store, key_of
from fullscale.pruning_study import DIGITS, KIND, PAPER, PAPER_RATES, check_row

if TYPE_CHECKING:
    import xarray as xr

# Points of test error that a removal may cost and still be called one without loss: 3.6 images of the digits.
PRICE = 0.01
COSTS = ("reached", "parameters", "multiply_adds")
# Where the rows of a comparison are kept.
KEPT = {"digits": "compared.json", PAPER_RATES.name: "paper-6-rates.json", PAPER.name: "paper-6-pruning.json"}


def by_criterion(rows: Sequence[Row]) -> xr.Dataset:
    """The rows of one comparison as labelled data; NaN where a network diverged or a criterion was not tried.

    test_error (training, criterion, share, tuned, seed), tuned "no" or "yes"; reached, the share of filters removed, and
    parameters and multiply_adds (training, criterion, share, seed). For the removal of dead filters dead_error (training, tuned,
    seed), dead_reached, dead_parameters, dead_multiply_adds (training, seed). At share 0 is the network itself, whose errors on
    test and held-out images are also whole_error and whole_held_out (training, tuned, seed).
    Raises InputError if every network diverged.
    """
    import xarray as xr

    trainings = list(dict.fromkeys(row.spec["base"]["name"] for row in rows))
    criteria = list(dict.fromkeys(c for row in rows for c in row.spec["base"]["criteria"]))
    seeds = list(dict.fromkeys(row.spec["seed"] for row in rows))
    shares = [0.0, *rows[0].spec["shares"]]
    done = [row for row in rows if row.status == "done"]
    if not done:
        raise InputError("every network of the comparison diverged: nothing is left to look at")
    axes, ends = ("training", "criterion", "share", "seed"), ("training", "seed")
    coords = {"training": trainings, "criterion": criteria, "share": shares, "seed": seeds, "tuned": ["no", "yes"]}
    named: dict[str, tuple[str, ...]] = dict.fromkeys(COSTS, axes) | {f"dead_{key}": ends for key in COSTS}
    named |= dict.fromkeys(("dead_error", "whole_error", "whole_held_out"), (*ends, "tuned"))
    named |= {"test_error": (*axes, "tuned")}
    cells = {name: np.full([len(coords[axis]) for axis in along], np.nan) for name, along in named.items()}
    for row in done:
        t, k = trainings.index(row.spec["base"]["name"]), seeds.index(row.spec["seed"])
        for point in row.summary["points"]:
            if point["criterion"] == "dead":
                for key in (*COSTS, "error"):
                    cells[f"dead_{key}"][t, k] = point[key]
                continue
            # The network itself is where every criterion that was tried begins.
            whole = point["criterion"] == "whole"
            if whole:
                cells["whole_error"][t, k] = point["error"]
                cells["whole_held_out"][t, k] = point.get("held_out", np.nan)
            for criterion in row.spec["base"]["criteria"] if whole else [point["criterion"]]:
                cell = t, criteria.index(criterion), shares.index(point["share"]), k
                cells["test_error"][cell] = point["error"]
                for key in COSTS:
                    cells[key][cell] = point[key]
    data = xr.Dataset({name: (along, cells[name]) for name, along in named.items()}, coords)
    data.attrs = {key: rows[0].spec[key] for key in ("model", "width", "batch")}
    data.attrs["data"] = done[0].summary["images"]
    own = ("epochs", "tuning_steps")
    data.attrs["bases"] = {r.spec["base"]["name"]: r.spec["base"] | {key: r.spec[key] for key in own} for r in rows}
    return data


def uncut(data: xr.Dataset) -> list[str]:
    """The trainings of which the dead filters alone are removed: beside them, all is compared at one test error."""
    return [name for name, base in data.attrs["bases"].items() if not base["criteria"]]


def ceiling(data: xr.Dataset, training: str) -> xr.DataArray:
    """(seed,): the test error that a removal may not pass: PRICE above that of the whole network, as trained; where all is
    compared at one error, of the network trained by momentum."""
    own: xr.DataArray = data.whole_error.sel(training="momentum" if uncut(data) else training, tuned="no")
    return own + PRICE


def silenced(data: xr.Dataset, training: str) -> np.ndarray:
    """(seed,): the share of filters that training has silenced; 0 where the network is above the `ceiling`, NaN where one that
    this needs diverged."""
    import xarray as xr

    one = data.sel(training=training)
    above = one.dead_error.sel(tuned="no") - ceiling(data, training)
    return np.asarray(xr.where(above > 0, 0.0, one.dead_reached + 0 * above))


def affordable(
    data: xr.Dataset, training: str, criterion: str, tuned: str, limit: xr.DataArray | None = None
) -> np.ndarray:
    """(seed,): the share of filters up to which a removal keeps below a test error, between shares by straight lines.

    limit (seed,): that error; None: `ceiling`. The largest share that was tried, where it never passes it; 0 where the network
    itself does; NaN where a network diverged.
    """
    top = ceiling(data, training) if limit is None else limit
    at = data.sel(training=training, criterion=criterion)
    found = []
    for seed in data.seed.values:
        one = at.sel(seed=seed)
        error, share = one.test_error.sel(tuned=tuned).values, one.reached.values
        most = float(top.sel(seed=seed))
        over = np.flatnonzero(~(error <= most))
        if len(over) == 0:
            found.append(share[-1])
        elif over[0] == 0:
            found.append(0.0 if np.isfinite(error[0] + most) else np.nan)
        else:
            i = over[0]
            found.append(share[i - 1] + (share[i] - share[i - 1]) * (most - error[i - 1]) / (error[i] - error[i - 1]))
    return np.array(found)


def whole(data: xr.Dataset) -> list[dict[str, Any]]:
    """Of each training, the mean over seeds of the whole network's errors on test and held-out images (None where there are none)
    and of its share of dead filters, which leaves out networks that diverged, with their number n."""
    rows = []
    for name in data.training.values:
        one = data.sel(training=name)
        means = {
            "test_error": one.whole_error.sel(tuned="no").mean(),
            "held_out": one.whole_held_out.sel(tuned="no").mean(),
        }
        means |= {"dead": one.dead_reached.mean()}
        count = int(one.dead_reached.count())
        rows.append({"training": str(name)} | {key: plain(float(mean)) for key, mean in means.items()} | {"n": count})
    return rows


def chosen(data: xr.Dataset) -> list[str]:
    """Of trainings whose names have the same first word, the one of lowest mean held-out error; none without held-out images,
    and never one of which a network diverged."""
    found: dict[str, str] = {}
    error = data.whole_held_out.sel(tuned="no").mean("seed", skipna=False)
    for name in data.training.values[np.argsort(error.values, kind="stable")]:
        if np.isfinite(error.sel(training=name)):
            found.setdefault(str(name).split()[0], str(name))
    return list(found.values())


def table(data: xr.Dataset) -> list[dict[str, Any]]:
    """What each criterion can remove below the `ceiling`: training, criterion, tuned, and the mean share of filters over seeds
    with its 95% t-interval; for "dead" the share that was silent, and in `error` what its removal changed."""
    rows: list[dict[str, Any]] = []
    for training in data.training.values:
        one = data.sel(training=training)
        change = (one.dead_error - one.whole_error).sel(tuned="no")
        rows.append(_row(training, "dead", "no", one.dead_reached.values) | {"error": float(np.abs(change).max())})
        for criterion in data.criterion.values:
            for tuned in ("no", "yes"):
                share = affordable(data, training, criterion, tuned)
                if np.isfinite(share).any():
                    rows.append(_row(training, criterion, tuned, share))
    return rows


def _row(training: str, criterion: str, tuned: str, shares: np.ndarray) -> dict[str, Any]:
    share = mean_interval(shares, "", "seeds")
    named = {"training": str(training), "criterion": str(criterion), "tuned": tuned}
    return named | {"share": share.value, "low": share.low, "high": share.high, "n": share.n}


def plain(value: Any) -> Any:
    """The same for JSON: lists for tuples, None for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def kept_rows(name: str = DIGITS.name) -> list[Row]:
    """The rows of a comparison that come with the package; none where it has not been run yet."""
    file = resources.files("fullscale").joinpath(KEPT[name])
    if not file.is_file():
        return []
    found = json.loads(file.read_text())["rows"]
    return [Row(key_of(KIND, row["spec"]), KIND, curves={}, **row) for row in found]


def stored(store: Store, name: str = DIGITS.name) -> list[Row]:
    """The rows of a comparison that come with the package, or, where all of them have been run again, those in the store."""
    kept = kept_rows(name)
    keys = [key_of(KIND, one.spec) for one in kept]
    found = store.find(keys, check=check_row)
    again = [found[key] for key in keys if key in found and found[key].status != "failed"]
    return again if len(again) == len(kept) else kept
