"""docs/reliability.md: what a run of the fuzz and one of the chaos found, and the limits that the code has, with their names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from docs.fill import ROOT, read

FUZZ, CHAOS = "docs/fuzz.json", "docs/chaos.json"
OUTCOMES = {
    "commands": ("refused", "right"),
    "formats": ("refused", "same answer", "another answer"),
    "functions": ("refused", "right"),
}


class Limit(NamedTuple):
    """A constant beyond which an input is refused. of: where in it, if it holds several."""

    module: str
    name: str
    sentence: str
    unit: str = ""
    of: str = ""

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"`{self.module}.{self.name}`" + (f", {self.of}" if self.of else "")

    @property
    def value(self) -> Any:
        """What the code has."""
        found = getattr(import_module(self.module), self.name)
        return found[self.of][1] if self.of else found  # (least, most)


LIMITS = (
    Limit("fullscale.spec", "MOST", "epochs of a run, and images of a batch"),
    Limit("fullscale.spec", "WIDEST", "the width of a network, times its first filters"),
    Limit("fullscale.spec", "SIDE", "a side of an image", "pixels"),
    Limit("fullscale.spec", "PROCESSES", "processes that share a batch"),
    Limit("fullscale.spec", "STRONGEST", "learning rate, strength, and their product"),
    Limit("fullscale.models.chain", "DEEPEST", "layers of a chain of convolutions"),
    Limit("fullscale.models.chain", "LARGEST", "channels of a layer, classes and strides"),
    Limit("fullscale.notes", "LONGEST", "what a network's file says beside its weights", "characters"),
    Limit("synthetic.phase", "COUNTS", "cells a side of a phase diagram", of="cells"),
    Limit("synthetic.phase", "COUNTS", "seeds of a cell", of="seeds"),
    Limit("synthetic.phase", "COUNTS", "steps of a cell", of="steps"),
    Limit("synthetic.phase", "MOST", "steps of all weights of a phase diagram together"),
    Limit("dynamics.simulate.lanes", "THREADS", "threads of a simulation"),
    Limit("dynamics.answers.convert", "LONGEST", "steps that a conversion looks ahead"),
    Limit("dynamics.errors", "LONGEST", "a message; of a longer one the middle is left out", "characters"),
    Limit("evidence.axes", "MOST", "runs of one study"),
    Limit("undertow.commands.study", "MOST", "workers of a study or a comparison"),
    Limit("fullscale.stream", "MOST_WORKERS", "processes that read pictures from disk"),
    Limit("fullscale.data.tree", "LARGEST", "one file of a data set, unpacked", "bytes"),
    Limit("fullscale.data.tree", "LIMIT", "pixels that are decoded into memory; larger sets stay on disk", "bytes"),
    Limit(
        "fullscale.data.unpacked",
        "FREE",
        "unpacked from what is compressed; beyond that 50 times its size",
        "bytes",
    ),
    Limit("fullscale.data.archive", "MEMBERS", "members of an archive"),
    Limit("fullscale.data.archive", "DEEPEST", "folders in one another in an archive"),
    Limit("fullscale.data.archive", "LONGEST_TARGET", "the name that a link of an archive leads to", "characters"),
    Limit("fullscale.studies.table", "MOST", "numbers of one variable in the labelled arrays of a study"),
    Limit("fullscale.monitor.record", "MOST", "observations that a monitor keeps; then every second is dropped"),
)


def table(name: str) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Columns and rows of a table: commands, formats, functions, chaos or limits. KeyError for others."""
    if name == "limits":
        return ("at most", "of what", "in the code"), [
            (
                _shown(limit.value, limit.unit),
                limit.sentence,
                limit.place,
            )
            for limit in LIMITS
        ]
    if name == "chaos":
        return ("what", "how many"), [(what, f"{count:,}") for what, count in _chaos()]
    outcomes = OUTCOMES[name]
    counts: dict[str, dict[str, int]] = read(FUZZ)["counts"][name]
    rows = [(_code(name, one), *(f"{n:,}" for n in _row(found, outcomes))) for one, found in sorted(counts.items())]
    whole = Counter[str]()
    for found in counts.values():
        whole.update(found)
    return (name[:-1], "inputs", *outcomes, "faults"), [*rows, ("all", *(f"{n:,}" for n in _row(whole, outcomes)))]


def _row(found: dict[str, int], outcomes: Sequence[str]) -> list[int]:
    return [sum(found.values()), *(found.get(outcome, 0) for outcome in outcomes), found.get("fault", 0)]


def _code(part: str, name: str) -> str:
    return name if part == "formats" else f"`{name}`"


def _chaos() -> Iterator[tuple[str, int]]:
    found = read(CHAOS)
    yield from found["seen"].items()
    yield from found["wrong"].items()


def _shown(value: float, unit: str) -> str:
    if isinstance(value, float):
        return f"{value:g} {unit}".rstrip()
    size = value.bit_length() - 1
    if unit == "bytes" and size >= 20 and value == 2**size:
        return f"{2 ** (size % 10)} {('MiB', 'GiB', 'TiB')[size // 10 - 2]}"
    return f"{value:,} {unit}".rstrip()


def value(name: str) -> str:
    """A number of a run: `fuzz inputs`, `fuzz faults`, `fuzz made`, `chaos made` and their kin. KeyError for others."""
    which, _, what = name.partition(" ")
    found = json.loads((ROOT / {"fuzz": FUZZ, "chaos": CHAOS}[which]).read_text(encoding="utf-8"))
    if what == "made":
        versions = ", ".join(f"{name} {version}" for name, version in found["made"].items() if name != "date")
        return f"seed {found['seed']}, {found['made']['date']}, {found['seconds'] / 60:.0f} minutes, {versions}"
    if which == "fuzz" and what in ("inputs", "faults"):
        cells = [counts for part in found["counts"].values() for counts in part.values()]
        return f"{sum(sum(c.values()) if what == 'inputs' else c.get('fault', 0) for c in cells):,}"
    if which == "fuzz" and what in OUTCOMES:
        return f"{len(found['counts'][what]):,}"
    if name == "chaos kills":
        return f"{found['kills']:,}"
    raise KeyError(name)
