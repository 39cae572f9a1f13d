"""Where a toy weight's gradient comes from: plain functions of the weight, the step and two uniform random numbers.

gradient(w, t, u, z, *parameters) -> g. Parameters are lane axes like any hyperparameter: every lane has its own. A gradient
with a parameter `epoch`, a number of steps, gets the same u and z for all steps of an epoch. The words are those of
`dynamics.words`, so the same code runs in the kernel and in its NumPy reference. Noise is uniform rather than normal: only
arithmetic is the same to the last bit everywhere. 3.46... = sqrt(12) gives z - 1/2 the standard deviation 1.
"""

from __future__ import annotations

from dynamics.words import round_down, where


def silent(w, t, u, z):
    """No gradient at all: a feature that no image excites."""
    return 0.0


def selective(w, t, u, z, arrival, pull, target, sigma):
    """A gradient that arrives with probability `arrival` = 1 - selectivity and is exactly zero otherwise.

    When it arrives it is pull (w - target) plus noise of standard deviation sigma.
    """
    return where(u < arrival, pull * (w - target) + sigma * (3.4641016151377544 * (z - 0.5)), 0.0)


def mortal(w, t, u, z, arrival, pull, target, sigma, floor):
    """`selective` for a feature that can die: once abs(w) <= floor nothing excites it, and no gradient comes again."""
    g = pull * (w - target) + sigma * (3.4641016151377544 * (z - 0.5))
    return where(u < arrival, where(abs(w) > floor, g, 0.0), 0.0)


def visited(w, t, u, z, epoch, arrival, pull, target, sigma, floor):
    """`mortal` for a feature that one image excites: visited once an epoch of `epoch` steps, at a random one of them.

    arrival: the probability that an epoch holds the image (1: a real epoch, which visits every image once). The step
    within the epoch is uniform. With epoch = 1 the gradients arrive as those of `mortal`: independently, step by step.
    """
    g = pull * (w - target) + sigma * (3.4641016151377544 * (z - 0.5))
    within = t + 0.5 - epoch * round_down((t + 0.5) / epoch)
    due = u * epoch < arrival * (within + 0.5)
    past = u * epoch < arrival * (within - 0.5)
    return where(due, where(past, 0.0, where(abs(w) > floor, g, 0.0)), 0.0)
