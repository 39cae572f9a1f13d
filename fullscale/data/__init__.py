"""Labelled images from a name, a folder or an archive, as plain NumPy arrays.

- images.py   what every source ends as: `Split` and `Images`, their checks, their parts
- digits.py   scikit-learn's digits, the set that needs no file
- folder.py   a directory as a stream of entries
- archive.py  a tar or zip as the same stream, read without unpacking, hostile members refused
- tree.py     a stream of entries -> decoded files -> `Images`
- layout.py   where the pictures lie -> classes, train and test
- pixels.py   one encoded picture -> an array
- idx.py      the format of MNIST's files
"""

from __future__ import annotations

import stat
from pathlib import Path

from dynamics.errors import InputError

from . import archive, digits, folder
from .images import Images, Split

__all__ = ["Images", "Split", "load"]


def load(source: str | Path) -> Images:
    """The labelled images that `source` names.

    source: one of
      "digits"      scikit-learn's 8 x 8 digits (a folder of that name is reached as "./digits");
      a directory   with MNIST's four IDX files (Debian's dataset-fashion-mnist puts such a one under
                    /usr/share/datasets/fashion-mnist), or with pictures as train/<class>/* and test/<class>/*
                    (val, valid or validation serve where there is no test), or as <class>/* alone;
      an archive    .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz or .zip of such a directory.

    Pixels keep the values that the files hold (uint8). Classes are in alphabetical order, images in the order of their
    paths, so a folder and its archive give the same digest. Where the source has no test part, a fifth of each
    class becomes one, the same at every call.

    Raises InputError for anything else, and for what is incomplete, ambiguous or unsafe.
    """
    if source == "digits":
        return digits.read()
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
    if stat.S_ISDIR(mode):
        return folder.read(path)
    if stat.S_ISREG(mode) and path.name.lower().endswith(archive.SUFFIXES):
        return archive.read(path)
    raise InputError(f"source {shown}: {accepted}")
