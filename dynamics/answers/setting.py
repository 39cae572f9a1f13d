"""A setting: a rule, a coupling and their numbers, and how people write it down.

"adam lr=1e-3 l2=1e-4 beta2=0.95", "adamw weight_decay=0.05", "sgd lr=0.1 momentum=0.9 nesterov=true weight_decay=5e-4":
a name, then key=value. Names are those of `dynamics.rules`, whose regularizer is off unless it is given, or of the
libraries' classes (`dynamics.libraries.catalogue`), such as adamw or torch.optim.AdamW, which bring their own defaults.
A regularizer's strength is given by the name of its coupling (l2=, l1=, decoupled_lr=, ...) or as weight_decay= (wd=),
which then enters as it does in the library class of that name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dynamics.couplings import COUPLINGS, Coupling, find_coupling
from dynamics.errors import InputError
from dynamics.given import kind, mapping, suggestion
from dynamics.given import text as as_text
from dynamics.libraries.catalogue import ALIASES, CATALOGUE, CLASSES, Named, elsewhere
from dynamics.rule import Rule, as_float, check
from dynamics.rules import RULES, find_rule

# Keys that give a strength, and with it the coupling.
_STRENGTHS = (*(name for name in COUPLINGS if name != "none"), "weight_decay", "wd")
_CLASSES = {name.lower(): named for name, named in CLASSES.items()} | dict(ALIASES)


@dataclass(frozen=True)
class Setting:
    """A rule with a coupling and numbers. hyper: all hyperparameters of the rule, in its order. notes: which numbers are a
    library's defaults; they are no part of what two settings are compared by."""

    rule: Rule
    coupling: Coupling
    lr: float
    strength: float
    hyper: Mapping[str, float]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        kind("rule", self.rule, Rule, "a Rule")
        kind("coupling", self.coupling, Coupling, "a Coupling")
        check("lr", self.lr)
        check("strength", self.strength)
        mapping("hyper", self.hyper)

    def __str__(self) -> str:
        """As `parse` reads it; hyperparameters at their default are left out."""
        pull = [f"{self.coupling.name}={self.strength:g}"] if self.coupling.doors else []
        rest = [f"{name}={value:g}" for name, value in self.hyper.items() if value != self.rule.defaults[name]]
        return " ".join([self.rule.name, f"lr={self.lr:g}", *pull, *rest])


def as_setting(name: str, value: Any) -> Setting:
    """`value`, a Setting or the text of one; InputError, naming it, for anything else."""
    if isinstance(value, str):
        return parse(value)
    return kind(name, value, Setting, "a setting, or its text as in 'adam lr=1e-3 l2=1e-4',")


def unit_note(setting: Setting) -> str:
    """What numbers about one weight leave out where a rule looks at more; empty where it does not."""
    looks = {"weight": "", "tensor": "the norms of a whole tensor", "matrix": "a whole matrix"}[setting.rule.unit]
    return (
        f"{setting.rule.name} looks at {looks}: these numbers are those of a weight that is one by itself"
        if looks
        else ""
    )


def make(
    optimizer: str | Rule, coupling: str | Coupling, *, lr: float | None = None, strength: float = 0.0, **hyper: float
) -> Setting:
    """A checked setting; lr None is the rule's default. InputError for unknown names and values out of range."""
    rule, coupled = find_rule(optimizer), find_coupling(coupling)
    rate = check("lr", rule.lr if lr is None else lr)
    return Setting(rule, coupled, rate, check("strength", strength), rule.hyperparameters(**hyper))


def parse(text: str, beside: Mapping[str, Any] | None = None) -> Setting:
    """The setting that a line of text writes down.

    Args:
        text: a name, then key=value, as the module describes; blanks may stand around = and commas.
        beside: keys and values that count where the text has none.

    Returns:
        The Setting, checked; str() writes it down again.

    Raises:
        InputError: for what cannot be read, for unknown names and for values out of range.

    Example:
        >>> str(parse("sgd lr=0.1 momentum=0.9 nesterov=true weight_decay=5e-4"))
        'nesterov lr=0.1 l2=0.0005'
        >>> parse("AdamW lr=1e-3").notes
        ("weight_decay 0.01 is torch.optim.AdamW's default",)
    """
    return _parse(as_text("setting", text), {} if beside is None else mapping("beside", beside), asked=False)


def parse_target(text: str) -> Setting:
    """As `parse`, for a setting whose strength is asked for: where it names no regularizer, it gets that of its library.

    "adamw lr=1e-3" is with decoupled_lr, "adam lr=1e-3" with l2; coupling=NAME needs no strength.
    """
    return _parse(as_text("setting", text), {}, asked=True)


