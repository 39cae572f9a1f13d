"""The update rules: one step of one weight, in the notation of their papers.

gradient    sgd, momentum, nesterov
squares     adagrad, adadelta, rmsprop, rmsprop_momentum, rmsprop_centered
moments     adam, amsgrad, adamax, nadam, radam, adabelief, adan
signs       lion
averaging   schedule_free
tensors     lars, lamb (norms of a tensor), muon (a matrix)

Each is arithmetic plus the words of `dynamics.words`, and runs unchanged over Python floats, NumPy arrays, sympy
symbols, torch tensors and inside the compiled kernel. None knows about regularization: that is `dynamics.couplings`.
w weight, g gradient; every file names its state. `load_rules` adds the rules of a user's own file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

from dynamics.couplings import COUPLINGS, DOORS
from dynamics.errors import InputError
from dynamics.given import among
from dynamics.given import file as a_file
from dynamics.rule import Rule
from dynamics.rules.averaging import schedule_free
from dynamics.rules.gradient import momentum, nesterov, sgd
from dynamics.rules.moments import adabelief, adam, adamax, adan, amsgrad, nadam, radam
from dynamics.rules.signs import lion
from dynamics.rules.squares import adadelta, adagrad, rmsprop, rmsprop_centered, rmsprop_momentum
from dynamics.rules.tensors import lamb, lars, muon

_ALL = (
    *(sgd, momentum, nesterov),
    *(adagrad, adadelta, rmsprop, rmsprop_momentum, rmsprop_centered),
    *(adam, amsgrad, adamax, nadam, radam, adabelief, adan),
    *(lion, schedule_free, lars, lamb, muon),
)
BUILT_IN: tuple[str, ...] = tuple(rule.name for rule in _ALL)
_rules = {rule.name: rule for rule in _ALL}
RULES: Mapping[str, Rule] = MappingProxyType(_rules)
# What a field or hyperparameter cannot be called, since settings, loops or gradients have something of that name.
_TAKEN = {
    "w",
    "g",
    "pull",
    "lr",
    "rate",
    "strength",
    "multiplier",
    "coupling",
    "weight_decay",
    "wd",
    "betas",
    *COUPLINGS,
}
_TAKEN |= {*DOORS, "arrival", "target", "sigma", "floor", "epoch"}
# Files whose rules have joined them: the digest of what stood in each, and the rules.
_own: dict[Path, tuple[str, tuple[Rule, ...]]] = {}


def find_rule(rule: str | Rule) -> Rule:
    """The rule of that name (a Rule is handed back as it is); InputError for an unknown name."""
    if isinstance(rule, Rule):
        return rule
    return RULES[among("optimizer", rule, tuple(RULES))]


def load_rules(path: str | Path) -> tuple[Rule, ...]:
    """Execute a Python file and let every Rule that it defines join RULES; a file that did so already is left alone.

    Args:
        path: the user's own code.

    Returns:
        Its rules.

    Raises:
        InputError: where the file cannot be read or run, holds no rule, or one whose name is taken or whose step cannot
            be taken; none of its rules is then added.

    Example:
        >>> made = "plain = Rule('plain', lambda w, g, lr: (w - lr * g,), (), {}, {}, lr=0.1)"
        >>> _ = Path("mine.py").write_text("from dynamics.rule import Rule; " + made)
        >>> [rule.name for rule in load_rules("mine.py")]
        ['plain']
    """
    file = a_file(path, "a Python file is accepted").resolve()
    if file in _own:
        return _own[file][1]
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"rules {path} cannot be read ({error}): a Python file is accepted") from error
    module = ModuleType(file.stem)
    try:
        exec(compile(text, str(file), "exec"), vars(module))
    except SyntaxError as error:
        raise InputError(f"rules {path}, line {error.lineno}: {error.msg}; a Python file is accepted") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # another's code: whatever it raises is told as its mistake
        said = f"{type(error).__name__}: {error}"[:500]
        raise InputError(f"rules {path} cannot be run: {said}") from error
    found = {id(x): x for x in vars(module).values() if isinstance(x, Rule) and x not in _ALL}
    rules = tuple(found.values())
    if not rules:
        raise InputError(f"rules {path}: no rule stands in it; one or more, NAME = Rule(...), are accepted")
    names = [*RULES, *(rule.name for rule in rules)]
    for rule in rules:
        if not re.fullmatch("[a-z][a-z0-9_]*", rule.name):
            raise InputError(f"rules {path}: name {rule.name!r}: small letters, digits and _ are accepted")
        if names.count(rule.name) > 1:
            raise InputError(
                f"rules {path}: name {rule.name!r} is taken; accepted is one that is none of {', '.join(RULES)}"
            )
        if taken := _TAKEN & {*rule.inner, *rule.defaults}:
            raise InputError(
                f"rules {path}: {min(taken)!r} of {rule.name} means something else here; another name is accepted"
            )
        _try(rule, path)
    _own[file] = hashlib.sha256(text.encode()).hexdigest(), rules
    _rules.update({rule.name: rule for rule in rules})
    return rules


def _try(rule: Rule, path: str | Path) -> None:
    """InputError where the step of a rule cannot be taken by numbers and by arrays alike."""
    import numpy as np

    from dynamics.words import NUMPY, bind

    try:
        _ = rule.adaptive  # takes the step over floats
        w, hyper = np.array([1.0, -2.0]), rule.hyperparameters()
        given = (w, np.array([0.5, -1.0]), *([0.1 * w] if rule.takes_pull else []), *rule.fresh(w, hyper), rule.lr)
        with np.errstate(all="ignore"):
            after = bind(rule.step, NUMPY)(*given, *hyper.values())
        if [np.shape(x) for x in after[: 1 + len(rule.state)]] != [w.shape] * (1 + len(rule.state)):
            raise TypeError("w and its state must have a number for every weight")
    except Exception as error:  # another's code, as above
        raise InputError(
            f"rules {path}: the step of {rule.name} cannot be taken ({type(error).__name__}: {error}); accepted are "
            "arithmetic, abs and the words of dynamics.words, without if"
        ) from error


def own_files() -> tuple[Path, ...]:
    """The files that `load_rules` has read, in that order: what another process must load to know the same rules."""
    return tuple(_own)


def own_digests() -> dict[str, str]:
    """For each rule that `load_rules` has added, by its name, a digest of the file it came from: it changes with the rule."""
    return {rule.name: digest for digest, rules in _own.values() for rule in rules}
