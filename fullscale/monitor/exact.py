"""Every filter over a whole set of images, in evaluation mode: exact where an observation sees one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dynamics.errors import InputError
from fullscale.graph import Inputs
from fullscale.graph.untouched import evaluation
from fullscale.measure.kept import Kept
from fullscale.measure.source import Source, parts, undrawn
from fullscale.monitor.look import Look
from fullscale.monitor.record import MOST
from fullscale.monitor.watched import Watched

VARIABLES = {
    "selectivity": "share of the images whose largest absolute activation is below 1e-3 of the filter's peak",
    "peak": "largest absolute activation over the images",
    "margin": "largest input of the activation over the images",
}
# Images taken at a time where they are in memory.
BATCH = 1024
# Bytes that may be kept, one number an image and filter.
BOUND = 1 << 32


def exact(
    net: nn.Module, watched: Watched, images: Source, note: Callable[[str], None]
) -> dict[str, NDArray[np.float64]]:
    """VARIABLES of what is watched, (filters,) each, over all images; see `fullscale.monitor.Monitor.measure`."""
    look = Look(watched, note, training=False)
    look.extend(0)
    kept, whole = Kept(), [True] * len(watched.parts)
    margin: Tensor | None = None
    devices = sorted({p.device.index or 0 for p in net.parameters() if p.is_cuda})
    look.switch(True)
    try:
        with undrawn(images), evaluation(net), torch.random.fork_rng(devices), torch.compiler.set_stance("force_eager"):
            for batch in parts(images, BATCH):
                look.clear()
                _run(net, batch.to(net))
                sizes, highest = [], []
                for i, part in enumerate(watched.parts):
                    size, high = look.size[i], look.highest[i]
                    if size is None or high is None or len(size) != len(batch):
                        whole[i] = False
                        size = high = torch.full((len(batch), part.size), torch.nan)
                    sizes.append(size.cpu())
                    highest.append(high.amax(dim=0).cpu())
                own = torch.cat(highest)
                margin = own if margin is None else torch.maximum(margin, own)
                if (kept.count + len(batch)) * len(own) * own.element_size() > BOUND:
                    raise InputError(
                        f"images: {kept.count + len(batch):,} of {len(own):,} filters and perhaps more, whose activations take "
                        f"more than {BOUND / 2**30:g} GiB: fewer are accepted"
                    )
                kept.add(torch.cat(sizes, dim=1))
    finally:
        look.close()
    if margin is None:
        raise InputError("no batches of images: one or more are accepted")
    for part, known in zip(watched.parts, whole, strict=True):
        if not known:
            note(
                f"{part.unit.norm} is not measured: on some images it did not run in evaluation mode, or puts out no row for each"
            )
    peak = torch.stack([rows.amax(dim=0) for rows in kept.rows()]).amax(dim=0)
    selectivity = torch.where(peak.isfinite(), kept.selectivity(peak), torch.nan)
    found = {"selectivity": selectivity, "peak": peak, "margin": margin}
    return {name: x.double().numpy() for name, x in found.items()}


def _run(net: nn.Module, inputs: Inputs) -> None:
    try:
        net(*inputs.args, **inputs.named)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the network's own code raises
        words = " ".join(str(error).split())[:300]
        raise InputError(f"inputs of shape {inputs.shapes()} do not fit {type(net).__name__} ({words})") from error


class Measured:
    """What was measured, a row at a time, in at most MOST rows: then every second is dropped."""

    def __init__(self, filters: int) -> None:
        self.filters = filters
        self.steps = np.zeros(0, dtype=np.int64)
        self.rows = {name: np.zeros((0, filters), dtype=np.float32) for name in VARIABLES}

    def add(self, step: int, values: dict[str, NDArray[np.float64]]) -> None:
        """What was found after so many steps; in place of what was found there before."""
        kept = np.flatnonzero(self.steps < step)
        if len(kept) == MOST:
            kept = kept[::2]
        self.steps = np.append(self.steps[kept], step)
        self.rows = {
            name: np.concatenate([rows[kept], values[name][None].astype(np.float32)])
            for name, rows in self.rows.items()
        }

    def state(self) -> dict[str, Any]:
        """All of it as arrays."""
        return {"steps": self.steps.copy(), "rows": {name: rows.copy() for name, rows in self.rows.items()}}

    def take(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        self.steps = np.array(state["steps"], dtype=np.int64)
        self.rows = {name: np.array(state["rows"][name], dtype=np.float32) for name in VARIABLES}
