"""What all worlds do alike: named results, a grid of lanes, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.given import whole
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.simulate import random
from dynamics.simulate.lanes import Trajectory, simulate
from dynamics.simulate.schedules import Schedule

if TYPE_CHECKING:
    import xarray as xr

# From so many weight-steps on a compiled loop is faster, its compilation included; results are the same to the last bit.
_COMPILED = 50_000_000


def memory_of(rule: str) -> str:
    """The hyperparameter by which a rule forgets squares, "" for a rule that keeps none."""
    return RULES[rule].memory if rule in RULES else ""


def remembering(rule: str, beta2: float) -> dict[str, Any]:
    """The hyperparameters with which a rule keeps `beta2` of its mean square a step; none for a rule without one."""
    return {memory_of(rule): beta2} if memory_of(rule) else {}


def labelled(
    world: Any,
    data: Mapping[str, tuple[str | Sequence[str], Any]],
    coords: Mapping[str, Any] | None = None,
    words: Mapping[str, tuple[str, ...]] | None = None,
    **attrs: Any,
) -> xr.Dataset:
    """The results of a world with their names: data has (dimensions, values) for each variable.

    A dimension that coords does not give takes the world's field of its plural: of `arrivals` the values are those of
    arrival, of a whole number `seeds` seed counts them. words: (long name, units or none) of variables and coordinates.
    The dataset's attrs are the world's other constants that are numbers or texts, and `attrs`.
    """
    import xarray as xr

    held = {field.name: getattr(world, field.name) for field in fields(world)}
    given = dict(coords or {})
    for dims, _ in data.values():
        for name in (dims,) if isinstance(dims, str) else dims:
            plural = next((p for p in (f"{name}s", f"{name}es", f"{name[:-1]}ies", name) if p in held), None)
            if plural and name not in given:
                values = held.pop(plural)
                given[name] = range(values) if isinstance(values, int) else list(values)
    found = xr.Dataset({name: (dims, np.asarray(values)) for name, (dims, values) in data.items()}, given)
    for name, (long_name, *units) in (words or {}).items():
        found[name].attrs = {"long_name": long_name, **({"units": units[0]} if units else {})}
    return found.assign_attrs({name: x for name, x in held.items() if isinstance(x, int | float | str)} | attrs)


def spread_out(
    rule: str | Rule,
    coupling: Any,
    gradient: Callable[..., Any],
    shape: tuple[int, ...],
    *,
    record: Sequence[int] | np.ndarray,
    start: Any = 1.0,
    state: Mapping[str, Any] | None = None,
    schedule: Schedule | None = None,
    seed: Any = 0,
    stream: Any = 0,
    fields: Sequence[str] = ("w",),
    **lanes: Any,
) -> Trajectory:
    """`simulate` over a grid of lanes: every argument broadcasts against `shape`, and fields are (records, *shape).

    coupling: a name or an array of names. lanes: lr, strength, hyperparameters and the gradient's parameters. Lanes with one
    seed and one stream see the same random numbers.
    """

    def flat(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value), shape).ravel()

    found = simulate(
        rule,
        coupling if isinstance(coupling, str) else flat(coupling).tolist(),
        gradient,
        record=record,
        lanes={name: flat(value) for name, value in lanes.items()},
        start=flat(start),
        state={name: flat(value) for name, value in (state or {}).items()},
        schedule=schedule,
        seed=flat(seed),
        stream=flat(stream),
        fields=fields,
        compiled=int(np.prod(shape)) * int(record[-1]) > _COMPILED,
    )
    return Trajectory(found.steps, {name: kept.reshape(-1, *shape) for name, kept in found.fields.items()})


def column(values: Any, axis: int, axes: int) -> np.ndarray:
    """`values` along one of so many axes, for arrays that broadcast against a grid."""
    return np.reshape(values, [-1 if k == axis else 1 for k in range(axes)])


def numbers_of(steps: int, shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The simulator's two uniform numbers for each step, arrays of `shape`, whose first axis counts seeds.

    Raises InputError for more steps than the simulator counts.
    """
    whole("steps", steps, 0, 2**32 - 1)
    seed, *inner = np.indices(shape)
    stream = np.ravel_multi_index(inner, shape[1:]) if inner else np.zeros_like(seed)
    return islice(random.series(seed, stream), steps)


def normal(uniform: np.ndarray) -> np.ndarray:
    """Standard normal numbers, one of each uniform number in [0, 1) of 32 bits; 0 stands for the interval up to 2^-32."""
    from scipy.special import ndtri

    return np.asarray(ndtri(uniform + 2.0**-33))
