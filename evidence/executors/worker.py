"""What a worker process of this machine does: one task after another, from its own pipe, for as long as its driver lives."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread

from evidence.executors.tasks import performed


def work(pipe: Connection[bytes, bytes], surroundings: Mapping[str, str]) -> None:
    """Say that this process is there, then do the tasks that come; return when the driver closes the pipe."""
    _end_with_the_driver()
    # Ctrl-C reaches the whole group of processes; the driver speaks for all. Until here the signal was kept waiting.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.update(surroundings)
    try:
        pipe.send_bytes(b"")
        while True:
            pipe.send_bytes(performed(pipe.recv_bytes()))
    except (EOFError, OSError):  # the driver has closed its end
        return


def _end_with_the_driver() -> None:
    """Even after a SIGKILL the driver's end of this pipe is closed: a thread waits for that."""
    driver = parent_process()
    assert driver is not None

    def watch() -> None:
        wait([driver.sentinel])
        os._exit(1)

    if sys.platform == "linux":
        # A thread waits for ever while a task holds the interpreter's lock: the kernel does not. It sends SIGIO when
        # the pipe closes, and that ends a process which has no handler for it.
        import fcntl

        fcntl.fcntl(driver.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(driver.sentinel, fcntl.F_SETFL, fcntl.fcntl(driver.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    Thread(target=watch, daemon=True).start()
