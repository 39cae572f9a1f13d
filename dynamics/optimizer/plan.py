"""A composed step as a straight line of torch._foreach calls, made once for each setting and run over any parameters.

The plan is Python source made from the graph of `dynamics.optimizer.trace`: one function for the numbers that all tensors
share, one for the lists (`dynamics.optimizer.writer`). It comes from the very function that is the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from dynamics.couplings import Coupling, compose
from dynamics.optimizer.trace import Number, Trace
from dynamics.optimizer.words import TRACED
from dynamics.optimizer.writer import Writer
from dynamics.rule import Rule
from dynamics.words import tensors as tensor_words

_WORDS = tensor_words()
_FOREACH = ("abs", "add", "addcdiv", "addcmul", "div", "lerp", "maximum", "mul", "sqrt")
# What the generated source calls; a name that ends in _ writes in place.
_SCOPE: dict[str, Any] = {
    **{f"each_{name}": getattr(torch, f"_foreach_{name}") for name in _FOREACH},
    **{f"each_{name}_": getattr(torch, f"_foreach_{name}_") for name in (*_FOREACH, "copy")},
    "each_norm": torch._foreach_norm,
    "choose": torch.where,
    **{name: _WORDS[name] for name in ("sqrt", "sign", "maximum", "power", "where", "orthogonal", "aspect")},
}


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


# Small tensors are taken together up to this many bytes a list: with the few lists of a step they stay in the cache.
_BATCH = 1 << 18


def batches(lists: Sequence[Sequence[torch.Tensor]]) -> Iterator[list[list[torch.Tensor]]]:
    """The parallel lists, cut alike, so that a step over each part finds in the cache what its last call left there.

    Tensor by tensor or few at a time, a processor takes a third of the time of torch's foreach over all of them.
    """
    start = size = 0
    for k, x in enumerate(lists[0]):
        size += x.numel() * x.element_size()
        if size >= _BATCH or k == len(lists[0]) - 1:
            yield [list(tensors[start : k + 1]) for tensors in lists]
            start, size = k + 1, 0
