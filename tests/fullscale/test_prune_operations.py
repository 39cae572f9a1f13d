"""One operation at a time between two convolutions: channels go where that is exact, and stay where it is not known to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from planting import difference, noise, plant, randomize
from torch import Tensor, nn
from torch.nn import functional as F

from fullscale.graph import taken, trace
from fullscale.prune import remove_dead
from fullscale.prune.removal import removed

FILTERS = 8


class Between(nn.Module):
    """Two planted layers with an operation between them: `apply(net, x)`, x being what the first ReLU puts out."""

    def __init__(self, apply: Callable[[Between, Tensor], Tensor], reads: int = FILTERS, **extra: nn.Module) -> None:
        super().__init__()
        self.apply_ = apply
        self.stem = nn.Sequential(nn.Conv2d(3, FILTERS, 3, padding=1), nn.BatchNorm2d(FILTERS))
        for name, module in extra.items():
            self.add_module(name, module)
        self.last = nn.Sequential(nn.Conv2d(reads, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.apply_(self, torch.relu(self.stem(x)))
        result: Tensor = self.head(self.last(x).mean((2, 3)))
        return result


def _written_over(net: Between, x: Tensor) -> Tensor:
    y = x - 0.3
    z = F.relu(y, inplace=True)
    return y + net.deep(z)  # y is no longer what it was


def _added_unseen(net: Between, x: Tensor) -> Tensor:
    y = x * 1
    y.add_(net.deep(net.one(x)))
    return y


def _half_written(net: Between, x: Tensor) -> Tensor:
    y = x * 1
    y[:, :3].mul_(0.5)
    return net.deep(y)


def _added_to_a_view(net: Between, x: Tensor) -> Tensor:
    y = x * 1
    view = y.flatten(2)
    view += 0.5
    return y


def _resized(net: Between, x: Tensor) -> Tensor:
    height, width = x.size(2), x.shape[-1]
    y: Tensor = F.interpolate(net.deep(x), size=(height, width))
    return y * F.interpolate(x, size=y.shape[2:])


def deep(kernel: int = 1, groups: int = 1) -> nn.Module:
    return nn.Conv2d(FILTERS, FILTERS, kernel, groups=groups)


def _raised(net: Between, x: Tensor) -> Tensor:
    y = x * 1
    y.add_(1.0)
    return y


def _shuffled(_: Between, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def ways() -> nn.Module:
    return nn.Sequential(deep(), nn.BatchNorm2d(FILTERS))


def read(**layers: nn.Module) -> Between:
    """The layers one after another."""

    def through(net: Between, x: Tensor) -> Tensor:
        for name in layers:
            x = net.get_submodule(name)(x)
        return x

    return Between(through, **layers)


# What stays whole: of these the first layer loses nothing.
WHOLE: dict[str, Between] = {
    "a tensor written over": Between(_written_over, deep=deep()),
    "a sum of which the old name is read": Between(_added_unseen, one=ways(), deep=deep()),
    "weights read otherwise": Between(lambda net, x: net.deep(x) * net.deep.weight.sum(), deep=deep()),
    "a layer used twice": Between(lambda net, x: net.deep(net.deep(x)), deep=deep()),
    "computed weights": read(deep=nn.utils.parametrizations.weight_norm(nn.Conv2d(FILTERS, FILTERS, 3))),
    "group norm": read(norm=nn.GroupNorm(2, FILTERS)),
    "shuffled": Between(lambda net, x: F.pixel_shuffle(x, 2), reads=2),
    "softmax": Between(lambda net, x: torch.softmax(x, dim=1)),
    "channels counted": Between(lambda net, x: x / x.shape[1]),
    "padding by a constant": Between(lambda net, x: F.pad(x, (1, 1, 1, 1), value=0.5)),
}
NARROWER: dict[str, Between] = {
    # The first three are counted: they stay.
    "a tensor written over in part": Between(_half_written, deep=deep()),
    "dropout of nothing in evaluation mode, too": Between(lambda net, x: F.dropout(x, 0.0)),
    "a tensor written over through a view": Between(_added_to_a_view),
    "weights used twice": Between(lambda net, x: net.deep(x) + F.conv2d(x, net.deep.weight), deep=deep()),
    "grouped": read(deep=deep(3, groups=2)),
    "transposed": read(deep=nn.ConvTranspose2d(FILTERS, FILTERS, 2)),
    "shuffled by views": Between(_shuffled),
    "a parameter on its own": Between(
        lambda net, x: x * net.scales[0], scales=nn.ParameterList([torch.rand(1, 8, 1, 1)])
    ),
    "chunks": Between(lambda net, x: torch.cat(x.chunk(2, 1)[::-1], 1)),
    "a constant written over": Between(_raised),
    "padded channels": Between(lambda net, x: F.pad(x, (0, 0, 0, 0, 1, 1)), reads=FILTERS + 2),
    "nothing": Between(lambda net, x: x),
    "an activation used twice": Between(lambda net, x: net.act(net.deep(net.act(x))), deep=deep(), act=nn.ReLU()),
    "module named as a function": Between(lambda net, x: net.add(x), add=deep()),
    "concatenated with itself": Between(lambda net, x: torch.cat(tensors=[x, x], dim=1), reads=2 * FILTERS),
    "concatenated from behind": Between(lambda net, x: torch.cat([x, net.deep(x)], -3), reads=2 * FILTERS, deep=deep()),
    "a map for all channels": Between(
        lambda net, x: x * torch.sigmoid(net.map(x)), map=nn.Conv2d(FILTERS, 1, 3, padding=1)
    ),
    "sizes asked for": Between(_resized, deep=deep()),
    "a mask in another type": Between(lambda net, x: x * (x > 0.1).to(x.dtype)),
    "numbers": Between(lambda net, x: (1 - x) * 0.5 + 2 * x / 3 - 0.25),
    "a product": Between(lambda net, x: x * net.deep(x), deep=ways()),
    "a difference": Between(lambda net, x: net.one(x) - net.two(x), one=ways(), two=ways()),
    "written over and not read again": Between(lambda net, x: F.relu(x - 0.2, inplace=True)),
    "zero padding apart": Between(lambda net, x: F.pad(x, (1, 2, 0, 1))),
    "padding by reflection": Between(lambda net, x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
    "zero padding module": read(pad=nn.ZeroPad2d(1)),
    "average": Between(lambda net, x: F.avg_pool2d(x, 2, padding=1)),
    "average, cut off": read(pool=nn.AvgPool2d(2, ceil_mode=True)),
    "average, padded": read(pool=nn.AvgPool2d(3, 1, 1)),
    "average, padding not counted": read(pool=nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
    "average by another divisor": read(pool=nn.AvgPool2d(2, divisor_override=3)),
    "upsampled": read(up=nn.Upsample(scale_factor=2, mode="bilinear")),
    "gate without views": Between(
        lambda net, x: x * F.hardsigmoid(net.deep(x.mean(-1).mean(-1)[:, :, None, None])), deep=deep()
    ),
    "squeezed": Between(
        lambda net, x: (
            x * net.fc(F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(2)).sigmoid().unsqueeze(-1).unsqueeze(3)
        ),
        fc=nn.Linear(FILTERS, FILTERS),
    ),
    "depthwise, several a channel": Between(
        lambda net, x: net.deep(x), reads=2 * FILTERS, deep=nn.Conv2d(FILTERS, 2 * FILTERS, 3, groups=FILTERS)
    ),
    "depthwise, padded": read(deep=nn.Conv2d(FILTERS, FILTERS, 3, padding=1, groups=FILTERS, bias=False)),
    "statistics of the batch": read(deep=deep(), norm=nn.BatchNorm2d(FILTERS, track_running_stats=False)),
    "norm without a scale": read(deep=deep(), norm=nn.BatchNorm2d(FILTERS, affine=False)),
    "prelu": read(deep=ways(), act=nn.PReLU(FILTERS)),
    "a lone number, changed": Between(
        lambda net, x: x * (net.one[0].exp() + 1), one=nn.ParameterList([torch.tensor(0.5)])
    ),
}


@pytest.mark.grid(25)
@pytest.mark.parametrize("name", [*WHOLE, *NARROWER])
def test_each_operation(name: str) -> None:
    net = (WHOLE | NARROWER)[name].double()
    graph = trace(net, noise(0, 3, 3, 8, 8))
    for seed in range(3):
        plant(randomize(net, seed), seed + 1, 0.3)
        # For certain: one dead, two constant.
        norm = net.stem[1]
        norm.weight.data[[0, 1, 4]] = 0
        norm.bias.data[[0, 1, 4]] = torch.tensor([-0.5, 0.7, 0.4], dtype=torch.float64)
        images = noise(seed, 3, 3, 8, 8)
        smaller, _ = removed(net, graph, taken(images))
        left = smaller.stem[1].num_features
        assert left == FILTERS if name in WHOLE else left < FILTERS
        assert difference(net, smaller, images) <= 1e-12
        assert difference(net, smaller, noise(seed, 3, 3, 12, 10)) <= 1e-12


def _written_in_parts(net: Between, x: Tensor) -> Tensor:
    y = x * 1
    y[:, :4] += 1.5
    y[:, 2:6].mul_(0.5)
    return net.deep(y)


# How many of channels 0, 1, 5, 6, which are 0, and of those that nothing reads go, without trying what does not hold.
PARTS: dict[str, tuple[Between, int]] = {
    "the first three": (Between(lambda net, x: x[:, :3], reads=3), 5),
    "the last three": (Between(lambda net, x: x[:, -3:], reads=3), 5),
    "from the second": (Between(lambda net, x: x[:, 1:], reads=7), 3),
    "the first half": (Between(lambda net, x: x.chunk(2, 1)[0], reads=4), 4),
    "unequal parts": (Between(lambda net, x: torch.cat(x.split([3, 5], 1)[::-1], 1)), 0),
    "every other": (Between(lambda net, x: x[:, ::2] * x[:, 1::2], reads=4), 6),
    "one of them": (Between(lambda net, x: x * x[:, 2:3] * x[:, 3].unsqueeze(1)), 2),
    "rolled": (Between(lambda net, x: x.roll(2, 1)), 3),
    "rolled back": (Between(lambda net, x: x.roll(-1, 1)), 3),
    "parts that overlap": (Between(_written_in_parts, deep=deep()), 0),
}


@pytest.mark.parametrize("name", PARTS)
def test_what_is_counted_stays(name: str) -> None:
    net, gone = PARTS[name]
    randomize(net.double(), 0)
    norm = net.stem[1]
    norm.weight.data[[0, 1, 5, 6]], norm.bias.data[[0, 1, 5, 6]] = 0, -0.5
    smaller, removal = remove_dead(net, example=noise(1, 3, 3, 8, 8))
    assert (FILTERS - smaller.stem[1].num_features, removal.notes) == (gone, ())
    assert difference(net, smaller, noise(2, 3, 3, 12, 10)) <= 1e-12


class Warming(nn.Module):
    """Its features are times a count of its calls, which is 0 at the first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(torch.relu(self.norm(self.conv(x))) * self.calls)
        self.calls += 1
        return result


def test_what_a_call_writes_is_no_constant() -> None:
    net, images = Warming().eval(), torch.randn(2, 3, 8, 8)
    smaller, removal = remove_dead(net, example=images)
    assert (removal.share, net.calls.item(), smaller.calls.item()) == (0, 0, 0)
    for _ in range(3):
        assert torch.equal(net(images), smaller(images))
