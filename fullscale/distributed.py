"""One run shared by several processes, each with a part of every batch: torchrun and DistributedDataParallel.

The batch, the order of images and the first weights are those of the lone run, and so is the mean of the gradients. What
differs is BatchNorm, whose batch is a process's own part, unless it is that of all (`sync_batchnorm`). Process 0 leads: it
alone measures, writes and reports, with the running statistics of its own parts.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from traceback import clear_frames
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import batch_norm
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from dynamics.errors import InputError
from fullscale.execution import Execution
from fullscale.spec import RunSpec

# As long as process 0 may measure while the others wait. That one has ended is noticed at once.
PATIENCE = timedelta(hours=1)


class Place(NamedTuple):
    """Which process this is, of how many, and which on its own machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


def place() -> Place:
    """What torchrun says in the environment; without it, the only process. InputError for a part of what it says."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return Place()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if lacking := [name for name in names if name not in os.environ]:
        raise InputError(f"WORLD_SIZE without {', '.join(lacking)}: {', '.join(names)}, set by torchrun, are accepted")
    return Place(*(int(os.environ[name]) for name in names[:3]))


@dataclass(frozen=True)
class Team:
    """The processes of a run as one of them sees them; as it is, the only one."""

    rank: int = 0
    size: int = 1
    sync_batchnorm: bool = False
    _held: list[DistributedDataParallel] = field(default_factory=list)

    @property
    def leads(self) -> bool:
        """Whether this process measures, writes and reports."""
        return self.rank == 0

    def forward(self, net: nn.Module, shape: tuple[int, int, int]) -> Callable[[Tensor], Tensor]:
        """The network in a step: a backward pass through what it gives leaves the mean of all processes' gradients.

        shape: of an image, (C, H, W).
        """
        if self.size == 1:
            return net
        self._held.append(DistributedDataParallel(net))
        # After its first pass it packs the gradients in another order, in which sums are rounded otherwise. With this
        # pass behind it, the first step of a run and the first after a pause are like all others.
        blank = torch.zeros(1, *shape).to(next(net.parameters()))
        net.eval()  # which leaves BatchNorm's statistics as they are
        self._held[-1](blank).sum().backward()

        def forward(x: Tensor) -> Tensor:
            with _WholeBatch(self.size) if self.sync_batchnorm else nullcontext():
                found: Tensor = self._held[-1](x)
            return found

        return forward

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Dropout's random numbers: other ones in each process, decided by the epoch, so that a run can go on."""
        if self.size > 1:
            torch.manual_seed(int(np.random.SeedSequence((seed, epoch, self.rank)).generate_state(1)[0]))

    def mean(self, losses: Tensor) -> Tensor:
        """Over all processes, the same in each."""
        if self.size > 1:
            distributed.all_reduce(losses)
        return losses / self.size

    def as_led(self, value: Any) -> Any:
        """Process 0's value, in each process."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    def check_same(self, what: str, value: Any) -> None:
        """InputError, in each process, unless all have the same value."""
        if self.size == 1:
            return
        values = [None] * self.size
        distributed.all_gather_object(values, value)
        if odd := next((rank for rank in range(self.size) if values[rank] != values[0]), 0):
            raise InputError(f"process {odd} has {what} other than those of process 0: the same are accepted")


@contextmanager
def team_of(spec: RunSpec, execution: Execution) -> Iterator[Team]:
    """The processes of a run, joined while within.

    Raises InputError where there are not as many, and BrokenExecutor when another one has ended.
    """
    processes = spec.processes
    if processes == 1:
        yield Team()
        return
    if execution.compile or execution.graphs:
        raise InputError(f"compile or graphs for a run of {processes} processes: neither is accepted")
    here = place()
    if here.size != processes:
        raise InputError(
            f"processes {processes} in a group of {here.size}: torchrun --nproc-per-node {processes} starts them"
        )
    team = Team(here.rank, processes, spec.sync_batchnorm)
    try:
        cuda = execution.device.startswith("cuda")
        distributed.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
        yield team
    except BaseException as error:
        clear_frames(error.__traceback__)  # which may hold what is let go below
        if isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            raise BrokenExecutor("another process of the run has ended") from error
        raise
    finally:
        # In this order: DistributedDataParallel, if it held the group last, would wait with the interpreter locked for the
        # group's threads, which need it, and no process would end.
        team._held.clear()
        gc.collect()
        if distributed.is_initialized():
            distributed.destroy_process_group()


class _Sum(torch.autograd.Function):
    """A tensor's sum over all processes; so is its gradient."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class _WholeBatch(TorchFunctionMode):
    """Within it, BatchNorm in training takes mean and variance over the parts, of equal size, of all processes.

    The modules stay as they are, so that what is measured and saved is an ordinary network. torch's SyncBatchNorm would be
    another module, and takes no tensors on a CPU.
    """

    def __init__(self, processes: int) -> None:
        super().__init__()
        self.processes = processes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        return self._batch_norm(*args, **given) if func is batch_norm else func(*args, **given)

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        training: bool,
        momentum: float,
        eps: float,
    ) -> Tensor:
        assert training
        x = input.float() if input.dtype == torch.bfloat16 else input
        rest = [dim for dim in range(x.ndim) if dim != 1]
        count = self.processes * x.numel() // x.shape[1]
        mean: Tensor = _Sum.apply(x.sum(rest, keepdim=True)) / count
        centred = x - mean
        variance: Tensor = _Sum.apply(centred.square().sum(rest, keepdim=True)) / count
        with torch.no_grad():
            running_mean.lerp_(mean.flatten(), momentum)
            running_var.lerp_(variance.flatten() * (count / (count - 1)), momentum)
        weight, bias = weight.view(mean.shape), bias.view(mean.shape)
        return (centred * (variance + eps).rsqrt() * weight + bias).to(input.dtype)
