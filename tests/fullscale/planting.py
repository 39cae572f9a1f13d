"""Networks with random weights and running statistics, of which some filters are dead on purpose."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

KINDS = ("dead", "constant", "unfed")


def randomize(net: nn.Module, seed: int) -> nn.Module:
    """Weights that keep the size of what goes through, statistics and shifts of any kind; in float64."""
    generator = torch.Generator().manual_seed(seed)
    net.double()
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel()
            module.weight.data.normal_(generator=generator).mul_((2 / fan) ** 0.5)
            if module.bias is not None:
                module.bias.data.normal_(generator=generator).mul_(0.1)
        elif isinstance(module, _BatchNorm):
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(generator=generator).mul_(0.3)
            if module.running_mean is not None:
                module.running_mean.normal_(generator=generator).mul_(0.1)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return net


def plant(net: nn.Module, seed: int, share: float = 0.4, kinds: tuple[str, ...] = KINDS) -> dict[str, int]:
    """Make about this share of the filters behind each BatchNorm dead or constant; how many of each kind there are then.

    dead: scale 0, shift at most 0; constant: scale 0, shift above 0; unfed: the convolution before it has weights 0, which
    leaves a constant too.
    """
    generator = torch.Generator().manual_seed(seed)
    planted = dict.fromkeys(kinds, 0)
    before: nn.Module | None = None
    for module in net.modules():
        if isinstance(module, _BatchNorm) and module.affine:
            for c in range(module.num_features):
                if torch.rand((), generator=generator) > share:
                    continue
                kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
                shift = float(torch.rand((), generator=generator)) + 0.1
                if kind == "unfed":
                    if not isinstance(before, nn.Conv2d) or before.out_channels != module.num_features:
                        continue
                    before.weight.data[c] = 0
                else:
                    module.weight.data[c] = 0
                    module.bias.data[c] = shift if kind == "constant" else -shift
                planted[kind] += 1
        before = module
    return planted


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(net: nn.Module, images: Tensor) -> Tensor:
    """In evaluation mode and the network's precision, as float64."""
    net.eval()
    with torch.no_grad():
        result: Tensor = net(images.to(next(net.parameters()).dtype))
    return result.double()


def difference(net: nn.Module, smaller: nn.Module, images: Tensor) -> float:
    """The largest of the outputs, by the largest output of `net` where that is above 1."""
    before, after = outputs(net, images), outputs(smaller, images)
    return float((before - after).abs().max() / before.abs().max().clamp(min=1))


class Dense(nn.Module):
    """Concatenation with BatchNorm and ReLU in front of each convolution, as DenseNet has them."""

    def __init__(self, growth: int = 4, layers: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        for i in range(layers):
            self.norms.append(nn.BatchNorm2d(6 + i * growth))
            self.convs.append(nn.Conv2d(6 + i * growth, growth, 3, padding=1, bias=False))
        self.last = nn.BatchNorm2d(6 + layers * growth)
        self.head = nn.Linear(6 + layers * growth, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(torch.relu(norm(x)))], dim=1)
        result: Tensor = self.head(F.relu(self.last(x)).mean(dim=(2, 3)))
        return result


class Inverted(nn.Module):
    """Inverted residuals with depthwise convolutions and squeeze-and-excitation, as MobileNets have them."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU6) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), activation())
        self.expand = nn.Sequential(nn.Conv2d(6, 16, 1, bias=False), nn.BatchNorm2d(16), activation())
        self.deep = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), activation())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(16, 6, 1, bias=False), nn.BatchNorm2d(6))
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.deep(self.expand(x))
        y = y * self.squeeze(y)
        result: Tensor = self.head(torch.flatten(F.adaptive_avg_pool2d(x + self.project(y), 1), 1))
        return result


class Plain(nn.Module):
    """A chain with one activation, one padding, and a head that sees every pixel."""

    def __init__(
        self, activation: nn.Module, padding: int | str = 1, mode: str = "zeros", kernel: int = 3, size: int = 12
    ) -> None:
        super().__init__()

        def block(inputs: int, filters: int) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, filters, kernel, padding=padding, padding_mode=mode, bias=False)
            return [conv, nn.BatchNorm2d(filters), activation]

        self.body = nn.Sequential(*block(3, 8), *block(8, 8), nn.MaxPool2d(2), *block(8, 6), nn.Dropout(0.5))
        with torch.no_grad():
            places = self.body.eval()(torch.zeros(1, 3, size, size)).flatten(1).shape[1]
        self.head = nn.Sequential(nn.Linear(places, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        result: Tensor = self.head(x.view(x.size(0), -1))
        return result


class Branches(nn.Module):
    """Two ways of different padding that read one tensor, joined by a sum and by concatenation; grouped convolution behind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.two = nn.Sequential(nn.Conv2d(8, 8, 1, bias=True), nn.BatchNorm2d(8))
        self.same = nn.Conv2d(8, 4, 3, padding="same", padding_mode="reflect")
        self.norm = nn.BatchNorm2d(20)
        self.grouped = nn.Sequential(nn.Conv2d(20, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a, b = self.one(x), self.two(x)
        joined = torch.relu(self.norm(torch.cat((a + b, self.same(x), torch.relu(a)), 1)))
        result: Tensor = self.head(self.grouped(joined).mean((2, 3)))
        return result
