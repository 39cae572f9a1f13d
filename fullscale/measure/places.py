"""Where a layer's output has its images: along which dimension, also where something else is folded into it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Share of the filters that must follow the images for a dimension to be that of the images: of a few that are all but
# silent, rounding alone decides.
FOLLOWING = 0.9


class Place(NamedTuple):
    """A dimension of an output that has the images, alone or folded with something else (tokens, windows).

    inner: of a folded dimension, whether the images follow one another in it, rather than the parts of one image.
    """

    axis: int
    inner: bool = False


def candidates(shape: tuple[int, ...], dim: int, images: int) -> list[Place]:
    """Where the images can be, by the sizes alone, the likeliest first. dim: of the channels, which come after the images.

    A size that hangs on the numbers in a tensor, as that of x[mask] does, is none that could be told: there they are not."""
    before = [axis for axis in range(dim) if isinstance(shape[axis], int)]
    alone = [Place(axis) for axis in before if shape[axis] == images]
    folded = [axis for axis in before if shape[axis] > images and shape[axis] % images == 0]
    return [*alone, *(Place(axis, inner) for axis in folded for inner in (False, True))]


def extremes(x: Tensor, dim: int, images: int, place: Place | None) -> tuple[Tensor, Tensor]:
    """The smallest and the largest activation of each filter on each image, (images, filters) both.

    dim: that of the channels. place: None where an output knows no images: the extremes of all of it, for each of them.
    """
    if x.numel() == 0:  # nothing came here: as far from any number as can be
        none = x.new_full((images, x.shape[dim]), torch.inf)
        return none, -none
    if place is None:
        rest = tuple(axis for axis in range(x.ndim) if axis != dim)
        low, high = (x.amin(rest), x.amax(rest)) if rest else (x, x)
        return low.expand(images, -1), high.expand(images, -1)
    axis, inner = place
    if x.shape[axis] != images:
        x = x.unflatten(axis, (-1, images) if inner else (images, -1))  # type: ignore[no-untyped-call]
        dim += dim > axis
        axis += inner
    rest = tuple(other for other in range(x.ndim) if other not in (axis, dim))
    low, high = (x.amin(rest), x.amax(rest)) if rest else (x, x)
    return (low, high) if axis < dim else (low.T, high.T)


def follows(before: Tensor, after: Tensor) -> float:
    """How much of an output follows its images: of the filters whose numbers (images, filters) differ from image to image,
    the share of which they move along when the images are moved on by one; 1 where none differs."""
    size = before.abs().amax(dim=0) * torch.finfo(before.dtype).eps ** 0.5
    differ = (before - before.roll(1, 0)).abs().amax(dim=0) > size
    moved = (before.roll(1, 0) - after).abs().amax(dim=0) <= size
    return float(moved[differ].double().mean()) if differ.any() else 1.0
