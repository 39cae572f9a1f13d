"""What a network computes, as a graph of tensor operations: its parameters by name, its units, and how to run it.

untouched.py   the network's own code run without a trace of it left behind
copied.py      a deep copy of any network, also straight after a training pass
network.py     what is taken for a network, checked before the work
inputs.py      what a network takes (one tensor, several, or by keyword) and what it gives, as flat lists
trace.py       the graph, taken by torch.export: what Python really runs for inputs of that shape
units.py       the channels that can fall silent: of a BatchNorm, or behind a rectifier
"""

from .inputs import Example, Inputs, outputs, plain, taken
from .trace import Graph, trace
from .units import Unit, units
from .untouched import evaluation, untouched

__all__ = [
    "Example",
    "Graph",
    "Inputs",
    "Unit",
    "evaluation",
    "outputs",
    "plain",
    "taken",
    "trace",
    "units",
    "untouched",
]
