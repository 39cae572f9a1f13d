"""What docs/protocol.md calls secondary: plain 95% intervals, labelled exploratory. Written before the runs, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from dynamics.estimate import mean_interval, spread
from evidence.claim import Decision, Estimate, above, below, never_above, within
from fullscale.paper.cells import PAIRED, STRONG, TABLE, Cell, Noted
from fullscale.paper.contrasts import (
    BATCHES,
    CONTRASTS,
    COUNTS,
    EQUAL,
    MORE,
    Looked,
    More,
    Samples,
    Slope,
    by_task,
    flat,
    over_decay,
    slope,
)
from fullscale.paper.length import marked

ADAPTIVE = ("adagrad", "adadelta", "rmsprop", "adam", "amsgrad", "adamax")
PLAIN = ("sgd", "momentum")
DECAYED = ("adam", "amsgrad", "rmsprop", "adamax")
STRENGTHS = (0.0, 1e-4, 1e-3, 3e-3)
_POINTS = "percentage points"
_TAU = "of pairs of settings (rises less falls)"


def strict(seen: Looked) -> Estimate:
    """The inactive share of every network without a regularizer, at every rate of stage 1."""
    done = [
        (c, s)
        for c in seen.cells.all()
        if c.spec.coupling == "none"
        for s, row in c.rows.items()
        if row.status == "done"
    ]
    shares = [cell.numbers("inactive_by_activation", [seed])[0] for cell, seed in done]
    return spread(shares, "% of filters, over networks")


def lead(seen: Looked, optimizers: Sequence[str], seeds: Sequence[int]) -> Samples:
    """Of each seed the smallest inactive share of some optimizers minus the largest of SGD's and momentum's, with L2 1e-3."""
    found = [np.array([seen.inactive(o, seeds) for o in names]) for names in (optimizers, PLAIN)]
    difference: Samples = found[0].min(axis=0) - found[1].max(axis=0)
    return difference


def as_good(seen: Looked) -> Samples:
    """`lead` of Adam over all rates that are as good as the best."""
    shares = [
        np.array([seen.inactive(o, TABLE, lr=lr) for o in names for lr in seen.found.as_good(o)])
        for names in (("adam",), PLAIN)
    ]
    difference: Samples = shares[0].min(axis=0) - shares[1].max(axis=0)
    return difference


def with_l2(seen: Looked, optimizer: str) -> list[Cell]:
    """An optimizer's cells with L2 in which learning rate and strength alone are others than the study's."""
    mine = [c for c in seen.cells.all() if c.spec.optimizer == optimizer and c.spec.coupling == "l2"]
    return [c for c in mine if c is seen.cells.find(optimizer=optimizer, lr=c.spec.lr, strength=c.spec.strength)]


def sparsest(groups: Mapping[str, list[Cell]]) -> dict[str, Samples]:
    """Of each group of cells the inactive shares of its sparsest one of mean held-out error at most E, (seeds,).

    E is one point above the highest of the groups' lowest errors. A cell with a run that diverged is none of them; without
    any cell in a group, NaN for all.
    """
    error = {c.spec: float(c.numbers("held_out_error", TABLE).mean()) for cells in groups.values() for c in cells}
    known = {name: [c for c in cells if math.isfinite(error[c.spec])] for name, cells in groups.items()}
    if not all(known.values()):
        return dict.fromkeys(groups, np.full(len(TABLE), math.nan))
    limit = max(min(error[c.spec] for c in cells) for cells in known.values()) + 1
    return {
        name: max((c.numbers("inactive_by_activation", TABLE) for c in cells if error[c.spec] <= limit), key=np.mean)
        for name, cells in known.items()
    }


def matched(seen: Looked) -> Samples:
    """Adam's minus the larger of SGD's and momentum's inactive share, each at its `sparsest` cell with L2."""
    shares = sparsest({o: with_l2(seen, o) for o in ("adam", *PLAIN)})
    difference: Samples = shares["adam"] - np.maximum(shares["sgd"], shares["momentum"])
    return difference


