"""Studies of training runs: product of axes -> runs -> rows of the store -> tables.

file      `Study`, read from TOML, from Python or from the package (the .toml files here)
runs      its cells as runs: names and values checked, one `RunSpec` each
"""

from __future__ import annotations

from .file import Study, built_in, find_study
from .runs import Asked, Found, Source, asked, on_images

__all__ = ["Asked", "Found", "Source", "Study", "asked", "built_in", "find_study", "on_images"]
