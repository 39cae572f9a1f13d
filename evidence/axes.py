"""A product of axes: every combination of values that a study asks for, with overrides and exclusions.

It knows names and values alone, not what they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any

import numpy as np

from dynamics.errors import InputError
from dynamics.given import shown

# A study of more runs than this is a slip of the hand, found before the memory is full.
MOST = 100_000


@dataclass(frozen=True)
class Product:
    """Every combination of the values of some axes.

    A value is a number, a word, true or false, or a list of these. 1 and 1.0 are one value.

    Args:
        fixed: names with the one value that they have everywhere.
        axes: names with the values that they go through, each a list.
        override: where the values in `when` hold, the other names take the value given here, or, unless the name is in
            `fixed`, each value of a list. A name in no other place exists only there. A list in `when` stands for any of
            its values.
        exclude: combinations in which these values hold are left out.

    Raises:
        InputError: for an axis without values or with one twice, a name that is fixed and an axis, an override or
            exclusion of unknown names.

    Example:
        >>> rates = {"when": {"optimizer": "sgd"}, "lr": [0.3, 0.1]}
        >>> product = Product({"batch": 40}, {"optimizer": ["adam", "sgd"], "lr": [1e-3]}, override=[rates])
        >>> [(cell["optimizer"], cell["lr"]) for cell in product.cells()]
        [('adam', 0.001), ('sgd', 0.3), ('sgd', 0.1)]
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    override: Sequence[Mapping[str, Any]] = ()
    exclude: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        self._take_once()
        for name, value in self.fixed.items():
            _plain(name, value)
            if name in self.axes:
                raise InputError(f"{name!r} is fixed and an axis: one of them is accepted")
        for name, values in self.axes.items():
            _plain_values(f"axis {name!r}", name, values)
        for k, entry in enumerate(self.override, 1):
            where = f"override {k}"
            when = entry.get("when")
            if not isinstance(when, Mapping) or not when or len(entry) < 2:
                raise InputError(f"{where}: `when` with names and values, and what they override, are accepted")
            self._known(where, when)
            for name, value in entry.items():
                if name == "when":
                    continue
                if name in self.fixed or not _is_list(value):
                    _plain(name, value)
                else:
                    _plain_values(f"{where}, {name!r}", name, value)
        for k, combination in enumerate(self.exclude, 1):
            if not isinstance(combination, Mapping) or not combination:
                raise InputError(f"exclusion {k}: names with values are accepted")
            self._known(f"exclusion {k}", combination)

    def _take_once(self) -> None:
        """Values that can be gone through only once, as those of a generator, as lists."""
        for word in ("fixed", "axes"):
            object.__setattr__(self, word, _listed(word, getattr(self, word)))
        for word in ("override", "exclude"):
            object.__setattr__(self, word, [_listed(word, entry) for entry in getattr(self, word)])

    @property
    def names(self) -> list[str]:
        """All names: fixed ones, axes as written, then those that overrides alone have."""
        given = [name for entry in self.override for name in entry if name != "when"]
        return list(dict.fromkeys([*self.fixed, *self.axes, *given]))

    def varied(self) -> list[str]:
        """The names that can differ between cells, in the order in which cells are listed."""
        given = {name for entry in self.override for name in entry}
        return [*self.axes, *(name for name in self.names if name in given and name not in self.axes)]

    def cells(self) -> list[dict[str, Any]]:
        """Every combination as {name: value}, in the order in which axes and values are written, the last axis fastest.

        Raises:
            InputError: for overrides that wait for each other or give one name two values, for an override or an
                exclusion that never applies, for more than 100,000 combinations and for none.
        """
        varied = self.varied()
        # A combination so far, and the places of its values, by which the whole is put in order at the end.
        found: list[tuple[dict[str, Any], dict[str, int]]] = [({k: _item(v) for k, v in self.fixed.items()}, {})]
        for name in self._order(varied):
            choices = [self._choices(name, cell) for cell, _ in found]
            count = sum(max(len(values), 1) for values in choices)
            if count > MOST:
                raise InputError(f"{count:,} combinations or more: up to {MOST:,} are accepted")
            found = [
                ({**cell, name: value}, {**places, name: k})
                for (cell, places), values in zip(found, choices, strict=True)
                for k, value in enumerate(values)
            ] + [pair for pair, values in zip(found, choices, strict=True) if not values]
        found.sort(key=lambda pair: [pair[1].get(name, -1) for name in varied])
        cells = [{name: cell[name] for name in self.names if name in cell} for cell, _ in found]
        for k, combination in enumerate(self.exclude, 1):
            if not any(_holds(combination, cell) for cell in cells):
                raise InputError(f"exclusion {k} ({_said(combination)}) excludes nothing: leave it out, or mend it")
        cells = [cell for cell in cells if not any(_holds(c, cell) for c in self.exclude)]
        if not cells:
            raise InputError("the exclusions leave no combination: one or more are accepted")
        for k, entry in enumerate(self.override, 1):
            if not any(_holds(entry["when"], cell) for cell in cells):
                raise InputError(f"override {k} (when {_said(entry['when'])}) never applies: leave it out, or mend it")
        return cells

    def _known(self, where: str, asked: Mapping[str, Any]) -> None:
        names = self.names
        for name, value in asked.items():
            if name not in names:
                raise InputError(f"{where} asks for {name!r}: accepted are {', '.join(names)}")
            _plain(name, value)

    def _order(self, varied: Sequence[str]) -> list[str]:
        """The varied names, each after those that decide on its values; InputError for a circle."""
        after: dict[str, set[str]] = {name: set() for name in varied}
        for entry in self.override:
            for name in entry:
                if name != "when":
                    after[name] |= {asked for asked in entry["when"] if asked in after}
        try:
            return list(TopologicalSorter(after).static_order())
        except CycleError as error:
            circle = ", ".join(reversed(error.args[1]))
            raise InputError(f"overrides wait for each other ({circle}): take one of them out") from None

    def _choices(self, name: str, cell: Mapping[str, Any]) -> list[Any]:
        """The values that a name takes in this cell, of which all that decides on them is known; none: it is not there."""
        given: list[Any] | None = None
        for entry in self.override:
            if name not in entry or not _holds(entry["when"], cell):
                continue
            value = entry[name]
            values = [_item(v) for v in value] if name not in self.fixed and _is_list(value) else [_item(value)]
            if given is not None and [_same(v) for v in given] != [_same(v) for v in values]:
                raise InputError(f"two values for {name!r} where {_said(entry['when'])}: {given} and {values}")
            given = values
        if given is not None:
            return given
        return [_item(self.fixed[name])] if name in self.fixed else [_item(v) for v in self.axes.get(name, ())]


