"""What an optimizer and a regularizer do to a weight. No files, no plots, no data.

rules        the update rules, one step of one weight each: the heart of the project
couplings    where a regularizer's pull enters an update; composed with any rule
words        the vocabularies in which the same rule runs: floats, NumPy, sympy, torch, compiled
simulator    many weights at once (lanes x steps); kernel is its compiled loop, random its numbers
gradients    where a toy weight's gradient comes from
schedules    the learning rate's multiplier over time
torch_face   the rules as a torch.optim.Optimizer
formula      the rules as sympy expressions, and what follows from them
closed       closed forms, each with its regime
passage      how long a weight without a gradient takes from one size to another
explain      what a setting does to a weight, for people
claims       what a claim is, and how an estimate becomes a verdict
"""
