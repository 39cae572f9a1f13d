"""The forecast of what trains: of a monitor in anyone's loop, and of a training run's file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dynamics.answers.scheduler import rates as rates_of_scheduler
from dynamics.errors import InputError
from dynamics.given import number, whole
from dynamics.optimizer import Optimizer
from fullscale.checkpoint import Saved, load
from fullscale.forecast.answer import MOST, Forecast, forecast
from fullscale.forecast.score import area, area_within, brier
from fullscale.forecast.seen import Seen, seen_at
from fullscale.monitor import Monitor
from fullscale.monitor.state import understood
from fullscale.resume import monitor_state
from fullscale.spec import RunSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dynamics.answers.setting import Setting


def of_monitor(
    monitor: Monitor, steps: int, *, batch: int | None = None, scheduler: Any = None, every: int = 1
) -> Forecast:
    """See `Monitor.forecast`."""
    steps = whole("steps", steps, 1, MOST)
    seen, setting = _known(monitor, batch)
    multipliers = None
    if scheduler is not None:
        optimizer = monitor.updates.optimizer
        index = _group(monitor)
        coming = rates_of_scheduler(scheduler, optimizer, steps, every)[:, index]
        lr = float(optimizer.param_groups[index]["lr"])
        if lr:
            multipliers = coming / lr
        else:  # a warmup that begins at 0
            setting = replace(setting, lr=float(coming.max()))
            multipliers = coming / setting.lr if setting.lr else np.zeros(steps)
    return forecast(seen, setting, steps, multipliers=multipliers)


def _known(monitor: Monitor, batch: int | None) -> tuple[Seen, Setting]:
    images = monitor.images if batch is None else whole("batch", batch, 2)
    if images < 2:
        raise InputError("batch of a monitor that has seen none: give batch=, the images a step")
    seen = _looked(monitor, None, images)
    optimizer = monitor.updates.optimizer
    setting, _ = understood(optimizer, optimizer.param_groups[_group(monitor)])
    return seen, setting


def _looked(monitor: Monitor, step: int | None, batch: int) -> Seen:
    """What it has seen up to a step. InputError before its second look: the first is of one step."""
    history = monitor.history
    looks = len(history["step"]) if step is None else int((history["step"].values <= step).sum())
    if looks < 2:
        said = "" if step is None else f" up to step {step:,}"
        raise InputError(
            f"a monitor with {looks} observation(s){said}: two, which are {monitor.interval:,} steps apart, are accepted"
        )
    return seen_at(history, step, batch=batch)


def _group(monitor: Monitor) -> int:
    """The parameter group that holds most scales."""
    held = [{id(p) for p in group["params"]} for group in monitor.updates.optimizer.param_groups]
    counts = [sum(part.size for part in monitor.watched.parts if id(part.scale) in group) for group in held]
    if not any(counts):
        raise InputError(
            "forecast of a network whose optimizer holds no scales: norms with a scale that it trains are accepted"
        )
    return int(np.argmax(counts))


@dataclass(frozen=True, eq=False)
class Went:
    """How a forecast that was made for the past came out: of the filters that were alive then, how many were dead at the end, and
    the scores of the forecast and of small abs(gamma). NaN where none, or all of them died."""

    alive: int
    died: int
    within: float
    within_gamma: float
    pooled: float
    pooled_gamma: float
    brier: float

    def __str__(self) -> str:
        return (
            f"it came so: of {self.alive:,} filters alive then {self.died:,} are dead; area under the ROC curve within layers "
            f"{self.within:.3f} (small abs(gamma) {self.within_gamma:.3f}), pooled {self.pooled:.3f} ({self.pooled_gamma:.3f}), "
            f"Brier score {self.brier:.3f}"
        )


@dataclass(frozen=True, eq=False)
class OfRun:
    """A run's file read for a forecast.

    seen, setting, multipliers: what `forecast` and `changes` take; steps: those to come; dead: which filters are dead now, None
    where the forecast is of the future.
    """

    seen: Seen
    setting: Setting
    steps: int
    multipliers: NDArray[np.float64]
    dead: NDArray[np.bool_] | None

    def forecast(self) -> Forecast:
        """To the end of the run, or, from the past, to where the file stands."""
        return forecast(self.seen, self.setting, self.steps, multipliers=self.multipliers)

    def went(self, found: Forecast) -> Went | None:
        """How a forecast of the past came out, None of the future."""
        if self.dead is None:
            return None
        of = np.flatnonzero(self.seen.alive)
        dies, layer = self.dead[of], self.seen.layer[of]
        p, gamma = found.probability[of], -self.seen.now[of]
        return Went(
            len(of), int(dies.sum()),
            area_within(p, dies, layer), area_within(gamma, dies, layer), area(p, dies), area(gamma, dies), brier(p, dies),
        )  # fmt: skip


def of_run(path: Path, at: float | None = None) -> OfRun:
    """What the file of a training run, `undertow train --record`, says for a forecast.

    path: the run's training.safetensors. at: share of the steps it has taken, in (0, 1): what was known then, to be compared with
    what came; None: now.

    Raises InputError for a file that is none, of a run that was not recorded, and of one that has ended, without `at`.
    """
    saved = load(path)
    spec = _spec(path, saved)
    state = monitor_state(saved)
    if state is None:
        raise InputError(f"{path} was trained without a record: undertow train --record keeps what a forecast needs")
    now = int(state["step"])
    total = now // saved.notes["epoch"] * spec.epochs
    step, end = None, total
    if at is not None:
        step, end = round(number("at", at, 0.0, 1.0) * now), now
        if not 0 < step < now:
            raise InputError(
                f"at {at:g}: a share of the {now:,} steps that were taken, above 0 and below 1, is accepted"
            )
    elif now >= total:
        raise InputError(f"{path} has ended, at step {now:,}: a run that goes on, or --at, is accepted")
    monitor = _monitor(saved, spec, state)
    seen = _looked(monitor, step, spec.batch)
    dead = None if at is None else ~monitor.history["alive"].values[-1]
    setting, _ = understood(monitor.updates.optimizer, monitor.updates.optimizer.param_groups[0])
    coming = np.arange(seen.step + 1, end)
    return OfRun(seen, setting, len(coming), np.asarray(spec.multiplier(total)(coming)), dead)


def _spec(path: Path, saved: Saved) -> RunSpec:
    if not isinstance(saved.notes.get("spec"), dict) or "epoch" not in saved.notes:
        raise InputError(
            f"{path} holds no training run: the training.safetensors of undertow train --record is accepted"
        )
    return RunSpec.of(saved.notes["spec"])


def _monitor(saved: Saved, spec: RunSpec, state: dict[str, Any]) -> Monitor:
    """As it was when the file was written."""
    net = saved.net.train()
    numbers: dict[str, Any] = {"weight_decay": spec.strength, **dict(spec.hyper)}
    optimizer = Optimizer(net.parameters(), spec.optimizer, spec.coupling, lr=spec.lr, **numbers)
    config: Any = net.config
    side = spec.size or _SIDE
    monitor = Monitor(net, optimizer, example=torch.zeros(2, config.in_channels, side, side))
    monitor.close()
    monitor.load_state_dict(state)
    return monitor


# Of images as they are: every network of fullscale.models takes it.
_SIDE = 64
