"""A comparison of pruning criteria with numbers that are known: each criterion's error rises in a straight line from a share on."""

from __future__ import annotations

from typing import Any

import xarray as xr

from evidence.store import Row
from fullscale.pruning_claims import by_criterion

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CRITERIA = ("l1", "gamma", "random", "selective", "selective_layer")
# The share up to which each costs nothing; the network's own error is 2%.
FREE = {"l1": 0.6, "gamma": 0.5, "random": 0.1, "selective": 0.3, "selective_layer": 0.4}
OWN, SLOPE = 0.02, 1.0
DEAD = {"adam": 0.5, "momentum": 0.0, "slimming": 0.3}


def row(training: str, seed: int, free: dict[str, float], dead: float, status: str = "done") -> Row:
    """A stored row; fine-tuning moves the share by 0.1, and a seed by a thousandth."""
    criteria = ("gamma",) if training == "slimming" else CRITERIA
    base = {"name": training, "optimizer": "adam", "lr": 0.01, "strength": 5e-3, "criteria": criteria}
    base["slimming"] = 1e-3 if training == "slimming" else 0.0
    own = {"width": 0.125, "batch": 16, "epochs": 56, "tuning_steps": 100, "shares": SHARES, "seed": seed, "base": base}
    points = [point("whole", 0.0, [OWN, OWN]), point("dead", dead, [OWN, OWN])]
    for criterion in criteria:
        for share in SHARES:
            start = free[criterion] + 0.001 * seed
            each = [OWN + SLOPE * max(0.0, share - start - moved) for moved in (0.0, 0.1)]
            points.append(point(criterion, share, each))
    return Row("", "compare", own, status, {"points": points} if status == "done" else {}, {}, {}, "", "")


def point(criterion: str, share: float, error: list[float]) -> dict[str, Any]:
    """One network that was cut."""
    cost = {"parameters": round(1000 * (1 - share)), "multiply_adds": round(9000 * (1 - share))}
    return {"criterion": criterion, "share": share, "reached": share, "error": error} | cost


def comparison(
    free: dict[str, float] | None = None, dead: dict[str, float] | None = None, seeds: int = 3
) -> xr.Dataset:
    """The dataset of these rows."""
    known, silent = FREE | (free or {}), DEAD | (dead or {})
    return by_criterion([row(t, seed, known, silent[t]) for t in silent for seed in range(seeds)], "digits")
