"""What the figures of the study paper show, as labelled data (`figures.optimizers`, `figures.matched`, `figures.knobs`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fullscale.paper.cells import PAIRED, RUN, TABLE, Cell
from fullscale.paper.contrasts import BATCHES, COUNTS, WIDTHS, Looked, Samples, by_task
from fullscale.paper.rates import OPTIMIZERS
from fullscale.paper.secondary import STRENGTHS, at_steps_of, by_rate, by_strength

if TYPE_CHECKING:
    import xarray as xr

COUPLINGS = ("none", "l2", "decoupled_schedule")
ATTRIBUTES = {"network": "BasicNet at 1/8 width", "data": "CIFAR-10 (JPEG copy, 16 x 16 pixels)"}
EPOCHS = ATTRIBUTES | {"data": f"{ATTRIBUTES['data']}, {RUN.epochs} epochs"}


def by_optimizer(seen: Looked) -> xr.Dataset:
    """Inactive filters and test error, in percent, with L2 1e-3, the paper's decay of that strength and without a regularizer.

    Args:
        seen: the runs.

    Returns:
        `inactive` and `test_error` over (optimizer, coupling, seed), NaN where a run diverged; `lr` over optimizer, the best.
    """
    import xarray as xr

    axes = ("optimizer", "coupling", "seed")
    numbers = {
        name: np.array([[seen.number(of, o, TABLE, coupling=c) for c in COUPLINGS] for o in OPTIMIZERS])
        for name, of in (("inactive", "inactive_by_activation"), ("test_error", "test_error"))
    }
    coords: dict[str, Any] = {"optimizer": list(OPTIMIZERS), "coupling": list(COUPLINGS), "seed": list(TABLE)}
    coords["lr"] = ("optimizer", [seen.found.best(o) for o in OPTIMIZERS])
    return xr.Dataset({name: (axes, v) for name, v in numbers.items()}, coords, EPOCHS | {"strength": RUN.strength})


def by_error(seen: Looked) -> xr.Dataset:
    """Inactive filters, test and held-out error, in percent: every cell of the table and of the learning rates, on its seeds.

    Args:
        seen: the runs.

    Returns:
        `inactive`, `test_error` and `held_out_error` over (optimizer, coupling, cell, seed), NaN where a run diverged or there is
        no such cell;
        `lr` and `strength` over (optimizer, coupling, cell).
    """
    import xarray as xr

    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in seen.cells.all():
        spec = cell.spec
        ours = cell is seen.cells.find(
            optimizer=spec.optimizer, coupling=spec.coupling, lr=spec.lr, strength=spec.strength
        )
        if ours and spec.coupling in COUPLINGS and all(seed in cell.rows for seed in TABLE):
            found.setdefault((spec.optimizer, spec.coupling), []).append(cell)
    most = max(map(len, found.values()), default=0)
    shape = (len(OPTIMIZERS), len(COUPLINGS), most)
    numbers = {name: np.full((*shape, len(TABLE)), np.nan) for name in ("inactive", "test_error", "held_out_error")}
    settings = {name: np.full(shape, np.nan) for name in ("lr", "strength")}
    for (optimizer, coupling), cells in found.items():
        for k, cell in enumerate(sorted(cells, key=lambda cell: (cell.spec.lr, cell.spec.strength))):
            at = OPTIMIZERS.index(optimizer), COUPLINGS.index(coupling), k
            numbers["inactive"][at] = cell.numbers("inactive_by_activation", TABLE)
            for name in ("test_error", "held_out_error"):
                numbers[name][at] = cell.numbers(name, TABLE)
            settings["lr"][at], settings["strength"][at] = cell.spec.lr, cell.spec.strength
    axes = ("optimizer", "coupling", "cell")
    coords: dict[str, Any] = {"optimizer": list(OPTIMIZERS), "coupling": list(COUPLINGS), "seed": list(TABLE)}
    coords |= {name: (axes, values) for name, values in settings.items()}
    return xr.Dataset({name: ((*axes, "seed"), v) for name, v in numbers.items()}, coords, EPOCHS)


def by_knob(seen: Looked) -> xr.Dataset:
    """Inactive filters in percent as one knob of the training is turned, under Adam with L2.

    Args:
        seen: the runs.

    Returns:
        `inactive` over (knob, level, seed), NaN where a run diverged, was not asked for or the knob has no such level;
        `value` over (knob, level); `asked` over (knob, seed).
    """
    import xarray as xr

    knobs: dict[str, tuple[Sequence[float], Sequence[int], Callable[[], Sequence[Samples]]]] = {
        "batch at equal epochs": (BATCHES, PAIRED, lambda: [seen.inactive(batch=b) for b in BATCHES]),
        "batch at equal steps": (BATCHES, TABLE, lambda: at_steps_of(seen)),
        "width": (WIDTHS, PAIRED, lambda: [seen.inactive(width=w) for w in WIDTHS]),
        "classes": (COUNTS, PAIRED, lambda: by_task(seen, 0.0)),
        "classes with 20% random labels": (COUNTS, TABLE, lambda: by_task(seen, 0.2, TABLE)),
        "strength": (STRENGTHS[1:], TABLE, lambda: by_strength(seen)[1:]),
        "learning rate": (sorted(seen.found.errors["adam"]), TABLE, lambda: by_rate(seen)),
    }
    most = max(len(levels) for levels, *_ in knobs.values())
    inactive = np.full((len(knobs), most, len(PAIRED)), np.nan)
    value = np.full((len(knobs), most), np.nan)
    asked = [[seed in seeds for seed in PAIRED] for _, seeds, _ in knobs.values()]
    for k, (levels, seeds, shares) in enumerate(knobs.values()):
        value[k, : len(levels)] = levels
        inactive[k, : len(levels), [PAIRED.index(seed) for seed in seeds]] = np.array(shares()).T
    coords: dict[str, Any] = {"knob": list(knobs), "seed": list(PAIRED)}
    coords |= {"value": (("knob", "level"), value), "asked": (("knob", "seed"), asked)}
    return xr.Dataset(
        {"inactive": (("knob", "level", "seed"), inactive)}, coords, ATTRIBUTES | {"optimizer": "Adam with L2"}
    )
