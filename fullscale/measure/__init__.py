"""How many filters are inactive, and how selective each one is: the measures of the paper, on any network.

observe.py   one pass over a set of images -> Activity
source.py    images in memory or batch by batch, as what a network takes
graphs.py    a network's graphs by the shapes of its inputs, each traced once
places.py    where a layer's output has its images
activity.py  what every filter did; shares at any threshold, tables, and what they mean for each activation
zeroing.py   filters put to 0 without a change of the network, and the test error at every threshold

Source: Mehta, Kim, Theobalt, "Implicit Filter Sparsification in Convolutional Neural Networks" (arXiv 1905.04967),
long form arXiv 1811.12495.
"""

from fullscale.graph import evaluation
from fullscale.measure.activity import MEANINGS, SELECTIVE_BELOW, Activity, Shares
from fullscale.measure.graphs import Graphs
from fullscale.measure.observe import measure, measured
from fullscale.measure.source import Source, batches
from fullscale.measure.zeroing import zeroed
from fullscale.thresholds import INACTIVE_ACTIVATION, INACTIVE_SCALE

__all__ = [
    "INACTIVE_ACTIVATION",
    "INACTIVE_SCALE",
    "MEANINGS",
    "SELECTIVE_BELOW",
    "Activity",
    "Graphs",
    "Shares",
    "Source",
    "batches",
    "evaluation",
    "measure",
    "measured",
    "zeroed",
]
