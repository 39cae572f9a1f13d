"""Official archives from where their makers give them out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from dynamics.errors import InputError
from dynamics.given import suggestion

from . import checksums

CHUNK = 2**20
PATIENCE = 60  # seconds without a byte
NOT_FETCHED = {
    "imagenet": "it needs registration at image-net.org, and is read from the files that it gives",
    "digits": "it comes with scikit-learn",
    "fashion-mnist": "it comes as Debian's package dataset-fashion-mnist, and any folder of its four IDX files is read",
}


def known(name: str) -> checksums.Official:
    """The archive of this name. InputError for a name that cannot be fetched."""
    accepted = f"{', '.join(checksums.ARCHIVES)} are accepted"
    if name in NOT_FETCHED:
        raise InputError(f"data set {name!r} is not fetched: {NOT_FETCHED[name]}; {accepted}")
    if name not in checksums.ARCHIVES:
        raise InputError(f"data set {name!r} is unknown: {accepted}{suggestion(name, checksums.ARCHIVES)}")
    return checksums.ARCHIVES[name]


def fetch(name: str, folder: Path, progress: Callable[[int], None] | None = None) -> tuple[Path, bool]:
    """The archive `name` in an existing folder, and whether it had to be fetched: it is not if it is there already.

    progress: called with the bytes that have come. The file is written beside its place and moved there once its
    sha256 is the official one. Raises InputError for an unknown name, where the connection or the writing fails, for
    another checksum, and for another file in that place, which is left as it is.
    """
    import pooch
    from requests.exceptions import RequestException

    wanted = known(name)
    path = folder / wanted.file
    try:
        if path.exists():
            digest = checksums.sha256(path)
            if digest == wanted.sha256:
                return path, False
            raise InputError(
                f"{str(path)!r} is there with sha256 {digest}, the official archive has {wanted.sha256}: move it away"
            )
        pooch.get_logger().setLevel(logging.WARNING)
        bar, hooks = _Bar(wanted, progress or (lambda done: None)), {"response": _stays_safe}
        downloader = pooch.HTTPDownloader(chunk_size=CHUNK, progressbar=bar, timeout=PATIENCE, hooks=hooks)
        pooch.retrieve(wanted.url, f"sha256:{wanted.sha256}", path.name, folder, downloader=downloader)
    except RequestException as error:
        response = error.response
        host = urlsplit(wanted.url).hostname
        why = f"no connection to {host} ({type(error).__name__}): a network is needed"
        if response is not None:
            why = f"{host} gives no {wanted.file} (status {response.status_code}): try later"
        raise InputError(f"{why}, or put {wanted.url}, fetched by hand, into {str(folder)!r}") from error
    except InputError:
        raise
    except ValueError as error:  # pooch's word for another checksum
        raise InputError(f"{wanted.url} gives another file: sha256 {wanted.sha256} is accepted") from error
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be written ({error.strerror}): a writable place is accepted") from error
    return path, True


def _stays_safe(response: Any, *_: Any, **__: Any) -> None:
    """InputError where a server sends us on from https to http."""
    to = urljoin(response.url, response.headers.get("location", ""))
    if response.is_redirect and response.url.startswith("https:") and not to.startswith("https:"):
        raise InputError(f"{response.url} leads to {to}: https alone is accepted")


class _Bar:
    """What pooch takes for a progress bar."""

    total = 0

    def __init__(self, wanted: checksums.Official, progress: Callable[[int], None]) -> None:
        self._wanted, self._progress, self._done = wanted, progress, 0

    def update(self, count: int) -> None:
        """`count` more bytes have come, or the rest of a part. InputError for more than there should be, which ends it."""
        self._done += count
        if self._done > self._wanted.size + CHUNK:
            raise InputError(f"{self._wanted.url} gives more than the {self._wanted.size:,} bytes that are accepted")
        self._progress(self._done)

    def reset(self) -> None:
        """Begin again at zero."""
        self._done = 0

    def close(self) -> None:
        """Nothing is left open."""
