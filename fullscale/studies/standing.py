"""How a study stands: which of its runs are stored, and how they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evidence.store import Row, Store, key_of
from fullscale.spec import RunSpec
from fullscale.studies import images
from fullscale.studies.file import Study
from fullscale.studies.runs import Asked, Found, Source, asked, on_images
from fullscale.sweep import KIND, check_row

# Fields of a run that change what is looked at alone.
LOOKS = ("thresholds", "measure_every", "watch", "record")


@dataclass(frozen=True)
class Standing:
    """A study's runs with their rows.

    Args:
        study: which.
        runs: what is asked for, in the study's order.
        specs: of each run, on its images.
        rows: of each run, None where it is not stored.
        found: what is known of the images.
    """

    study: Study
    runs: Sequence[Asked]
    specs: Sequence[RunSpec]
    rows: Sequence[Row | None]
    found: Mapping[Source, Found]

    def in_store(self, store: Store, curves: bool = False) -> Standing:
        """The same runs as they stand in a store now; curves: read those of rows, too."""
        keys = [key_of(KIND, spec.as_dict()) for spec in self.specs]
        rows = store.find(keys, curves, check_row)
        return replace(self, rows=[rows.get(key) for key in keys])

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are done, diverged, failed and missing."""
        seen = Counter("missing" if row is None else row.status for row in self.rows)
        return {status: seen[status] for status in ("done", "diverged", "failed", "missing")}

    @property
    def stored(self) -> int:
        """Runs that have a result: those that are done or diverged."""
        return self.counts["done"] + self.counts["diverged"]

    @property
    def complete(self) -> bool:
        """Whether every run has a result."""
        return self.stored == len(self.runs)

    def in_words(self) -> str:
        """One line: complete, or what is missing."""
        counts = self.counts
        said = [f"{counts[status]} {status}" for status in ("diverged", "failed") if counts[status]]
        more = f" ({', '.join(said)})" if said else ""
        if self.complete:
            return f"complete: {len(self.runs)} runs are stored{more}"
        return f"incomplete: {self.stored} of {len(self.runs)} runs are stored{more}"

    def by_cell(self) -> list[tuple[dict[str, Any], list[Row | None]]]:
        """Runs that differ in their seed alone, together: what they share of the varied names, and their rows."""
        varied = [name for name in self.varied() if name != "seed"]
        cells: dict[tuple[Any, ...], list[Row | None]] = {}
        for run, row in zip(self.runs, self.rows, strict=True):
            cells.setdefault(tuple(shown(run.cell[name]) for name in varied), []).append(row)
        return [(dict(zip(varied, values, strict=True)), rows) for values, rows in cells.items()]

    def varied(self) -> list[str]:
        """The names whose values differ between runs, in the study's order; what is only looked at, not run, is none."""
        product = self.study.product
        names = [name for name in product.varied() if name in product.axes or name not in LOOKS]
        return [name for name in names if len({str(run.cell[name]) for run in self.runs}) > 1]


def shown(value: Any) -> Any:
    """A value of a cell in one piece: a list as words with commas between them, "" for none."""
    return "" if value is None else ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def standing(study: Study, store: Store | None, data: str | None = None, curves: bool = False) -> Standing:
    """How a study stands in a store.

    Args:
        study: which.
        store: where its rows are looked for; None: nowhere.
        data: where its images lie, if not where the study says.
        curves: read the curves of rows, too.

    Returns:
        The Standing. Images are read only if the store does not know them, or if `data` is given.

    Raises:
        InputError: as `asked`, and as `images.read` where images must be read and cannot be.
    """
    runs = asked(study)
    sources = dict.fromkeys(run.source for run in runs)
    known = images.kept(store, study.name) if store is not None and data is None else {}
    unknown = [source for source in sources if source not in known]
    return of_images(study, runs, known | (images.read(unknown, data) if unknown else {}), store, curves)


def of_images(
    study: Study, runs: Sequence[Asked], found: Mapping[Source, Found], store: Store | None, curves: bool = False
) -> Standing:
    """As `standing`, of images that are known."""
    pairs = on_images(runs, found)
    plan = Standing(study, [run for run, _ in pairs], [spec for _, spec in pairs], [None] * len(pairs), found)
    return plan if store is None else plan.in_store(store, curves)
