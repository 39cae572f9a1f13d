"""One hypothesis profile for all tests, the paths from which they import, and the device of those that are marked gpu."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The repository comes before tests/, so that `dynamics` is the package and never the folder tests/dynamics; tests/
# itself is there for the helpers that suites share (conformance.oracle, properties.draws).
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cuda", help="of the tests marked gpu: cuda, or cpu to rehearse them")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """Where a test that is marked gpu runs; skipped where there is no such device."""
    import torch

    asked = str(request.config.getoption("--device"))
    if asked != "cpu" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return asked
