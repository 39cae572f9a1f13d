"""Valid calls of what is public beside the names of `undertow`, room by room."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

import undertow
from dynamics import estimate
from dynamics.answers.pull_rate import Gradients
from dynamics.simulate import schedules
from dynamics.simulate.gradients import selective
from dynamics.simulate.kernel import source
from dynamics.simulate.together import simulate_together
from evidence import claim, registry, store
from evidence.merge import merge
from figures import style
from fullscale import checkpoint, cost, data, graph, measure, models, prune, spec, studies

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
    """The call, as `CALLS` holds it."""
    return function, args, kwargs


def net() -> nn.Module:
    """A small network with one BatchNorm, in evaluation mode."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()


def images() -> torch.Tensor:
    """Four images for it."""
    return torch.linspace(-1, 1, 64).reshape(4, 1, 4, 4)


@cache
def _activity() -> measure.Activity:
    return undertow.measure(net(), images())


@cache
def _digits() -> data.Images:
    return data.load("digits")


def _smaller(own: nn.Module) -> tuple[nn.Module, prune.Removal]:
    return undertow.remove_dead(own, example=images())


def _apart(w: np.ndarray, t: int) -> np.ndarray:
    return w - w.mean()


ROOMS: dict[str, Callable[[], Call]] = {
    "Gradients": lambda: call(Gradients, 1e-3, arrival=0.5),
    "simulate_together": lambda: call(
        simulate_together,
        "momentum",
        "l2",
        _apart,
        [0.0, 1.0],
        record=[0, 5],
        lr=0.1,
        strength=0.1,
        schedule=np.ones_like,
        state={"b": 0.5},
        seed=1,
        stream=0,
        fields=("w", "b"),
        momentum=0.9,
    ),
    "source": lambda: call(source, "sgd", "l2", selective, uniform=True, watch=False, device=False),
    "step_decay": lambda: call(schedules.step_decay, [2, 4], factor=0.1),
    "cosine": lambda: call(schedules.cosine, 4),
    "mean_interval": lambda: call(estimate.mean_interval, [1.0, 2.0, 3.0], "steps", "seeds", confidence=0.9),
    "ratio_interval": lambda: call(estimate.ratio_interval, [1.0, 2.0, 3.0], "steps", "seeds", confidence=0.9),
    "spread": lambda: call(estimate.spread, [1.0, 2.0, 3.0], "steps"),
    "every_cell": lambda: call(
        estimate.every_cell, {"a": [1.0, 2.0]}, "steps", "seeds", estimate.mean_interval, {"b": 1}, level=0.9
    ),
    "holm": lambda: call(estimate.holm, {"a": [1.0, 2.0]}, {"a": [0.0]}, "steps", "seeds", level=0.9),
    "above": lambda: call(claim.above, 0.0),
    "below": lambda: call(claim.below, 0.0),
    "never_above": lambda: call(claim.never_above, 0.0),
    "within": lambda: call(claim.within, 0.0, 1.0),
    "world": lambda: call(registry.world, "w", chapter="", group="", meaning=1),
    "claim": lambda: call(
        registry.claim,
        "X",
        source="s",
        experiment="e",
        decision=claim.above(0),
        sentence="It is.",
        formula="",
        figure="",
        margin="before",
        against=["Y"],
    ),
    "Store": lambda: call(store.Store, Path("runs.sqlite"), reading=False),
    "merge": lambda: call(merge, [Path("nowhere.sqlite")], Path("into.sqlite")),
    "Picture": lambda: call(style.Picture, "line", Figure(), "n = 2", "a line"),
    "save": lambda: call(style.save, style.Picture("line", Figure((1, 1)), "n = 2", "a line"), Path(".")),
    "load": lambda: call(data.load, "nowhere"),
    "open_source": lambda: call(data.open_source, "nowhere"),
    "check_source": lambda: call(data.check_source, "nowhere"),
    "prepared": lambda: call(data.prepared, _digits(), ("3", "8"), size=4, label_noise=0.1),
    "canonical": lambda: call(data.canonical, _digits(), ("3", "8"), size=4, label_noise=0.1),
    "Images.validation": lambda: call(_digits().validation, share=0.2, seed=1),
    "Images.select": lambda: call(_digits().select, ["3", "8"]),
    "Images.resized": lambda: call(_digits().resized, 4),
    "Images.mislabelled": lambda: call(_digits().mislabelled, 0.1),
    "Split": lambda: call(data.Split, np.zeros((2, 1, 3, 3), np.uint8), np.array([0, 1])),
    "basicnet": lambda: call(models.basicnet, 0.125, in_channels=1, classes=3),
    "Architecture": lambda: call(models.Architecture, "basicnet", width=0.125, in_channels=1, classes=3, head="cifar"),
    "NetConfig": lambda: call(models.NetConfig, (4, 4), (1, 2), 1, 3),
    "build": lambda: call(models.build, models.Architecture("basicnet", width=0.125)),
    "parameters": lambda: call(cost.parameters, net()),
    "multiply_adds": lambda: call(cost.multiply_adds, net(), images()),
    "trace": lambda: call(graph.trace, net(), images(), training=False),
    "taken": lambda: call(graph.taken, images()),
    "plain": lambda: call(graph.plain, net()),
    "evaluation": lambda: call(graph.evaluation, net()),
    "untouched": lambda: call(graph.untouched, net(), training=False),
    "batches": lambda: call(measure.batches, net(), images(), size=2),
    "Activity.inactive_by_activation": lambda: call(_activity().inactive_by_activation, threshold=1e-3),
    "Activity.inactive_by_scale": lambda: call(_activity().inactive_by_scale, threshold=1e-3),
    "Activity.constant": lambda: call(_activity().constant, threshold=1e-3),
    "Activity.sweep": lambda: call(_activity().sweep, [1e-3]),
    "Activity.below": lambda: call(_activity().below, "scale", 1e-3),
    "Certificate.passes": lambda: call(undertow.certify(net(), net(), images()).passes, 1e-3, on="both"),
    "Study": lambda: call(
        studies.Study,
        "s",
        title="t",
        fixed={"lr": 0.1},
        axes={"seed": [0, 1]},
        override=[{"when": {"seed": 1}, "lr": 0.2}],
        exclude=[{"seed": 0}],
    ),
    "find_study": lambda: call(studies.find_study, "digits"),
    "find_studies": lambda: call(studies.find_studies, "paper-1-rates", size=32),
    "checkpoint.save": lambda: call(checkpoint.save, models.basicnet(0.0625), "net.safetensors"),
    "checkpoint.load": lambda: call(checkpoint.load, "nowhere.safetensors"),
    "prune_optimizer": lambda: call(
        prune.prune_optimizer, torch.optim.SGD((own := net()).parameters(), lr=0.1), own, *_smaller(own)
    ),
    "narrow_extra": lambda: call(prune.narrow_extra, {}, _smaller(net())[1]),
    "RunSpec": lambda: call(
        spec.RunSpec,
        digest="0" * 64,
        width=0.125,
        optimizer="adam",
        coupling="l2",
        lr=1e-3,
        strength=1e-4,
        batch=16,
        epochs=1,
        seed=0,
        schedule="step",
        hyper=(("beta1", 0.9),),
    ),
}
