"""A network as an ONNX file, checked by running it in onnxruntime before the file is there."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from evidence.files import write_whole
from fullscale.graph import evaluation

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# The file's operations run in another order of summation.
TOLERANCE = 1e-4


def export_onnx(net: nn.Module, path: str | os.PathLike[str], images: Tensor, tolerance: float = TOLERANCE) -> float:
    """Write the network, in evaluation mode and float32, to `path` as ONNX; the largest difference that onnxruntime shows.

    images: (N, C, H, W), two or more, for the check; the file takes any number of images of their size. The difference
    is the largest absolute one of any output, divided by the largest absolute output where that is above 1.
    Raises InputError where the packages are missing, for a network that is not float32 or cannot be exported, for a
    difference above `tolerance`, and where the file cannot be written; nothing is written then.
    """
    content, difference = as_onnx(net, images, tolerance)
    write_whole(Path(path), content)
    return difference


def as_onnx(net: nn.Module, images: Tensor, tolerance: float = TOLERANCE) -> tuple[bytes, float]:
    """The content of the file that `export_onnx` writes, and the difference. Raises InputError as it does."""
    try:
        import onnx  # noqa: F401, needed by the exporter
        import onnxruntime
        import onnxscript  # noqa: F401, needed by the exporter
    except ImportError as error:
        raise InputError(
            f"{error.name!r} is missing: install undertow[onnx] to export ({', '.join(PACKAGES)})"
        ) from None
    first = next(net.parameters(), images)
    if first.dtype != torch.float32:
        raise InputError(f"network in {first.dtype}: float32 is accepted for ONNX, net.float() makes one")
    if images.ndim != 4 or len(images) < 2:
        raise InputError(f"images of shape {tuple(images.shape)}: two or more, (N, C, H, W), are accepted")
    shown = images.to(first)
    with evaluation(net), _quiet():
        expected = net(shown)
        try:
            program = torch.onnx.export(
                net, (shown,), dynamo=True, verbose=False, input_names=["images"], output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("images")},),
            )  # fmt: skip
        except Exception as error:  # the exporter raises whatever the network's code led it into
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{type(net).__name__} cannot be exported to ONNX ({reason})") from error
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"images": shown.cpu().numpy()})
    difference = _difference(expected.cpu().numpy(), found)
    if not difference <= tolerance:
        raise InputError(f"onnxruntime's outputs differ by {difference:.2e}: up to {tolerance:g} is accepted")
    return content, difference


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    return float(np.abs(expected - found).max() / max(1.0, float(np.abs(expected).max())))


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks on its own insides are not for the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
