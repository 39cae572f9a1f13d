"""The plain data beside a network in its file: each part has one form, and another one is neither written nor read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from dynamics.errors import InputError
from dynamics.given import flag, number, shown, text, whole

# Characters of all of it: the curves of 200,000 epochs. Beyond it, what is read may be many times as large in memory.
LONGEST = 2**25


def check_notes(notes: Any) -> dict[str, Any]:
    """The notes of a file, those of a training run by their names: spec, optimizer, epoch, curves, seconds.

    Other names are the user's own and hold what they like. Raises InputError, naming the part, for another form.
    """
    found = _names("notes", notes)
    for name, check in PARTS.items():
        if name in found:
            check(name, found[name])
    return found


def as_text(data: Mapping[str, Any]) -> str:
    """Plain data as JSON. Raises InputError for what is none."""
    try:
        made = json.dumps(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"notes {shown(data.get('notes'))} ({error}): plain data for JSON are accepted") from error
    if len(made) > LONGEST:
        raise InputError(f"notes of {len(made):,} characters: up to {LONGEST:,} are accepted")
    return made


def _names(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InputError(f"{what} {shown(value)}: names with values are accepted")
    return dict(value)


def _spec(name: str, value: Any) -> None:
    text(f"digest of {name}", _names(name, value).get("digest"))


def _optimizer(name: str, value: Any) -> None:
    found = _names(name, value)
    if found.keys() != {"rule", "clocks", "training"}:
        raise InputError(f"{name} with {shown(sorted(found))}: rule, clocks and training are accepted")
    text(f"rule of {name}", found["rule"])
    flag(f"training of {name}", found["training"])
    for parameter, clock in _names(f"clocks of {name}", found["clocks"]).items():
        for part, at in _names(f"clock of {shown(parameter)}", clock).items():
            number(f"{shown(part)} of the clock of {shown(parameter)}", at)


def _curves(name: str, value: Any) -> None:
    lengths = set()
    for curve, points in _names(name, value).items():
        if not isinstance(points, list):
            raise InputError(f"{name} {shown(curve)} {shown(points)}: a list of numbers is accepted")
        for point in points:
            number(f"{name} {shown(curve)}", point)
        lengths.add(len(points))
    if len(lengths) > 1:
        raise InputError(f"{name} of {min(lengths)} and {max(lengths)} points: as many of each are accepted")


PARTS: dict[str, Callable[[str, Any], object]] = {
    "spec": _spec,
    "optimizer": _optimizer,
    "epoch": lambda name, value: whole(name, value, 0),
    "curves": _curves,
    "seconds": lambda name, value: number(name, value, 0),
}
