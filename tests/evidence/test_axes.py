"""The product of axes against a plain oracle: filter the whole product."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.errors import InputError
from evidence import axes
from evidence.axes import Product


class Unsaid:
    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


NAMES = ("a", "b", "c")
VALUES = st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)


@given(st.permutations(NAMES), st.data())
def test_overrides_and_exclusions_are_what_a_filter_of_the_whole_product_gives(order: list[str], data: Any) -> None:
    values = {name: data.draw(VALUES) for name in order}
    whole = [dict(zip(order, row, strict=True)) for row in itertools.product(*values.values())]
    left_out = data.draw(st.sampled_from(whole))
    # One axis takes other values where two others, written before or after it, have certain ones.
    target = data.draw(st.sampled_from(NAMES))
    when = {name: data.draw(st.sampled_from(values[name])) for name in NAMES if name != target}
    other = data.draw(st.lists(st.integers(4, 6), min_size=1, max_size=3, unique=True))
    expected = []
    for row in itertools.product(*(values[n] if n != target else range(-1, 7) for n in order)):
        cell = dict(zip(order, row, strict=True))
        applies = all(cell[n] == v for n, v in when.items())
        if cell[target] in (other if applies else values[target]):
            expected.append(cell)
    product = Product({"d": 0}, values, [{"when": when, target: other}])

    def places(cell: dict[str, int]) -> list[int]:
        applies = all(cell[n] == v for n, v in when.items())
        lists = values | ({target: other} if applies else {})
        return [lists[n].index(cell[n]) for n in order]

    expected.sort(key=places)
    assert product.cells() == [{"d": 0} | cell for cell in expected]

    if left_out in expected and len(expected) > 1:
        kept = [cell for cell in expected if cell != left_out]
        if any(all(cell[n] == v for n, v in when.items()) for cell in kept):
            found = Product({}, values, [{"when": when, target: other}], [left_out]).cells()
            assert found == kept


def test_a_name_of_one_override_alone_is_there_only_where_it_applies() -> None:
    product = Product({"lr": 0.1}, {"rule": ["adam", "sgd"]}, [{"when": {"rule": "adam"}, "beta2": [0.9, 0.99]}])
    assert [cell.get("beta2") for cell in product.cells()] == [0.9, 0.99, None]


def test_values_may_be_lists_and_numpys_numbers() -> None:
    product = Product({"classes": ["a", "b"]}, {"pair": [[1, 2], (3, 4)], "x": np.array([1.0, 2.0])})
    cells = product.cells()
    assert [(cell["pair"], cell["x"]) for cell in cells] == [([1, 2], 1.0), ([1, 2], 2.0), ([3, 4], 1.0), ([3, 4], 2.0)]
    assert type(cells[0]["x"]) is float
    assert cells[0]["classes"] == ["a", "b"]


def test_one_and_one_point_nought_are_one_value_but_not_true() -> None:
    with pytest.raises(InputError, match="twice"):
        Product({}, {"x": [1, 1.0]})
    assert len(Product({}, {"x": [1, True]}).cells()) == 2
    product = Product({}, {"x": [1.0, 2.0], "y": [0]}, [{"when": {"x": 1}, "y": 5}])
    assert [cell["y"] for cell in product.cells()] == [5, 0]


@pytest.mark.parametrize(
    ("product", "said"),
    [
        (lambda: Product({}, {"x": []}), "axis 'x' is empty"),
        (lambda: Product({}, {"x": "adam"}), "axis 'x' 'adam': a list"),
        (lambda: Product({}, {"x": [None]}), "x None: a number"),
        (lambda: Product({"x": {"y": 1}}), "x {'y': 1}: a number"),
        (lambda: Product({}, {"x": [1]}, [{"when": {"x": 1}, "y": np.array(3)}]), "y array(3): a number"),
        (lambda: Product({"x": Unsaid()}), "x Unsaid (RuntimeError): a number"),
        (lambda: Product({"x": 1}, {"x": [1]}), "'x' is fixed and an axis"),
        (lambda: Product({}, {"x": [1]}, [{"x": 2}]), "override 1: `when`"),
        (lambda: Product({}, {"x": [1]}, [{"when": {"x": 1}}]), "override 1: `when`"),
        (lambda: Product({}, {"x": [1]}, [{"when": {"y": 1}, "x": 2}]), "override 1 asks for 'y': accepted are x"),
        (lambda: Product({}, {"x": [1]}, (), [{"y": 1}]), "exclusion 1 asks for 'y'"),
        (lambda: Product({}, {"x": [1]}, [{"when": {"x": 2}, "y": 2}]), "override 1 (when x = 2) never applies"),
        (lambda: Product({}, {"x": [1]}, (), [{"x": 2}]), "exclusion 1 (x = 2) excludes nothing"),
        (lambda: Product({}, {"x": [1]}, (), [{"x": 1}]), "leave no combination"),
        (lambda: Product({}, {"x": [1, 2]}, [{"when": {"x": 1}, "y": 2}], [{"x": 1}]), "override 1 (when x = 1) never"),
        (
            lambda: Product({}, {"x": [1], "y": [1]}, [{"when": {"x": 1}, "y": 2}, {"when": {"y": 2}, "x": 3}]),
            "overrides wait for each other",
        ),
        (
            lambda: Product({}, {"x": [1], "z": [1]}, [{"when": {"x": 1}, "y": 2}, {"when": {"z": 1}, "y": 3}]),
            "two values for 'y' where z = 1: [2] and [3]",
        ),
        (lambda: Product({}, {"x": range(10**12)}), "'x' has more than 100,000 values"),
        (lambda: Product({}, {"x": itertools.count()}), "'x' has more than 100,000 values"),
        (lambda: Product({}, {n: list(range(400)) for n in "xyz"}), "160,000 combinations or more: up to 100,000"),
    ],
)
def test_a_slip_of_the_hand_is_said_in_one_line(product: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        product().cells()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_values_that_can_be_gone_through_once_are_values() -> None:
    product = Product({}, {"x": iter([1, 2])}, [{"when": {"x": iter([2])}, "y": iter([3, 4])}], [{"y": iter([4])}])
    assert product.cells() == product.cells() == [{"x": 1}, {"x": 2, "y": 3}]


def test_two_overrides_may_agree() -> None:
    agreeing = [{"when": {"x": 1}, "y": [2]}, {"when": {"z": 1}, "y": 2.0}]
    assert Product({}, {"x": [1], "z": [1]}, agreeing).cells() == [{"x": 1, "z": 1, "y": 2.0}]


def test_the_bound_is_on_combinations() -> None:
    assert len(Product({}, {"x": list(range(axes.MOST))}).cells()) == axes.MOST
