"""Cases, each in a process of its own under limits, and what each of them left behind.

The process is forked from this one, which has imported torch and all else before, and is that of a user: of a root's powers it
has none. Its memory is held by RLIMIT_AS: so many bytes above what is mapped when it starts, libraries included.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import signal
import stat
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree

SECONDS = 60.0
MEMORY = 2 * 2**30
PATIENCE = 5.0  # seconds in which what a case has started must have ended after it


@dataclass(frozen=True)
class Left:
    """What a case left: its exit status (negative: the signal that ended it), output, and the files that it was given, that it
    changed and that it made. late: it was ended since its time was over."""

    status: int
    out: str
    err: str
    seconds: float
    late: bool
    made: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """Something bad that is given to the program.

    Args:
        part: commands, formats or functions.
        name: which of them.
        what: what is bad.
        run: gives it, in the process and the folder of the case; its exit status.
        judge: the outcome, or what is wrong in more than one word.
        prepare: writes what the case needs into its folder.
        out: where standard output goes, if not into a file that is read afterwards.
    """

    part: str
    name: str
    what: str
    run: Callable[[], int | None]
    judge: Callable[[Left], str]
    prepare: Callable[[Path], None] = field(default=lambda _: None)
    out: str = ""

    @property
    def id(self) -> str:
        """How it is asked for again."""
        return f"{self.part} {self.name}: {self.what}"


def files(folder: Path) -> dict[str, str]:
    """What is in a folder: of each file its content's digest, of anything else its kind; folders are not counted."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            try:
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
            except PermissionError:
                found[str(path.relative_to(folder))] = f"mode {mode:o}"
        elif not stat.S_ISDIR(mode):
            found[str(path.relative_to(folder))] = f"kind {stat.S_IFMT(mode):o}"
    return found


def run_all(
    cases: Iterable[Case], processes: int = 2, seconds: float = SECONDS, memory: int = MEMORY
) -> Iterator[tuple[Case, Left]]:
    """Run the cases, so many at a time; each with what it left, in the order in which they end."""
    waiting, running = iter(cases), dict[int, _Running]()
    try:
        while True:
            while len(running) < processes and (case := next(waiting, None)) is not None:
                started = _Running(case, memory)
                running[started.pid] = started
            if not running:
                return
            for pid, one in list(running.items()):
                late = time.monotonic() - one.began > seconds * busy()
                if late:
                    os.killpg(pid, signal.SIGKILL)
                ended, status = os.waitpid(pid, 0 if late else os.WNOHANG)
                if ended:
                    del running[pid]
                    yield one.case, one.left(os.waitstatus_to_exitcode(status), late)
            time.sleep(0.002)
    finally:
        for one in running.values():
            os.killpg(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)
            rmtree(one.folder, onerror=_opened)


def busy() -> float:
    """How many processes share a core of this machine: so much longer a case may take."""
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


class _Running:
    """A case under way."""

    def __init__(self, case: Case, memory: int) -> None:
        self.case, self.folder = case, Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.place, self.began = self.folder / "place", time.monotonic()
        for name in ("place", "scratch"):
            (self.folder / name).mkdir()
        case.prepare(self.place)
        self.before = files(self.place)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _child(case, self.folder, memory)
        with suppress(PermissionError, ProcessLookupError):  # here as well as there: whichever comes first
            os.setpgid(self.pid, self.pid)

    def left(self, status: int, late: bool) -> Left:
        """What it left, and nothing of it."""
        seconds = time.monotonic() - self.began
        # What it has started ends by itself within moments, or is left behind.
        patience = time.monotonic() + (0 if late else PATIENCE)
        while (orphan := _alive(self.pid)) and time.monotonic() < patience:
            time.sleep(0.01)
        if orphan:
            os.killpg(self.pid, signal.SIGKILL)
        after = files(self.place)
        out, err = ((self.folder / name).read_text(errors="backslashreplace") for name in ("out", "err"))
        made = [name for name in after if name not in self.before]
        # .ses is meant to stay: onnxruntime numbers its sessions in it.
        scratch = [f"temporary {name}" for name in files(self.folder / "scratch") if name != ".ses"]
        changed = [name for name, was in self.before.items() if after.get(name) != was]
        rmtree(self.folder, onerror=_opened)
        return Left(
            status, out, err, seconds, late, (*made, *scratch, *["a process"] * (orphan and not late)), tuple(changed)
        )


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _opened(remove: Callable[[str], object], path: str, _: object) -> None:
    """Remove what lies in a folder whose rights were taken away."""
    os.chmod(os.path.dirname(path), 0o700)
    if os.path.isdir(path):
        os.chmod(path, 0o700)
        rmtree(path)
    else:
        remove(path)


def _child(case: Case, folder: Path, memory: int) -> None:
    """Never returns."""
    status = 70
    try:
        os.setpgid(0, 0)
        _mere_user()
        for number, name in ((1, case.out or str(folder / "out")), (2, str(folder / "err"))):
            opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        if case.out:
            (folder / "out").touch()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        os.environ["TMPDIR"], tempfile.tempdir = str(folder / "scratch"), None
        os.chdir(folder / "place")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _as_started()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
        status = _status(case)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        status = 120
    finally:
        os._exit(status)


def _as_started() -> None:
    """Warnings go where they go in a program that has just started, whatever a test has made of them."""
    warnings.showwarning = lambda *warned, **_: print(warnings.formatwarning(*warned[:4]), file=sys.stderr)
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)
    # JAX, where a test of before has loaded it, warns of every fork.
    warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)


def _status(case: Case) -> int:
    try:
        return int(case.run() or 0)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1


def _mere_user() -> None:
    """Give up all powers of root, so that a file without rights cannot be read and a device not be made."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        head, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        if libc.capset(head, none):
            raise OSError(ctypes.get_errno(), "capset")
