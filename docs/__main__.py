"""python -m docs [--out FOLDER]: write the numbers of README.md and docs/*.md.

With --out, docs/findings.json is first made anew from FOLDER/results.sqlite, which `undertow reproduce --out FOLDER` has left.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs.fill import FINDINGS, PAGES, ROOT, filled
from dynamics.errors import InputError
from evidence.files import write_whole


def main(words: list[str] | None = None) -> int:
    """The exit status: 0, or 2 for a folder without the results, and then nothing is written."""
    parser = argparse.ArgumentParser(prog="python -m docs", description="Write the numbers of README.md and docs/*.md.")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="first read FOLDER/results.sqlite")
    arguments = parser.parse_args(words)
    try:
        if arguments.out is not None:
            from docs.export import as_text, findings

            write_whole(FINDINGS, as_text(findings(arguments.out)).encode())
        for page in PAGES:
            old = page.read_text(encoding="utf-8")
            if (new := filled(old)) != old:
                write_whole(page, new.encode())
                print(f"written: {page.relative_to(ROOT)}")
    except InputError as error:
        print(f"docs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
