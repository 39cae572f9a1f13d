"""Processes of this machine: one that dies takes its own task with it and nothing else, and none outlives its driver."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from errands import (
    Deadly,
    hold,
    kill_self,
    kill_self_once,
    killed_at_random,
    meet,
    raise_unwritable,
    seen,
    start_a_worker,
)
from hypothesis import given
from hypothesis import strategies as st

from dynamics.errors import InputError
from evidence.executors import WorkerLost
from evidence.executors.choice import check_executor
from evidence.executors.local import processes
from evidence.executors.pool import EARLY_DEATHS, Pool
from evidence.executors.tasks import Preparation, packed, performed, settle, unpacked


@pytest.fixture
def pool() -> Iterator[Executor]:
    with processes(workers=2) as pool:
        yield pool


def test_a_task_whose_worker_dies_is_lost_alone(pool: Executor) -> None:
    futures = [pool.submit(kill_self) if k % 3 == 1 else pool.submit(pow, k, 2) for k in range(12)]
    for k, future in enumerate(futures):
        if k % 3 == 1:
            with pytest.raises(WorkerLost, match=r"^worker process \d+ was ended by SIGKILL$"):
                future.result()
        else:
            assert future.result() == k**2
    with pytest.raises(WorkerLost, match=r"^worker process \d+ ended with exit status 7$"):
        pool.submit(os._exit, 7).result()
    with pytest.raises(WorkerLost, match="SIGKILL"):  # a worker that dies as it reads the task
        pool.submit(print, Deadly()).result()
    assert issubclass(WorkerLost, BrokenExecutor)


@pytest.mark.parametrize("size", [0, 2_000_000])
def test_killed_at_any_moment_each_task_has_its_own_outcome(pool: Executor, size: int) -> None:
    outcomes = [(seed, pool.submit(killed_at_random, seed, size)) for seed in range(30)]
    errors = [future.exception(timeout=60) for _, future in outcomes]
    assert {type(error) for error in errors} == {type(None), WorkerLost}
    for (seed, future), error in zip(outcomes, errors, strict=True):
        assert error is not None or future.result() == (seed, bytes(size))


def test_workers_that_idle_are_replaced_when_killed(pool: Executor) -> None:
    pids = {pool.submit(os.getpid).result() for _ in range(8)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    # Those who are dead may have been handed a task before it was known.
    futures = [pool.submit(os.getpid) for _ in range(8)]
    done = [future.result() for future in futures if future.exception() is None]
    assert len(done) >= 8 - len(pids)
    assert not pids & set(done)


def test_a_worker_that_dies_in_its_preparation_is_replaced(tmp_path: Path) -> None:
    with processes([partial(kill_self_once, tmp_path / "mark")], workers=1) as pool:
        assert pool.submit(pow, 2, 3).result() == 8


def test_a_preparation_that_cannot_succeed_ends_all_tasks(tmp_path: Path) -> None:
    told = (
        rf"{EARLY_DEATHS + 1} workers in a row died before their first task; the last: worker process \d+ was ended by"
    )
    for prepare, says in (
        (kill_self, told),
        (raise_unwritable, "could not be prepared: RuntimeError: .*this and that"),
    ):
        with processes([prepare], workers=1) as pool:
            futures = [pool.submit(pow, 2, k) for k in range(5)]
            for future in futures:
                with pytest.raises(BrokenExecutor, match=says) as caught:
                    future.result(timeout=60)
                assert not isinstance(caught.value, WorkerLost)  # trying the task again would not help
            with pytest.raises(BrokenExecutor, match=says):
                pool.submit(pow, 2, 2)


def test_errors_come_back_with_their_traceback_as_text(pool: Executor) -> None:
    error = pool.submit(int, "seven").exception()
    assert isinstance(error, ValueError)
    assert "Traceback (most recent call last)" in str(error.__cause__)
    assert "in performed" in str(error.__cause__)
    odd = pool.submit(raise_unwritable).exception()
    assert isinstance(odd, RuntimeError)
    assert str(odd).endswith("Unwritable: this and that")
    assert isinstance(pool.submit(sys.exit, 3).exception(), SystemExit)
    # What cannot be pickled is the error of its own future, task or result.
    assert isinstance(pool.submit(lambda: 1).exception(), (pickle.PicklingError, AttributeError))
    assert isinstance(pool.submit(eval, "lambda: 1").exception(), (pickle.PicklingError, AttributeError))
    assert pool.submit(pow, 2, 3).result() == 8


@given(st.recursive(st.none() | st.integers() | st.binary() | st.floats(allow_nan=False), st.lists, max_leaves=5))
def test_what_a_task_gives_is_what_arrives(value: Any) -> None:
    future: Future[Any] = Future()
    settle(future, *unpacked(performed(packed(list, [[value]]))))
    assert future.result() == [value]


def test_a_free_worker_alone_is_handed_a_task(tmp_path: Path, pool: Executor) -> None:
    held = [pool.submit(hold, tmp_path / "open") for _ in range(3)]
    while sum(future.running() for future in held) < 2:
        time.sleep(0.005)
    # Both are busy: what waits is still at the driver, and can be cancelled.
    (waiting,) = (future for future in held if not future.running())
    assert waiting.cancel()
    (tmp_path / "open").touch()
    assert pool.submit(pow, 2, 3).result() == 8
    assert len(list(as_completed(held, timeout=60))) == 3


def test_shutdown_is_the_standard_s(tmp_path: Path) -> None:
    with Pool(Preparation(), [{}]) as pool:
        futures = [pool.submit(pow, 2, k) for k in range(4)]
    assert [future.result(timeout=0) for future in futures] == [1, 2, 4, 8]
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(pow, 2, 2)
    pool.shutdown()  # twice is as good as once
    pool = Pool(Preparation(), [{}])
    futures = [pool.submit(hold, tmp_path / "open"), pool.submit(pow, 2, 2)]
    while not futures[0].running():
        time.sleep(0.005)
    pool.shutdown(wait=False, cancel_futures=True)
    assert futures[1].cancelled()
    (tmp_path / "open").touch()
    assert len(wait(futures, timeout=60).done) == 2
    assert futures[0].result() is None
    pool.shutdown()


def test_what_is_raised_within_ends_workers_at_once(tmp_path: Path) -> None:
    futures: list[Future[Any]] = []

    def interrupted() -> None:
        with processes(workers=1) as pool:
            futures.extend((pool.submit(hold, tmp_path / "never"), pool.submit(pow, 2, 2)))
            while not futures[0].running():
                time.sleep(0.005)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(WorkerLost, match="SIGKILL"):
        futures[0].result(timeout=0)
    assert futures[1].cancelled()
    assert multiprocessing.active_children() == []


def devices(folder: Path, count: int, **asked: int) -> list[str]:
    """What each of so many workers sees, while all are there."""
    folder.mkdir()
    with processes(**asked) as pool:
        futures = [pool.submit(meet, folder, count) for _ in range(count)]
        return sorted(future.result() for future in futures)


def test_each_worker_sees_its_device_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices(tmp_path / "none", 1, workers=1) == [""]
    assert devices(tmp_path / "all", 4, devices=2, slots=2) == ["0", "0", "1", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5,7")
    assert devices(tmp_path / "named", 3, devices=2, workers=3) == ["3", "3", "GPU-5"]
    # One that takes a dead one's place takes its device.
    with processes([partial(kill_self_once, tmp_path / "mark")], devices=1) as pool:
        assert pool.submit(seen, "CUDA_VISIBLE_DEVICES").result() == "3"


DRIVER = """
import os, sys, time
from itertools import repeat
from evidence.executors.local import processes

