"""How many filters are inactive, and how selective each one is: the measures of the paper, on any traceable network.

observe.py   one pass over a set of images -> Activity
activity.py  what every filter did; shares at any threshold, tables, and what they mean for each activation
zeroing.py   filters put to 0 without a change of the network, and the test error at every threshold

Source: Mehta, Kim, Theobalt, "Implicit Filter Sparsification in Convolutional Neural Networks" (arXiv 1905.04967),
long form arXiv 1811.12495.
"""

from fullscale.graph import evaluation
from fullscale.measure.activity import MEANINGS, SELECTIVE_BELOW, Activity, Shares
from fullscale.measure.observe import Source, batches, measure
from fullscale.measure.zeroing import zeroed
from fullscale.thresholds import INACTIVE_ACTIVATION, INACTIVE_SCALE

__all__ = [
    "INACTIVE_ACTIVATION",
    "INACTIVE_SCALE",
    "MEANINGS",
    "SELECTIVE_BELOW",
    "Activity",
    "Shares",
    "Source",
    "batches",
    "evaluation",
    "measure",
    "zeroed",
]
