"""`undertow reproduce`: experiments through the store, claims judged, figures drawn, the report written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dynamics.claims import Finding, judge
from dynamics.errors import InputError
from figures.progress import Live
from figures.report import Section, number, write
from fullscale.files import write_whole
from fullscale.store import Row, Store, environment

PARTS = ("synthetic", "fullscale")


def reproduce(out: Path, only: str | None = None, fresh: bool = False) -> tuple[list[Finding], Path]:
    """Run what is not stored yet (everything if fresh), write out/figures, out/report.html; the findings and the report.

    only: "synthetic" or "fullscale"; the report then holds that part. Raises InputError for another part, for a folder
    that cannot be written and for a store of a newer version.
    """
    if only is not None and only not in PARTS:
        raise InputError(f"part {only!r} is unknown: accepted are {', '.join(PARTS)}")
    folder, figures = writable(out), writable(out / "figures")
    parts: dict[str, Callable[[Store, Path, Live, bool], Section]] = {"synthetic": _synthetic, "fullscale": _fullscale}
    with Store(folder / "results.sqlite") as store, Live() as live:
        sections = [run(store, figures, live, fresh) for part, run in parts.items() if only in (None, part)]
    report = folder / "report.html"
    write(report, sections)
    return [finding for section in sections for finding in section.findings], report


def writable(out: Path) -> Path:
    """The folder `out`, made if need be; InputError if it cannot be, or cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"output folder {out} cannot be made ({error.strerror}): a writable folder is accepted"
        ) from None
    if not os.access(out, os.W_OK):
        raise InputError(f"output folder {out} cannot be written: a writable folder is accepted")
    return out


def needs_fullscale() -> None:
    """InputError, before anything is begun, if the extra that the CNN part needs is not installed."""
    for name in ("torch", "safetensors", "PIL", "sklearn"):
        if find_spec(name) is None:
            raise InputError(f"{name!r} is missing: install undertow[fullscale], or use --only synthetic")


def table(findings: list[Finding]) -> str:
    """Claims and verdicts for a terminal."""
    wide = max(len(f.claim.id) for f in findings)
    return "\n".join(
        f"{f.claim.id:{wide}}  {f.verdict:9}  {f.claim.sentence}\n{'':{wide + 13}}{number(f.estimate)}"
        for f in findings
    )


def tune(folder: Path) -> dict[str, Any]:
    """The learning-rate grid through the store in `folder`; its outcome, also written to folder/tuned.json."""
    needs_fullscale()
    from fullscale import pocket
    from fullscale import tune as grid
    from fullscale.data import load
    from fullscale.sweep import local_executor, run_all

    images = load(pocket.DATA)
    specs = grid.specs(images)
    with Store(folder / "results.sqlite") as store, Live() as live, local_executor(images) as executor:
        rows = run_all(specs, store, executor, live.task("grid", len(specs)))
    found = grid.outcome(rows)
    write_whole(folder / "tuned.json", (json.dumps(found, indent=1) + "\n").encode())
    return found


def _tell_versions(rows: Iterable[Row], live: Live) -> None:
    """Say which stored results other versions made: they are used all the same, --fresh makes them anew."""
    kept = list(rows)
    for name, here in environment().items():
        then = sorted({row.environment.get(name, "none") for row in kept} - {here})
        if then:
            live.line(
                f"some stored results were made with {name} {', '.join(then)}; here is {here}: --fresh runs them again"
            )


def _synthetic(store: Store, figures: Path, live: Live, fresh: bool) -> Section:
    import xarray as xr

    from synthetic import worlds
    from synthetic.claims import CLAIMS

    rows = {name: None if fresh else store.get(name, asdict(world)) for name, world in worlds.WORLDS.items()}
    missing = {name: worlds.WORLDS[name] for name, row in rows.items() if row is None}
    if missing:
        task = live.task("toy worlds", len({rule for world in missing.values() for rule in world.rules}))
        for name, found in worlds.run(missing, task).items():
            rows[name] = store.put(name, asdict(missing[name]), summary={}, curves=found.to_dict())
    else:
        live.line("toy worlds: all stored already")
    from figures import crossover, silence
    from figures.style import save

    stored = {name: row for name, row in rows.items() if row is not None}
    _tell_versions(stored.values(), live)
    try:
        data = {name: xr.Dataset.from_dict(row.curves) for name, row in stored.items()}
    except (KeyError, ValueError) as error:
        raise InputError(f"store {store.path} holds a damaged dataset ({error}): run again with --fresh") from error
    findings = [judge(claim, data[claim.experiment]) for claim in CLAIMS]
    pictures = [silence.draw(data["silence"]), crossover.draw(data["selective"])]
    svgs = [save(picture, figures) for picture in pictures]
    live.line("toy worlds: claims judged, figures drawn")
    return Section("Toy worlds: one weight at a time", "synthetic", findings, pictures, svgs)


def _fullscale(store: Store, figures: Path, live: Live, fresh: bool) -> Section:
    needs_fullscale()
    from figures import alive
    from figures.style import save
    from fullscale import pocket
    from fullscale.claims import CLAIMS
    from fullscale.data import load
    from fullscale.sweep import local_executor, run_all

    images = load(pocket.DATA)
    specs = pocket.specs(images.digest, len(images.train.labels))
    task = live.task("CNNs", len(specs))
    with local_executor(images) as executor:
        rows = run_all(specs, store, executor, task, fresh)
    _tell_versions(rows, live)
    try:
        data = pocket.dataset(rows)
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"store {store.path} holds a damaged run ({error!r}): run again with --fresh") from error
    bearing: dict[str, Any] = {"pocket": data, "grid": pocket.tuned()}
    findings = [judge(claim, bearing[claim.experiment]) for claim in CLAIMS]
    picture = alive.draw(data)
    svg = save(picture, figures)
    live.line("CNNs: claims judged, figure drawn")
    title = "A real CNN: BasicNet on scikit-learn's digits"
    return Section(title, "fullscale", findings, [picture], [svg], data, bearing["grid"])
