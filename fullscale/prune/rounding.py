"""How far a network's outputs move by rounding alone: the measure of what two equal networks may differ by."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fullscale.graph.copied import copied
from fullscale.graph.inputs import Inputs
from fullscale.graph.trace import call

# Of which the largest difference counts.
DRAWS = 2
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def rounding(net: nn.Module, inputs: Inputs, seed: int = 0) -> dict[str, float]:
    """The largest difference of each output when all weights and all inputs are moved by their last bit, at random.

    Args:
        net: the network, in any precision; a copy of it is run, in evaluation mode.
        inputs: in the network's precision and on its device (`Inputs.to`); whole numbers stay as they are.
        seed: from which alone it is drawn which numbers move up and which down, twice.

    Returns:
        The largest absolute difference by the output's place, as in `outputs`; 0 for a network that rounds nothing.

    Example:
        >>> rounding(nn.Linear(1, 1, bias=False).double(), Inputs((torch.ones(1, 1).double(),)))[""] < 1e-15
        True
    """
    source = torch.Generator().manual_seed(seed)
    exact = call(net, inputs)
    largest = dict.fromkeys(exact, 0.0)
    moved = copied(net)
    held = [(tensor, tensor.data) for tensor in (*moved.parameters(), *moved.buffers())]
    for _ in range(DRAWS):
        for tensor, own in held:
            tensor.data = _moved(own, source)
        found = call(moved, inputs.map(lambda tensor: _moved(tensor, source)))
        for place, value in exact.items():
            difference = (found[place].cpu().to(torch.complex128) - value.cpu().to(torch.complex128)).abs()
            difference = difference.nan_to_num(0.0, posinf=0.0)  # of infinities, and of NaN
            largest[place] = max(largest[place], float(difference.max()) if difference.numel() else 0.0)
    return largest


def _moved(tensor: Tensor, source: torch.Generator) -> Tensor:
    """A copy whose numbers are their neighbours above or below; zeros, those at the end of their range, and sparse ones stay."""
    if not tensor.is_floating_point() or tensor.layout != torch.strided:
        return tensor.clone()
    step = torch.randint(0, 2, tensor.shape, generator=source).mul_(2).sub_(1).to(tensor.device)
    bits = tensor.contiguous().view(_BITS[tensor.element_size()])
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # 8 bits are not compared
    moves = (wide != 0) & (wide.abs() < torch.finfo(tensor.dtype).max)  # false for NaN, too
    return (bits + step.to(bits.dtype) * moves).view(tensor.dtype)
