"""What `undertow prune` writes and says."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dynamics.errors import InputError

if TYPE_CHECKING:
    from fullscale.prune import Certificate, Removal

CLASSES = ("provably_dead", "constant", "empirically_dead", "unread")
# A file, and what writes it under the name that it is called with.
Files = dict[Path, Callable[[Path], object]]


def write_together(files: Files) -> None:
    """Write all of the files under other names first, then put them in place: none without the others."""
    written: dict[Path, Path] = {}
    try:
        for file, write in files.items():
            if file.is_dir():
                raise InputError(f"{file} is a folder: a file name is accepted")
            written[file] = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
            write(written[file])
        for file, other in written.items():
            other.replace(file)
    finally:
        for other in written.values():
            other.unlink(missing_ok=True)


def told(removal: Removal, certificate: Certificate, files: Iterable[Path]) -> str:
    """Lines for a terminal."""
    c = certificate
    counts = ", ".join(
        f"{name.replace('_', ' ')} {sum(getattr(layer, name) for layer in removal.layers)}" for name in CLASSES
    )
    seen = f"{c.random_difference:.2e} on {c.random_images} random images"
    if c.held_out_difference is not None:
        seen = f"{c.held_out_difference:.2e} on {c.held_out_images} test images, {seen}"
    if c.resized_difference is not None and c.resized is not None:
        seen += f", {c.resized_difference:.2e} at {c.resized[0]} x {c.resized[1]} pixels"
    lines = [f"removed: {removal.share:.1%} of the filters; {counts}", f"largest output difference: {seen}"]
    if c.error_before is not None:
        lines.append(f"test error: {c.error_before:.2%} before, {c.error_after:.2%} after")
    lines.append(
        f"parameters: {c.parameters_before:,} -> {c.parameters_after:,}; "
        f"multiply-adds: {c.multiply_adds_before:,} -> {c.multiply_adds_after:,}"
    )
    for t in c.latency:
        before, after = (f"{median:.3g} ms [{low:.3g}, {high:.3g}]" for median, low, high in (t.before, t.after))
        lines.append(f"time for {t.images} image{'s' if t.images > 1 else ''}: {before} -> {after}")
    return "\n".join([*lines, f"files: {', '.join(map(str, files))}"])
