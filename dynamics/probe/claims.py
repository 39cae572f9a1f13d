"""What an optimizer says of itself: by its name, and by the numbers and flags in its parameter groups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.libraries.catalogue import ALIASES, elsewhere
from dynamics.rules import RULES

# Flags that say whether a weight decay is decoupled, whatever the class's name says.
DECOUPLES = ("decoupled_weight_decay", "weight_decouple", "decoupled_decay", "decouple")
# Flags that choose how the same is computed, what is a rule of its own here, or what a rule has anyway.
_USUAL = frozenset((
    *DECOUPLES, "foreach", "fused", "capturable", "differentiable", "maximize", "amsgrad", "nesterov", "centered",
    "bias_correction", "debias", "debias_moments", "grad_averaging",
))  # fmt: skip
# What other libraries call our hyperparameters.
_SPELLED = {"weight_decay": "strength", "initial_accumulator_value": "initial_accumulator", "trust_coeff": "trust"}


# Published optimizers whose names contain one of ours, and which are another one.
OTHERS = frozenset((
    "accsgd", "adaboundw", "adagc", "adamg", "adamini", "adammini", "adamod", "adamp", "adams", "adapnm",
    "adashift", "ademamix", "asgd", "dadaptadagrad", "dadaptadam", "dadaptadan", "dadaptlion", "dadaptsgd",
    "exadam", "fadam", "grokfastadamw", "madgrad", "maskedadam", "onebitadam", "zerooneadam", "padam",
    "qhadam", "radamschedulefree", "schedulefreeradam", "schedulefreesgd", "sgdp", "sgdsai", "sgdschedulefree",
    "signsgd", "simplifiedademamix", "sparseadam", "stableadamw", "swatsadam", "vsgd",
))  # fmt: skip


@dataclass(frozen=True)
class Claims:
    """What an optimizer claims of one group.

    rule, coupling: the names of ours, "" where it claims none; values: the numbers by our names, strength for weight_decay;
    variants: settings that make another rule of it, as rectify=True.
    """

    rule: str
    coupling: str
    values: dict[str, float]
    variants: tuple[str, ...] = ()

    def allows(self, rule: str) -> bool:
        """Whether a rule is what is claimed, or no rule is; a momentum that no group names may act as well."""
        named = not self.rule or rule == self.rule
        return named or (rule == elsewhere(RULES[self.rule]).heavy and "momentum" not in self.values)


def claims_of(name: str, group: Mapping[str, Any]) -> Claims:
    """The claims of a class's name and of a parameter group.

    Example:
        >>> claims_of("torch.AdamW", {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.01})
        Claims(rule='adam', coupling='decoupled_lr', values={'lr': 0.001, 'beta1': 0.9, 'beta2': 0.99, 'strength': 0.01})
    """
    values = _numbers(group)
    last = name.rpartition(".")[2]
    aliases = {alias: (known.rule, known.coupling) for alias, known in ALIASES.items()}
    names = {rule.replace("_", ""): (rule, "") for rule in RULES} | aliases
    fitting = [] if last.lower() in OTHERS else [said for said in _spelled_in(last) if said in names]
    if not fitting:
        return Claims("", "", values, _variants(group))
    rule, coupling = names[max(fitting, key=len)]
    other = elsewhere(RULES[rule])
    flagged = [to for flag, to in other.flags.items() if group.get(flag)]
    heavy = other.heavy if values.get("momentum") else ""
    rule = next(iter(flagged), heavy or rule)
    decouples = [bool(group[flag]) for flag in DECOUPLES if flag in group]
    if coupling and max(fitting, key=len).endswith("w"):
        decouples = []  # a W says it aloud; a flag that it has from the class below may say something else
    if not coupling or decouples:
        decoupled = decouples[0] if decouples else other.decouples
        # Where a rule's decay is decoupled by nature, a flag that is off may mean anything.
        coupling = "decoupled_lr" if decoupled else "" if other.decouples else "l2"
    return Claims(rule, coupling, values, _variants(group))


def _variants(group: Mapping[str, Any]) -> tuple[str, ...]:
    """Flags that are on and that our rules do not have, and norms to which something is clipped."""
    return tuple(
        f"{name}={value:g}" if value is not True else f"{name}=True"
        for name, value in group.items()
        if (value is True and name not in _USUAL)
        or (
            isinstance(value, int | float)
            and value is not True
            and value > 0
            and ("clip" in name or "max_grad" in name)
        )
    )


def _spelled_in(name: str) -> list[str]:
    """What can be read in a class's name from one capital letter on to another: adam, adamw and more in FusedAdamW8bit."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", name)]
    return ["".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]


def _numbers(group: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in group.items():
        if name == "betas" and isinstance(value, list | tuple):
            found |= {f"beta{k}": float(b) for k, b in enumerate(value, 1) if hasattr(b, "__float__")}
        elif not isinstance(value, bool | str | bytes) and np.ndim(value) == 0 and hasattr(value, "__float__"):
            found[_SPELLED.get(name, name)] = float(value)
    return found
