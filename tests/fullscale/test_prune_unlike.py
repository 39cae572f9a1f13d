"""Networks unlike a chain of layers with one real output: nothing is removed that somebody reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.graph.inputs import outputs
from fullscale.prune import remove_dead
from undertow import certify, measure

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Net(nn.Module):
    """Three of eight filters are dead; their reader is `head`, and what else a kind of this class has."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head, self.more = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        self.body[1].weight.data[:3], self.body[1].bias.data[:3] = 0.0, -1.0
        self.double()

    def forward(self, x: Tensor) -> Any:
        return self.head(self.body(x))


class Complex(Net):
    def forward(self, x: Tensor) -> Any:
        f = self.body(x)
        return torch.complex(self.head(f), self.more(f))


class ComplexBySize(Net):
    """Whose imaginary part depends on how many filters there are."""

    def forward(self, x: Tensor) -> Any:
        f = self.body(x)
        return torch.complex(self.head(f), self.more(f) / self.body[0].out_channels)


class Auxiliary(Net):
    def forward(self, x: Tensor) -> Any:
        f = self.body(x)
        return (self.head(f), self.more(f)) if self.training else self.head(f)


class AuxiliaryLater(Auxiliary):
    """Behind a second body, which only the auxiliary head reads as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.first[1].weight.data[0], self.first[1].bias.data[0] = 0.0, -1.0
        self.double()

    def forward(self, x: Tensor) -> Any:
        return super().forward(self.first(x))


class AuxiliaryAside(Net):
    """The loss of the auxiliary head is put aside in training: no other output."""

    def forward(self, x: Tensor) -> Any:
        f = self.body(x)
        if self.training:
            self.aside = self.more(f).mean()
        return self.head(f)


class Objects(Net):
    def forward(self, x: Tensor) -> Any:
        f = self.body(x)
        return {"of": SimpleNamespace(out=self.head(f), features=SimpleNamespace(last=f))}


class Scaled(Net):
    """Its first parameter is of another precision than the rest."""

    def __init__(self) -> None:
        super().__init__()
        held = self._modules
        self._modules = {}
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float32))
        self._modules = held

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) * self.scale.double()


KINDS = {Complex: 3, ComplexBySize: 0, Auxiliary: 0, AuxiliaryLater: 1, AuxiliaryAside: 0, Objects: 0, Scaled: 3}


@pytest.mark.parametrize("kind", KINDS)
def test_they_compute_the_same_and_train_alike(kind: type[Net]) -> None:
    torch.manual_seed(0)
    net = kind().eval()
    smaller, removal = remove_dead(net, example=X)
    assert sum(layer.filters - len(layer.kept) for layer in removal.layers) == KINDS[kind]
    with torch.no_grad():
        one, other = outputs(net(X)), outputs(smaller(X))
    assert one.keys() == other.keys()
    assert all(bool(((one[place] - other[place]).abs() <= 1e-12).all()) for place in one)
    assert bool(removal.notes) is (KINDS[kind] < 3 and kind is not Objects)
    assert certify(net, smaller, X).passes()
    smaller.train()(X)
    assert measure(net, X).filters == sum(layer.filters for layer in removal.layers)


def test_an_encoder_with_padding_is_compared_as_its_graph_was_taken() -> None:
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1, enable_nested_tensor=False
    )
    linear = encoder.layers[0].linear1
    linear.weight.data[:4], linear.bias.data[:4] = 0.0, -1.0
    example = {"src": torch.randn(3, 4, 8), "src_key_padding_mask": torch.tensor([[0, 0, 0, 1]] * 3).bool()}
    smaller, removal = remove_dead(encoder.double().eval(), example=example)
    assert removal.share == 0.25
    assert certify(encoder, smaller, example).passes()


def test_a_network_made_in_inference_mode_is_refused_by_that_name() -> None:
    with torch.inference_mode():
        net = Net()
    for of in (measure, lambda net, x: remove_dead(net, example=x)):
        with pytest.raises(InputError, match=r"was made under torch\.inference_mode"):
            of(net, X)
