"""What all tests of this folder run under: one thread, since networks this small wait longer for threads than they compute."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from multiprocessing import forkserver

import pytest


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch  # here, since tests of images do not need it

    # Of every operation that is recorded torch would write a report to where pytest listens: a tenth of the time.
    report = logging.getLogger("torch.__trace")
    report.propagate = True
    report.handlers.clear()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def torch_server() -> Iterator[forkserver.ForkServer]:
    """Forks processes that have imported torch, and what an optimizer imports when it is made."""
    own = forkserver.ForkServer()
    own.set_forkserver_preload(["fullscale.train", "torch._dynamo", "pytest"])
    yield own
    own._stop()


@pytest.fixture
def forked(torch_server: forkserver.ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes come from that server: the common one, which another test may have started, would import no more."""
    monkeypatch.setattr(forkserver, "connect_to_new_process", torch_server.connect_to_new_process)
