"""The toy worlds together: one process a core, one rule a task.

A rule's compiled loop costs more than most simulations with it, so all worlds of one rule run where it was compiled.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from typing import Any

import xarray as xr

from synthetic.selective import Selective
from synthetic.silence import Silence

World = Silence | Selective
WORLDS: Mapping[str, World] = {"silence": Silence(), "selective": Selective()}

# Called after each rule: rules done, rules in all, a line on what happened.
Notify = Callable[[int, int, str], None]


def _one_rule(worlds: Mapping[str, World], rule: str) -> dict[str, dict[str, Any]]:
    return {name: replace(world, rules=(rule,)).run().to_dict() for name, world in worlds.items()}


def run(worlds: Mapping[str, World], notify: Notify) -> dict[str, xr.Dataset]:
    """The dataset of each world; the rules of all worlds are the tasks, and a rule's seeds do not depend on the others."""
    rules = list(dict.fromkeys(rule for world in worlds.values() for rule in world.rules))
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    context = multiprocessing.get_context("spawn")
    workers = min(len(rules), len(os.sched_getaffinity(0)))
    # Ctrl-C reaches the whole group: a worker just ends, without a traceback of its own.
    quietly: Any = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_DFL)}
    with ProcessPoolExecutor(workers, mp_context=context, **quietly) as pool:
        tasks = {
            pool.submit(_one_rule, {name: w for name, w in worlds.items() if rule in w.rules}, rule): rule
            for rule in rules
        }
        for done, task in enumerate(as_completed(tasks), 1):
            parts[tasks[task]] = task.result()
            notify(done, len(rules), f"{tasks[task]}: {', '.join(parts[tasks[task]])}")
    return {name: _joined([parts[rule][name] for rule in world.rules]) for name, world in worlds.items()}


def _joined(parts: list[dict[str, Any]]) -> xr.Dataset:
    datasets = [xr.Dataset.from_dict(part) for part in parts]
    return xr.concat(datasets, "optimizer", combine_attrs="identical", join="exact")
