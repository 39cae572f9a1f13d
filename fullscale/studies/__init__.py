"""Studies of training runs: product of axes -> runs -> rows of the store -> tables. Nothing here imports torch before it runs.

file      `Study`, read from TOML, from Python or from the package (the .toml files here)
runs      its cells as runs: names and values checked, one `RunSpec` each
images    the images of its runs, read, or known from the store
standing  which of its runs are stored, and how they ended
conduct   what is missing, run and stored
estimate  how long what is left takes
table     what came out: cells, CSV, Parquet, NetCDF
"""

from __future__ import annotations

from .file import Study, built_in, find_studies, find_study
from .runs import Asked, Found, Source, asked, on_images

__all__ = ["Asked", "Found", "Source", "Study", "asked", "built_in", "find_studies", "find_study", "on_images"]
