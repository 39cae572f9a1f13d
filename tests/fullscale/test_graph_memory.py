"""Whatever a network's code, its hooks and its helpers reach is as it was after a call and after a recording."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fullscale.graph import trace
from fullscale.graph.inputs import Inputs
from fullscale.graph.memory import LONGEST
from fullscale.graph.trace import call

X = torch.ones(2, 3)
KEPT: list[Tensor] = []
COUNT = 0


def helper(x: Tensor) -> None:
    def inner() -> None:
        KEPT.append(x)

    inner()


class Slotted:
    __slots__ = ("kept", "last")

    def __init__(self) -> None:
        self.kept: list[Tensor] = []
        self.last: Any = None


class Meta(type):
    @property
    def anew(cls) -> object:
        return object()


class Shown(metaclass=Meta):
    """Another object at each look, of a class and of an object: what stands there is what counts."""

    anew = 1  # type: ignore[assignment]

    @property
    def own(self) -> object:
        return object()


class Number(complex):
    """Has members, `real` and `imag`, that cannot be set."""


class Net(nn.Module):
    """Does something aside with what it computes."""

    of_the_class: ClassVar[list[Tensor]] = []
    calls = 0

    def __init__(self, aside: Callable[[Any, Tensor], None]) -> None:
        super().__init__()
        self.layer, self.aside = nn.Linear(3, 3), aside
        self.deep: Any = {"a": [{"b": {"c": {"d": {"e": []}}}}]}
        self.shown, self.number = Shown(), Number(1)
        self.slotted, self.array, self.large = Slotted(), np.zeros(3), np.zeros(LONGEST)
        self.sources = (torch.Generator(), np.random.default_rng(1), random.Random(1), np.random.RandomState(1))
        self.counted, self.nan = torch.zeros(()), torch.full((2,), torch.nan)
        self.register_buffer("eighths", torch.ones(3).to(torch.float8_e4m3fn))

    def forward(self, x: Tensor, *, cache: list[Tensor] = []) -> Tensor:  # noqa: B006 - as some write it
        y: Tensor = self.layer(x)
        if self.aside is keyword:
            cache.append(y)
        self.aside(self, y)
        return y

    def put(self, module: nn.Module, args: Any, y: Tensor) -> None:
        self.deep["a"][0]["b"]["c"]["d"]["e"].append(y)


def keyword(net: Net, y: Tensor) -> None:
    """Into a keyword's default."""


def of_the_class(net: Net, y: Tensor) -> None:
    net.of_the_class.append(y)
    type(net).calls += 1


def global_names(net: Net, y: Tensor) -> None:
    global COUNT  # noqa: PLW0603
    COUNT += 1
    helper(y)


def slots(net: Net, y: Tensor) -> None:
    net.slotted.kept.append(y)
    net.slotted.last = y


def hook(net: Net, y: Tensor) -> None:
    net.put(net, (), y)


def numbers(net: Net, y: Tensor) -> None:
    net.array[0] += 1
    net.counted += 1
    net.counted *= 2


def drawn(net: Net, y: Tensor) -> None:
    torch.rand(1, generator=net.sources[0])
    for source in net.sources[1:]:
        source.random() if hasattr(source, "random") else source.rand()


def held(net: Net) -> list[Any]:
    slotted = (list(net.slotted.kept), net.slotted.last)
    defaults = list(Net.forward.__kwdefaults__["cache"])
    numpy = net.sources[3].get_state(legacy=False)["state"]
    states = (net.sources[0].get_state().tolist(), net.sources[1].bit_generator.state, net.sources[2].getstate())
    numbers = (net.array.tolist(), float(net.counted), repr(net.deep), numpy["pos"], numpy["key"].tolist())
    return [COUNT, list(KEPT), list(Net.of_the_class), Net.calls, slotted, defaults, *states, *numbers]


ASIDE = [keyword, of_the_class, global_names, slots, hook, numbers, drawn]


@pytest.mark.parametrize("aside", ASIDE)
def test_what_is_put_aside_is_as_it_was(aside: Callable[[Any, Tensor], None]) -> None:
    net = Net(aside)
    if aside is hook:
        net.layer.register_forward_hook(net.put)
    before = held(net)
    call(net, Inputs((X,)))
    assert held(net) == before
    if aside not in (drawn, numbers):  # torch.export refuses those
        trace(net, X)
        assert held(net) == before
    assert type(net(X)) is Tensor
    assert held(net) != before


@lru_cache
def grid(size: int) -> Tensor:
    return torch.linspace(0, 1, size)


class Cached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * grid(x.shape[1])


@pytest.mark.parametrize("training", [False, True])
def test_a_cache_that_cannot_be_emptied_holds_tensors_of_numbers(training: bool) -> None:
    grid.cache_clear()
    trace(Cached(), X, training=training)
    assert type(grid(3)) is Tensor
    assert torch.equal(Cached()(X), X * torch.tensor([0, 0.5, 1]))


def test_a_sparse_buffer_is_given_back_too() -> None:
    net = Net(lambda net, y: net.sparse.mul_(2))
    net.register_buffer("sparse", torch.eye(3).to_sparse())
    call(net, Inputs((X,)))
    assert torch.equal(net.sparse.to_dense(), torch.eye(3))


def test_numbers_that_did_not_change_are_not_written() -> None:
    """What a gradient's history holds would count as changed otherwise."""
    net = Net(keyword)
    with torch.no_grad():
        net.layer.weight[0] = torch.nan
    before = [tensor._version for tensor in (*net.parameters(), net.eighths, net.counted, net.nan)]
    call(net, Inputs((X,)))
    assert [tensor._version for tensor in (*net.parameters(), net.eighths, net.counted, net.nan)] == before
