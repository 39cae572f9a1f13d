"""What is claimed of the CNN experiment, and the data that bear on it. Each estimator can come out either way; what it claims
is declared on it, and found in `evidence.registry`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.errors import InputError
from dynamics.rules import RULES
from evidence.claim import Estimate, above, below, every_cell, mean_interval, never_above, spread, within
from evidence.registry import claim, experiment
from evidence.sources import MEHTA
from evidence.store import Store
from fullscale import digits_long, digits_study, lr_grid, pruning_claims, thresholds
from fullscale.digits_long import Cell
from fullscale.forecast import claims as forecasts
from fullscale.interventions import claims as interventions
from fullscale.lr_grid import indistinguishable
from fullscale.paper import kept as paper
from fullscale.studies import asked
from fullscale.studies.standing import Standing, of_images, standing
from fullscale.watched import claims as filters

if TYPE_CHECKING:
    import xarray as xr

_AGAIN = "undertow reproduce --only fullscale --fresh"
experiment("pocket", digits_study.constants, _AGAIN)
experiment(
    "grid",
    lambda: {"kept": lr_grid.KEPT} | lr_grid.kept()["spec"] | {"rates": lr_grid.rates()},
    "undertow study digits-lr",
)
experiment("thresholds", lambda: digits_study.constants() | {"thresholds": thresholds.decades()}, _AGAIN)
experiment(
    "long", lambda: {"kept": digits_long.KEPT} | digits_long.constants(), f"undertow study {digits_long.STUDY.name}"
)
_on_digits = partial(claim, source=MEHTA, experiment="pocket")
# Margins were committed before the first of these runs.
_at_length = partial(claim, source=MEHTA, experiment="long", margin="before")
_SHARE, _POINTS = "% of filters", "percentage points"
_STRICTER = MEHTA + ", made stricter here"
# Networks at chance level have no say in what a regularizer does.
TRAINED = 0.1
# By how many decades the thresholds are raised: by one, and as far as 1e-4 of the largest activation and 1e-1 of gamma.
RAISED = {"activation": (1, 8), "scale": (1, 2)}
# A test error is a number of images: one more or less is no difference.
_ONE_IMAGE = within(-1, 1)


def bearing(
    store: Store,
    stands: Standing,
    grid: Standing | None = None,
    long: Standing | None = None,
    watched: Standing | None = None,
) -> dict[str, Any]:
    """What the claims on digits look at, by experiment: the runs of `digits_study` and their thresholds, if the study is complete;
    the learning-rate grid, the runs of `digits_long` and the watched runs, as they are kept unless these studies are complete
    here; the interventions and the runs of the forecast as they are kept; and the comparisons of pruning criteria as they are
    stored, or kept.

    Raises InputError for a damaged row.
    """
    try:
        rates = lr_grid.of_study(grid) if grid is not None and grid.complete else lr_grid.kept()
        cells = digits_long.of_study(long) if long is not None and long.complete else digits_long.kept()
        records = filters.of_study(watched) if watched is not None and watched.complete else filters.kept()
        data = {"grid": rates, "long": cells, "watched": records}
        data |= {**interventions.bearing(), **forecasts.bearing(), **pruning_claims.bearing(store)}
        if not stands.complete:
            return data
        rows = [row for row in stands.rows if row is not None]
        return data | {"pocket": digits_study.curves_and_ends(rows), "thresholds": digits_study.swept(rows)}
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(f"store {store.path} holds a damaged run ({error!r}): run again with --fresh") from error


def stored(store: Store) -> tuple[dict[str, Any], dict[str, str]]:
    """`bearing` of the runs that are stored; and, by experiment, how a study stands of which only some are."""
    stands = standing(digits_study.STUDY, store, curves=True)
    # All are on the same images.
    studies = (lr_grid.STUDY, digits_long.STUDY, filters.STUDY)
    others = (of_images(study, asked(study), stands.found, store, curves=True) for study in studies)
    begun = stands.stored and not stands.complete
    incomplete = dict.fromkeys(("pocket", "thresholds"), stands.in_words()) if begun else {}
    found, missing = paper.bearing(store)
    if missing:
        incomplete[paper.NAME] = missing
    return bearing(store, stands, *others) | ({paper.NAME: found} if found else {}), incomplete


def _inactive(data: xr.Dataset, adaptive: bool) -> dict[str, np.ndarray]:
    """Optimizer -> inactive share by activation at the end of training with L2, in percent, one number a seed."""
    end = data["inactive_by_activation"].sel(strength=data.strength.values.max()).isel(epoch=-1)
    names = [str(name) for name in data.optimizer.values if RULES[str(name)].adaptive == adaptive]
    return {name: 100 * end.sel(optimizer=name).values for name in names}


def _between(adaptive: Mapping[str, np.ndarray], plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What each adaptive cell has more than each of the others, one number a seed."""
    return {f"{a} against {b}": of_a - of_b for a, of_a in adaptive.items() for b, of_b in plain.items()}


