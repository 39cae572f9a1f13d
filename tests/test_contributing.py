"""The recipes of CONTRIBUTING.md work as they stand there: their files written down, their commands run."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_docstrings import ORDER
from transcripts import ROOT

from dynamics.simulate.schedules import cosine

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RULE, COUPLING, COUPLED, *WORLDS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\.venv/bin/undertow (.*)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recipes")
    (made / "mine.py").write_text(RULE)
    (made / "worlds.py").write_text("".join(WORLDS))
    return made


def test_the_form_of_a_docstring_is_the_one_that_is_tested() -> None:
    (form,) = re.findall(r'```\n"""(.*?)"""\n```', PAGE, re.DOTALL)
    assert re.findall(r"^(\w+):$", form, re.MULTILINE) == ORDER
    example = doctest.DocTestParser().get_doctest(form, {"cosine": cosine, "np": np}, "form", None, None)
    assert doctest.DocTestRunner().run(example) == (0, 1)


def test_the_coupling_runs() -> None:
    exec(compile(COUPLING + COUPLED, "CONTRIBUTING.md", "exec"), {})


def test_each_recipe_has_its_command() -> None:
    assert [command.split()[0] for command in COMMANDS] == ["explain", "run", "reproduce", "run", "claims"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_runs(command: str, folder: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "undertow", *shlex.split(command)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    first = {"explain": "inside with L2", "run": "S8" if "mine.py" in command else "X1"}
    assert said.stdout.startswith(first.get(command.split(maxsplit=1)[0], "X1"))
    assert "reproduce" not in command or (folder / "out" / "figures" / "halving.svg").exists()
