"""How a training step is run: device, memory format, compiler, CUDA graph. What is computed stays, but for roundings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dynamics.door import check_fields, checked
from dynamics.errors import InputError
from dynamics.given import shown, text

# Steps that run as they are before one is recorded: libraries choose their algorithms in them.
WARM_UP = 3
# Channels of one of oneDNN's blocks, the widest there are.
FEW = 16


@dataclass(frozen=True)
class Execution:
    """device: "cpu", "cuda" or "cuda:1"... channels_last: convolutions see (N, H, W, C). compile: forward and loss through
    torch.compile. graphs: the whole step is recorded once as a CUDA graph and replayed. deterministic: the same numbers at
    every run on one device, at a price in speed.

    Raises InputError for a device that is not there, and for graphs without CUDA.
    """

    device: str = "cpu"
    channels_last: bool = True
    compile: bool = False
    graphs: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        # torch knows others, and a cpu:7 that it leaves to fail where it is used.
        if not re.fullmatch(r"cpu|cuda(:(0|[1-9]\d{0,2}))?", self.device, re.ASCII):
            raise InputError(f"device {shown(self.device)} is unknown: cpu, cuda, cuda:1, ... are accepted")
        kind = torch.device(self.device).type
        if kind == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device {self.device!r}: no CUDA device is here, cpu is accepted")
        if kind == "cuda" and (torch.device(self.device).index or 0) >= torch.cuda.device_count():
            raise InputError(f"device {self.device!r}: {torch.cuda.device_count()} CUDA devices are here")
        if self.graphs and kind != "cuda":
            raise InputError(f"graphs on device {self.device!r}: CUDA graphs need a cuda device")

    @classmethod
    @checked
    def best(cls, device: str | None = None) -> Execution:
        """What pays on a device: compiler and graphs on CUDA, neither on a CPU. None: CUDA where there is one."""
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device is None else device
        cuda = text("device", chosen).startswith("cuda")
        return cls(device=chosen, compile=cuda, graphs=cuda)

    def layout(self, net: nn.Module) -> torch.memory_format:
        """The memory format for a network's weights and images.

        On a CPU not channels last where a 1x1 convolution strides over few channels: oneDNN then writes beyond its memory
        when it computes the gradient (oneDNN issue 6035, seen with torch 2.13).
        """
        narrow = self.device == "cpu" and any(
            isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < FEW
            for m in net.modules()
        )
        return torch.channels_last if self.channels_last and not narrow else torch.contiguous_format

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the process's settings are these; they come back after. float32 is float32, not NVIDIA's TF32."""
        before = torch.are_deterministic_algorithms_enabled()
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        device = torch.device(self.device)
        cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=not self.deterministic, allow_tf32=False)
        with cudnn, torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            torch.use_deterministic_algorithms(self.deterministic)
            try:
                yield
            finally:
                torch.use_deterministic_algorithms(before)


class CudaGraphStep:
    """A training step as a CUDA graph. The first steps run as they are, on real batches; the next is recorded and replayed
    from then on with the batch copied to where it was recorded. All steps need batches of one size."""

    def __init__(self, step: Callable[[Tensor, Tensor], None]) -> None:
        self.step = step
        self.done = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.side = torch.cuda.Stream()

    def __call__(self, x: Tensor, y: Tensor) -> None:
        """One step."""
        if self.done < WARM_UP:
            # As torch asks: on another stream than the default one, so that nothing lazy is left for the recording.
            self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side):
                self.step(x, y)
            torch.cuda.current_stream().wait_stream(self.side)
        else:
            if self.graph is None:
                self.x, self.y = x.clone(memory_format=torch.preserve_format), y.clone()
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph):
                    self.step(self.x, self.y)
            self.x.copy_(x)
            self.y.copy_(y)
            self.graph.replay()
        self.done += 1
