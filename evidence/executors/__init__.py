"""Who runs the work: executors behind the one seam, `concurrent.futures.Executor`.

tasks      a task and its outcome as bytes, the same whichever way they travel
pool       processes of this machine, of which each may be killed at any moment
worker     what such a process does, and how it ends with its driver
server     what the server that forks them takes away when the driver was killed
local      the processes that a study asks for: one a core, or some on every device
elsewhere  what clusters have in common; slurm and ray_cluster are the two
choice     the executor that was asked for by name
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor


class WorkerLost(BrokenExecutor):
    """On the future of a task whose worker died: the task may have been begun. Other tasks know nothing of it."""
