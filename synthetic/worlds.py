"""The toy worlds together, on all cores: which there are, and how they are run."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, Protocol

import xarray as xr

from dynamics.errors import InputError
from synthetic.batch_rest import BatchRest
from synthetic.bounded import Bounded
from synthetic.capacity import Capacity
from synthetic.compete import Compete
from synthetic.cone import Cone
from synthetic.decays import Decays
from synthetic.difficulty import Difficulty
from synthetic.feature import Feature
from synthetic.laws import Laws
from synthetic.minibatch import MiniBatch
from synthetic.noise import Noise
from synthetic.noisy_quadratic import NoisyQuadratic
from synthetic.phase import Phase
from synthetic.plane import Plane
from synthetic.quadratic import Quadratic
from synthetic.residue import Residue
from synthetic.rest import Rest
from synthetic.scale_invariant import ScaleInvariant
from synthetic.scheduled import Scheduled
from synthetic.selective import Selective
from synthetic.selectivity import Selectivity
from synthetic.silence import Silence
from synthetic.stability import Stability
from synthetic.starvation import Starvation
from synthetic.visits import Visits
from synthetic.walk import Walk


class World(Protocol):
    """A frozen dataclass of an experiment's constants."""

    def run(self, threads: int = 1) -> xr.Dataset:
        """What happened in it, with named dimensions."""


WORLDS: Mapping[str, World] = {
    "silence": Silence(),
    "laws": Laws(),
    "selective": Selective(),
    "selectivity": Selectivity(),
    "visits": Visits(),
    "rest": Rest(),
    "phase_selectivity": Phase("selectivity"),
    "phase_rate": Phase("rate"),
    "phase_batch": Phase("batch"),
    "phase_epoch": Phase("epoch"),
    "minibatch": MiniBatch(),
    "decays": Decays(),
    "starvation": Starvation(),
    "batch_rest": BatchRest(),
    "capacity": Capacity(),
    "difficulty": Difficulty(),
    "plane": Plane(),
    "cone": Cone(),
    "residue": Residue(),
    "walk": Walk(),
    "feature": Feature(),
    "compete": Compete(),
    "noise": Noise(),
    "scale_invariant": ScaleInvariant(),
    "quadratic": Quadratic(),
    "noisy_quadratic": NoisyQuadratic(),
    "stability": Stability(),
    "bounded": Bounded(),
    "scheduled": Scheduled(),
}
# Worlds that need the compiler, which costs more to start than they do: one process runs them one after the other.
# What takes longest comes first.
_TOGETHER = (("phase_selectivity", "phase_rate", "phase_batch", "phase_epoch"),)

# Called after each task: tasks done, tasks in all, a line on what happened.
Notify = Callable[[int, int, str], None]


def find_world(name: str) -> World:
    """The world of that name; InputError for an unknown one."""
    if name not in WORLDS:
        raise InputError(f"world {name!r} is unknown: accepted are {', '.join(WORLDS)}")
    return WORLDS[name]


@contextmanager
def processes() -> Iterator[Executor]:
    """A process a core. Ctrl-C reaches the whole group: a worker just ends, without a traceback of its own."""
    # A server imports once what all need, and is without threads when it forks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["synthetic.worlds"])
    quietly: Any = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_DFL)}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context, **quietly) as pool:
        yield pool


def run(worlds: Mapping[str, World], notify: Notify, pool: Executor) -> dict[str, dict[str, Any]]:
    """What `Dataset.to_dict` gives of each world."""
    tasks = [[name for name in names if name in worlds] for names in (*_TOGETHER, *_alone(worlds))]
    tasks = [names for names in tasks if names]
    found: dict[str, dict[str, Any]] = {}
    waiting = {pool.submit(_one_task, {name: worlds[name] for name in names}): names for names in tasks}
    for done, task in enumerate(as_completed(waiting), 1):
        found |= task.result()
        notify(done, len(tasks), ", ".join(waiting[task]))
    return found


def _alone(worlds: Iterable[str]) -> list[tuple[str]]:
    grouped = {name for names in _TOGETHER for name in names}
    return [(name,) for name in worlds if name not in grouped]


def _one_task(worlds: Mapping[str, World]) -> dict[str, dict[str, Any]]:
    return {name: world.run().to_dict() for name, world in worlds.items()}
