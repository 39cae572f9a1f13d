"""The runs that the forecast was made on and tested on, as they come with the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynamics.answers.setting import Setting, make
from evidence.store import Row, Store
from fullscale.forecast.answer import Forecast, forecast
from fullscale.forecast.fitted import kept as weights
from fullscale.forecast.fitted import predicted, terms
from fullscale.forecast.runs import DIAL
from fullscale.forecast.seen import Seen
from fullscale.spec import RunSpec
from fullscale.studies import Study, find_study, images
from fullscale.studies.standing import standing

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Network:
    """One run: its setting in words, its spec, and what was recorded of its filters (`fullscale.watched.run.Watch.table`)."""

    label: str
    spec: RunSpec
    steps: int
    record: Mapping[str, Any]

    @property
    def moments(self) -> list[float]:
        """Shares of the training at which something was known."""
        return [float(name) for name in self.record["seen"]]

    @cached_property
    def dead(self) -> Flags:
        """Which filters are inactive at the end, (filters,)."""
        return np.array(self.record["dead_by_activation"], dtype=bool)

    @cached_property
    def died(self) -> Array:
        """The first step of the silence that each filter is in at the end, (filters,); NaN of those that live, or whose silence
        was too short to be seen."""
        found = np.full(len(self.dead), np.nan)
        deaths = self.record["deaths"]
        for step, index, revived in zip(deaths["step"], deaths["filter"], deaths["revived"], strict=True):
            if revived is None:
                found[index] = step
        return np.where(self.dead, found, np.nan)

    @property
    def setting(self) -> Setting:
        """Of its optimizer."""
        spec = self.spec
        return make(spec.optimizer, spec.coupling, lr=spec.lr, strength=spec.strength, **dict(spec.hyper))

    def seen(self, moment: float) -> Seen:
        """What was known then."""
        return Seen.of(self.record["seen"][f"{moment:g}"])

    def forecast(self, moment: float) -> Forecast:
        """The theory's, made then."""
        return _forecast(self, moment)

    def fitted(self, moment: float) -> Array:
        """Probabilities of the fitted version, (filters,), NaN of filters that were dead."""
        seen = self.seen(moment)
        return predicted(terms(seen, self.forecast(moment).probability), np.array(weights()))


@cache
def _forecast(network: Network, moment: float) -> Forecast:
    seen = network.seen(moment)
    coming = np.arange(seen.step + 1, network.steps)
    return forecast(
        seen, network.setting, len(coming), multipliers=np.asarray(network.spec.multiplier(network.steps)(coming))
    )


def label_of(spec: RunSpec) -> str:
    """What sets a run apart from the first setting of the design runs, in words."""
    if spec.model != "basicnet":
        return "VGG-16, CIFAR-10"
    if spec.size:
        return "CIFAR-10"
    first = {"optimizer": "adam", "coupling": "l2", "lr": 1e-2, "strength": 5e-3, "batch": 16}
    if spec.optimizer != first["optimizer"]:
        return f"{spec.optimizer}, lr {spec.lr:g}"
    if spec.coupling != first["coupling"]:
        return "the paper's decay"
    other = [
        f"{name} {getattr(spec, name):g}" for name in ("lr", "strength", "batch") if getattr(spec, name) != first[name]
    ]
    other += [f"{name} {value:g}" for name, value in spec.hyper]
    return ", ".join(other) or "other seeds"


def networks(studies: Sequence[str]) -> list[Network]:
    """The networks of studies that come with the package, in the order of their runs; those that diverged are left out, and so
    are studies that were not run."""
    with (
        resources.as_file(resources.files("fullscale.studies").joinpath("forecast.sqlite")) as path,
        Store(path, reading=True) as store,
    ):
        return [one for name in studies if images.kept(store, name) for one in of_study(find_study(name), store)]


def dialled() -> list[dict[str, float]]:
    """The runs in which the strength was turned, as they come with the package: seed, share (asked for) and what came."""
    with (
        resources.as_file(resources.files("fullscale.studies").joinpath("forecast.sqlite")) as path,
        Store(path, reading=True) as store,
    ):
        return [
            {"seed": row.spec["run"]["seed"], "share": row.spec["share"], **row.summary} for row in store.rows(DIAL)
        ]


def of_study(study: Study, store: Store) -> list[Network]:
    """The networks of a study in a store."""
    stands = standing(study, store, curves=True)
    return [network_of(row) for row in stands.rows if row is not None and row.status == "done"]


def network_of(row: Row) -> Network:
    """Of one stored run."""
    spec = RunSpec.of(row.spec)
    return Network(label_of(spec), spec, int(row.summary["steps"]), row.curves["filters"])


def example() -> Seen:
    """A made-up record of 24 filters in two layers after 500 steps, for examples and tests."""
    rng = np.random.default_rng(0)
    layer = np.repeat([0, 1], [8, 16])
    gamma = np.where(layer == 0, 0.6, 0.35) * np.exp(0.3 * rng.standard_normal(24))
    rms = np.where(layer == 0, 0.06, 0.025) * np.exp(0.3 * rng.standard_normal(24))
    return Seen(
        step=500, batch=16, layer=layer, names=("first", "second"), channel=np.concatenate([np.arange(8), np.arange(16)]),
        alive=np.ones(24, dtype=bool), gamma=gamma, now=gamma, square=rms**2, force=0.02 + 0.04 * rng.standard_normal(24),
        over=500, arrival=np.ones(24), root=rms, weights=rms / 10, norm=np.ones(24),
    )  # fmt: skip
