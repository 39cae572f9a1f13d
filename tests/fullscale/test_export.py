"""An ONNX file computes what the network computes, or is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from dynamics.errors import InputError
from fullscale import export
from fullscale.models import Architecture, build


@pytest.mark.parametrize("model", ["resnet20"])
def test_file_computes_the_same_for_any_number_of_images(tmp_path: Path, model: str) -> None:
    torch.manual_seed(0)
    net = build(Architecture(model, 1 / 16)).train()
    difference = export.export_onnx(net, tmp_path / "net.onnx", torch.randn(3, 3, 16, 16))
    assert difference < 1e-5
    assert net.training
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    images = torch.randn(5, 3, 16, 16)
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    [found] = session.run(None, {"images": images.numpy()})
    assert np.abs(found - expected).max() < 1e-5


def test_what_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    monkeypatch.setattr(export, "_difference", lambda *_: float("nan"))
    with pytest.raises(InputError, match=r"outputs differ by nan: up to 0\.0001 is accepted"):
        export.export_onnx(net, tmp_path / "net.onnx", torch.randn(2, 1, 3, 3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("net", "images", "reason"),
    [
        (nn.Conv2d(1, 1, 1).double(), torch.randn(2, 1, 3, 3), "torch.float64: float32 is accepted"),
        (nn.Conv2d(1, 1, 1), torch.randn(1, 1, 3, 3), "two or more"),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, net: nn.Module, images: torch.Tensor, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        export.export_onnx(net, tmp_path / "net.onnx", images)
    assert not list(tmp_path.iterdir())


def test_network_that_cannot_be_exported_is_refused_in_one_line(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum().item() > 0 else -x

    with pytest.raises(InputError, match="Odd cannot be exported to ONNX") as caught:
        export.export_onnx(Odd(), tmp_path / "net.onnx", torch.randn(2, 1, 3, 3))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
