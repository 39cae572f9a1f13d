"""What came out of a study: a line a cell for people, and its runs as columns or as labelled data."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from dynamics.estimate import Estimate, mean_interval
from dynamics.lines import table as laid_out
from evidence.store import Row
from fullscale.studies.standing import Standing, shown

if TYPE_CHECKING:
    import xarray as xr

# What the table shows of a run's summary.
MEASURES = {
    "inactive_by_activation": "inactive by activation",
    "inactive_by_scale": "by scale",
    "test_error": "test error",
}
# Numbers of one variable of the labelled data; beyond it the axes make a box that is nearly empty.
MOST = 20_000_000


def cells(standing: Standing) -> list[dict[str, Any]]:
    """A study's cells as plain data: values of the axes, runs asked for and how they ended, and each measure.

    A measure has `samples`, one a run that is done; mean, low and high (95% t-interval over seeds) are null unless all runs
    of the cell are done, low and high also for a single one.
    """
    found = []
    for cell, rows in standing.by_cell():
        ended = [row.status for row in rows if row is not None]
        counts = {status: ended.count(status) for status in ("done", "diverged", "failed")}
        found.append({"cell": cell, "runs": len(rows)} | counts | {m: _measure(m, rows) for m in MEASURES})
    return found


def _measure(name: str, rows: Sequence[Row | None]) -> dict[str, Any]:
    done = [row.summary for row in rows if row is not None and row.status == "done"]
    samples = [float(summary[name]) for summary in done if name in summary]
    whole = len(samples) == len(rows)
    estimate: Estimate | None = mean_interval(samples, "", "seeds") if whole and len(samples) > 1 else None
    mean = (estimate.value if estimate else samples[0]) if whole else None
    return {"samples": samples, "mean": mean} | {end: getattr(estimate, end, None) for end in ("low", "high")}


def table(standing: Standing, most: int | None = None) -> str:
    """A line a cell, of at most so many characters, with means and intervals over seeds where all of its runs are done."""
    found = cells(standing)
    names = list(found[0]["cell"])
    lines = [[*names, "runs", *MEASURES.values(), ""]]
    for one in found:
        counts = f"{one['done']} of {one['runs']}"
        more = ", ".join(f"{one[status]} {status}" for status in ("diverged", "failed") if one[status])
        values = [f"{v:g}" if isinstance(v, float) else str(v) for v in one["cell"].values()]
        lines.append([*values, counts, *(percent(one[name]) for name in MEASURES), more])
    return "\n".join(laid_out(lines, most=most))


def percent(measure: Mapping[str, Any]) -> str:
    """A measure of `cells` as the table has it."""
    if measure["mean"] is None:
        return "-"
    value = f"{100 * measure['mean']:.1f}%"
    return value if measure["low"] is None else f"{value} [{100 * measure['low']:.1f}, {100 * measure['high']:.1f}]"


def columns(standing: Standing) -> dict[str, list[Any]]:
    """A value a run in each column: all names of the study, status (missing: not stored), error, all numbers of the summary.

    Numbers within others are named with dots, e.g. certificate.error_after; what a run does not have is None.
    """
    names = standing.study.product.names
    lines = []
    for run, row in zip(standing.runs, standing.rows, strict=True):
        line = {name: _item(run.cell[name]) for name in names}
        line |= {"status": "missing", "error": ""} if row is None else {"status": row.status, "error": row.error}
        lines.append(line | dict(_numbers("", {} if row is None else row.summary)))
    every = dict.fromkeys(name for line in lines for name in line)
    return {name: [line.get(name) for line in lines] for name in every}


def _item(value: Any) -> Any:
    return None if value is None else shown(value)


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping | list):
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        for part, inner in parts:
            yield from _numbers(f"{name}.{part}" if name else str(part), inner)
    elif isinstance(value, int | float):
        yield name, value


def as_csv(standing: Standing) -> bytes:
    """`columns` as CSV with a head, UTF-8; empty where a run has no value."""
    found = columns(standing)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found)
    writer.writerows(zip(*found.values(), strict=True))
    return text.getvalue().encode()


def as_parquet(standing: Standing) -> bytes:
    """`columns` as Parquet. Raises InputError where pyarrow is not installed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise InputError("'pyarrow' is missing: install undertow[parquet], or use --csv") from None
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({name: pa.array(_one_kind(c)) for name, c in columns(standing).items()}), sink)
    return bytes(sink.getvalue())


