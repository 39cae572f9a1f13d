"""What all tests of this folder run under: one thread, and no reports of what torch does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from multiprocessing import forkserver
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_reports(one_thread: None) -> None:
    """Of every operation that is recorded torch would write a report to where pytest listens: a tenth of the time."""
    report = logging.getLogger("torch.__trace")
    report.propagate = True
    report.handlers.clear()


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end with their network: cutting it and certifying what is left, most of a small run's time, is left out."""

    def ended(outcome: Any, net: Any, *_: Any) -> None:
        outcome.net = net

    monkeypatch.setattr("fullscale.train.conclude", ended)


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
