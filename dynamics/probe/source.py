"""Functions with their source changed."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable
from typing import Any


def tree_of(function: Callable[..., Any]) -> ast.FunctionDef:
    """The definition of the function, also of one that `function_of` has made."""
    if hasattr(function, "definition"):
        return copy.deepcopy(function.definition)  # type: ignore[no-any-return]
    (definition,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(definition, ast.FunctionDef)
    return definition


def function_of(definition: ast.FunctionDef, like: Callable[..., Any]) -> Callable[..., Any]:
    """The function that the definition defines, in the module of `like`."""
    module = ast.fix_missing_locations(ast.Module(body=[definition], type_ignores=[]))
    scope = dict(vars(inspect.getmodule(like)))  # type: ignore[arg-type]
    exec(compile(module, f"<{definition.name}, changed>", "exec"), scope)
    made: Callable[..., Any] = scope[definition.name]
    made.definition = definition  # type: ignore[attr-defined]
    return made


class _Exchange(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new, self.count = ast.unparse(ast.parse(old)), ast.parse(new, mode="eval").body, 0

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and ast.unparse(node) == self.old:
            self.count += 1
            return self.new
        return self.generic_visit(node)


def exchanged(function: Callable[..., Any], exchanges: dict[str, str]) -> Callable[..., Any]:
    """The function with each expression that reads as the key exchanged for the value; every key must occur."""
    tree: Any = tree_of(function)
    for old, new in exchanges.items():
        exchange = _Exchange(old, new)
        tree = exchange.visit(tree)
        assert exchange.count, f"{old} is not in {function.__name__}"
    return function_of(tree, function)
