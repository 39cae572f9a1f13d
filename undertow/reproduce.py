"""`undertow reproduce`: experiments through the store, claims judged, figures drawn, the report written."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, as_completed
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import xarray as xr

from evidence.claim import Finding
from evidence.executors.local import processes
from evidence.files import writing
from evidence.progress import Live
from evidence.registry import FIGURES, Experiment, find_claims, judged, worlds
from evidence.store import Store
from evidence.study import other_versions, world_data
from figures.report import Section, write
from figures.story import CHAPTERS, Chapter, PictureSource
from figures.style import InlineSvg, save
from undertow.experiments import check_part, declare


def reproduce(
    out: Path, only: str | None = None, fresh: bool = False, file: Path | None = None
) -> tuple[list[Finding], Path]:
    """Run what is not stored yet (everything if fresh), write out/figures, out/report.html and out/explorer.html; the
    findings and the report.

    only: "synthetic", "fullscale" or the name of a world; the report then holds that part. file: a user's own worlds,
    claims and figures (`evidence.registry.load_worlds`). Raises InputError for another part, for a folder that cannot be
    written and for a store of a newer version.
    """
    declare(file)
    check_part(only)
    figures = out / "figures"
    sections: list[Section] = []
    summary, explorer = None, ""
    with writing(out, "reproduce"), writing(figures), Store(out / "results.sqlite") as store, Live() as live:
        if only != "fullscale":
            with processes([partial(declare, file)], preload=["undertow.experiments"]) as pool:
                # Built while worlds run and figures are drawn.
                built = None if only in worlds() else pool.submit(_explorer, out)
                sections, summary = _worlds(only, store, figures, live, fresh, pool)
                explorer = built.result() if built else ""
        if only in (None, "fullscale"):
            sections += [_fullscale(store, figures, live, fresh), _paper(store, figures)]
        findings = [finding for section in sections for finding in section.findings]
        report = out / "report.html"
        write(report, sections, summary or _summary(findings, figures), explorer, part=only is not None)
    return findings, report


def chapters(names: Sequence[str]) -> list[Chapter]:
    """The chapters on these worlds: those of the story, and of a user's own worlds those that they ask for, or one each."""
    own: dict[str, Chapter] = {c.title: c for c in CHAPTERS}
    told = {name for c in CHAPTERS for name in c.worlds}
    for name in names:
        if name in told:
            continue
        found = worlds()[name]
        title = found.chapter or name
        chapter = own.get(title, Chapter(title, _described(found), (), ()))
        pictures = tuple(PictureSource(p, f.worlds) for p, f in FIGURES.items() if name in f.worlds)
        pictures = tuple(p for p in pictures if p not in chapter.pictures)
        own[title] = Chapter(title, chapter.text, chapter.pictures + pictures, (*chapter.worlds, name))
    return [chapter for chapter in own.values() if any(name in names for name in chapter.worlds)]


def _described(found: Experiment) -> str:
    """A world's own words: the first paragraph of its class's docstring."""
    return " ".join((type(found.world).__doc__ or "").split("\n\n")[0].split())


def _worlds(
    only: str | None, store: Store, figures: Path, live: Live, fresh: bool, pool: Executor
) -> tuple[list[Section], InlineSvg | None]:
    """The chapters on toy worlds, all of them or what there is of the world `only`, and the map of their claims if there will
    be no others."""
    names = [name for name in worlds() if only in ("synthetic", None, name)]
    data = world_data(names, store, pool, live, fresh)
    parts = chapters(names)
    wanted = [p for chapter in parts for p in chapter.pictures if all(name in data for name in p.worlds)]
    task = live.task("figures", len(wanted))
    waiting = {pool.submit(_drawn, p.name, [data[n].to_dict() for n in p.worlds], figures): p for p in wanted}
    found = [judged(find_claims(experiments=chapter.worlds), data) for chapter in parts]
    # Drawn here while the others are drawn there.
    summary = _summary([finding for findings in found for finding in findings], figures) if only is not None else None
    inline: dict[PictureSource, InlineSvg] = {}
    for done, finished in enumerate(as_completed(waiting), 1):
        source = waiting[finished]
        inline[source] = finished.result()
        task(done, len(wanted), inline[source].name)
    part = only if only is not None else "synthetic"
    return [
        Section(c.title, part, findings, [inline[p] for p in c.pictures if p in inline], c.text)
        for c, findings in zip(parts, found, strict=True)
    ], summary