def _long(cells: Iterable[Cell], adaptive: bool) -> dict[str, np.ndarray]:
    """Cell with L2 -> inactive share by activation, in percent, one number a seed."""
    return {c.name: 100 * c.inactive for c in cells if c.l2 and RULES[c.optimizer].adaptive == adaptive}


def _left_out(adaptive: bool) -> list[str]:
    """The cells that were too long to be run."""
    return [f"{name} {lr:g}" for name, lr in digits_long.left_out() if RULES[name].adaptive == adaptive]


def _swept(cells: Iterable[Cell]) -> dict[str, list[Mapping[str, Any]]]:
    """Adaptive cell with L2 -> what the thresholds do to its networks, but for those that diverged."""
    return {c.name: [t for t in c.thresholds if t] for c in cells if c.l2 and RULES[c.optimizer].adaptive}


def _images(count: int) -> str:
    return f"test images that are wrong (of {count}: one is {100 / count:.2g} points)"


@_on_digits("S1", decision=above(1), source=_STRICTER)
def adaptive_sparsity(data: xr.Dataset) -> dict[str, Estimate]:
    """With every adaptive optimizer and L2, some filters of a CNN with BatchNorm and ReLU end up active for no image, at its tuned
    learning rate and 5,000 steps.

    Inactive share of the adaptive optimizer that has least, of Adam and RMSprop. Adam's tuned rate is a third of RMSprop's, so
    that L2 has had least time to act under it: "S1 any lr" gives it more.
    """
    return every_cell(_inactive(data, True), _SHARE)


@_at_length("S1 any lr", decision=above(1), source=_STRICTER)
def adaptive_sparsity_any_rate(cells: list[Cell]) -> dict[str, Estimate]:
    """With every adaptive optimizer and L2, some filters of a CNN with BatchNorm and ReLU end up active for no image, at every
    learning rate of like accuracy that reaches the optimizer's sum of learning rates within 50,000 steps.

    Inactive share of the cell that has least: Adam and RMSprop at rates that validation cannot tell from the best, each run
    until its sum of learning rates is that of 5,000 steps at the optimizer's highest of them.
    """
    return every_cell(_long(cells, True), _SHARE, left_out=dict.fromkeys(_left_out(True), 1))


@_at_length("S2", decision=never_above(0), margin="after")
def unregularized_sparsity(cells: list[Cell]) -> Estimate:
    """Without regularization no filter of a CNN with BatchNorm and ReLU falls silent, at any learning rate that trains.

    Inactive share without L2, one sample a network, for four optimizers and every rate of the grid that was made for runs with L2,
    5,000 steps. A rate trains if the test error of all its networks is below 10%, where chance is 90%.
    """
    free = [c for c in cells if not c.l2 and (c.test_error < TRAINED).all()]
    return spread(100 * np.concatenate([c.inactive for c in free]), f"{_SHARE}, over networks")


@_on_digits("S3", decision=above(0), source=_STRICTER)
def adaptive_excess(data: xr.Dataset) -> dict[str, Estimate]:
    """Every adaptive optimizer with L2 silences more filters than SGD and than momentum SGD with it, each at its tuned learning
    rate and 5,000 steps.

    Inactive share of an adaptive optimizer minus that of one of the others, paired by seed: the pair in which it is least.
    """
    return every_cell(_between(_inactive(data, True), _inactive(data, False)), _POINTS)


@_at_length("S3 any lr", decision=above(0), source=_STRICTER)
def adaptive_excess_any_rate(cells: list[Cell]) -> dict[str, Estimate]:
    """Every adaptive optimizer with L2 silences more filters than SGD and than momentum SGD with it, at every learning rate of like
    accuracy that reaches the optimizer's sum of learning rates within 50,000 steps.

    Inactive share of an adaptive cell minus that of one of the others, paired by seed: the pair in which it is least. Cells
    are the rates that validation cannot tell from the optimizer's best, each run until its sum of learning rates is that
    of 5,000 steps at the optimizer's highest of them: one sum for all rates of an optimizer, another for each optimizer.
    """
    adaptive, plain = (_long(cells, kind) for kind in (True, False))
    absent = [_left_out(kind) for kind in (True, False)]
    pairs = (len(adaptive) + len(absent[0])) * (len(plain) + len(absent[1])) - len(adaptive) * len(plain)
    words = f"all of {' and of '.join(absent[0] + absent[1])}"
    return every_cell(_between(adaptive, plain), _POINTS, left_out={words: pairs})