def _parse(text: str, beside: Mapping[str, Any], asked: bool) -> Setting:
    words = re.sub(r"\s*([=,])\s*", r"\1", text).split()
    if not words:
        raise InputError(f"setting {text!r}: a name is needed, as in 'adam lr=1e-3 l2=1e-4'")
    given = dict(beside) | _pairs(text, words[1:])
    named = _named(words[0])
    rule = _rule(named, given)
    usual = named.coupling
    if asked and "coupling" in given:
        given.setdefault("strength", 0.0)
    elif asked and not {*_STRENGTHS, "strength"} & given.keys():
        given["weight_decay"] = 0.0
    notes = _defaults(named, given)
    coupling, strength = _pull(text, given, usual)
    betas = given.pop("betas", None)
    if betas is not None:
        given |= _betas(rule, str(betas))
    lr = given.pop("lr", None)
    hyper = {name: as_float(name, value) for name, value in given.items()}
    rate = None if lr is None else as_float("lr", lr)
    return replace(make(rule, coupling, lr=rate, strength=strength, **hyper), notes=notes)


def _pairs(text: str, words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise InputError(f"{word!r} in {text!r}: key=value is accepted, as in lr=1e-3")
        if key in found:
            raise InputError(f"{key!r} stands twice in {text!r}")
        found[key] = value
    return found


def _named(name: str) -> Named:
    """The rule of this name, and the coupling of its library's weight_decay."""
    low = name.lower()
    if low in _CLASSES:
        return _CLASSES[low]
    if low not in RULES:
        names = (*RULES, *ALIASES)
        near = suggestion(name, (*names, *CLASSES))
        raise InputError(
            f"optimizer {name!r} is unknown: accepted are {', '.join(names)}, and full names as torch.optim.AdamW{near}"
        )
    return Named(low, "decoupled_lr" if elsewhere(RULES[low]).decouples else "l2")


def _rule(named: Named, given: dict[str, Any]) -> Rule:
    """The rule that flags and a momentum make of it; they are taken out of `given` where they are no hyperparameter."""
    rule = RULES[named.rule]
    for name, only in elsewhere(rule).fixed.items():
        if name in given and as_float(name, given[name]) != only:
            raise InputError(f"{name} {given[name]} of {rule.name}: only {name}={only:g} is one of the rules here")
        given.pop(name, None)
    heavy = as_float("momentum", given["momentum"]) > 0 if "momentum" in given else "momentum" in rule.defaults
    if "momentum" in given and elsewhere(rule).heavy:
        if heavy:
            rule = RULES[elsewhere(rule).heavy]
        else:
            del given["momentum"]
    for flag in dict.fromkeys(flag for known in CATALOGUE.values() for flag in known.flags):
        if flag not in given:
            continue
        value = str(given.pop(flag)).lower()
        if value not in ("true", "false"):
            raise InputError(f"{flag} {value!r}: true or false is accepted")
        if flag not in elsewhere(rule).flags:
            having = ", ".join(sorted(name for name, known in CATALOGUE.items() if flag in known.flags))
            raise InputError(f"{rule.name} has no {flag}: {having} has")
        if value == "true":
            rule = RULES[elsewhere(rule).flags[flag]]
            # A rule whose momentum is on unless it is said otherwise is nothing without one: torch refuses it, too.
            if rule.defaults.get("momentum") and not heavy:
                raise InputError(f"{flag}=true without a momentum: one above 0 is accepted, as in momentum=0.9")
    return rule


def _defaults(named: Named, given: dict[str, Any]) -> tuple[str, ...]:
    """Puts the class's defaults into `given` where nothing else is said, and says which."""
    told = {*_STRENGTHS, "coupling", "strength"} & given.keys()
    taken = {k: v for k, v in named.defaults.items() if k not in given and not (k == "weight_decay" and told)}
    given |= taken
    return tuple(f"{name} {value:g} is {named.library}'s default" for name, value in taken.items())


def _pull(text: str, given: dict[str, Any], usual: str) -> tuple[str, float]:
    """(coupling, strength), taken out of `given`; InputError where more than one is given."""
    asked = [key for key in (*_STRENGTHS, "coupling", "strength") if key in given]
    if len(asked) > 1 and set(asked) != {"coupling", "strength"}:
        raise InputError(f"{', '.join(asked)} in {text!r}: one regularizer is accepted")
    named, bare = given.pop("coupling", None), given.pop("strength", None)
    if asked and asked[0] in _STRENGTHS:
        key = asked[0]
        return usual if key in ("weight_decay", "wd") else key, check("strength", as_float(key, given.pop(key)))
    coupling = "none" if named is None else find_coupling(str(named)).name
    if named is None and bare is not None:
        raise InputError(f"strength {bare} without coupling: accepted are {', '.join(COUPLINGS)}")
    if coupling != "none" and bare is None:
        raise InputError(f"coupling {coupling} without strength: a strength is needed")
    return coupling, 0.0 if bare is None else check("strength", as_float("strength", bare))


def _betas(rule: Rule, text: str) -> dict[str, str]:
    names = [name for name in rule.defaults if name.startswith("beta")]
    values = text.strip("()[]").split(",")
    if len(values) != len(names):
        accepted = f"{len(names)} numbers with commas between are accepted" if names else f"{rule.name} has none"
        raise InputError(f"betas {text}: {accepted}")
    return dict(zip(names, values, strict=True))
