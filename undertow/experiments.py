"""All experiments and claims that there are: importing this declares those of the package."""

from __future__ import annotations

from pathlib import Path

import fullscale.claims
import fullscale.paper.claims  # noqa: F401
import synthetic.claims
import synthetic.worlds  # noqa: F401
from dynamics.given import among
from evidence.registry import load_worlds, worlds
from undertow.extras import needs_fullscale

PARTS = ("synthetic", "fullscale")


def declare(file: Path | None) -> None:
    """Declares what a user's file adds, too (`evidence.registry.load_worlds`). Also called in each worker process."""
    if file is not None:
        load_worlds(file)


def check_part(only: str | None) -> None:
    """InputError for what is no part of all experiments, and where what it needs is not installed."""
    if only is not None:
        among("part", only, (*PARTS, *worlds()))
    if only in (None, "fullscale"):
        needs_fullscale()
