"""Whether what is asked for has room in memory: said before any of it is taken, not when the machine has no more to give."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from dynamics.errors import InputError

# What a control group, such as a container, may take: of its second version and of its first.
_GROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory() -> int:
    """Bytes that this process could have: the machine's memory, or less where a limit on the process or its group says so."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = [page * os.sysconf("SC_PHYS_PAGES")]
    for path in _GROUPS:
        if path.is_file() and (said := path.read_text().strip()).isdigit():
            found.append(int(said))
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        found.append(max(limit - page * int(Path("/proc/self/statm").read_text().split()[0]), 0))
    return min(found)


def check_room(what: str, size: float, have: int | None = None) -> None:
    """InputError unless `size` bytes, which `what` takes, are at most `have`; None: what `memory` says."""
    have = memory() if have is None else have
    if size > have:
        raise InputError(
            f"{what}: {size / 1e9:,.1f} GB of memory would be needed, up to {have / 1e9:,.1f} GB is accepted"
        )
