"""Dead filters removed without changing what the network computes, and the proof that it did not.

- channels.py     what is known of channels: which filter each comes from, and whether it is a constant
- walk.py         the walk through the graph that finds it out; operations.py and layers.py: how channels go through each
- plan.py         which channels can go
- surgery.py      they are cut out, and what they contributed is given to those that take it over
- removal.py      `remove_dead`: the above in one call, with a report
- certificate.py  `certify`: the largest difference between two networks, and what the smaller one saves
- compare.py      every output of two networks on the same inputs; rounding.py: what rounding alone does to them
- reach.py        the weights that make some filters and those that read them, for `fullscale.revive`
- state.py        `prune_optimizer`: an optimizer's state cut alike, so that training can go on
"""

from .certificate import Certificate, Latency, certify
from .removal import LayerRemoval, Removal, example_for, remove_dead
from .state import narrow_extra, prune_optimizer

__all__ = [
    "Certificate",
    "Latency",
    "LayerRemoval",
    "Removal",
    "certify",
    "example_for",
    "narrow_extra",
    "prune_optimizer",
    "remove_dead",
]
