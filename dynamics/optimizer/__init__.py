"""The rules as a torch.optim.Optimizer; `parameter_groups` says which parameters a regularizer takes.

optimizer  the Optimizer, and parameter_groups
plan       what a step runs, and the plain step that it must equal
trace      a step as a graph, the rule's code run over symbols
writer     the graph as calls of torch._foreach, in place
"""

from dynamics.optimizer.optimizer import Optimizer, parameter_groups
