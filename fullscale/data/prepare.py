"""Images made easier or harder to learn: fewer classes, fewer pixels, labels that say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dynamics.given import items, kind, number, text, whole

from .images import Images


def prepared(images: Images, classes: Sequence[str] = (), size: int = 0, label_noise: float = 0.0) -> Images:
    """The task as a run trains on it: first its classes are chosen, then its images made smaller, then labels changed.

    Args:
        images: in memory.
        classes: the names of those that stay, in any order; (): all.
        size: pixels a side; 0: as they are.
        label_noise: share of the training labels that are drawn at random.

    Returns:
        The Images, of another digest unless nothing changed, and a name that says what did.

    Raises:
        InputError: as `Images.select`, `Images.resized` and `Images.mislabelled` do.

    Example:
        >>> from fullscale.data import load
        >>> prepared(load("digits"), ("3", "8"), size=4, label_noise=0.1).name
        'digits, 2 classes, 4 x 4, 10% of labels random'
    """
    said = [kind("images", images, Images, "what load gives").name]
    if len(items("classes", classes, "names")):
        images = images.select(classes)
        said.append(f"{len(images.classes)} classes")
    if whole("size", size):
        images = images.resized(size)
        said.append(f"{size} x {size}")
    if number("label noise", label_noise, 0, 1):
        images = images.mislabelled(label_noise)
        said.append(f"{100 * label_noise:g}% of labels random")
    return images if len(said) == 1 else replace(images, name=", ".join(said))


def canonical(images: Images, classes: Sequence[str] = (), size: int = 0, label_noise: float = 0.0) -> dict[str, Any]:
    """What `prepared` is asked for, in the one form in which a run's key holds it, by the names of RunSpec's fields.

    Classes are in the order of the set, and () if they are all; a size that the images have is 0.

    Args:
        images: those that are to be prepared.
        classes: as for `prepared`.
        size: as for `prepared`.
        label_noise: as for `prepared`.

    Returns:
        classes, size and label_noise.

    Example:
        >>> from fullscale.data import load
        >>> canonical(load("digits"), ("8", "3"), size=8)
        {'classes': ('3', '8'), 'size': 0, 'label_noise': 0.0}
    """
    kind("images", images, Images, "what load gives")
    classes = [text("class", name) for name in items("classes", classes, "names")]
    size = whole("size", size, 0, 2**31)
    label_noise = number("label noise", label_noise, 0, 1)
    kept = tuple(name for name in images.classes if name in classes)
    own = images.train.images.shape[2:] == (size, size)
    return {
        "classes": () if len(kept) == len(images.classes) else kept,
        "size": 0 if own else size,
        "label_noise": float(label_noise),
    }
