"""The certificate tells how far two networks are apart, whatever they take and give, and changes neither."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from planting import Branches, noise, outputs, plant, randomize
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.measure import measure
from fullscale.models import Chain, NetConfig
from fullscale.prune import Certificate, certify, remove_dead
from fullscale.prune.compare import Difference
from undertow.commands.prune import in_words


def network(seed: int = 2) -> nn.Module:
    return randomize(Chain(NetConfig((7, 5), (1, 2), 2, 3)), seed).eval()


def test_it_reports_costs_and_comes_back_from_json() -> None:
    net, images = network(), noise(1, 50, 2, 6, 5)
    for block, dead in zip(net.blocks, (4, 3), strict=True):  # type: ignore[arg-type]
        block.norm.weight.data[:dead], block.norm.bias.data[:dead] = 0, -1
    smaller, _ = remove_dead(net, measure(net, images))
    smaller.head.bias.data += 1e-12  # type: ignore[union-attr]  # rounding alone is exactly 0 on some machines
    certificate = certify(net, smaller, images, seed=4, random_images=17)
    assert 0 < certificate.largest < 1e-11
    assert (certificate.held_out_images, certificate.random_images, certificate.random_seed) == (50, 17, 4)
    assert certificate.parameters_before == 2 * 7 * 9 + 2 * 7 + 7 * 5 * 9 + 2 * 5 + 5 * 3 + 3
    assert certificate.parameters_after == 2 * 3 * 9 + 2 * 3 + 3 * 2 * 9 + 2 * 2 + 2 * 3 + 3
    assert certificate.multiply_adds_before == 9 * 2 * 7 * 30 + 9 * 7 * 5 * 9 + 15
    assert certificate.multiply_adds_after == 9 * 2 * 3 * 30 + 9 * 3 * 2 * 9 + 6
    told = json.loads(json.dumps(certificate.as_dict()))
    assert (told.pop("largest"), told["resized"]) == (certificate.largest, [8, 6])
    assert told.pop("rounding") == certificate.rounding > 0
    differences = tuple(Difference(**one) for one in told["differences"])
    assert Certificate(**told | {"latency": (), "resized": (8, 6), "differences": differences}) == certificate
    assert certify(net, smaller, images, seed=4, random_images=17) == certificate
    assert certify(net, smaller, images, seed=5, random_images=17) != certificate


def test_it_measures_differences_by_definition() -> None:
    net, other = network(), network()
    other.head.bias.data[1] += 0.25
    other.head.weight.data *= -1
    held_out = noise(2, 70, 2, 6, 5)
    labels = outputs(net, held_out).argmax(dim=1)
    labels[0] = (labels[0] + 1) % 3
    certificate = certify(net, other, held_out, labels, seed=3, random_images=8)
    for images, told in (
        (held_out, (certificate.held_out_difference, certificate.held_out_relative)),
        (noise(3, 8, 2, 6, 5), (certificate.random_difference, certificate.random_relative)),
    ):
        old, new = outputs(net, images), outputs(other, images)
        largest = max(abs(a - b) for a, b in zip(old.flatten().tolist(), new.flatten().tolist(), strict=True))
        assert told == pytest.approx((largest, largest / float(old.abs().max())), rel=1e-12)
    wrong = outputs(other, held_out).argmax(dim=1) != labels
    assert 1 / 70 == certificate.error_before < certificate.error_after == int(wrong.sum()) / 70
    # A network without output is equal to itself, and another infinitely far.
    net.head.weight.data.zero_()
    net.head.bias.data.zero_()
    assert certify(net, net, held_out).held_out_relative == 0
    assert certify(net, other, held_out).held_out_relative == float("inf")
    assert not certify(net, other, held_out).passes()


def test_it_takes_the_largest_difference_of_all_images() -> None:
    net, other = network(), network()
    other.head.bias.data[1] += 0.25
    certificate = certify(net, other, shape=(2, 6, 5), random_images=8, timed=(1, 7))
    assert (certificate.held_out_images, certificate.held_out_difference, certificate.error_before) == (0, None, None)
    assert certificate.largest_held_out is None
    assert certificate.random_difference == pytest.approx(0.25)
    assert certificate.resized_difference == pytest.approx(0.25)
    assert certificate.largest == max(
        min(certificate.random_difference, certificate.random_relative),
        min(0.25, certificate.resized_relative or 0),
    )
    assert certificate.passes(certificate.largest)
    assert not certificate.passes(certificate.largest / 2)
    for latency in certificate.latency:
        assert all(0 < low <= median <= high for median, low, high in (latency.before, latency.after))
    assert [latency.images for latency in certificate.latency] == [1, 7]
    # Only at another size do these two differ.
    wider = network()
    wider.register_forward_hook(lambda _, args, output: output + (args[0].shape[-1] > 5))
    certificate = certify(net, wider, noise(2, 4, 2, 6, 5), random_images=3)
    assert certificate.held_out_difference == certificate.random_difference == certificate.largest_held_out == 0
    assert certificate.largest == min(1.0, certificate.resized_relative or 0) > 0
    # And some networks take one size alone.
    fixed = nn.Sequential(nn.Conv2d(2, 1, 1), nn.Flatten(), nn.Linear(30, 3))
    certificate = certify(fixed, fixed, noise(2, 4, 2, 6, 5), random_images=3)
    assert (certificate.resized, certificate.resized_difference, certificate.largest) == (None, None, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(3, dtype=torch.long)}, "one whole number for each image"),
        ({"labels": torch.zeros(4)}, "one whole number for each image"),
        ({"labels": torch.tensor([1, 2, 3, 1])}, "labels from 1 to 3: 0 to 2 are accepted"),
        ({"labels": torch.tensor([-1, 2, 0, 1])}, "labels from -1 to 2: 0 to 2 are accepted"),
        ({"held_out": torch.zeros(4, 3, 5, 5)}, r"inputs of shape \(4, 3, 5, 5\) do not fit Chain"),
        ({"held_out": torch.full((4, 2, 5, 5), torch.nan)}, "outputs are not finite"),
        ({"held_out": None}, "neither held-out images nor an example nor the shape"),
        ({"held_out": {}}, "an example of type dict"),
        ({"held_out": None, "shape": (2, 5, 5), "labels": torch.zeros(4, dtype=torch.long)}, "labels without held-out"),
        ({"random_images": 0}, "random_images 0: a whole number from 1"),
        (
            {"after": Chain(NetConfig((2,), (1,), 2, 4))},
            r"outputs output \(4, 3\) and output \(4, 4\) cannot be compared",
        ),
        ({"after": Chain(NetConfig((2,), (1,), 1, 3))}, "do not fit Chain"),
    ],
)
def test_it_refuses_what_cannot_be_compared(change: dict[str, Any], message: str) -> None:
    net = network()
    given = {"before": net, "after": net, "held_out": torch.zeros(4, 2, 5, 5), "random_images": 3} | change
    with pytest.raises(InputError, match=message) as caught:
        certify(**given)
    assert "\n" not in str(caught.value)


@dataclass
class Given:
    logits: Tensor
    parts: tuple[Tensor, ...]


class Several(nn.Module):
    """Whole numbers and a mask go in, by keyword too; a tuple, a dictionary or a dataclass comes out."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.table = form, nn.Embedding(9, 6)
        self.norm, self.one, self.two = nn.LayerNorm(6), nn.Linear(6, 4), nn.Linear(6, 2)

    def forward(self, ids: Tensor, mask: Tensor, *, scale: float = 1.0) -> Any:
        hidden = self.norm(self.table(ids)) * mask.unsqueeze(-1) * scale
        one, two = self.one(hidden.mean(1)), self.two(hidden)
        held = two.masked_fill(ids.unsqueeze(-1) > 7, -torch.inf)
        if self.form == "tuple":
            return one, held
        return {"out": one, "aux": {"mask": held}} if self.form == "dict" else Given(one, (held,))


