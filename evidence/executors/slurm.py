"""A SLURM cluster as an executor, through submitit: one job for one task, jobs sent together as an array. Needs the extra
`cluster`.

Driver and jobs meet in a folder that all machines see. The driver's heart beats in it, and a job that hears nothing more ends.
"""

from __future__ import annotations

import logging.config
import os
import shutil
import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any

from dynamics.errors import InputError
from evidence.executors import WorkerLost
from evidence.executors.elsewhere import Elsewhere
from evidence.executors.tasks import Unprepared, luggage, performed_here
from evidence.files import write_whole

HEARTBEAT, LUGGAGE = "heartbeat", "luggage"


class SlurmExecutor(Elsewhere):
    """Tasks as SLURM jobs. One whose job ends without an outcome (a lost machine, out of time or memory, preempted) gets
    `WorkerLost`.

    Args:
        folder: on a disk that all machines see; a folder in it holds what driver and jobs exchange, and goes in the end.
        prepare: called in each job before its task; picklable.
        jobs: so many are in the queue or run, at most.
        cluster: "slurm"; or "local", where submitit starts processes of this machine in place of jobs.
        pause: between looks at the jobs, in seconds.
        patience: a job that hears nothing from its driver for so many seconds ends.
        parameters: of a job, as submitit names them: timeout_min, cpus_per_task, gpus_per_node, slurm_partition, ...

    Raises:
        InputError: where jobs cannot be submitted, or a parameter is none of submitit's.

    Example:
        >>> with SlurmExecutor(Path("out"), timeout_min=60, slurm_partition="gpu") as slurm:  # doctest: +SKIP
        ...     slurm.submit(pow, 2, 5).result()
        32
    """

    def __init__(
        self,
        folder: Path,
        prepare: Sequence[Callable[[], object]] = (),
        /,
        *,
        jobs: int = 64,
        cluster: str = "slurm",
        pause: float = 1.0,
        patience: float = 120.0,
        **parameters: Any,
    ) -> None:
        self._folder = folder.absolute() / f".jobs-{uuid.uuid4().hex}"
        self._jobs, self._pause, self._patience = jobs, pause, patience
        try:
            self._submitit = check_jobs(parameters, self._folder, cluster)
        except InputError:
            shutil.rmtree(self._folder, ignore_errors=True)  # "local" has made it
            raise
        self._folder.mkdir(parents=True, exist_ok=True)
        packed = luggage(prepare)
        self._name = sha256(packed).hexdigest()
        write_whole(self._folder / LUGGAGE, packed)
        self._waiting: deque[tuple[Future[Any], bytes]] = deque()
        self._live: dict[Future[Any], tuple[Any, int]] = {}
        self._left = Event()
        super().__init__()
        self._beat()
        self._clear_up()
        self._threads = [Thread(target=target, daemon=True) for target in (self._keep_beating, self._look_after)]
        for thread in self._threads:
            thread.start()

    def _hand_over(self, future: Future[Any], task: bytes) -> None:
        self._waiting.append((future, task))

    def _beat(self) -> None:
        write_whole(self._folder / HEARTBEAT, uuid.uuid4().bytes)

    def _clear_up(self) -> None:
        """Remove what drivers that were killed have left. Times are compared as the one disk tells them."""
        now = (self._folder / HEARTBEAT).stat().st_mtime
        for left in self._folder.parent.glob(".jobs-*"):
            beat = left / HEARTBEAT
            if beat.exists() and now - beat.stat().st_mtime > 10 * self._patience:
                shutil.rmtree(left, ignore_errors=True)

    def _keep_beating(self) -> None:
        # Apart from looking after the jobs, which may take its time: a silent driver is a dead one.
        while not self._left.wait(self._patience / 10):
            self._beat()

    def _look_after(self) -> None:
        while not self._left.wait(self._pause):
            try:
                self._send()
                self._collect()
            except Exception as error:  # nobody may wait for ever for what cannot be had
                self._give_up(f"SLURM: {type(error).__name__}: {' '.join(str(error).split())}")

    def _send(self) -> None:
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._jobs - len(self._live)))]
            batch = [(future, task) for future, task in batch if future in self._open]
            if not batch:
                return
            with self._submitit.batch():
                sent = [
                    self._submitit.submit(_perform, str(self._folder), self._patience, self._name, task)
                    for _, task in batch
                ]
            self._live |= {future: (job, 0) for (future, _), job in zip(batch, sent, strict=True)}

    def _collect(self) -> None:
        for future, (job, looks) in list(self._live.items()):
            if not job.done():
                continue
            # On a shared disk an outcome may be seen some time after its job has ended.
            if not job.paths.result_pickle.exists() and looks < 15:
                self._live[future] = (job, looks + 1)
                continue
            del self._live[future]
            if job.paths.result_pickle.exists() and job.exception() is None:
                self._close(future, job.result())
            else:
                said = (job.stderr() or "").strip().splitlines()[-1:]
                self._close(future, WorkerLost(" ".join([f"SLURM job {job.job_id} ended without an outcome", *said])))

    def _give_up(self, why: str) -> None:
        with self._lock:
            self._broken = why
            self._waiting.clear()
            left = self._open - set(self._live)
        for future in left:
            self._close(future, Unprepared(why))

    def _call_off(self) -> None:
        with self._lock:
            self._waiting.clear()
            for job, _ in self._live.values():
                job.cancel(check=False)

    def _leave(self) -> None:
        self._left.set()
        for thread in self._threads:
            thread.join()
        # What was called off may still be about to end, and writes its last words here.
        until = time.monotonic() + 5.0
        while time.monotonic() < until and not all(job.done() for job, _ in self._live.values()):
            time.sleep(self._pause)
        shutil.rmtree(self._folder, ignore_errors=True)


def _submitit() -> Any:
    """The module. At its import it configures logging, which closes whatever handlers the program has: that is left out."""
    configure = logging.config.dictConfig
    logging.config.dictConfig = lambda config: None
    try:
        return import_module("submitit")
    finally:
        logging.config.dictConfig = configure


def check_jobs(parameters: Mapping[str, Any], folder: Path = Path(), cluster: str = "slurm") -> Any:
    """submitit's executor of such jobs, which has written nothing yet. InputError where there is no SLURM, and for parameters
    that are not submitit's."""
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise InputError("no SLURM here (sbatch is not found): a machine from which jobs can be submitted is accepted")
    submitit = _submitit()
    try:
        jobs = submitit.AutoExecutor(folder, cluster=cluster)
        jobs.update_parameters(**parameters)
    except (TypeError, ValueError, NameError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"SLURM parameters {dict(parameters)} cannot be used: {said}") from None
    return jobs


def _perform(folder: str, patience: float, name: str, task: bytes) -> bytes:
    """In a job."""
    # What submitit makes of these, the end of a job's time and its cancelling, would look like something that the task raised.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    Thread(target=_end_with_the_driver, args=(Path(folder) / HEARTBEAT, patience), daemon=True).start()
    return performed_here(task, name, (Path(folder) / LUGGAGE).read_bytes)


def _end_with_the_driver(heartbeat: Path, patience: float) -> None:
    """Clocks of two machines differ: what counts is how long, by the clock here, nothing has changed."""
    heard, since = b"", time.monotonic()
    while time.monotonic() - since < patience:
        time.sleep(patience / 20)
        try:
            beat = heartbeat.read_bytes()
        except OSError:  # gone, or out of reach for now
            continue
        if beat != heard:
            heard, since = beat, time.monotonic()
    os._exit(1)
