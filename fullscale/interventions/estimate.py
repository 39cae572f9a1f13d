"""What the trial says, one number a network: filters of one network share it, so they are no samples of their own.

The treated filters of a network were drawn by lot, and its untreated twin has the same ones: what differs between the two is
the treatment and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynamics.door import checked
from dynamics.given import among

Record = Mapping[str, Any]
NONE = "none"
OF = ("treated", "siblings")


@checked
def effect(records: Sequence[Record], arm: str, of: str = "treated") -> NDArray[np.float64]:
    """Deaths that an arm adds: share of the treated filters inactive at the end, minus that of the same ones in the twin.

    Args:
        records: arms of networks, as `fullscale.interventions.stored.records` gives them.
        arm: one of `fullscale.interventions.arms.ARMS`.
        of: "treated", or "siblings" for the filters that were active at the moment of treatment and are not treated.

    Returns:
        A number a network that has the arm and its twin, in points, in the order of the seeds; above 0 the arm kills.

    Raises:
        InputError: for another word than these two.

    Example:
        >>> twin = {"seed": 0, "alive": [1, 1, 1], "treated": [1, 1, 0], "died": [None, 9, None], "arm": "none"}
        >>> effect([twin, twin | {"arm": "scale 0.1", "died": [7, 9, None]}], "scale 0.1")
        array([50.])
    """
    return _differences(records, arm, of, lambda record: np.array([d is not None for d in record["died"]], dtype=float))


@checked
def lost_life(records: Sequence[Record], arm: str, of: str = "treated") -> NDArray[np.float64]:
    """As `effect`, of the share of the time since the moment that a filter is inactive for good: above 0 the arm kills earlier.

    Args:
        records: as `effect` takes them.
        arm: the same.
        of: the same.

    Returns:
        A number a network, in points. A filter counts as inactive from the first measured epoch on from which it is so to the end.

    Raises:
        InputError: as `effect`.

    Example:
        >>> twin = {"seed": 0, "alive": [1], "treated": [1], "died": [9], "arm": "none", "moment": 1, "epochs": 11}
        >>> lost_life([twin, twin | {"arm": "scale 0.1", "died": [6]}], "scale 0.1")
        array([30.])
    """

    def lost(record: Record) -> NDArray[np.float64]:
        end, moment = record["epochs"], record["moment"]
        died = np.array([end if d is None else d for d in record["died"]], dtype=float)
        return np.asarray((end - died) / (end - moment))

    return _differences(records, arm, of, lost)


@checked
def moved(records: Sequence[Record], arm: str, column: str) -> NDArray[np.float64]:
    """What an arm does to a column of the treated filters that live: its mean at the end, minus that of the same ones in the twin.

    Args:
        records: as `effect` takes them.
        arm: the same.
        column: one of `fullscale.interventions.run.COLUMNS`.

    Returns:
        A number a network, in the column's unit, over the treated filters that are active at the end of both; NaN without any.

    Example:
        >>> twin = {"seed": 0, "alive": [1, 1], "treated": [1, 1], "died": [None, 9], "arm": "none", "gamma": [0.5, 0.0]}
        >>> moved([twin, twin | {"arm": "scale 10", "died": [None, None], "gamma": [0.75, 0.5]}], "scale 10", "gamma")
        array([0.25])
    """
    by = {(record["seed"], record["arm"]): record for record in records}
    found = []
    for seed in seeds(records, arm):
        own, twin = by[seed, arm], by[seed, NONE]
        lives = np.array([d is None for d in own["died"]]) & np.array([d is None for d in twin["died"]])
        lives &= np.array(twin["treated"], dtype=bool)
        differences = np.subtract(own[column], twin[column])[lives]
        found.append(float(differences.mean()) if lives.any() else np.nan)
    return np.array(found)


def seeds(records: Sequence[Record], arm: str) -> list[int]:
    """The networks that have an arm and its twin."""
    have = [{record["seed"] for record in records if record["arm"] == name} for name in (arm, NONE)]
    return sorted(have[0] & have[1])


def _differences(records: Sequence[Record], arm: str, of: str, number: Any) -> NDArray[np.float64]:
    among("of", of, OF)
    by = {(record["seed"], record["arm"]): record for record in records}
    found = []
    for seed in seeds(records, arm):
        twin = by[seed, NONE]
        treated = np.array(twin["treated"], dtype=bool)
        which = treated if of == "treated" else np.array(twin["alive"], dtype=bool) & ~treated
        found.append(100 * float((number(by[seed, arm]) - number(twin))[which].mean()))
    return np.array(found)
