"""What goes wrong where rules are written anew: slips that people make, of which each gives a rule of its own."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from dynamics.probe.mutations import Replaced, mutants_of
from dynamics.probe.source import function_of, tree_of
from dynamics.rule import BELOW_ONE, RANGES, Rule

Slip = tuple[str, Rule]
_Match = Callable[[ast.expr], str | None]


def slips(rule: Rule) -> Iterator[Slip]:
    """A rule with one slip after another, those that are often made first: (what it is, the rule with it)."""
    seen = {ast.unparse(tree_of(rule.step))}
    for words, definition in (*_usual(rule), *_late(rule)):
        text = ast.unparse(definition)
        if text not in seen:
            seen.add(text)
            yield words, replace(rule, step=function_of(definition, rule.step))
    yield from _dampened(rule)


def _dampened(rule: Rule) -> Iterator[Slip]:
    """torch's dampening: every gradient but the first enters a sum scaled down."""
    text = ast.unparse(tree_of(rule.step))
    for share, field in re.findall(r"(\w+) \* (\w+) \+ g\b", text):
        changed = text.replace(
            f"{share} * {field} + g", f"{share} * {field} + where(begun > 0, (1 - dampening) * g, g)"
        )
        (definition,) = ast.parse(changed).body
        last = definition.body[-1] if isinstance(definition, ast.FunctionDef) else None
        if (
            not isinstance(definition, ast.FunctionDef)
            or not isinstance(last, ast.Return)
            or not isinstance(last.value, ast.Tuple)
        ):
            continue
        at = [a.arg for a in definition.args.args].index("lr")
        definition.args.args.insert(at, ast.arg("begun"))
        definition.args.args.append(ast.arg("dampening"))
        last.value.elts.append(ast.parse("begun * 0 + 1", mode="eval").body)
        yield "dampening", replace(
            rule, step=function_of(definition, rule.step), clock={**rule.clock, "begun": 0.0},
            defaults={**rule.defaults, "dampening": 0.0}, ranges={**rule.ranges, "dampening": BELOW_ONE},
        )  # fmt: skip


def misprints(rule: Rule) -> Iterator[Slip]:
    """A rule with each misprint that its text can have: another sign, another name, a part left out."""
    shares = [name for name in rule.defaults if RANGES[name] is BELOW_ONE]
    sizes = ["lr", *(name for name in rule.defaults if name not in shares)]
    fields = ["w", "g", *(["pull"] if rule.takes_pull else []), *rule.state]
    for mutant in mutants_of(rule.step, [shares, sizes, fields, list(rule.clock)]):
        was, _, now = mutant.change.partition(" => ")
        yield f"`{now}` in the place of `{was}`", replace(rule, step=mutant.function())


def _usual(rule: Rule) -> Iterator[tuple[str, ast.FunctionDef]]:
    text = ast.unparse(tree_of(rule.step))
    roots = re.findall(r"sqrt\((\w+)\) \+ eps", text)
    for field in dict.fromkeys(roots):
        root = f"sqrt({field}) + eps"
        yield from _put(text, "eps inside the root", (root, f"sqrt({field} + eps)"))
        yield from _put(text, "eps^2 inside the root", (root, f"sqrt({field} + eps * eps)"))
        yield from _put(text, "no eps", (root, f"sqrt({field})"))
        yield from _put(text, "eps as a floor, not added", (root, f"maximum(sqrt({field}), eps)"))
        if "power2" in text:
            yield from _put(
                text, "eps added before the bias correction", (root, f"sqrt({field}) + eps * sqrt(1 / (1 - power2))")
            )
            yield from _put(
                text, "eps added after the bias correction", (root, f"sqrt({field}) + eps * sqrt(1 - power2)")
            )
    corrected = list(dict.fromkeys(re.findall(r" \* \(1 / \(1 - (\w+)\)\)", text)))
    factors = [(f" * (1 / (1 - {name}))", "") for name in corrected]
    if len(factors) > 1:
        yield from _put(text, "no bias correction", *factors)
    for name, factor in zip(corrected, factors, strict=True):
        other = "" if len(corrected) < 2 else f" of what {_shares(text, name)} fades"
        yield from _put(text, f"no bias correction{other}", factor)
        late = (factor[0], f" * (1 / (1 - {name} * {_shares(text, name)}))")
        yield from _put(text, f"a bias correction{other} that counts a step too many", late)
    for share, field in re.findall(r"(\w+) \* (\w+) \+ \(1 - \1\) \* g\b", text):
        yield from _put(text, f"{field} is a sum, not a mean", (f"(1 - {share}) * g", "g"))
        if re.search(rf"\b{field}hat\b", text) and f"lr * {field}hat" in text and "power1" in text:
            ahead = f"({share} * {field}hat + (1 - {share}) * g * (1 / (1 - power1)))"
            yield from _put(text, "with Nesterov's look-ahead", (f"lr * {field}hat", f"lr * {ahead}"))
    for share, field in re.findall(r"(\w+) \* (\w+) \+ g\b", text):
        yield from _put(
            text,
            f"dampened: {field} is a mean, not a sum",
            (f"{share} * {field} + g", f"{share} * {field} + (1 - {share}) * g"),
        )
        if f"lr * {field}" in text:
            moved = ((f"{share} * {field} + g", f"{share} * {field} + lr * g"), (f"lr * {field}", field))
            yield from _put(text, f"lr inside {field}: a change of it acts on later gradients alone", *moved)
    if "maximum(vmax, v)" in text:
        inside = (("maximum(vmax, v)", "maximum(vmax, v * (1 / (1 - power2)))"), ("vmax * (1 / (1 - power2))", "vmax"))
        yield from _put(text, "the maximum is of the corrected v", *inside)
    if "g * g" in text:
        yield from _put(text, "v gathers abs(g), not its square", ("g * g", "abs(g)"))
        yield from _put(
            text,
            "v is one number a tensor: the mean of its squares",
            ("g * g", "norm(g) * norm(g) * (0 * g + 1) / norm(0 * g + 1) / norm(0 * g + 1)"),
        )


