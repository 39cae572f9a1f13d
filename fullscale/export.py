"""A network as an ONNX file, checked by running it in onnxruntime before the file is there."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import number
from dynamics.given import path as as_path
from evidence.files import write_whole
from fullscale.graph import Example, Inputs, outputs, taken, untouched
from fullscale.graph.network import network
from fullscale.graph.trace import quiet
from fullscale.prune.compare import run

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# The file's operations run in another order of summation.
TOLERANCE = 1e-4


def export_onnx(
    net: nn.Module, path: str | os.PathLike[str], images: Example | Inputs, tolerance: float = TOLERANCE
) -> float:
    """Write the network, in evaluation mode and float32, to `path` as ONNX; the largest difference that onnxruntime shows.

    A lone input is called "images" in the file and a lone output "logits". Of several each has the name of its argument or
    key ("output_0", "output_1", ... in a tuple).

    Args:
        net: any network that torch's exporter takes; nothing of it is changed.
        path: of the file.
        images: what forward takes, two images or more, for the check: one tensor (N, ...), a tuple of arguments, or a
            dictionary of keyword arguments. The file takes any number of images of their size.
        tolerance: the largest difference of an output, divided by its largest absolute number where that is above 1.

    Returns:
        That difference.

    Raises:
        InputError: where the packages are missing, for a network that is not float32 or cannot be exported, for a
            difference above the tolerance, and where the file cannot be written; nothing is written then.

    Example:
        >>> export_onnx(nn.Linear(3, 2), "small.onnx", torch.ones(2, 3)) < 1e-5
        True
    """
    file = as_path("path", path)
    content, difference = as_onnx(net, images, tolerance)
    write_whole(file, content)
    return difference


def as_onnx(net: nn.Module, images: Example | Inputs, tolerance: float = TOLERANCE) -> tuple[bytes, float]:
    """The content of the file that `export_onnx` writes, and the difference. Raises InputError as it does."""
    number("tolerance", tolerance, 0)
    try:
        import onnx  # noqa: F401, needed by the exporter
        import onnxruntime
        import onnxscript  # noqa: F401, needed by the exporter
    except ImportError as error:
        raise InputError(
            f"{error.name!r} is missing: install undertow[onnx] to export ({', '.join(PACKAGES)})"
        ) from None
    net, inputs = network(net), taken(images)
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    if dtype != torch.float32:
        raise InputError(f"network in {dtype}: float32 is accepted for ONNX, net.float() makes one")
    if len(inputs) < 2:
        raise InputError(f"inputs of shape {inputs.shapes()}: two or more images are accepted")
    shown = inputs.to(net)
    expected = run(net, shown)
    for place, tensor in expected.items():
        if tensor.is_complex():
            raise InputError(
                f"{place or 'output'} is complex: real outputs are accepted for ONNX, as torch.view_as_real gives"
            )
    names = _inputs(net, shown)
    with untouched(net), quiet():
        try:
            program = torch.onnx.export(
                _Flat(net, shown), (shown.tensors(),), dynamo=True, verbose=False, input_names=list(names),
                output_names=_outputs(expected), dynamic_shapes=(_any_number(shown),),
            )  # fmt: skip
            assert program is not None
            content = program.model_proto.SerializeToString()
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            # What does not depend on an input leaves it out of the file.
            taking = {one.name for one in session.get_inputs()}
            found = session.run(None, {name: held.cpu().numpy() for name, held in names.items() if name in taking})
        except Exception as error:  # the exporter raises whatever the network's code led it into
            raise InputError(f"{type(net).__name__} cannot be exported to ONNX ({_reason(error)})") from error
    pairs = zip(expected.values(), found, strict=True)
    difference = max(_difference(value.cpu().numpy(), out) for value, out in pairs)
    if not difference <= tolerance:
        raise InputError(f"onnxruntime's outputs differ by {difference:.2e}: up to {tolerance:g} is accepted")
    return content, difference


class _Flat(nn.Module):
    """A network that takes a list of tensors and gives one, whatever it takes and gives itself."""

    def __init__(self, net: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.net, self.inputs = net, inputs
        self.training = False

    def forward(self, tensors: list[Tensor]) -> list[Tensor]:
        given = iter(tensors)
        inputs = self.inputs.map(lambda _: next(given))
        return list(outputs(self.net(*inputs.args, **inputs.named)).values())


def _inputs(net: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """The tensors of the inputs by the names that they get in the file."""
    tensors = inputs.tensors()
    if len(tensors) == 1 and not inputs.named:
        return {"images": tensors[0]}
    known = list(inspect.signature(net.forward).parameters)
    names = [known[i] if i < len(known) else f"input_{i}" for i in range(len(inputs.args))]
    places = outputs(dict(zip(names, inputs.args, strict=True)) | inputs.named)
    return dict(zip(_named(places, "input"), tensors, strict=True))


def _outputs(expected: Mapping[str, Tensor]) -> list[str]:
    return ["logits"] if list(expected) == [""] else _named(expected, "output")


def _named(places: Iterable[str], kind: str) -> list[str]:
    """Places such as "['out']" and "[1]" as names of variables: out, output_1."""
    words = ["_".join(re.findall(r"\w+", place)) for place in places]
    return [f"{kind}_{word}" if word[:1].isdigit() or not word else word for word in words]


def _any_number(inputs: Inputs) -> list[dict[int, Any] | None]:
    """For each input: that its first dimension is the number of images, where it is."""
    images, count = torch.export.Dim("images"), len(inputs)
    return [{0: images} if tensor.ndim and len(tensor) == count else None for tensor in inputs.tensors()]


def _reason(error: Exception) -> str:
    """The cause of an error of the exporter, which wraps it into advice for its own developers."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    expected, found = (np.asarray(values, dtype=np.float64) for values in (expected, found))
    equal = expected == found  # equal infinities, too
    apart = np.abs(np.subtract(expected, found, where=~equal, out=np.zeros_like(expected)))
    size = np.abs(expected[np.isfinite(expected)])
    return float(apart.max(initial=0) / max(1.0, size.max(initial=0)))
