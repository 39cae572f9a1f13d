"""What a step of the optimizer runs: straight lines of torch._foreach calls, made from the rule's own code and run in place.

`plain_step` says the same tensor by tensor and is the reference. `plan` makes Python source from the graph of
`dynamics.optimizer.trace`, once for each setting: one function for the numbers that all tensors share, one for the lists
(`dynamics.optimizer.writer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from dynamics.couplings import Coupling, compose
from dynamics.optimizer.trace import TRACED, Number, Trace
from dynamics.optimizer.writer import Writer
from dynamics.rule import Rule
from dynamics.words import tensors as tensor_words

States = Mapping[torch.Tensor, dict[str, Any]]
_WORDS = tensor_words()
_FOREACH = ("abs", "add", "addcdiv", "addcmul", "div", "lerp", "maximum", "mul", "sqrt")
# What the generated source calls; a name that ends in _ writes in place.
_SCOPE: dict[str, Any] = {
    **{f"each_{name}": getattr(torch, f"_foreach_{name}") for name in _FOREACH},
    **{f"each_{name}_": getattr(torch, f"_foreach_{name}_") for name in (*_FOREACH, "copy")},
    "each_norm": torch._foreach_norm,
    "choose": torch.where,
    **{name: _WORDS[name] for name in ("sqrt", "sign", "maximum", "power", "where", "orthogonal", "shape_factor")},
}


def real(x: torch.Tensor) -> torch.Tensor:
    """A complex tensor as pairs of real numbers that share its memory; a real one as it is."""
    return torch.view_as_real(x) if x.is_complex() else x


def fresh_state(rule: Rule, p: torch.Tensor, hyper: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state of a parameter before its first step, clock apart: tensors of its shape, dtype and device."""
    state = {}
    for name, start in zip(rule.state, rule.fresh(p, hyper), strict=False):
        state[name] = torch.zeros_like(p)
        real(state[name]).copy_(real(p)) if start is p else real(state[name]).fill_(start)
    return state


