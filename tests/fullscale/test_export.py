"""An ONNX file computes what the network computes, or is not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from dynamics.errors import InputError
from fullscale import export
from fullscale.graph import Inputs
from fullscale.graph.trace import call
from fullscale.models import Architecture, build


def test_file_computes_the_same_for_any_number_of_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build(Architecture("resnet20", 1 / 16)).train()
    assert export.export_onnx(net, tmp_path / "net.onnx", torch.randn(3, 3, 16, 16)) < 1e-5
    assert net.training
    images = torch.randn(5, 3, 16, 16)
    [found] = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"images": images.numpy()})
    with torch.no_grad():
        assert np.abs(found - net.eval()(images).numpy()).max() < 1e-5


@dataclass
class Given:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]


class Several(nn.Module):
    """Writes into its input, and gives its outputs in the form that is asked for."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.one, self.two = form, nn.Conv1d(3, 4, 3), nn.Conv1d(4, 2, 1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        hidden = self.one(x.sub_(0.5)) * (1 if mask is None else mask)
        found = self.two(hidden)
        if self.form == "dict":
            return {"out": found, "aux": hidden}
        return (found, hidden) if self.form == "tuple" else Given(found, (hidden,))


@pytest.mark.parametrize(
    ("form", "given", "taken", "named"),
    [
        ("dict", (torch.ones(2, 3, 9),), ["images"], ["out", "aux"]),
        ("tuple", (torch.ones(2, 3, 9), torch.rand(2, 1, 1)), ["x", "mask"], ["output_0", "output_1"]),
        ("dataclass", {"x": torch.ones(2, 3, 9), "mask": torch.rand(2, 1, 1)}, ["x", "mask"], ["logits", "hidden_0"]),
    ],
)
def test_several_inputs_and_outputs_go_by_name(form: str, given: Any, taken: list[str], named: list[str]) -> None:
    net = Several(form)
    tensors = list(given.values()) if isinstance(given, dict) else given
    content, difference = export.as_onnx(nn.DataParallel(net) if form == "tuple" else net, given)
    assert difference < 1e-5
    assert torch.equal(tensors[0], torch.ones(2, 3, 9))
    session = onnxruntime.InferenceSession(content)
    assert [one.name for one in session.get_inputs()] == taken
    assert [one.name for one in session.get_outputs()] == named
    more = [torch.randn(5, *tensor.shape[1:]) for tensor in tensors]
    found = session.run(named[:1], {name: x.numpy() for name, x in zip(taken, more, strict=True)})[0]
    assert np.abs(found - next(iter(call(net, Inputs(tuple(more))).values())).numpy()).max() < 1e-5


class Odd(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum().item() > 0 else -x


@pytest.mark.parametrize(
    ("net", "images", "reason"),
    [
        (nn.Conv2d(1, 1, 1).double(), 2, "torch.float64: float32 is accepted"),
        (nn.Conv2d(1, 1, 1), 1, "two or more"),
        (Odd(1, 1, 1), 2, "Odd cannot be exported to ONNX"),
        (nn.Conv2d(1, 1, 1), 2, r"outputs differ by nan: up to 0\.0001 is accepted"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: nn.Module, images: int, reason: str
) -> None:
    monkeypatch.setattr(export, "_difference", lambda *_: float("nan"))
    with pytest.raises(InputError, match=reason) as caught:
        export.export_onnx(net, tmp_path / "net.onnx", torch.randn(images, 1, 3, 3))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
