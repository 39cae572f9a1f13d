"""What a network costs: its parameters, and its multiply-adds for one image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dynamics.errors import InputError
from fullscale.graph import Example, Inputs, taken, untouched
from fullscale.graph.network import network
from fullscale.graph.trace import call


def parameters(net: nn.Module) -> int:
    """The number of trained numbers in a network; BatchNorm's running statistics are not among them."""
    return sum(parameter.numel() for parameter in network(net, numbers=False).parameters())


def multiply_adds(net: nn.Module, example: Example | Inputs) -> int:
    """Multiply-adds of a network's convolutions, linear layers and other products of matrices for one image.

    Transposed convolutions, the two products of attention and the layers of recurrent networks are among them. Norms,
    activations, pooling and products element by element are not. Products with the zeros of the padding are, as is usual.

    Args:
        net: any network; nothing of it is changed.
        example: what its forward takes, of which the first image is run; tensors on the meta device cost no work.

    Returns:
        The number.

    Example:
        >>> multiply_adds(nn.ConvTranspose2d(8, 6, 2, 2), torch.ones(4, 8, 10, 10))
        19200

    Source:
        torch.utils.flop_counter, by two.
    """
    net, inputs = network(net, numbers=False), taken(example, numbers=False).rows(0, 1)
    with _in_products(), FlopCounterMode(display=False) as counter:
        try:
            if any(tensor.is_meta for tensor in inputs.tensors()):
                like = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
                inputs = inputs.map(lambda tensor: tensor.to(like) if tensor.is_floating_point() else tensor)
                state = {name: tensor.to("meta") for name, tensor in (*net.named_parameters(), *net.named_buffers())}
                with untouched(net):
                    functional_call(net, state, inputs.args, inputs.named)
            else:
                call(net, inputs.to(net))
        except Exception as error:  # whatever the network's own code raises
            raise InputError(f"inputs of shape {inputs.shapes()} do not fit {type(net).__name__} ({error})") from error
    return int(counter.get_total_flops()) // 2


@contextmanager
def _in_products() -> Iterator[None]:
    """Attention and recurrent layers run as the products that they consist of, not as kernels that nothing is known of."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of hardware that is not there
            with (
                sdpa_kernel(SDPBackend.MATH),
                torch.backends.mkldnn.flags(enabled=False),
                torch.backends.cudnn.flags(enabled=False),
            ):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
