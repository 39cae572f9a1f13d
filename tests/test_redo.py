"""`undertow reproduce --study paper`: what is run again, and how it is said to compare."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from console import refused, run

from dynamics.errors import InputError
from evidence.store import Row
from evidence.study import Run
from fullscale.paper.contrasts import looked, primary
from fullscale.studies import Found, Source
from undertow import redo as module

sys.path.append(str(Path(__file__).parent / "fullscale"))
from test_paper import Made, as_claimed, watched


def redone(
    monkeypatch: pytest.MonkeyPatch, out: Path, change: Callable[[Row], Row], digest: str = "d", quick: bool = True
) -> tuple[str, list[Any]]:
    """What is printed where every run comes out as `change` makes it of the stored row; and the specs that were run."""
    cells = Made(as_claimed)
    seen = looked(cells, watched(True))
    primary(seen)  # makes what it looks at
    asked: list[Any] = []

    def again(runs: Sequence[Run], *_: Any, **__: Any) -> list[Row]:
        asked.extend(one.spec for one in runs)
        rows = {str(row.spec): row for cell in cells.all() for row in cell.rows.values()}
        return [change(rows[str(one.spec)]) for one in runs]

    def read(sources: Sequence[Source], data: str | None) -> dict[Source, Found]:
        return {source: Found(digest, "", (1,) * (len(source.classes) or 10), (3, 16, 16), {}) for source in sources}

    monkeypatch.setattr(module, "bearing_kept", lambda: seen)
    monkeypatch.setattr(module, "run_all", again)
    monkeypatch.setattr(module.images, "read", read)
    return module.redo(out, "cifar", quick=quick), asked


def test_one_seed_of_every_cell_of_a_primary_contrast_is_run_and_equal_runs_are_called_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, asked = redone(monkeypatch, tmp_path, lambda row: row)
    # Adam without, with L2 and with decay at two strengths; SGD, momentum without and with; 3 batches.
    assert len(asked) == 5 + 4 + 3
    assert {spec["seed"] for spec in asked} == {2}
    assert f"{len(asked)} of {len(asked)} runs came out the same to the last bit" in said
    assert "S1      20.60 here, 20.60 as stored, of the same seeds; 20.30 [" in said
    assert not any(line.startswith("S6") for line in said.splitlines())
    assert "S5b and S5c are left out with --quick" in said
    every, asked = redone(monkeypatch, tmp_path, lambda row: row, quick=False)
    assert len(asked) == 5 * (5 + 4 + 3 + 2 + 2)
    assert "S5b " in every
    assert "left out" not in every


def test_a_run_that_comes_out_otherwise_is_told_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(row: Row) -> Row:
        if row.spec["optimizer"] != "adam" or row.spec["coupling"] != "l2":
            return row
        return replace(row, summary=row.summary | {"inactive_by_activation": 0.9})

    said, _ = redone(monkeypatch, tmp_path, lost)
    assert "inactive 20.60% -> 90.00%" in said
    assert "S1      90.00 here, 20.60 as stored, of the same seeds; 20.30 [" in said
    with pytest.raises(InputError, match="data cifar: other images than the study's"):
        redone(monkeypatch, tmp_path, lambda row: row, digest="another")


def test_the_same_to_the_last_bit_is_said_of_all_that_came_with_the_package_and_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, _ = redone(
        monkeypatch, tmp_path, lambda row: replace(row, summary=row.summary | {"channels": [8, 8], "seconds": 1e9})
    )
    assert "12 of 12 runs came out the same to the last bit" in more
    late, _ = redone(
        monkeypatch, tmp_path, lambda row: replace(row, curves=row.curves | {"inactive_by_activation": [0.5]})
    )
    assert "0 of 12 runs came out the same to the last bit" in late


def test_flags_that_do_not_go_together_are_refused() -> None:
    refused(run("reproduce", "--study", "paper"), "--study paper without --data")
    refused(run("reproduce", "--quick"), "--quick without --study")
    refused(
        run("reproduce", "--study", "paper", "--data", "x", "--only", "silence"), "--only silence with --study paper"
    )
