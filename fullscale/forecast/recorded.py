"""What a training run keeps for a forecast of its filters' deaths, and what became of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dynamics.optimizer import Optimizer
from fullscale.forecast.seen import MOMENTS, seen_at
from fullscale.measure import Activity
from fullscale.monitor import Monitor
from fullscale.spec import RunSpec
from fullscale.thresholds import INACTIVE_ACTIVATION

# Steps from one look of the monitor to the next.
INTERVAL = 50
DEATH = ("step", "filter", "cause", "revived")


class Recorded:
    """A monitor in a training run, from its first step on; it alters nothing.

    Args:
        net: a network before its first step.
        optimizer: of its parameters, before its first step.
        spec: the run.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        >>> spec = RunSpec("", 1.0, "sgd", "l2", lr=0.1, strength=0.1, batch=4, epochs=1, seed=0)
        >>> optimizer = Optimizer(net.parameters(), "sgd", "l2", lr=0.1, weight_decay=0.1)
        >>> recorded = Recorded(net, optimizer, spec)
        >>> net(torch.ones(4, 1, 3, 3)).sum().backward()
        >>> optimizer.step()
        >>> recorded.monitor.step
        1
    """

    def __init__(self, net: nn.Module, optimizer: Optimizer, spec: RunSpec) -> None:
        self.spec = spec
        self.monitor = Monitor(net, optimizer, interval=INTERVAL)
        self._dead: list[int] = []

    def measured(self, epoch: int, activity: Activity) -> None:
        """Which filters are inactive over the training images now."""
        self._dead = (torch.cat(activity.peak) < INACTIVE_ACTIVATION).int().tolist()

    def table(self) -> dict[str, Any]:
        """What was recorded, as plain data.

        dead_by_activation: 1 for each filter that is so at the last measurement; deaths: by activation, the step, filter, cause and
        revival of each, as `Monitor.deaths` has them; seen: by MOMENTS, as text, what was known then (`Seen.as_dict`), without those
        before the monitor's second look.
        """
        deaths = [row for row in self.monitor.deaths if row["measure"] == "activation"]
        history, total = self.monitor.history, self.monitor.step
        moments = {f"{moment:g}": round(moment * total) for moment in MOMENTS if round(moment * total) >= INTERVAL}
        return {
            "dead_by_activation": self._dead,
            "deaths": {name: [row[name] for row in deaths] for name in DEATH},
            "seen": {name: seen_at(history, step, batch=self.spec.batch).as_dict() for name, step in moments.items()},
        }
