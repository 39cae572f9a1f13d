"""The monitor on networks of every kind: what is watched is what Python computes, and nothing of the user's changes by it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from dynamics.errors import InputError
from fullscale.monitor import Monitor


class Kept(nn.Module):
    """Networks that put the inputs of their activations aside, each with its channels last."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.zs: list[Tensor] = []
        self.make(width)
        self.out = nn.Linear(width, 2)

    def make(self, width: int) -> None:
        self.fc = nn.Linear(5, width)

    def keep(self, z: Tensor, dim: int = -1) -> Tensor:
        self.zs.append(z.detach().movedim(dim, -1).clone())
        return z

    def hidden(self, x: Tensor) -> Tensor:
        return self.keep(self.fc(x)).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x))


class InPlace(Kept):
    def hidden(self, x: Tensor) -> Tensor:
        return self.keep(self.fc(x)).relu_()


class Tokens(Kept):
    def hidden(self, x: Tensor) -> Tensor:
        return F.gelu(self.keep(self.fc(x[:, None].expand(-1, 3, -1)))).mean(1)


class Conv(Kept):
    def make(self, width: int) -> None:
        self.fc = nn.Conv1d(1, width, 3, padding=1, padding_mode="circular", bias=False)

    def hidden(self, x: Tensor) -> Tensor:
        return self.keep(self.fc(x[:, None]), 1).relu().amax(-1)


class Transposed(Conv):
    def make(self, width: int) -> None:
        self.fc = nn.ConvTranspose1d(1, width, 3, stride=2)


class Dictionary(Kept):
    """A sparse autoencoder's encoder: weights of its own, that are no layer's."""

    def make(self, width: int) -> None:
        self.enc, self.before = nn.Parameter(torch.randn(5, width)), nn.Parameter(torch.randn(5))

    def hidden(self, x: Tensor) -> Tensor:
        return self.keep((x - self.before) @ self.enc).relu()


class Gated(Kept):
    def make(self, width: int) -> None:
        self.fc, self.up = nn.Linear(5, width), nn.Linear(5, width)

    def hidden(self, x: Tensor) -> Tensor:
        return self.keep(self.fc(x)).relu() * self.up(x)


class Dropped(Kept):
    def hidden(self, x: Tensor) -> Tensor:
        return F.dropout(self.keep(self.fc(x)), 0.5, self.training).relu()


class Twice(Kept):
    def make(self, width: int) -> None:
        self.fc = nn.Linear(5, width)

    def hidden(self, x: Tensor) -> Tensor:
        return self.keep(self.fc(x)).relu() + self.keep(self.fc(2 * x)).relu()


class Normed(Kept):
    """Its norm is a class of the user's."""

    class Mine(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps) * 1.0

    def make(self, width: int) -> None:
        self.fc, self.norm = nn.Linear(5, width), self.Mine(width)

    def hidden(self, x: Tensor) -> Tensor:
        return self.keep(self.norm(self.fc(x))).relu()


class Groups(Conv):
    def make(self, width: int) -> None:
        self.fc, self.norm = nn.Conv1d(1, width, 3), nn.GroupNorm(2, width)

    def hidden(self, x: Tensor) -> Tensor:
        return F.silu(self.keep(self.norm(self.fc(x[:, None])), 1)).amax(-1)


NOTES: dict[Any, list[str]] = {Tokens: ["gelu"], Dictionary: ["enc"], Groups: ["silu"]}
KINDS = [Kept, InPlace, Tokens, Conv, Transposed, Dictionary, Gated, Dropped, Twice, Normed, Groups]


def inputs(step: int, n: int = 16) -> Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(step))


