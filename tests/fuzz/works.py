"""Valid calls of what the rooms are made from: formulas, rules, stores, graphs, training, worlds and pictures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import xarray as xr

import undertow
from dynamics.answers.predict import equilibrium_rms
from dynamics.couplings import COUPLINGS, Coupling
from dynamics.estimate import Estimate
from dynamics.libraries import readers
from dynamics.libraries.reference import libraries, offers
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.theory import formula
from evidence import registry, store, study
from evidence.progress import Live
from figures import alive, settings, silence, verdicts
from fullscale import data, export, graph, measure, models, monitor, prune, spec, sweep, watched
from fullscale import train as training
from fullscale.execution import Execution
from fullscale.studies import asked, find_study, on_images
from fuzz.rooms import Call, call, images, net
from synthetic.silence import Silence

SGD, L2 = RULES["sgd"], COUPLINGS["l2"]


def _step(w: Any, g: Any, lr: Any) -> tuple[Any]:
    return (w - lr * g,)


def _half(strength: Any, lr: Any, multiplier: Any) -> Any:
    return strength * lr / 2


def _kept() -> store.Store:
    return store.Store(Path("runs.sqlite"))


def _traced() -> graph.Graph:
    return graph.trace(net(), images())


def _spec(digest: str = "0" * 64) -> spec.RunSpec:
    return spec.RunSpec(
        digest=digest, width=0.0625, optimizer="sgd", coupling="l2", lr=0.1, strength=0.0, batch=16, epochs=1, seed=0
    )


def _eight() -> data.Images:
    return data.prepared(data.load("digits"), ("3", "8"), 8, 0.0)


WORKS: dict[str, Callable[[], Call]] = {
    **{
        f"formula.{function.__name__}": lambda function=function: call(function, SGD, L2)  # type: ignore[misc]
        for function in (
            formula.fixed_point,
            formula.stability,
            formula.effective_decay,
            formula.silent_step,
            formula.at_eps_zero,
            formula.update,
        )
    },
    "formula.unchanged": lambda: call(
        formula.unchanged, SGD, L2, ("w", "strength"), without_gradient=False, without_eps=True
    ),
    "formula.symbol": lambda: call(formula.symbol, "lr"),
    "formula.text": lambda: call(formula.text, formula.symbol("lr")),
    "formula.spoken": lambda: call(formula.spoken, formula.symbol("lr")),
    "equilibrium_rms": lambda: call(equilibrium_rms, undertow.parse("sgd lr=0.1 l2=0.1"), 1.0, arrival=0.5),
    "reader": lambda: call(readers.reader, torch.optim.SGD(net().parameters(), lr=0.1)),
    "offers": lambda: call(offers, SGD, L2),
    "libraries": lambda: call(libraries, SGD, L2),
    "Estimate": lambda: call(Estimate, 2.0, 1.0, 3.0, 5, "steps", "smallest to largest", samples=(1.0, 3.0)),
    "Rule": lambda: call(
        Rule, "mine", _step, (), {}, {}, 0.1, paper="", semantics="", label="", starts={}, unit="weight",
        clock_follows_lr=False, average=None, memory="", divides_by="", ranges={}, written={},
    ),
    "Coupling": lambda: call(Coupling, "halved", "half", "made up", before=_half),
    "key_of": lambda: call(store.key_of, "coin", {"flips": 1}),
    "Store.get": lambda: call(_kept().get, "coin", {"flips": 1}),
    "Store.record": lambda: call(_kept().record, "0" * 64),
    "Store.put": lambda: call(
        _kept().put, "coin", {"flips": 1}, summary={"heads": 1}, curves={}, status="done", error=""
    ),
    "Run": lambda: call(study.Run, "coin", {"flips": 1}, "a coin", lambda: {}, group=""),
    "run_all": lambda: call(
        study.run_all, [], _kept(), ThreadPoolExecutor(1), lambda *said: None, fresh=False, retry=("failed",),
        strict=True, curves=False
    ),
    "world_data": lambda: call(study.world_data, ["nowhere"], _kept(), ThreadPoolExecutor(1), Live(), fresh=False),
    "load_worlds": lambda: call(registry.load_worlds, Path("nowhere.py")),
    "find_world": lambda: call(registry.find_world, "silence"),
    "find_claims": lambda: call(registry.find_claims, ["S5"], ["silence"]),
    "figure": lambda: call(registry.figure, "f", "w"),
    "outputs": lambda: call(graph.outputs, {"logits": images()}),
    "units": lambda: call(graph.units, _traced()),
    "measured": lambda: call(measure.measured, net(), images(), measure.Graphs(), batch=4),
    "zeroed": lambda: call(
        measure.zeroed, net(), undertow.measure(net(), images()), [(images(), torch.tensor([0, 1, 0, 1]))], (1e-3,)
    ),
    "example_for": lambda: call(prune.example_for, models.basicnet(0.0625)),
    "die_next": lambda: call(monitor.die_next, xr.Dataset(), ahead=500, gap=0),
    "export_onnx": lambda: call(export.export_onnx, net(), "nowhere/net.onnx", images(), tolerance=1e-4),
    "Execution": lambda: call(
        Execution, device="cpu", channels_last=True, compile=False, graphs=False, deterministic=False
    ),
    "Execution.best": lambda: call(Execution.best, "cpu"),
    "train": lambda: call(training.train, _spec(), _eight(), lambda *said: None, execution=Execution()),
    "train_together": lambda: call(
        training.train_together, [_spec()], _eight(), lambda *said: None, execution=Execution()
    ),
    "sweep.runs_of": lambda: call(sweep.runs_of, [_spec()], ["digits"], [1.0], device="cpu"),
    "asked": lambda: call(asked, find_study("digits")),
    "on_images": lambda: call(on_images, [], {}),
    "agreement": lambda: call(watched.agreement, [], of="gamma", moment=0.3),
    "foretold": lambda: call(watched.foretold, [], by="selectivity", moment=0.1),
    "killed": lambda: call(watched.killed, [], cause="regularizer"),
    "world declared": lambda: call(registry.world("w"), Silence(optimizers=("sgd",), steps=9)),
    "silence.draw": lambda: call(silence.draw, xr.Dataset()),
    "alive.draw": lambda: call(alive.draw, xr.Dataset()),
    "settings.draw": lambda: call(settings.draw, [], []),
    "verdicts.draw": lambda: call(verdicts.draw, []),
}  # fmt: skip
