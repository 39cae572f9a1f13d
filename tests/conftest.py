"""One hypothesis profile for all tests, and the paths from which they import."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# The repository comes before tests/, so that `dynamics` is the package and never the folder tests/dynamics; tests/
# itself is there for the helpers that suites share (conformance.oracle, properties.draws).
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

# The same examples on every machine; how long one takes says nothing about whether it is right.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=35
)
settings.load_profile("repeatable")
