"""Networks of any kind are measured as Python runs them, and nothing of the user's is changed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from planting import noise
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

from fullscale.measure import Activity, Graphs, kept, measure, measured


def head(*behind: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *behind).double()


class Net(nn.Module):
    """Two layers; how comes between them, before comes first."""

    def __init__(self, how: Callable[..., Any] = lambda f: f, before: Callable[..., Any] = lambda x: x) -> None:
        super().__init__()
        self.body, self.last = head(), nn.Sequential(nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3), nn.ReLU()).double()
        self.how, self.before = how, before

    def forward(self, x: Tensor, *rest: Any, **named: Any) -> Any:
        self.seen = self.last(self.how(self.body(self.before(x)), *rest, **named))
        return self.seen


X = noise(0, 5, 2, 6, 6)


def truth(net: Net, *given: Any, **named: Any) -> Tensor:
    """Each filter's peak behind the last layer, as Python computes it."""
    net = copy.deepcopy(net).eval()
    with torch.no_grad():
        net(*(x.clone() if isinstance(x, Tensor) else x for x in given), **named)
    return net.seen.abs().amax((0, 2, 3))


def crop(f: Tensor) -> Tensor:
    part = f[:, :, 1:3]
    part *= 5.0
    return f


def helper(f: Tensor) -> Tensor:
    def shift(t: Tensor) -> None:
        t += 1

    shift(f)
    return f


def loop(f: Tensor) -> Tensor:
    for part in (f, f[:, :2]):
        part.add_(1)
    return f


def assigned(f: Tensor) -> Tensor:
    f[:, 0] = 3.0
    f.view(len(f), -1)[:, :9].mul_(2)
    return f


def shifting(x: Tensor) -> Tensor:
    return x.sub_(0.5).div_(2.0)


def zeroing(x: Tensor) -> Tensor:
    x[:, 0] = 0
    return F.relu(x, inplace=True)


MEAN = torch.tensor([0.4, 0.6], dtype=torch.float64).view(2, 1, 1)


class Held:
    """A tensor in an attribute of an object that is no module."""

    mean = MEAN

    def __call__(self, x: Tensor) -> Tensor:
        return x - self.mean


@pytest.mark.parametrize(
    ("how", "before"),
    [
        (crop, shifting), (helper, zeroing), (loop, nn.ReLU(inplace=True)), (assigned, Held()),
        (lambda f, mask=None: f if mask is None else f * mask, lambda x: x - MEAN),
        (lambda f, features=False: f if features else 2 * f, lambda x: x - torch.tensor([0.4, 0.6]).view(2, 1, 1)),
        (lambda f, *rest, scale=3.0: f * scale, lambda x: x + torch.arange(6, dtype=x.dtype)),
    ],
)  # fmt: skip
def test_what_python_runs_is_measured_and_the_images_stay(how: Any, before: Any) -> None:
    net, x, graphs = Net(how, before), X.clone(), Graphs()
    first, second = measured(net, x, graphs), measured(net, x, graphs)
    assert torch.equal(first.peak[1], truth(net, X))
    assert first.table() == second.table()
    assert torch.equal(x, X)


def test_inputs_come_alone_in_their_order_and_by_keyword() -> None:
    net, mask = Net(lambda f, mask=None, scale=1.0: f if mask is None else f * mask * scale), noise(1, 5, 4, 1, 1)
    both, graphs = truth(net, X, mask), Graphs()
    assert not torch.equal(both, truth(net, X))
    named = {"mask": mask, "x": X}
    given: list[Any] = [(X, mask), named, {"x": X, "mask": mask}, [((X, mask), 1), (named, 1)], [named]]
    for images in given:
        assert torch.equal(measured(net, images, graphs).peak[1], both)
    assert torch.equal(measured(net, (X, mask, 2.0), graphs).peak[1], truth(net, X, mask, 2.0))
    # Each is sliced.
    parted = measured(net, named, graphs, 3)
    assert (parted.images, parted.peak[1].tolist()) == (5, pytest.approx(both.tolist(), rel=1e-12))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: torch.compile(net, backend="eager"),
        nn.DataParallel,
        AveragedModel,
        lambda net: AveragedModel(nn.DataParallel(net)),
    ],
)  # fmt: skip
def test_wrapped_networks_are_measured_as_what_is_in_them(wrap: Any) -> None:
    net = Net()
    found = measure(wrap(net), X)
    assert (found.norms, found.table()) == (("body.1", "last.1"), measure(net, X).table())


