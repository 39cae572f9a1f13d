"""A Ray cluster as an executor: one task of Ray's for one of ours. Needs the extra `cluster`.

Ray ends the workers of a driver that is gone, so none is left behind.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from hashlib import sha256
from typing import Any

from dynamics.errors import InputError
from evidence.executors import WorkerLost
from evidence.executors.elsewhere import Elsewhere
from evidence.executors.tasks import luggage, performed_here


class RayExecutor(Elsewhere):
    """Tasks on a Ray cluster. Ray itself tries none again: one whose worker or machine is gone gets `WorkerLost`.

    Args:
        prepare: called in each worker process before its first task; picklable.
        address: of the cluster; "" for the one that Ray finds, or else a new one on this machine.
        workers: processes of a new cluster on this machine; None for one a core.
        slots: how many tasks share a GPU; 0 for tasks that take a core each.

    Raises:
        InputError: where the cluster cannot be reached.

    Example:
        >>> with RayExecutor(workers=1) as ray:  # doctest: +SKIP
        ...     ray.submit(pow, 2, 5).result()
        32
    """

    def __init__(
        self,
        prepare: Sequence[Callable[[], object]] = (),
        address: str = "",
        workers: int | None = None,
        slots: int = 0,
    ) -> None:
        knock(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        self._begun_here = not ray.is_initialized()
        if self._begun_here:
            _reach(address, workers)
        packed = luggage(prepare)
        self._name = sha256(packed).hexdigest()
        # In a list a reference stays one: each process fetches what it stands for once.
        self._luggage = [ray.put(packed)]
        resources = {"num_gpus": 1 / slots} if slots else {"num_cpus": 1}
        self._perform = ray.remote(**resources, max_retries=0)(_perform)
        self._under_way: dict[Future[Any], Any] = {}
        super().__init__()

    def _hand_over(self, future: Future[Any], task: bytes) -> None:
        reference = self._under_way[future] = self._perform.remote(task, self._name, self._luggage)
        reference.future().add_done_callback(partial(self._arrived, future))

    def _arrived(self, future: Future[Any], outcome: Future[bytes]) -> None:
        self._under_way.pop(future, None)
        error = outcome.exception()
        self._close(future, outcome.result() if error is None else self._translated(error))

    def _translated(self, error: BaseException) -> BaseException:
        raised = self._ray.exceptions
        lost = (raised.WorkerCrashedError, raised.NodeDiedError, raised.OutOfMemoryError, raised.ObjectLostError)
        if isinstance(error, (*lost, raised.LocalRayletDiedError)):
            return WorkerLost(f"Ray: {type(error).__name__}: {' '.join(str(error).split())}")
        return error

    def _call_off(self) -> None:
        for reference in list(self._under_way.values()):
            self._ray.cancel(reference, force=True)

    def _leave(self) -> None:
        if self._begun_here:
            self._ray.shutdown()


def _perform(task: bytes, name: str, boxed: list[Any]) -> bytes:
    import ray

    fetched: Callable[[], bytes] = lambda: ray.get(boxed[0])  # noqa: E731
    return performed_here(task, name, fetched)


def knock(address: str) -> None:
    """InputError where nobody listens at the address, if it is one: Ray itself takes more than a minute to say so."""
    if not address:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray cluster at {address!r} ({error}): the address of a running one is accepted") from None


def _reach(address: str, workers: int | None) -> None:
    import ray

    # Ray takes SIGTERM for itself, and it is the driver's to say what a signal means.
    before = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    try:
        if address or os.environ.get("RAY_ADDRESS"):
            ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init("local", num_cpus=workers or len(os.sched_getaffinity(0)), **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"no Ray cluster at {address!r} ({said}): the address of a running one is accepted") from None
    finally:
        signal.signal(signal.SIGTERM, before)
