"""`undertow fetch`: fetch the official archive of a data set and check its sha256."""

from __future__ import annotations

import argparse
from pathlib import Path

from undertow.commands.arguments import Parser, path, say

MEGABYTE = 1_000_000
PARTS = 10  # reports of progress


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument("name", metavar="NAME", help="cifar10, cifar100 or tiny-imagenet")
    parser.add_argument("-o", "--out", type=path, default=Path("data"), metavar="FOLDER", help="made if need be (data)")


def run(arguments: argparse.Namespace) -> int:
    """Print the archive's path and sha256."""
    from evidence.files import writing
    from evidence.progress import Live
    from fullscale.data.fetch import fetch, known
    from undertow.extras import needs

    needs("fullscale", "pooch")
    wanted = known(arguments.name)
    whole = max(wanted.size // MEGABYTE, 1)
    with writing(arguments.out) as folder, Live() as live:
        task = live.task(f"{wanted.file}, in MB", whole)
        said = 0

        def progress(done: int) -> None:
            nonlocal said
            part = min(done * PARTS // max(wanted.size, 1), PARTS)
            if part > said:
                said = part
                task(min(done // MEGABYTE, whole), whole, wanted.url)

        path, came = fetch(arguments.name, folder, progress)
    say(f"{path}: {'fetched' if came else 'was there'}, sha256 {wanted.sha256}, the official one")
    return 0
