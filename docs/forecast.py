"""docs/forecast.md: its numbers, and what it needs of runs.

python -m docs.forecast --out FOLDER takes the rows of the studies forecast-* from the store in which `undertow study` has put them,
and fits the fitted version's weights to those of the design runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from docs.fill import ROOT
from docs.keep import kept_records, write_records
from dynamics.errors import InputError
from dynamics.estimate import mean_interval
from evidence.store import Store
from fullscale.forecast import judge
from fullscale.forecast.claims import AT
from fullscale.forecast.dialled import conduct
from fullscale.forecast.fitted import FILE, TERMS, fit, terms
from fullscale.forecast.runs import DESIGN, DIAL, KEPT, SHARES, TEST
from fullscale.forecast.score import brier, log_loss, reliability
from fullscale.forecast.seen import MOMENTS
from fullscale.forecast.study import Network, dialled, networks

TABLES = ("moments", "settings", "signs", "reliability")


def columns(table: str) -> Sequence[str]:
    """Of a table."""
    return {
        "settings": (
            "setting", "n", "die", "mean probability", "within layers", "small abs(gamma)", "fitted", "pooled",
            "abs(gamma) and layer", "Brier", "steps within 1.5",
        ),
        "moments": (
            "at", "within layers, minus small abs(gamma)", "fitted, minus small abs(gamma)",
            "mean probability minus share that dies, points", "Brier score", "log loss",
        ),
        "signs": ("sign", *(f"at {moment:.0%}" for moment in MOMENTS)),
        "reliability": ("probability", "filters", "mean probability", "died", "fitted: filters", "mean probability", "died"),
    }[table]  # fmt: skip


def rows(table: str) -> Iterator[Sequence[str]]:
    """Of a table in docs/forecast.md, from the runs that the forecast is tested on."""
    found = tested()
    if table == "settings":
        pooled = judge.pooled(found)
        for label, of in judge.by_setting(found).items():
            areas = judge.areas(of, AT)
            die = [100 * one.dead[one.seen(AT).alive].mean() for one in of]
            mean = [100 * one.forecast(AT).probability[one.seen(AT).alive].mean() for one in of]
            both = [pooled(one, AT) for one in of]
            rival = [_pooled(one) for one in of]
            yield (
                label, str(len(of)), _percent(die), _percent(mean), _mean(areas["forecast"]), _mean(areas["abs(gamma)"]),
                _mean(areas["fitted"]), _mean(rival), _mean([a - b for a, b in zip(rival, both, strict=True)]),
                _mean([_brier(one, AT) for one in of]), _percent([judge.on_time(one, AT) for one in of]),
            )  # fmt: skip
    elif table == "moments":
        for moment in MOMENTS:
            yield (
                f"{moment:.0%}", _gain(judge.within, moment), _gain(judge.within_fitted, moment), _gain(judge.bias, moment, 1),
                _mean([_brier(one, moment) for one in _known(moment)]), _mean([_log(one, moment) for one in _known(moment)]),
            )  # fmt: skip
    elif table == "signs":
        by_moment = [judge.areas(_known(moment), moment) for moment in MOMENTS]
        for sign in by_moment[0]:
            yield sign, *(_mean(areas[sign]) for areas in by_moment)
    else:
        theory, fitted = (reliability(*judge.probabilities(found, AT, fitted=way), 5) for way in (False, True))
        for k, (own, other) in enumerate(zip(theory, fitted, strict=False)):
            cells = [x for b in (own, other) for x in (f"{b.filters:,}", f"{b.probability:.2f}", f"{b.died:.2f}")]
            yield f"{k / 5:.1f} to {(k + 1) / 5:.1f}", *cells


def values() -> dict[str, str]:
    """Numbers by name: networks, filters, settings; of the fitted version its weights."""
    found = tested()
    fitted = json.loads((ROOT / "fullscale/studies" / FILE).read_text(encoding="utf-8"))
    said = ", ".join(
        f"{name} {weight:.2f}" for name, weight in zip((*TERMS, "constant"), fitted["weights"], strict=True)
    )
    turned = dialled()
    missed = {
        f"dial {share:g}": [100 * (row["came"] - share) for row in turned if row["share"] == share] for share in SHARES
    }
    return {
        **{name: _interval(np.array(samples), 1) for name, samples in missed.items()},
        "who": _gain(judge.within, AT),
        "how many": _gain(judge.bias, AT, 1),
        "when": _percent([judge.on_time(one, AT) for one in found]),
        "networks": str(len(found)),
        "settings": str(len(judge.by_setting(found))),
        "filters": f"{sum(int(one.seen(AT).alive.sum()) for one in found):,}",
        "weights": said,
        "design": str(len(designed())),
    }


@cache
def tested() -> list[Network]:
    """The networks that the forecast is tested on."""
    return networks(TEST)


@cache
def designed() -> list[Network]:
    """Those that it was made on."""
    return networks(DESIGN)


def _known(moment: float) -> list[Network]:
    """The networks that were looked at by then: a short run was not at its first hundredth."""
    return [one for one in tested() if moment in one.moments]


def _pooled(network: Network) -> float:
    from fullscale.forecast.score import area

    of = judge.asked(network, AT)
    return area(network.forecast(AT).probability[of], network.dead[of])


def _brier(network: Network, moment: float) -> float:
    of = network.seen(moment).alive
    return brier(network.forecast(moment).probability[of], network.dead[of])


def _log(network: Network, moment: float) -> float:
    of = network.seen(moment).alive
    return log_loss(network.forecast(moment).probability[of], network.dead[of])


def _gain(score: judge.Score, moment: float, digits: int = 3) -> str:
    """Mean over the networks of all settings, each setting counting by its seeds, with a t-interval over them."""
    return _interval(np.array([score(one, moment) for one in _known(moment)]), digits)


def _interval(values: NDArray[np.float64], digits: int) -> str:
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return "-"
    found = mean_interval(known, "", "networks")
    return f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def _mean(values: Sequence[float]) -> str:
    known = np.array(values)[np.isfinite(values)]
    return f"{known.mean():.3f}" if len(known) else "-"


def _percent(values: Sequence[float]) -> str:
    known = np.array(values)[np.isfinite(values)]
    return f"{known.mean():.0f}%" if len(known) else "-"


def keep(out: Path) -> int:
    """Write the rows that are kept, then the weights that follow from those of the design runs; how many rows."""
    with Store(out / "results.sqlite", reading=True) as store:
        records = kept_records(store, [*DESIGN, *TEST])
        records += [record for record in store.records() if record.kind == DIAL]
    count = write_records(ROOT / KEPT, records)
    found = networks(DESIGN)
    columns, dies = [], []
    for network in found:
        for moment in network.moments:
            seen = network.seen(moment)
            columns.append(terms(seen, network.forecast(moment).probability)[seen.alive])
            dies.append(network.dead[seen.alive])
    weights = [float(f"{weight:.4g}") for weight in fit(columns, dies)]
    data = {"terms": [*TERMS, "constant"], "weights": weights, "networks": len(found), "studies": list(DESIGN)}
    (ROOT / "fullscale/studies" / FILE).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return count


def main() -> int:
    """Keep the rows; 2 where the store has none."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.forecast", description="Keep the rows of the studies forecast-*."
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the store that holds them")
    parser.add_argument(
        "--dial", action="store_true", help="first run there what is missing of the runs whose strength is turned"
    )
    arguments = parser.parse_args()
    try:
        if arguments.dial:
            with Store(arguments.out / "results.sqlite") as store:
                conduct(store, lambda line: print(line, flush=True))
        count = keep(arguments.out)
    except InputError as error:
        print(f"docs.forecast: {error}", file=sys.stderr)
        return 2
    print(f"{count} rows: {KEPT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