class Leaving(nn.Module):
    """Leaves things behind wherever it goes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.losses, self.calls, self.last = head(), [], 0, {}
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        f: Tensor = self.body(x + torch.randn(()))
        self.losses.append(f.mean())
        self.calls, self.last["features"] = self.calls + 1, f
        self.steps += 1
        return f

    def train(self, mode: bool = True) -> Leaving:
        self.losses.append(mode)  # as what merges weights for evaluation does much else
        return super().train(mode)


def test_nothing_is_left_behind() -> None:
    net = Leaving()
    net.body[1].eval()
    random = torch.get_rng_state()
    hooks: list[Any] = []
    handle = net.body.register_forward_hook(lambda *given: hooks.append(given[2]))
    found = measure(net, X)
    handle.remove()
    assert (net.losses, net.calls, net.last, float(net.steps), hooks) == ([], 0, {}, 0, [])
    assert [module.training for module in net.body] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), random)
    assert (measure(net, X).table(), net.losses) == (found.table(), [])
    loss = net(X).sum() + sum(net.losses)
    loss.backward()
    assert type(loss) is Tensor
    assert net.body[0].weight.grad.abs().sum() > 0


def test_a_loader_draws_the_same_numbers_afterwards() -> None:
    random, own = torch.get_rng_state(), torch.Generator().manual_seed(1)
    for generator in (None, own):
        data = DataLoader(TensorDataset(X), batch_size=2, shuffle=True, generator=generator)
        state = own.get_state()
        measure(head(), data)
        assert torch.equal(own.get_state(), state)
        torch.set_rng_state(random)
        net = head()
        random = torch.get_rng_state()
        measure(net, data)
        assert torch.equal(torch.get_rng_state(), random)


def missing(name: str) -> nn.Module:
    norm = nn.BatchNorm2d(4)
    setattr(norm, name, None)
    return norm


@pytest.mark.parametrize(
    ("norm", "gamma", "beta"),
    [
        (lambda: missing("bias"), 1, 0), (lambda: missing("weight"), 1, 0), (lambda: nn.BatchNorm2d(4, affine=False), 1, 0),
        (lambda: nn.BatchNorm2d(4, track_running_stats=False), 1, 0),
    ],
)  # fmt: skip
def test_a_batchnorm_without_scale_shift_or_statistics(norm: Any, gamma: float, beta: float) -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), norm(), nn.ReLU()).double().eval()
    found = measure(net, X)
    with torch.no_grad():
        assert torch.equal(found.peak[0], net(X).amax((0, 2, 3)))
    assert (found.gamma[0].tolist(), found.beta[0].tolist()) == ([gamma] * 4, [beta] * 4)
    assert found.inactive_by_scale() == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "how",
    [
        lambda m: prune.l1_unstructured(m, "weight", amount=0.5),
        weight_norm,
        spectral_norm,
        parametrizations.weight_norm,
    ],
)
def test_masked_and_parametrized_weights_straight_after_a_training_pass(how: Any) -> None:
    net = Net()
    how(net.last[0])
    net(X).sum().backward()
    found = measure(net, X)
    with torch.no_grad():
        net.eval()(X)
    assert found.peak[1].tolist() == pytest.approx(net.seen.amax((0, 2, 3)).tolist(), rel=1e-12)


class Mlp(nn.Module):
    """Tokens (N, L, F) go through an MLP of `wide` units in a layout of its own."""

    def __init__(self, there: Callable[[Tensor], Tensor], activation: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.there = there
        self.up, self.act, self.down = nn.Linear(3, 6), activation or nn.ReLU(), nn.Linear(6, 3)
        self.double()
        self.up.weight.data[:2], self.up.bias.data[:2] = 0, -1

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(self.act(self.up(self.there(x))))
        return result


@pytest.mark.parametrize("length", [5, 10])
@pytest.mark.parametrize(
    "there",
    [
        lambda x: x, lambda x: x.transpose(0, 1), lambda x: x.reshape(-1, 3), lambda x: x.transpose(0, 1).reshape(-1, 3),
        lambda x: x.unflatten(1, (-1, 1)).flatten(0, 1),
    ],
)  # fmt: skip
def test_images_are_found_wherever_a_layer_has_them(there: Any, length: int) -> None:
    x = noise(2, 5, length, 3) * torch.logspace(0, 5, 5, dtype=torch.float64).view(5, 1, 1)
    net, plain = Mlp(there), Mlp(lambda x: x)
    found = measure(net, x)
    with torch.no_grad():
        rows = plain.act(plain.up(x)).amax(1)
    assert found.peak[0].tolist() == pytest.approx(rows.amax(0).tolist())
    share = (rows / rows.amax(0) < 1e-3).double().mean(0)
    share[:2] = 1
    assert 0 < float(share[2:].min()) < 1
    assert found.selectivity[0].tolist() == pytest.approx(share.tolist())


def test_a_layer_that_knows_no_images_has_no_selectivity() -> None:
    found = measure(Mlp(lambda x: torch.linspace(-1, 1, 45, dtype=x.dtype).view(15, 3)), noise(0, 5, 2, 3))
    fires = found.peak[0] > 0
    assert 0 < int(fires.sum()) < 5
    assert torch.equal(found.selectivity[0].isnan(), fires)
    assert (found.selectivity[0][~fires] == 1).all()
    row = found.table()[int(fires.int().argmax())]
    assert (row["selectivity"], row["universality"], row["gamma"], row["inactive_by_scale"]) == (None,) * 4
    assert (found.totals()["median_selectivity"], found.totals()["inactive_by_scale"]) == (None, None)
    assert found.inactive_by_activation() == float((~fires).double().mean())


class Experts(nn.Module):
    """Each reads the rows that a gate gives it, the last one none."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(3, 4).double() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = x.new_zeros(len(x), 4)
        for bound, expert in zip((0, -torch.inf, torch.inf), self.experts, strict=True):
            mine = x[:, 0] > bound
            y[mine] = y[mine] + F.softplus(expert(x[mine]))
        return y


