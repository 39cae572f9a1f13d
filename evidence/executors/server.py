"""Imported by the server that forks the workers: it takes its files away when the driver is gone.

The server listens at a socket in a folder of temporary files, which the driver removes when it ends. A driver that was killed
cannot: the server, which ends once driver and workers have, does it then.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
import sys
from pathlib import Path

# The server's command line names the file handle of its socket. Workers share it, but leave without a last word.
_SERVER = re.search(r"multiprocessing\.forkserver import main; main\((\d+)", " ".join(sys.orig_argv))
if _SERVER:
    with socket.socket(fileno=os.dup(int(_SERVER[1]))) as _listener:
        atexit.register(shutil.rmtree, Path(_listener.getsockname()).parent, ignore_errors=True)