def decay_matched(seen: Looked) -> Samples:
    """L2's minus the paper's decay's inactive share under Adam, each at its `sparsest` strength."""
    lr = seen.found.best("adam")
    kinds = ("l2", "decoupled_schedule")
    shares = sparsest(
        {kind: [seen.cells.find(coupling=kind, lr=lr, strength=s) for s in STRENGTHS[1:]] for kind in kinds}
    )
    difference: Samples = shares["l2"] - shares["decoupled_schedule"]
    return difference


def longer(seen: Looked) -> Samples:
    """Adam's minus momentum's inactive share, both at a third of their rate for three times the epochs."""
    shares = [seen.inactive(o, TABLE, lr=third(seen.found.best(o)), epochs=36) for o in ("adam", "momentum")]
    difference: Samples = shares[0] - shares[1]
    return difference


def third(lr: float) -> float:
    """A rate divided by 3, to two digits, as it stands in the study.

    Example:
        >>> third(1e-3)
        0.00033
    """
    return float(f"{lr / 3:.2g}")


def every_rule(seen: Looked) -> Samples:
    """Of each seed the smallest lead of L2 over the paper's decay, over adaptive rules and strengths."""
    found: Samples = np.min([over_decay(seen, o, "decoupled_schedule", s) for o in DECAYED for s in STRONG], axis=0)
    return found


def tau(shares: Sequence[Samples]) -> Samples:
    """Of each seed Kendall's tau between the order of the levels and the shares, (levels,) of (seeds,); equal ones count 0.

    Example:
        >>> tau([np.array([0.0]), np.array([1.0]), np.array([1.0])]).round(3).tolist()
        [0.667]
    """
    found: Samples = np.mean([np.sign(high - low) for low, high in combinations(shares, 2)], axis=0)
    return found


def by_rate(seen: Looked) -> list[Samples]:
    """Adam's inactive shares at the rates of stage 1, from low to high."""
    return [seen.inactive(seeds=TABLE, lr=lr) for lr in reversed(seen.found.errors["adam"])]


def by_strength(seen: Looked) -> list[Samples]:
    """Adam's inactive shares at the strengths of L2."""
    return [seen.inactive(seeds=TABLE, coupling="l2" if s else "none", strength=s) for s in STRENGTHS]


