"""The documentation's transcripts are what the commands print."""

from __future__ import annotations

import re

import pytest
from transcripts import PAGES, ROOT, commands, printed

from dynamics.answers.table import overview

SHOWN = [(page.name, command, shown) for page in PAGES for command, shown in commands(page.read_text())]


def test_there_are_transcripts_of_ten_recipes_and_of_conversions() -> None:
    said = [command for page, command, _ in SHOWN if page == "recipes.md"]
    assert sum(command.startswith("explain") for command in said) >= 10
    assert sum(command.startswith("convert") for command in said) >= 4


@pytest.mark.parametrize(("page", "command", "shown"), SHOWN, ids=[f"{page}: {command}" for page, command, _ in SHOWN])
def test_the_transcript_is_what_is_printed(page: str, command: str, shown: str) -> None:
    # `python tests/transcripts.py` writes down what is printed now: read the difference first.
    assert printed(command).rstrip() == shown.rstrip()


def test_the_readmes_table_of_rules_is_made_from_the_rules() -> None:
    # In the README: python -c "from dynamics.answers.table import overview; print(overview())"
    assert overview() in (ROOT / "README.md").read_text()


# The one that is left out reads networks which `undertow train` has written.
BLOCKS = [
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    if "load_network" not in block
]


@pytest.mark.parametrize("block", BLOCKS, ids=[block.splitlines()[-1] for block in BLOCKS])
def test_the_readmes_python_runs(block: str) -> None:
    exec(compile(block, "README.md", "exec"), {})
