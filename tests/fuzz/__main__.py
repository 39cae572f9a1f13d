"""Bad inputs for every command, file format and public function: python -m fuzz [--count N] [--seed S] [--only WORDS].

Each is given in a process of its own, under limits of 60 s and 2 GB. It must be refused (exit status 2, one line, nothing left
behind), or the answer must be right. Anything else is a fault: it is printed with the command that shows it again, and the exit
status is 1.
"""

from __future__ import annotations

import argparse
import os
import sys

# Before torch and NumPy are there: a process that has threads cannot be forked.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ |= {"CUDA_VISIBLE_DEVICES": "", "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
sys.dont_write_bytecode = True

from fuzz.session import session  # noqa: E402


def main() -> int:
    """The command line."""
    asked = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    asked.add_argument("--count", type=int, default=1500, metavar="N", help="bad inputs (1500)")
    asked.add_argument("--seed", type=int, default=0, metavar="S", help="they are drawn by (0)")
    asked.add_argument("--only", default="", metavar="WORDS", help="those whose name begins with these words")
    asked.add_argument("--processes", type=int, default=2, metavar="N", help="side by side (2)")
    asked.add_argument("--keep", metavar="FILE", help="write the counts to this JSON file")
    return session(**vars(asked.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
