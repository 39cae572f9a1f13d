"""The recipes of CONTRIBUTING.md work as they stand there: their files written down, their commands run."""

from __future__ import annotations

import doctest
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from console import ROOT, Said, command
from test_docstrings import ORDER

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


# In one process, beside this one, which keeps its own rules and worlds: what they import and compile is shared.
ALL = """
import json, os, sys
from dataclasses import asdict
from console import run
os.chdir(sys.argv[1])
print(json.dumps([asdict(run(*words)) for words in json.loads(sys.argv[2])]))
"""


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, Said]:
    done = command(folder, json.dumps([shlex.split(line) for line in COMMANDS]), code=ALL)
    assert done.status == 0, done.err
    return {line: Said(**found) for line, found in zip(COMMANDS, json.loads(done.out), strict=True)}


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_runs(line: str, said: dict[str, Said], folder: Path) -> None:
    assert said[line].status == 0, said[line].err
    first = {"explain": "inside with L2", "run": "S8" if "mine.py" in line else "X1"}
    assert said[line].out.startswith(first.get(line.split(maxsplit=1)[0], "X1"))
    assert "reproduce" not in line or (folder / "out" / "figures" / "halving.svg").exists()
