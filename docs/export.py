"""docs/findings.json from a store: every claim with its verdict, and the CNN's runs that the tables show."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from docs.fill import ROOT
from dynamics.errors import InputError
from evidence.sources import MEHTA
from evidence.store import Store

_NUMBERS = ("value", "low", "high", "n", "unit", "interval")
_KEPT = ("id", "verdict", "sentence", "source", "formula", *_NUMBERS, "holds_if", "against", "experiment", "again")


def findings(out: Path) -> dict[str, Any]:
    """What findings.json holds. Raises InputError where the store in `out` lacks a part of `undertow reproduce`."""
    path = out / "results.sqlite"
    if not path.is_file():
        raise InputError(f"store {path} is missing: the --out folder of a finished `undertow reproduce` is accepted")
    from evidence.registry import find_claims

    claims = [{name: claim.get(name, "") for name in _KEPT} for claim in _claims(out)]
    claims += _compared({c["id"] for c in claims})
    judged = {c["id"] for c in claims}
    with Store(path) as store:
        kinds = [*dict.fromkeys(c["experiment"] for c in claims), "train"]
        unjudged = [claim.id for claim in find_claims() if claim.id not in judged]
        return {"made": _made(store, kinds), "claims": claims, "not judged yet": unjudged, **_cnn(store)}


def as_text(content: dict[str, Any]) -> str:
    """As JSON, a line for each claim, so that a difference can be read."""

    def lines(part: Any) -> str:
        if not isinstance(part, list):
            return json.dumps(part, allow_nan=False)
        return "[\n  " + ",\n  ".join(json.dumps(one, allow_nan=False) for one in part) + "\n ]"

    return "{\n" + ",\n".join(f" {json.dumps(name)}: {lines(part)}" for name, part in content.items()) + "\n}\n"


def _claims(out: Path) -> list[dict[str, Any]]:
    from undertow.__main__ import main

    printed = io.StringIO()
    with redirect_stdout(printed):
        status = main(["claims", "--json", "--out", str(out)])
    if status:
        raise InputError(f"`undertow claims --json --out {out}` failed: see above")
    return list(json.loads(printed.getvalue()))


def _compared(known: set[str]) -> list[dict[str, Any]]:
    """The claims that rest on fullscale/compared.json, but those known already."""
    found = json.loads((ROOT / "fullscale" / "compared.json").read_text())["findings"]
    return [
        {name: f.get(name, "") for name in _KEPT}
        | {"source": MEHTA, "holds_if": f["rule"], "experiment": "compare", "again": "undertow compare"}
        for f in found
        if f["id"] not in known
    ]


def _made(store: Store, kinds: list[str]) -> dict[str, list[str]]:
    """The versions that made the stored results of these kinds, and the processor at hand; several where there were several."""
    from bench.report import machine

    found: dict[str, list[str]] = {}
    for kind in kinds:
        for row in store.rows(kind):
            for name, version in row.environment.items():
                if version not in found.setdefault(name, []):
                    found[name].append(version)
    return found | {"processor": [machine()["processor"]]}


def _cnn(store: Store) -> dict[str, Any]:
    """cnn: each optimizer with and without L2, a number a seed; thresholds: shares of inactive filters by threshold."""
    from fullscale import digits_study
    from fullscale.studies.standing import standing

    stands = standing(digits_study.STUDY, store, curves=True)
    if not stands.complete:
        raise InputError(
            f"store {store.path}, the CNN's runs: {stands.in_words()}; `undertow reproduce` makes the rest"
        )
    whole = [row for row in stands.rows if row is not None]
    data, swept = digits_study.curves_and_ends(whole), digits_study.swept(whole)
    runs = [
        {"optimizer": str(name), "strength": float(strength), "lr": float(at.lr)}
        | {
            measure: at[measure].isel(epoch=-1).values.tolist()
            for measure in ("inactive_by_activation", "inactive_by_scale")
        }
        | {
            end: at[end].values.tolist()
            for end in ("parameters", "difference", "noise_difference", "error_before", "error_after")
        }
        for name in data.optimizer.values
        for strength in data.strength.values
        for at in [data.sel(optimizer=name, strength=strength)]
    ]
    thresholds = [
        {"measure": str(measure), "threshold": float(threshold), "sparsity": at.sparsity.values.tolist()}
        | {"change": (at.error - at.error_before).values.tolist()}
        for measure in swept.measure.values
        for threshold in swept.threshold.values
        for at in [swept.sel(measure=measure, threshold=threshold)]
    ]
    facts = {
        "filters": int(data.attrs["filters"]),
        "test_images": int(swept.test_images[0]),
        "flat": swept.flat.values.tolist(),
    }
    return {"cnn": runs, "thresholds": thresholds, "facts": facts}
