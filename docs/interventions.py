"""docs/interventions.md: a randomised trial inside of networks, and its numbers from the kept rows.

python -m docs.interventions [--data CIFAR-10] runs what is missing in fullscale/studies/interventions.sqlite: on digits, and with
--data on CIFAR-10, the arms of one network side by side on one core, about an hour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from docs.fill import ROOT
from dynamics.errors import InputError
from evidence.claim import Estimate
from evidence.store import Store
from fullscale.interventions.arms import ARMS, CIFAR, DIGITS, NONE, STAGES
from fullscale.interventions.claims import cause_by
from fullscale.interventions.estimate import Record, effect, lost_life, moved
from fullscale.interventions.stored import KEPT, conduct, kept
from fullscale.watched.claims import over_networks

COLUMNS = ("arm", "n", "effect", "siblings", "lost life", "selectivity of those that live", "theory", "what came")
# By the table in docs/interventions.md that was written before the first run; of an arm it says nothing of another way.
THEORY = {
    **dict.fromkeys(("scale 0.1", "scale 0.3", "scale 0.316", "arrival 0.01", "arrival 0.1", "arrival 0.3"), "kills"),
    **dict.fromkeys(("arrival 0.1, nothing kept", "beta2 0.99"), "kills"),
    **dict.fromkeys(("scale 3", "scale 10", "strength 0", "beta2 0.9999"), "saves"),
    "arrival 0.1, mean kept": "nothing, or saves",
}


def rows(trial: str) -> Iterator[Sequence[str]]:
    """Of each arm its numbers in points, what theory expected, and what the interval says."""
    records = kept().get(trial, [])
    for arm in ARMS:
        if arm == NONE or len(effect(records, arm)) < 2:
            continue
        treated, siblings = (cause_by(records, arm, of) for of in ("treated", "siblings"))
        life, selectivity = lost_life(records, arm), 100 * moved(records, arm, "selectivity")
        more = (over_networks(samples, "") for samples in (life, selectivity))
        yield f"`{arm}`", str(treated.n), *map(_said, (treated, siblings, *more)), THEORY[arm], _came(treated)


@cache
def values() -> dict[str, str]:
    """Numbers by name.

    `TRIAL networks`, `TRIAL filters`; in its twins `TRIAL treated`, how many filters of a network, `TRIAL dead`, which share of
    these dies, and `TRIAL all dead`, of all filters; `TRIAL errors`, test errors arm by arm; `right`, in how many arms on digits
    theory was.
    """
    found: dict[str, str] = {}
    for name, records in kept().items():
        twins = [record for record in records if record["arm"] == NONE]
        counts = [sum(record["treated"]) for record in twins]
        found |= {
            f"{name} networks": str(len(twins)),
            f"{name} filters": str(sum(twins[0]["layers"])),
            f"{name} treated": f"{min(counts)} to {max(counts)}",
            f"{name} dead": f"{np.mean([_dead(r, r['treated']) for r in twins]):.0f}%",
            f"{name} all dead": f"{np.mean([_dead(r, [1] * len(r['died'])) for r in twins]):.0f}%",
            f"{name} errors": _errors(records),
        }
    told = [(row[-2], row[-1]) for row in rows("digits")]
    found["right"] = f"{sum(came in expected for expected, came in told)} of {len(told)}"
    return found


def _dead(record: Record, which: Sequence[int]) -> float:
    return 100 * float(np.mean([d is not None for d, w in zip(record["died"], which, strict=True) if w]))


def _errors(records: Sequence[Record]) -> str:
    means = [
        100 * np.mean([r["test_error"] for r in records if r["arm"] == arm]) for arm in {r["arm"] for r in records}
    ]
    return f"{min(means):.1f}% to {max(means):.1f}%"


def _said(found: Estimate) -> str:
    return f"{round(found.value):+d} [{round(found.low):+d}, {round(found.high):+d}]"


def _came(found: Estimate) -> str:
    if found.low > 0 or found.high < 0:
        return "kills" if found.low > 0 else "saves"
    return "nothing" if found.low >= -5 and found.high <= 5 else "open"


def main(words: list[str] | None = None) -> int:
    """Run what is missing; 2 for data that cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.interventions", description="Run what is missing of the trial."
    )
    parser.add_argument("--data", metavar="PLACE", help="CIFAR-10; without it digits alone are run")
    arguments = parser.parse_args(words)
    from fullscale.train import one_thread

    one_thread()
    trials = [(DIGITS, None)] + ([(CIFAR, arguments.data)] if arguments.data else [])
    try:
        with Store(ROOT / KEPT) as store:
            for stage in range(STAGES):
                for trial, data in trials:
                    conduct(trial, stage, store, data, lambda line: print(line, flush=True))
    except InputError as error:
        print(f"docs.interventions: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
