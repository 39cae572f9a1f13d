"""Several networks of one shape trained side by side, as one network of grouped convolutions.

Small networks leave a processor waiting between operations; with R of them in one, each operation does R times the work.
Convolutions are grouped, BatchNorm is by channel anyway, and each replica has its own loss, so no replica sees another:
the element-wise update rules treat them as R separate runs (up to the order in which sums are rounded).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from fullscale.models import Block, Chain


class Replicas(nn.Module):
    """R chains of one configuration as one network; it takes over their weights.

    forward: images (N, R x C, H, W), the replicas' channels one after the other -> logits (R, N, classes).
    """

    def __init__(self, chains: Sequence[nn.Module]) -> None:
        super().__init__()
        nets = [cast(Chain, net) for net in chains]
        self.config = nets[0].config
        self.count = len(nets)
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        inputs = (self.config.in_channels, *self.config.channels[:-1])
        for i, (reads, filters) in enumerate(zip(inputs, self.config.channels, strict=True)):
            stride, r = self.config.strides[i], self.count
            conv = nn.Conv2d(reads * r, filters * r, 3, stride=stride, padding=1, bias=False, groups=r)
            joined = torch.cat([cast(Block, net.blocks[i]).conv.weight.detach() for net in nets])
            conv.weight = nn.Parameter(joined.contiguous(memory_format=torch.channels_last))
            self.convs.append(conv)
            states = [cast(Block, net.blocks[i]).norm.state_dict() for net in nets]
            norm = nn.BatchNorm2d(filters * r).to(joined)
            # A counter has no channels: it is the same for all replicas.
            norm.load_state_dict({k: torch.cat([s[k] for s in states]) if v.ndim else v for k, v in states[0].items()})
            self.norms.append(norm)
        self.weight = nn.Parameter(torch.stack([net.head.weight.detach().T for net in nets]))
        self.bias = nn.Parameter(torch.stack([net.head.bias.detach() for net in nets]).unsqueeze(1))

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        pooled = x.mean(dim=(2, 3)).unflatten(1, (self.count, -1)).transpose(0, 1)
        return torch.baddbmm(self.bias, pooled, self.weight)

    @torch.no_grad()
    def take(self, replica: int) -> Chain:
        """A copy of one replica as a network of its own, in the mode this one is in."""
        net = Chain(self.config).to(self.weight)
        for block, conv, norm in zip(net.blocks, self.convs, self.norms, strict=True):
            for own, joined in ((cast(Block, block).conv, conv), (cast(Block, block).norm, norm)):
                for name, tensor in own.state_dict().items():
                    whole = joined.state_dict()[name]
                    tensor.copy_(whole.chunk(self.count)[replica] if whole.ndim else whole)
        net.head.weight.copy_(self.weight[replica].T)
        net.head.bias.copy_(self.bias[replica, 0])
        return net.train(self.training)
