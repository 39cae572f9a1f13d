"""TinyImageNet, ImageNet in its layouts, and folders of pictures of any size: labels, pixels, order, digests, refusals."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import archives
import numpy as np
import pytest
from archives import Content, pack, png, tarred, unpack
from PIL import Image
from scipy.io import savemat

from dynamics.errors import InputError
from fullscale.data import Files, Images, load, open_source, tree


def jpeg(seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB", kind: str = "JPEG") -> bytes:
    return png(seed, mode, size, kind)


def pixels_of(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


refused = partial(archives.refused, read=(load, open_source))


# The order of wnids.txt is not that of the alphabet; two classes have one name.
TINY = {
    "wnids.txt": b"n03\nn01\nn02\n",
    "words.txt": b"n01\tcrane\nn02\tgoldfish, Carassius auratus\nn03\tcrane\nn99\tother\n",
    "val/val_annotations.txt": b"val_1.JPEG\tn01\t0\t0\t7\t7\nval_0.JPEG\tn03\t1\t1\t2\t2\nval_2.JPEG\tn02\t0\t0\t1\t1\n",
    "test/images/test_0.JPEG": jpeg(0),
    "train/n01/n01_boxes.txt": b"n01_0.JPEG\t0\t0\t1\t1\n",
    **{f"val/images/val_{k}.JPEG": jpeg(10 + k) for k in range(3)},
    **{
        f"train/n0{c}/images/n0{c}_{k}.JPEG": jpeg(10 * c + k, mode="L" if k else "RGB")
        for c in (1, 2, 3)
        for k in (0, 1)
    },
}


@pytest.mark.parametrize("form", ["folder", "wrapped folder", "a.zip", "backwards.zip", "a.tar.gz"])
def test_tiny_imagenet(tmp_path: Path, form: str) -> None:
    files = dict(reversed(TINY.items())) if form == "backwards.zip" else TINY
    prefix = "tiny-imagenet-200/" if form in ("wrapped folder", "a.zip", "backwards.zip") else ""
    source = pack(tmp_path / form, {prefix + name: data for name, data in files.items()})
    for images in (load(source), open_source(source)):
        assert isinstance(images, Images)
        assert images.classes == ("crane (n03)", "crane (n01)", "goldfish, Carassius auratus")
        assert images.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert images.test.labels.tolist() == [1, 0, 2]
        assert images.train.images.shape == (6, 3, 8, 8)
        for side, index, name in ((images.train, 0, "train/n03/images/n03_0"), (images.train, 3, "train/n01/images/n01_1"),
                                  (images.test, 1, "val/images/val_0")):  # fmt: skip
            assert np.array_equal(side.images[index].transpose(1, 2, 0), pixels_of(TINY[f"{name}.JPEG"]))


def without(files: Content, name: str) -> Content:
    return {key: data for key, data in files.items() if key != name}


NOTES = "val/val_annotations.txt"
WRONG_TINY: dict[str, tuple[Content, list[str]]] = {
    "no wnids": (without(TINY, "wnids.txt"), ["no 'wnids.txt'"]),
    "no words": (without(TINY, "words.txt"), ["no 'words.txt'"]),
    "a class twice": (TINY | {"wnids.txt": b"n03\nn01\nn02\nn01\n"}, ["twice in 'wnids.txt'"]),
    "a class of train unknown": (TINY | {"train/n05/images/x.JPEG": jpeg(1)}, ["'n05'", "wnids.txt"]),
    "a class of val unknown": (TINY | {NOTES: TINY[NOTES].replace(b"n02", b"n07")}, ["'n07'", "wnids.txt"]),
    "a val picture that is not there": (without(TINY, "val/images/val_2.JPEG"), ["'val/images/val_2.JPEG'", "without a picture"]),
    "a val picture without a line": (TINY | {"val/images/val_9.JPEG": jpeg(1)}, ["val_9.JPEG'", "without a line"]),
    "a line twice": (TINY | {NOTES: TINY[NOTES] + b"val_0.JPEG\tn01\n"}, ["'val_0.JPEG'", "2 times"]),
    "a line of one field": (TINY | {NOTES: TINY[NOTES] + b"val_9.JPEG n01\n"}, ["'val_9.JPEG n01'"]),
    "a class without pictures": (TINY | {"wnids.txt": b"n03\nn01\nn02\nn99\n"}, ["'other'", "in train"]),
    "a picture of another size": (TINY | {"val/images/val_0.JPEG": jpeg(1, (9, 8))}, ["8 x 8", "9 x 8", "one size"]),
    "a broken picture": (TINY | {"train/n01/images/n01_0.JPEG": jpeg(1)[:100]}, ["n01_0.JPEG'", "decode"]),
    "no train": ({n: d for n, d in TINY.items() if not n.startswith("train")}, ["'crane (n03)'", "in train"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_TINY)
def test_wrong_tiny_imagenet(tmp_path: Path, case: str) -> None:
    files, words = WRONG_TINY[case]
    refused(unpack(tmp_path, files), *words)


# Sizes differ, as ImageNet's do, and one picture is grey.
WNIDS = ["n00000003", "n00000001"]
TRAIN = {
    f"{wnid}/{wnid}_{k}.JPEG": jpeg(10 * c + k, (9 + k, 7 + c), "L" if k == 2 else "RGB")
    for c, wnid in enumerate(WNIDS)
    for k in (10, 2)
}
VAL = {f"ILSVRC2012_val_{k:08}.JPEG": jpeg(100 + k, (6 + k, 9)) for k in (3, 1, 2)}
TRUTH = [WNIDS[0], WNIDS[1], WNIDS[0]]  # of val 1, 2, 3


def devkit(truth: bytes = b"7\n2\n7\n") -> Content:
    rows = [(2, WNIDS[1], 0), (7, WNIDS[0], 0), (8, "n00000099", 2)]  # the last is no class, but above some
    form = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    file = io.BytesIO()
    savemat(file, {"synsets": np.array(rows, dtype=form)[:, None]})
    data = "ILSVRC2012_devkit_t12/data"
    return {f"{data}/meta.mat": file.getvalue(), f"{data}/ILSVRC2012_validation_ground_truth.txt": truth}


def sorted_folders() -> Content:
    val = {f"val/{TRUTH[int(name[15:23]) - 1]}/{name}": data for name, data in VAL.items()}
    return {f"train/{name}": data for name, data in TRAIN.items()} | val


def flat(packed: bool) -> Content:
    kit = {"ILSVRC2012_devkit_t12.tar.gz": tarred(devkit(), ".gz")} if packed else devkit()
    return {f"train/{n}": d for n, d in TRAIN.items()} | {f"val/{n}": d for n, d in VAL.items()} | kit


def tar_of_tars() -> bytes:
    inner = {w: tarred({n.split("/")[1]: d for n, d in TRAIN.items() if n.startswith(w)}) for w in WNIDS}
    return tarred({f"{wnid}.tar": data for wnid, data in inner.items()})


def tars() -> Content:
    return {
        "ILSVRC2012_img_train.tar": tar_of_tars(),
        "ILSVRC2012_img_val.tar": tarred(VAL),
        "ILSVRC2012_devkit_t12.tar.gz": tarred(devkit(), ".gz"),
    }


def test_imagenet_is_one_in_all_of_its_layouts(tmp_path: Path) -> None:
    layouts = {"sorted": sorted_folders(), "flat": flat(True), "unpacked": flat(False), "tars": tars()}
    found = {name: open_source(unpack(tmp_path / name, files)) for name, files in layouts.items()}
    assert len({files.digest for files in found.values()}) == 1
    train = [TRAIN[f"{wnid}/{wnid}_{k}.JPEG"] for wnid in sorted(WNIDS) for k in (10, 2)]
    test = [VAL[f"ILSVRC2012_val_{k:08}.JPEG"] for k in (2, 1, 3)]
    for files in found.values():
        assert isinstance(files, Files)
        assert files.classes == tuple(sorted(WNIDS))
        assert files.train.labels.tolist() == [0, 0, 1, 1]
        assert files.test.labels.tolist() == [0, 1, 1]
        for pictures, expected in ((files.train, train), (files.test, test)):
            assert len(pictures) == len(expected)
            for index, data in enumerate(expected):
                assert np.array_equal(pictures.read(index), pixels_of(data))
    for name in ("flat", "tars"):
        with pytest.raises(InputError, match="open_source"):
            load(tmp_path / name)
    with pytest.raises(InputError, match=r"one size is accepted.*open_source"):
        load(tmp_path / "sorted")


KIT = "ILSVRC2012_devkit_t12.tar.gz"
BIG = "ILSVRC2012_img_train.tar"
WRONG_IMAGENET: dict[str, tuple[Content, list[str]]] = {
    "no devkit": (without(flat(True), KIT), ["no ILSVRC2012_devkit_t12.tar.gz", "train/<wnid>"]),
    "one tar only": (without(tars(), "ILSVRC2012_img_val.tar"), ["no 'ILSVRC2012_img_val.tar'"]),
    "a devkit without labels": (
        flat(True) | {KIT: tarred({n: d for n, d in devkit().items() if "meta" in n}, ".gz")}, ["without meta.mat or"],
    ),
    "a devkit of another kind": (flat(False) | {"ILSVRC2012_devkit_t12/data/meta.mat": b"MATLAB?"}, ["meta.mat is not read"]),
    "a broken devkit": (flat(True) | {KIT: tarred(devkit(), ".gz")[:200]}, [KIT, "cannot be read"]),
    "a label of no class": (flat(False) | devkit(b"7\n8\n2\n"), ["ground_truth", "8"]),
    "a label that is no number": (flat(False) | devkit(b"7\nx\n2\n"), ["ground_truth", "'x'"]),
    "fewer labels": (flat(False) | devkit(b"7\n2\n"), ["ILSVRC2012_val_00000003.JPEG", "1 to 2"]),
    "more labels": (flat(False) | devkit(b"7\n2\n7\n7\n"), ["3 val pictures, 4 labels"]),
    "another name in val": (flat(False) | {"val/x.JPEG": jpeg(0)}, ["'x.JPEG'"]),
    "folders in val too": (flat(False) | {"val/n00000001/x.JPEG": jpeg(0)}, ["'val/n00000001/x.JPEG'"]),
    "a picture in train itself": (flat(False) | {"train/x.JPEG": jpeg(0)}, ["'train/x.JPEG'"]),
    "a class of val not in train": (
        {n: d for n, d in flat(False).items() if f"train/{WNIDS[0]}" not in n}, [WNIDS[0], "nothing in train"],
    ),
    "a train tar of pictures": (tars() | {BIG: tarred(TRAIN)}, [BIG, "<wnid>.tar"]),
    "a cut train tar": (tars() | {BIG: tar_of_tars()[:15_000]}, [BIG, "to its end"]),
    "a tar without an end": (tars() | {BIG: tar_of_tars().rstrip(b"\0")}, [BIG, "to its end"]),
    "a damaged header, its checksum wrong": (
        tars() | {"ILSVRC2012_img_val.tar": tarred(VAL).replace(b"ILSVRC2012_val_00000001", b"XXXXXX2012_val_00000001", 1)},
        ["ILSVRC2012_img_val.tar", "to its end"],
    ),
    "an empty tar": (tars() | {"ILSVRC2012_img_val.tar": b""}, ["ILSVRC2012_img_val.tar", "to its end"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_IMAGENET)
def test_wrong_imagenet(tmp_path: Path, case: str) -> None:
    files, words = WRONG_IMAGENET[case]
    archives.refused(unpack(tmp_path, files), *words, read=(open_source,))


ANY_SIZE = {f"{c}/{k}.png": jpeg(k, (5 + k, 9), kind="PNG") for c in "ba" for k in range(5)}


def test_a_folder_of_any_sizes_has_the_test_part_that_one_of_one_size_has(tmp_path: Path) -> None:
    files = open_source(unpack(tmp_path / "any", ANY_SIZE))
    images = open_source(unpack(tmp_path / "one", {name: jpeg(3, kind="PNG") for name in ANY_SIZE}))
    assert isinstance(files, Files)
    assert isinstance(images, Images)
    assert files.classes == images.classes == ("a", "b")
    assert files.train.labels.tolist() == images.train.labels.tolist()
    named = [*files.train.names.tolist(), *files.test.names.tolist()]
    assert sorted(named) == sorted(name.encode() for name in ANY_SIZE)
    for pictures in (files.train, files.test):
        for index, name in enumerate(pictures.names.tolist()):
            assert np.array_equal(pictures.read(index), pixels_of(ANY_SIZE[name.decode()]))


def test_what_does_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {f"{c}/{k}.png": jpeg(k, kind="PNG") for c in "ab" for k in range(3)}
    folder = unpack(tmp_path / "f", one)
    monkeypatch.setattr(tree, "LIMIT", 6 * 3 * 64)
    assert isinstance(open_source(folder), Images)
    monkeypatch.setattr(tree, "LIMIT", 6 * 3 * 64 - 1)
    with pytest.raises(InputError, match=r"6 pictures of 8 x 8 pixels, 1152 bytes: up to 1151 are accepted"):
        load(folder)
    assert isinstance(open_source(folder), Files)
    refused(pack(tmp_path / "t.zip", TINY), "9 pictures", "up to 1151")


def test_the_digest_of_files_sees_names_sizes_labels_sides(tmp_path: Path) -> None:
    base = sorted_folders()
    names = list(base)
    variants = [
        base,
        base | {names[0]: base[names[0]] + b"\0"},
        {("train/n00000003/other.JPEG" if name == names[0] else name): data for name, data in base.items()},
        {name.replace("n00000003", "n00000004"): data for name, data in base.items()},
        {name.replace(names[0], names[0].replace("n00000003/", "n00000001/")): data for name, data in base.items()},
        {{"t": "val", "v": "train"}[name[0]] + name[name.index("/") :]: data for name, data in base.items()},
    ]
    digests = [open_source(unpack(tmp_path / str(k), files)).digest for k, files in enumerate(variants)]
    assert len(set(digests)) == len(variants)
    assert open_source(unpack(tmp_path / "again", base)).digest == digests[0]


@pytest.mark.parametrize("form", ["sorted", "tars"])
def test_a_picture_that_changed_or_broke_is_named(tmp_path: Path, form: str) -> None:
    files = open_source(unpack(tmp_path, sorted_folders() if form == "sorted" else tars()))
    assert isinstance(files, Files)
    last = f"{WNIDS[0]}_2.JPEG"
    path = tmp_path / "train" / WNIDS[0] / last if form == "sorted" else tmp_path / BIG
    whole = path.read_bytes()
    place = whole.index(TRAIN[f"{WNIDS[0]}/{last}"]) + 20
    for change, words in (
        (lambda: path.write_bytes(whole[:place] + bytes(len(whole) - place)), "decode"),
        (lambda: path.write_bytes(b"short"), "has not now"),
        (path.unlink, r"cannot be read \(No such file"),
    ):
        change()
        with pytest.raises(InputError, match=rf"{last}.*{words}"):
            files.train.read(3)
