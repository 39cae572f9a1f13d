"""The dial checked by runs: a network's strength is turned, at a moment, to what theory names for a share of dead filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from evidence.store import Store
from fullscale.data import Images, load
from fullscale.execution import Execution
from fullscale.forecast.answer import forecast
from fullscale.forecast.dial import changes
from fullscale.forecast.recorded import Recorded
from fullscale.forecast.runs import DESIGN, DIAL, MOMENT, SHARES
from fullscale.forecast.seen import seen_at
from fullscale.measure import measured
from fullscale.models import Architecture
from fullscale.monitor.state import understood
from fullscale.outcome import graphs_of, loss_and_error
from fullscale.spec import RunSpec
from fullscale.studies import find_study
from fullscale.studies.images import read
from fullscale.studies.runs import asked
from fullscale.thresholds import INACTIVE_ACTIVATION
from fullscale.train import drawn, epoch_by_epoch, feeds_of, one_thread

# Of the first setting of the design runs; of no other run.
SEEDS = (90, 91, 92, 93, 94)


def conduct(store: Store, say: Callable[[str], None]) -> None:
    """Run what is not stored yet, and say a line for each."""
    one_thread()
    first = asked(find_study(DESIGN[0]))[0]
    found = read([first.source], None)[first.source]
    images = load(first.source.data)
    for seed in SEEDS:
        for share in SHARES:
            spec = replace(first.on(found), seed=seed)
            key = {"run": spec.as_dict(), "share": share, "moment": MOMENT}
            if store.get(DIAL, key) is None:
                summary = turned(spec, images, share)
                store.put(DIAL, key, summary=summary, curves={})
                say(
                    f"dial, seed {seed}: asked {share:.0%}, strength {summary['strength']:.3g}, came {summary['came']:.1%}"
                )


def turned(spec: RunSpec, images: Images, share: float, moment: float = MOMENT) -> dict[str, float]:
    """Train a network; at a moment ask theory for the strength at which this share of all filters is dead at the end, and go on
    with it.

    Args:
        spec: the run, under one rule that takes weights one by one.
        images: those that it is of.
        share: of the filters, in [0, 1].
        moment: share of the training at whose nearest epoch the strength is turned.

    Returns:
        strength: the one named; expected: the share that theory then expects; before: what it expected without the change;
        came: the share inactive on the whole training set at the end; test_error.

    Raises:
        InputError: for other images, and where the strength is a dial without effect.
    """
    (feed,) = feeds_of([spec], images, "cpu")
    (net,) = drawn(Architecture(spec.model, spec.width, feed.shape[0], len(feed.classes), spec.head), [spec.seed])
    net.to(memory_format=Execution().layout(net))  # type: ignore[call-overload]
    numbers: dict[str, Any] = {"weight_decay": spec.strength, **dict(spec.hyper)}
    optimizer = Optimizer(net.parameters(), spec.optimizer, spec.coupling, lr=spec.lr, **numbers)
    monitor = Recorded(net, optimizer, spec, feed.shape).monitor
    total, plan = spec.epochs * feed.steps(spec.batch), spec.multiplier(spec.epochs * feed.steps(spec.batch))
    orders = [torch.Generator().manual_seed(spec.seed)]
    found: dict[str, float] = {}
    loop = epoch_by_epoch(net, optimizer, [feed], orders, lambda steps: spec.lr * plan(steps), total, spec.batch)
    for epoch, _ in enumerate(loop, 1):
        if epoch == max(1, round(moment * spec.epochs)):
            seen = seen_at(monitor.history, batch=spec.batch)
            setting, _ = understood(optimizer, optimizer.param_groups[0])
            coming = np.arange(monitor.step, total)
            multipliers = np.asarray(plan(coming))
            before = forecast(seen, setting, len(coming), multipliers=multipliers).share
            named = [
                c for c in changes(seen, setting, len(coming), share, multipliers=multipliers) if c.knob == "strength"
            ]
            if not named:
                raise InputError(f"strength {spec.strength}: one that changes what dies is accepted")
            strength = spec.strength * named[0].factor
            for group in optimizer.param_groups:
                group["weight_decay"] = strength
            found = {"strength": strength, "expected": named[0].share, "before": before}
    optimizer.eval()
    dead = torch.cat(measured(net, feed.training(1024), graphs_of(net)).peak) < INACTIVE_ACTIVATION
    return found | {"came": float(dead.float().mean()), "test_error": loss_and_error(net, feed.test(1024))[1]}