def made(kind: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


def fit(net: nn.Module, optimizer: Any, steps: int, draw: Callable[[int], Tensor] = inputs) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        net(draw(step)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_watched_is_what_the_activation_takes(kind: type[Kept]) -> None:
    """At every step, of batches of two sizes, with the weights that the network then has."""
    net = made(kind)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
    monitor = Monitor(net, optimizer, interval=1)
    fit(net, optimizer, 3, lambda step: inputs(step, 16 - step))
    times = len(net.zs) // 3
    assert monitor.filters == 6 * times, monitor.note
    for step in range(3):
        expected = torch.cat([z.flatten(0, -2).amax(0) for z in net.zs[times * step : times * step + times]])
        np.testing.assert_allclose(monitor.history["margin"][step], expected, rtol=1e-5, atol=1e-6)
    # Causes are told of what rectifies, has a scale, or is a plain layer.
    known = np.isfinite(monitor.history["pull"]).all(axis=None)
    assert known == (kind not in (Tokens, Dictionary))
    assert [note.partition(":")[0] for note in monitor.note] == NOTES.get(kind, [])


@pytest.mark.parametrize(
    ("kind", "make"),
    [(Kept, torch.optim.SGD), *((kind, torch.optim.Adam) for kind in (Kept, Conv, Transposed, Gated, Twice))],
)
def test_without_a_norm_pull_and_loss_make_up_the_way_of_the_margin(kind: type[Kept], make: Any) -> None:
    """On one batch, when the same image stays the strongest, nothing is left for the input; the parts are the optimizer's."""
    net = made(kind).double()
    optimizer = make(net.parameters(), lr=1e-3, weight_decay=0.5)
    monitor = Monitor(net, optimizer, interval=1)
    fit(net, optimizer, 5, lambda step: inputs(0).double())
    history = monitor.history
    moved = history["margin"].values[-1] - history["margin"].values[0]
    assert np.abs(moved).min() > 1e-4
    np.testing.assert_allclose(history["pull"].values[-1] + history["loss"].values[-1], moved, rtol=1e-3, atol=1e-7)
    assert (history["pull"].values[-1] < 0).mean() > 0.6
    assert np.isfinite(history["share_weights"].values[0]).all()
    assert monitor.note == []


def test_the_regularizers_part_of_a_margin_is_its_share_of_the_weights_under_the_strongest_input() -> None:
    net = made(Kept)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.5)
    monitor = Monitor(net, optimizer, interval=1)
    fit(net, optimizer, 2, lambda step: inputs(0))
    pulled = monitor.history["pull"].values[1]
    # SGD's decay takes lr * decay of everything that the margin is made of, at both ends of the interval.
    margin = monitor.history["margin"].values
    np.testing.assert_allclose(pulled, -0.05 * (margin[0] + margin[1]) / 2, rtol=1e-4)


@pytest.mark.parametrize(
    ("layer", "cause", "decay", "force"),
    [
        (nn.Linear(4, 3), "regularizer", 1.0, 0.0),
        (nn.ConvTranspose1d(4, 3, 1), "regularizer", 1.0, 0.0),
        (nn.Conv1d(4, 3, 1), "loss", 0.0, 1.0),
        (nn.Linear(4, 3), "loss", 0.0, 1.0),
        (nn.Conv1d(4, 3, 1), "input", 0.0, 0.0),
    ],
)
def test_a_filter_without_a_norm_dies_of_what_moved_it(layer: Any, cause: str, decay: float, force: float) -> None:
    """L2 takes every weight to 0 under a bias that is frozen below 0; or the loss presses; or the inputs fade."""
    nn.init.constant_(layer.weight, 1.0)
    nn.init.constant_(layer.bias, -0.2)
    layer.bias.requires_grad_(False)
    net = nn.Sequential(layer, nn.ReLU())
    optimizer = torch.optim.SGD([layer.weight], lr=0.03, weight_decay=decay)
    monitor = Monitor(net, optimizer, interval=5)
    x = torch.rand(128, 4, generator=torch.Generator().manual_seed(0))
    for step in range(150):
        size = max(0.0, 1 - step / 100) if cause == "input" else 1.0
        given = size * (x if isinstance(layer, nn.Linear) else x[..., None])
        net(given)
        layer.weight.grad = torch.full_like(layer.weight, force)
        optimizer.step()
    assert {row["cause"] for row in monitor.deaths} == {cause}
    assert len(monitor.deaths) == 3


class Losses(nn.Module):
    """Adds to a list what is to be added to the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.aside: list[Tensor] = []
        self.b, self.h = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU()), nn.Linear(4, 2)

    def aux(self) -> Tensor:
        return self.aside.pop()

    def forward(self, x: Tensor) -> Tensor:
        f = self.b(x)
        self.aside.append(0.01 * f.square().mean())
        return self.h(f)


class Named(Losses):
    def __init__(self) -> None:
        super().__init__()
        self.named: dict[str, Any] = {"calls": 0}

    def aux(self) -> Tensor:
        assert self.named["calls"] == 1
        self.named["calls"] = 0
        return self.named["loss"]

    def forward(self, x: Tensor) -> Tensor:
        f = self.b(x)
        self.named["calls"] += 1
        self.named["loss"] = 0.01 * f.square().mean()
        return self.h(f)


class Hooked(Losses):
    """As feature extractors do: a hook of a closure."""

    def __init__(self) -> None:
        super().__init__()
        kept = self.aside
        self.b.register_forward_hook(lambda module, given, output: kept.append(output.square().mean()))

    def forward(self, x: Tensor) -> Tensor:
        return self.h(self.b(x))


class Counting(Losses):
    """A buffer and a random number that move with every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def aux(self) -> Tensor:
        assert self.calls in (1, 2, 3)
        return self.out

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        f = self.b(x + 0.1 * torch.rand_like(x))
        self.out = f.square().mean()
        return self.h(F.dropout(f, 0.2, self.training))


@pytest.mark.parametrize("kind", [Losses, Named, Hooked, Counting])
@pytest.mark.parametrize("example", [False, True])
def test_what_forward_puts_aside_is_the_passes_own(kind: type[Losses], example: bool) -> None:
    ends = []
    for watch in (False, True):
        net = made(kind)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        torch.manual_seed(1)
        if watch:
            monitor = Monitor(net, optimizer, interval=1, example=inputs(0) if example else None)
            assert monitor.filters == (4 if example else 0)
        for step in range(3):
            loss = net(inputs(step)).square().mean() + net.aux()
            assert type(loss) is Tensor
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert len(net.aside) == 0
        ends.append([*net.state_dict().values(), torch.rand(3)])
    assert monitor.filters == 4
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def stored(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net)), stored, AveragedModel]


