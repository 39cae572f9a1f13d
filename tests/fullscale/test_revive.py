"""Dead filters made new: their numbers and no others, the outputs of the rest, the optimizer's state, and that they live on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monitored import adam, batch, small, train
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.data.digits import read
from fullscale.models import Architecture, build
from fullscale.monitor import Monitor
from fullscale.revive import revive

Make = Callable[[Iterable[nn.Parameter]], Any]
MAKES: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2),
    "momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-3),
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=1e-2, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2, initial_accumulator_value=0.1),
    "adan": lambda p: Optimizer(p, "adan", "decoupled_lr", lr=1e-2, weight_decay=1e-3),
    "schedule_free": lambda p: Optimizer(p, "schedule_free", lr=1e-2),
}
# What of each optimizer's state is a mean of gradients or steps, and what it divides by.
MOMENTA = {"momentum_buffer", "exp_avg", "grad_avg", "m", "d", "last"}
SQUARES = {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "n", "v"}


def unnormed() -> nn.Sequential:
    """Convolutions, one of them grouped and one of them depthwise, and linear layers, without BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2), nn.ReLU6(), nn.Conv2d(4, 4, 3, groups=4, bias=False),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip


# Of each layer: its weight, the parameters and buffers with an entry a filter, and the weights that read it.
NETS: dict[str, tuple[Callable[[], nn.Sequential], dict[str, tuple[str, list[str], str]]]] = {
    "batch norm": (
        small,
        {
            "1": ("0", ["1.weight", "1.bias", "1.running_mean", "1.running_var", "0.bias"], "3.weight"),
            "4": ("3", ["4.weight", "4.bias", "4.running_mean", "4.running_var", "3.bias"], "7.weight"),
        },
    ),
    "none": (
        unnormed,
        {
            "0": ("0", ["0.bias"], "2.weight"),
            "2": ("2", ["2.bias"], "4.weight"),
            "4": ("4", [], "8.weight"),
            "8": ("8", ["8.bias"], "10.weight"),
        },
    ),
}


