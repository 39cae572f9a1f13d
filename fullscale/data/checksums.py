"""What the official files are known by, and SHA256SUMS files that vouch for others."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from dynamics.errors import InputError

CHUNK = 2**20
SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


@dataclass(frozen=True)
class Official:
    """An archive as its makers give it out. size: in bytes."""

    url: str
    sha256: str
    size: int

    @property
    def file(self) -> str:
        """Its name."""
        return self.url.rsplit("/", 1)[1]


ARCHIVES = {
    "cifar10": Official(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        170_498_071,
    ),
    "cifar100": Official(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        169_001_437,
    ),
    "tiny-imagenet": Official(
        "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
        248_100_043,
    ),
}

# MD5, since that is what was published for them. Another file with the MD5 of a given one cannot be made on purpose.
FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}


def official(name: str, data: bytes) -> bool:
    """Whether these are the bytes of the official file of this name."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == FILES[name]


def sha256(path: Path) -> str:
    """The sha256 (hexadecimal) of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def listed(path: Path, digest: str, top: Path) -> bool:
    """Whether a SHA256SUMS file in one of the folders from that of `path` up to `top` has a line of `sha256sum` with this
    digest for it.

    Raises InputError for such a file that cannot be read.
    """
    for folder in path.parents:
        if (digest, path.relative_to(folder).as_posix()) in _sums(folder / SUMS):
            return True
        if folder == top:
            break
    return False


def _sums(path: Path) -> list[tuple[str, str]]:
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}): a readable file is accepted") from error
    found = (LINE.fullmatch(line) for line in text.splitlines())
    return [(match[1].lower(), match[2].removeprefix("./")) for match in found if match]
