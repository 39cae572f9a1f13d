"""What every step of a run does to every filter, summed up from one measurement to the next."""

from __future__ import annotations

from math import isnan
from typing import Any

import torch
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.theory.pull import PullShare, pull_share
from fullscale.measure import Activity
from fullscale.monitor import Monitor
from fullscale.monitor.state import SIZES
from fullscale.spec import RunSpec
from fullscale.thresholds import MEASURES

COLUMNS = {
    "selectivity": "share of the training images whose largest absolute activation is below 1e-3 of the filter's peak",
    "gamma": "absolute value of BatchNorm's scale",
    "peak": "largest absolute activation over the training images",
    "arrival": "share of the steps at which gamma or beta had a gradient other than 0",
    "square_gamma": "mean square of the loss's gradient of gamma",
    "square_weights": "the same of the filter's weights, mean over them",
    "share_gamma": "regularizer's share of gamma's updates: sum of its absolute parts over the sum of both absolute parts",
    "share_weights": "the same of the filter's weights, sums over them too",
    "size_gamma": "what the rule divides gamma's update by at the end, sqrt(v) under Adam, uncorrected for v's start at 0",
    "size_weights": "the same of the filter's weights, root of the mean square over them",
}
# Steps from one look of the monitor to the next: it says when a filter dies, and of what.
INTERVAL = 50
DEATH = ("step", "filter", "cause", "revived")


class Watch:
    """Follows every update of a run from its first step on, and alters none.

    Each is split by `undertow.pull_share`, all watched weights as one long vector, with a state of its own that goes on from
    step to step: so it stays known what of the buffers is the regularizer's.

    Args:
        net: a network before its first step, in which every BatchNorm reads a convolution or a linear layer.
        optimizer: of its parameters, before its first step, in one group.
        spec: the run.

    Raises:
        InputError: at the first step, for a network in which a BatchNorm reads something else.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        >>> spec = RunSpec("", 1.0, "sgd", "l2", lr=0.1, strength=0.1, batch=4, epochs=1, seed=0)
        >>> optimizer = Optimizer(net.parameters(), "sgd", "l2", lr=0.1, weight_decay=0.1)
        >>> watch = Watch(net, optimizer, spec)
        >>> net(torch.ones(4, 1, 3, 3)).sum().backward()
        >>> optimizer.step()
        >>> watch.steps
        1
    """

    def __init__(self, net: nn.Module, optimizer: Optimizer, spec: RunSpec) -> None:
        self.spec, self.steps, self.filters = spec, 0, 0
        self._params: list[Tensor] = []
        self._sizes: list[int] = []
        self._state: dict[str, Any] | None = None
        self._epochs: list[int] = []
        self._rows: dict[str, list[list[float | None]]] = {name: [] for name in COLUMNS}
        self._dead: dict[str, list[int]] = {}
        self._monitor = Monitor(net, optimizer, interval=INTERVAL)
        optimizer.register_step_pre_hook(self._follow)

    def _start(self) -> None:
        """The monitor has found the filters in the pass before the first step."""
        found = self._monitor.watched
        weights = [part.weight for part in found.parts if part.weight is not None and part.axis == 0]
        if len(weights) < len(found.parts) or not all(part.unit.batch for part in found.parts) or not weights:
            raise InputError(
                "watch of a network in which a BatchNorm reads a sum, or without any: one after each convolution is accepted"
            )
        self.filters, self._sizes = sum(found.sizes), found.sizes
        self._params = [*(part.scale for part in found.parts), *(part.shift for part in found.parts), *weights]
        device = weights[0].device
        self._sums = torch.zeros(3, sum(p.numel() for p in self._params), device=device)
        self._arrived = torch.zeros(self.filters, device=device)

    @torch.no_grad()
    def _follow(self, optimizer: Any, *_: Any) -> None:
        if not self._params:
            self._start()
        g = torch.cat([p.grad.reshape(-1) for p in self._params])  # type: ignore[union-attr]
        done = self.split(g, float(optimizer.param_groups[0]["lr"]))
        self._state = done.state
        pull, loss, square = self._sums
        pull += abs(done.pull)
        loss += abs(done.loss)
        square.addcmul_(g, g)
        self._arrived += (g[: self.filters] != 0) | (g[self.filters : 2 * self.filters] != 0)
        self.steps += 1

    def split(self, g: Tensor, lr: float) -> PullShare:
        """The coming step under gradient g at this learning rate; each (numbers,), all gammas, all betas, all weights."""
        if not self._params:
            self._start()
        spec, w = self.spec, torch.cat([p.detach().reshape(-1) for p in self._params])
        return pull_share(
            spec.optimizer, spec.coupling, w, g, self._state, lr=lr, strength=spec.strength, multiplier=lr / spec.lr,
            **dict(spec.hyper),
        )  # fmt: skip

    @torch.no_grad()
    def measured(self, epoch: int, activity: Activity) -> None:
        """Write down what came together since the measurement before this one, and begin anew."""
        pull, loss, square = map(self._by_filter, self._sums)
        size = self._by_filter(self._size() ** 2)
        found = {
            "selectivity": torch.cat(activity.selectivity),
            "gamma": torch.cat(activity.gamma).abs(),
            "peak": torch.cat(activity.peak),
            "arrival": self._arrived / self.steps,
        }
        for of in ("gamma", "weights"):
            found[f"square_{of}"] = square[of] / self.steps
            found[f"share_{of}"] = pull[of] / (pull[of] + loss[of])
            found[f"size_{of}"] = size[of].sqrt()
        for name, rows in self._rows.items():
            rows.append([None if isnan(x) else float(f"{x:.4g}") for x in found[name].tolist()])
        self._epochs.append(epoch)
        self._dead = {
            f"dead_by_{name}": torch.cat(activity.below(name, threshold)).int().tolist()
            for name, threshold in MEASURES.items()
        }
        self.steps = 0
        self._sums.zero_()
        self._arrived.zero_()

    def table(self) -> dict[str, Any]:
        """What was written down, as plain data.

        layers: number of filters of each; epochs: those measured; each of COLUMNS: a row an epoch, a number a filter, to four
        digits, None where there is none (the share of a filter that nothing moved, the size under a rule that has none);
        dead_by_activation, dead_by_scale: 1 for each filter that is so at the last measurement; deaths: by activation, the
        step, filter, cause and revival of each, as `Monitor.deaths` has them.
        """
        deaths = [row for row in self._monitor.deaths if row["measure"] == "activation"]
        died = {name: [row[name] for row in deaths] for name in DEATH}
        return {"layers": self._sizes, "epochs": self._epochs, **self._rows, **self._dead, "deaths": died}

    def _by_filter(self, row: Tensor) -> dict[str, Tensor]:
        """Of each filter, gamma's number and the mean over its weights: (filters,) both."""
        parts = row.double().split([p.numel() for p in self._params])
        means = [part.view(len(p), -1).mean(dim=1) for part, p in zip(parts, self._params, strict=True)]
        return {"gamma": torch.cat(means[: len(self._sizes)]), "weights": torch.cat(means[2 * len(self._sizes) :])}

    def _size(self) -> Tensor:
        """What the rule divides each update by, (numbers,); NaN where it divides by nothing."""
        state = self._state or {}
        name = next((name for name in SIZES if name in state), None)
        return torch.full_like(self._sums[0], torch.nan) if name is None else SIZES[name](state[name])
