"""The monitor as a callback of Lightning."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dynamics.errors import InputError
from dynamics.given import flag, whole
from fullscale.monitor.core import INTERVAL, Monitor
from fullscale.monitor.stored import checked


class MonitorCallback(Callback):
    """Trainer(callbacks=[MonitorCallback()]): `monitor` is there from the start of the fit, and stays to be read after it.

    It is saved in the checkpoints and goes on from them; a checkpoint without it leaves a note, and the monitor begins anew.
    interval, live: as in `fullscale.monitor.Monitor`; which: the place of the optimizer to be watched, where there are several;
    each may have one callback of its own, and the Trainer refuses a second one of the same `which`.
    Raises InputError where there is no such optimizer, for what is no state of its own, and as Monitor does.
    """

    def __init__(self, interval: int = INTERVAL, *, live: bool = False, which: int = 0) -> None:
        self.interval, self.live = whole("interval", interval, 1), flag("live", live)
        self.which = whole("which", which, 0)
        self.monitor: Monitor | None = None
        self._loaded: dict[str, Any] = {}

    @property
    def state_key(self) -> str:
        """Under which a checkpoint keeps it: one for each optimizer, that of the first as it has always been."""
        return self._generate_state_key(which=self.which) if self.which else super().state_key

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the monitor on."""
        count = len(trainer.optimizers)
        if self.which >= count:
            raise InputError(f"which {self.which}: the trainer has {count} optimizers, counted from 0")
        optimizer = trainer.optimizers[self.which]
        self._close()
        self.monitor = Monitor(pl_module, optimizer, interval=self.interval, live=self.live)
        if self._loaded:
            self.monitor.load_state_dict(self._loaded)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so, if a training goes on that the monitor has not seen."""
        if self.monitor is not None and trainer.global_step and not self._loaded:
            if len(trainer.optimizers) == 1:
                self.monitor.start_at(trainer.global_step)
            self.monitor.updates.note(
                f"resumed at step {trainer.global_step} without a state of this callback: what was seen before is not known"
                + ("" if len(trainer.optimizers) == 1 else ", and steps are counted from here")
            )
        self._loaded = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take it off; the Trainer does not call teardown then."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take it off."""
        self._close()

    def _close(self) -> None:
        if self.monitor is not None:
            self.monitor.close()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken up when the fit starts. InputError for what is no state of a monitor."""
        self._loaded = checked(state_dict)
