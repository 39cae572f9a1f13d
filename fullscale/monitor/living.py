"""What lives of a watched network: rows of a table, and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.errors import InputError
from dynamics.result import Result

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


class Living(Result):
    """The filters alive of each layer at each observation, of what has a `history`."""

    @property
    def history(self) -> xr.Dataset:
        """See `fullscale.monitor.summary.history`."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, Any]]:
        """The filters alive, one row for each observation and layer; all else that was seen has `history`."""
        data = self.history
        of, alive = data["layer"].values, data["alive"].values
        names = list(dict.fromkeys(of.tolist()))
        counts = {name: alive[:, of == name].sum(axis=1).tolist() for name in names}
        return [
            {"step": step, "layer": name, "filters": int((of == name).sum()), "alive": counts[name][k]}
            for k, step in enumerate(data["step"].values.tolist())
            for name in names
        ]

    @property
    def finding(self) -> str:
        """What lives at the last observation, and of what the others died."""
        data = self.history
        if not data.sizes["step"] or not data.sizes["filter"]:
            return "nothing was observed yet"
        lives, filters = int(data["alive"].values[-1].sum()), data.sizes["filter"]
        active = data["death_measure"].values == "activation"
        found = data["death_cause"].values[active].tolist()
        causes = ", ".join(f"{found.count(name)} by {name}" for name in dict.fromkeys(found))
        back = int((data["death_revived"].values[active] >= 0).sum())
        return (
            f"{lives:,} of {filters:,} filters are alive at step {int(data['step'][-1]):,}; deaths: {causes or 'none'}"
            + (f", {back} came back" if back else "")
        )

    def _draw(self, axes: Axes) -> None:
        """The share of each layer that lives, against steps; dark the first layer, light the last."""
        from matplotlib import colormaps

        rows = self.rows()
        if not rows:
            raise InputError(f"nothing to draw: {self.finding}; a monitor that has seen a step is accepted")
        names = list(dict.fromkeys(row["layer"] for row in rows))
        colours = colormaps["viridis"](np.linspace(0, 0.85, len(names)))
        for name, colour in zip(names, colours, strict=True):
            own = [row for row in rows if row["layer"] == name]
            shares = [100 * row["alive"] / row["filters"] for row in own]
            axes.plot(
                [row["step"] for row in own], shares, color=colour, label=name, marker="." if len(own) < 30 else ""
            )
        axes.set(xlabel="step", ylabel="filters alive, % of the layer", ylim=(-3, 103))
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), ncols=len(names) // 20 + 1)