def at_steps_of(seen: Looked) -> list[Samples]:
    """Adam's inactive shares at each of BATCHES, at equal steps."""
    return [seen.inactive(seeds=TABLE, batch=b, epochs=12 * b // 40) for b in BATCHES]


def at_steps(seen: Looked) -> Samples:
    """Slope over log2(batch) at equal steps."""
    return slope(BATCHES, np.array(at_steps_of(seen)))


def scaled(seen: Looked) -> Samples:
    """Slope over log2(batch) at 12 epochs with the learning rate times sqrt(batch / 40)."""
    best = seen.found.best("adam")
    return slope(BATCHES, np.array([seen.inactive(seeds=TABLE, batch=b, lr=rate_for(best, b)) for b in BATCHES]))


def rate_for(lr: float, batch: int) -> float:
    """A rate times sqrt(batch / 40), to three digits, as it stands in the study.

    Example:
        >>> rate_for(1e-3, 160)
        0.002
    """
    return float(f"{lr * (batch / 40) ** 0.5:.3g}")


def _thresholds(seen: Looked, read: Callable[[dict[str, object]], float]) -> Samples:
    cell = seen.cells.find(optimizer="adam", lr=seen.found.best("adam"))
    cell.numbers("test_error", PAIRED)
    rows = [cell.rows[seed] for seed in PAIRED]
    return np.array([100 * read(r.summary["thresholds"]) if r.status == "done" else math.nan for r in rows])


def _at(by: str, value: float, name: str) -> Callable[[dict[str, object]], float]:
    def read(swept: dict[str, object]) -> float:
        return float(swept[name][by][list(swept["thresholds"]).index(value)])  # type: ignore[index,call-overload]

    return read


def higher(seen: Looked, by: str, paper: float, other: float) -> Samples:
    """Points of filters that a higher threshold adds."""
    found: Samples = _thresholds(seen, _at(by, other, "sparsity")) - _thresholds(seen, _at(by, paper, "sparsity"))
    return found


def zeroing(seen: Looked) -> Samples:
    """Test error with the filters inactive by scale put to 0 minus before, in points."""
    before = _thresholds(seen, lambda swept: float(swept["error_before"]))  # type: ignore[arg-type]
    found: Samples = _thresholds(seen, _at("scale", 1e-3, "error")) - before
    return found


def removal(seen: Looked) -> Estimate:
    """Test error after the removal of inactive filters minus before, over every network that lost any."""
    rows = [row for cell in seen.cells.all() for row in cell.rows.values() if row.status == "done"]
    ends = [row.summary["certificate"] for row in rows if row.summary["removal"]["share"] > 0]
    return spread([100 * (e["error_after"] - e["error_before"]) for e in ends], f"{_POINTS} of test error")


def _over_seeds(samples: Callable[[Looked], Samples], unit: str) -> Callable[[Looked], Estimate]:
    def estimate(seen: Looked) -> Estimate:
        noted = Noted(seen.cells)
        found = mean_interval(samples(replace(seen, cells=noted)), unit, "seeds")
        return replace(found, interval=found.interval + marked(noted.looked_at.values(), seen.found))

    return estimate


_MORE = More(MORE, equal=EQUAL)


def at_twelve(name: str) -> Callable[[Looked], Samples]:
    """A primary contrast as it is after 12 epochs."""
    return lambda seen: CONTRASTS[name].samples(replace(seen, epochs=12))


def dense(seen: Looked) -> Samples:
    """Test error under Adam minus the lower of SGD's and momentum's, with L2 1e-3, in points."""
    errors = {o: seen.number("test_error", o, coupling="l2") for o in ("adam", *PLAIN)}
    difference: Samples = errors["adam"] - np.minimum(errors["sgd"], errors["momentum"])
    return difference


# Added when runs that they look at had been seen.
LATER = ("S4 cifar matched", "S13 cifar dense")
# Claim -> what it says, its estimate and its decision.
SECONDARY: dict[str, tuple[str, Callable[[Looked], Estimate], Decision]] = {
    "S2 cifar strict": (
        "Without a regularizer no filter of any network falls silent, whatever the optimizer and its learning rate.",
        strict, never_above(0),
    ),
    "S1 cifar short": (
        "After 12 epochs some filters are active for no image under Adam with L2.",
        _over_seeds(at_twelve("S1"), "% of filters"), above(1),
    ),
    "S3 cifar short": (
        "After 12 epochs Adam with L2 has silenced more filters than SGD and momentum with it.",
        _over_seeds(at_twelve("S3"), _POINTS), _MORE,
    ),
    "S4 cifar short": (
        "After 12 epochs L2 has silenced more filters under Adam than the paper's decay, at both strengths.",
        _over_seeds(at_twelve("S4"), _POINTS), _MORE,
    ),
    "S3 cifar every": (
        "Every adaptive optimizer with L2 silences more filters than SGD and momentum, each at its tuned learning rate.",
        _over_seeds(lambda s: lead(s, ADAPTIVE, TABLE), _POINTS), _MORE,
    ),
    "S3 cifar as good": (
        "Adam with L2 silences more filters than SGD and momentum at every learning rate that is as good as the best.",
        _over_seeds(as_good, _POINTS), _MORE,
    ),
    "S3 cifar matched": (
        "At like held-out error Adam with L2 reaches more silent filters than SGD and momentum, over learning rates and strengths.",
        _over_seeds(matched, _POINTS), _MORE,
    ),
    "S3 cifar sum": (
        "Adam silences more filters than momentum also at a third of their learning rates for three times the epochs, each with "
        "the sum of learning rates that it has at its best.",
        _over_seeds(longer, _POINTS), _MORE,
    ),
    "S4 cifar every": (
        "Under each of Adam, AMSGrad, RMSprop and Adamax, at both strengths, L2 silences more filters than the paper's decay.",
        _over_seeds(every_rule, _POINTS), _MORE,
    ),
    "S4 cifar torch": (
        "Under Adam, at both strengths, L2 silences more filters than decay x lr of the same number.",
        _over_seeds(lambda s: np.min([over_decay(s, "adam", "decoupled_lr", x) for x in STRONG], axis=0), _POINTS), _MORE,
    ),
    "S4 cifar matched": (
        "At like held-out error L2 reaches more silent filters under Adam than the paper's decay, over their strengths.",
        _over_seeds(decay_matched, _POINTS), _MORE,
    ),
    "S5a cifar steps": (
        "At equal steps, and so at equal sums of learning rates, larger batches silence fewer filters.",
        _over_seeds(at_steps, f"{_POINTS} a doubling of the batch"), Slope(rising=False, flat=flat(BATCHES)),
    ),
    "S5a cifar scaled": (
        "At equal epochs larger batches silence fewer filters also with the learning rate times the root of the batch.",
        _over_seeds(scaled, f"{_POINTS} a doubling of the batch"), Slope(rising=False, flat=flat(BATCHES)),
    ),
    "S5c cifar noise": (
        "More classes mean fewer silent filters where a fifth of the labels is drawn at random.",
        _over_seeds(lambda s: slope(COUNTS, np.array(by_task(s, 0.2, TABLE))), f"{_POINTS} a doubling of the classes"),
        Slope(rising=False, flat=flat(COUNTS)),
    ),
    "S5c cifar labels": (
        "Drawing a fifth of the labels at random, which makes the whole task harder, silences fewer filters.",
        _over_seeds(lambda s: by_task(s, 0.2, TABLE)[-1] - by_task(s, 0.0, TABLE)[-1], _POINTS), below(0),
    ),
    "S7 cifar momentum": (
        "Without a regularizer Adam learns more selective features than momentum.",
        _over_seeds(lambda s: s.selectivity("adam") - s.selectivity("momentum"), "points of selectivity"), above(0),
    ),
    "S9 cifar": (
        "Removing the filters that are inactive by activation, or constant, leaves the test error as it was.",
        removal, within(-0.01, 0.01),
    ),
    "S9 cifar activation": (
        "A higher threshold of activation, 1e-4 instead of 1e-12, finds about as many inactive filters.",
        _over_seeds(lambda s: higher(s, "activation", 1e-12, 1e-4), _POINTS), below(EQUAL),
    ),
    "S9 cifar scale": (
        "A higher threshold of scale, 1e-2 instead of 1e-3, finds about as many inactive filters.",
        _over_seeds(lambda s: higher(s, "scale", 1e-3, 1e-2), _POINTS), below(EQUAL),
    ),
    "S9 cifar zeroing": (
        "Putting the filters that are inactive by scale to 0 leaves the test error as it was, up to a tenth of a point.",
        _over_seeds(zeroing, f"{_POINTS} of test error"), within(-0.1, 0.1),
    ),
    "S13 cifar dense": (
        "With L2 1e-3 the sparse network of Adam errs less than a point more than the whole ones of SGD and momentum.",
        _over_seeds(dense, f"{_POINTS} of test error"), below(1),
    ),
    "S11 cifar strength": (
        "The stronger L2, the more filters fall silent under Adam: strength is a knob.",
        _over_seeds(lambda s: tau(by_strength(s)), _TAU), above(0),
    ),
    "S11 cifar lr": (
        "The higher the learning rate, the more filters fall silent under Adam: it is a knob.",
        _over_seeds(lambda s: tau(by_rate(s)), _TAU), above(0),
    ),
}  # fmt: skip