def say(word):
    os.write(1, (word + "\\n").encode())

def compute():
    say("now")
    sum(repeat(1, 10**15))  # years in C, in which no other thread has its turn

if __name__ == "__main__":
    with processes([compute] if sys.argv[1] == "prepare" else [], workers=2) as pool:
        tasks = [pool.submit(compute if sys.argv[1] == "compute" else os.getpid) for _ in range(3)]
        if sys.argv[1] == "idle":
            [task.result() for task in tasks]
        if sys.argv[1] in ("idle", "start"):
            say("now")
        time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker ends when its task lets other threads run")
@pytest.mark.parametrize(
    ("moment", "later"), [("start", 0), ("start", 0.02), ("start", 0.06), ("prepare", 0), ("compute", 0), ("idle", 0)]
)
def test_no_worker_outlives_a_killed_driver(tmp_path: Path, moment: str, later: float) -> None:
    (script := tmp_path / "driver.py").write_text(DRIVER)
    with subprocess.Popen([sys.executable, script, moment], stdout=subprocess.PIPE, start_new_session=True) as driver:
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == b"now\n"
            time.sleep(later)
            driver.kill()
            # Every process that the driver or its helpers started holds this pipe: its end is the end of all of them.
            said, _ = driver.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)
    assert driver.returncode == -signal.SIGKILL
    assert said in (b"", b"now\n")  # the other worker's


def test_workers_of_a_worker_leave_the_drivers_own_reachable() -> None:
    with processes(workers=1) as pool:
        assert pool.submit(start_a_worker).result() == 32
        with pytest.raises(WorkerLost):
            pool.submit(kill_self).result()
        assert pool.submit(pow, 2, 3).result() == 8  # by a worker that was started since


def test_a_folder_of_temporary_files_with_too_long_a_path_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 75)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    for use in (lambda: check_executor("local"), lambda: processes(workers=1).__enter__()):
        with pytest.raises(InputError, match=r"^TMPDIR .*x: .*at most 74 bytes is accepted$"):
            use()
