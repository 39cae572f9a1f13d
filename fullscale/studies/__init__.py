"""Studies of training runs: product of axes -> runs -> rows of the store -> tables.

file      `Study`, read from TOML, from Python or from the package (the .toml files here)
"""

from __future__ import annotations

from .file import Study, built_in, find_study

__all__ = ["Study", "built_in", "find_study"]
