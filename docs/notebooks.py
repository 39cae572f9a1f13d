"""The notebooks of docs/notebooks: run from top to bottom, and kept with what they printed and drew.

python -m docs.notebooks runs all and writes them, with the first picture of each for the gallery; `make notebook` opens them.
"""

from __future__ import annotations

import base64
import copy
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from docs.fill import ROOT
from evidence.files import write_whole

FOLDER = ROOT / "docs" / "notebooks"
# In the order in which they are read.
NAMES = ("paper", "decay", "watch", "remove", "hypothesis")
_PICTURE = "image/png"


def small(notebook: Any) -> Any:
    """A notebook whose networks are trained for a few steps alone, to see whether all of it runs."""
    fresh = copy.deepcopy(notebook)
    for cell in fresh["cells"]:
        cell["source"] = re.sub(r"^steps = \d+$", "steps = 20", cell["source"], flags=re.MULTILINE)
    return fresh


def run(notebook: Any) -> Any:
    """A notebook with the outputs of its cells; nbclient's CellExecutionError where one raises."""
    fresh = nbformat.from_dict(copy.deepcopy(notebook))
    where = {"metadata": {"path": str(FOLDER)}}
    quiet = ["--Application.log_level=ERROR"]
    NotebookClient(fresh, timeout=300, coalesce_streams=True, resources=where, extra_arguments=quiet).execute()
    for k, cell in enumerate(c for c in fresh["cells"] if c["cell_type"] == "code"):
        cell["metadata"].pop("execution", None)  # times of day
        cell["execution_count"] = k + 1
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = k + 1
    return fresh


def text(notebook: Any) -> bytes:
    """A notebook as its file has it."""
    written: str = nbformat.writes(notebook)
    return (written + "\n").encode()


def pictures(notebook: Any) -> list[bytes]:
    """The PNGs that its cells drew."""
    data = [o.get("data", {}) for cell in notebook["cells"] for o in cell.get("outputs", ())]
    return [base64.b64decode(one[_PICTURE]) for one in data if _PICTURE in one]


def title(notebook: Any) -> str:
    """Its heading."""
    first: str = notebook["cells"][0]["source"]
    return first.splitlines()[0].removeprefix("# ")


def load(name: str) -> Any:
    """A notebook as it is stored."""
    return nbformat.read(path(name), as_version=4)


def path(name: str) -> Path:
    """Where a notebook is."""
    return FOLDER / f"{name}.ipynb"


def main() -> int:
    """Run all and write them."""
    for name in NAMES:
        found = run(load(name))
        write_whole(path(name), text(found))
        write_whole(path(name).with_suffix(".png"), pictures(found)[0])
        print(f"written: {path(name).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
