"""What is stored has its form, or it is told what is wrong with it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from evidence.forms import ABOVE, NUMBER, check_form, check_plain

FORM = {
    "whole": int,
    "name?": str,
    "points": [{"share": float, "error": [NUMBER]}],
    "mean": (None, float),
    "cost": ABOVE,
}
GOOD: dict[str, Any] = {
    "whole": 1,
    "points": [{"share": 0.5, "error": [float("nan")]}],
    "mean": None,
    "cost": 2,
    "more": [],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"name": "x", "mean": 1.5, "points": []}, ""),
        ({"whole": True}, "row.whole is True, not a whole number"),
        ({"whole": 1.0}, "row.whole is 1.0, not a whole number"),
        ({"name": None}, "row.name is None, not a text"),
        ({"points": {}}, "row.points is {}, not a list"),
        ({"points": [5]}, "row.points is 5, not an object"),
        ({"points": [{"share": 1}]}, "row.points has no error"),
        ({"points": [{"share": 1, "error": ["x"]}]}, "row.points.error is 'x', not a number, or NaN"),
        ({"mean": "x"}, "row.mean is 'x', not a finite number"),
        ({"mean": float("inf")}, "row.mean is inf, not a finite number"),
        ({"cost": 0}, "row.cost is 0, not a number above 0"),
    ],
)
def test_forms(change: dict[str, Any], words: str) -> None:
    if not words:
        check_form("row", GOOD | change, FORM)
        return
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        check_form("row", GOOD | change, FORM)


def test_plain_data_are_of_some_depth_and_size() -> None:
    check_plain("x", {"a": [{"b": 10**300}, -1.5, "text", None]})
    with pytest.raises(ValueError, match="more than 300 digits"):
        check_plain("x", [[-(10**301)]])
