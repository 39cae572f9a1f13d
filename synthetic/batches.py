"""Features on mini-batches: which batches hold an image that excites them, and how they fare under those gradients.

An epoch is every image once, in a new random order. A feature gets a gradient from a batch that holds k > 0 of the images
that excite it, and exactly 0 from any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.simulate.together import simulate_together


def exciting_in_batches(
    rng: np.random.Generator, exciting: int, images: int, batch: int, steps: int, lanes: int
) -> np.ndarray:
    """How many of the `exciting` images each batch holds: (steps, lanes), whole numbers; lanes are independent.

    Exact: hypergeometric, one batch after the other, given what the epoch has used up. batch divides images.
    """
    epochs = -(-steps * batch // images)
    drawn = rng.multivariate_hypergeometric(
        [batch] * (images // batch), exciting, size=lanes * epochs, method="marginals"
    )
    return drawn.reshape(lanes, -1)[:, :steps].T


def patterns_in_batches(
    rng: np.random.Generator, patterns: int, network: int, batches: Sequence[int], steps: int, followed: int
) -> tuple[np.ndarray, float]:
    """Each pattern excites one of `network` features, chosen at random; the first `followed` of them are followed.

    How many of its patterns each batch holds: (steps, batch, followed), and the share of features without a pattern.
    """
    owned = rng.multinomial(patterns, np.full(network, 1 / network))[:followed]
    held = np.zeros((steps, len(batches), followed))
    for b, batch in enumerate(batches):
        for count in np.unique(owned[owned > 0]):
            which = np.flatnonzero(owned == count)
            held[:, b, which] = exciting_in_batches(rng, int(count), patterns, batch, steps, len(which))
    return held, float((owned == 0).mean())


def longest_silence(silent: np.ndarray) -> np.ndarray:
    """The longest run of True along the first axis, that of the steps."""
    step = np.arange(1, len(silent) + 1, dtype=np.int32).reshape(-1, *[1] * (silent.ndim - 1))
    return np.asarray((step - np.maximum.accumulate(np.where(silent, 0, step), axis=0)).max(axis=0))


@dataclass(frozen=True)
class Gradients:
    """All gradients of all features, share (w - target) + noise, drawn once and met by every optimizer and coupling alike.

    share and noise: (steps, ...), 0 where a batch does not excite a feature. A feature whose weight has fallen to `floor`
    is dead: it excites nothing and gets no gradient again (-inf: none ever is).
    """

    share: np.ndarray
    noise: np.ndarray
    target: float
    floor: float

    @classmethod
    def of(
        cls,
        held: np.ndarray,
        batch: np.ndarray,
        drawn: np.ndarray,
        pull: float,
        target: float,
        sigma: float,
        floor: float,
    ) -> Gradients:
        """Means over batches of `batch` images: share = pull k/B and noise of standard deviation sigma sqrt(k)/B.

        held: k, and drawn: standard normal numbers, which are used up; both (steps, ...). batch broadcasts against them.
        """
        drawn *= np.sqrt(held) * (sigma / batch)
        return cls(held * (pull / batch), drawn, target, floor)

    def train(
        self,
        rule: str,
        coupling: str,
        start: np.ndarray,
        record: Sequence[int],
        scale: np.ndarray | float = 1.0,
        **setting: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(w, died) of the weights `start`, whose last axes are those of the draws: (records, ...) and (...), the step at
        which each fell to the floor, inf if it did not. scale multiplies gradients; setting: lr, strength, hyperparameters.
        """
        felt = np.broadcast_to(scale, start.shape)
        died = np.full(start.shape, np.inf)
        alive = np.ones(start.shape, dtype=bool)

        def gradient(w: np.ndarray, t: int) -> np.ndarray:
            fallen = (w <= self.floor) & alive
            if fallen.any():
                died[fallen] = t
                alive[fallen] = False
            g = w - self.target
            g *= self.share[t]
            g += self.noise[t]
            g *= felt * alive
            return g

        w = simulate_together(rule, coupling, gradient, start, record=record, **setting).w
        died[(w[-1] <= self.floor) & alive] = record[-1]
        return w, died
