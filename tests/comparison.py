"""Comparisons of pruning criteria with numbers that are known: each criterion's error rises in a straight line from a share on."""

from __future__ import annotations

from typing import Any

import xarray as xr

from evidence.store import Row, key_of
from fullscale.pruning_data import by_criterion
from fullscale.pruning_study import KIND

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CRITERIA = ("l1", "gamma", "random", "selective", "selective_layer")
# The share up to which each costs nothing; the network's own error is 2%.
FREE = {"l1": 0.6, "gamma": 0.5, "random": 0.1, "selective": 0.3, "selective_layer": 0.4}
OWN, SLOPE = 0.02, 1.0
DEAD = {"adam": 0.5, "momentum": 0.0, "slimming": 0.3}
# At one error, as the study paper compares: what is tried on each, the whole networks' errors.
TRIED = {"adam": (), "momentum": ("l1",), "slimming": ("gamma",)}
WHOLE = {"adam": 0.255, "momentum": 0.25, "slimming": 0.26}


def row(
    training: str, seed: int, free: dict[str, float], dead: float, status: str = "done", own: float = OWN, **spec: Any
) -> Row:
    """A stored row; fine-tuning moves the share by 0.1, and a seed by a thousandth."""
    criteria = spec.pop("criteria", ("gamma",) if training == "slimming" else CRITERIA)
    base = {"name": training, "optimizer": "adam", "lr": 0.01, "strength": 5e-3, "criteria": criteria}
    base["slimming"] = 1e-3 if training == "slimming" else 0.0
    asked = {"model": "basicnet", "width": 0.125, "batch": 16, "epochs": 56, "tuning_steps": 100 if criteria else 0}
    asked |= {"held_out": 0.0, "digest": "9d6b", "shares": SHARES, "seed": seed, "base": base} | spec
    points = [point("whole", 0.0, [own, own]), point("dead", dead, [own, own])]
    for criterion in criteria:
        for share in SHARES:
            start = free[criterion] + 0.001 * seed
            each = [own + SLOPE * max(0.0, share - start - moved) for moved in (0.0, 0.1)]
            points.append(point(criterion, share, each))
    found = {"images": "digits", "points": points, "seconds": 1.0} if status == "done" else {}
    return Row(key_of(KIND, asked), KIND, asked, status, found, {}, {}, "", "2026-01-01T00:00:00.000+00:00")


def point(criterion: str, share: float, error: list[float]) -> dict[str, Any]:
    """One network that was cut."""
    cost = {"parameters": round(1000 * (1 - share)), "multiply_adds": round(9000 * (1 - share))}
    return {"criterion": criterion, "share": share, "reached": share, "error": error} | cost


def rows(free: dict[str, float] | None = None, dead: dict[str, float] | None = None, seeds: int = 3) -> list[Row]:
    """All rows of a comparison."""
    known, silent = FREE | (free or {}), DEAD | (dead or {})
    return [row(t, seed, known, silent[t]) for t in silent for seed in range(seeds)]


def comparison(
    free: dict[str, float] | None = None, dead: dict[str, float] | None = None, seeds: int = 3
) -> xr.Dataset:
    """The dataset of these rows."""
    return by_criterion(rows(free, dead, seeds))


def at_one_error(
    free: dict[str, float] | None = None,
    dead: float = DEAD["adam"],
    whole: dict[str, float] | None = None,
    lost: tuple[str, ...] = (),
) -> list[Row]:
    """Rows as the study paper asks for: Adam's networks are not cut. lost: trainings of which the first network diverged."""
    known, errors = FREE | (free or {}), WHOLE | (whole or {})
    more: dict[str, Any] = {"model": "vgg16", "batch": 40, "epochs": 10}
    return [
        row(
            t,
            seed,
            known,
            dead + 0.002 * seed if t == "adam" else 0.0,
            "diverged" if t in lost and seed == 2 else "done",
            own=errors[t],
            criteria=TRIED[t],
            **more,
        )
        for t in TRIED
        for seed in (2, 3, 4)
    ]
