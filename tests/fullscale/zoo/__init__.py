"""Small networks of every kind that people prune, rebuilt from what torchvision, timm, Torch-Pruning and others have.

- entry.py     what an entry is, and how networks are filled, called and compared
- chains.py    layers in a row; residual.py: sums; joined.py: channels lined up, taken apart, one by one
- maps.py      maps and several outputs, one axis and three; tokens.py: linear layers; odd.py: what no textbook has
- grammar.py   random networks, for hypothesis; specs.py: their blocks; tables.py: what those choose from
"""

from __future__ import annotations

from . import chains, joined, maps, odd, residual, tokens
from .entry import Network

_EVERY = tuple(entry for file in (chains, residual, joined, maps, tokens, odd) for entry in file.NETWORKS)
NETWORKS: dict[str, Network] = {entry.name: entry for entry in _EVERY}
assert len(NETWORKS) == len(_EVERY), "two entries of one name"
