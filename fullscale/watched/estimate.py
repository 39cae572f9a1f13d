"""What watched runs say of claim S6, one number a network: filters of one network share it, so they are no samples of their own.

Two questions are asked within layers, since layers differ in everything. Does the regularizer's share of a filter's updates
rise with its selectivity (`agreement`)? And which of the filters that are active early are inactive at the end (`foretold`)?
A third one is of what filters die (`killed`).

Active is by activation, as the paper has it. A moment is a share of the training, taken at the measured epoch that comes
nearest to it. What a record sums up, such as the share, is of the steps between the measurement before that epoch and it.

On digits all this was defined after trial runs there had been looked at: in them selectivity hardly told which filters
die (area 0.53 at 10% of the training) and abs(gamma) did (0.94). For CIFAR-10 it was fixed before its first watched run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynamics.door import checked
from fullscale.thresholds import INACTIVE_ACTIVATION

Record = Mapping[str, Any]
# What may tell which filters die, and whether it is said to by being large.
SIGNS = {
    "selectivity": True,
    "gamma": False,
    "square_gamma": False,
    "square_weights": False,
    "share_gamma": True,
    "share_weights": True,
    "arrival": False,
}
# Of fewer filters in a layer no correlation is taken.
FEWEST = 3


@checked
def agreement(records: Sequence[Record], of: str = "gamma", moment: float = 0.3) -> NDArray[np.float64]:
    """Rank correlation, within layers, of selectivity and the regularizer's share, over the filters active at a moment.

    Args:
        records: of watched runs, as `fullscale.watched.run.Watch.table` gives them.
        of: whose updates: "gamma" or "weights".
        moment: share of the training, in (0, 1).

    Returns:
        A number a record: Spearman's rank correlation in each layer, their mean weighted by the layers' active filters. A
        layer of fewer than 3 active filters, or in which all are equally selective or have equal shares, is left out;
        NaN where no layer is left.

    Example:
        >>> record = {"layers": [3], "epochs": [1, 3], "peak": [[1, 1, 1]] * 2, "selectivity": [[0.1, 0.2, 0.3]] * 2}
        >>> agreement([record | {"share_gamma": [[0.2, 0.3, 0.9]] * 2}])
        array([1.])

    Source:
        S6 of Mehta, Kim, Theobalt, arXiv 1905.04967: selective features see more regularization.
    """
    return np.array([_agreement(record, f"share_{of}", moment) for record in records])


@checked
def foretold(records: Sequence[Record], by: str = "selectivity", moment: float = 0.1) -> NDArray[np.float64]:
    """How well one of SIGNS tells, at a moment, which of the active filters are inactive at the end.

    Args:
        records: as `agreement` takes them.
        by: one of SIGNS.
        moment: share of the training, in (0, 1).

    Returns:
        A number a record, the area under the ROC curve within layers: the share of all pairs, in one layer, of a filter that
        is inactive at the end and one that is not, in which the sign is stronger in the first; ties count half. 0.5 tells
        nothing; NaN where there is no such pair.

    Example:
        >>> record = {"layers": [3], "epochs": [1, 9], "peak": [[1, 1, 1], [0, 1, 1]], "dead_by_activation": [1, 0, 0]}
        >>> foretold([record | {"gamma": [[0.2, 0.1, 0.3], [0, 1, 1]]}], by="gamma")
        array([0.5])
    """
    return np.array([_foretold(record, by, moment) for record in records])


@checked
def killed(records: Sequence[Record], cause: str = "regularizer") -> NDArray[np.float64]:
    """Of each network's deaths by activation, the share that has this cause (`fullscale.monitor.causes`).

    Args:
        records: as `agreement` takes them.
        cause: one of `fullscale.monitor.causes.CAUSES`.

    Returns:
        A number a record, in [0, 1]; NaN where no filter died.

    Example:
        >>> killed([{"deaths": {"cause": ["regularizer", "noise"]}}, {"deaths": {"cause": []}}])
        array([0.5, nan])
    """
    causes = [record["deaths"]["cause"] for record in records]
    return np.array([each.count(cause) / len(each) if each else np.nan for each in causes])


def at(record: Record, moment: float) -> int:
    """The row of a record that is nearest to a share of the training, the earlier of two."""
    epochs = np.array(record["epochs"], dtype=float)
    return int(np.argmin(abs(epochs - moment * epochs[-1])))


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places from 1 upwards, ties at their mean."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def _agreement(record: Record, share: str, moment: float) -> float:
    found, filters = [], []
    for active, selectivity, shares in _by_layer(record, moment, "selectivity", share):
        x, y = selectivity[active], shares[active]
        if len(x) >= FEWEST and len(np.unique(x)) > 1 and len(np.unique(y)) > 1:
            found.append(np.corrcoef(ranks(x), ranks(y))[0, 1])
            filters.append(len(x))
    return float(np.average(found, weights=filters)) if found else np.nan


def _foretold(record: Record, by: str, moment: float) -> float:
    before = pairs = 0.0
    ends = np.split(np.array(record["dead_by_activation"]) == 1, np.cumsum(record["layers"])[:-1])
    for (active, values), end in zip(_by_layer(record, moment, by), ends, strict=True):
        dies = end[active]
        places = ranks(values[active] if SIGNS[by] else -values[active])
        n = int(dies.sum())
        before += places[dies].sum() - n * (n + 1) / 2
        pairs += n * (len(dies) - n)
    return before / pairs if pairs else np.nan


def _by_layer(record: Record, moment: float, *names: str) -> list[tuple[NDArray[Any], ...]]:
    """Of each layer which filters are active, and have all of these columns, and the columns."""
    row = at(record, moment)
    columns = [np.array(record[name][row], dtype=float) for name in names]
    active = np.array(record["peak"][row]) >= INACTIVE_ACTIVATION
    active &= np.isfinite(columns).all(axis=0)
    cuts = np.cumsum(record["layers"])[:-1]
    return list(zip(*(np.split(x, cuts) for x in (active, *columns)), strict=True))
