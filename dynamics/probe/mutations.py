"""Small mistakes, planted one at a time in the syntax tree of a function."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dynamics.probe.source import function_of, tree_of

_OPPOSITE = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Gt: (ast.Lt, ast.GtE),
    ast.Lt: (ast.Gt, ast.LtE),
    ast.LtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
}
# Calls of which nothing but the first argument may be left.
_DROPPED = ("sqrt", "sign", "abs", "norm", "power", "orthogonal", "transpose", "times")


@dataclass(frozen=True)
class Mutant:
    """A function with one mistake. change: the statement as it was and as it is, which names the mutant."""

    change: str
    definition: ast.FunctionDef
    original: Callable[..., Any]

    def function(self) -> Callable[..., Any]:
        return function_of(self.definition, self.original)


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _alternatives(node: ast.AST, alike: Sequence[Sequence[str]]) -> Iterator[ast.expr]:
    """Expressions that may stand for the node by mistake; names of one group of `alike` are taken for each other."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in _OPPOSITE:
            yield ast.BinOp(node.left, _OPPOSITE[type(node.op)](), node.right)
        yield node.left
        yield node.right
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        smaller = node.value - 1 if isinstance(node.value, int) else node.value / 2
        for value in dict.fromkeys((0, node.value + 1, smaller)):
            if value != node.value:
                yield ast.Constant(value)
    elif isinstance(node, ast.Compare):
        for other in _COMPARED.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name, values = node.func.id, node.args
        if name in _DROPPED:
            yield values[0]
        elif name == "shape_factor":
            yield ast.Constant(1.0)
        elif name in ("maximum", "largest"):
            yield from values
            yield _expression(f"-{name}(-({ast.unparse(values[0])}), -({ast.unparse(values[1])}))")
        elif name == "where":
            yield from values[1:]
            yield ast.Call(node.func, [values[0], values[2], values[1]], [])
    elif isinstance(node, (ast.Name, ast.Constant)):
        was = node.id if isinstance(node, ast.Name) else node.value
        for group in alike:
            for name in group if was in group else ():
                if name != was:
                    yield ast.Constant(name) if isinstance(node, ast.Constant) else ast.Name(name, ast.Load())


def _statements(body: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], int]]:
    """Every statement, as its place in a list of statements: nested ones too, docstrings not."""
    for k, statement in enumerate(body):
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        yield body, k
        if isinstance(statement, (ast.If, ast.For, ast.FunctionDef)):
            yield from _statements(statement.body)
            yield from _statements(getattr(statement, "orelse", []))


# Where a statement keeps the expression that it reads.
_READ = {ast.Assign: "value", ast.Return: "value", ast.If: "test", ast.For: "iter"}


def _line(statement: ast.stmt) -> str:
    return ast.unparse(statement).splitlines()[0]


class Replaced(ast.NodeTransformer):
    """A tree with another expression in the place of one of its nodes."""

    def __init__(self, old: ast.AST, new: ast.expr) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _loaded(root: ast.AST) -> Iterator[ast.AST]:
    """Nodes that are read, in order, without the names of called functions."""
    yield root
    for field, value in ast.iter_fields(root):
        if isinstance(root, ast.Call) and field == "func":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, (ast.expr, ast.comprehension)):
                yield from _loaded(child)


def _locals(definition: ast.FunctionDef, before: int) -> list[str]:
    """Names that statements before the one on that line assign, without parameters."""
    parameters = {argument.arg for argument in definition.args.args}
    stored = [
        node.id
        for node in ast.walk(definition)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.lineno < before
    ]
    return [name for name in dict.fromkeys(stored) if name not in parameters]


def mutants_of(function: Callable[..., Any], alike: Sequence[Sequence[str]], local: bool = True) -> list[Mutant]:
    """All mutants of the function, each once, in the order of its source.

    alike: groups of names that may be taken for each other; local: names that the function assigns make a group, too.
    """
    original = tree_of(function)
    places = list(_statements(original.body))
    found: dict[str, Mutant] = {}

    def plant(definition: ast.FunctionDef, old: str, new: str) -> None:
        change = f"{old} => {new}"
        if old != new and ast.unparse(definition) not in seen:
            seen.add(ast.unparse(definition))
            number = sum(key.split(" #")[0] == change for key in found)
            name = f"{change} #{number + 1}" if number else change
            found[name] = Mutant(name, definition, function)

    seen = {ast.unparse(original)}
    parameters = {argument.arg for argument in original.args.args}
    for at, (body, k) in enumerate(places):
        statement = body[k]
        groups = [*alike, _locals(original, statement.lineno) if local else []]
        field = _READ.get(type(statement), "")
        for position, node in enumerate(_loaded(getattr(statement, field)) if field else ()):
            for n, _ in enumerate(_alternatives(node, groups)):
                changed = copy.deepcopy(original)
                inner, place = list(_statements(changed.body))[at]
                read = getattr(inner[place], field)
                target = list(_loaded(read))[position]
                new = list(_alternatives(target, groups))[n]
                setattr(inner[place], field, Replaced(target, new).visit(read))
                plant(changed, _line(statement), _line(inner[place]))
        if isinstance(statement, ast.If) or _overwrites(statement, parameters):
            changed = copy.deepcopy(original)
            inner, place = list(_statements(changed.body))[at]
            inner[place] = ast.Pass()
            plant(changed, _line(statement), "nothing")
    return list(found.values())


def _overwrites(statement: ast.stmt, parameters: set[str]) -> bool:
    return isinstance(statement, ast.Assign) and all(
        isinstance(target, ast.Name) and target.id in parameters for target in statement.targets
    )
