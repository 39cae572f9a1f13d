"""The rules as a torch.optim.Optimizer; `parameter_groups` says which parameters a regularizer takes.

optimizer  the Optimizer
groups     parameter_groups, and why it puts a parameter where it does
checks     what an optimizer is given: parameters, settings, a state_dict
prepare    which parameters take a step together, and the clock that they share
plan       what a step runs, and the plain step that it must equal
trace      a step as a graph, the rule's code run over symbols
writer     the graph as calls of torch._foreach, in place
"""

from dynamics.optimizer.groups import parameter_groups
from dynamics.optimizer.optimizer import Optimizer
