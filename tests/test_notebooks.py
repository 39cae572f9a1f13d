"""The notebooks run from top to bottom, on a small setting, and what is stored of them was run as it stands."""

from __future__ import annotations

import re

import nbformat
import pytest

from docs.fill import ROOT
from docs.notebooks import NAMES, load, path, pictures, run, small, title


def test_all_run_and_print_where_they_are_stored_to() -> None:
    """One after the other in one process, each from a clean namespace: importing torch takes longer than most of them."""
    clean = nbformat.v4.new_code_cell("%reset -f")
    cells = [cell for name in NAMES for cell in (*load(name)["cells"], clean)]
    found = run(small({**load(NAMES[0]), "cells": cells}))
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    stored = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == len(stored) > 3 * len(NAMES)
    for cell, was in zip(code, stored, strict=True):
        assert [o["output_type"] for o in cell["outputs"]] == [o["output_type"] for o in was["outputs"]], cell["source"]
        assert not [o for o in cell["outputs"] if o.get("name") == "stderr"], cell["source"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_ran_without_a_warning_and_drew_a_picture(name: str) -> None:
    stored = load(name)
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [o for cell in code for o in cell["outputs"]]
    assert {o["output_type"] for o in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert pictures(stored)[0] == path(name).with_suffix(".png").read_bytes()
    assert len(path(name).read_bytes()) < 300_000


def test_each_stands_in_the_gallery_under_its_title() -> None:
    gallery = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert re.findall(r"\[([^]]+)\]\(notebooks/(\w+)\.ipynb\)", gallery) == [
        (title(load(name)), name) for name in NAMES
    ]
    assert re.findall(r"\]\(notebooks/(\w+)\.png\)", gallery) == list(NAMES)
    assert {file.stem for file in path("paper").parent.glob("*.*")} == set(NAMES)
