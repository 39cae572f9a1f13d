"""Processes of this machine as an executor. Each has a pipe of its own and shares no lock with another, so that one which is
killed at any moment takes its own task with it and nothing else."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import selectors
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from threading import Lock, Thread
from typing import Any

from evidence.executors import WorkerLost
from evidence.executors.tasks import packed, settle, unpacked
from evidence.executors.worker import work

# So many workers in a row, beside one for each slot, may die before their first task: more is no accident.
EARLY_DEATHS = 9


@dataclass(eq=False)
class _Worker:
    slot: int
    process: ForkServerProcess
    pipe: Connection[bytes, bytes]
    # What it works on: first its preparation, then a task at a time.
    future: Future[Any] | None = None
    prepared: bool = False
    heard: bool = True  # its pipe is listened to


class Pool(Executor):
    """Worker processes that are started as tasks need them, and started again where one died.

    A task is handed over when a worker is free for it, never before. One whose worker dies gets `WorkerLost`. A
    preparation that raises, or workers that die again and again before their first task, break the pool: what waits gets
    `BrokenExecutor`.

    Args:
        prepare: called in each worker before its first task; picklable.
        slots: the environment variables that one worker gets beside those of this process; one mapping a worker.
        preload: modules that a server imports once for all workers, while it still has no threads.

    Example:
        >>> with Pool(print, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]) as pool:
        ...     pool.submit(pow, 2, 5).result()
        32
    """

    def __init__(
        self, prepare: Callable[[], object], slots: Sequence[Mapping[str, str]], preload: Sequence[str] = ()
    ) -> None:
        self._prepare = packed(prepare)
        self._slots = [dict(slot) for slot in slots]
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["evidence.executors.server", work.__module__, *preload])
        self._workers: list[_Worker] = []  # of the thread alone, as is all that is not said to be shared
        self._early_deaths = 0
        # Shared with the thread, under the lock.
        self._lock = Lock()
        self._queue: deque[tuple[Future[Any], Callable[..., Any], Sequence[Any], Mapping[str, Any]]] = deque()
        self._broken = ""
        self._ending = self._killed = False
        # A byte wakes the thread; another while it is awake would say nothing more.
        self._woken, self._wake = os.pipe()
        self._awake = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = Thread(target=self._manage, name="workers", daemon=True)
        self._thread.start()
        # As of any executor, what was submitted is done before the program ends.
        atexit.register(self.shutdown)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """See `concurrent.futures.Executor`. Raises BrokenExecutor where no worker can be had."""
        future: Future[Any] = Future()
        with self._lock:
            if self._ending:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._broken:
                raise BrokenExecutor(self._broken)
            self._queue.append((future, function, arguments, options))
            self._rouse()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`."""
        with self._lock:
            self._ending = True
            dropped = [task[0] for task in self._queue] if cancel_futures else []
            if cancel_futures:
                self._queue.clear()
            self._rouse()
        for future in dropped:
            future.cancel()
            future.set_running_or_notify_cancel()
        if wait:
            self._thread.join()
        atexit.unregister(self.shutdown)

    def kill(self) -> None:
        """Shut down at once: what waits is cancelled, what runs is killed and gets `WorkerLost`."""
        self._killed = True
        self.shutdown(cancel_futures=True)

    def _rouse(self) -> None:
        if not self._awake:
            self._awake = True
            os.write(self._wake, b"!")

    def _manage(self) -> None:
        # Workers inherit this, and let Ctrl-C through once they know what to do with it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            while self._hand_out():
                for key, _ in self._selector.select():
                    if key.data is None:
                        with self._lock:
                            os.read(self._woken, 1)
                            self._awake = False
                    else:
                        key.data[0](key.data[1])
        except BaseException as error:  # no memory for a task, no file handle for a worker: nobody may wait for ever
            self._killed = True
            self._break(f"the pool of workers failed: {error!r}")
            raise
        finally:
            self._end()

    def _hand_out(self) -> bool:
        """Give each free worker a task, start those that are lacking; False if there is nothing more to do."""
        for worker in self._workers:
            if worker.prepared and worker.future is None:
                self._next_task(worker)
        with self._lock:
            waiting = len(self._queue)
            if self._killed or (
                self._ending and not waiting and not any(w.prepared and w.future for w in self._workers)
            ):
                return False
        starting = sum(not worker.prepared for worker in self._workers)
        free = set(range(len(self._slots))) - {worker.slot for worker in self._workers}
        for slot in sorted(free)[: max(0, waiting - starting)]:
            self._start(slot)
        return True

    def _next_task(self, worker: _Worker) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    return
                future, function, arguments, options = self._queue.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                task = packed(function, arguments, options)
            except Exception as error:
                future.set_exception(error)
                continue
            self._send(worker, future, task)
            return

    def _send(self, worker: _Worker, future: Future[Any], task: bytes) -> None:
        worker.future = future
        try:
            worker.pipe.send_bytes(task)
        except OSError:  # it died: its sentinel says so
            return

    def _start(self, slot: int) -> None:
        here, there = self._context.Pipe()
        process = self._context.Process(target=work, args=(there, self._slots[slot]))
        try:
            process.start()
        except (BrokenPipeError, EOFError):  # killed before it knew its work
            here.close()
            self._died_early("it was killed while it started")
            return
        finally:
            there.close()
        worker = _Worker(slot, process, here)
        self._workers.append(worker)
        self._selector.register(here, selectors.EVENT_READ, (self._receive, worker))
        self._selector.register(process.sentinel, selectors.EVENT_READ, (self._bury, worker))

    def _receive(self, worker: _Worker) -> None:
        """A worker is there, is prepared, or has done its task."""
        if worker not in self._workers:  # buried a moment ago
            return
        try:
            outcome = worker.pipe.recv_bytes()
        except (EOFError, OSError):  # its sentinel says more
            worker.heard = False
            self._selector.unregister(worker.pipe)
            return
        future, worker.future = worker.future, None
        if future is None:
            self._send(worker, Future(), self._prepare)
            return
        value, error = unpacked(outcome)
        settle(future, value, error)
        if not worker.prepared:
            worker.prepared, self._early_deaths = True, 0
            if error is not None:
                self._break(f"a worker could not be prepared: {type(error).__name__}: {error}")

    def _bury(self, worker: _Worker) -> None:
        """A worker's process has ended: its slot is free, and its task is lost unless the outcome was sent before."""
        if worker.heard and worker.pipe.poll():
            self._receive(worker)
        if worker.heard:
            self._selector.unregister(worker.pipe)
        self._selector.unregister(worker.process.sentinel)
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        if not worker.prepared:
            self._died_early(_end_of(worker.process))
        elif worker.future is not None:
            worker.future.set_exception(WorkerLost(_end_of(worker.process)))
        worker.process.close()

    def _died_early(self, how: str) -> None:
        self._early_deaths += 1
        if self._early_deaths >= EARLY_DEATHS + len(self._slots):
            # As it does when a script starts workers while it is imported, which each of them does.
            hint = ' (a script starts workers under `if __name__ == "__main__":`)' if how.endswith(" 1") else ""
            self._break(f"{self._early_deaths} workers in a row died before their first task; the last: {how}{hint}")

    def _break(self, why: str) -> None:
        with self._lock:
            self._broken = self._broken or why
            left = [task[0] for task in self._queue]
            self._queue.clear()
        for future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(BrokenExecutor(why))

    def _end(self) -> None:
        for worker in self._workers:
            if self._killed:
                worker.process.kill()
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join()
            if worker.prepared and worker.future is not None:
                worker.future.set_exception(WorkerLost(_end_of(worker.process)))
            worker.process.close()
        self._selector.close()
        with self._lock:
            self._awake = True
            os.close(self._woken)
            os.close(self._wake)


def _end_of(process: ForkServerProcess) -> str:
    """How a process ended, in a line."""
    code = process.exitcode
    if code is not None and code < 0:
        return f"worker process {process.pid} was ended by {signal.Signals(-code).name}"
    return f"worker process {process.pid} ended with exit status {code}"
