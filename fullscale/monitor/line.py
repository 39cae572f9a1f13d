"""The state of training in one line, and that line in a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.text import Text

from evidence.progress import messages, moves


def line(step: int, alive: int, filters: int, died: Mapping[str, int], steps: int, share: float) -> str:
    """The line: alive of all filters; died by cause in the last `steps` steps; the median share of the regularizer.

    >>> line(1200, 231, 464, {"regularizer": 10, "noise": 2}, 100, 0.43)
    'step 1,200: 231 of 464 filters alive; 12 died in the last 100 steps: 10 regularizer, 2 noise; pull share median 0.43'
    """
    count = sum(died.values())
    causes = ", ".join(f"{n} {cause}" for cause, n in died.items())
    parts = [f"step {step:,}: {alive} of {filters} filters alive"]
    parts.append(f"{count or 'none'} died in the last {steps} steps" + (f": {causes}" if causes else ""))
    parts.append("pull share unknown" if math.isnan(share) else f"pull share median {share:.2f}")
    return "; ".join(parts)


class Line:
    """One line that is written over again in a terminal; elsewhere nothing is written."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or messages()
        self._live = Live(console=console, auto_refresh=False) if moves(console) else None
        if self._live is not None:
            self._live.start()

    def show(self, text: str) -> None:
        """Write it in place of what was there."""
        if self._live is not None:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        """Leave the last line standing."""
        if self._live is not None:
            self._live.stop()
