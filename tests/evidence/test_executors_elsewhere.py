"""Executors of clusters: a real Ray on this machine, and submitit's processes of this machine in place of SLURM's jobs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from errands import kill_self, pid_once, raise_unwritable, row_once, seen, told

from dynamics.errors import InputError
from evidence.executors import WorkerLost
from evidence.executors.choice import check_executor, executor
from evidence.executors.elsewhere import ending
from evidence.store import Store
from evidence.study import Run, run_all


def killed_once(folder: Path) -> None:
    """Wait for the first worker to say who it is, and kill it."""
    mark = folder / "first"
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.01)
    os.kill(int(mark.read_text()), signal.SIGKILL)


def quiet(done: int, total: int, text: str) -> None:
    """A notify that keeps nothing."""


def outcomes(pool: Executor) -> None:
    """What any executor does with tasks that end, raise and cannot be written."""
    futures = [pool.submit(seen, "UNDERTOW_TEST"), pool.submit(int, "seven"), pool.submit(raise_unwritable)]
    assert futures[0].result(timeout=120) == "yes"  # prepared once, before the first task
    error = futures[1].exception(timeout=120)
    assert isinstance(error, ValueError)
    assert "Traceback (most recent call last)" in str(error.__cause__)
    assert str(futures[2].exception(timeout=120)).endswith("Unwritable: this and that")
    assert pool.submit(lambda: 1).exception() is not None


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_worker_register_timeout_seconds", "120")
        folder = tmp_path_factory.mktemp("ray")
        with executor("ray", folder, [partial(told, "UNDERTOW_TEST", "yes")], workers=2) as ray:
            yield ray
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            ray.submit(pow, 2, 3)


@pytest.mark.thorough
class TestRay:
    def test_a_study_with_a_worker_killed_in_the_middle_has_all_its_rows(self, ray: Executor, tmp_path: Path) -> None:
        runs = [Run("square", {"n": n}, f"number {n}", partial(row_once, tmp_path, n)) for n in range(6)]
        heard: list[str] = []

        def notify(done: int, total: int, text: str) -> None:
            heard.append(text)
            if done == 4:
                killed_once(tmp_path)

        with Store(tmp_path / "results.sqlite") as store:
            rows = run_all(runs, store, ray, notify)
            assert [(row.status, row.summary) for row in rows] == [("done", {"square": n**2}) for n in range(6)]
            assert len(store.rows("square")) == 6
        assert any("its worker died, attempt 2" in line for line in heard)

    def test_a_task_whose_worker_is_killed_is_lost_alone(self, ray: Executor) -> None:
        outcomes(ray)
        futures = [ray.submit(pow, 2, 3), ray.submit(kill_self), ray.submit(pow, 3, 2)]
        with pytest.raises(WorkerLost, match=r"^Ray: WorkerCrashedError: [^\n]*$"):
            futures[1].result(timeout=120)
        assert (futures[0].result(timeout=120), futures[2].result(timeout=120)) == (8, 9)


class TestSlurm:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        if find_spec("submitit") is None:
            pytest.skip("the extra cluster is not installed")

    def test_handlers_of_the_programs_log_stay_open(self, tmp_path: Path) -> None:
        code = """
