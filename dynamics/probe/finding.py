"""One thing that a probe finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was found. kind: "wrong", what acts is not what is claimed; "note", what is good to know."""

    kind: Literal["wrong", "note"]
    said: str

    def __str__(self) -> str:
        return self.said


def wrong(said: str) -> Finding:
    """What acts is not what is claimed."""
    return Finding("wrong", said)


def note(said: str) -> Finding:
    """What is good to know."""
    return Finding("note", said)
