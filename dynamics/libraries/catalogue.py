"""What libraries make of the rules here: names, how a weight decay enters, classes that are the same, and what differs.

Facts about libraries, not about rules: a rule that no library has needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dynamics.rule import Rule
from dynamics.rules import RULES


@dataclass(frozen=True)
class Elsewhere:
    """What libraries have that is one rule.

    offered: for each coupling, their names for the rule with it. differs: what is not the same elsewhere. decouples: their
    weight_decay is decoupled though the class's name does not say so; elsewhere it is L2. flags: what they spell as a flag
    of the class and is a rule of its own here. heavy: the rule that a momentum above 0 makes of it. fixed: arguments of their
    classes that are none here, with the only value at which the class is the rule.
    """

    offered: Mapping[str, str] = field(default_factory=dict)
    differs: str = ""
    decouples: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)
    heavy: str = ""
    fixed: Mapping[str, float] = field(default_factory=dict)


class Named(NamedTuple):
    """A library's class: the rule, the coupling by which its weight_decay enters, and its defaults that are not the rule's."""

    rule: str
    coupling: str
    library: str = ""
    defaults: Mapping[str, float] = {}


# Classes of torch.optim by their full names; the tests read the defaults from torch.
CLASSES: Mapping[str, Named] = {
    f"torch.optim.{name}": Named(rule, coupling, f"torch.optim.{name}", defaults)
    for name, rule, coupling, defaults in (
        ("SGD", "sgd", "l2", {"lr": 1e-3}),
        ("Adagrad", "adagrad", "l2", {}),
        ("Adadelta", "adadelta", "l2", {}),
        ("RMSprop", "rmsprop", "l2", {}),
        ("Adam", "adam", "l2", {}),
        ("AdamW", "adam", "decoupled_lr", {"weight_decay": 1e-2}),
        ("Adamax", "adamax", "l2", {}),
        ("NAdam", "nadam", "l2", {}),
        ("RAdam", "radam", "l2", {}),
        ("Muon", "muon", "decoupled_lr", {"weight_decay": 0.1}),
    )
}
# Short names that libraries use. Where libraries differ in a default, or the class is another rule's, it brings none.
ALIASES: Mapping[str, Named] = {
    "sgdw": Named("sgd", "decoupled_lr"),
    "adamw": CLASSES["torch.optim.AdamW"],
    "adamaxw": Named("adamax", "decoupled_lr", "optax.adamaxw", {"weight_decay": 1e-4}),
    "nadamw": Named("nadam", "decoupled_lr"),
    "radamw": Named("radam", "decoupled_lr"),
    "adamc": Named("adam", "corrected"),
    "adamwschedulefree": Named("schedule_free", "decoupled_lr"),
}
# Settings of published recipes, and who published them; docs/recipes.md explains each.
PUBLISHED: Mapping[str, str] = {
    "sgd lr=0.1 momentum=0.9 weight_decay=1e-4": "He et al. 2016, arXiv 1512.03385",
    "sgd lr=0.1 momentum=0.9 nesterov=true weight_decay=5e-4": "Zagoruyko, Komodakis 2016, arXiv 1605.07146",
    "sgd lr=0.1 momentum=0.9 l1=1e-4": "Liu et al. 2017, arXiv 1708.06519",
    "adamw lr=1e-3 weight_decay=0.05": "Touvron et al. 2021, arXiv 2012.12877",
    "adamw lr=6e-4 betas=0.9,0.95 weight_decay=0.1": "Brown et al. 2020, arXiv 2005.14165",
    "adamw lr=3e-4 betas=0.9,0.95 eps=1e-5 weight_decay=0.1": "Touvron et al. 2023, arXiv 2307.09288",
    "lion lr=3e-4 weight_decay=1": "Chen et al. 2023, arXiv 2302.06675",
    "rmsprop lr=0.256 alpha=0.9 momentum=0.9 eps=1e-3 weight_decay=1e-5": "Tan, Le 2019, arXiv 1905.11946",
    "lamb lr=1.76e-3 weight_decay=0.01": "You et al. 2020, arXiv 1904.00962",
}
# What torch.optim, timm and schedulefree call the fields of the rules; the first that is there counts.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "m": ("exp_avg", "grad_avg"),
    "v": ("exp_avg_sq", "square_avg"),
    "vmax": ("max_exp_avg_sq",),
    "s": ("sum", "exp_avg_var"),
    "u": ("exp_inf",),
    "b": ("momentum_buffer",),
    "a": ("acc_delta",),
    "d": ("exp_avg_diff",),
    "n": ("exp_avg_sq",),
    "z": ("z",),
}
# What schedulefree calls, in a parameter group, the fields of a clock that follows the learning rate.
IN_GROUP: Mapping[str, str] = {"lr_max": "lr_max", "weights": "weight_sum"}
CATALOGUE: Mapping[str, Elsewhere] = {
    "sgd": Elsewhere(
        flags={"nesterov": "nesterov"},
        fixed={"dampening": 0.0},
        heavy="momentum",
        offered={
            "l2": "torch.optim.SGD; optax.chain(add_decayed_weights, sgd)",
            "decoupled_lr": "pytorch_optimizer.SGDW; timm.optim.SGDW; optax.chain(add_decayed_weights, scale_by_learning_rate)",
            "corrected": "timm.optim.SGDW(corrected_weight_decay=True)",
        },
    ),
    "momentum": Elsewhere(
        flags={"nesterov": "nesterov"},
        fixed={"dampening": 0.0},
        differs="the buffer holds gradients, not steps: a change of lr acts on the whole buffer at once; torch's dampening is 0",
        offered={
            "l2": "torch.optim.SGD(momentum=); optax.chain(add_decayed_weights, sgd(momentum=))",
            "decoupled_lr": "pytorch_optimizer.SGDW(momentum=); timm.optim.SGDW(momentum=); "
            "optax.chain(trace, add_decayed_weights, scale_by_learning_rate)",
            "corrected": "timm.optim.SGDW(momentum=, corrected_weight_decay=True)",
        },
    ),
    "nesterov": Elsewhere(
        fixed={"dampening": 0.0},
        differs="the papers take the gradient at the look-ahead point, here as in torch and optax it is taken at w; torch's "
        "dampening is 0",
        offered={
            "l2": "torch.optim.SGD(momentum=, nesterov=True); optax.chain(add_decayed_weights, sgd(momentum=, nesterov=True))",
            "decoupled_lr": "pytorch_optimizer.SGDW(momentum=, nesterov=True); timm.optim.SGDW(momentum=, nesterov=True); "
            "optax.chain(trace(nesterov=True), add_decayed_weights, scale_by_learning_rate)",
            "corrected": "timm.optim.SGDW(momentum=, nesterov=True, corrected_weight_decay=True)",
        },
    ),
    "adagrad": Elsewhere(
        differs="optax.adagrad starts the sum at 0.1 and has eps = 1e-7 inside the root, so that it is the same only at eps = 0; "
        "torch's lr_decay is a schedule here",
        offered={"l2": "torch.optim.Adagrad"},
    ),
    "adadelta": Elsewhere(
        differs="eps stands inside both roots, in torch, optax and the paper alike; the paper has no lr; weight_decay of "
        "optax.adadelta is L2",
        offered={
            "l2": "torch.optim.Adadelta; optax.adadelta(weight_decay=); pytorch_optimizer.AdaDelta",
            "decoupled_lr": "pytorch_optimizer.AdaDelta(weight_decouple=True); "
            "optax.chain(scale_by_adadelta, add_decayed_weights, scale_by_learning_rate)",
            "decoupled_constant": "pytorch_optimizer.AdaDelta(weight_decouple=True, fixed_decay=True)",
        },
    ),
    "rmsprop": Elsewhere(
        flags={"centered": "rmsprop_centered"},
        heavy="rmsprop_momentum",
        differs="optax.rmsprop has eps inside the root, unless eps_in_sqrt=False, and a decay of 0.9; timm's RMSpropTF has both "
        "and starts v at 1",
        offered={
            "l2": "torch.optim.RMSprop; optax.chain(add_decayed_weights, rmsprop(eps_in_sqrt=False))",
            "decoupled_lr": "optax.chain(scale_by_rms(eps_in_sqrt=False), add_decayed_weights, scale_by_learning_rate)",
        },
    ),
    "rmsprop_momentum": Elsewhere(
        flags={"centered": "rmsprop_centered"},
        differs="the buffer is free of lr; optax.rmsprop, TensorFlow and timm's RMSpropTF multiply by lr before the buffer, so "
        "that a change of lr acts on what comes after it only, and have eps inside the root; optax's parts can be chained in "
        "torch's order",
        offered={
            "l2": "torch.optim.RMSprop(momentum=); "
            "optax.chain(add_decayed_weights, scale_by_rms(eps_in_sqrt=False), trace, scale_by_learning_rate)",
            "decoupled_lr": "optax.chain(scale_by_rms(eps_in_sqrt=False), trace, add_decayed_weights, scale_by_learning_rate)",
        },
    ),
    "rmsprop_centered": Elsewhere(
        differs="v - m^2 is unclamped, as in torch: where gradients hardly vary it goes to 0, the step grows up to lr g / eps, and "
        "rounding can make it negative, and then the weight NaN; optax.rmsprop and Graves have eps inside the "
        "root, and optax multiplies by lr before the buffer",
        offered={
            "l2": "torch.optim.RMSprop(centered=True, momentum=); "
            "optax.chain(add_decayed_weights, scale_by_stddev(eps_in_sqrt=False), trace, scale_by_learning_rate)",
            "decoupled_lr": "optax.chain(scale_by_stddev(eps_in_sqrt=False), trace, add_decayed_weights, scale_by_learning_rate)",
        },
    ),
    "adam": Elsewhere(
        flags={"amsgrad": "amsgrad"},
        differs="with coupling decoupled_lr it is torch.optim.AdamW; where a scheduler changes beta1 on the way, the bias "
        "correction is the product of the betas used, in torch it is a power of the last one; pytorch_optimizer.AdamC adds "
        "eps before the bias correction, and its decay is corrected only in groups marked normalized=True",
        offered={
            "l2": "torch.optim.Adam; optax.chain(add_decayed_weights, adam)",
            "decoupled_lr": "torch.optim.AdamW; torch.optim.Adam(decoupled_weight_decay=True); optax.adamw; timm.optim.AdamWLegacy",
            "corrected": "optax.adamw(weight_decay=); timm.optim.AdamWLegacy(corrected_weight_decay=True)",
        },
    ),
    "amsgrad": Elsewhere(
        differs="the maximum is of the raw v and takes the bias correction of the moment; in optax.amsgrad it is of the "
        "corrected v; the paper corrects neither",
        offered={
            "l2": "torch.optim.Adam(amsgrad=True)",
            "decoupled_lr": "torch.optim.AdamW(amsgrad=True); timm.optim.AdamWLegacy(amsgrad=True)",
            "corrected": "timm.optim.AdamWLegacy(amsgrad=True, corrected_weight_decay=True)",
        },
    ),
    "adamax": Elsewhere(
        differs="eps enters the state, u >= abs(g) + eps, and u is not bias-corrected, in torch, optax and pytorch_optimizer "
        "alike; the paper has no eps",
        offered={
            "l2": "torch.optim.Adamax; optax.chain(add_decayed_weights, adamax); pytorch_optimizer.AdaMax",
            "decoupled_lr": "optax.adamaxw; pytorch_optimizer.AdaMax(weight_decouple=True)",
            "decoupled_constant": "pytorch_optimizer.AdaMax(weight_decouple=True, fixed_decay=True)",
            "corrected": "optax.adamaxw(weight_decay=)",
        },
    ),
    "nadam": Elsewhere(
        differs="momentum_decay = 0 leaves the momentum at beta1 / 2, it does not switch its schedule off; optax.nadam has no "
        "momentum schedule and corrects the look-ahead by beta1^(t + 1), timm's NAdamW has none either and corrects by beta1^t; "
        "torch keeps the product of momenta in its default type, float32",
        offered={
            "l2": "torch.optim.NAdam; timm.optim.NAdamLegacy",
            "decoupled_lr": "torch.optim.NAdam(decoupled_weight_decay=True)",
        },
    ),
    "radam": Elsewhere(
        differs="eps is added to the raw sqrt(v), before the bias correction; in optax.radam after it, so that it is the same "
        "only at eps = 0; the first steps (5 at the default beta2), where the variance is infinite, are momentum SGD: their "
        "size depends on the gradient's; pytorch_optimizer.RAdam skips them by default and ignores L2; timm's RAdamLegacy "
        "computes in float32",
        offered={
            "l2": "torch.optim.RAdam",
            "decoupled_lr": "torch.optim.RAdam(decoupled_weight_decay=True); pytorch_optimizer.RAdam(degenerated_to_sgd=True); "
            "timm.optim.RAdamLegacy",
            "decoupled_constant": "pytorch_optimizer.RAdam(degenerated_to_sgd=True, fixed_decay=True)",
        },
    ),
    "adabelief": Elsewhere(
        decouples=True,
        differs="eps is gathered in s at every step and added to its root again; the authors' package and timm's AdaBelief "
        "rectify as RAdam does by default: rectify=False there",
        offered={
            "l2": "pytorch_optimizer.AdaBelief(weight_decouple=False); optax.chain(add_decayed_weights, adabelief); "
            "timm.optim.AdaBelief(decoupled_decay=False, rectify=False)",
            "decoupled_lr": "pytorch_optimizer.AdaBelief; timm.optim.AdaBelief(rectify=False); "
            "optax.chain(scale_by_belief, add_decayed_weights, scale_by_learning_rate)",
            "decoupled_constant": "pytorch_optimizer.AdaBelief(fixed_decay=True); "
            "timm.optim.AdaBelief(rectify=False, fixed_decay=True)",
        },
    ),
    "adan": Elsewhere(
        decouples=True,
        differs="the authors' default divides w by 1 + lr strength after the step instead of shrinking it before; optax.adan "
        "weighs the gradient's change by 1 - b2 where the paper and the authors' code weigh it by b2 (in this notation): the "
        "same only at b2 = 0.5 and eps_root = 0",
        offered={"decoupled_lr": "pytorch_optimizer.Adan(weight_decouple=True); timm.optim.Adan(no_prox=True)"},
    ),
    "lion": Elsewhere(
        decouples=True,
        differs="the libraries agree; their default strengths do not: optax.lion 1e-3, the others 0; timm's caution=True and "
        "pytorch_optimizer's cautious=True mask the update, not the decay",
        offered={
            "l2": "optax.chain(add_decayed_weights, scale_by_lion, scale_by_learning_rate); "
            "pytorch_optimizer.Lion(weight_decouple=False)",
            "decoupled_lr": "optax.lion; timm.optim.Lion; pytorch_optimizer.Lion",
            "decoupled_constant": "pytorch_optimizer.Lion(fixed_decay=True)",
            "corrected": "optax.lion(weight_decay=); timm.optim.Lion(corrected_weight_decay=True)",
        },
    ),
    "schedule_free": Elsewhere(
        decouples=True,
        differs="a decoupled pull, taken at y, joins the step of z and reaches w by as much as that step does, in all three "
        "packages; with a schedule of lr optax.contrib.schedule_free weighs the average one step ahead of the steps; "
        "pytorch_optimizer.ScheduleFreeAdamW adds 1e-15 under the root",
        offered={
            "decoupled_lr": "schedulefree.AdamWScheduleFree; pytorch_optimizer.ScheduleFreeAdamW; optax.contrib.schedule_free_adamw"
        },
    ),
    "lars": Elsewhere(
        differs="with coupling l2 the ratio divides by the norm of gradient and pull together; the paper, timm's Lars and "
        "pytorch_optimizer.LARS divide by the sum of their norms; these two apply lr after the buffer and leave tensors out: "
        "pytorch_optimizer.LARS those with one dimension, timm's Lars all where weight_decay is 0",
        offered={"l2": "optax.lars"},
    ),
    "lamb": Elsewhere(
        decouples=True,
        differs="a decoupled pull joins the step before the trust ratio, as in the paper; the paper clips the norm of w, which "
        "optax.lamb does not; timm's Lamb clips the gradient's norm to 1, unless max_grad_norm=None, and has no ratio where "
        "weight_decay is 0, unless always_adapt=True; pytorch_optimizer.Lamb does not correct v, clips the norm of w to 10, adds "
        "eps to the ratio's divisor and by default shrinks w before it",
        offered={
            "l2": "optax.chain(add_decayed_weights, lamb)",
            "decoupled_lr": "optax.lamb; timm.optim.Lamb(max_grad_norm=None)",
            "corrected": "optax.lamb(weight_decay=)",
        },
    ),
    "muon": Elsewhere(
        decouples=True,
        differs="torch, pytorch_optimizer and timm orthogonalize in bfloat16; torch's formula shows the buffer as a sum, its code "
        "and this have a mean; optax.contrib.muon corrects buffer and look-ahead for their bias by different powers, which "
        "wears off, adds eps to the norm where the others bound it, and takes its weights transposed",
        offered={
            "l2": "pytorch_optimizer.Muon(weight_decouple=False)",
            "decoupled_lr": "torch.optim.Muon; pytorch_optimizer.Muon",
        },
    ),
}


def elsewhere(rule: Rule) -> Elsewhere:
    """What libraries have that is `rule`: nothing for a rule of the user's own."""
    return CATALOGUE[rule.name] if rule.name in CATALOGUE and RULES[rule.name] is rule else Elsewhere()
