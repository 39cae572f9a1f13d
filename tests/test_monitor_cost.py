"""The script that measures the monitor's cost does so in pairs and tells the median. Nothing here asserts a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import monitor_cost
from bench.monitor_cost import Row, main, median, table


def test_it_measures_both_sides_and_stores_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(monitor_cost, "STEPS", 2)
    file = tmp_path / "cost.json"
    assert main(["--pairs", "6", "--optimizers", "AdamW", "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    assert len(row["plain"]) == len(row["watched"]) == 6
    assert all(seconds > 0 for pair in row["plain"] + row["watched"] for seconds in pair)
    assert "| AdamW |" in capsys.readouterr().out
    assert main(["--pairs", "5"]) == 2


@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (15, 4, 12), (25, 8, 18)])
def test_the_interval_of_the_median_is_that_of_the_sign_test(n: int, low: int, high: int) -> None:
    """Places as tables of the sign test have them, at 95%."""
    assert median(list(range(n, 0, -1))) == ((n + 1) / 2, low, high)


def test_the_table_has_ratios_within_pairs() -> None:
    row = Row("Adam", [(0.001 * k, 0.002) for k in range(1, 8)], [(0.00103 * k, 0.0021) for k in range(1, 8)])
    assert "| Adam | 4.00 | 3.0% [3.0, 3.0] | 5.0% [5.0, 5.0] |" in table([row])