@pytest.mark.parametrize(
    ("copied", "before"), [*((copied, False) for copied in COPIES), (copy.deepcopy, True), (stored, True)]
)
def test_a_copy_of_a_watched_network_is_none(copied: Callable[[nn.Module], nn.Module], before: bool) -> None:
    """Taken before the first pass or when it is observed; the copy's filters are all dead, and it runs beside."""
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    keys = list(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    monitor = Monitor(net, optimizer, interval=1)
    if not before:
        net(inputs(0, 64))
        assert any(module._forward_hooks for module in net.modules())
    other = copied(net)
    assert list(net.state_dict()) == keys
    norm = next(m for m in other.modules() if isinstance(m, nn.BatchNorm1d))
    if norm is net[1]:  # a shallow copy shares its parts: as good as the network itself
        assert copied is copy.copy
        norm = copy.copy(norm)
        other = nn.Sequential(net[0], norm)
        norm._parameters = {name: nn.Parameter(torch.full((8,), -1.0)) for name in ("weight", "bias")}
    norm.weight.data.zero_()
    norm.bias.data.fill_(-1.0)
    for step in range(12):
        optimizer.zero_grad()
        net(inputs(step, 64)).square().mean().backward()
        with torch.no_grad():
            other(inputs(step, 64))
        optimizer.step()
    assert (monitor.filters, monitor.deaths, monitor.note) == (8, [], [])
    assert monitor.text.startswith("step 12: 8 of 8 filters alive")


def test_a_watched_network_is_exported_and_traced_as_it_is() -> None:
    """While its hooks are on: the graph has none of them, nor has the monitor anything of the stand-ins."""
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    monitor = Monitor(net, optimizer, interval=1)
    for _ in range(2):
        exported = torch.export.export(net, (inputs(0),), strict=False)
        assert not any("amax" in node.name for node in exported.graph.nodes)
        torch.func.functional_call(net, dict(net.named_parameters()), (inputs(1),))
        torch.func.vmap(net[:1])(inputs(0))
        with torch.no_grad():
            net(inputs(0))
    fit(net, optimizer, 3)
    assert (monitor.filters, monitor.note) == (8, [])
    assert np.isfinite(monitor.history["margin"]).all()
    monitor.interval = 100
    fit(net, optimizer, 1)  # an export is no compiled pass: between two observations there are no hooks
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize(
    "given",
    [{"bias": None}, {"weight": None}, {"weight": None, "bias": None}, {"running_mean": None, "running_var": None}],
)
def test_a_batchnorm_that_lacks_something_is_watched(given: dict[str, None]) -> None:
    norm = nn.BatchNorm1d(8)
    if "running_mean" in given:
        norm = nn.BatchNorm1d(8, track_running_stats=False)
    else:
        for name in given:
            setattr(norm, name, None)
    net = nn.Sequential(nn.Linear(5, 8), norm, nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=0.1)
    monitor = Monitor(net, optimizer, interval=1)
    fit(net, optimizer, 3)
    history = monitor.history
    assert (monitor.filters, monitor.note) == (8, [])
    assert (history["gamma"] == 1).all() == ("weight" in given)
    assert (history["beta"] == 0).all() == ("bias" in given)
    assert np.isfinite(history["pull"]).all()
    assert history["share_gamma"].isnull().all() == ("weight" in given)


class Aux(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.aux, self.h = (nn.Sequential(nn.Linear(a, 8), nn.BatchNorm1d(8), nn.ReLU()) for a in (5, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        f = self.b(x)
        return torch.cat([self.h(f), self.aux(f)]) if self.training else self.h(f)


class AuxAside(Losses):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        f = self.b(x)
        self.aside = [self.more(f).mean()]
        return self.h(f)


class Parts(nn.Module):
    """A GAN, say: its forward is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.b = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.LeakyReLU())

    def __call__(self, x: Tensor) -> Tensor:
        return self.b(self.a(x))


class Late(Parts):
    def __call__(self, x: Tensor) -> Tensor:
        return self.a(x)


@pytest.mark.parametrize(
    ("kind", "filters", "note"), [(Aux, 24, ""), (AuxAside, 12, "more.1"), (Parts, 12, "leaky_relu"), (Late, 8, "b.1")]
)
def test_every_batchnorm_is_watched_or_told_of(kind: Any, filters: int, note: str) -> None:
    net = made(kind)
    optimizer = torch.optim.Adam(net.parameters())
    monitor = Monitor(net, optimizer, interval=1)
    fit(net, optimizer, 2)
    assert monitor.filters == filters
    assert [note in said for said in monitor.note] == [True] * bool(note)
    assert np.isfinite(monitor.history["margin"]).all()


def test_smooth_activations_have_no_deaths_by_activation_and_that_is_said() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.SiLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight.zero_(), net[0].bias.fill_(-1e4), net[3].weight.fill_(1e-5)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    monitor = Monitor(net, optimizer, interval=1)
    fit(net, optimizer, 3, lambda step: inputs(step, 128))
    assert [note.partition(":")[0] for note in monitor.note] == ["gelu, silu"]
    assert [(row["measure"], row["layer"]) for row in monitor.deaths] == [("scale", "3")] * 4


# torch.compile itself accesses it where a module has a hook.
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile accesses it where there are hooks
def test_a_network_compiled_in_place_asks_for_an_example() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU())
    optimizer = torch.optim.Adam(net.parameters())
    net.compile(backend="aot_eager")
    with pytest.raises(InputError, match="example= or units="):
        Monitor(net, optimizer)
    monitor = Monitor(net, optimizer, interval=2, example=inputs(0))
    fit(net, optimizer, 4)
    torch._dynamo.reset()
    assert np.isfinite(monitor.history["margin"]).all()
    assert monitor.note == []


def test_a_network_compiled_after_the_monitor_came_leaves_a_note() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU())
    optimizer = torch.optim.Adam(net.parameters())
    monitor = Monitor(net, optimizer)
    fit(torch.compile(net, backend="aot_eager"), optimizer, 2)
    torch._dynamo.reset()
    assert monitor.filters == 0
    assert ["ran compiled" in note for note in monitor.note] == [True]


@pytest.mark.parametrize("kind", [Kept, Transposed])
def test_a_resumed_monitor_goes_on_without_norms_as_well(kind: type[Kept]) -> None:
    """The state comes before the first pass, when the filters are not known yet."""
    seen = []
    for stop in (False, True):
        net = made(kind)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=0.1)
        monitor = Monitor(net, optimizer, interval=2)
        for step in range(9):
            if stop and step == 5:
                monitor.close()
                file = io.BytesIO()
                torch.save(monitor.state_dict(), file)
                file.seek(0)
                monitor = Monitor(net, optimizer, interval=7)
                monitor.load_state_dict(torch.load(file, weights_only=True))
                assert monitor.state_dict()["layers"] == ["fc"] * 6
            fit(net, optimizer, 1, lambda _, step=step: inputs(step))
        seen.append(monitor)
    assert seen[0].history.identical(seen[1].history)
    assert np.isfinite(seen[0].history["pull"]).all()
    fresh = nn.Sequential(nn.Linear(5, 3), nn.ReLU())
    with pytest.raises(InputError, match="6 filters"):
        Monitor(fresh, torch.optim.Adam(fresh.parameters())).load_state_dict(seen[0].state_dict())


def test_the_state_of_another_network_is_refused_at_the_first_step_where_that_is_not_seen_before() -> None:
    def watched(width: int) -> tuple[nn.Module, Any, Monitor]:
        net = nn.Sequential(nn.Linear(5, width), nn.ReLU())
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        return net, optimizer, Monitor(net, optimizer, interval=1)

    net, optimizer, monitor = watched(3)
    fit(net, optimizer, 1)
    other, at, late = watched(4)
    late.load_state_dict(monitor.state_dict())
    with pytest.raises(InputError, match=r"3 filters.*which has 4"):
        fit(other, at, 1)
