"""How libraries spell the settings of their optimizers: a reader for each class that is one of the rules here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dynamics.errors import InputError

# (rule, coupling of weight_decay, hyperparameters, notes on what these do not say) of one param group.
Spelled = tuple[str, str, dict[str, float], list[str]]
Reader = Callable[[Mapping[str, Any]], Spelled]


def betas(group: Mapping[str, Any]) -> dict[str, float]:
    """A group's `betas` by their names here."""
    return {f"beta{k}": float(beta) for k, beta in enumerate(group.get("betas", ()), 1)}


def _take(group: Mapping[str, Any], *names: str) -> dict[str, float]:
    return {name: float(group[name]) for name in names}


def _refuse(group: Mapping[str, Any], name: str, accepted: Any, of: str) -> None:
    if name in group and group[name] != accepted:
        raise InputError(f"{of} with {name}={group[name]!r}: only {name}={accepted!r} is one of the rules here")


def _corrected(group: Mapping[str, Any], otherwise: str) -> str:
    return "corrected" if group.get("corrected_weight_decay") else otherwise


def _sgd(group: Mapping[str, Any], coupling: str = "l2") -> Spelled:
    if not group["momentum"]:
        return "sgd", coupling, {}, []
    _refuse(group, "dampening", 0, "SGD")
    return "nesterov" if group["nesterov"] else "momentum", coupling, _take(group, "momentum"), []


def _sgdw(group: Mapping[str, Any]) -> Spelled:
    _refuse(group, "caution", False, "SGDW")
    return _sgd(group, _corrected(group, "decoupled_lr"))


def _adagrad(group: Mapping[str, Any]) -> Spelled:
    notes = [f"lr_decay {group['lr_decay']:g} lowers lr with time, which is left out"] if group["lr_decay"] else []
    return (
        "adagrad",
        "l2",
        {"initial_accumulator": float(group["initial_accumulator_value"])} | _take(group, "eps"),
        notes,
    )


def _adadelta(group: Mapping[str, Any]) -> Spelled:
    return "adadelta", "l2", _take(group, "rho", "eps"), []


def _rmsprop(group: Mapping[str, Any]) -> Spelled:
    if group["centered"]:
        return "rmsprop_centered", "l2", _take(group, "alpha", "momentum", "eps"), []
    if group["momentum"]:
        return "rmsprop_momentum", "l2", _take(group, "alpha", "momentum", "eps"), []
    return "rmsprop", "l2", _take(group, "alpha", "eps"), []


def _adam(group: Mapping[str, Any], coupling: str = "l2") -> Spelled:
    _refuse(group, "caution", False, "AdamW")
    way = _corrected(group, "decoupled_lr" if group.get("decoupled_weight_decay") else coupling)
    return "amsgrad" if group.get("amsgrad") else "adam", way, betas(group) | _take(group, "eps"), []


def _adamw(group: Mapping[str, Any]) -> Spelled:
    return _adam(group, "decoupled_lr")


def _adamax(group: Mapping[str, Any]) -> Spelled:
    return "adamax", "l2", betas(group) | _take(group, "eps"), []


def _nadam(group: Mapping[str, Any]) -> Spelled:
    way = "decoupled_lr" if group["decoupled_weight_decay"] else "l2"
    return "nadam", way, betas(group) | _take(group, "momentum_decay", "eps"), []


def _nadamw(group: Mapping[str, Any]) -> Spelled:
    _refuse(group, "caution", False, "NAdamW")
    note = "timm's NAdamW has no momentum schedule: the same for a weight without a gradient, not for others"
    return "nadam", _corrected(group, "decoupled_lr"), betas(group) | _take(group, "eps"), [note]


def _radam(group: Mapping[str, Any]) -> Spelled:
    way = "decoupled_lr" if group.get("decoupled_weight_decay") else "l2"
    return "radam", way, betas(group) | _take(group, "eps"), []


def _muon(group: Mapping[str, Any]) -> Spelled:
    _refuse(group, "nesterov", True, "Muon")
    notes = [] if group["adjust_lr_fn"] in (None, "original") else ["the scale by shape is match_rms_adamw there"]
    return "muon", "decoupled_lr", _take(group, "momentum", "eps"), notes


