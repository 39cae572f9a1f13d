"""Worker processes of this machine, which know the rules of the user's own files: one a core, or some on every device."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager

from dynamics.errors import InputError
from evidence.executors.pool import Pool
from evidence.executors.tasks import Preparation

# Bytes of a socket's path, of which multiprocessing adds the last ones: /pymp-abcdefgh/listener-abcdefgh.
_MOST, _ADDED = 107, 33


def check_place() -> None:
    """InputError where the folder of temporary files is one whose path is too long for a socket in it."""
    folder, most = tempfile.gettempdir(), _MOST - _ADDED
    if len(os.fsencode(folder)) > most:
        raise InputError(f"TMPDIR {folder}: workers are reached in it, a path of at most {most} bytes is accepted")


@contextmanager
def processes(
    prepare: Sequence[Callable[[], object]] = (),
    preload: Sequence[str] = (),
    workers: int | None = None,
    devices: int = 0,
    slots: int = 1,
) -> Iterator[Executor]:
    """Worker processes of this machine, one a core unless told otherwise; none of them outlives this process.

    prepare: called in each worker, once, before its first task; picklable. preload: modules that a server imports once for
    all workers, while it still has no threads. devices: of the CUDA devices that this process sees, so many are used, each
    by `slots` workers, which see no other device. What is raised within, an interrupt too, ends the workers at once. InputError
    as `check_place`.
    """
    check_place()
    pool = Pool(Preparation(prepare), _surroundings(workers, devices, slots), preload)
    try:
        yield pool
    except BaseException:
        pool.kill()
        raise
    pool.shutdown(cancel_futures=True)


def _surroundings(workers: int | None, devices: int, slots: int) -> list[dict[str, str]]:
    """For each worker the environment variables that it gets beside this process's."""
    if not devices:
        return [{} for _ in range(workers or len(os.sched_getaffinity(0)))]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in visible.split(",")] if visible else [str(k) for k in range(devices)]
    # Read when a worker first uses a device, so it counts also where torch was imported before.
    return [{"CUDA_VISIBLE_DEVICES": names[k % devices]} for k in range(workers or devices * slots)]
