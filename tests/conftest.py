"""One hypothesis profile for all tests, the paths from which they import, and the device of those that are marked gpu."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The repository comes before tests/, so that `dynamics` is the package and never the folder tests/dynamics; tests/
# itself is there for the helpers that suites share (conformance.oracle, properties.draws).
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

# Compiled kernels, kept for the processes of this run and for the next run: most of the time goes into compiling.
os.environ["NUMBA_CACHE_DIR"] = str(HERE.parent / ".cache")

# torch, jax and sympy hold millions of objects that are never freed: looking through them took up to a sixth of a file's time.
gc.set_threshold(100_000, 20, 100)

# The same examples on every machine; how long one takes says nothing about whether it is right.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=35
)
# `make fuzz`: many more, and others each time.
settings.register_profile(
    "fuzz", settings.get_profile("repeatable"), derandomize=False, max_examples=2000, print_blob=True
)
settings.load_profile("repeatable")

# A world takes seconds, once in a process: each of these lines runs in one.
SHARED = (
    ("tests/properties/",),
    ("tests/dynamics/", "tests/commands/", "tests/fuzz/", "tests/test_docs.py"),
    ("tests/synthetic/",),
    ("tests/figures/",),
    # One long test by itself would be the last to begin.
    ("tests/fullscale/test_prune_zoo.py", "tests/fullscale/test_prune_random.py"),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile: a file at a time, but what stands on one line above as a whole."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrLine(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return next((line[0] for line in SHARED if file.startswith(line)), file)

    return ByFileOrLine(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def heeded() -> None:
    """Tests end processes, and themselves, by signals that `nohup` and a shell's background jobs start theirs without.

    Only in the processes that run tests: the one that hands them out stays as it was started.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def server(heeded: None, request: pytest.FixtureRequest) -> None:
    """In a worker of the tests: the server that forks the workers of studies has imported what most of them need.

    It imports nothing more once it runs: whichever test came first decided for all that followed.
    """
    if hasattr(request.config, "workerinput"):
        forkserver.set_forkserver_preload(["evidence.executors.server", "undertow.experiments"])
        forkserver.ensure_running()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes in one thread: where two processes test, the threads of networks this small wait for each other.

    And it is left as it was: `train` sets threads for its process.
    """
    import torch  # here, since most tests do not need it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_runtest_teardown() -> None:
    """The command `train` rounds denormal numbers to 0 for its process: the next test finds them as they are."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of large grids of cases a part is enough to see most faults in minutes; `make thorough` looks at all."""
    if config.getoption("--thorough") or any("::" in name for name in config.args):
        return
    grids: dict[tuple[Path, str], list[pytest.Item]] = {}
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    for item in items:
        if item.get_closest_marker("grid"):
            grids.setdefault((item.path, item.name.partition("[")[0]), []).append(item)
    for cases in grids.values():
        mark = cases[0].get_closest_marker("grid")
        kept = min(len(cases), mark.args[0]) if mark else 0
        chosen = {k * len(cases) // kept for k in range(kept)}
        left_out += [item for k, item in enumerate(cases) if k not in chosen]
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=left_out)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="all cases of the tests that are marked grid or thorough")
    parser.addoption("--device", default="cuda", help="of the tests marked gpu: cuda, or cpu to rehearse them")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """Where a test that is marked gpu runs; skipped where there is no such device."""
    import torch

    asked = str(request.config.getoption("--device"))
    if asked != "cpu" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return asked
