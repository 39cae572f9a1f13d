"""What the executors of clusters have in common: which futures are open, and how they are given their outcome."""

from __future__ import annotations

import atexit
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from threading import RLock
from typing import Any

from evidence.executors.tasks import Unprepared, packed, settle, unpacked


class Elsewhere(Executor):
    """An executor whose workers are on other machines, and whose tasks go there as bytes."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._open: set[Future[Any]] = set()
        self._ending = self._gone = False
        self._broken = ""
        atexit.register(self._at_exit)

    @abstractmethod
    def _hand_over(self, future: Future[Any], task: bytes) -> None:
        """Bring a task on its way; `_close` the future when its outcome is here."""

    @abstractmethod
    def _call_off(self) -> None:
        """End the tasks whose futures were cancelled, as far as they are under way."""

    @abstractmethod
    def _leave(self) -> None:
        """Let go of the cluster: all futures are closed."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """See `concurrent.futures.Executor`. Raises BrokenExecutor where no worker can be had."""
        future: Future[Any] = Future()
        with self._lock:
            if self._ending:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._broken:
                raise BrokenExecutor(self._broken)
            try:
                task = packed(function, arguments, options)
            except Exception as error:
                future.set_exception(error)
                return future
            self._open.add(future)
            self._hand_over(future, task)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor`; what runs is cancelled like what waits."""
        with self._lock:
            self._ending = True
            still_open = set(self._open)
            if cancel_futures:
                self._open.clear()
        if cancel_futures:
            for future in still_open:
                future.cancel()
                future.set_running_or_notify_cancel()
            self._call_off()
        elif wait:
            wait_for(still_open)
        if (wait or cancel_futures) and not self._gone:
            self._gone = True
            self._leave()
            atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        self.shutdown(cancel_futures=True)

    def _close(self, future: Future[Any], outcome: bytes | BaseException) -> None:
        with self._lock:
            if future not in self._open:
                return
            self._open.remove(future)
        value, error = unpacked(outcome) if isinstance(outcome, bytes) else (None, outcome)
        if isinstance(error, Unprepared):
            self._broken = str(error)
        if future.set_running_or_notify_cancel():
            settle(future, value, error)


@contextmanager
def ending(executor: Elsewhere) -> Iterator[Executor]:
    """An executor that is shut down in the end; what is raised within, an interrupt too, cancels all of its tasks."""
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()
