"""Imported by the server that forks the workers: it takes its files away when the driver is gone.

The server listens at a socket in a folder of temporary files, which the driver removes when it ends. A driver that was killed
cannot: the server, which ends once driver and workers have, does it then. A worker that starts workers of its own has its
server's socket in the same folder, so each takes its own, and the last one the folder.
"""

from __future__ import annotations

import atexit
import os
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path


def _take_away(listening: Path) -> None:
    with suppress(OSError):  # the driver has done it
        listening.unlink()
    with suppress(OSError):  # or another server's socket is still in it
        listening.parent.rmdir()


# The server's command line names the file handle of its socket. Workers share it, but leave without a last word.
_SERVER = re.search(r"multiprocessing\.forkserver import main; main\((\d+)", " ".join(sys.orig_argv))
if _SERVER:
    with socket.socket(fileno=os.dup(int(_SERVER[1]))) as _listener:
        atexit.register(_take_away, Path(_listener.getsockname()))
