"""Transcripts in the documentation: every `$ undertow ...` in a console block, with what it prints.

python tests/transcripts.py [FILE ...] runs the commands of these files (README.md and docs/*.md if none are named) and
writes down what they print now.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"^\$ (?:\.venv/bin/)?undertow (.*(?:\\\n.*)*)\n", re.MULTILINE)


def printed(command: str, errors: bool = True) -> str:
    """What the command prints, standard error behind standard output."""
    from undertow.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        main(shlex.split(command.replace("\\\n", " ")))
    return out.getvalue() + (err.getvalue() if errors else "")


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what stands below it) of every command in the console blocks."""
    found = []
    for block in _BLOCK.findall(text):
        parts = _COMMAND.split(block)
        found += [(parts[k], parts[k + 1]) for k in range(1, len(parts), 2)]
    return found


def rewritten(text: str) -> str:
    """The same text with what the commands print now."""

    def fresh(block: re.Match[str]) -> str:
        program = re.search(r"^\$ (\S*undertow)", block.group(1), re.MULTILINE)
        if program is None:
            return block.group(0)
        asked = [command for command, _ in commands(block.group(0))]
        return "```console\n" + "\n".join(f"$ {program[1]} {command}\n{printed(command)}" for command in asked) + "```"

    return _BLOCK.sub(fresh, text)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for page in [Path(name) for name in sys.argv[1:]] or PAGES:
        page.write_text(rewritten(page.read_text()))