def _one_kind(values: Sequence[Any]) -> list[Any]:
    """A column's values as words if they are not all numbers, or all truth values."""
    kinds = {
        bool if isinstance(v, bool) else float if isinstance(v, int | float) else str for v in values if v is not None
    }
    if len(kinds) > 1 or kinds == {str}:
        return [None if v is None else str(v) for v in values]
    floats = any(isinstance(v, float) for v in values)
    return [float(v) if floats and v is not None else v for v in values]


def as_dataset(standing: Standing) -> xr.Dataset:
    """The runs over the study's axes: numbers of the summary, curves over epochs, status; NaN, or "", where there is none.

    A name that an override alone gives a single value, as a learning rate for each optimizer, is a variable over the axes.
    Raises InputError where the axes span more than fits into memory.
    """
    import numpy as np
    import xarray as xr

    product = standing.study.product
    lists = {n for entry in product.override for n, v in entry.items() if n != "when" and isinstance(v, list | tuple)}
    axes = {
        name: list(dict.fromkeys(shown(run.cell[name]) for run in standing.runs))
        for name in standing.varied()
        if name in product.axes or (name in lists and name not in product.fixed)
    }
    shape = tuple(len(values) for values in axes.values())
    epochs = sorted({e for row in standing.rows if row is not None for e in row.curves.get("epoch", [])})
    if float(np.prod([float(n) for n in (*shape, max(len(epochs), 1))])) > MOST:
        raise InputError(f"axes of {' x '.join(map(str, shape))} values with {len(epochs)} epochs: use --csv")
    data: dict[str, Any] = {"status": (tuple(axes), np.full(shape, "", dtype="U8"))}
    others = [name for name in standing.varied() if name not in axes]

    def put(
        name: str, where: tuple[Any, ...], value: Any, dims: Sequence[str] = (), size: tuple[int, ...] = ()
    ) -> None:
        if name not in data:
            kind, empty = ("U32", "") if isinstance(value, str) else (np.float64, np.nan)
            data[name] = ((*axes, *dims), np.full((*shape, *size), empty, dtype=kind))
        data[name][1][where] = value

    for run, row in zip(standing.runs, standing.rows, strict=True):
        at = tuple(values.index(shown(run.cell[name])) for name, values in axes.items())
        for name in others:
            if run.cell[name] is not None:
                put(name, at, shown(run.cell[name]))
        if row is None:
            continue
        data["status"][1][at] = row.status
        for name, value in row.summary.items():
            if isinstance(value, int | float):
                put(name, at, value)
            elif isinstance(value, Mapping):
                for part, inner in value.items():
                    if isinstance(inner, int | float):
                        put(f"{name}_{part}", at, inner)
        places = [epochs.index(e) for e in row.curves.get("epoch", [])]
        for name, values in row.curves.items():
            if name not in ("epoch", "filters") and len(values) == len(places):
                put(f"{name}_by_epoch", (*at, places), values, ["epoch"], (len(epochs),))
    coords = {name: _one_kind(values) for name, values in axes.items()} | ({"epoch": epochs} if epochs else {})
    return xr.Dataset(data, coords, {"study": standing.study.name, "title": standing.study.title})


def as_netcdf(standing: Standing) -> bytes:
    """`as_dataset` as a file of NetCDF, format 3."""
    data = as_dataset(standing)
    wide = {name: c.astype(float) for name, c in data.coords.items() if c.dtype.kind == "i" and abs(c).max() >= 2**31}
    return bytes(data.assign_coords(wide).to_netcdf(engine="scipy"))
