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


def quadratic(w, t, u, z, target):
    """The gradient of the loss (w - target)^2 / 2, at every step."""
    return w - target


def signed(w, t, u, z, arrival, pull, target, push, size):
    """A gradient that arrives with probability `arrival`, and at step 0: pull (w - target) - push, plus or minus size."""
    g = pull * (w - target) - push + where(z < 0.5, -size, size)
    return where(u < where(t < 1, 1.0, arrival), g, 0.0)


def once_an_epoch(w, t, u, z, epoch, pull, target, push, size):
    """`signed` at one step of every epoch of `epoch` steps, a random one; of the first epoch, at step 0."""
    within = t + 0.5 - epoch * round_down((t + 0.5) / epoch)
    ahead = within - where(t < epoch, 0.0, epoch * u)
    g = pull * (w - target) - push + where(z < 0.5, -size, size)
    return where(ahead > -0.5, where(ahead > 0.5, 0.0, g), 0.0)
