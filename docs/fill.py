"""Marked blocks of the pages, and what belongs into each.

In a page stands `<!-- table:NAME -->`, `<!-- end -->`, or the same with `value:NAME` within a line; what lies between the
two marks is written here, from docs/findings.json, bench/measured.json, fullscale/*.json, docs/noted.json and the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynamics.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ROOT / "docs" / "findings.json"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_MARK = re.compile(r"<!-- (table|value):([^>]+?) -->.*?<!-- end -->", re.DOTALL)


def read(path: str) -> Any:
    """The JSON in a file of the repository."""
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def blocks(text: str) -> list[tuple[str, str]]:
    """(table or value, name) of every marked block in a page."""
    return [(mark[1], mark[2]) for mark in _MARK.finditer(text)]


def filled(text: str) -> str:
    """The page with its blocks written anew. Raises InputError for a block that nothing is known for."""
    # Here, for they read these files when imported.
    from docs.tables import table
    from docs.values import value

    makers: dict[str, Callable[[str], str]] = {"table": table, "value": value}

    def block(mark: re.Match[str]) -> str:
        try:
            made = makers[mark[1]](mark[2])
        except KeyError as error:
            raise InputError(
                f"block {mark[1]}:{mark[2]} is unknown ({error}): see docs/tables.py, docs/values.py"
            ) from None
        space = "\n\n" if mark[1] == "table" else ""
        return f"<!-- {mark[1]}:{mark[2]} -->{space}{made}{space}<!-- end -->"

    return _MARK.sub(block, text)
