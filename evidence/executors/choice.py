"""The executor that was asked for by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dynamics.errors import InputError
from evidence.executors.local import check_place, processes

NAMES = ("local", "slurm", "ray")
_ADDRESS = re.compile(r"(ray://)?[^:/\s]+:\d+")


def check_executor(asked: str, parameters: Mapping[str, Any] | None = None) -> None:
    """InputError for an executor that there is not, that needs what is not installed, or that does not take these parameters,
    which are SLURM's; nothing is started or written."""
    if asked not in NAMES and not _ADDRESS.fullmatch(asked):
        raise InputError(f"executor {asked!r} is unknown: {', '.join(NAMES)} or a Ray cluster's HOST:PORT is accepted")
    if asked == "local":
        check_place()
    package = {"local": "", "slurm": "submitit"}.get(asked, "ray")
    if package and find_spec(package) is None:
        raise InputError(f"{package!r} is missing: install undertow[cluster]")
    if parameters and asked != "slurm":
        raise InputError(f"parameters {dict(parameters)} are of SLURM jobs: with executor {asked!r} none is accepted")
    if asked == "slurm":
        from evidence.executors.slurm import check_jobs

        check_jobs(parameters or {})
    elif asked not in NAMES:
        from evidence.executors.ray_cluster import knock

        knock(asked)


def executor(
    asked: str,
    folder: Path,
    prepare: Sequence[Callable[[], object]] = (),
    preload: Sequence[str] = (),
    workers: int | None = None,
    devices: int = 0,
    slots: int = 1,
    parameters: Mapping[str, Any] | None = None,
) -> AbstractContextManager[Executor]:
    """An executor, from its name; within it tasks run, and it takes all of its workers with it.

    Args:
        asked: "local" for processes of this machine, "slurm", "ray", or the address of a Ray cluster.
        folder: beside the store; SLURM's jobs and their driver meet in it.
        prepare: called once in each worker, before its first task; picklable. The user's own rules are loaded before.
        preload: modules that local workers share, imported before they start.
        workers: processes of this machine, or SLURM jobs at once; None for one a core, or 64 jobs.
        devices: of the CUDA devices here so many are used; on a cluster a task gets a GPU if it is not 0.
        slots: workers that share a device; not on SLURM.
        parameters: of a SLURM job, as submitit names them: timeout_min, slurm_partition, cpus_per_task, ...

    Returns:
        A context manager that gives a `concurrent.futures.Executor`.

    Raises:
        InputError: for an unknown name, a missing package, a cluster that is not there, or parameters that it refuses.

    Example:
        >>> with executor("local", Path("."), workers=1) as pool:
        ...     pool.submit(pow, 2, 5).result()
        32
    """
    check_executor(asked, parameters)
    if asked == "local":
        return processes(prepare, preload, workers, devices, slots)
    from evidence.executors.elsewhere import ending

    if asked == "slurm":
        from evidence.executors.slurm import SlurmExecutor

        settings: dict[str, Any] = {} if workers is None else {"jobs": workers}
        settings |= {"gpus_per_node": 1} if devices else {}
        return ending(SlurmExecutor(folder, prepare, **settings | dict(parameters or {})))
    from evidence.executors.ray_cluster import RayExecutor

    return ending(RayExecutor(prepare, "" if asked == "ray" else asked, workers, slots if devices else 0))
