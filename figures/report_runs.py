"""The report's tables of CNN runs: what was removed from the networks, how their learning rates were chosen, the paper's table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import xarray as xr

from dynamics.couplings import COUPLINGS
from figures.style import label_of
from fullscale.lr_grid import standard_error
from fullscale.studies.table import MEASURES, percent


def removal(data: xr.Dataset) -> str:
    """What was removed and what the certificates say, one row a cell; means over seeds, largest differences."""
    head = (
        "<tr><th>Optimizer</th><th>L2</th><th>lr</th><th>Inactive by activation / by scale</th><th>Removed</th>"
        "<th>Parameters, multiply-adds left</th><th>Test error before, after</th><th>Largest output difference: test, random"
        "</th></tr>"
    )
    rows = []
    for name in data.optimizer.values:
        for strength in data.strength.values:
            cell = data.sel(optimizer=name, strength=strength)
            mean = cell.isel(epoch=-1).mean("seed")
            largest = cell[["difference", "noise_difference"]].max()
            values = (
                label_of(str(name)),
                f"{strength:g}",
                f"{float(cell.lr):g}",
                f"{float(mean.inactive_by_activation):.1%} / {float(mean.inactive_by_scale):.1%}",
                f"{float(mean.removed):.1%}",
                f"{float(mean.parameters):.1%}, {float(mean.multiply_adds):.1%}",
                f"{float(mean.error_before):.2%}, {float(mean.error_after):.2%}",
                f"{float(largest.difference):.1e}, {float(largest.noise_difference):.1e}",
            )
            rows.append("<tr>" + "".join(f'<td class="number">{escape(v)}</td>' for v in values) + "</tr>")
    text = (
        "<h3>Dead filters removed, with a certificate</h3><p>Filters that put out 0 for every input, constants (folded into "
        "the next layer) and filters that no training image excites are taken out of each network. The certificate is the "
        f"largest difference of any output, on the test images and on random ones. Means over {data.sizes['seed']} seeds.</p>"
    )
    return f'{text}<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def grid(found: dict[str, Any]) -> str:
    """The learning-rate grid behind the CNN runs, one row a cell, the chosen ones marked."""
    head = "<tr><th>Optimizer</th><th>lr</th><th>Validation accuracy</th><th>Loss</th><th>Inactive</th><th></th></tr>"
    rows = []
    for cell in found["cells"]:
        values = (
            label_of(cell["optimizer"]),
            f"{cell['lr']:g}",
            f"{cell['accuracy']:.2%} &plusmn; {standard_error(cell):.2%}",
            f"{cell['loss']:.3f}",
            f"{cell['inactive_by_activation']:.1%}",
            "chosen" if found["chosen"][cell["optimizer"]]["lr"] == cell["lr"] else "",
        )
        rows.append("<tr>" + "".join(f'<td class="number">{v}</td>' for v in values) + "</tr>")
    spec = found["spec"]
    text = (
        "<h3>How the learning rates were chosen</h3><p>Best mean validation accuracy (of equals, the lower loss) under L2 "
        f"{spec['strength']:g}, n = {len(spec['seeds'])} seeds, each with a validation part of its own; &plusmn; one standard "
        "error. Strength and length of the runs were chosen by looking at where sparsity emerges at this size, so its level "
        "is that of a demonstration; and rates whose accuracy cannot be told apart differ in sparsity, as the table shows.</p>"
    )
    return f'{text}<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def by_strength(cells: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[tuple[list[str], bool]]]:
    """The paper's table in words: its head, and rows, each with whether it has its optimizer's lowest mean test error.

    Args:
        cells: as `fullscale.studies.table.cells` gives them, over optimizer, coupling, strength and lr.
    """
    lowest: dict[str, float] = {}
    for one in cells:
        if (mean := one["test_error"]["mean"]) is not None:
            lowest[one["cell"]["optimizer"]] = min(mean, lowest.get(one["cell"]["optimizer"], mean))
    optimizers, couplings = list(dict.fromkeys(one["cell"]["optimizer"] for one in cells)), list(COUPLINGS)

    def place(one: Mapping[str, Any]) -> tuple[int, int, float]:
        cell = one["cell"]
        return optimizers.index(cell["optimizer"]), couplings.index(cell["coupling"]), cell["strength"]

    rows = []
    for one in sorted(cells, key=place):
        cell, counts = one["cell"], f"{one['done']} of {one['runs']}"
        label = COUPLINGS[cell["coupling"]].label
        kind = f"{label}, {cell['strength']:g}" if cell["strength"] else label
        best = one["test_error"]["mean"] == lowest.get(cell["optimizer"], math.nan)
        numbers = [percent(one[name]) for name in MEASURES]
        rows.append(([f"{label_of(cell['optimizer'])}, {cell['lr']:g}", kind, counts, *numbers], best))
    return ["optimizer, lr", "regularizer", "runs", *MEASURES.values()], rows


def strengths(cells: Sequence[Mapping[str, Any]]) -> str:
    """The paper's table, one row a cell, the lowest test error of each optimizer marked."""
    head, rows = by_strength(cells)
    lines = [
        "<tr>" + "".join(f'<td class="number">{"<b>" * low}{escape(v)}{"</b>" * low}</td>' for v in values) + "</tr>"
        for values, low in rows
    ]
    text = (
        "<h3>The paper's table, on CIFAR-10</h3><p>Each optimizer at its best learning rate with L2 1e-3, by kind and strength of "
        "the regularizer. Means over seeds with 95% t-intervals, which may reach beyond none and all; runs: those that ended, of "
        "those asked for. Bold: the optimizer's lowest mean test error.</p>"
    )
    titles = "".join(f"<th>{escape(title.capitalize())}</th>" for title in head)
    return f'{text}<div class="scroll"><table><tr>{titles}</tr>{"".join(lines)}</table></div>'
