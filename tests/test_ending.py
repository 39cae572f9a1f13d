"""How the command line ends: told to by a signal, or with outputs that are full, closed, or read by nobody."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from console import ROOT, run

from undertow.__main__ import main
from undertow.commands import COMMANDS

FULL = re.compile(r"undertow: standard output cannot be written \(No space left on device\): .* accepted\n")
ENDINGS = [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["explain", "adam"], ["explain", "adam", "--json"], ["--help"], ["--version"]])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_output_is_one_line(arguments: list[str], buffered: bool) -> None:
    err = io.StringIO()
    # What is held back is tried again when the file is closed, as at the end of a process.
    with open("/dev/full", "wb", buffering=-1 if buffered else 0) as device:
        full = io.TextIOWrapper(device, write_through=not buffered)  # type: ignore[arg-type]
        with redirect_stdout(full), redirect_stderr(err):
            assert main(arguments) == 2
        full.detach()
    assert FULL.fullmatch(err.getvalue())


def test_an_output_that_nobody_reads_is_silence() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    err = io.StringIO()
    with open(writer, "w") as pipe, redirect_stdout(pipe), redirect_stderr(err):
        assert main(["explain", "adam"]) == 141
    assert err.getvalue() == ""


def test_progress_that_cannot_be_told_ends_nothing_and_its_reader_does() -> None:
    from evidence.progress import Live

    with open("/dev/full", "w") as full, redirect_stderr(full):
        Live().line("begun")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe, redirect_stderr(pipe):
        with pytest.raises(BrokenPipeError):
            Live().line("begun")
        os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.fileno())


@pytest.mark.parametrize(("number", "how"), ENDINGS)
@pytest.mark.parametrize("becomes", [None, ImportError("numpy failed to load"), SystemExit(1)])
def test_what_asks_to_end_is_one_line_whatever_it_became(
    number: signal.Signals, how: str, becomes: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_: argparse.Namespace) -> int:
        try:
            os.kill(os.getpid(), number)
            return 0
        except KeyboardInterrupt:
            raise becomes or KeyboardInterrupt from None

    monkeypatch.setattr(COMMANDS["explain"], "run", asked)
    before = signal.getsignal(number)
    said = run("explain", "adam")
    assert (said.status, said.out) == (128 + number, "")
    assert said.err == f"undertow: {how}; what was finished is stored, the same command goes on from there\n"
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMMANDS["explain"], "run", lambda _: os.kill(os.getpid(), signal.SIGHUP) or 7)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert run("explain", "adam").status == 7
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_the_machine_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: argparse.Namespace) -> int:
        raise OSError(24, "Too many open files", "a\nb")

    monkeypatch.setattr(COMMANDS["explain"], "run", refused)
    said = run("explain", "adam")
    assert (said.status, said.out, said.err) == (1, "", "undertow: [Errno 24] Too many open files: 'a\\nb'\n")


# In a process of its own: a signal while the program is imported, at the first module behind its own.
DURING_IMPORTS = """
import os, runpy, signal, sys
class Finder:
    def find_spec(name, *_):
        if name == "dynamics.errors":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
sys.argv = ["undertow", "explain", "adam"]
runpy.run_module("undertow", run_name="__main__", alter_sys=True)
"""


def test_an_interrupt_while_it_is_imported_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", DURING_IMPORTS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert re.fullmatch("undertow: interrupted; .*\n", done.stderr)


def test_little_is_imported_before_signals_are_looked_after() -> None:
    code = "import sys; before = {*sys.modules}; import undertow.__main__; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavier = {*done.stdout.split()} - {"undertow", "undertow.__main__", "__future__", "errno", "signal"}
    # What `signal` itself imports.
    assert not heavier - {
        "enum", "types", "functools", "collections", "operator", "keyword", "itertools", "reprlib",
        "_functools", "_collections", "_operator",
    }  # fmt: skip


def test_closed_outputs_take_no_file_in_their_place() -> None:
    command = f"{sys.executable} -m undertow explain adam"
    closed = subprocess.run(["sh", "-c", f"{command} >&-"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert closed.returncode == 2
    assert re.fullmatch("undertow: standard output is closed: .* accepted.*\n", closed.stderr)
    blind = subprocess.run(["sh", "-c", f"{command} <&- 2>&-"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (blind.returncode, blind.stdout) == (0, run("explain", "adam").out)


def test_a_home_that_cannot_be_written_is_no_line() -> None:
    where = {"HOME": "/dev/null", "PYTHONPATH": str(ROOT)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "XDG"))}
    code = "import figures.style, matplotlib; matplotlib.get_cachedir()"
    done = subprocess.run([sys.executable, "-c", code], env=kept | where, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_current_folder_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    said = run("explain", "adam")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("undertow: the current folder is gone (No such file or directory): ")
