"""The python archives of CIFAR-10 and CIFAR-100: pixels, labels and order; vouching; what is refused, before unpickling."""

from __future__ import annotations

import hashlib
import os
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import archives
import numpy as np
import pytest
from archives import Call, pack

from fullscale.data import checksums, cifar, load, open_source, unpickle

Tables = dict[str, dict[Any, Any]]
TEN, HUNDRED = "cifar-10-batches-py", "cifar-100-python"


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def ten() -> Tables:
    """Two classes, two images a class and batch, with the keys that Python 2 made: bytes."""
    tables: Tables = {
        f"data_batch_{k}": {b"data": rows(4, k), b"labels": [1, 0, k % 2, 1], b"filenames": [b"x.png"] * 4}
        for k in range(1, 6)
    }
    tables["test_batch"] = {b"data": rows(4, 6), b"labels": [0, 1, 1, 0], b"batch_label": b"testing batch 1 of 1"}
    return tables | {"batches.meta": {b"label_names": [b"frog", b"airplane"], b"num_vis": 3072}}


def hundred() -> Tables:
    split = {b"coarse_labels": [9, 9, 9]}
    return {
        "train": split | {b"data": rows(3, 1), b"fine_labels": [2, 0, 1]},
        "test": split | {b"data": rows(3, 2), b"fine_labels": [1, 2, 0]},
        "meta": {b"fine_label_names": [b"whale", b"ant", b"sea"], b"coarse_label_names": [b"all"]},
    }


def pickled(tables: Tables) -> dict[str, bytes]:
    return {name: pickle.dumps(table, 2) for name, table in tables.items()}


def vouch(folder: Path, files: dict[str, bytes]) -> None:
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
    (folder / "SHA256SUMS").write_text("".join(lines))


def put(path: Path, files: dict[str, bytes], folder: str = TEN, vouched: bool = True) -> Path:
    """The files as the archive that `path` names, in a folder and beside another file, or as that folder itself."""
    whole = {f"{folder}/readme.html": b"", **{f"{folder}/{n}": d for n, d in files.items()}} if path.suffix else files
    pack(path, whole)
    if vouched:
        vouch(*((path.parent, {path.name: path.read_bytes()}) if path.suffix else (path, files)))
    return path


refused = partial(archives.refused, read=(load, open_source))


def test_cifar_10_is_what_was_written(tmp_path: Path) -> None:
    tables = ten()
    text = {name: {key.decode(): value for key, value in table.items()} for name, table in tables.items()}
    text["batches.meta"]["label_names"] = ["frog", "airplane"]
    forms = {"f": pickled(tables), "mine.tgz": dict(reversed(pickled(tables).items()))}
    forms["keys of Python 3"] = {name: pickle.dumps(table, 5) for name, table in text.items()}
    found = [load(put(tmp_path / name, files)) for name, files in forms.items()]
    assert len({images.digest for images in found}) == 1
    images = found[1]
    assert images.name == "cifar10"
    assert images.classes == ("frog", "airplane")  # as the meta file has them, not by alphabet
    assert images.train.labels.tolist() == [label for k in range(1, 6) for label in [1, 0, k % 2, 1]]
    assert images.test.labels.tolist() == [0, 1, 1, 0]
    # Planes one after another: red, green, blue, each row by row.
    row = tables["data_batch_2"][b"data"][3]
    for channel, y, x in ((0, 0, 0), (0, 0, 31), (1, 31, 0), (2, 17, 5)):
        assert images.train.images[7, channel, y, x] == row[channel * 1024 + y * 32 + x]
    assert np.array_equal(images.test.images.reshape(4, 3072), tables["test_batch"][b"data"])


def test_cifar_100_has_its_fine_labels(tmp_path: Path) -> None:
    tables = hundred()
    for name in ("f", "a.tar.gz"):
        images = load(put(tmp_path / name, pickled(tables), HUNDRED))
        assert (images.name, images.classes) == ("cifar100", ("whale", "ant", "sea"))
        assert images.train.labels.tolist() == [2, 0, 1]
        assert np.array_equal(images.test.images.reshape(3, 3072), tables["test"][b"data"])


def test_the_official_files_need_no_one_to_vouch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pickled(ten())
    sources = [put(tmp_path / name, files, vouched=False) for name in ("a.tar.gz", "b")]
    for source in sources:
        refused(source, "has sha256")
    for name, data in files.items():
        monkeypatch.setitem(checksums.FILES, name, hashlib.md5(data).hexdigest())
    assert len({load(source).digest for source in sources}) == 1
    files["test_batch"] += b" "
    refused(put(tmp_path / "c", files, vouched=False), "'test_batch'")


def test_where_sha256sums_may_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pickled(ten())
    folder = put(tmp_path / TEN, files, vouched=False)
    vouch(tmp_path, {f"{TEN}/{name}": data for name, data in files.items()})
    whole = load(folder)
    monkeypatch.chdir(folder)
    assert load(".").digest == whole.digest
    monkeypatch.chdir(tmp_path)
    sums = Path("SHA256SUMS").read_text()
    Path("SHA256SUMS").write_text(sums.replace("  ", " *./").upper().replace(TEN.upper(), TEN))
    refused(folder, "'data_batch_1' has sha256")  # the names are in capitals: of other files
    Path("SHA256SUMS").write_text("# a comment\n" + sums.replace("  ", " *./"))
    assert load(TEN).digest == whole.digest


