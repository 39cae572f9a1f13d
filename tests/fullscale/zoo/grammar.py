"""Random small networks: blocks over maps, then perhaps over tokens, then a head; some of their units dead by their weights.

drawn = Drawn((Conv(), Pool("max")), seed=3)
drawn(drawn.example())
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import noise, settled
from .specs import (
    Apart,
    Block,
    Branches,
    Conv,
    Dense,
    Depthwise,
    Do,
    Element,
    Pixels,
    Pool,
    Residual,
    Shuffle,
    Spatial,
    Squeeze,
    Transposed,
)  # fmt: skip
from .tables import ACTIVATIONS, APART, ELEMENTS, JOINS, NORMS, POOLS

SIZE = 10
# A network of more channels at one place does not grow any further there.
WIDEST = 24


@dataclass(frozen=True)
class Tokens:
    """A block over (N, L, F): linear layers, gated or not, or attention; with a norm in front and a sum behind."""

    kind: str = "two linear"
    act: str = "relu"
    norm: str = "layer"
    units: int = 9

    def build(self, features: int) -> nn.Module:
        norm = {"layer": nn.LayerNorm, "root": nn.RMSNorm}.get(self.norm, lambda _: nn.Identity())(features)
        up, down = nn.Linear(features, self.units), nn.Linear(self.units, features)
        # PReLU's channels are along dimension 1, which here are places.
        act = nn.ReLU() if self.act == "prelu" else ACTIVATIONS[self.act](self.units)
        match self.kind:
            case "gated":
                gate = nn.Linear(features, self.units, bias=False)
                return Do(
                    lambda x, norm, up, gate, act, down: x + down(act(up(norm(x))) * gate(norm(x))),
                    norm,
                    up,
                    gate,
                    act,
                    down,
                )
            case "attention":
                layers = [nn.Linear(features, features) for _ in range(4)]

                def attended(
                    x: Tensor, norm: nn.Module, q: nn.Module, k: nn.Module, v: nn.Module, out: nn.Module
                ) -> Tensor:
                    y = norm(x)
                    return x + out(F.scaled_dot_product_attention(q(y), k(y), v(y)))

                return Do(attended, norm, *layers)
            case _:
                return Do(lambda x, norm, up, act, down: x + down(act(up(norm(x)))), norm, up, act, down)


class Drawn(nn.Module):
    """A network of blocks in float64 and evaluation mode.

    head: "mean", "flat", "maps" or "both" of maps and classes. hidden: units of a layer between it and the classes, with a
    BatchNorm if normed; 0: none. share: of the units are dead or constant by their weights.
    """

    def __init__(
        self,
        blocks: tuple[Block, ...],
        tokens: tuple[Tokens, ...] = (),
        head: str = "mean",
        hidden: int = 0,
        normed: bool = False,
        share: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.said = f"Drawn({blocks}, {tokens}, {head!r}, {hidden}, {normed}, {share}, {seed})"
        self.head = head
        self.blocks, self.tokens = nn.ModuleList(), nn.ModuleList()
        x = torch.zeros(2, 3, SIZE, SIZE)
        for block in blocks:
            built = block.build((x.shape[1], min(x.shape[2:]))).eval()
            with torch.no_grad():
                y = built(x.clone())
            if y.shape[1] <= WIDEST:
                self.blocks.append(built)
                x = y
        for token in tokens:
            self.tokens.append(token.build(x.shape[1]))
        inputs = x.shape[1] if tokens or head != "flat" else x[0].numel()
        layers: list[nn.Module] = []
        if hidden:
            layers = [nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden) if normed else nn.Identity(), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(hidden or inputs, 3)
        generator = torch.Generator().manual_seed(seed)
        settled(self, generator)
        _plant(self, share, generator)
        self.eval()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        for block in self.blocks:
            x = block(x)
        maps = x
        if len(self.tokens):
            x = x.flatten(2).transpose(1, 2)
            for block in self.tokens:
                x = block(x)
            x = x.mean(1)
        elif self.head == "maps":
            return maps
        else:
            x = torch.flatten(x, 1) if self.head == "flat" else x.mean((2, 3))
        x = self.last(self.layers(x))
        return (x, maps) if self.head == "both" else x

    def __repr__(self) -> str:
        return self.said

    def example(self) -> Tensor:
        return noise(11, 2, 3, SIZE, SIZE)


def _plant(net: Drawn, share: float, generator: torch.Generator) -> None:
    """Scales 0, weights into a unit 0, weights out of a unit 0; shifts below 0, 0, and above."""
    with torch.no_grad():
        for module in net.modules():
            weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
            if weight is None or module is net.last or isinstance(module, nn.PReLU | nn.LayerNorm | nn.RMSNorm):
                continue
            normed = weight.ndim == 1
            transposed = isinstance(module, nn.ConvTranspose2d)
            dim = int(transposed and module.groups == 1)
            units = weight.shape[dim]
            # Layers with a norm behind them lose less: what is dead there is a constant.
            dead = torch.rand(units, generator=generator) < share * (1 if normed else 0.5)
            weight.index_fill_(dim, dead.nonzero().flatten(), 0.0)
            if bias is not None and len(bias) == units:
                sign = torch.tensor([-1.0, -1.0, 0.0, 1.0])[torch.randint(4, (units,), generator=generator)]
                bias[dead] = (sign * (torch.rand(units, generator=generator) + 0.1)).to(bias)[dead]
            if not normed and weight.shape[1 - dim] > 1:
                unread = torch.rand(weight.shape[1 - dim], generator=generator) < share * 0.3
                weight.index_fill_(1 - dim, unread.nonzero().flatten(), 0.0)


def _one(*values: object) -> st.SearchStrategy[object]:
    return st.sampled_from(values)


# The simplest of each stands first: to it examples shrink.
_norms = st.sampled_from(["batch", "none", *["batch"] * 6, *NORMS])
_acts = st.sampled_from(["relu", "none", *["relu"] * 8, *ACTIVATIONS])
_convs = st.builds(
    Conv, _one(6, 8, 4, 9), _one(3, 1, 5, 2), _one(1, 2), _one(1, 0, 2, "same"), _one("zeros", "zeros", "reflect", "circular"),
    _one(1, 1, 2, 3), _one(1, 1, 2), st.booleans(), _norms, _acts,
)  # fmt: skip
# In branches: of a kernel that can keep the size.
_kept = st.builds(
    Conv, _one(6, 8, 4), _one(3, 1), _one(1), _one(1), _one("zeros", "reflect"), _one(1, 2), _one(1), st.booleans(), _norms, _acts
)  # fmt: skip
_ways = st.lists(_kept, max_size=2).map(tuple)
# Without weights: there are many, and a fault shows in few of them.
_simple = st.sampled_from([*(Pool(kind) for kind in POOLS), *(Element(kind) for kind in ELEMENTS)])
_blocks: st.SearchStrategy[Block] = st.one_of(
    _convs,
    _simple,
    st.builds(Depthwise, _one(1, 2), _one(1, 0), _norms, _acts),
    st.builds(Residual, st.lists(_kept, min_size=1, max_size=2).map(tuple), st.booleans(), _acts),
    st.builds(Dense, _one(3, 2), _one(1, 2, 3)),
    st.builds(Branches, _ways, _ways, st.sampled_from(list(JOINS))),
    st.builds(Apart, st.sampled_from(list(APART)), st.sampled_from(list(JOINS))),
    st.builds(Squeeze, _one(4, 3), st.booleans(), _one("sigmoid", "hardsigmoid")),
    st.builds(Shuffle, _one(2, 3, 4)),
    st.builds(Pixels, _one(4, 2)),
    st.builds(Transposed, _one(6, 4), _one(2, 3), _one(1, 2), _norms, _acts),
    _simple,
    _one(Spatial(1), Spatial(3)),
    _simple,
    _simple,
)
_tokens = st.builds(Tokens, _one("two linear", "gated", "attention"), _acts, _one("layer", "none", "root"), _one(9, 12))
drawn_networks: st.SearchStrategy[Drawn] = st.builds(
    Drawn,
    # A convolution first, so that there is something to lose, and after each other block a reader.
    st.tuples(_convs, st.lists(st.tuples(_blocks, _convs), max_size=3)).map(
        lambda parts: (parts[0], *(block for pair in parts[1] for block in pair))
    ),
    st.lists(_tokens, max_size=2).map(tuple),
    _one("mean", "flat", "maps", "both"),
    _one(0, 9),
    st.booleans(),
    _one(0.3, 0.15, 0.5, 0.8, 0.0),
    st.integers(0, 2**16),
)
