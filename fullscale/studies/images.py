"""The images of a study: read where they lie, and, once they were, known from the store.

A run's key holds the digest of its images. What is known of them is a row of the store, so that results need no data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from dynamics.given import shown
from evidence.forms import check_form
from evidence.store import Row, Store
from fullscale.studies.file import Study
from fullscale.studies.runs import Found, Source, asked

if TYPE_CHECKING:
    from fullscale.data import Images

KIND = "images"
_SPEC = {"study": str, "digest": str, "data": str, "size": int, "label_noise": float, "classes": [str]}
_ASKED = {"classes?": [str], "size?": int, "label_noise?": float}
_SUMMARY = {"name": str, "counts": [int], "shape": [int], "asked": _ASKED}


def check_row(row: Row) -> None:
    """ValueError for a row that is not as `keep` writes it."""
    check_form("spec", row.spec, _SPEC)
    check_form("summary", row.summary, _SUMMARY)
    if (
        len(row.summary["shape"]) != 3
        or not row.summary["counts"]
        or min(*row.summary["shape"], *row.summary["counts"]) < 0
    ):
        raise ValueError("images without a shape or classes")
    if not {f"{name}?" for name in row.summary["asked"]} <= _ASKED.keys():
        raise ValueError(f"images asked for with {shown(sorted(row.summary['asked']))}")


def place(source: Source, data: str | None) -> str:
    """Where the images of a source lie: data, the user's --data, or what the study says. InputError if neither says."""
    where = source.data or None if data is None else data
    if where is None:
        raise InputError("the study leaves its images to --data: digits, a folder or an archive is accepted")
    return where


def read(sources: Iterable[Source], data: str | None) -> dict[Source, Found]:
    """What images these are; all are read, each place once. data: as for `place`. Raises InputError as `load` does."""
    from fullscale.data import canonical, load, prepared

    sources = list(dict.fromkeys(sources))
    if data is not None and len(words := {source.data for source in sources}) > 1:
        raise InputError(f"--data {data} for a study of {', '.join(sorted(words))}: images of one kind are accepted")
    whole: dict[str, Images] = {}
    found = {}
    for source in sources:
        where = place(source, data)
        if where not in whole:
            whole = {where: load(where)}  # one at a time: each may fill much of the memory
        asked: dict[str, Any] = source._asdict()
        del asked["data"]
        images = prepared(whole[where], **asked)
        counts = [int((images.train.labels == k).sum()) for k in range(len(images.classes))]
        shape = images.train.images.shape[1:]
        found[source] = Found(images.digest, images.name, tuple(counts), shape, canonical(whole[where], **asked))
    return found


def keep(store: Store, study: str, found: Mapping[Source, Found]) -> None:
    """Store what is known of a study's images."""
    for source, images in found.items():
        spec = {"study": study, "digest": images.digest} | source._asdict()
        summary = {"name": images.name, "counts": images.counts, "shape": images.shape, "asked": images.asked}
        store.put(KIND, spec, summary=summary, curves={})


def kept(store: Store, study: str) -> dict[Source, Found]:
    """What is known of a study's images, as it was last stored."""
    found = {}
    for row in store.rows(KIND, check=check_row):
        spec, summary = row.spec, row.summary
        if spec["study"] == study:
            source = Source(**{name: _hashable(spec[name]) for name in Source._fields})
            asked = {name: _hashable(value) for name, value in summary["asked"].items()}
            counts, shape = tuple(summary["counts"]), tuple(summary["shape"])
            found[source] = Found(spec["digest"], summary["name"], counts, shape, asked)
    return found


def known(store: Store, study: Study) -> bool:
    """Whether the store knows all images of a study, so that it can be looked at without data."""
    return {run.source for run in asked(study)} <= set(kept(store, study.name))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