def test_what_reads_rows_that_a_mask_chooses_is_measured() -> None:
    net, x = Experts(), noise(0, 9, 3)
    found = measure(net, x, batch=4)
    put_out = [F.softplus(expert(x[x[:, 0] > bound])) for bound, expert in zip((0, -9), net.experts, strict=False)]
    for own, peak, spread in zip(put_out, found.peak, found.spread, strict=False):
        assert peak.tolist() == pytest.approx(own.amax(0).tolist())
        assert spread.tolist() == pytest.approx((own.amax(0) - own.amin(0)).tolist())
    assert found.peak[2].tolist() == found.spread[2].tolist() == [0] * 4
    assert found.selectivity[0].isnan().all()
    assert found.selectivity[2].tolist() == [1] * 4


class Attention(nn.Module):
    """A block of a transformer: pixels or token ids, causal where it reads ids."""

    def __init__(self, ids: bool, activation: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.read = nn.Embedding(11, 8) if ids else nn.Linear(3, 8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(8)])
        self.mlp = nn.Sequential(nn.Linear(8, 16), activation, nn.Linear(16, 8))
        mask = torch.full((6, 6), -math.inf).triu(1) if ids else torch.zeros(6, 6)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x)
        h = self.norms[0](x)
        x = x + self.attend(h, h, h, attn_mask=self.mask, need_weights=False)[0]
        result: Tensor = x + self.mlp(self.norms[1](x))
        return result


