"""A few hundred calls with one value put wrong, the same at every run; `make fuzz` draws more of them."""

from __future__ import annotations

from importlib import import_module

import pytest

from dynamics.errors import InputError
from fuzz.calls import CALLS, LEFT_OUT
from fuzz.functions import BAD, Case, case, cases, fits, judge, places

# Their every value is tried: cheap, and the doors to most of the rest.
CHEAP = ("undertow.parse", "undertow.pull_share", "mean_interval", "every_cell", "within")
ROOMS = (
    "undertow",
    "fullscale.graph",
    "fullscale.prune",
    "fullscale.measure",
    "fullscale.models",
    "fullscale.data",
    "fullscale.studies",
    "fullscale.watched",
    "fullscale.monitor",
)


@pytest.mark.parametrize("name", CHEAP)
def test_a_bad_value_is_refused_in_one_line_or_right(name: str) -> None:
    assert [fault for place in places(name) for bad in BAD if (fault := judge(case(name, place, bad)))] == []


def test_cases_are_drawn_again_by_their_seed() -> None:
    names = [[one.name for one in cases(seed, 20)] for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    assert len(set(names[0])) == 20


def test_a_fault_is_seen() -> None:
    def refused(message: str) -> Case:
        def run() -> None:
            raise InputError(message)

        return Case("a", run)

    assert judge(refused("a 1: 2 is accepted")) == ""
    assert judge(refused("a\nb")) == ""  # the class itself joins lines
    assert judge(Case("a", lambda: None)) == ""
    assert judge(Case("a", lambda: int("x"))).startswith("a: ValueError: invalid literal")  # type: ignore[arg-type]
    assert not fits(True, int)
    assert not fits("x", float)
    assert not fits(float("nan"), float)


def test_every_public_name_is_called_or_a_reason_stands() -> None:
    called = {name.rpartition(".")[2] for name in CALLS} | {name.partition(".")[0] for name in CALLS} | set(LEFT_OUT)
    missing = {room: sorted(set(import_module(room).__all__) - called) for room in ROOMS}
    assert {room: names for room, names in missing.items() if names} == {}
