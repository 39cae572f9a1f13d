"""`undertow reproduce --study paper`: its primary runs trained again, beside those that came with the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dynamics.errors import InputError
from evidence.executors.local import processes
from evidence.files import writing
from evidence.progress import Live
from evidence.store import Row, Store
from evidence.study import run_all
from fullscale.paper.cells import PAIRED, Cells, Noted
from fullscale.paper.contrasts import CONTRASTS, Looked, primary
from fullscale.paper.kept import bearing_kept
from fullscale.spec import RunSpec
from fullscale.studies import Source, images
from fullscale.studies.estimate import cost
from fullscale.sweep import outcome, runs_of, title
from undertow.extras import needs_fullscale

# The seed of a quick look, and what it leaves out: the widest network takes as long as three others, a task of two classes
# as long as one and a half.
QUICK = 2
LONG = ("S5b", "S5c")
# Of a run's summary, what is compared.
NUMBERS = {"inactive_by_activation": "inactive", "test_error": "test error"}


def redo(out: Path, data: str, quick: bool = False, fresh: bool = False) -> str:
    """Train again what the primary contrasts of the study paper rest on (but S6's watched runs), at 12 epochs.

    Args:
        out: folder of the store, results.sqlite; runs that it holds already do not run again.
        data: where CIFAR-10 is.
        quick: one seed of five, and not S5b and S5c.
        fresh: also what the store holds.

    Returns:
        A table: each cell's numbers as they came with the package and as they came out here, then the contrasts.

    Raises:
        InputError: where the data are not those of the study, and for a folder that cannot be written.
    """
    needs_fullscale()
    seeds = (QUICK,) if quick else PAIRED
    seen: Looked = replace(bearing_kept(), epochs=12)
    asked = {name: c for name, c in CONTRASTS.items() if name != "S6" and not (quick and name in LONG)}
    noted, stored = Noted(seen.cells), primary(seen)
    for contrast in asked.values():
        contrast.samples(replace(seen, cells=noted))
    rows = [cell.rows[seed] for cell in noted.looked_at.values() for seed in seeds]
    specs = [RunSpec.of(row.spec) for row in rows]
    sources = [Source("", spec.classes, spec.size, spec.label_noise) for spec in specs]
    found = images.read(sources, data)
    for spec, source in zip(specs, sources, strict=True):
        if found[source].digest != spec.digest:
            raise InputError(
                f"data {data}: other images than the study's, CIFAR-10 (JPEG copy), are no repetition of it"
            )
    place = str(Path(data).absolute())
    wanted = runs_of(specs, [place] * len(specs), [cost(s, found[i]) for s, i in zip(specs, sources, strict=True)])
    with (
        writing(out),
        Store(out / "results.sqlite") as store,
        Live() as live,
        processes() as executor,
    ):
        again = run_all(
            wanted, store, executor, live.task("study paper", len(wanted)), outcome, fresh=fresh, strict=True
        )
    lines = [_line(old, new) for old, new in zip(rows, again, strict=True)]
    same = sum(line.endswith(SAME) for line in lines)
    ours, theirs = (replace(seen, cells=Cells(found), seeds=seeds) for found in (rows, again))
    lines.append(f"{same} of {len(lines)} runs came out the same to the last bit")
    for name, contrast in asked.items():
        before, here = (float(np.mean(contrast.samples(of))) for of in (ours, theirs))
        e = stored[name]
        lines.append(
            f"{name:4} {here:8.2f} here, {before:.2f} as stored, of the same seeds; {e.value:.2f} [{e.low:.2f}, {e.high:.2f}] "
            f"{e.unit} over all {e.n}"
        )
    if quick:
        lines.append(f"{' and '.join(LONG)} are left out with --quick: their networks take longest")
    return "\n".join(lines)


SAME = "the same to the last bit"


def _line(old: Row, new: Row) -> str:
    spec = RunSpec.of(old.spec)
    task = f", {len(spec.classes)} classes" if spec.classes else ""
    said = f"{title(spec)}, batch {spec.batch}, width {spec.width:g}{task}: "
    if old.status != "done" or new.status != "done":
        return f"{said}{old.status} before, {new.status} now"
    numbers = [f"{label} {old.summary[n]:.2%} -> {new.summary[n]:.2%}" for n, label in NUMBERS.items()]
    # The rows that came with the package lack two of a summary's lists, for their size.
    summary = all(new.summary.get(k) == v for k, v in old.summary.items() if k != "seconds")
    alike = summary and new.curves == old.curves
    return said + ", ".join(numbers) + (f", {SAME}" if alike else "")
