"""A valid call of every public function and class: name -> (what is called, its arguments, those by name)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

import undertow
from dynamics.answers.pull_rate import Gradients
from dynamics.simulate.gradients import selective
from fuzz.forms import FORMS
from fuzz.rooms import ROOMS, Call, call, images, net
from fuzz.works import WORKS

LANES = {"lr": 1e-3, "strength": 1e-3, "arrival": 0.5, "pull": 1.0, "target": 1.0, "sigma": 0.5}

CALLS: dict[str, Callable[[], Call]] = {
    "undertow.parse": lambda: call(undertow.parse, "adam lr=1e-3", {"l2": 1e-4}),
    "undertow.explain": lambda: call(undertow.explain, undertow.parse("sgd lr=0.1 l2=1e-4"), gradient_rms=1e-3),
    "undertow.convert": lambda: call(
        undertow.convert,
        undertow.parse("sgd lr=0.1 l2=1e-4"),
        undertow.parse("sgd lr=0.1 decoupled_lr=0"),
        Gradients(1e-3, 1.0),
        weight=1.0,
        steps=1_000,
    ),
    "undertow.read": lambda: call(undertow.read, torch.optim.Adam(net().parameters(), weight_decay=1e-4)),
    "undertow.load_rules": lambda: call(undertow.load_rules, "nowhere.py"),
    "undertow.load_network": lambda: call(undertow.load_network, "nowhere.safetensors"),
    "undertow.simulate": lambda: call(
        undertow.simulate,
        "adam",
        "l2",
        selective,
        record=[0, 10],
        lanes=LANES,
        start=1.0,
        state={"v": 0.5},
        schedule=np.ones_like,
        seed=1,
        stream=0,
        fields=["w", "v"],
        watch=0.5,
        threads=1,
        block=128,
        compiled=False,
    ),
    "undertow.pull_share": lambda: call(
        undertow.pull_share, "momentum", "l2", 1.0, 0.5, {"b": 0.5}, lr=0.1, strength=0.5, multiplier=1.0, momentum=0.9
    ),
    "undertow.measure": lambda: call(undertow.measure, net(), images(), batch=4),
    "undertow.gradient_scale": lambda: call(
        undertow.gradient_scale,
        net(),
        torch.nn.functional.cross_entropy,
        [(images(), torch.tensor([0, 1, 0, 1]))],
        batches=1,
    ),
    "undertow.probe": lambda: call(undertow.probe, lambda parameters: torch.optim.SGD(parameters, lr=0.1)),
    "undertow.remove_dead": lambda: call(
        undertow.remove_dead, net(), undertow.measure(net(), images()), multiple=1, example=images()
    ),
    "undertow.revive": lambda: call(
        undertow.revive,
        (own := net()),
        torch.optim.Adam(own.parameters()),
        {"1": [0, 1]},
        example=images(),
    ),
    "undertow.certify": lambda: call(
        undertow.certify,
        net(),
        net(),
        images(),
        torch.tensor([0, 1, 0, 1]),
        example=images(),
        shape=(1, 4, 4),
        seed=0,
        random_images=4,
    ),
    "undertow.Monitor": lambda: call(
        undertow.Monitor, (own := net()), torch.optim.SGD(own.parameters(), lr=0.1), interval=10, example=images()
    ),
    "undertow.parameter_groups": lambda: call(
        undertow.parameter_groups, net(), 1e-4, norms=False, biases=False, skip=()
    ),
    "undertow.Optimizer": lambda: call(
        undertow.Optimizer,
        list(net().parameters()),
        "adam",
        "l2",
        lr=1e-3,
        weight_decay=1e-4,
        maximize=False,
        capturable=False,
        beta1=0.9,
    ),
}
CALLS |= ROOMS | FORMS | WORKS

# (call, argument) of which more is taken than its annotation says, and that is meant.
MEANT = {
    *(
        (name, "samples") for name in ("mean_interval", "ratio_interval", "spread", "every_cell", "holm")
    ),  # NaN: undecided
    ("holm", "margins"),
    *(("Estimate", name) for name in ("value", "low", "high", "samples")),  # NaN: undecided; infinite: without a bound
    ("undertow.certify", "shape"),  # a list
}
# Public names without a call here, and why.
LEFT_OUT = {
    **dict.fromkeys(("COUPLINGS", "RULES", "MODELS", "MEANINGS"), "a table"),
    **dict.fromkeys(("INACTIVE_ACTIVATION", "INACTIVE_SCALE", "SELECTIVE_BELOW"), "a number"),
    **dict.fromkeys(("Example", "Source"), "a name for types"),
    **dict.fromkeys(
        ("Asked", "Found", "Certificate", "Latency", "LayerRemoval", "Removal", "Activity", "Shares"),
        "what a function gives",
    ),
    **dict.fromkeys(("Graph", "Graphs", "Inputs", "Unit", "Files", "Pictures", "Images"), "what a function gives"),
    "built_in": "takes nothing",
    "InputError": "what all of them raise",
    **dict.fromkeys(("VGG", "ResNet", "Chain", "Block"), "made by build"),
}
