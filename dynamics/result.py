"""What an answer shows of itself in a notebook: a table, a data frame, a picture."""

from __future__ import annotations

import math
import textwrap
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from dynamics.given import kind

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Of all pictures, those of `figures` too.
STYLE = Path(__file__).with_name("undertow.mplstyle")
# Rows that a notebook shows of a longer table: half of them from its start, half from its end.
SHOWN = 60


class Result:
    """An answer in rows of named columns.

    A class says what its `rows` are, what they come to in one sentence (`finding`) and how they are drawn (`_draw`).
    """

    def rows(self) -> list[dict[str, Any]]:
        """The numbers, unrounded, as plain data: a dictionary a row, from column to value; None where there is none."""
        raise NotImplementedError

    @property
    def finding(self) -> str:
        """What the rows come to, in one sentence: the caption of the table, the title of the picture."""
        raise NotImplementedError

    def _draw(self, axes: Axes) -> None:
        raise NotImplementedError

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as a data frame of pandas, in their order.

        Returns:
            A row for each of `rows`, a column for each name in them.

        Raises:
            InputError: where pandas is not installed.

        Example:
            >>> from undertow import explain
            >>> int(explain("adam lr=1e-3 l2=1e-4").to_dataframe().half_life[0])
            501
        """
        try:
            import pandas as pd
        except ImportError:
            raise InputError("'pandas' is missing: install pandas, as undertow's own dependency xarray does") from None
        rows = self.rows()
        return pd.DataFrame(rows, columns=_columns(rows))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rows.

        Args:
            ax: the axes of matplotlib's that are drawn on; None: new ones, in undertow's style.

        Returns:
            The axes.

        Raises:
            InputError: for other axes than matplotlib's, and where there is nothing to draw.

        Example:
            >>> from undertow import explain
            >>> explain("adam lr=1e-3 l2=1e-4").plot().get_xlabel()
            'steps from 1 to 1e-3, without a gradient'
        """
        from matplotlib.axes import Axes

        if ax is not None:
            self._draw(kind("ax", ax, Axes, "axes of matplotlib's"))
            return self._titled(ax)
        from matplotlib import pyplot as plt

        with plt.style.context(STYLE):
            figure, axes = plt.subplots()
            try:
                self._draw(axes)
            except InputError:
                plt.close(figure)
                raise
            figure.draw_without_rendering()  # after it the axes have their final width
            return self._titled(axes)

    def _titled(self, axes: Axes) -> Axes:
        # A bold letter of 11 points is a tenth of an inch wide, a little less in the mean.
        letters = int(10.2 * axes.get_window_extent().width / axes.figure.dpi)
        lines = textwrap.wrap(self.finding, max(letters, 20), break_on_hyphens=False)
        axes.set_title("\n".join(lines), loc="left", parse_math=False)  # a name may have a $ in it
        return axes

    def _repr_html_(self) -> str:
        return as_html(self.rows(), self.finding)


def as_html(rows: list[dict[str, Any]], caption: str) -> str:
    """Rows as a table of HTML, everything in it escaped; one row alone stands upright, a line a column."""
    columns = _columns(rows)
    head = f"<table><caption>{escape(caption)}</caption>"
    if len(rows) == 1:
        lines = [f"<tr><th>{escape(name)}</th>{_cell(rows[0][name])}</tr>" for name in columns]
        return f"{head}<tbody>{''.join(lines)}</tbody></table>"
    lines = [f"<tr>{''.join(_cell(row.get(name)) for name in columns)}</tr>" for row in rows]
    if len(lines) > SHOWN:
        left_out = f'<tr><td colspan="{len(columns)}">... {len(lines) - SHOWN:,} more rows ...</td></tr>'
        lines = [*lines[: SHOWN // 2], left_out, *lines[-SHOWN // 2 :]]
    titles = "".join(f"<th>{escape(name)}</th>" for name in columns)
    return f"{head}<thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, int | float):
        said = f"{value:,}" if isinstance(value, int) else "" if math.isnan(value) else f"{value:.6g}"
        return f'<td style="text-align: right">{said}</td>'
    return f'<td style="text-align: left">{escape("" if value is None else str(value))}</td>'
