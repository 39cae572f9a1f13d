"""Every public name says what it takes and gives in one form, and its example does what it shows."""

from __future__ import annotations

import doctest
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import undertow
from dynamics import rules
from evidence import registry

# What the recipes of CONTRIBUTING.md use beside the names of `undertow`.
RECIPES = {
    "dynamics.rule": ("Rule",),
    "dynamics.couplings": ("Coupling",),
    "dynamics.simulate.together": ("simulate_together",),
    "dynamics.simulate.kernel": ("source",),
    "dynamics.simulate.schedules": ("constant", "step_decay", "cosine"),
    "dynamics.estimate": ("holm",),
    "evidence.registry": ("World", "world", "claim", "figure", "load_worlds"),
    "evidence.claim": (
        *("Estimate", "mean_interval", "ratio_interval", "spread"),
        *("above", "below", "within", "never_above"),
    ),
    "evidence.study": ("Run", "run_all"),
    "evidence.store": ("Store",),
    "evidence.merge": ("merge",),
    "figures.style": ("Picture", "save", "styled"),
    "fullscale.data": ("load",),
    "fullscale.spec": ("RunSpec",),
    "fullscale.train": ("train",),
}
# Tables: what is in them has the docstring.
PUBLIC = {name: getattr(undertow, name) for name in undertow.__all__ if name not in ("RULES", "COUPLINGS")}
PUBLIC |= {f"{home}.{name}": getattr(import_module(home), name) for home, names in RECIPES.items() for name in names}
ORDER = ["Args", "Returns", "Raises", "Example", "Source"]


def sections(thing: Any) -> dict[str, str]:
    """The text below each head of a docstring, and above all under ""."""
    heads = re.split(r"^([A-Z][a-z]+):\n", inspect.getdoc(thing) or "", flags=re.MULTILINE)
    return {"": heads[0]} | dict(zip(heads[1::2], heads[2::2], strict=True))


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_has_the_form(name: str) -> None:
    thing = PUBLIC[name]
    found = sections(thing)
    heads = list(found)[1:]
    assert heads == [head for head in ORDER if head in heads]
    assert re.match(r"[A-Z1`].*\.(\s|$)", found[""], re.DOTALL)
    assert "InputError" not in found[""] or name == "InputError"
    # An error and a protocol are not made by a reader's hand.
    called = inspect.signature((lambda: None) if name in ("InputError", "evidence.registry.World") else thing)
    assert re.findall(r"^    \*{0,2}(\w+): \S", found.get("Args", ""), re.MULTILINE) == list(called.parameters)
    assert ("Returns" in heads) == (inspect.isfunction(thing) and called.return_annotation != "None")
    assert "Example" in heads


@pytest.fixture
def registries_as_they_were() -> Iterator[None]:
    tables = (rules._rules, rules._own, registry.EXPERIMENTS, registry.CLAIMS, registry.FIGURES)
    before, modules = [dict(table) for table in tables], set(sys.modules)
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)
    for module in [module for module in sys.modules if module.startswith("undertow_worlds_") and module not in modules]:
        del sys.modules[module]


@pytest.mark.usefixtures("registries_as_they_were", "one_thread")
@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_does_what_it_shows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    thing = inspect.unwrap(PUBLIC[name])
    around = dict(vars(sys.modules[thing.__module__]))
    (example,) = doctest.DocTestFinder(recurse=False).find(thing, name, globs=around)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    outcome = runner.run(example)
    assert outcome.attempted > 0
    assert outcome.failed == 0, capsys.readouterr().out