import logging
from pathlib import Path
from evidence.executors.slurm import check_jobs
handler = logging.FileHandler("log")
check_jobs({}, Path("jobs"), "local")
assert not handler.stream.closed
"""
        # In a process of its own: submitit is imported once.
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, check=False
        )
        assert done.returncode == 0

    def jobs(self, folder: Path, *prepare: Any, **settings: Any) -> Any:
        from evidence.executors.slurm import SlurmExecutor

        return ending(SlurmExecutor(folder, prepare, cluster="local", pause=0.02, **settings))

    def test_tasks_are_done_and_a_killed_job_is_lost_alone(self, tmp_path: Path) -> None:
        with self.jobs(tmp_path, partial(told, "UNDERTOW_TEST", "yes"), jobs=2, timeout_min=3) as pool:
            lost: Future[int] = pool.submit(pid_once, tmp_path)
            killed_once(tmp_path)
            outcomes(pool)
            with pytest.raises(WorkerLost, match=r"^SLURM job \d+ ended without an outcome"):
                lost.result(timeout=120)
        assert [path.name for path in tmp_path.iterdir()] == ["first"]

    def test_a_preparation_that_cannot_succeed_ends_all_tasks(self, tmp_path: Path) -> None:
        with self.jobs(tmp_path, raise_unwritable) as pool:
            with pytest.raises(BrokenExecutor, match=r"could not be prepared: RuntimeError: .*this and that"):
                pool.submit(pow, 2, 3).result(timeout=120)
            with pytest.raises(BrokenExecutor, match="could not be prepared"):
                pool.submit(pow, 2, 3)

    def test_what_is_raised_within_cancels_every_job(self, tmp_path: Path) -> None:
        futures: list[Future[Any]] = []

        def interrupted() -> None:
            with self.jobs(tmp_path, jobs=1) as pool:
                futures.extend((pool.submit(pid_once, tmp_path), pool.submit(pow, 2, 2)))
                while not (mark := tmp_path / "first").exists() or not mark.read_text():
                    time.sleep(0.01)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert all(future.cancelled() for future in futures)
        worker, until = int((tmp_path / "first").read_text()), time.monotonic() + 60
        while time.monotonic() < until and Path(f"/proc/{worker}").exists():  # a busy machine takes its time to end it
            time.sleep(0.01)
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
        assert [path.name for path in tmp_path.iterdir()] == ["first"]

    def test_a_job_ends_when_its_driver_is_killed(self, tmp_path: Path) -> None:
        (script := tmp_path / "driver.py").write_text(DRIVER)
        with subprocess.Popen(
            [sys.executable, script, tmp_path], stdout=subprocess.PIPE, start_new_session=True
        ) as driver:
            try:
                killed = False
                while not killed:
                    killed = any(tmp_path.glob("begun"))
                    time.sleep(0.01)
                driver.kill()
                # submitit's process that looks after a job holds this pipe for as long as the job lasts.
                driver.communicate(timeout=60)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(driver.pid, signal.SIGKILL)

    def test_what_a_killed_driver_left_is_cleared_up(self, tmp_path: Path) -> None:
        for name in ("dead", "alive"):
            (beat := tmp_path / f".jobs-{name}" / "heartbeat").parent.mkdir()
            beat.touch()
            if name == "dead":
                os.utime(beat, (0, 0))
        with self.jobs(tmp_path):
            pass
        assert [path.name for path in tmp_path.iterdir()] == [".jobs-alive"]

    def test_where_jobs_cannot_be_submitted_it_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(InputError, match="sbatch is not found"):
            executor("slurm", tmp_path)
        with pytest.raises(InputError, match="'timeout_mn'"):
            self.jobs(tmp_path, timeout_mn=3)
        assert list(tmp_path.iterdir()) == []


DRIVER = """
import sys, time
from pathlib import Path
from evidence.executors.slurm import SlurmExecutor

def stay(mark):
    mark.touch()
    time.sleep(1000)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    slurm = SlurmExecutor(folder, cluster="local", pause=0.02, patience=2)
    from driver import stay
    slurm.submit(stay, folder / "begun").result()
"""


@pytest.mark.parametrize("asked", ["locla", "", "ray://", "host", "host:port", "a b:3"])
def test_an_unknown_executor_is_refused(asked: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=f"executor {asked!r} is unknown: local, slurm, ray or a Ray cluster's HOST:PORT"
    ):
        executor(asked, tmp_path)


@pytest.mark.parametrize("asked", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:99999"])
def test_a_ray_cluster_that_is_not_there_is_refused_at_once(asked: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = asked.format(taken.getsockname()[1])
        with pytest.raises(
            InputError, match=f"^no Ray cluster at '{address}' .*: the address of a running one is accepted$"
        ):
            executor(address, tmp_path)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evidence.executors.choice.find_spec", lambda name: None)
    check_executor("local")
    for asked, package in (("slurm", "submitit"), ("ray", "ray"), ("ray://head:10001", "ray"), ("head:6379", "ray")):
        with pytest.raises(InputError, match=f"'{package}' is missing: install undertow\\[cluster\\]"):
            check_executor(asked)
    with pytest.raises(InputError, match="are of SLURM jobs"):
        executor("local", tmp_path, parameters={"timeout_min": 3})


def test_an_executor_by_name_is_the_one_asked_for(tmp_path: Path) -> None:
    with executor("local", tmp_path, [partial(told, "UNDERTOW_TEST", "yes")], workers=1) as pool:
        outcomes(pool)
