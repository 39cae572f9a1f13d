"""Whether two contestants computed the same thing: asked before any ratio is printed.

Own runs must equal the fused run bit by bit. Others must end at the same weights where nothing is random, to 1e-9
relative (they sum and divide in another order). Where gradients are random they draw other numbers: then the mean and
the variance of the end weights must match within FEW standard errors, those of the variance taken from the fourth
moment so that no shape is assumed. In a phase diagram every lane has its own setting, so lanes are compared with their
like: means of differences lane by lane must be 0 within FEW standard errors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]

TOLERANCE = 1e-9
FEW = 5.0


def same_bits(ours: Weights, theirs: Weights) -> str | None:
    """None if equal in every bit, else the difference in words."""
    if ours.shape != theirs.shape:
        return f"{theirs.shape} weights instead of {ours.shape}"
    differing = np.count_nonzero(ours.view(np.uint64) != theirs.view(np.uint64))
    return f"{differing} of {ours.size} weights differ" if differing else None


def same_weights(ours: Weights, theirs: Weights) -> str | None:
    """None if equal to TOLERANCE, relative to each weight, else the difference in words."""
    if ours.shape != theirs.shape:
        return f"{theirs.shape} weights instead of {ours.shape}"
    furthest = float(np.max(np.abs(theirs - ours) / np.abs(ours)))
    # Written so that nan is a difference too.
    return None if furthest <= TOLERANCE else f"end weights differ by {furthest:.1e} relative"


def same_moments(ours: Weights, theirs: Weights) -> str | None:
    """None if mean and variance match within FEW standard errors, else the difference in words."""
    if ours.shape != theirs.shape:
        return f"{theirs.shape} weights instead of {ours.shape}"
    for what, (one, error), (two, other_error) in zip(
        ("mean", "variance"), _moments(ours), _moments(theirs), strict=True
    ):
        errors = abs(two - one) / np.hypot(error, other_error)
        if not errors <= FEW:
            return f"{what} of the end weights is {two:.6g} instead of {one:.6g}, {errors:.0f} standard errors off"
    return None


def same_fates(ours: Weights, theirs: Weights, steps: int) -> str | None:
    """None if weights at the end and steps of death, the two rows, match within FEW standard errors, else words.

    Compared are the share dead, the steps lived (all `steps` by those that lived) and the weights of lanes alive in both.
    """
    if ours.shape != theirs.shape:
        return f"{theirs.shape} weights and deaths instead of {ours.shape}"
    (w, death), (other_w, other_death) = ours, theirs
    alive = np.isinf(death) & np.isinf(other_death)
    for what, one, two in (
        ("share dead", np.isfinite(death), np.isfinite(other_death)),
        ("mean of steps lived", np.minimum(death, steps), np.minimum(other_death, steps)),
        ("mean weight of those alive", w[alive], other_w[alive]),
    ):
        if not one.size:
            continue
        off = two.astype(float) - one.astype(float)
        error = float(off.std()) / off.size**0.5
        if not abs(off.mean()) <= FEW * error:
            return f"{what} is {two.mean():.6g} instead of {one.mean():.6g}, standard error {error:.2g}"
    return None


def _moments(w: Weights) -> tuple[tuple[float, float], tuple[float, float]]:
    """(mean, its standard error), (variance, its standard error)."""
    squares = (w - w.mean()) ** 2
    variance = float(squares.mean())
    return (float(w.mean()), (variance / w.size) ** 0.5), (variance, float(squares.std()) / w.size**0.5)