def rates(group: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a step that belong to no rule; an lr that is a tensor stays one if the group is capturable."""
    lr, base = group["lr"], group["base_lr"]
    # A scheduler may leave a number of NumPy.
    lr = lr.reshape(()) if torch.is_tensor(lr) and group["capturable"] else float(lr)
    return {"lr": lr, "multiplier": lr / base if base else 1.0, "strength": group["weight_decay"]}


@torch.no_grad()
def plain_step(
    rule: Rule, coupling: Coupling, group: Mapping[str, Any], hyper: Mapping[str, Any], states: States
) -> None:
    """One step over a parameter group, said plainly: tensor by tensor, the rule's own operations in their own order.

    This is the reference: `Optimizer.step` computes the same, and a test holds it to that. The plan that it runs reorders
    the arithmetic, because the cost of a step is its passes over memory: numbers are multiplied together before they meet
    a tensor, a product or quotient is added in the pass that makes it, a running mean is one lerp. So the two agree to
    rounding, not in every bit.

    group: an entry of `param_groups`. hyper: the rule's hyperparameters by their own names. states: the optimizer's
    `state`; a parameter without one gets it. Parameters and states are changed in place; a parameter without a
    gradient is left alone.
    """
    step = compose(rule, coupling, _WORDS)
    numbers = (*rates(group).values(), tuple(hyper.values()))
    for p in group["params"]:
        if p.grad is None:
            continue
        state = states.get(p, {})
        if rule.inner and not state:  # a rule without state leaves no entry, as in torch
            state = states[p]
            state.update({**fresh_state(rule, p, hyper), **rule.clock})
        fields = {"w": real(p)} | {name: real(x) if name in rule.state else x for name, x in state.items()}
        g = -real(p.grad) if group["maximize"] else real(p.grad)
        after = step(fields["w"], g, tuple(fields[name] for name in rule.inner), *numbers)
        # All of it is known before any of it is written: a field may be another's old value.
        new = {name: x.clone() if torch.is_tensor(x) else x for name, x in zip(("w", *rule.inner), after, strict=True)}
        for name, x in new.items():
            if name in rule.clock:
                state[name] = x
            else:
                fields[name].copy_(torch.as_tensor(x))


@dataclass(frozen=True)
class Plan:
    """One step, ready to run.

    numbers(lr, multiplier, strength, *hyperparameters, *clock) -> (the clock afterwards, the numbers of `lists`)
    lists(w, g, *state, *numbers) updates w and the state in place. source: both, as they were generated.
    """

    numbers: Callable[..., tuple[tuple[Any, ...], tuple[Any, ...]]]
    lists: Callable[..., None]
    source: str


@dataclass(frozen=True)
class Key:
    """What a plan depends on. zero: hyperparameters and strength that are exactly 0; tensors: numbers that are tensors."""

    rule: Rule
    coupling: Coupling
    maximize: bool
    zero: frozenset[str]
    tensors: frozenset[str]


@cache
def questions(key: Key) -> Callable[..., tuple[bool, ...]] | None:
    """The conditions on which the plan depends, a function of the same numbers as Plan.numbers; None if there are none."""
    trace, _ = _traced(key, {})
    if not trace.questions:
        return None
    asked = list(trace.questions.values())
    body = [*_statements(asked), f"return ({''.join(f'{n.text}, ' for n in asked)})"]
    function: Callable[..., tuple[bool, ...]] = _function("questions", _numbers(key.rule), body)[1]
    return function


@cache
def plan(key: Key, answers: tuple[bool, ...] = ()) -> Plan:
    """The plan for these settings, `answers` being what `questions` gave.

    Raises TypeError for a rule that cannot be planned: one that branches by if, or leaves the words of `dynamics.words`.
    """
    asked = _traced(key, {})[0].questions
    trace, after = _traced(key, dict(zip(asked, answers, strict=True)))
    clock = [trace.as_number(after[name]) for name in key.rule.clock]
    writer = Writer({name: after[name] for name in ("w", *key.rule.state)}, trace)
    used = writer.numbers()
    given = "".join(f"{n.text}, " for n in used)
    results = f"return ({''.join(f'{n.text}, ' for n in clock)}), ({given})"
    source, numbers = _function("numbers", _numbers(key.rule), [*_statements([*clock, *used]), results])
    arguments = ["w", "g", *key.rule.state, *(n.text for n in used)]
    more, lists = _function("lists", arguments, writer.lines or ["pass"])
    return Plan(numbers, lists, f"{source}\n\n{more}")


def _numbers(rule: Rule) -> list[str]:
    return ["lr", "multiplier", "strength", *rule.defaults, *rule.clock]


def _traced(key: Key, answers: dict[int, bool]) -> tuple[Trace, dict[str, Any]]:
    """The composed step over symbols: the trace and what each field is afterwards."""
    trace = Trace(key.tensors, answers)
    values = {name: trace.literal(0) if name in key.zero else trace.given(name) for name in _numbers(key.rule)}
    fields = {name: trace.leaf(name) for name in ("w", "g", *key.rule.state)}
    inner = tuple({**fields, **values}[name] for name in key.rule.inner)
    gradient = -1 * fields["g"] if key.maximize else fields["g"]
    step = compose(key.rule, key.coupling, TRACED)
    hyper = [values[name] for name in key.rule.defaults]
    after = step(fields["w"], gradient, inner, values["lr"], values["multiplier"], values["strength"], hyper)
    return trace, dict(zip(("w", *key.rule.inner), after, strict=True))


def _statements(wanted: Iterable[Number]) -> list[str]:
    """What computes these numbers, each once, operands first."""
    lines: dict[str, str] = {}

    def visit(number: Number) -> None:
        if number.expression and number.text not in lines:
            for need in number.needs:
                visit(need)
            lines[number.text] = f"{number.text} = {number.expression}"

    for number in wanted:
        visit(number)
    return list(lines.values())


def _function(name: str, arguments: list[str], body: list[str]) -> tuple[str, Callable[..., Any]]:
    source = f"def {name}({', '.join(arguments)}):\n" + "".join(f"    {line}\n" for line in body)
    scope = dict(_SCOPE)
    exec(source, scope)  # built from the names of our own rules' parameters and of this file
    return source, scope[name]
