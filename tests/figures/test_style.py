"""The style that all figures share: labels without overlap, files that are the same each time."""

from __future__ import annotations

import re
import struct
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.rules import RULES
from figures.style import LINES, Picture, colour_of, label_ends, label_of, save, spread_labels, styled

heights = st.lists(st.floats(-2, 2, allow_subnormal=False), max_size=8)
gaps = st.floats(0.01, 0.5)


@given(heights, gaps)
def test_labels_keep_their_order_and_their_distance(positions: list[float], gap: float) -> None:
    placed = spread_labels(positions, gap)
    order = sorted(range(len(positions)), key=positions.__getitem__)
    assert all(placed[b] - placed[a] >= gap - 1e-9 for a, b in pairwise(order))


@given(st.lists(st.integers(-20, 20), unique=True, max_size=8), st.floats(0.01, 1))
def test_labels_that_are_apart_stay_where_they_are(positions: list[int], gap: float) -> None:
    assert spread_labels([float(p) for p in positions], gap) == pytest.approx([float(p) for p in positions])


@given(heights.filter(bool), gaps, st.lists(st.floats(0, 0.2), min_size=8, max_size=8))
def test_no_other_placement_moves_labels_less(positions: list[float], gap: float, extra: list[float]) -> None:
    ordered = sorted(positions)
    placed = spread_labels(ordered, gap)

    def moved(where: list[float]) -> float:
        return sum((a - b) ** 2 for a, b in zip(where, ordered, strict=True))

    # Other placements that keep order and gap: each space wider by something, all of them shifted by something.
    other, at = [], placed[0] - extra[-1]
    for k in range(len(placed)):
        other.append(at)
        at += gap + extra[k % len(extra)]
    assert moved(placed) <= moved(other) + 1e-9
    shifted = [p + extra[0] - 0.1 for p in placed]
    assert moved(placed) <= moved(shifted) + 1e-9


def test_equal_positions_spread_evenly_about_their_place() -> None:
    assert spread_labels([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread_labels([], 0.1) == []


@given(st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=6))
def test_end_labels_never_touch_and_stay_below_the_title(where: list[float]) -> None:
    with styled():
        _, axes = plt.subplots()
        label_ends(axes, {f"label {k}": (height, "k") for k, height in enumerate(where)})
        placed = [text.get_position()[1] for text in axes.texts]
    plt.close("all")
    assert all(high - low >= 0.055 - 1e-9 for low, high in pairwise(sorted(placed)))
    assert max(placed) <= 1


def test_the_five_optimizers_have_colours_of_their_own_and_every_coupling_a_line() -> None:
    assert len({colour_of(name) for name in RULES}) == len(RULES)
    assert len({label_of(name) for name in RULES}) == len(RULES)
    assert (label_of("adam"), label_of("not loaded")) == ("Adam", "not loaded")
    assert re.fullmatch("#[0-9A-F]{6}", colour_of("not loaded"))
    assert set(LINES) == set(COUPLINGS)
    assert len(set(LINES.values())) == len(LINES)


def picture(name: str = "sample") -> Picture:
    with styled():
        figure, axes = plt.subplots()
        axes.plot([1, 2, 3], [1, 4, 9])
        axes.set_title("a title")
    return Picture(name, figure, "caption, n = 1", "What is seen & <heard>.")


def test_the_style_ends_with_its_context() -> None:
    before = dict(mpl.rcParams)
    with styled():
        assert mpl.rcParams["axes.spines.top"] is False
    assert dict(mpl.rcParams) == before


def test_a_saved_picture_is_valid_and_the_same_each_time(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        save(picture(), folder)
    one, two = ((folder / "sample.svg").read_bytes() for folder in folders)
    assert one == two
    root = ElementTree.fromstring(one)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "What is seen & <heard>." in "".join(root.itertext())
    png = (folders[0] / "sample.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(struct.unpack(">II", png[16:24])) > 400
    assert plt.get_fignums() == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        save(picture(), tmp_path / "missing")
