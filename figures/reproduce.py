"""`undertow reproduce`: experiments through the store, claims judged, figures drawn, the report written."""

from __future__ import annotations

import json
import os
from concurrent.futures import Executor, as_completed
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xarray as xr

from dynamics.errors import InputError
from evidence.claim import Finding
from evidence.files import write_whole
from evidence.progress import Live
from evidence.store import Store
from figures.report import Section, number, write
from figures.results import cnn_data, judged, tell_versions, toy_data
from figures.story import CHAPTERS, Drawn
from figures.style import Shown, save
from fullscale.claims import CLAIMS as CNN_CLAIMS
from synthetic import worlds
from synthetic.claims import CLAIMS as TOY_CLAIMS

PARTS = ("synthetic", "fullscale")


def reproduce(out: Path, only: str | None = None, fresh: bool = False) -> tuple[list[Finding], Path]:
    """Run what is not stored yet (everything if fresh), write out/figures, out/report.html and out/explorer.html; the
    findings and the report.

    only: "synthetic", "fullscale" or the name of a toy world; the report then holds that part. Raises InputError for
    another part, for a folder that cannot be written and for a store of a newer version.
    """
    if only is not None and only not in (*PARTS, *worlds.WORLDS):
        raise InputError(f"part {only!r} is unknown: accepted are {', '.join((*PARTS, *worlds.WORLDS))}")
    if only in (None, "fullscale"):
        needs_fullscale()
    folder, figures = writable(out), writable(out / "figures")
    sections: list[Section] = []
    summary, explorer = None, ""
    with Store(folder / "results.sqlite") as store, Live() as live:
        if only != "fullscale":
            with worlds.processes() as pool:
                # Built while worlds run and figures are drawn.
                built = None if only in worlds.WORLDS else pool.submit(_explorer, folder)
                sections, summary = _synthetic(only, store, figures, live, fresh, pool)
                explorer = built.result() if built else ""
        if only in (None, "fullscale"):
            sections.append(_fullscale(store, figures, live, fresh))
    findings = [finding for section in sections for finding in section.findings]
    report = folder / "report.html"
    write(report, sections, summary or _summary(findings, figures), explorer)
    return findings, report


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


def _synthetic(
    only: str | None, store: Store, figures: Path, live: Live, fresh: bool, pool: Executor
) -> tuple[list[Section], Shown | None]:
    """The chapters on toy worlds, all of them or what there is of the world `only`, and the map of their claims if there will
    be no others."""
    names = [name for name in worlds.WORLDS if only in ("synthetic", None, name)]
    data = toy_data(names, store, live, pool, fresh)
    chapters = [chapter for chapter in CHAPTERS if any(name in data for name in chapter.worlds)]
    wanted = [drawn for chapter in chapters for drawn in chapter.drawn if all(name in data for name in drawn.worlds)]
    task = live.task("figures", len(wanted))
    waiting = {pool.submit(_drawn, d.module, [data[n].to_dict() for n in d.worlds], figures): d for d in wanted}
    found = [judged([claim for claim in TOY_CLAIMS if claim.experiment in c.worlds], data) for c in chapters]
    # Drawn here while the others are drawn there.
    summary = _summary([finding for findings in found for finding in findings], figures) if only is not None else None
    shown: dict[Drawn, Shown] = {}
    for done, finished in enumerate(as_completed(waiting), 1):
        drawn = waiting[finished]
        shown[drawn] = finished.result()
        task(done, len(wanted), shown[drawn].name)
    part = only if only is not None else "synthetic"
    return [
        Section(c.title, part, findings, [shown[d] for d in c.drawn if d in shown], c.text)
        for c, findings in zip(chapters, found, strict=True)
    ], summary


def _drawn(module: str, datasets: list[dict[str, Any]], folder: Path) -> Shown:
    """Draw and save one picture; in a process of its own."""
    draw = import_module(f"figures.{module}").draw
    return save(draw(*(xr.Dataset.from_dict(data) for data in datasets)), folder)


def _summary(findings: list[Finding], figures: Path) -> Shown | None:
    from figures import verdicts

    return save(verdicts.draw(findings), figures) if findings else None


def _explorer(folder: Path) -> str:
    from figures import explorer

    explorer.write(folder / "explorer.html")
    return "explorer.html"


def _fullscale(store: Store, figures: Path, live: Live, fresh: bool) -> Section:
    from figures import alive, thresholds
    from fullscale import pocket
    from fullscale.data import load
    from fullscale.sweep import local_executor, run_all

    images = load(pocket.DATA)
    specs = pocket.specs(images.digest, len(images.train.labels))
    task = live.task("CNNs", len(specs))
    with local_executor(images) as executor:
        rows = run_all(specs, store, executor, task, fresh)
    tell_versions(rows, live)
    bearing = cnn_data(rows, store.path)
    findings = judged(CNN_CLAIMS, bearing)
    shown = [save(alive.draw(bearing["pocket"]), figures), save(thresholds.draw(bearing["thresholds"]), figures)]
    live.line("CNNs: claims judged, figures drawn")
    title = "A real CNN: BasicNet on scikit-learn's digits"
    return Section(title, "fullscale", findings, shown, "", bearing["pocket"], bearing["grid"])
