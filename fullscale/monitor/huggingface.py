"""The monitor as a callback of the Trainer of Hugging Face's Transformers."""

from __future__ import annotations

from math import isclose
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dynamics.errors import InputError
from fullscale.monitor.core import INTERVAL, Monitor

FILE = "monitor.pt"


class MonitorCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Trainer(callbacks=[MonitorCallback()]): `monitor` is there from the start of training, and stays to be read after it.

    It is saved as monitor.pt in each checkpoint, and goes on from there with resume_from_checkpoint, if that checkpoint lies in
    the output folder; one that lies elsewhere has to be told here too, else the monitor begins anew and says so in `note`.

    interval, live: as in `fullscale.monitor.Monitor`. resume_from_checkpoint: the folder that Trainer.train is given, which it
    does not hand on to callbacks.
    Raises InputError as Monitor does, and for a folder without a monitor.pt of the network as it is resumed.
    """

    def __init__(
        self, interval: int = INTERVAL, *, live: bool = False, resume_from_checkpoint: str | Path | None = None
    ) -> None:
        self.interval, self.live, self.resume_from_checkpoint = interval, live, resume_from_checkpoint
        self.monitor: Monitor | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the monitor on the network, and on the optimizer inside what accelerate wraps around it."""
        optimizer, net = kwargs["optimizer"], kwargs["model"]
        while not hasattr(optimizer, "_optimizer_step_pre_hooks"):
            optimizer = optimizer.optimizer
        self.monitor = Monitor(net, optimizer, interval=self.interval, live=self.live)
        if not state.global_step:
            return
        told = self.resume_from_checkpoint or getattr(args, "resume_from_checkpoint", None)
        step = f"checkpoint-{state.global_step}"
        best = getattr(state, "best_model_checkpoint", None)
        folders = [Path(str(args.output_dir)) / step, *([Path(str(best)).parent / step] if best else [])]
        if isinstance(told, str | Path):
            folders.insert(0, Path(told))
        for folder in folders:
            saved = _saved(folder / FILE, net)
            if saved is not None:
                self.monitor.load_state_dict(saved)
                return
            if folder == Path(str(self.resume_from_checkpoint)):
                raise InputError(f"{folder}: the folder of a checkpoint of this network with {FILE} in it is accepted")
        self.monitor.start_at(state.global_step)
        self.monitor.updates.note(
            f"resumed at step {state.global_step} without a {FILE} of this run in {', '.join(map(str, folders))}: what was seen "
            "before is not known; MonitorCallback(resume_from_checkpoint=...) says where it is"
        )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Beside the checkpoint's other files."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if self.monitor is not None and state.is_world_process_zero and folder.is_dir():
            torch.save({**self.monitor.state_dict(), "weights": _size(kwargs["model"])}, folder / FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take it off."""
        if self.monitor is not None:
            self.monitor.close()


def _saved(file: Path, net: nn.Module) -> dict[str, Any] | None:
    """What a file holds, if there is one and it was saved beside the weights that the network has now: a folder may hold
    the checkpoint of another run at the same step."""
    if not file.is_file():
        return None
    saved: dict[str, Any] = torch.load(file, weights_only=True)
    return saved if isclose(saved.get("weights", _size(net)), _size(net), rel_tol=1e-5) else None


def _size(net: nn.Module) -> float:
    """The sum of the absolute values of all weights."""
    return sum(float(p.detach().double().abs().sum()) for p in net.parameters())
