"""From the cells of a study to runs: names and values checked, before any data are read, and made one RunSpec each."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

from dynamics.couplings import find_coupling
from dynamics.door import checked
from dynamics.errors import InputError
from dynamics.given import suggestion
from dynamics.rules import RULES, find_rule
from fullscale.spec import RunSpec
from fullscale.studies.file import Study

# Of a RunSpec, what no study sets: found from the data, from the rule's own names, or not about many runs.
_NOT_SET = ("digest", "hyper", "start", "processes", "sync_batchnorm")
_KINDS = {name: kind for name, kind in typing.get_type_hints(RunSpec).items() if name not in _NOT_SET}
# What is left out is as in `undertow train`.
DEFAULTS = {"optimizer": "adam", "width": 0.125, "batch": 40, "epochs": 10, "seed": 0}


class Source(NamedTuple):
    """The images of a run. data: the study's word for them, "" if it leaves them to --data."""

    data: str
    classes: tuple[str, ...] = ()
    size: int = 0
    label_noise: float = 0.0


@dataclass(frozen=True)
class Found:
    """What is known of the images of a Source once they were read.

    counts: training images of each class; shape: (C, H, W); asked: classes, size and label_noise in the form that a key holds.
    """

    digest: str
    name: str
    counts: tuple[int, ...]
    shape: tuple[int, ...]
    asked: Mapping[str, Any]

    def training(self, spec: RunSpec) -> int:
        """The images that a run trains on: what is left beside a part that `Images.validation` takes."""
        share = spec.validation or spec.held_out
        given = sum(min(max(round(share * n), 1), n - 1) for n in self.counts) if share else 0
        return sum(self.counts) - given


@dataclass(frozen=True)
class Asked:
    """One run of a study before its data are read.

    Args:
        cell: the study's names with the values that they have in this run, None for what its rule does not have.
        source: its images.
        spec: all else, without digest.
        steps: that its epochs shall come closest to; 0: the epochs are given.
    """

    cell: dict[str, Any]
    source: Source
    spec: RunSpec
    steps: int = 0

    def on(self, found: Found) -> RunSpec:
        """The run on images that are known; InputError if they have no whole batch."""
        left = found.training(self.spec)
        if left < self.spec.batch:
            raise InputError(f"batch {self.spec.batch}: {found.name} has {left} training images, one batch is accepted")
        epochs = max(1, round(self.steps / (left // self.spec.batch))) if self.steps else self.spec.epochs
        every = min(self.spec.measure_every, epochs)
        return replace(self.spec, digest=found.digest, epochs=epochs, measure_every=every, **found.asked)


@checked
def asked(study: Study) -> list[Asked]:
    """The runs of a study in its order, each once.

    Args:
        study: any.

    Returns:
        One Asked a run. Cells that come to the same run, as those without a regularizer do at every strength, are one.

    Raises:
        InputError: for unknown names, and for a run that cannot be: all are looked at, the first is told.
    """
    accepted = ["data", "steps", *_KINDS, *dict.fromkeys(name for rule in RULES.values() for name in rule.defaults)]
    for name in study.product.names:
        if name not in accepted:
            near = suggestion(name, accepted)
            raise InputError(f"{name!r} of study {study.name} is unknown: accepted are {', '.join(accepted)}{near}")
    runs: dict[Any, Asked] = {}
    cells, wrong = study.cells(), []
    varied = study.product.varied()
    for cell in cells:
        try:
            run = _asked(cell, study.product.names)
        except InputError as error:
            said = ", ".join(f"{name} {cell[name]}" for name in varied if name in cell)
            wrong.append(f"({said}): {error}" if said else f": {error}")
            continue
        runs.setdefault((run.source, run.spec, run.steps), run)
    if wrong:
        raise InputError(f"study {study.name}: {len(wrong)} of {len(cells)} runs cannot be, the first {wrong[0]}")
    return list(runs.values())


def _asked(cell: Mapping[str, Any], names: Sequence[str]) -> Asked:
    given = {name: _typed(name, value) for name, value in cell.items()}
    if "steps" in given and "epochs" in given:
        raise InputError(f"steps {given['steps']} and epochs {given['epochs']}: one of them is accepted")
    numbers: dict[str, Any] = DEFAULTS | {name: value for name, value in given.items() if name in _KINDS}
    rule = find_rule(numbers["optimizer"])
    numbers.setdefault("lr", rule.lr)
    numbers |= _regularizer(given)
    hyper = {name: value for name, value in given.items() if name not in (*_KINDS, "data", "steps")}
    full = rule.hyperparameters(**hyper)
    # What is at its default is left out, so that naming it changes no key.
    numbers["hyper"] = tuple((name, full[name]) for name in hyper if full[name] != rule.defaults[name])
    if "classes" in numbers:
        numbers["classes"] = tuple(sorted(set(numbers["classes"])))
    source = Source(given.get("data", ""), **{name: numbers[name] for name in Source._fields if name in numbers})
    steps = given.get("steps", 0)
    if "steps" in given and steps < 1:
        raise InputError(f"steps {steps}: a positive whole number is accepted")
    spec = RunSpec(digest="", **numbers)
    have = {name: getattr(spec, name) for name in _KINDS} | full | dict(cell)
    have |= {"coupling": spec.coupling, "strength": spec.strength}
    return Asked({name: have.get(name) for name in names}, source, spec, steps)


def _regularizer(given: Mapping[str, Any]) -> dict[str, Any]:
    """Coupling and strength: without one there is none of the other."""
    coupling, strength = given.get("coupling"), given.get("strength")
    if coupling is None and strength:
        raise InputError(f"strength {strength:g} without a coupling: name one, e.g. coupling l2")
    if strength is None and coupling not in (None, "none"):
        raise InputError(f"coupling {coupling!r} without a strength: give one, e.g. strength 1e-4")
    if coupling in (None, "none") or not strength:
        if coupling is not None:
            find_coupling(coupling)
        return {"coupling": "none", "strength": 0.0}
    return {"coupling": coupling, "strength": strength}


def _typed(name: str, value: Any) -> Any:
    """The value as its field has it; InputError if it is of another kind."""
    kind = _KINDS.get(name, {"data": str, "steps": int}.get(name, float))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is bool:
        return value if isinstance(value, bool) else _refuse(name, value, "true or false is")
    if kind is int:
        # Beyond 2^63 no field goes.
        whole = number and abs(value) < 2**63 and value == int(value)
        return int(value) if whole else _refuse(name, value, "a whole number is")
    if kind is float:
        # A whole number beyond all floating-point ones is none.
        return float(value) if number and abs(value) <= sys.float_info.max else _refuse(name, value, "a number is")
    if typing.get_origin(kind) is tuple:
        words = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return tuple(value) if words else _refuse(name, value, "a list of words is")
    return value if isinstance(value, str) else _refuse(name, value, "a word is")


def _refuse(name: str, value: Any, accepted: str) -> NoReturn:
    raise InputError(f"{name} {value!r}: {accepted} accepted")


@checked
def on_images(runs: Iterable[Asked], found: Mapping[Source, Found]) -> list[tuple[Asked, RunSpec]]:
    """The runs on their images, in the same order; what comes to the same run on these, as a size that they have anyway, is
    one. Raises InputError as `Asked.on`."""
    made: dict[RunSpec, Asked] = {}
    for run in runs:
        made.setdefault(run.on(found[run.source]), run)
    return [(run, spec) for spec, run in made.items()]