def _shares(text: str, power: str) -> str:
    """By what a power fades."""
    found = re.search(rf"\b{power} = {power} \* (\w+)", text)
    return found[1] if found else "1"


def _put(text: str, words: str, *exchanges: tuple[str, str]) -> Iterator[tuple[str, ast.FunctionDef]]:
    changed = text
    for old, new in exchanges:
        changed = changed.replace(old, new)
    if changed != text:
        (definition,) = ast.parse(changed).body
        assert isinstance(definition, ast.FunctionDef)
        yield words, definition


def _late(rule: Rule) -> Iterator[tuple[str, ast.FunctionDef]]:
    """A field of the state that the step reads as it was before this gradient."""
    for field in rule.state:
        definition = copy.deepcopy(tree_of(rule.step))
        assigned = [s for s in definition.body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == field]
        last = definition.body[-1]
        if len(assigned) != 1 or not isinstance(last, ast.Return) or not isinstance(last.value, ast.Tuple):
            continue
        assigned[0].targets = [ast.Name("now", ast.Store())]
        kept = last.value.elts
        last.value.elts = [kept[0], *(ast.Name("now", ast.Load()) if ast.unparse(x) == field else x for x in kept[1:])]
        yield f"{field} a step late: without the gradient of the moment", definition


def with_pull_at(rule: Rule) -> Iterator[Slip]:
    """A rule that takes the pull itself at one place of its text after another: (where, the rule)."""
    if rule.takes_pull:
        return
    original = tree_of(rule.step)
    count = sum(1 for _ in _places(original))
    seen = set()
    if "g * g" in (text := ast.unparse(original)):
        (definition,) = ast.parse(text.replace("g * g", "(g + pull) * (g + pull)")).body
        assert isinstance(definition, ast.FunctionDef)
        definition.args.args.insert(2, ast.arg("pull"))
        yield (
            "it joins the gradient that is squared, and no other",
            replace(rule, step=function_of(definition, rule.step)),
        )
    for k in range(count):
        definition = copy.deepcopy(original)
        statement, node = list(_places(definition))[k]
        read, line = ast.unparse(node), ast.unparse(statement)
        joined = ast.BinOp(copy.deepcopy(node), ast.Add(), ast.Name("pull", ast.Load()))
        Replaced(node, joined).visit(statement)
        definition.args.args.insert(2, ast.arg("pull"))
        if (text := ast.unparse(definition)) not in seen:
            seen.add(text)
            yield f"it joins {read} in `{line}`", replace(rule, step=function_of(definition, rule.step))


def _places(definition: ast.FunctionDef) -> Iterator[tuple[ast.stmt, ast.expr]]:
    """What a pull can be added to: names and products that are read, but no hyperparameter or clock by itself."""
    fields = {"g"} | {ast.unparse(s.targets[0]) for s in definition.body if isinstance(s, ast.Assign)}
    for statement in definition.body:
        value = getattr(statement, "value", None)
        if value is None:
            continue
        parts = value.elts[:1] if isinstance(value, ast.Tuple) else [value]
        for part in parts:
            for node in ast.walk(part):
                named = isinstance(node, ast.Name) and node.id in fields
                product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div)
                if isinstance(node, ast.expr) and (named or product):
                    yield statement, node