def test_one_line_that_names_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pickled(ten())

    def never(*_: object) -> None:
        raise AssertionError("unpickled before the checksum")

    monkeypatch.setattr(unpickle, "load", never)
    path = put(tmp_path / "cifar-10-python.tar.gz", files, vouched=False)
    official = checksums.ARCHIVES["cifar10"].sha256
    refused(path, hashlib.sha256(path.read_bytes()).hexdigest(), official, "SHA256SUMS")
    vouch(tmp_path, {path.name: b"another"})
    refused(path, "has sha256")
    folder = put(tmp_path / "f", files)
    (folder / "data_batch_3").write_bytes(files["data_batch_3"] + b" ")
    digest = hashlib.sha256(files["data_batch_3"] + b" ").hexdigest()
    refused(folder, "'data_batch_3'", digest, checksums.FILES["data_batch_3"], "SHA256SUMS")


@pytest.mark.parametrize("name", ["data_batch_4", "batches.meta"])
def test_an_attack_is_not_executed_even_when_vouched_for(tmp_path: Path, name: str) -> None:
    target = tmp_path / "made"
    for attack in (Call(os.system, f"touch {target}"), Call(eval, f"open({str(target)!r}, 'w')")):
        files = pickled(ten()) | {name: pickle.dumps({b"data": attack}, 2)}
        refused(put(tmp_path / "a.tar.gz", files), repr(name), "asks for")
    assert not target.exists()


def with_table(name: str, **changes: Any) -> dict[str, bytes]:
    tables = ten()
    tables[name] |= {key.encode(): value for key, value in changes.items()}
    return pickled(tables)


FILES = pickled(ten())
WRONG: dict[str, tuple[dict[str, bytes], list[str]]] = {
    "a label too large": (with_table("data_batch_1", labels=[0, 1, 2, 0]), ["label 2 in train", "0 to 1"]),
    "a label below 0": (with_table("test_batch", labels=[0, 1, -1, 0]), ["'test_batch'", "'labels'"]),
    "a label that is no number": (with_table("test_batch", labels=[0, 1, True, 0]), ["'test_batch'", "'labels'"]),
    "more labels than images": (with_table("data_batch_2", labels=[0] * 5), ["'data_batch_2'", "5 labels for 4"]),
    "labels without a list": (with_table("data_batch_2", labels=7), ["'data_batch_2'", "'labels'"]),
    "images of another size": (with_table("test_batch", data=rows(4, 0)[:, :3000]), ["'test_batch'", "(N, 3072)"]),
    "images that are floats": (with_table("test_batch", data=rows(4, 0) / 255), ["'test_batch'", "uint8"]),
    "images that are a string": (with_table("test_batch", data=b"abc"), ["'test_batch'", "uint8"]),
    "a class without test images": (with_table("test_batch", labels=[0] * 4), ["'airplane'", "in test"]),
    "no names": (with_table("batches.meta", label_names=None), ["'batches.meta'", "names"]),
    "a name twice": (with_table("batches.meta", label_names=[b"cat", b"cat"]), ["'batches.meta'", "twice"]),
    "a missing batch": ({n: d for n, d in FILES.items() if n != "data_batch_3"}, ["no 'data_batch_3'"]),
    "no meta file": ({n: d for n, d in FILES.items() if n != "batches.meta"}, ["no 'batches.meta'"]),
    "a batch too much": (FILES | {"data_batch_6": FILES["data_batch_1"]}, ["'data_batch_6'", "too much"]),
    "a batch twice": (
        FILES | {"data_batch_5": FILES["data_batch_2"]}, ["'data_batch_5' has the content of 'data_batch_2'"],
    ),
    "a cut pickle": (FILES | {"data_batch_5": FILES["data_batch_5"][:-9]}, ["'data_batch_5'", "not read"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong(tmp_path: Path, case: str) -> None:
    files, words = WRONG[case]
    refused(put(tmp_path / TEN, files), *words)
    refused(put(tmp_path / "a.tar.gz", files), *words)


def test_archives_that_are_not_one_set(tmp_path: Path) -> None:
    twice = FILES | {f"../{TEN}/test_batch": b""}
    refused(put(tmp_path / "a.tar.gz", twice), "'test_batch'", "twice")
    refused(put(tmp_path / "b.tar.gz", FILES | {f"../copy/{n}": d for n, d in FILES.items()}), "2 folders")


def test_the_official_names_are_those_of_the_kinds() -> None:
    assert set(checksums.FILES) == {*cifar.CIFAR10.files, *cifar.CIFAR100.files}
    assert {cifar.CIFAR10.name, cifar.CIFAR100.name} <= set(checksums.ARCHIVES)