def _tokens() -> tuple[Tensor, Tensor]:
    return torch.arange(20).view(4, 5) % 9, noise(1, 4, 5)


FORMS: dict[str, tuple[Callable[[], nn.Module], Any, list[str]]] = {
    "1-d": (lambda: nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 4, 3)), noise(1, 4, 3, 20), [""]),
    "3-d": (lambda: nn.Sequential(nn.Conv3d(1, 8, 3), nn.ReLU(), nn.Conv3d(8, 4, 3)), noise(1, 4, 1, 6, 6, 6), [""]),
    "MLP": (lambda: nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 4)), noise(1, 4, 10), [""]),
    "sequence": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), noise(1, 4, 5, 8), [""]),
    "recurrent": (lambda: nn.LSTM(4, 6, batch_first=True), noise(1, 4, 5, 4), ["[0]", "[1][0]", "[1][1]"]),
    "tuple": (lambda: Several("tuple"), _tokens(), ["[0]", "[1]"]),
    "dict": (
        lambda: Several("dict"), {"ids": _tokens()[0], "mask": _tokens()[1], "scale": 2.0}, ["['out']", "['aux']['mask']"]
    ),
    "dataclass": (lambda: Several("dataclass"), _tokens(), [".logits", ".parts[0]"]),
}  # fmt: skip


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_output_of_any_network_is_compared(form: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    make, example, places = FORMS[form]
    net = make().to(dtype)
    same = certify(net, copy.deepcopy(net), example, random_images=5)
    assert same.largest == 0
    assert same.passes(on="both")
    assert [one.output for one in same.differences if one.on == "held_out"] == places
    assert same.rounding > 0
    # From the shapes of an example alone.
    assert certify(net, copy.deepcopy(net), example=example, random_images=5).random_difference == 0
    other = copy.deepcopy(net)
    last = list(other.parameters())[-1]
    last.data += 1e-3
    apart = certify(net, other, example, random_images=5)
    assert not apart.passes(on="held_out")
    assert not apart.passes(on="noise")
    if form in ("tuple", "dict", "dataclass"):
        first, second = (one for one in apart.differences if one.on == "held_out")
        assert (first.difference, second.difference) == (0, pytest.approx(1e-3, rel=1e-3))
    labels = torch.arange(4) % 2
    if form in ("tuple", "dict", "dataclass", "MLP"):
        labelled = certify(net, other, example, labels, random_images=2)
        assert (labelled.labelled, labelled.error_before) == (places[0], labelled.error_after)
    else:
        with pytest.raises(InputError, match=r"labels with outputs .*\(N, classes\)"):
            certify(net, other, example, labels, random_images=2)


def test_networks_of_other_places_are_refused() -> None:
    x = _tokens()
    with pytest.raises(InputError, match=r"\['out'\].*cannot be compared"):
        certify(Several("tuple"), Several("dict"), x)

    class Reshaped(Several):
        def forward(self, ids: Tensor, mask: Tensor, *, scale: float = 1.0) -> Any:
            one, two = super().forward(ids, mask, scale=scale)
            return one, two.flatten(1)

    with pytest.raises(InputError, match="cannot be compared"):
        certify(Several("tuple"), Reshaped("tuple"), x)


def test_data_and_noise_are_judged_apart() -> None:
    net = randomize(Branches(), 1).float().eval()
    plant(net, 3, 0.2)
    images = noise(1, 32, 3, 12, 12)
    exact, _ = remove_dead(net, example=images)
    assert certify(net, exact, images).passes(on="both")
    # Filters that do not fire on calm images.
    for norm in (net.stem[1], net.grouped[1]):
        norm.bias.data[1::3] = -2.5 * norm.weight.data[1::3].abs()
    calm = images / 4
    smaller, removal = remove_dead(net, measure(net, calm), example=images)
    assert sum(layer.empirically_dead for layer in removal.layers) > 0
    certificate = certify(net, smaller, calm, random_images=64)
    assert certificate.passes()
    assert certificate.passes(1e-5)
    assert certificate.passes(on="held_out")
    for on in ("noise", "both"):
        assert not certificate.passes(on=on)  # type: ignore[arg-type]
        assert not certificate.passes(1e-5, on=on)  # type: ignore[arg-type]
    # Without images there is noise alone.
    assert not certify(net, smaller, example=calm).passes()
    with pytest.raises(InputError, match="no images were held out"):
        certify(net, smaller, example=calm).passes(on="held_out")
    with pytest.raises(InputError, match="on 'data' is unknown: accepted are held_out, noise, both"):
        certificate.passes(on="data")  # type: ignore[arg-type]


class Spectrogram(nn.Module):
    """Takes positive numbers alone for one of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3).double()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x.log()), self.conv(x)


def test_noise_that_a_network_is_not_made_for_says_nothing() -> None:
    torch.manual_seed(0)
    net, images = Spectrogram(), noise(1, 4, 2, 8, 8).abs() + 0.1
    whole = certify(net, net, images, random_images=3)
    assert whole.passes(on="both")
    assert [one.output for one in whole.differences] == ["[0]", "[1]", "[1]", "[1]"]
    assert not whole.resized_difference
    with pytest.raises(InputError, match="takes no normal noise; held-out images are accepted"):
        certify(net, net, example=images, random_images=3)
    net.forward = lambda x: net.conv(x.log())
    alone = certify(net, net, images, random_images=3)
    assert (alone.random_difference, alone.largest, alone.passes(on="both")) == (None, 0, True)
    with pytest.raises(InputError, match="on 'noise': the networks give nothing finite"):
        alone.passes(on="noise")
    assert "nothing finite" in in_words({"layers": [], "share": 0.0}, alone.as_dict())[1]
    # What is not finite in one of them alone is a difference.
    other = copy.deepcopy(net)
    other.forward = lambda x: net.conv(x.abs().log())
    with pytest.raises(InputError, match="outputs are not finite"):
        certify(net, other, images, random_images=3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_default_tolerance_is_what_rounding_does(dtype: torch.dtype) -> None:
    net = randomize(Chain(NetConfig((16, 16, 16), (1, 1, 1), 3, 4)), 1)
    plant(net, 2, 0.5)
    net.to(dtype).eval()
    images = noise(3, 16, 3, 8, 8)
    smaller, removal = remove_dead(net, example=images)
    assert removal.share > 0.3
    certificate = certify(net, smaller, images)
    assert certificate.passes(on="both")
    assert certificate.precision == str(dtype)[6:]
    apart = copy.deepcopy(smaller)
    apart.head.weight.data *= 1 + max(500 * torch.finfo(dtype).eps, 1e-10)
    assert not certify(net, apart, images).passes()


def test_a_network_that_cancels_may_differ_by_more() -> None:
    torch.manual_seed(0)
    net, other = nn.Linear(400, 3, bias=False), nn.Linear(400, 3, bias=False)
    weight = 1e4 * torch.randn(3, 400, dtype=torch.float64)
    net.weight.data = (weight - weight.mean(1, keepdim=True)).float()
    order = torch.randperm(400)
    other.weight.data = net.weight.data[:, order]
    images = 1 + 1e-4 * torch.randn(64, 400)

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.other = other

        def forward(self, x: Tensor) -> Tensor:
            # In another order of summation.
            return self.other(x[:, order])  # type: ignore[no-any-return]

    certificate = certify(net, Other(), images)
    assert certificate.passes()
    assert not certificate.passes(1e-5)
    other.weight.data[0] += 1
    assert not certify(net, Other(), images).passes()
