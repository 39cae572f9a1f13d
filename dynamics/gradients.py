"""Where a toy weight's gradient comes from: plain functions of the weight, the step and two uniform random numbers.

gradient(w, t, u, z, *parameters) -> g. Parameters are lane axes like any hyperparameter: every lane has its own. The
words are those of `dynamics.words`, so the same code runs in the kernel and in its NumPy reference.
"""

from __future__ import annotations

from dynamics.words import where


def silent(w, t, u, z):  # type: ignore[no-untyped-def]
    """No gradient at all: a feature that no image excites."""
    return 0.0


def selective(w, t, u, z, arrival, pull, target, sigma):  # type: ignore[no-untyped-def]
    """A gradient that arrives with probability `arrival` = 1 - selectivity and is exactly zero otherwise.

    When it arrives it is pull (w - target) plus noise of standard deviation sigma, uniform rather than normal: only
    arithmetic is the same to the last bit everywhere. 3.46... = sqrt(12) gives z - 1/2 the standard deviation 1.
    """
    return where(u < arrival, pull * (w - target) + sigma * (3.4641016151377544 * (z - 0.5)), 0.0)