def reading(name: str, shape: torch.Size, filters: list[int], outputs: int) -> Tensor:
    """Which entries of the weights behind a layer read these filters, told from the shapes alone."""
    entries = torch.zeros(shape, dtype=torch.bool)
    for i in filters:
        if name == "2.weight" and shape[1] == 2:  # two groups of two
            entries[i // 2 * 2 : i // 2 * 2 + 2, i % 2] = True
        elif name == "4.weight" and shape[1] == 1:
            entries[i] = True
        else:
            entries.view(shape[0], outputs, -1)[:, i] = True
    return entries


def numbers(net: nn.Module, optimizer: Any) -> dict[str, Tensor]:
    """All tensors of both, under names."""
    names = {p: name for name, p in net.named_parameters()}
    state = {
        f"{names[p]}/{field}": x
        for p, held in optimizer.state.items()
        for field, x in held.items()
        if torch.is_tensor(x)
    }
    return {name: x.detach().clone() for name, x in (net.state_dict() | state).items()}


@pytest.mark.parametrize("name", MAKES)
@settings(max_examples=6)
@given(data=st.data())
def test_the_filters_and_what_is_held_of_them_are_new_and_nothing_else_changes(name: str, data: Any) -> None:
    make, layers = NETS[data.draw(st.sampled_from(sorted(NETS)))]
    net, layer = make(), data.draw(st.sampled_from(sorted(layers)))
    optimizer = MAKES[name](net.parameters())
    train(net, optimizer, range(2))
    weight, vectors, behind = layers[layer]
    count = len(net.get_submodule(weight).weight)  # type: ignore[arg-type]
    filters = data.draw(st.lists(st.integers(0, count - 1), unique=True, min_size=1, max_size=count - 1))
    before = numbers(net, optimizer)
    state, mode = torch.get_rng_state(), net.training
    assert revive(net, optimizer, {layer: filters}, example=batch(0)[0]) == {layer: tuple(filters)}
    assert net.training is mode
    after = numbers(net, optimizer)
    own = torch.zeros(count, dtype=torch.bool)
    own[filters] = True
    torch.set_rng_state(state)
    drawn = copy.deepcopy(net.get_submodule(weight))
    drawn.reset_parameters()  # type: ignore[operator]
    start = {"running_var": 1.0, "running_mean": 0.0, "weight": 1.0, "bias": 0.0}
    for key, new in after.items():
        parameter, _, field = key.partition("/")
        if parameter == behind:
            entries = reading(behind, net.get_parameter(behind).shape, filters, count)
        elif parameter == f"{weight}.weight" or parameter in vectors:
            entries = own
        else:
            entries = torch.zeros(1, dtype=torch.bool)
        if field == "step" or (field and new.ndim == 0):
            assert torch.equal(new, before[key])
            continue
        if not entries.any():
            assert torch.equal(new, before[key]), key
            continue
        assert torch.equal(new[~entries], before[key][~entries]), key
        if field == "z":
            assert torch.equal(new[entries], after[parameter][entries])
        elif field in MOMENTA:
            assert not new[entries].any()
        elif field:
            assert field in SQUARES
            mean = before[key][~entries].double().mean()
            torch.testing.assert_close(new[entries].double(), mean.expand_as(new[entries]), rtol=1e-6, atol=0)
        elif parameter == behind:
            assert not new[entries].any()
        elif parameter.startswith(f"{weight}."):
            assert torch.equal(new[entries], drawn.get_parameter(parameter.partition(".")[2]).detach()[entries])
        else:
            assert bool((new[entries] == start[parameter.rpartition(".")[2]]).all())


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("training", [True, False])
def test_the_outputs_stay_where_the_filters_put_out_0(kind: str, training: bool) -> None:
    make, layers = NETS[kind]
    net = make()
    optimizer = adam(net)
    train(net, optimizer, range(2))
    with torch.no_grad():
        for layer in layers:
            dying = net.get_submodule(layer)
            dying.weight[1] = 0.0  # type: ignore[index,operator]
            if dying.bias is not None:
                dying.bias[1] = -1.0  # type: ignore[index,operator]
        x = batch(9)[0]
        before = copy.deepcopy(net).train(training)(x)
        revive(net, optimizer, {layer: [1] for layer in layers}, example=x)
        torch.testing.assert_close(net.train(training)(x), before, rtol=1e-5, atol=1e-6)
        # And they are no longer silent.
        first = net[:3] if kind == "batch norm" else net[:2]
        assert first.train()(x)[:, 1].any()


def test_a_weight_between_two_new_filters_is_drawn() -> None:
    net = small()
    optimizer = adam(net)
    revive(net, optimizer, {"1": [0, 1, 2, 3], "4": [2]}, example=batch(0)[0])
    weight = net.get_parameter("3.weight")
    assert weight[2].all()
    assert not weight[[0, 1, 3, 4]].any()


def test_of_a_tensor_that_is_new_as_a_whole_the_largest_square_stays() -> None:
    net = small()
    optimizer = adam(net)
    train(net, optimizer, range(2))
    held = optimizer.state[net.get_parameter("1.weight")]["exp_avg_sq"]
    largest = float(held.max())
    revive(net, optimizer, {"1": range(4)}, example=batch(0)[0])
    assert held.tolist() == [largest] * 4


class Joined(nn.Module):
    """A residual sum, a filter that is put out, a norm behind the activation, and weights used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 4)
        self.normed, self.norm, self.last = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)
        self.twice = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.outer(self.inner(x).relu())
        x = self.norm(self.normed(x).relu())
        x = self.twice(self.twice(x).relu())
        return torch.relu(self.last(x))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("stem", "residual sum"),
        ("normed", "a norm reads them"),
        ("twice", "told apart"),
        ("last", "the network puts them out"),
    ],
)
def test_filters_without_weights_of_their_own_are_refused(layer: str, words: str) -> None:
    net, x = Joined(), torch.randn(2, 3)
    optimizer = adam(net)
    before = numbers(net, optimizer)
    with pytest.raises(InputError, match=f"{layer}.*{words}"):
        revive(net, optimizer, {"inner": [0], layer: [0]}, example=x)
    assert all(torch.equal(x, before[name]) for name, x in numbers(net, optimizer).items())
    assert revive(net, optimizer, {"inner": [0]}, example=x) == {"inner": (0,)}
    assert not net.outer.weight[:, 0].any()


def test_a_residual_network_has_filters_with_weights_of_their_own() -> None:
    net = build(Architecture("resnet20", 1 / 4, 3, 5))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    assert revive(net, optimizer, {"layer2.1.bn1": [1]}) == {"layer2.1.bn1": (1,)}
    with pytest.raises(InputError, match=r"layer2\.1\.bn2"):
        revive(net, optimizer, {"layer2.1.bn2": [1]})


def row(layer: Any = "1", channel: Any = 0, revived: Any = None) -> dict[str, Any]:
    return {"layer": layer, "channel": channel, "revived": revived}


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"2": [0]}, "layer '2' is unknown: accepted are 1, 4"),
        ({"1": [4]}, "filter of 1 4: a whole number from 0 to 3"),
        ({"1": [-1]}, "filter of 1 -1"),
        ({"1": [0, 2, 0]}, "0 is named twice"),
        ({"1": [True]}, "filter of 1 True"),
        ({"1": 3}, "filters of 1 3: a sequence"),
        ("1", "filters '1'"),
        ([("1", 0)], "rows of Monitor.deaths"),
        ([row(channel=9)], "filter of 1 9"),
    ],
)
def test_what_are_no_filters_is_refused_in_one_line(filters: Any, words: str) -> None:
    net = small()
    optimizer = adam(net)
    before, state = numbers(net, optimizer), torch.get_rng_state()
    with pytest.raises(InputError) as refused:
        revive(net, optimizer, filters, example=batch(0)[0])
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert all(torch.equal(x, before[name]) for name, x in numbers(net, optimizer).items())
    assert torch.equal(torch.get_rng_state(), state)


def test_an_optimizer_that_lacks_parameters_or_holds_what_is_not_known_is_refused() -> None:
    net, x = small(), batch(0)[0]
    with pytest.raises(InputError, match=r"without 0\.weight"):
        revive(net, torch.optim.SGD(list(net.parameters())[1:], lr=0.1), {"1": [0]}, example=x)
    optimizer = adam(net)
    train(net, optimizer, range(1))
    p = net.get_parameter("3.weight")
    for odd in (torch.zeros_like(p), torch.zeros(5)):
        optimizer.state[p]["shadow"] = odd
        before = numbers(net, optimizer)
        with pytest.raises(InputError, match=r"optimizer's shadow of 3\.weight"):
            revive(net, optimizer, {"1": [0]}, example=x)
        assert all(torch.equal(x, before[name]) for name, x in numbers(net, optimizer).items())
    unknown = torch.optim.Rprop(net.parameters())
    train(net, unknown, range(1))
    with pytest.raises(InputError, match=r"optimizer's prev, step_size of 0\.weight.*Rprop"):
        revive(net, unknown, {"1": [0]}, example=x)


def test_a_monitor_sees_the_death_and_the_revival() -> None:
    net = small()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    monitor = Monitor(net, optimizer, interval=1, example=batch(0)[0])

    def on(steps: range) -> None:
        for step in steps:
            x, y = batch(step, 200)
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            optimizer.step()

    with torch.no_grad():
        net.get_parameter("1.weight")[2] = 1e-6
        net.get_parameter("1.bias")[2] = -1.0
    on(range(3))
    dead = [(one["layer"], one["channel"], one["revived"]) for one in monitor.deaths if one["measure"] == "activation"]
    assert dead == [("1", 2, None)]
    assert revive(net, optimizer, monitor.deaths, example=batch(0)[0]) == {"1": (2,)}
    on(range(3, 5))
    assert {one["revived"] for one in monitor.deaths} == {3}
    assert revive(net, optimizer, monitor.deaths, example=batch(0)[0]) == {}
    monitor.close()


def silent(net: nn.Sequential, images: Tensor) -> dict[str, list[int]]:
    """The filters of the convolutions, which have ReLUs behind them, that put out nothing."""
    found = {}
    with torch.no_grad():
        for i, module in enumerate(net):
            images = module(images)
            if isinstance(module, nn.Conv2d):
                found[str(i)] = (images.amax((0, 2, 3)) <= 0).nonzero().flatten().tolist()
    return found


def test_filters_live_on_where_those_with_new_weights_alone_die_again() -> None:
    def make(parameters: Iterable[nn.Parameter]) -> Any:
        return torch.optim.Adam(parameters, lr=1e-2, weight_decay=1e-3)

    split = read().train
    images, labels = torch.from_numpy(split.images).float() / 8 - 1, torch.from_numpy(split.labels)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip

    def on(net: nn.Module, optimizer: Any, steps: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            chosen = torch.randint(len(images), (16,), generator=generator)
            optimizer.zero_grad()
            cross_entropy(net(images[chosen]), labels[chosen]).backward()
            optimizer.step()

    optimizer = make(net.parameters())
    on(net, optimizer, 300, 0)
    dead = silent(net, images[:512])
    count = sum(map(len, dead.values()))
    assert count >= 6
    left = make((twin := copy.deepcopy(net)).parameters())
    left.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    revive(net, optimizer, dead, example=images[:2])
    twin.load_state_dict(net.state_dict())  # new weights alone

    def alive(net: nn.Sequential) -> float:
        now = silent(net, images[:512])
        return 1 - sum(len(set(now[layer]) & set(own)) for layer, own in dead.items()) / count

    on(net, optimizer, 150, 1)
    on(twin, left, 150, 1)
    print(alive(net), alive(twin), count)
    assert alive(net) >= 0.9
    assert alive(twin) <= 0.5
