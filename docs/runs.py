"""The whole runs of docs/recipes.md, as its transcripts tell them, which the tests compare with what the commands print."""

from __future__ import annotations

import re
from typing import NamedTuple

from docs.fill import ROOT

COLUMNS = ("recipe", "setting", "steps", "left of a silent weight", "memories long", "equilibrium size at the peak")
_COMMAND = re.compile(r'^\$ undertow explain "(.+)" .*--steps (\d+)', re.MULTILINE)
_LEFT = re.compile(r"without a gradient: (.+?)(?: of it is left|$)", re.MULTILINE)


class Run(NamedTuple):
    """A recipe's run: what stands in a row of the table."""

    recipe: str
    setting: str
    steps: str
    left: str
    memories: str
    equilibrium: str


def runs() -> list[Run]:
    """Every command of the section about whole runs, under the bold name that stands before it."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    section = page.split("\n## Over a whole run\n")[1].split("\n## ")[0]
    _, *parts = re.split(r"^\*\*(.+?)\*\*", section, flags=re.MULTILINE)
    found = []
    for recipe, told in zip(parts[::2], parts[1::2], strict=True):
        _, *asked = _COMMAND.split(told)
        for setting, steps, printed in zip(asked[::3], asked[1::3], asked[2::3], strict=True):
            over = printed.split("\nOver the run, ")[1]
            left = _LEFT.search(over)
            if left is None:
                raise ValueError(f"{recipe}: its transcript does not say what is left")
            memories = re.search(r"the run is (\S+) memories", over)
            size = re.search(r"equilibrium size at the peak: (\S+) \(.*; (reached|not reached)", over)
            found.append(
                Run(
                    recipe,
                    f"`{setting}`",
                    f"{int(steps):,}",
                    left[1],
                    memories[1] if memories else "lr and strength alone set none",
                    f"{size[1]}, {size[2]}" if size else "no closed form",
                )
            )
    return found


def left(recipe: str) -> str:
    """What a recipe leaves of a silent weight, of all its settings. KeyError for an unknown recipe."""
    found = [run.left for run in runs() if run.recipe == recipe]
    if not found:
        raise KeyError(recipe)
    return " and ".join(found)
