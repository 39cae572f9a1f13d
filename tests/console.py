"""The command line as tests call it: what a command leaves, and what a refusal is."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from undertow.__main__ import main

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Said:
    """What a command left: exit status, standard output, and standard error with and without lines of progress."""

    status: int
    out: str
    err: str

    @property
    def problems(self) -> list[str]:
        """The lines on standard error that report no progress."""
        return [line for line in self.err.splitlines() if not re.match(r"\[ *\d+\.\d s\] ", line)]


def run(*arguments: object, encoding: str = "utf-8") -> Said:
    """The command in this process, writing to a terminal of this encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
    return Said(status, *(file.buffer.getvalue().decode(encoding) for file in (out, err)))


def command(*arguments: object, code: str = "import sys; from undertow.__main__ import main; sys.exit(main())") -> Said:
    """The command in a process of its own, as a shell starts it."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def refused(said: Said, *words: str) -> None:
    """Exit status 2, nothing on standard output, and one line that names what was wrong and what is accepted."""
    assert said.status == 2
    assert said.out == ""
    [line] = said.problems
    assert line.startswith("undertow: ")
    for word in words:
        assert word in line