def drawing(name: str) -> Any:
    """The function that draws a picture from its datasets: of a user's file, or `draw` of the module of figures."""
    return FIGURES[name].draw if name in FIGURES else import_module(f"figures.{name}").draw


def _drawn(name: str, datasets: list[dict[str, Any]], folder: Path) -> InlineSvg:
    """Draw and save one picture; in a process of its own."""
    return save(drawing(name)(*(xr.Dataset.from_dict(data) for data in datasets)), folder)


def _summary(findings: list[Finding], figures: Path) -> InlineSvg | None:
    from figures import verdicts

    return save(verdicts.draw(findings), figures) if findings else None


def _explorer(folder: Path) -> str:
    from figures import explorer

    explorer.write(folder / "explorer.html")
    return "explorer.html"


def _fullscale(store: Store, figures: Path, live: Live, fresh: bool) -> Section:
    from figures import alive, forecast, interventions, pruning, report_runs, thresholds, watched
    from fullscale import digits_study
    from fullscale.claims import bearing
    from fullscale.interventions.claims import EXPERIMENTS as TRIALS
    from fullscale.pruning_study import PAPER
    from fullscale.studies.conduct import conduct, planned

    [plan] = planned(digits_study.STUDY)
    task = live.task("CNNs", len(plan.runs))
    with processes() as executor:
        stands = conduct(plan, store, executor, task, fresh=fresh, strict=True, curves=True)
    for line in other_versions(row for row in stands.rows if row is not None):
        live.line(line)
    data = bearing(store, stands)
    findings = judged(find_claims(experiments=list(data)), data)
    compared = [pruning.draw(data[name]) for name in ("compare", PAPER.name) if name in data]
    trials = {name: data[experiment] for name, experiment in TRIALS.items() if experiment in data}
    drawn = (
        alive.draw(data["pocket"]), thresholds.draw(data["thresholds"]), watched.draw(data["watched"]),
        interventions.draw(trials), forecast.draw(data["forecast"]), *compared,
    )  # fmt: skip
    inline = [save(picture, figures) for picture in drawn]
    live.line("CNNs: claims judged, figures drawn")
    title = "A real CNN: BasicNet on scikit-learn's digits"
    text = (
        "The learning-rate grid, its runs at one sum of learning rates an optimizer, the watched runs, the interventions, the runs "
        "of the forecast, and the comparison of pruning criteria unless it is stored here, come with the suite; undertow study "
        "digits-lr, digits-long, digits-watched and forecast-test, make interventions, and undertow compare, run them again."
    )
    tables = (report_runs.removal(data["pocket"]), report_runs.grid(data["grid"]))
    return Section(title, "fullscale", findings, inline, text, tables)


def _paper(store: Store, figures: Path) -> Section:
    """The study paper as its rows come with the package, or as they are stored here; nothing is trained."""
    from figures import knobs, matched, optimizers, report_runs
    from fullscale.paper import kept, pictures

    found, missing = kept.bearing(store)
    data = {kept.NAME: found} if found else {}
    findings = judged(find_claims(experiments=list(data)), data)
    inline, tables, text = [], [], f"{missing}: no claim on it is judged before it is complete."
    if found:
        seen = found["looked"]
        drawn = (
            optimizers.draw(pictures.by_optimizer(seen)), matched.draw(pictures.by_error(seen)), knobs.draw(pictures.by_knob(seen))
        )  # fmt: skip
        inline = [save(picture, figures) for picture in drawn]
        tables = [report_runs.strengths(found["table"])]
        text = (
            "The protocol, docs/protocol.md, was written before the first run: ten primary contrasts, all else exploratory. The "
            "runs come with the suite; undertow study paper --data CIFAR-10 runs them again, and undertow reproduce --study paper "
            "--quick a part of them."
        )
    return Section("Real CNNs: BasicNet on CIFAR-10", "fullscale", findings, inline, text, tables)
