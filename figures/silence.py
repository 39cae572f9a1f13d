"""|w| against steps with no gradient, under L2 and under weight decay, for every optimizer."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dynamics.door import checked
from figures.style import LINES, WIDTH, Picture, colour_of, heading, label_of, styled


@checked
def draw(data: xr.Dataset) -> Picture:
    """From `synthetic.silence.Silence.run`: one panel a coupling, one curve an optimizer, at the largest strength."""
    strength, lr, target = float(data.strength[-1]), data.attrs["lr"], data.attrs["target"]
    titles = {"l2": "L2: joins the gradient", "decoupled_lr": "Weight decay x lr"}
    with styled():
        figure, panels = plt.subplots(2, 1, sharex=True, sharey=True, figsize=(WIDTH, 6.2))
        for axes, coupling in zip(panels, titles, strict=True):
            ends: dict[str, tuple[float, str]] = {}
            for name in map(str, data.optimizer.values):
                path = data.sel(optimizer=name, coupling=coupling, strength=strength).isel(step=slice(1, None))
                size = np.abs(path.w.fillna(path.closed).values)
                # Once below the target a weight is as good as gone; what the rule does near 0 is another figure.
                stop = int(np.argmax(size < target)) + 1 if (size < target).any() else len(size)
                axes.plot(path.step.values[:stop], size[:stop], linestyle=LINES[coupling], color=colour_of(name))
                ends[name] = (float(np.interp(-0.03, -size[:stop], path.step.values[:stop])), colour_of(name))
            axes.axhline(target, color="0.5", linewidth=0.8)
            axes.set(xscale="log", yscale="log", ylabel="abs(w)", title=titles[coupling])
            axes.set(ylim=(target / 2, 2), xlim=(1, float(data.step[-1])))
            _label(axes, ends)
        panels[1].set_xlabel("steps without a gradient")
        taken = data.passage.sel(strength=strength)
        named = "adam" if "adam" in data.optimizer else str(data.optimizer.values[0])
        l2, decay = (float(taken.sel(optimizer=named, coupling=c)) for c in titles)
        heading(figure, f"{label_of(named)} + L2 silences a weight in {l2:,.0f} steps; weight decay needs {decay:,.0f}")
    steps = ", ".join(f"{s:,.0f}" for s in data.passage.sel(optimizer=named, coupling="l2").values)
    reached = "; ".join(
        f"{label_of(str(n))} {' and '.join(f'{s:,.0f}' for s in taken.sel(optimizer=n).values)}"
        for n in data.optimizer.values
    )
    strengths = ", ".join(f"{s:g}" for s in data.strength.values)
    return Picture(
        "silence",
        figure,
        f"A weight that starts at 1 and gets no gradient, lr {lr:g}, strength {strength:g}; deterministic, n = 1 path a curve, "
        f"stepped to {data.attrs['steps']:,}, then by its closed form (grey: {target:g}). {label_of(named)} + L2 takes {steps} "
        f"steps at strengths {strengths}.",
        f"Two log-log panels of weight size against steps. Steps to {target:g} under L2 and under weight decay: {reached}.",
    )


def _label(axes: Axes, ends: dict[str, tuple[float, str]]) -> None:
    """Name each curve left of where it passes 0.03; curves that coincide stack their names, and a curve with another
    close on its left is named on its right, lower down."""
    passed: list[float] = []
    for name, (step, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        together = sum(step / other < 1.1 for other in passed)
        crowded = any(1.1 <= step / other < 6 for other in passed)
        passed.append(step)
        x, y, side = (step * 1.4, 0.005, "left") if crowded else (step * 0.8, 0.03, "right")
        axes.text(x, y * 1.7**-together, label_of(name), color=colour, ha=side, va="center", fontsize=9)
