"""The layers of R networks as one layer each; between them images are (N, R x C, H, W), one network's channels after another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm, conv2d

from fullscale.replicas import kernels


def by_kernels(x: Tensor) -> bool:
    """Whether a batch goes through our own kernels: on a processor, in float32 or float64, in whole vectors of images."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and kernels.whole_vectors(len(x), x.element_size())
        and not torch.is_autocast_enabled("cpu")
    )


def _inside(x: Tensor, replicas: int) -> Tensor:
    """(N, R x C, H, W) as (R, C, H, W, N) in memory; nothing is copied where it lies so already."""
    inside: Tensor = x.permute(1, 2, 3, 0).contiguous().unflatten(0, (replicas, -1))
    return inside


def _outside(x: Tensor) -> Tensor:
    """What `_inside` undoes, without a copy."""
    return x.flatten(0, 1).permute(3, 0, 1, 2)


class _Convolve(torch.autograd.Function):
    """x (R, ci, H, W, N), w (R, co, k, k, ci) and bias (R, co) or None -> (R, co, O, P, N)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.how = stride, padding
        height, width = ((n + 2 * padding - w.shape[2]) // stride + 1 for n in x.shape[2:4])
        y = x.new_empty(*w.shape[:2], height, width, x.shape[4])
        run = kernels.convolve(x.shape[4], x.element_size())
        run(x.numpy(), w.numpy(), y.numpy(), stride, padding, False)
        return y if bias is None else y.add_(bias[:, :, None, None, None])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, y: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        y = y.contiguous()
        x_gradient = w_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = torch.empty_like(x)
            run = kernels.convolve(x.shape[4], x.element_size())
            turned = w.permute(0, 4, 2, 3, 1).contiguous()
            run(y.numpy(), turned.numpy(), x_gradient.numpy(), *ctx.how, True)
        if ctx.needs_input_grad[1]:
            w_gradient = w.new_empty(w.shape)
            kernels.weigh(x.element_size())(x.numpy(), w_gradient.numpy(), y.numpy(), *ctx.how)
        if ctx.needs_input_grad[2]:
            bias_gradient = y.flatten(2).sum(dim=2)
        return x_gradient, w_gradient, bias_gradient, None, None


def _convolved(x: Tensor, w: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 0) -> Tensor:
    """By our kernels: (N, R x ci, H, W), w (R, co, k, k, ci) and bias (R, co) -> (N, R x co, O, P)."""
    return _outside(_Convolve.apply(_inside(x, len(w)), w, bias, stride, padding))


class _Normalize(torch.autograd.Function):
    """x (R, C, M) -> the same shape, and mean and variance (R, C)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float, rectify: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        y = torch.empty_like(x)
        mean, inverse, variance = (x.new_empty(x.shape[:2]) for _ in range(3))
        numbers = [t.numpy() for t in (x, gamma, beta, mean, inverse, variance)]
        kernels.normalize(*numbers, numbers[0].dtype.type(eps), rectify, y.numpy())
        ctx.save_for_backward(x, y, gamma, mean, inverse)
        ctx.rectify = rectify
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, y, gamma, mean, inverse = ctx.saved_tensors
        back, gamma_gradient, beta_gradient = torch.empty_like(x), torch.empty_like(mean), torch.empty_like(mean)
        given = (x, y, g.contiguous(), gamma, mean, inverse)
        kernels.denormalize(
            *(t.numpy() for t in given), ctx.rectify, *(t.numpy() for t in (back, gamma_gradient, beta_gradient))
        )
        return back, gamma_gradient, beta_gradient, None, None


class Convolutions(nn.Module):
    """R convolutions. weight: (R, co, ci, k, k), in memory (R, co, k, k, ci); bias: (R, co) or None."""

    weight: Tensor
    bias: Tensor | None = None

    def __init__(self, one: nn.Conv2d) -> None:
        super().__init__()
        self.stride, self.padding = one.stride[0], int(one.padding[0])

    def forward(self, x: Tensor) -> Tensor:
        """(N, R x ci, H, W) -> (N, R x co, O, P)."""
        last = self.weight.permute(0, 1, 3, 4, 2)
        if by_kernels(x):
            return _convolved(x, last, self.bias, self.stride, self.padding)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # In bfloat16 oneDNN lets what is not finite in one group into the others (seen with torch 2.13).
            biases = [None] * len(last) if self.bias is None else self.bias
            each = zip(x.chunk(len(last), dim=1), self.weight, biases, strict=True)
            return torch.cat([conv2d(one, w, bias, self.stride, self.padding) for one, w, bias in each], dim=1)
        weight, bias = last.flatten(0, 1).permute(0, 3, 1, 2), None if self.bias is None else self.bias.flatten()
        return conv2d(x, weight, bias, self.stride, self.padding, groups=len(last))


class Norms(nn.Module):
    """R BatchNorms, with ReLU after each if `rectify`. weight, bias, running_mean, running_var: (R, C)."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norms: Sequence[nn.Module]) -> None:
        super().__init__()
        self.rectify = False
        self.eps, self.momentum = cast(float, norms[0].eps), cast(float, norms[0].momentum)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.stack([getattr(norm, name) for norm in norms]))
        # The same for all: they take their steps together.
        self.register_buffer("num_batches_tracked", cast(Tensor, norms[0].num_batches_tracked).clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, R x C, H, W) -> the same shape."""
        if self.training:
            self.num_batches_tracked.add_(1)
        if self.training and by_kernels(x):
            inside = _inside(x, len(self.weight))
            y, mean, variance = _Normalize.apply(inside.flatten(2), self.weight, self.bias, self.eps, self.rectify)
            count = x.numel() // x.shape[1]
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            return _outside(y.view_as(inside))
        running = self.running_mean.view(-1), self.running_var.view(-1)
        y = batch_norm(x, *running, self.weight.flatten(), self.bias.flatten(), self.training, self.momentum, self.eps)
        return torch.relu(y) if self.rectify else y


class Linears(nn.Module):
    """R linear layers. weight: (R, outputs, inputs); bias: (R, outputs)."""

    weight: Tensor
    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(N, R x inputs) -> (N, R x outputs)."""
        if by_kernels(x):  # a batched product takes another order of sums with every number of replicas
            return _convolved(x[..., None, None], self.weight[:, :, None, None], self.bias).flatten(1)
        each = x.unflatten(1, (len(self.weight), -1)).transpose(0, 1)
        return torch.baddbmm(self.bias.unsqueeze(1), each, self.weight.mT).transpose(0, 1).flatten(1)
