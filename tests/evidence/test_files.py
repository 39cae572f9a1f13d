"""Files that are whole or not there, where the disk, the name or the place says no; folders that one command alone writes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest
from console import ROOT

from dynamics.errors import InputError
from dynamics.given import file
from evidence.files import check_place, clear_unfinished, usable, write_together, write_whole, writing


def failing(number: int) -> Any:
    """A function of the system that always fails so."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_what_the_disk_says_first_is_told_and_nothing_is_left(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    for name in ("fsync", "replace", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing(number))
            patch.setattr(os, "unlink", failing(errno.EROFS)) if name == "open" else None
            with pytest.raises(InputError, match=rf"cannot be written \({os.strerror(number)}\)"):
                write_together({tmp_path / "a": b"new", tmp_path / "b": b"new"})
        if name != "open":
            assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() in (b"old", b"new")


def test_names_and_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    for name, words in (
        ("x" * 256, "File name too long"),
        ("x/" * 2500, "File name too long"),
        ("a\0b", "null byte"),
        ("loop", "symbolic links"),
        ("file/below", "Not a directory"),
        ("missing/name", "No such file"),
        (".", "it is a folder"),
    ):
        for use in (lambda path: write_whole(path, b""), check_place):
            with pytest.raises(InputError, match=words) as caught:
                use(tmp_path / name)
            assert len(str(caught.value)) < 450
            assert "\n" not in str(caught.value)
    for name in ("x" * 256, "a\0b", "loop", "file", "file/below"):
        with pytest.raises(InputError, match="a writable folder is accepted"), writing(tmp_path / name):
            pass
    for name in ("x" * 256, "loop", "file/below"):
        with pytest.raises(InputError, match="a writable folder is accepted"):
            usable(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]
    for name in ("x" * 255, "\N{SNOWMAN}" * 85):  # as long as a name can be
        write_whole(tmp_path / name, b"whole")
        assert (tmp_path / name).read_bytes() == b"whole"


def test_what_cannot_be_read_is_told_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    for path in (
        tmp_path,
        tmp_path / "pipe",
        tmp_path / "nowhere",
        "/dev/zero",
        "a\0b",
        "x" * 5000,
        tmp_path / "a\nb",
        3,
    ):
        with pytest.raises(InputError, match=r"^[^\n]{1,400} \([^\n]+\): this is accepted$"):
            file(path, "this is accepted")
    (tmp_path / "a").touch()
    assert file(str(tmp_path / "a"), "") == tmp_path / "a"


def test_a_link_stays_and_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    old, link, dangling = tmp_path / "far" / "old", tmp_path / "link", tmp_path / "dangling"
    old.write_bytes(b"old")
    old.chmod(0o640)
    link.symlink_to(old)
    dangling.symlink_to("far/made")
    write_together({link: b"new", dangling: b"made"})
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert (old.read_bytes(), stat.S_IMODE(old.stat().st_mode)) == (b"new", 0o640)
    assert (tmp_path / "far" / "made").read_bytes() == b"made"
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["made", "old"]


def test_devices_and_pipes_take_the_bytes_as_they_come(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="No such device"):  # and no wait for a reader
        write_whole(pipe, b"lost")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    while True:
        try:
            write_whole(pipe, b"x" * 200_000)  # more than it holds at once
            break
        except InputError:  # the reader is not there yet
            continue
    reader.join()
    assert (len(read[0]), stat.S_ISFIFO(pipe.stat().st_mode)) == (200_000, True)
    write_together({Path("/dev/null"): b"gone", Path("/dev/stdout"): b"said\n"})
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert capfd.readouterr().out == "said\n"  # to a file, of which nothing else is lost
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(InputError, match=r"/dev/full cannot be written \(No space left"):
        write_together({tmp_path / "a": b"new", Path("/dev/full"): b"much"})
    assert (tmp_path / "a").read_bytes() == b"old"


def test_the_folder_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    write_together({tmp_path / "a": b"", tmp_path / "b": b""})
    assert synced == [False, False, True]


def test_what_a_killed_process_left_is_found_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ("x" * 255)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.EIO))
        patch.setattr(Path, "unlink", failing(errno.EROFS))
        with pytest.raises(InputError):
            write_whole(path, b"half")
    (tmp_path / "other").touch()
    assert len(list(tmp_path.iterdir())) == 2
    clear_unfinished(path)
    assert [left.name for left in tmp_path.iterdir()] == ["other"]


def test_folders_that_were_made_for_nothing_go_again(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "a" / "b" / "c", tmp_path / "mine"):
        with writing(folder, "train") as made:
            assert made.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with writing(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]


HOLDER = """
import sys, time
from pathlib import Path
from evidence.files import writing
with writing(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    time.sleep(1000)
"""


def test_one_alone_writes_and_a_killed_one_locks_nobody_out(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another undertow train writes into it"), writing(tmp_path, "train"):
            pass
        with writing(tmp_path, "compare digits"):  # writes other files
            pass
        holder.kill()
    with writing(tmp_path, "train"):
        pass
    assert list(tmp_path.iterdir()) == []