def _lion(group: Mapping[str, Any]) -> Spelled:
    _refuse(group, "caution", False, "Lion")
    return "lion", _corrected(group, "decoupled_lr"), betas(group), []


def _adan(group: Mapping[str, Any]) -> Spelled:
    _refuse(group, "caution", False, "Adan")
    proximal = "w is divided by 1 + lr weight_decay after the step, which is the same to first order"
    return "adan", "decoupled_lr", betas(group) | _take(group, "eps"), [] if group["no_prox"] else [proximal]


def _adabelief(group: Mapping[str, Any]) -> Spelled:
    _refuse(group, "amsgrad", False, "AdaBelief")
    notes = ["rectify=True shrinks its first steps, which is left out"] if group["rectify"] else []
    way = "l2" if not group["decoupled_decay"] else "decoupled_constant" if group["fixed_decay"] else "decoupled_lr"
    return "adabelief", way, betas(group) | _take(group, "eps"), notes


def _lamb(group: Mapping[str, Any]) -> Spelled:
    for name, accepted in (
        ("caution", False),
        ("bias_correction", True),
        ("grad_averaging", True),
        ("trust_clip", False),
    ):
        _refuse(group, name, accepted, "Lamb")
    if group.get("decoupled_decay"):
        raise InputError("Lamb with decoupled_decay=True: only decay inside the trust ratio is one of the rules here")
    return (
        "lamb",
        "decoupled_lr",
        betas(group) | _take(group, "eps"),
        ["timm clips the norm of all gradients to max_grad_norm"],
    )


def _lars(group: Mapping[str, Any]) -> Spelled:
    for name, accepted in (("nesterov", False), ("dampening", 0), ("trust_clip", False)):
        _refuse(group, name, accepted, "Lars")
    note = "timm's trust ratio divides by the sum of the norms of gradient and pull, here by the norm of their sum"
    hyper = {"momentum": float(group["momentum"]), "trust": float(group["trust_coeff"]), "eps": float(group["eps"])}
    return "lars", "l2", hyper, [note]


def _schedule_free(group: Mapping[str, Any]) -> Spelled:
    notes = ["warmup_steps is a schedule, which is left out"] if group["warmup_steps"] else []
    for name, accepted in (("r", 0.0), ("weight_lr_power", 2.0)):
        _refuse(group, name, accepted, "AdamWScheduleFree")
    return "schedule_free", "decoupled_lr", betas(group) | _take(group, "eps"), notes


# Package and class -> its reader.
_READERS: Mapping[tuple[str, str], Reader] = {
    ("torch", "SGD"): _sgd,
    ("torch", "Adagrad"): _adagrad,
    ("torch", "Adadelta"): _adadelta,
    ("torch", "RMSprop"): _rmsprop,
    ("torch", "Adam"): _adam,
    ("torch", "AdamW"): _adamw,
    ("torch", "Adamax"): _adamax,
    ("torch", "NAdam"): _nadam,
    ("torch", "RAdam"): _radam,
    ("torch", "Muon"): _muon,
    ("timm", "SGDW"): _sgdw,
    ("timm", "AdamWLegacy"): _adamw,
    ("timm", "NAdamW"): _nadamw,
    ("timm", "RAdamLegacy"): _radam,
    ("timm", "Lion"): _lion,
    ("timm", "Adan"): _adan,
    ("timm", "AdaBelief"): _adabelief,
    ("timm", "Lamb"): _lamb,
    ("timm", "Lars"): _lars,
    ("schedulefree", "AdamWScheduleFree"): _schedule_free,
}


def reader(optimizer: Any) -> Reader:
    """The reader of an optimizer's class; InputError, naming those that are known, if it is none of them."""
    # A class derived from a known one without a step of its own is that one.
    for kind in type(optimizer).__mro__:
        found = _READERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if found is not None:
            return found
        if "step" in vars(kind):
            break
    names = ", ".join(f"{package}.{name}" for package, name in _READERS)
    raise InputError(
        f"optimizer {type(optimizer).__module__}.{type(optimizer).__name__} is none of the rules here: {names}"
    )
