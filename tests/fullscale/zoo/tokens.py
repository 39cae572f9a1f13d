"""Linear layers: perceptrons, transformers, sparse autoencoders. Units are the hidden ones of two linear layers with a ReLU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Example, Network, noise


def tokens(length: int = 6, features: int = 8) -> Callable[[], Example]:
    return lambda: noise(7, 3, length, features)


def words(length: int = 6, vocabulary: int = 11) -> Callable[[], Example]:
    return lambda: torch.randint(vocabulary, (3, length), generator=torch.Generator().manual_seed(7))


def perceptron(norm: bool) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, units in ((10, 12), (12, 8)):
        layers += [nn.Linear(inputs, units), nn.BatchNorm1d(units) if norm else nn.Identity(), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(8, 3))


class Two(nn.Sequential):
    """Two linear layers."""

    def __init__(self, features: int = 8, units: int = 16) -> None:
        super().__init__(nn.Linear(features, units), nn.ReLU(), nn.Linear(units, features))


class Mixer(nn.Module):
    """Two linear layers over places, two over features, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.places, self.features = nn.LayerNorm(8), nn.LayerNorm(8), Two(6, 10), Two()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.places(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        result: Tensor = x + self.features(self.norm2(x))
        return result


class Attention(nn.Module):
    """Self-attention as timm writes it: one linear layer for queries, keys and values."""

    def __init__(self, heads: int = 2, causal: bool = False) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads, self.causal = nn.Linear(8, 24), nn.Linear(8, 8), heads, causal

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        result: Tensor = self.proj(y.transpose(1, 2).reshape(n, length, width))
        return result


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attention, self.mlp = nn.LayerNorm(8), nn.LayerNorm(8), attention, Two()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        torchs = isinstance(self.attention, nn.MultiheadAttention)
        x = x + (self.attention(y, y, y, need_weights=False)[0] if torchs else self.attention(y))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class Vision(nn.Module):
    """Patches, a class token, positions, blocks, and the class token's features read out."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.patch, self.blocks = nn.Conv2d(3, 8, 4, 4), nn.Sequential(*blocks)
        self.token, self.position = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(1, 10, 8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.position
        result: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return result


def several() -> Attention | nn.Module:
    return nn.MultiheadAttention(8, 2, batch_first=True)


def encoder(first: bool) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, activation="relu", batch_first=True, norm_first=first)


class Language(nn.Module):
    """GPT: tokens and positions, causal blocks, the output layer's weights being the embedding's."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.embed, self.position = nn.Embedding(11, 8), nn.Embedding(6, 8)
        self.blocks = nn.ModuleList(Block(Attention(causal=True)) for _ in range(blocks))
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.position(torch.arange(ids.shape[1], device=ids.device))
        for each in self.blocks:
            x = each(x)
        result: Tensor = self.out(self.norm(x))
        return result


class Bag(nn.Module):
    """The mean of embeddings through two linear layers, read out by the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mlp = nn.Embedding(11, 8), Two()

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.mlp(self.embed(ids).mean(1)), self.embed.weight)


class Gated(nn.Module):
    """One linear layer gates another by its ReLU: a unit is dead where the gate is."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.gate = nn.RMSNorm(8), nn.Linear(8, 16)
        self.up, self.down = nn.Linear(8, 16, bias=False), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        result: Tensor = x + self.down(F.relu(self.gate(y)) * self.up(y))
        return result


class Fused(nn.Module):
    """Gate and layer in one matrix, half each."""

    def __init__(self, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.both, self.down, self.gate = nn.Linear(8, 32), nn.Linear(16, 8), gate

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.down(self.gate(self.both(x)))
        return result


def rectified(x: Tensor) -> Tensor:
    gate, up = x.chunk(2, dim=-1)
    return F.relu(gate) * up


def rectified_slices(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x[..., :half].clamp(min=0) * x[..., half:]


class Bound(nn.Module):
    """JumpReLU: what is above a bound of its own. sized: how much comes from a second line, as in gated autoencoders."""

    def __init__(self, features: int = 24, sized: bool = False) -> None:
        super().__init__()
        self.log_bound, self.sized = nn.Parameter(torch.zeros(features)), sized
        self.log_size, self.shift = nn.Parameter(torch.zeros(features)), nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        if self.sized:
            return (x > 0).to(x.dtype) * F.relu(x * self.log_size.exp() + self.shift)
        return x * (x > self.log_bound.exp())


class Chosen(nn.Module):
    """ReLU written out."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, torch.zeros_like(x))


class Sparse(nn.Module):
    """A sparse autoencoder of matrices; tied: the decoder is the encoder turned over."""

    def __init__(self, tied: bool = False, act: nn.Module | None = None) -> None:
        super().__init__()
        self.W_enc = nn.Parameter(torch.zeros(8, 24))
        self.W_dec = None if tied else nn.Parameter(torch.zeros(24, 8))
        self.b_enc, self.b_dec, self.act = nn.Parameter(torch.zeros(24)), nn.Parameter(torch.zeros(8)), act or nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        found = self.act((x - self.b_dec) @ self.W_enc + self.b_enc)
        result: Tensor = found @ (self.W_enc.T if self.W_dec is None else self.W_dec) + self.b_dec
        return result


class SparseLayers(nn.Module):
    """The same of linear layers, its features left out of what it gives back; the shift is a parameter of its own."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.encoder, self.decoder, self.shift = (
            nn.Linear(8, 24),
            nn.Linear(24, 8, bias=False),
            nn.Parameter(torch.zeros(8)),
        )
        self.tied = tied

    def forward(self, x: Tensor) -> Tensor:
        found = F.relu(self.encoder(x - self.shift))
        seen: Tensor = F.linear(found, self.encoder.weight.t()) if self.tied else self.decoder(found)
        return seen + self.shift


def vision(kind: Callable[[], nn.Module]) -> nn.Module:
    return Vision(Block(kind()), Block(kind()))


def flat() -> Example:
    return noise(7, 5, 8)


def picture() -> Example:
    return noise(7, 3, 3, 12, 12)


HIDDEN = {"0": (0, 4, 15)}

NETWORKS = (
    Network(
        "perceptron, norms",
        lambda: perceptron(True),
        lambda: noise(7, 5, 10),
        5,
        dead={"1": (0, 3), "4": (1, 2)},
        constant={"4": (5,)},
    ),
    Network(
        "perceptron",
        lambda: perceptron(False),
        lambda: noise(7, 5, 10),
        5,
        dead={"0": (0, 3), "3": (1, 2)},
        constant={"3": (5,)},
    ),
    Network("two linear, tokens", Two, tokens(), 4, dead=HIDDEN, constant={"0": (7,)}),
    Network("two linear, maps", Two, lambda: noise(7, 2, 4, 5, 8), 4, dead=HIDDEN, constant={"0": (7,)}),
    Network("mixer", Mixer, tokens(), 5, dead={"places.0": (0, 9), "features.0": (1, 2)}, constant={"places.0": (4,)}),
    Network(
        "vit",
        lambda: vision(Attention),
        picture,
        5,
        dead={"blocks.0.mlp.0": (0, 9), "blocks.1.mlp.0": (1, 2)},
        constant={"blocks.1.mlp.0": (4,)},
    ),
    Network(
        "vit, torch's attention",
        lambda: vision(several),
        picture,
        4,
        dead={"blocks.0.mlp.0": (0, 9), "blocks.1.mlp.0": (1, 2)},
    ),
    Network("encoder layer", lambda: encoder(False), tokens(), 3, dead={"linear1": (0, 9)}, constant={"linear1": (3,)}),
    Network(
        "encoder layers, norms first",
        lambda: Vision(encoder(True), encoder(True)),
        picture,
        3,
        dead={"blocks.0.linear1": (0, 9), "blocks.1.linear1": (3,)},
    ),
    Network(
        "gpt",
        Language,
        words(),
        5,
        dead={"blocks.0.mlp.0": (0, 9), "blocks.1.mlp.0": (1, 2)},
        constant={"blocks.1.mlp.0": (4,)},
    ),
    Network("bag of words", Bag, words(), 3, dead={"mlp.0": (0, 9)}, constant={"mlp.0": (3,)}),
    # A gate that is constant scales the other layer, which varies: it stays, unless the other is 0.
    Network("gated", Gated, tokens(), 3, dead={"gate": (0, 9)}, constant={"gate": (3,)}, zero={"up": (5,)}),
    # The shift behind the decoder is the encoder's, too: it takes no constant over.
    Network("sparse", Sparse, flat, 4, dead={"W_enc": (0, 9, 23, 5)}, constant={"W_enc": (3,)}),
    # The weights of a unit go out as they come in: none of a dead one's are left.
    Network("sparse, tied", lambda: Sparse(tied=True), flat, 4, dead={"W_enc": (0, 9, 23)}, constant={"W_enc": (3,)}),
    Network("sparse of layers", SparseLayers, flat, 5, dead={"encoder": (0, 9, 23, 5)}, constant={"encoder": (3,)}),
    Network("sparse of layers, tied", lambda: SparseLayers(tied=True), flat, 3, dead={"encoder": (0, 9, 23)}),
    # Both halves of a unit go where its gate is 0, or the other is.
    *(
        Network(
            f"gated, fused by {how}", lambda gate=gate: Fused(gate), tokens(), ceiling, dead=dead, zero={"both": (3, 5)}
        )  # type: ignore[misc]
        for how, gate, ceiling, dead in (
            ("chunk", rectified, 4, {"both": (0, 9)}),
            ("slices", rectified_slices, 4, {"both": (0, 9)}),
            ("torch", F.glu, 2, {}),
        )
    ),
    Network("sparse, bounds", lambda: Sparse(act=Bound()), flat, 3, dead={"W_enc": (0, 9, 23)}),
    Network("sparse, gated", lambda: Sparse(act=Bound(sized=True)), flat, 3, dead={"W_enc": (0, 9, 23)}),
    # Behind a slope what is constant stays so, and goes into the next layer's shift.
    *(
        Network(
            f"two linear, {type(act).__name__}",
            lambda act=act: nn.Sequential(nn.Linear(8, 16), act, nn.Linear(16, 8)),  # type: ignore[misc]
            flat,
            4,
            dead=HIDDEN,
            constant={"0": (7,)},
        )
        for act in (Chosen(), nn.PReLU(16), nn.RReLU())
    ),
)
