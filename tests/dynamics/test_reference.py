"""What rules say of libraries is about things that exist, and the reference page says what the rules say."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamics.couplings import COUPLINGS
from dynamics.libraries.catalogue import elsewhere
from dynamics.libraries.reference import offers, page
from dynamics.rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"
# timm is named, too, but cannot be installed beside this project: it asks for torchvision.
LIBRARIES = ("torch", "optax", "pytorch_optimizer", "schedulefree")
NAME = re.compile(rf"\b(?:{'|'.join(LIBRARIES)})(?:\.[A-Za-z_]\w*)+")


def find(name: str) -> Any:
    """The attribute of that dotted name; AttributeError if there is none."""
    library, *rest = name.split(".")
    found: Any = importlib.import_module(library)
    for part in rest:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("rule", RULES)
def test_what_is_said_of_libraries_exists(rule: str) -> None:
    about = RULES[rule]
    assert about.paper
    assert about.semantics
    for name in NAME.findall(f"{about.semantics} {elsewhere(about).differs}"):
        assert callable(find(name)), name
    assert set(elsewhere(about).offered) <= set(COUPLINGS) - {"none"}
    for coupling in elsewhere(about).offered:
        for offer in offers(about, COUPLINGS[coupling]):
            for name, arguments in calls(offer):
                if name.split(".")[0] == "timm":
                    assert name.startswith("timm.optim.")
                else:
                    assert set(arguments) <= set(inspect.signature(find(name)).parameters), offer


def calls(offer: str) -> Iterator[tuple[str, list[str]]]:
    """Every name in an offer with the arguments that it gives, the parts of a chain by their full names."""
    tree = ast.parse(re.sub(r"=(?=[,)])", "=...", offer), mode="eval").body
    called = tree.func if isinstance(tree, ast.Call) else tree
    arguments = tree.keywords if isinstance(tree, ast.Call) else []
    yield ast.unparse(called), [argument.arg or "" for argument in arguments]
    for part in tree.args if isinstance(tree, ast.Call) else []:
        yield from calls(f"optax.{ast.unparse(part)}")


def test_a_name_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(AttributeError):
        find("pytorch_optimizer.AdamWithEverything")
    assert list(calls("optax.chain(trace(nesterov=True), scale)")) == [
        ("optax.chain", []), ("optax.trace", ["nesterov"]), ("optax.scale", [])
    ]  # fmt: skip


def test_the_page_is_what_the_metadata_makes() -> None:
    again = "python -m dynamics.libraries.reference > docs/optimizers.md"
    assert PAGE.read_text(encoding="utf-8") == page(), f"{PAGE.name} is out of date: {again}"
