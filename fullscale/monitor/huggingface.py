"""The monitor as a callback of the Trainer of Hugging Face's Transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fullscale.monitor.core import INTERVAL, Monitor

FILE = "monitor.pt"


class MonitorCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Trainer(callbacks=[MonitorCallback()]): `monitor` is there from the start of training, and stays to be read after it.

    It is saved as monitor.pt in each checkpoint, and goes on from there with resume_from_checkpoint. interval, live: as in
    `fullscale.monitor.Monitor`. Raises InputError as Monitor does.
    """

    def __init__(self, interval: int = INTERVAL, *, live: bool = False) -> None:
        self.interval, self.live = interval, live
        self.monitor: Monitor | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the monitor on the network, and on the optimizer inside what accelerate wraps around it."""
        optimizer = kwargs["optimizer"]
        while not hasattr(optimizer, "_optimizer_step_pre_hooks"):
            optimizer = optimizer.optimizer
        self.monitor = Monitor(kwargs["model"], optimizer, interval=self.interval, live=self.live)
        saved = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / FILE
        if state.global_step and saved.is_file():
            self.monitor.load_state_dict(torch.load(saved, weights_only=True))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Beside the checkpoint's other files."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if self.monitor is not None and state.is_world_process_zero and folder.is_dir():
            torch.save(self.monitor.state_dict(), folder / FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take it off."""
        if self.monitor is not None:
            self.monitor.close()
