"""A training run in one file: all that is needed to go on as if nothing had happened, in safetensors, which runs no code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.given import shown, text
from dynamics.optimizer import Optimizer
from evidence.files import clear_unfinished
from fullscale.checkpoint import Saved, load, save
from fullscale.monitor import Monitor
from fullscale.monitor.stored import packed, unpacked
from fullscale.spec import RunSpec

OPTIMIZER, MONITOR = "optimizer/", "monitor"
ORDER, RANDOM, CUDA = "order", "random", "random cuda"
Curves = dict[str, list[float]]
# Of each measurement.
POINT = ("epoch", "loss", "inactive_by_activation", "inactive_by_scale", "test_error")


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a run is: epochs done, the curves so far and the seconds they took."""

    epoch: int = 0
    curves: Curves = field(default_factory=dict)
    seconds: float = 0.0


def keep(
    path: str | os.PathLike[str],
    spec: RunSpec,
    net: nn.Module,
    optimizer: Optimizer,
    order: torch.Generator,
    progress: Progress,
    monitor: Monitor | None = None,
) -> None:
    """Write the run as it stands to `path`, replacing what is there in one step, with what a monitor has seen.

    Raises InputError where it cannot be written.
    """
    extra, numbers = optimizer_state(net, optimizer)
    extra |= {ORDER: order.get_state(), RANDOM: torch.get_rng_state()}
    if next(net.parameters()).is_cuda:
        extra[CUDA] = torch.cuda.get_rng_state()
    notes = {"spec": spec.as_dict(), "optimizer": numbers, **vars(progress)}
    if monitor is not None:
        tensors, notes["monitor"] = packed(monitor.state_dict())
        extra |= {MONITOR + place: x for place, x in tensors.items()}
    save(net, path, extra, notes)


def optimizer_state(net: nn.Module, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's state as tensors, "optimizer/PARAMETER/FIELD", of the parameter's shape, and as plain numbers."""
    tensors: dict[str, Tensor] = {}
    clocks: dict[str, dict[str, float]] = {}
    for name, parameter in net.named_parameters():
        state = optimizer.state.get(parameter, {})
        clock = {field: float(state[field]) for field in optimizer.rule.clock if field in state}
        if state:
            clocks[name] = clock
        tensors |= {f"{OPTIMIZER}{name}/{field}": x for field, x in state.items() if field not in clock}
    modes = [group.get("train_mode", True) for group in optimizer.param_groups]
    return tensors, {"rule": optimizer.rule.name, "clocks": clocks, "training": all(modes)}


def restore_optimizer(net: nn.Module, optimizer: Optimizer, saved: Saved) -> None:
    """Give the optimizer of `net` the state that a file holds, parameter by name.

    Raises InputError for the state of another rule and for tensors that do not fit the parameters.
    """
    if not holds_state_of(saved, optimizer):
        raise InputError(
            f"optimizer state of {shown(_rule(saved)).strip(chr(39))}: that of {optimizer.rule.name} is accepted"
        )
    with _whole("optimizer state"):
        _restore(net, optimizer, saved, saved.notes["optimizer"])


def holds_state_of(saved: Saved, optimizer: Optimizer) -> bool:
    """Whether the file holds the state of an optimizer of this rule."""
    return _rule(saved) == optimizer.rule.name


def _rule(saved: Saved) -> str | None:
    numbers = saved.notes.get("optimizer")
    return numbers.get("rule") if isinstance(numbers, dict) else None


@contextmanager
def _whole(what: str) -> Iterator[None]:
    """InputError for what a missing or damaged part of the file leads to."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{what} is damaged ({reason}): a whole one is accepted") from error


def _restore(net: nn.Module, optimizer: Optimizer, saved: Saved, numbers: Any) -> None:
    held: dict[str, dict[str, Tensor]] = {}
    for key, tensor in saved.extra.items():
        if key.startswith(OPTIMIZER):
            name, _, part = key.removeprefix(OPTIMIZER).rpartition("/")
            held.setdefault(name, {})[part] = tensor
    clocks, parameters = numbers["clocks"], dict(net.named_parameters())
    for name in (held.keys() - clocks.keys()) | (clocks.keys() - parameters.keys()):
        raise InputError(f"{shown(OPTIMIZER + name)} is of no parameter that has a clock: that of each is accepted")
    state: dict[int, dict[str, Any]] = {}
    for index, (name, parameter) in enumerate(parameters.items()):
        if name not in clocks:
            continue
        state[index] = dict(clocks[name])
        for part, tensor in held.get(name, {}).items():
            if (tensor.shape, tensor.dtype) != (parameter.shape, parameter.dtype):
                have, want = (f"{one.dtype} {tuple(one.shape)}" for one in (tensor, parameter))
                raise InputError(f"{OPTIMIZER}{name}/{part} is {have}, its parameter {want}")
            state[index][part] = torch.empty_like(parameter).copy_(tensor)
    groups = optimizer.state_dict()["param_groups"]
    for group in groups:
        if "train_mode" in group:
            group["train_mode"] = numbers["training"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def load_run(path: Path, spec: RunSpec) -> Saved | None:
    """The run that `path` holds, None where nothing is. InputError where it is another run than that of `spec`."""
    clear_unfinished(path)
    if not path.exists():
        return None
    saved = load(path)
    theirs, ours = saved.notes.get("spec"), json.loads(json.dumps(spec.as_dict()))
    if not isinstance(theirs, dict):
        raise InputError(f"{path} holds no training run: one of the same settings, or another --out, are accepted")
    odd = next((name for name in ours | theirs if _text(theirs, name) != _text(ours, name)), None)
    if odd is not None:
        said, asked = (shown(run[odd]) if odd in run else "at its default" for run in (theirs, ours))
        raise InputError(
            f"{path} holds another run ({odd} {said}, asked for is {asked}): "
            "the same settings, or another --out, are accepted"
        )
    return saved


def _text(run: dict[str, Any], name: str) -> str | None:
    """As JSON, where true is not 1."""
    return json.dumps(run[name]) if name in run else None


def monitor_state(saved: Saved) -> dict[str, Any] | None:
    """What a monitor had seen of the run when the file was written, None where there was none. InputError for what is damaged."""
    if "monitor" not in saved.notes:
        return None
    tensors = {name.removeprefix(MONITOR): x for name, x in saved.extra.items() if name.startswith(MONITOR)}
    return unpacked(tensors, text("monitor of the run", saved.notes["monitor"]))


def restore(saved: Saved, net: nn.Module, optimizer: Optimizer, order: torch.Generator) -> Progress:
    """Put everything back where `keep` found it; the weights are in `saved.net` already, which `net` is to be.

    Raises InputError for a file of which a part is missing or damaged.
    """
    restore_optimizer(net, optimizer, saved)
    with _whole("checkpoint"):
        order.set_state(saved.extra[ORDER])
        torch.set_rng_state(saved.extra[RANDOM])
        if CUDA in saved.extra and next(net.parameters()).is_cuda:
            torch.cuda.set_rng_state(saved.extra[CUDA])
        spec, epoch, curves = RunSpec.of(saved.notes["spec"]), saved.notes["epoch"], saved.notes["curves"]
        if not 0 < epoch <= spec.epochs:
            raise ValueError(f"epoch {epoch} of {spec.epochs}")
        measured = [e for e in range(1, epoch + 1) if e % spec.measure_every == 0 or e == spec.epochs]
        if measured and (curves.keys() != set(POINT) or curves["epoch"] != measured):
            raise ValueError(f"curves that are not of the {len(measured)} epochs that were measured")
        return Progress(epoch, dict(curves), float(saved.notes["seconds"]))
