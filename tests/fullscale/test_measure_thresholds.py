"""Sparsity and test error over thresholds (S9), against networks whose filters are switched off by hooks, one by one."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import noise
from test_measure_networks import GRAPHS, Small, behind, drawn, found, small
from torch import Tensor

from dynamics.errors import InputError
from fullscale.graph import Graph, Inputs
from fullscale.measure import measure, zeroed
from fullscale.thresholds import MEASURES, by_threshold, decades, flat


def error_with_filters_off(net: Small, off: dict[str, list[int]], images: Tensor, y: Tensor) -> float:
    """Test error with these filters of each norm put to 0 behind their activation."""
    net = copy.deepcopy(net)
    for name, filters in off.items():
        keep = torch.ones(len(net.get_parameter(f"{name}.weight")))
        keep[filters] = 0
        behind(net)[name].register_forward_hook(
            lambda _, __, out, keep=keep: out * keep.view(1, -1, *[1] * (out.ndim - 2))
        )
    return float((net(images).argmax(dim=1) != y).double().mean())


def lively(seed: int, kind: str, activation: str) -> Small:
    """With scales and shifts of one size, so that answers depend on every filter."""
    net = small(seed, kind, activation)
    generator = torch.Generator().manual_seed(seed)
    for norm in (net.norm1, net.norm2, net.norm3):
        norm.weight.data.normal_(generator=generator)
        norm.bias.data.normal_(generator=generator)
    net.head.bias.data.zero_()
    return net


nets = drawn(lively)


def varied(seed: int, count: int) -> Tensor:
    """Images of different brightness, which the mean over the plane passes on."""
    return noise(seed, count, 2, 3, 3) + 3 * noise(seed + 1, count, 2, 1, 1)


def answered(net: Small, test: Tensor) -> Tensor:
    """As labels, what the network itself says, but for every sixth: each answer that changes shows."""
    return (net(test).argmax(dim=1) + (torch.arange(len(test)) % 6 == 0)) % 3


@settings(max_examples=12, deadline=None)
@given(nets, st.lists(st.floats(-1.5, 1), min_size=1, max_size=4, unique=True))
def test_errors_are_those_of_a_network_whose_filters_are_off(net: Small, exponents: list[float]) -> None:
    values = [10.0**e for e in exponents]
    images, test = varied(0, 10), varied(1, 30)
    activity, y = found(net, images), answered(net, test)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    runs: list[Inputs] = []
    with pytest.MonkeyPatch.context() as patch:
        run = Graph.run

        def counted(graph: Graph, net: Any, x: Inputs, *rest: Any) -> list[Tensor]:
            runs.append(x)
            return run(graph, net, x, *rest)

        patch.setattr(Graph, "run", counted)
        points = zeroed(
            net, activity, zip(test.split(20), y.split(20), strict=True), values, GRAPHS[net.kind, net.activation]
        )
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    # Each different set of filters runs once on each batch.
    sets = {tuple(torch.cat(activity.below(by, value)).tolist()) for by in MEASURES for value in values}
    assert len(runs) == 2 * len(sets | {(False,) * 10})
    assert points["thresholds"] == sorted(values)
    assert points["error_before"] == error_with_filters_off(net, {}, test, y)
    table = activity.table()
    for k, value in enumerate(sorted(values)):
        for by, number in (("activation", "peak"), ("scale", "gamma")):
            below = [row for row in table if abs(row[number]) < value]
            off = {n: [row["filter"] for row in below if row["layer"] == n] for n in activity.norms}
            assert points["sparsity"][by][k] == len(below) / len(table)
            assert points["error"][by][k] == error_with_filters_off(net, off, test, y)
    assert (points["filters"], points["images"], points["test_images"]) == (10, 10, 30)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 18), min_size=1, max_size=12), st.integers(0, 11))
def test_flat_is_the_widest_range_around_the_paper(steps: list[int], at: int) -> None:
    shares = (np.cumsum(steps) / 4000).tolist()
    values = [10.0 ** (k - 5) for k in range(len(shares))]
    paper = values[min(at, len(values) - 1)]
    low, high = flat(values, shares, paper)
    assert low <= paper <= high
    i, j = values.index(low), values.index(high)
    assert shares[j] - shares[i] < 0.01
    assert all(math.isnan(end) for end in flat(values, shares, 3 * paper))
    for a in range(len(values)):
        for b in range(a, len(values)):
            if values[a] <= paper <= values[b] and shares[b] - shares[a] < 0.01:
                assert b - a <= j - i


def test_decades_are_spelled_and_hold_their_ends() -> None:
    assert decades() == tuple(float(f"1e{k}") for k in range(-14, 1))
    assert set(MEASURES.values()) < set(decades())
    assert decades(3e-6, 2e-2) == (3e-6, 1e-5, 1e-4, 1e-3, 1e-2, 2e-2)
    assert decades(2.0, 3.0) == (2.0, 3.0)
    for low, high in ((0, 1), (1e-3, 1e-3), (1, 0.1), (-1, 1), (1e-3, math.inf), (math.nan, 1)):
        with pytest.raises(InputError, match="two positive finite numbers"):
            decades(low, high)


def point(sparsity: list[float], error: list[float]) -> dict[str, Any]:
    return {
        "thresholds": [1e-12, 1e-3, 1.0],
        "sparsity": {"activation": sparsity, "scale": sparsity},
        "error": {"activation": error, "scale": error},
        "error_before": 0.125, "filters": 8, "images": 30, "test_images": 16,
    }  # fmt: skip


def test_points_become_labelled_data() -> None:
    one, other = point([0.5, 0.5, 0.75], [0.125, 0.25, 1]), point([0.25, 0.5, 0.5], [0, 0, 0])
    data = by_threshold({3: one, 7: other}, data="digits")
    assert (data.sizes, data.attrs["data"]) == ({"measure": 2, "threshold": 3, "seed": 2}, "digits")
    assert data.sparsity.sel(measure="scale", threshold=1.0, seed=3).item() == 0.75
    assert data.error.sel(measure="activation", threshold=1e-3, seed=3).item() == 0.25
    np.testing.assert_allclose(data.flat, [[9, 0], [9, 3]])
    assert data.paper.values.tolist() == [1e-12, 1e-3]
    xr.testing.assert_identical(xr.Dataset.from_dict(data.to_dict()), data)
    # Ranges beyond all floats are still numbers.
    wide = point([0.0] * 335, [0.0] * 335) | {"thresholds": [float(f"1e{k}") for k in range(-320, 15)]}
    assert by_threshold({0: wide}).flat.values == pytest.approx(334, rel=1e-6)
    for seeds, words in (({}, "no networks"), ({0: one, 1: wide}, "different thresholds")):
        with pytest.raises(InputError, match=words):
            by_threshold(seeds)


images, labels = noise(0, 3, 2, 3, 3), torch.arange(3)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ([], "no test images"),
        ([(images, labels[:2])], r"labels torch.int64 \(2,\)"),
        ([(images, labels.float())], "labels torch.float32"),
        ([(images, labels + 1)], "labels from 1 to 3: 0 to 2 are accepted"),
        ([(images[:, :1], labels)], r"\(3, 1, 3, 3\)"),
        ([(images * math.nan, labels)], "outputs are not finite"),
    ],
)
def test_test_images_that_do_not_fit_are_refused(test: Any, words: str) -> None:
    net = lively(0, "chain", "silu")
    with pytest.raises(InputError, match=words):
        zeroed(net, measure(net, noise(0, 4, 2, 3, 3)), test)
