"""Files that are whole or not there."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from dynamics.errors import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, replacing what is there in one step: no reader and no crash ever sees half of it.

    Raises InputError where it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): a writable place is accepted") from error
    finally:
        beside.unlink(missing_ok=True)
