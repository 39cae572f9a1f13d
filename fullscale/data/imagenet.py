"""ImageNet (ILSVRC 2012) where val is not in folders of classes: with the devkit, which says the labels, or in its tars.

Source: Russakovsky et al., "ImageNet large scale visual recognition challenge", arXiv 1409.0575; image-net.org.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

from .files import Files, Pictures, in_folder
from .layout import Parts
from .tree import Survey, Tree, encoded, picture
from .unpacked import Unpacked

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12"
META, TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"
IN_VAL = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
WNID = re.compile(r"n\d{8}")
END = 1024  # zero bytes that end a tar: two blocks
ACCEPTED = (
    f"train/<wnid>/* and val/<wnid>/*, or train/<wnid>/*, val/* and {DEVKIT}.tar.gz, or {TRAIN}, {VAL} and "
    f"{DEVKIT}.tar.gz are accepted"
)


def recognised(seen: Survey) -> bool:
    """Whether a folder holds ImageNet in one of the two layouts that need the devkit."""
    return any(path in ((TRAIN,), (VAL,)) or (len(path) == 2 and _in_flat_val(path)) for path in seen.files)


def _in_flat_val(path: Parts) -> bool:
    return path[0] == "val" and IN_VAL.fullmatch(path[-1]) is not None


def read(tree: Tree, seen: Survey) -> Files:
    """ImageNet as it lies in a folder: train/<wnid>/* and a flat val/*, or the two official tars, uncompressed, in which the
    places of the pictures are looked up; the devkit, packed or not, is beside them.

    Classes are the wnids in alphabetical order, which is the usual order of ImageNet's labels; the val pictures are
    the test part. Raises InputError for what is missing, damaged or in another layout.
    """
    source, root = tree.source, tree.path
    truth = _devkit(root, source, seen)
    packed = (TRAIN,) in seen.files or (VAL,) in seen.files
    if packed:
        for name in (TRAIN, VAL):
            if (name,) not in seen.files:
                raise InputError(f"{source}: no {name!r}: {ACCEPTED}")
        train = list(_in_tar_of_tars(root / TRAIN))
        val = [(m.name, m.offset_data, m.size) for _, m in _members((root / VAL).open("rb"), root / VAL)]
        wnids, names = [wnid for wnid, *_ in train], [Path(name).name for _, name, *_ in train]
        val_names = [name for name, *_ in val]
    else:
        paths, flat = ([p for p in seen.files if picture(p) and p[0] == side] for side in ("train", "val"))
        for path in paths:
            if len(path) != 3:
                raise InputError(f"{source}: {'/'.join(path)!r} does not lie in train/<wnid>: {ACCEPTED}")
        for path in flat:
            if len(path) != 2:
                raise InputError(f"{source}: {'/'.join(path)!r} beside pictures that lie in val itself: {ACCEPTED}")
        wnids, names, val_names = [p[1] for p in paths], [p[-1] for p in paths], [p[-1] for p in flat]
    classes = tuple(sorted(set(wnids)))
    order, labels = _side(source, classes, wnids, names)
    val_order, val_labels = _side(source, classes, _wnids(source, val_names, truth), val_names)
    if packed:
        one = _in_tar(root / TRAIN, [train[k][1:] for k in order], labels)
        return Files(tree.name, classes, one, _in_tar(root / VAL, [val[k] for k in val_order], val_labels))
    one = in_folder(root, [paths[k] for k in order], labels)
    return Files(tree.name, classes, one, in_folder(root, [flat[k] for k in val_order], val_labels))


def _side(source: str, classes: Parts, wnids: list[str], names: list[str]) -> tuple[list[int], NDArray[np.int64]]:
    """The order by class and name, and the labels in it."""
    number = {wnid: index for index, wnid in enumerate(classes)}
    for wnid, name in zip(wnids, names, strict=True):
        if wnid not in number:
            raise InputError(f"{source}: {name!r} is of class {wnid!r}, of which there is nothing in train: {ACCEPTED}")
    order = sorted(range(len(names)), key=lambda k: (number[wnids[k]], names[k]))
    return order, np.array([number[wnids[k]] for k in order], dtype=np.int64)


def _wnids(source: str, names: list[str], truth: list[str]) -> list[str]:
    """Those of val pictures: the number in a name says the line of the ground truth."""
    wnids = []
    for name in names:
        match = IN_VAL.fullmatch(name)
        if match is None or not 0 < int(match[1]) <= len(truth):
            raise InputError(
                f"{source}: {name!r} in val: ILSVRC2012_val_<1 to {len(truth)}, 8 digits>.JPEG is accepted"
            )
        wnids.append(truth[int(match[1]) - 1])
    if len(set(names)) != len(truth):
        raise InputError(
            f"{source}: {len(set(names))} val pictures, {len(truth)} labels in {TRUTH}: one each is accepted"
        )
    return wnids


def _devkit(root: Path, source: str, seen: Survey) -> list[str]:
    """The wnid of each val picture, in the order of their numbers."""
    packed, unpacked = f"{DEVKIT}.tar.gz", (DEVKIT, "data", META)
    if (packed,) in seen.files:
        try:
            with (root / packed).open("rb") as file, gzip.open(file) as stream:
                kit = Unpacked(cast(IO[bytes], stream), file.tell, repr(str(root / packed)))
                with tarfile.open(fileobj=cast(IO[bytes], kit), mode="r|") as tar:
                    content = {
                        name: encoded(_opened(tar, member), name)
                        for member in tar
                        if member.isreg() and (name := Path(member.name).name) in (META, TRUTH)
                    }
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{str(root / packed)!r} cannot be read to its end ({error}): the whole archive is accepted"
            ) from error
    elif unpacked in seen.files:
        folder = root / DEVKIT / "data"
        content = {name: (folder / name).read_bytes() for name in (META, TRUTH) if (folder / name).is_file()}
    else:
        raise InputError(f"{source}: val without folders of classes, and no {packed} to say its labels: {ACCEPTED}")
    if set(content) != {META, TRUTH}:
        raise InputError(f"{source}: the devkit is without {META} or {TRUTH}: a whole one is accepted")
    wnids = _synsets(content[META], source)
    try:
        return [wnids[int(line)] for line in content[TRUTH].decode().split()]
    except (ValueError, KeyError) as error:
        raise InputError(f"{source}: {TRUTH} with {error}: numbers of classes in {META} are accepted") from error


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None
    return file


def _synsets(data: bytes, source: str) -> dict[int, str]:
    """The wnids of the classes by the numbers that the devkit gives them; what has children in WordNet is no class."""
    from scipy.io import loadmat

    try:
        rows: Any = loadmat(io.BytesIO(data), squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows if int(row["num_children"]) == 0}
    except Exception as error:  # a damaged file leads the parser into whatever it spells
        raise InputError(
            f"{source}: {META} is not read ({type(error).__name__}): the devkit's, with synsets, is accepted"
        ) from error


def _members(file: IO[bytes], path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The files in an uncompressed tar, by their headers alone, each with the open tar."""
    try:
        with file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if not member.isreg() or member.issparse():
                    raise InputError(f"{str(path)!r}: member {member.name!r} is no plain file: only such are accepted")
                yield tar, member
            # tarfile takes a damaged header for the end: the rest would be missing in silence.
            file.seek(tar.offset)
            if file.read(END) != bytes(END):
                raise tarfile.ReadError(f"no end-of-archive mark at byte {tar.offset}")
    except tarfile.TarError as error:
        raise InputError(f"{str(path)!r} cannot be read to its end ({error}): the whole tar is accepted") from error


def _in_tar_of_tars(path: Path) -> Iterator[tuple[str, str, int, int]]:
    """(wnid, name, offset, size) of each picture in a tar of tars, one a class."""
    for tar, outer in _members(path.open("rb"), path):
        wnid = outer.name.removesuffix(".tar")
        if not WNID.fullmatch(wnid):
            raise InputError(f"{str(path)!r}: member {outer.name!r}: <wnid>.tar, a class each, is accepted")
        for _, inner in _members(_opened(tar, outer), path):
            yield wnid, inner.name, outer.offset_data + inner.offset_data, inner.size


def _in_tar(path: Path, places: list[tuple[str, int, int]], labels: NDArray[np.int64]) -> Pictures:
    names, offsets, sizes = zip(*places, strict=True)
    below = np.array([name.encode() for name in names])
    return Pictures(path, below, np.array(sizes, np.int64), labels, np.array(offsets, np.int64))
