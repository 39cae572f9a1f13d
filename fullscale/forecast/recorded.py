"""What a training run keeps for a forecast of its filters' deaths, and what became of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.checkpoint import Saved
from fullscale.forecast.seen import MOMENTS, seen_at
from fullscale.measure import Activity
from fullscale.monitor import Monitor
from fullscale.resume import monitor_state
from fullscale.spec import RunSpec
from fullscale.thresholds import INACTIVE_ACTIVATION

# Steps from one look of the monitor to the next.
INTERVAL = 50
DEATH = ("step", "filter", "cause", "revived")


class Recorded:
    """A monitor in a training run, from its first step on; it alters nothing.

    Args:
        net: the network.
        optimizer: of its parameters.
        spec: the run.
        shape: of an image, (C, H, W).
        saved: the file that the run goes on from; None: it begins.

    Raises:
        InputError: for a file without a monitor's state.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        >>> spec = RunSpec("", 1.0, "sgd", "l2", lr=0.1, strength=0.1, batch=4, epochs=1, seed=0)
        >>> optimizer = Optimizer(net.parameters(), "sgd", "l2", lr=0.1, weight_decay=0.1)
        >>> recorded = Recorded(net, optimizer, spec, (1, 3, 3))
        >>> net(torch.ones(4, 1, 3, 3)).sum().backward()
        >>> optimizer.step()
        >>> recorded.monitor.step
        1
    """

    def __init__(
        self, net: nn.Module, optimizer: Optimizer, spec: RunSpec, shape: tuple[int, ...], saved: Saved | None = None
    ) -> None:
        self.spec = spec
        parameter = next(net.parameters())
        # Two images: BatchNorm has no variance of one.
        example = torch.zeros((2, *shape), device=parameter.device, dtype=parameter.dtype)
        self.monitor = Monitor(net, optimizer, interval=INTERVAL, example=example)
        self._dead: list[int] = []
        if saved is not None:
            state = monitor_state(saved)
            if state is None:
                raise InputError(
                    "record of a run whose file holds none: one that was recorded from its first step is accepted"
                )
            self.monitor.load_state_dict(state)

    def measured(self, epoch: int, activity: Activity) -> None:
        """Which filters are inactive over the training images now."""
        self._dead = (torch.cat(activity.peak) < INACTIVE_ACTIVATION).int().tolist()

    def table(self) -> dict[str, Any]:
        """What was recorded, as plain data.

        dead_by_activation: 1 for each filter that is so at the last measurement; deaths: by activation, the step, filter, cause
        and revival of each, as `Monitor.deaths` has them; seen: by MOMENTS, as text, what was known then (`Seen.as_dict`),
        without those before the monitor's second look.
        """
        deaths = [row for row in self.monitor.deaths if row["measure"] == "activation"]
        history, total = self.monitor.history, self.monitor.step
        moments = {f"{moment:g}": round(moment * total) for moment in MOMENTS if round(moment * total) >= INTERVAL}
        return {
            "dead_by_activation": self._dead,
            "deaths": {name: [row[name] for row in deaths] for name in DEATH},
            "seen": {name: seen_at(history, step, batch=self.spec.batch).as_dict() for name, step in moments.items()},
        }
