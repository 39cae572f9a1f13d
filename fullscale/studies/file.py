"""A study as a user writes it: a TOML file, a Python file, or one that comes with the package."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from dynamics import given
from dynamics.errors import InputError
from dynamics.given import shown
from evidence.axes import Product

_WORDS = ("name", "title", "fixed", "axes", "override", "exclude")


@dataclass(frozen=True)
class Study:
    """Runs that are asked for together: every combination of the values of some axes.

    Args:
        name: up to 100 small letters, digits, - and _.
        title: what is looked at, in a few words.
        fixed: what all runs have in common: see `evidence.axes.Product`, also for the others.
        axes: names with the values that they go through.
        override: other values where some hold.
        exclude: combinations that are left out.

    Raises:
        InputError: for another name, and as `evidence.axes.Product` does.

    Example:
        >>> study = Study("batch", fixed={"data": "digits", "epochs": 5}, axes={"batch": [20, 40], "seed": [0, 1]})
        >>> len(study.cells())
        4
    """

    name: str
    title: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    override: Sequence[Mapping[str, Any]] = ()
    exclude: Sequence[Mapping[str, Any]] = ()
    product: Product = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and re.fullmatch("[a-z0-9][a-z0-9_-]{0,99}", self.name)):
            raise InputError(
                f"name {shown(self.name)} of a study: up to 100 small letters, digits, - and _ are accepted"
            )
        for word, kind, said in (
            ("title", str, "a text"),
            ("fixed", Mapping, "names with values"),
            ("axes", Mapping, "names with lists of values"),
            ("override", list | tuple, "a list, each with `when` and what it overrides"),
            ("exclude", list | tuple, "a list of names with values"),
        ):
            if not isinstance(getattr(self, word), kind):
                raise InputError(f"{word} {shown(getattr(self, word))} of a study: {said} is accepted")
        for word in ("override", "exclude"):
            for entry in getattr(self, word):
                if not isinstance(entry, Mapping):
                    raise InputError(f"{word} {shown(entry)} of a study: names with values are accepted")
        object.__setattr__(self, "product", Product(self.fixed, self.axes, self.override, self.exclude))

    def cells(self) -> list[dict[str, Any]]:
        """Every combination, as `evidence.axes.Product.cells` gives them."""
        return self.product.cells()


def built_in() -> list[str]:
    """The names of the studies that come with the package."""
    files = resources.files("fullscale.studies").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def find_study(name: str) -> Study:
    """The study of that name, or the one that a file holds.

    Args:
        name: of a study that comes with the package, or a path that ends in .toml or .py.

    Returns:
        The study.

    Raises:
        InputError: for an unknown name, a file that cannot be read or run, and what is no study; with the line, where
            there is one.

    Example:
        >>> find_study("digits").axes["seed"]
        [0, 1, 2]
    """
    path = given.path("study", name)
    if path.suffix not in (".toml", ".py"):
        if name not in built_in():
            raise InputError(
                f"study {name!r} is unknown: accepted are {', '.join(built_in())}, and a file that ends in .toml or .py"
            )
        return _from_toml(resources.files("fullscale.studies").joinpath(f"{name}.toml").read_text(), name)
    accepted = "a file of TOML or Python is accepted"
    try:
        text = given.file(path, accepted).read_bytes().decode()
    except UnicodeDecodeError:
        raise InputError(f"study {path} cannot be read (it is no text): {accepted}") from None
    return _from_toml(text, name) if path.suffix == ".toml" else _from_python(path)


def find_studies(name: str, **changes: Any) -> list[Study]:
    """The studies that a name stands for.

    Args:
        name: as for `find_study`; or the first word of several that come with the package, as `paper` of paper-1-rates.
        **changes: what all runs shall have instead of what the study says; a study that varies it keeps its own values.

    Returns:
        One study, or several in the order of their names.

    Raises:
        InputError: as `find_study`, and where no study fixes what is changed.

    Example:
        >>> [study.fixed["size"] for study in find_studies("paper-1-rates", size=32)]
        [32]
    """
    parts = [known for known in built_in() if known.startswith(f"{given.path('study', name)}-")]
    found = [find_study(part) for part in parts] if parts and name not in built_in() else [find_study(name)]
    for what, value in changes.items():
        if not any(what in study.fixed for study in found):
            raise InputError(f"{what} {value}: study {name} does not fix it: a study that does is accepted")
    return [replace(study, fixed={k: changes.get(k, value) for k, value in study.fixed.items()}) for study in found]


def _from_toml(text: str, where: str) -> Study:
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of too many digits, lists too deep in each other
        raise InputError(f"study {where}: {error}") from None
    for word in found:
        if word not in _WORDS:
            raise InputError(f"study {where}: {word!r} is unknown: accepted are {', '.join(_WORDS)}")
    if "name" not in found:
        raise InputError(f"study {where} has no name: name = ... is accepted, above all tables")
    try:
        return Study(**found)
    except RecursionError:
        raise InputError(f"study {where}: tables too deep in each other: names with values are accepted") from None
    except InputError as error:
        raise InputError(f"study {where}: {error}") from None


def _from_python(path: Path) -> Study:
    beside = str(path.absolute().parent)
    sys.path.insert(0, beside)  # as for any script, modules beside it can be imported
    try:
        names = runpy.run_path(str(path), run_name=path.stem)
    except SyntaxError as error:
        raise InputError(f"study {error.filename}, line {error.lineno}: {error.msg}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # another's code: whatever it raises is told as its mistake
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"study {path}, line {lines[-1] if lines else 1}: {said[:500]}") from None
    finally:
        sys.path.remove(beside)
    found = [thing for thing in names.values() if isinstance(thing, Study)]
    if len({id(thing) for thing in found}) != 1:
        raise InputError(f"study {path} holds {len(found)} studies: one, study = Study(...), is accepted")
    return found[0]
