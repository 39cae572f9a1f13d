"""What tests have workers do; a module apart, since each worker imports it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random
from typing import Any, NoReturn


def seen(name: str) -> str:
    return os.environ.get(name, "")


def meet(folder: Path, count: int) -> str:
    """Wait until so many workers are here at once; then say which device this one sees."""
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < count:
        time.sleep(0.005)
    return seen("CUDA_VISIBLE_DEVICES")


def kill_self() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def kill_self_once(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        kill_self()


def killed_at_random(seed: int, size: int) -> tuple[int, bytes]:
    """A task that is killed while it works, while it sends its outcome, or some time later: nobody can say which."""
    if seed % 3 == 0:
        signal.setitimer(signal.ITIMER_REAL, Random(seed).uniform(1e-6, 3e-3))
    time.sleep(1e-3)
    return seed, bytes(size)


class Deadly:
    """It kills who unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return kill_self, ()


class Unwritable(Exception):
    """It cannot be read from what pickle writes of it."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def raise_unwritable() -> NoReturn:
    raise Unwritable("this", "that")


def hold(path: Path) -> None:
    while not path.exists():
        time.sleep(0.005)


def told(name: str, value: str) -> None:
    """A preparation: it says how often it was made."""
    os.environ[name] = os.environ.get(name, "") + value


def pid_once(folder: Path) -> int:
    """The first worker here writes down who it is and stays; whoever comes after it goes through."""
    mark = folder / "first"
    try:
        with mark.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return os.getpid()
    time.sleep(600)
    raise AssertionError


def row_once(folder: Path, number: int) -> dict[str, Any]:
    """A run, the first of which stays until its worker is killed."""
    if number == 0:
        pid_once(folder)
    return {"summary": {"square": number**2}, "curves": {}}


def start_a_worker() -> int:
    """In a worker: a task in a worker of its own."""
    from evidence.executors.local import processes

    with processes(workers=1) as pool:
        return int(pool.submit(pow, 2, 5).result())
