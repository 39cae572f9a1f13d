"""The report's tables of CNN runs: what was removed from the networks, how their learning rates were chosen, the paper's table."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import xarray as xr

from dynamics.couplings import COUPLINGS
from figures.style import label_of
from fullscale.lr_grid import standard_error


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


def of_seeds(percents: np.ndarray) -> str:
    """Mean of the seeds with the smallest and the largest, where they differ; runs that diverged (NaN) are counted."""
    known = percents[np.isfinite(percents)]
    lost = f"{len(percents) - len(known)} of {len(percents)} diverged"
    if not known.size:
        return lost
    low, high = f"{known.min():.1f}", f"{known.max():.1f}"
    told = f"{known.mean():.1f}%" + (f" [{low}, {high}]" if low != high else "")
    return told if len(known) == len(percents) else f"{told}, {lost}"


def by_strength(data: xr.Dataset) -> tuple[list[str], list[tuple[list[str], bool]]]:
    """The paper's table in words: its head, and rows, each with whether its network has its optimizer's lowest mean test error.

    Args:
        data: as `fullscale.paper.pictures.table` gives it.
    """
    head = ["optimizer, lr", "regularizer", "inactive by activation", "by scale", "test error"]
    rows = []
    for name in data["optimizer"].values:
        at = data.sel(optimizer=name)
        mean = at["test_error"].mean("seed", skipna=False)
        for coupling in data["coupling"].values:
            for strength in data["strength"].values:
                if not strength and coupling != data["coupling"].values[0]:
                    continue  # the same network
                cell = at.sel(coupling=coupling, strength=strength)
                kind = f"{COUPLINGS[str(coupling)].label}, {strength:g}" if strength else "none"
                numbers = [of_seeds(cell[n].values) for n in ("inactive", "by_scale", "test_error")]
                lowest = bool(mean.sel(coupling=coupling, strength=strength) == mean.min())
                rows.append(([f"{label_of(str(name))}, {float(at['lr']):g}", kind, *numbers], lowest))
    return head, rows


def strengths(data: xr.Dataset) -> str:
    """The paper's table, one row a cell, the lowest test error of each optimizer marked."""
    head, rows = by_strength(data)
    lines = [
        "<tr>" + "".join(f'<td class="number">{"<b>" * low}{escape(v)}{"</b>" * low}</td>' for v in values) + "</tr>"
        for values, low in rows
    ]
    text = (
        "<h3>The paper's table, on CIFAR-10</h3><p>Each optimizer at its best learning rate with L2 1e-3, by kind and strength of "
        f"the regularizer. Means over n = {data.sizes['seed']} seeds, with the smallest and the largest; bold: the optimizer's "
        "lowest mean test error.</p>"
    )
    titles = "".join(f"<th>{escape(title.capitalize())}</th>" for title in head)
    return f'{text}<div class="scroll"><table><tr>{titles}</tr>{"".join(lines)}</table></div>'