@claim("S3 any lr steps", source=_STRICTER, experiment="grid", decision=above(0))
def adaptive_excess_equal_steps(found: dict[str, Any]) -> dict[str, Estimate]:
    """Every adaptive optimizer with L2 silences more filters than SGD and than momentum SGD with it, at every learning rate of like
    accuracy, if all have 5,000 steps.

    Inactive share of an adaptive cell minus that of one of the others, paired by seed: the pair in which it is least. At a
    lower rate the sum of learning rates is smaller, and L2 has less time to act: this says how long runs are as much as how
    optimizers differ, which "S3 any lr" keeps apart.
    """

    def shares(adaptive: bool) -> dict[str, np.ndarray]:
        names = [name for name in found["chosen"] if RULES[name].adaptive == adaptive]
        cells = [cell for name in names for cell in indistinguishable(found, name)]
        each = {f"{c['optimizer']} {c['lr']:g}": c["each"]["inactive_by_activation"] for c in cells}
        return {name: 100 * np.array(values) for name, values in each.items()}

    return every_cell(_between(shares(True), shares(False)), _POINTS)


@_on_digits("S9", decision=_ONE_IMAGE, margin="after")
def error_change(data: xr.Dataset) -> Estimate:
    """Removing the filters that are inactive by activation, or constant, leaves the test error of every network as it was, up
    to one image.

    Test images that are wrong after the removal of inactive filters minus before, over every trained network that lost any.
    """
    count = int(data.attrs["test_images"])
    change = count * (data["error_after"] - data["error_before"]).where(data["removed"] > 0).values
    return spread(np.round(change[~np.isnan(change)], 6), _images(count))


@_at_length("S9 zeroing scale", decision=_ONE_IMAGE)
def zeroed_error_change(cells: list[Cell]) -> Estimate:
    """Putting the filters that are inactive by scale to 0 leaves the test error of every network as it was, up to one image.

    Test images that are wrong with the filters below 1e-3 by scale put to 0 minus those with all filters, over the networks
    of Adam and RMSprop with L2 that have any such filter.
    """
    networks = [(n, _at(n, "scale", 0)) for swept in _swept(cells).values() for n in swept]
    count = max(n["test_images"] for n, _ in networks)
    change = [n["error"]["scale"][k] - n["error_before"] for n, k in networks if n["sparsity"]["scale"][k] > 0]
    return spread(np.round(count * np.array(change), 6), _images(count))


def added_by(cells: list[Cell], measure: str, decades: int) -> dict[str, Estimate]:
    """Inactive share at the higher threshold minus that at the paper's, for Adam and RMSprop with L2 at rates of like accuracy,
    each optimizer's at one sum of learning rates: the cell in which it is most. Two points are the margin within which the
    study of CIFAR-10 calls two shares equal; the shares of three networks over thresholds were known when it was taken for
    this."""
    swept = {name: [_added(network, measure, decades) for network in found] for name, found in _swept(cells).items()}
    return every_cell(swept, _POINTS, left_out=dict.fromkeys(_left_out(True), 1))


def _added(network: Mapping[str, Any], measure: str, decades: int) -> float:
    share = network["sparsity"][measure]
    return 100 * float(share[_at(network, measure, decades)] - share[_at(network, measure, 0)])


def _at(network: Mapping[str, Any], measure: str, decades: int) -> int:
    """Where the paper's threshold stands in the list of a network, or one that many decades above it."""
    wanted = thresholds.MEASURES[measure] * 10.0**decades
    return int(np.argmin(np.abs(np.log10(network["thresholds"]) - np.log10(wanted))))


for _measure, _decades in ((m, d) for m, ds in RAISED.items() for d in ds):
    _from, _to = thresholds.MEASURES[_measure], float(f"{thresholds.MEASURES[_measure] * 10.0**_decades:.0e}")
    _at_length(
        f"S9 thresholds {_measure}" + (f" {_decades}" if _decades > 1 else ""),
        sentence=f"A higher threshold gives a comparable level: raised from the paper's {_from:g} to {_to:g}, it finds fewer than "
        f"two points more filters inactive by {_measure}, under every adaptive optimizer with L2.",
        source=f"{_STRICTER}, the two points chosen here",
        decision=below(2),
        figure="thresholds",
        measure=_measure,
        decades=_decades,
    )(added_by)


def flat_by(data: xr.Dataset, measure: str) -> Estimate:
    """Decades of thresholds around the paper's over which the share of inactive filters changes by less than a point. Three
    decades and one point were chosen with such networks at hand."""
    return mean_interval(data["flat"].sel(measure=measure).values, "decades", "seeds")


for _measure in thresholds.MEASURES:
    claim(
        f"S9 flat {_measure}",
        sentence=f"The share of filters that are inactive by {_measure} changes by less than a point over three decades around "
        "the paper's threshold, above it and below it, under RMSprop with L2.",
        source="made here",
        experiment="thresholds",
        decision=above(3),
        figure="thresholds",
        margin="after",
        measure=_measure,
    )(flat_by)
