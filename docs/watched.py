"""Numbers of the watched runs that come with the package, for docs/monitor.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dynamics.estimate import Estimate
from figures.watched import LOOKS
from fullscale.watched.claims import EARLY, LATER, kept, over_networks
from fullscale.watched.estimate import agreement, foretold, killed

COLUMNS = ("stronger in filters that die", f"at {EARLY:.0%} of the training", f"at {LATER:.0%}")


def values() -> dict[str, str]:
    """Numbers by name: networks, filters, deaths in all and in each, revivals, deaths by cause; agreement over
    all layers at once."""
    records = kept()
    deaths = [len(record["deaths"]["step"]) for record in records]
    causes = Counter(cause for record in records for cause in record["deaths"]["cause"])
    said = {
        f"by {cause}": f"{causes[cause]} ({100 * over_networks(killed(records, cause), '').value:.1f}%)"
        for cause in ("regularizer", "loss", "noise", "input", "unknown")
    }
    # A network as one layer.
    pooled = [dict(record) | {"layers": [sum(record["layers"])]} for record in records]
    return said | {
        "pooled": _number(over_networks(agreement(pooled), "")),
        "pooled weights": _number(over_networks(agreement(pooled, "weights"), "")),
        "networks": str(len(records)),
        "filters": str(sum(records[0]["layers"])),
        "deaths": str(sum(deaths)),
        "deaths by seed": f"{min(deaths)} to {max(deaths)}",
        "revivals": str(sum(step is not None for record in records for step in record["deaths"]["revived"])),
    }


def rows() -> Iterator[tuple[str, str, str]]:
    """The area of each sign at both moments, the strongest early sign first."""
    found = {
        label: [over_networks(foretold(kept(), name, moment), "") for moment in (EARLY, LATER)]
        for name, (label, *_) in LOOKS.items()
    }
    for label, areas in sorted(found.items(), key=lambda item: -item[1][0].value):
        early, later = map(_number, areas)
        yield label, early, later


def _number(found: Estimate) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
