"""What is claimed of the forecast, on runs that it had never seen: the contrasts of docs/forecast.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from dynamics.estimate import every_cell
from evidence.claim import Decision, Estimate, above, within
from evidence.registry import Estimator, claim, experiment
from fullscale.forecast.runs import DIAL, KEPT, MOMENT, SHARES, TEST

if TYPE_CHECKING:
    from fullscale.forecast.study import Network

NAME = "forecast"
AT = 0.1
SOURCE = "derived here"
FIGURE = "forecast"


@cache
def kept() -> list[Network]:
    """The networks that the forecast is tested on."""
    from fullscale.forecast.study import networks

    return networks(TEST)


experiment(
    NAME,
    lambda: {"kept": KEPT, "studies": TEST, "moment": AT},
    "; ".join(f"undertow study {name}" for name in TEST),
)


def _claim(id: str, decision: Decision) -> Callable[[Estimator], Estimator]:
    return claim(id, source=SOURCE, experiment=NAME, decision=decision, figure=FIGURE, margin="before")


@_claim("S6 forecast who", above(0))
def ranks_within(found: Sequence[Network]) -> dict[str, Estimate]:
    """In every test setting theory tells at 10% of the training better than small abs(gamma) which filters of a layer die.

    Area under the ROC curve within layers, the forecast's minus that of small abs(gamma).
    """
    from fullscale.forecast import judge

    return judge.over_settings(found, judge.within, AT, "more area under the ROC curve")


@_claim("S6 forecast who pooled", above(0))
def ranks_pooled(found: Sequence[Network]) -> dict[str, Estimate]:
    """In every test setting theory tells at 10% of the training better than abs(gamma) and layer, fitted on other seeds of the
    setting, which filters of a network die.

    Pooled area under the ROC curve, the forecast's minus that of abs(gamma) and layer.
    """
    from fullscale.forecast import judge

    return judge.over_settings(found, judge.pooled(found), AT, "more area under the ROC curve")


@_claim("S6 forecast how many", within(-10, 10))
def how_many(found: Sequence[Network]) -> dict[str, Estimate]:
    """In every test setting theory tells at 10% of the training how many filters die, to 10 points.

    Mean probability minus the share that dies, of the filters that are active then.
    """
    from fullscale.forecast import judge

    return judge.over_settings(found, judge.bias, AT, "percentage points")


@_claim("S6 forecast when", above(50))
def when(found: Sequence[Network]) -> dict[str, Estimate]:
    """In every test setting theory tells at 10% of the training, of most filters that die, the step within a factor of 1.5.

    Share of the filters that die whose forecast step is within that factor of the first step of their last silence.
    """
    from fullscale.forecast import judge

    return judge.over_settings(found, judge.on_time, AT, "% of the filters that die")


@_claim("S6 forecast fitted", above(0))
def ranks_fitted(found: Sequence[Network]) -> dict[str, Estimate]:
    """In every test setting the forecast with four fitted weights tells at 10% of the training better than small abs(gamma) which
    filters of a layer die.

    Area under the ROC curve within layers, the fitted version's minus that of small abs(gamma).
    """
    from fullscale.forecast import judge

    return judge.over_settings(found, judge.within_fitted, AT, "more area under the ROC curve")


experiment(
    f"{NAME}-dial",
    lambda: {"kept": KEPT, "shares": SHARES, "moment": MOMENT, "kind": DIAL},
    "python -m docs.forecast --dial",
)


@claim(
    "S6 forecast dial",
    source=SOURCE,
    experiment=f"{NAME}-dial",
    decision=within(-10, 10),
    figure=FIGURE,
    margin="before",
)
def dial(found: Sequence[dict[str, float]]) -> dict[str, Estimate]:
    """The strength that theory names at 10% of the training for a share of dead filters leaves that share dead, to 10 points.

    Share inactive at the end minus the share asked for, of all filters, the strength being turned at 10% of the training.
    """
    samples = {
        f"{share:.0%} asked for": [100 * (row["came"] - share) for row in found if row["share"] == share]
        for share in SHARES
    }
    return every_cell({cell: values for cell, values in samples.items() if len(values) > 1}, "percentage points")


def bearing() -> dict[str, Any]:
    """What the claims look at, by experiment."""
    from fullscale.forecast.study import dialled

    return {NAME: kept(), f"{NAME}-dial": dialled()}
