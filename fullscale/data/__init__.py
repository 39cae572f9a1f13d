"""Labelled images from a name, a folder or an archive, as plain NumPy arrays, or as pictures that stay on disk.

- images.py     what every source in memory ends as: `Split` and `Images`, their checks, their parts
- files.py      what a source too large for that ends as: `Files`, read picture by picture
- digits.py     scikit-learn's digits, the set that needs no file
- folder.py     a directory as a stream of entries
- archive.py    a tar or zip as the same stream, read without unpacking, hostile members refused
- prepare.py    images of fewer classes, fewer pixels or with wrong labels
- tree.py       a stream of entries -> decoded files -> `Images`
- layout.py     where the pictures lie -> classes, train and test
- pixels.py     one encoded picture -> an array
- idx.py        the format of MNIST's files
- cifar.py      the python archives of CIFAR-10 and CIFAR-100
- unpickle.py   pickles without the danger of pickles
- tiny.py       TinyImageNet
- imagenet.py   ImageNet with its devkit or in its tars
- checksums.py  what official files are known by, and SHA256SUMS
- fetch.py      official archives from where they are given out
"""

from __future__ import annotations

import stat
from pathlib import Path

from dynamics.errors import InputError
from dynamics.given import kind

from . import archive, cifar, digits, files, folder, imagenet, tiny
from .files import Files, Pictures
from .images import Images, Split
from .prepare import canonical, prepared
from .tree import NotOneArray, Tree, gather, survey

__all__ = ["Files", "Images", "Pictures", "Split", "canonical", "check_source", "load", "open_source", "prepared"]


def load(source: str | Path) -> Images:
    """The labelled images that a name, a folder or an archive holds, in memory.

    Pixels keep the values that the files hold (uint8). Classes and images are in the order of the set's own lists where
    it has such lists (`cifar.read`, `tiny.read`), otherwise classes in alphabetical order, images in the order of their
    paths, so a folder and its archive give the same digest. Where the source has no test part, a fifth of each class
    becomes one, the same at every call.

    Args:
        source: one of
          "digits"      scikit-learn's 8 x 8 digits (a folder of that name is reached as "./digits");
          a directory   with MNIST's four IDX files (Debian's dataset-fashion-mnist puts such a one under
                        /usr/share/datasets/fashion-mnist), with the files of CIFAR-10's or CIFAR-100's python archive,
                        with TinyImageNet, or with pictures as train/<class>/* and test/<class>/* (val, valid or
                        validation serve where there is no test), or as <class>/* alone;
          an archive    .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz or .zip of such a directory.

    Returns:
        The Images: training and test part, each images (N, C, H, W) and labels (N,).

    Raises:
        InputError: for anything else, for what is incomplete, ambiguous or unsafe, for pickles that are neither
            official nor vouched for, and for pictures of several sizes or of more than 4 GiB of pixels, which
            `open_source` takes.

    Example:
        >>> load("digits").test.images.shape
        (359, 1, 8, 8)
    """
    found = _read(source, on_disk=False)
    assert isinstance(found, Images)
    return found


def open_source(source: str | Path) -> Images | Files:
    """As `load`, but a directory of pictures that do not fit into one array, being of several sizes or more than 4 GiB of
    pixels, becomes `Files`; so does ImageNet in all of the layouts that `imagenet.read` names.

    Raises InputError as `load` does, and for pictures of several sizes in an archive.
    """
    return _read(source, on_disk=True)


def _read(source: str | Path, on_disk: bool) -> Images | Files:
    kind("source", source, (str, Path), "a text or a path")
    if source == "digits":
        return digits.read()
    tree = _tree(source)
    with tree.guard():
        seen = survey(tree)
        if tree.path.is_dir() and imagenet.recognised(seen):
            if on_disk:
                return imagenet.read(tree, seen)
            raise InputError(
                f"{tree.source}: ImageNet in memory: what open_source gives, pictures on disk, is accepted"
            )
        if found := cifar.recognised(seen):
            return cifar.read(tree, *found)
        base = tiny.recognised(seen)
        try:
            return gather(tree, seen) if base is None else tiny.read(tree, seen, base)
        except NotOneArray:
            if on_disk and tree.path.is_dir():
                return files.listing(tree, seen)
            raise


def check_source(source: str | Path) -> None:
    """InputError where `load` and `open_source` would find neither a folder nor an archive; nothing is read."""
    if kind("source", source, (str, Path), "a text or a path") != "digits":
        _place(source)


def _tree(source: str | Path) -> Tree:
    path = _place(source)
    return folder.tree(path) if path.is_dir() else archive.tree(path)


def _place(source: str | Path) -> Path:
    """The folder or the archive."""
    shown = repr(str(source))
    accepted = f"'digits', a directory or an archive ({', '.join(archive.SUFFIXES)}) is accepted"
    if not str(source):
        raise InputError(f"source {shown}: {accepted}")
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"source {shown} cannot be found ({reason}): {accepted}") from error
    if stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and path.name.lower().endswith(archive.SUFFIXES)):
        return path
    raise InputError(f"source {shown}: {accepted}")
