"""The figure of watched runs: its words and curves follow the records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pictures import assert_readable

from figures import watched
from fullscale.watched.estimate import SIGNS, foretold

EPOCHS = [6, 12, 18, 24, 30]


def record(seed: int, toll: float = 0.5, sense: float = 1.0) -> dict[str, Any]:
    """A network in which the share rises with selectivity (sense 1) or falls (-1), and a small gamma dies."""
    draws = np.random.default_rng(seed)
    shape = (len(EPOCHS), 30)
    columns = {name: draws.random(shape) for name in SIGNS}
    columns["share_gamma"] = 0.5 + sense * (columns["selectivity"] - 0.5) + 0.1 * draws.random(shape)
    columns["peak"] = np.ones(shape)
    places = np.argsort(np.argsort(columns["gamma"][0]))
    dead = places < toll * 30
    return {name: values.tolist() for name, values in columns.items()} | {
        "layers": [10, 20], "epochs": EPOCHS, "dead_by_activation": dead.astype(int).tolist(),
    }  # fmt: skip


@pytest.mark.parametrize(("sense", "said"), [(1.0, "rises with selectivity"), (-1.0, "falls with selectivity")])
def test_title_and_curves_follow_the_records(sense: float, said: str) -> None:
    records = [record(seed, sense=sense) for seed in range(4)]
    picture = watched.draw(records)
    assert_readable(picture.figure)
    assert said in picture.figure.get_suptitle()
    assert "n = 4 networks of 30 filters, of which 15 to 15" in picture.caption
    assert "nan" not in picture.alt
    left, right = picture.figure.axes
    marked = [len(points.get_offsets()) for points in left.collections]
    assert marked == [60, 60]
    by_label = dict(zip(watched.LOOKS, right.lines, strict=False))
    for name in ("gamma", "selectivity", "arrival"):
        expected = [np.mean(foretold(records, name, epoch / 30)) for epoch in EPOCHS[:-1]]
        np.testing.assert_allclose(by_label[name].get_ydata(), expected)
    assert by_label["gamma"].get_ydata()[0] > 0.9


def test_networks_in_which_nothing_dies_can_be_drawn() -> None:
    picture = watched.draw([record(seed, toll=0.0) for seed in range(3)])
    assert_readable(picture.figure)
    assert "no filter died in two networks or more" in picture.figure.get_suptitle()