class Autoencoder(nn.Module):
    """Sparse: latents behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))
        self.into, self.out = nn.Parameter(torch.randn(4, 9)), nn.Linear(9, 4)
        self.latents = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.out(self.latents((x - self.shift) @ self.into)) + self.shift
        return result


def convolution(kind: type[nn.Module], *norms: nn.Module) -> nn.Sequential:
    return nn.Sequential(kind(2, 4, 3), *norms, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))  # type: ignore[arg-type, call-arg]


WITHOUT: dict[str, tuple[Callable[[], nn.Module], Tensor, str, str]] = {
    "plain": (lambda: convolution(nn.Conv2d), noise(0, 4, 2, 5, 5), "2", "relu"),
    "1d": (lambda: convolution(nn.Conv1d), noise(0, 4, 2, 5), "1", "relu"),
    "3d": (lambda: convolution(nn.Conv3d), noise(0, 4, 2, 4, 4, 4), "1", "relu"),
    "group": (lambda: convolution(nn.Conv2d, nn.GroupNorm(2, 4)), noise(0, 4, 2, 5, 5), "2", "relu"),
    "places": (lambda: convolution(nn.Conv2d, nn.LayerNorm([4, 3, 3])), noise(0, 4, 2, 5, 5), "2", "relu"),
    "features": (lambda: nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.SiLU()), noise(0, 4, 3), "2", "silu"),
    "vit": (lambda: Attention(False, nn.GELU()), noise(0, 4, 6, 3), "mlp.1", "gelu"),
    "gpt": (lambda: Attention(True, nn.ReLU()), torch.arange(24).view(4, 6) % 11, "mlp.1", "relu"),
    "sae": (Autoencoder, noise(0, 7, 4), "latents", "relu"),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_filters_without_a_batchnorm(name: str) -> None:
    build, x, where, activation = WITHOUT[name]
    net = build().double().eval()
    out: list[Tensor] = []
    with torch.no_grad():
        net(x)
        # A norm before the activation lends its scale to the filters.
        where = next(path for path, m in net.named_modules() if type(m).__name__.lower() == activation)
        net.get_submodule(where).register_forward_hook(lambda *given: out.append(given[2]))
        net(x)
    found = measure(net, x)
    [plane] = out
    dim = 1 if name in ("plain", "1d", "3d", "group", "places") else plane.ndim - 1
    each = plane.abs().movedim(dim, 1).flatten(2) if plane.ndim > 2 else plane.abs().unsqueeze(2)
    assert found.activations == (activation,)
    assert found.peak[0].tolist() == pytest.approx(each.amax((0, 2)).tolist(), rel=1e-9)
    rows = each.amax(2)
    assert found.selectivity[0].tolist() == (rows / rows.amax(0) < 1e-3).double().mean(0).tolist()
    scaled = name in ("group", "features")
    assert found.scaled == (("norm",) if scaled else ("",))
    assert list(found.meaning()) == [activation, "scale" if scaled else "no scale"]
    assert (found.inactive_by_scale() == 0) if scaled else math.isnan(found.inactive_by_scale())
    assert not found.below("scale", 1e-3)[0].any()


def test_what_is_kept_is_the_same_however_it_lies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = head().eval(), noise(3, 9, 2, 6, 6)
    whole: Activity = measure(net, images)
    graphs = Graphs()
    for block, counted in ((1, 1), (3 * 4 * 8, 2), (5 * 4 * 8, 3)):
        monkeypatch.setattr(kept, "BLOCK", block)
        monkeypatch.setattr(kept, "COUNTED", counted)
        found = measured(net, images, graphs, 4)
        for one, other in zip(found.selectivity, whole.selectivity, strict=True):
            assert torch.equal(one, other)
