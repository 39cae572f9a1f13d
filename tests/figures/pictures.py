"""What a figure shows: its texts, and whether they can be read; its marks and their intervals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from figures.style import thin


def title_of(figure: Figure) -> str:
    """The finding above all panels, whatever lines it is broken into."""
    return " ".join(figure.get_suptitle().split())


def words(figure: Figure, renderer: RendererBase) -> list[Text]:
    """Every text that is seen: titles, axis and tick labels, notes."""
    # Ticks beyond the limits have labels too, which are not drawn: an axis' box holds those that are.
    outside = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            box, ticks = axis.get_tightbbox(renderer), axis.get_ticklabels(which="both")
            outside |= {
                t for t in ticks if box is None or not box.padded(1).fully_overlaps(t.get_window_extent(renderer))
            }
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in outside]


def assert_readable(figure: Figure) -> None:
    """No text lies on another, and none is cut by the page's edge."""
    thin(figure)  # as it is saved
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    found = [(t, t.get_window_extent(renderer)) for t in words(figure, renderer)]
    assert len(found) > 8
    for (one, a), (other, b) in combinations(found, 2):
        # Boxes have room around their letters; a pixel of common edge is no overlap.
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap) <= 1, f"{one.get_text()!r} lies on {other.get_text()!r}"
    page = figure.bbox
    for text, box in found:
        inside = box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1 and box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1
        assert inside, f"{text.get_text()!r} is cut"


def marks(container: ErrorbarContainer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x and y of marks, and the ends of their error bars, (marks, 2)."""
    line, _, bars = container
    ends = np.array([segment[:, 1] for segment in bars[0].get_segments()]) if bars else np.empty((0, 2))
    return line.get_xdata(), line.get_ydata(), ends


def interval(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 95% t-interval, (..., 2), over the last axis."""
    mean = samples.mean(axis=-1)
    half = stats.sem(samples, axis=-1) * stats.t.ppf(0.975, samples.shape[-1] - 1)
    return mean, mean[..., None] + half[..., None] * np.array([-1, 1])
