"""The text of the loops: what is printed is Python without a slot or a mark left, for every choice that a run can make."""

from __future__ import annotations

import ast
from itertools import product

import pytest

from dynamics.errors import InputError
from dynamics.rules import RULES
from dynamics.simulate.gradients import selective, silent, visited
from dynamics.simulate.kernel import parameters, source


@pytest.mark.parametrize("gradient", [silent, selective, visited])
@pytest.mark.parametrize("rule", ["sgd", "adam", "schedule_free"])
def test_a_printed_loop_is_python_that_updates_once(rule: str, gradient: object) -> None:
    for coupling, uniform, watch, device in product(("l2", "l1", "cautious"), *[(False, True)] * 3):
        text = source(rule, coupling, gradient, uniform=uniform, watch=watch, device=device)  # type: ignore[arg-type]
        ast.parse(text)
        assert "{" not in text
        assert "#:" not in text
        assert text.count("update(") == text.count("gradient(") == 1
        assert ("passed_step, watched_size" in text) == (watch and not device)
        assert all(f"{name}_" in text for name in (*RULES[rule].inner, *parameters(gradient)))  # type: ignore[arg-type]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="coupling 'wd' is unknown"):
        source("adam", "wd")
