"""The monitor as a callback of Lightning."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dynamics.errors import InputError
from fullscale.monitor.core import INTERVAL, Monitor


class MonitorCallback(Callback):
    """Trainer(callbacks=[MonitorCallback()]): `monitor` is there from the start of the fit, and stays to be read after it.

    It is saved in the checkpoints and goes on from them. interval, live: as in `fullscale.monitor.Monitor`; which: the
    place of the optimizer to be watched, where there are several; each may have a callback of its own.
    Raises InputError where there is no such optimizer, and as Monitor does.
    """

    def __init__(self, interval: int = INTERVAL, *, live: bool = False, which: int = 0) -> None:
        self.interval, self.live, self.which = interval, live, which
        self.monitor: Monitor | None = None
        self._loaded: dict[str, Any] = {}

    @property
    def state_key(self) -> str:
        """Under which a checkpoint keeps it: one for each optimizer, that of the first as it has always been."""
        return self._generate_state_key(which=self.which) if self.which else super().state_key

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the monitor on."""
        if not 0 <= self.which < len(trainer.optimizers):
            raise InputError(
                f"which {self.which}: the trainer has {len(trainer.optimizers)} optimizers, counted from 0"
            )
        optimizer = trainer.optimizers[self.which]
        self.monitor = Monitor(pl_module, optimizer, interval=self.interval, live=self.live)
        if self._loaded:
            self.monitor.load_state_dict(self._loaded)
            self._loaded = {}

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take it off, also after an error."""
        if self.monitor is not None:
            self.monitor.close()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken up when the fit starts."""
        self._loaded = state_dict
