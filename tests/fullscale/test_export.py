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


def test_file_computes_the_same_for_any_number_of_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build(Architecture("resnet20", 1 / 16)).train()
    assert export.export_onnx(net, tmp_path / "net.onnx", torch.randn(3, 3, 16, 16)) < 1e-5
    assert net.training
    images = torch.randn(5, 3, 16, 16)
    [found] = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"images": images.numpy()})
    with torch.no_grad():
        assert np.abs(found - net.eval()(images).numpy()).max() < 1e-5


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