def _is_list(value: Any) -> bool:
    # An array or a tensor of no dimension says that it can be gone through, and cannot.
    return (
        isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) and getattr(value, "ndim", 1) != 0
    )


def _listed(name: str, value: Any) -> Any:
    """A row of values as a list, also within a mapping, of which no more is taken than a study may have."""
    if isinstance(value, Mapping):
        return {name: _listed(name, part) for name, part in value.items()}
    if not _is_list(value) or isinstance(value, np.ndarray):
        return value
    values = list(islice(value, MOST + 1))
    if len(values) > MOST:
        raise InputError(f"{name!r} has more than {MOST:,} values: up to {MOST:,} are accepted")
    return values


def _item(value: Any) -> Any:
    """A value as plain data: NumPy's numbers as Python's, any row of values as a list."""
    if isinstance(value, np.generic):
        return value.item()
    return [_item(part) for part in value] if _is_list(value) else value


def _plain(name: str, value: Any) -> None:
    """InputError for what is no number, word, truth value or list of these."""
    for part in _leaves(_item(value)):
        if not isinstance(part, bool | int | float | str):
            raise InputError(f"{name} {shown(part)}: a number, a word, true, false or a list of these is accepted")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _plain_values(where: str, name: str, values: Any) -> None:
    """InputError for what is no list of different values."""
    if not _is_list(values):
        raise InputError(f"{where} {shown(values)}: a list of values is accepted")
    _plain(name, values)
    seen: set[Any] = set()
    for value in _item(values):
        if _same(value) in seen:
            raise InputError(f"{where} has {shown(value)} twice: each value once is accepted")
        seen.add(_same(value))
    if not seen:
        raise InputError(f"{where} is empty: one or more values are accepted")


def _same(value: Any) -> Any:
    """Equal for values that are one: 1 and 1.0, but not 1 and true."""
    if isinstance(value, list):
        return tuple(_same(part) for part in value)
    return (isinstance(value, bool), value)


def _holds(asked: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    """Whether each name is there with the value that is asked for, or with one of a list."""
    for name, wanted in asked.items():
        if name not in cell:
            return False
        have, want = _same(cell[name]), _item(wanted)
        if have != _same(want) and not (isinstance(want, list) and have in [_same(one) for one in want]):
            return False
    return True


def _said(asked: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {shown(value)}" for name, value in asked.items())
