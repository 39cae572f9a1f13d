"""Text in lines no wider than a terminal: broken at blanks, so that no number is cut."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

GAP = "  "  # between columns
PARAGRAPH = 112  # characters of its lines, or fewer where the terminal has fewer


def width(piped: int | None = None) -> int | None:
    """The characters that fit into a line of the terminal: COLUMNS where it is set, else as many as it has.

    Args:
        piped: as many where standard output is no terminal and COLUMNS is not set; None: lines are then as long as they are,
            whatever COLUMNS says, which every program below one that reads lines of a terminal inherits.

    Returns:
        The characters; None for no end.

    Source:
        `shutil.get_terminal_size`; POSIX, Base Definitions, 8.3, COLUMNS.
    """
    if piped is None and not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size((piped or 80, 24)).columns


def wrapped(text: str) -> str:
    """A long sentence as lines of an indented paragraph."""
    most = min(width() or PARAGRAPH, PARAGRAPH)
    return textwrap.fill(text, most, initial_indent="  ", subsequent_indent="    ", break_long_words=False)


def fit(text: str, most: int | None) -> str:
    """The text with lines that are longer than `most` broken at blanks and set in; a longer word stays whole.

    Example:
        >>> print(fit("  half-life: 501 steps (simulated)", 22))
          half-life: 501 steps
            (simulated)
    """
    if most is None:
        return text
    return "\n".join(_broken(line, most) if len(line) > most else line for line in text.split("\n"))


def _broken(line: str, most: int) -> str:
    indent = len(line) - len(line.lstrip())
    return _filled(line, most, " " * min(indent + 2, most // 4))


def _filled(text: str, most: int, indent: str) -> str:
    return textwrap.fill(text, max(most, 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def hanging(head: str, text: str, most: int | None) -> str:
    """The head and the text beside it, or all of it as one paragraph where the head would take half of the width.

    Example:
        >>> print(hanging("S6   ", "selective features die first", 20))
        S6   selective
             features die
             first
    """
    if most is None:
        return head + text
    indent = " " * len(head)
    if 2 * len(head) > most:
        head, indent = " ".join([*head.split(), ""]), ""
    return _filled(head + text, most, indent)


def table(rows: Sequence[Sequence[str]], right: Collection[int] = (), most: int | None = None) -> list[str]:
    """Rows below a head in columns; where they do not fit, words of a cell below each other, or a line for each cell.

    Args:
        rows: the first is the head; all of one length.
        right: the columns whose cells are set to the right, as numbers are.
        most: characters of a line; None: as many as there are.

    Returns:
        The lines.

    Example:
        >>> for line in table([["layer", "filters"], ["first conv", "8"]], {1}, 16):
        ...     print(line)
        layer    filters
        first          8
        conv
    """
    columns = list(zip(*rows, strict=True))
    wide = [max(map(len, column)) for column in columns]
    least = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    gaps = len(GAP) * (len(wide) - 1)
    if most is not None and sum(least) + gaps > most:
        return _upright(rows, most)
    while most is not None and sum(wide) + gaps > most:
        # From the widest that has words to move down.
        shrinks = max((k for k in range(len(wide)) if wide[k] > least[k]), key=wide.__getitem__)
        wide[shrinks] -= 1
    return [line for row in rows for line in _row(row, wide, right)]


def _row(row: Sequence[str], wide: Sequence[int], right: Collection[int]) -> list[str]:
    cells = [
        _filled(cell, size, "").split("\n") if len(cell) > size else [cell]
        for cell, size in zip(row, wide, strict=True)
    ]
    found = []
    for k in range(max(map(len, cells))):
        parts = [cell[k] if k < len(cell) else "" for cell in cells]
        padded = [
            f"{part:{'>' if i in right else '<'}{size}}" for i, (part, size) in enumerate(zip(parts, wide, strict=True))
        ]
        found.append(GAP.join(padded).rstrip())
    return found


def _upright(rows: Sequence[Sequence[str]], most: int) -> list[str]:
    """Each row as lines of their own, a name and a cell in each."""
    found: list[str] = []
    for row in rows[1:]:
        told = [
            (f"{name}: " if name else "", cell.strip()) for name, cell in zip(rows[0], row, strict=True) if cell.strip()
        ]
        found += [
            *([""] if found else []),
            *(line for name, cell in told for line in _filled(name + cell, most, "  ").split("\n")),
        ]
    return found
