"""Our rules and couplings as pytorch_optimizer states them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_optimizer
import torch
from conformance.oracle import spelled
from conformance.sides import Setting, theirs

Offer = tuple[type[torch.optim.Optimizer], dict[str, Any]]

# The class that each pair of rule and coupling is, and what must be added to its arguments: the same formula.
PYTORCH_OPTIMIZER: dict[tuple[str, str], Offer] = {
    ("sgd", "decoupled_lr"): (pytorch_optimizer.SGDW, {}),
    ("momentum", "decoupled_lr"): (pytorch_optimizer.SGDW, {}),
    ("nesterov", "decoupled_lr"): (pytorch_optimizer.SGDW, {"nesterov": True}),
    ("adadelta", "l2"): (pytorch_optimizer.AdaDelta, {}),
    ("adadelta", "decoupled_lr"): (pytorch_optimizer.AdaDelta, {"weight_decouple": True}),
    ("adadelta", "decoupled_constant"): (pytorch_optimizer.AdaDelta, {"weight_decouple": True, "fixed_decay": True}),
    ("adamax", "l2"): (pytorch_optimizer.AdaMax, {}),
    ("adamax", "decoupled_lr"): (pytorch_optimizer.AdaMax, {"weight_decouple": True}),
    ("adamax", "decoupled_constant"): (pytorch_optimizer.AdaMax, {"weight_decouple": True, "fixed_decay": True}),
    ("radam", "decoupled_lr"): (pytorch_optimizer.RAdam, {"degenerated_to_sgd": True}),
    ("radam", "decoupled_constant"): (pytorch_optimizer.RAdam, {"degenerated_to_sgd": True, "fixed_decay": True}),
    ("adabelief", "l2"): (pytorch_optimizer.AdaBelief, {"weight_decouple": False}),
    ("adabelief", "decoupled_lr"): (pytorch_optimizer.AdaBelief, {}),
    ("adabelief", "decoupled_constant"): (pytorch_optimizer.AdaBelief, {"fixed_decay": True}),
    ("adan", "decoupled_lr"): (pytorch_optimizer.Adan, {"weight_decouple": True}),
    ("lion", "l2"): (pytorch_optimizer.Lion, {"weight_decouple": False}),
    ("lion", "decoupled_lr"): (pytorch_optimizer.Lion, {}),
    ("lion", "decoupled_constant"): (pytorch_optimizer.Lion, {"fixed_decay": True}),
    ("schedule_free", "decoupled_lr"): (pytorch_optimizer.ScheduleFreeAdamW, {}),
    ("muon", "l2"): (pytorch_optimizer.Muon, {"weight_decouple": False}),
    ("muon", "decoupled_lr"): (pytorch_optimizer.Muon, {}),
}


def path(offer: Offer, setting: Setting, evaluated: bool = False) -> np.ndarray:
    """Its weights after each step (steps, *shape)."""
    kind, extra = offer
    arguments = spelled(setting.hyper) | {"lr": setting.lr, "weight_decay": setting.strength} | extra
    if setting.rule == "muon":
        del arguments["eps"]  # 1e-7 there, and no argument
    if setting.rule == "lars":
        arguments["trust_coefficient"] = arguments.pop("trust")
        del arguments["eps"]  # none there
    marks = {"use_muon": True} if setting.rule == "muon" else {}
    return theirs(lambda weights: kind([{"params": weights, **marks}], **arguments), setting, evaluated)
