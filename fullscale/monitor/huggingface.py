"""The monitor as a callback of the Trainer of Hugging Face's Transformers."""

from __future__ import annotations

from math import isclose
from os.path import isfile
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dynamics.errors import InputError
from dynamics.given import flag, line, path, shown, whole
from fullscale.monitor.core import INTERVAL, Monitor
from fullscale.monitor.stored import read, write

FILE = "monitor.safetensors"
# Before it was safetensors: torch's own format, which is a pickle, and is not read.
FORMER = "monitor.pt"
# Under which a checkpoint's trainer_state.json tells the output folder of its run.
FOLDER = "undertow monitor"


class MonitorCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Trainer(callbacks=[MonitorCallback()]): `monitor` is there from the start of training, and stays to be read after it.

    It is saved as monitor.safetensors in each checkpoint (of several such callbacks the second's is monitor-2.safetensors) and
    goes on from there with resume_from_checkpoint: from the checkpoint of that step in the output folder, or in that of the
    run that the checkpoint is of. Where a checkpoint was moved, its folder has to be told here too; else, and where the file
    is missing, damaged or of a run with other weights, the monitor begins anew and says so in `note`.

    interval, live: as in `fullscale.monitor.Monitor`. resume_from_checkpoint: what Trainer.train is given, which it does not
    hand on to callbacks.
    Raises InputError as Monitor does, and for a folder that is told and has no whole file of the network as it is resumed.
    """

    def __init__(
        self, interval: int = INTERVAL, *, live: bool = False, resume_from_checkpoint: str | Path | bool | None = None
    ) -> None:
        self.interval, self.live = whole("interval", interval, 1), flag("live", live)
        if not isinstance(resume_from_checkpoint, str | Path | bool | None):
            raise InputError(
                f"resume_from_checkpoint {shown(resume_from_checkpoint)}: the folder of a checkpoint, True or False is accepted"
            )
        if isinstance(resume_from_checkpoint, str | Path):
            path("resume_from_checkpoint", resume_from_checkpoint)
        self.resume_from_checkpoint = resume_from_checkpoint
        self.monitor: Monitor | None = None
        self._file = FILE

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the monitor on the network and on its optimizer."""
        if self.monitor is not None:
            self.monitor.close()  # of a training that an error ended
        before = getattr(state, "_monitors", 0)
        state._monitors = before + 1  # type: ignore[attr-defined, unused-ignore]
        self._file = FILE if not before else FILE.replace(".", f"-{before + 1}.")
        self.monitor = Monitor(kwargs["model"], kwargs["optimizer"], interval=self.interval, live=self.live)
        kept = getattr(state, "stateful_callbacks", None)
        kept = kept if isinstance(kept, dict) else {}
        if state.global_step:
            try:
                self._resume(args, state, kept.get(FOLDER), self.monitor, kwargs["model"])
            except InputError:
                self.monitor.close()
                raise
        kept[FOLDER] = str(Path(str(args.output_dir)).absolute())

    def _resume(self, args: Any, state: Any, former: Any, monitor: Monitor, net: nn.Module) -> None:
        step = f"checkpoint-{state.global_step}"
        best = getattr(state, "best_model_checkpoint", None)
        told = (self.resume_from_checkpoint, getattr(args, "resume_from_checkpoint", None))
        folders = [Path(folder) for folder in told if isinstance(folder, str | Path)]
        folders.append(Path(str(args.output_dir)) / step)
        folders += [Path(former) / step] if isinstance(former, str) else []
        folders += [Path(str(best)).parent / step] if best else []
        folders = list(dict.fromkeys(folder.absolute() for folder in folders))
        missed = []
        for folder in folders:
            try:
                saved = _saved(folder, self._file, net)
                monitor.load_state_dict(saved)
                return
            except InputError as error:
                if isinstance(self.resume_from_checkpoint, str | Path) and folder == folders[0]:
                    raise
                missed.append(str(error))
        monitor.start_at(state.global_step)
        monitor.updates.note(
            f"resumed at step {state.global_step}; what was seen before is not known ({'; '.join(missed)}): "
            "MonitorCallback(resume_from_checkpoint=...) says where it is"
        )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Beside the checkpoint's other files."""
        if self.monitor is None or not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        try:
            if not folder.is_dir():  # as in a search for hyperparameters
                raise InputError(f"there is no folder {folder}")
            write(folder / self._file, {**self.monitor.state_dict(), "weights": _size(kwargs["model"])})
        except InputError as error:  # the training goes on
            self.monitor.updates.note(f"not saved at step {state.global_step}: {error}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take it off."""
        if self.monitor is not None:
            self.monitor.close()


def _saved(folder: Path, name: str, net: nn.Module) -> dict[str, Any]:
    """What the file in a folder holds. InputError unless it is whole and was saved beside the weights that the network has
    now: a folder may hold the checkpoint of another run at the same step."""
    if not isfile(folder / name):  # a folder that a checkpoint tells may be none that a file system can hold
        former = f" ({FORMER} there is of an older version, and not read)" if isfile(folder / FORMER) else ""
        raise InputError(f"{line(folder)}: no {name} there{former}")
    saved = read(folder / name)
    weights = saved.pop("weights", None)
    if not isinstance(weights, float) or not isclose(weights, _size(net), rel_tol=1e-5):
        raise InputError(f"{folder / name}: of a run with other weights")
    return saved


def _size(net: nn.Module) -> float:
    """The sum of the absolute values of all weights."""
    return sum(float(p.detach().double().abs().sum()) for p in net.parameters())
