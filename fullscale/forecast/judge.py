"""What the stored runs say of the forecast, one number a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dynamics.estimate import Estimate, every_cell
from fullscale.forecast.fitted import fit, predicted
from fullscale.forecast.score import area, area_within
from fullscale.forecast.study import Network

Array = NDArray[np.float64]

# Of fewer filters that die, or live, a network has no area.
FEWEST = 5
# A step is met within this factor.
NEAR = 1.5
Score = Callable[[Network, float], float]


def by_setting(networks: Sequence[Network]) -> dict[str, list[Network]]:
    """The networks of each setting."""
    found: dict[str, list[Network]] = {}
    for network in networks:
        found.setdefault(network.label, []).append(network)
    return found


def over_settings(networks: Sequence[Network], score: Score, moment: float, unit: str) -> dict[str, Estimate]:
    """The mean of a score over the seeds of each setting, with intervals that hold at once; a setting of fewer than two numbers is
    named as left out."""
    samples, left_out = {}, {}
    for label, of in by_setting(networks).items():
        values = np.array([score(network, moment) for network in of])
        known = values[np.isfinite(values)]
        if len(known) > 1:
            samples[label] = known
        else:
            left_out[label] = len(of)
    return every_cell(samples, unit, left_out=left_out)


def asked(network: Network, moment: float) -> NDArray[np.int64]:
    """The filters that were active at the moment, none if too few of them die, or live."""
    alive = np.flatnonzero(network.seen(moment).alive)
    dies = int(network.dead[alive].sum())
    return alive if FEWEST <= dies <= len(alive) - FEWEST else alive[:0]


def within(network: Network, moment: float) -> float:
    """Area within layers of the forecast minus that of small abs(gamma)."""
    return _gain(network, moment, network.forecast(moment).probability)


def within_fitted(network: Network, moment: float) -> float:
    """The same of the fitted version."""
    return _gain(network, moment, network.fitted(moment))


def within_norm(network: Network, moment: float) -> float:
    """The same of the forecast against a small norm of the filter's weights."""
    of, seen = asked(network, moment), network.seen(moment)
    dies, layer = network.dead[of], seen.layer[of]
    return area_within(network.forecast(moment).probability[of], dies, layer) - area_within(-seen.norm[of], dies, layer)


def _gain(network: Network, moment: float, probability: Array) -> float:
    of, seen = asked(network, moment), network.seen(moment)
    dies, layer = network.dead[of], seen.layer[of]
    return area_within(probability[of], dies, layer) - area_within(-seen.now[of], dies, layer)


def pooled(networks: Sequence[Network]) -> Score:
    """Pooled area of the forecast minus that of abs(gamma) and layer, which is fitted on the other networks of the setting."""
    groups = by_setting(networks)

    def score(network: Network, moment: float) -> float:
        of = asked(network, moment)
        others = [other for other in groups[network.label] if other is not network]
        if not len(of) or not others:
            return float("nan")
        dies = network.dead[of]
        rival = gamma_and_layer(others, network, moment)
        return area(network.forecast(moment).probability[of], dies) - area(rival[of], dies)

    return score


def gamma_and_layer(others: Sequence[Network], network: Network, moment: float) -> Array:
    """Probabilities of a network's filters by abs(gamma) and a level for each layer, fitted on others with their outcomes."""

    def columns(one: Network) -> Array:
        seen = one.seen(moment)
        gamma = np.log(np.maximum(seen.now, 1e-12))[:, None]
        return np.concatenate([gamma, seen.layer[:, None] == np.arange(1, len(seen.names))], axis=1)

    alive = [one.seen(moment).alive for one in others]
    found = fit(
        [columns(one)[of] for one, of in zip(others, alive, strict=True)],
        [one.dead[of] for one, of in zip(others, alive, strict=True)],
    )
    return predicted(columns(network), found)


def bias(network: Network, moment: float) -> float:
    """Mean probability minus the share that dies, of the filters that were active, in points."""
    alive = np.flatnonzero(network.seen(moment).alive)
    return 100 * float(network.forecast(moment).probability[alive].mean() - network.dead[alive].mean())


def on_time(network: Network, moment: float) -> float:
    """Of the filters that die later than the moment, the share whose step was met within a factor of 1.5, in %."""
    seen, found = network.seen(moment), network.forecast(moment)
    of = np.flatnonzero(seen.alive & np.isfinite(network.died))
    of = of[network.died[of] > seen.step]
    if len(of) < FEWEST:
        return float("nan")
    ratio = found.step[of] / network.died[of]
    return 100 * float(((ratio >= 1 / NEAR) & (ratio <= NEAR)).mean())


def probabilities(networks: Sequence[Network], moment: float, fitted: bool = False) -> tuple[Array, NDArray[np.bool_]]:
    """Of all filters that were active, their probabilities and whether they died: for a picture of the reliability."""
    p, dies = [], []
    for network in networks:
        alive = np.flatnonzero(network.seen(moment).alive)
        p.append((network.fitted(moment) if fitted else network.forecast(moment).probability)[alive])
        dies.append(network.dead[alive])
    return np.concatenate(p), np.concatenate(dies)


def areas(networks: Sequence[Network], moment: float) -> Mapping[str, list[float]]:
    """By sign the area within layers of each network, for tables."""
    found: dict[str, list[float]] = {}
    for network in networks:
        of, seen = asked(network, moment), network.seen(moment)
        dies, layer = network.dead[of], seen.layer[of]
        signs = {
            "forecast": network.forecast(moment).probability, "fitted": network.fitted(moment), "abs(gamma)": -seen.now,
            "norm": -seen.norm, "gradients of the weights": -seen.weights, "gradients of gamma": -seen.square,
            "loss's force": -seen.force,
        }  # fmt: skip
        for name, values in signs.items():
            found.setdefault(name, []).append(area_within(values[of], dies, layer))
    return found
