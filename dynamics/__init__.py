"""What an optimizer and a regularizer do to a weight. No files, no plots, no data.

rule, rules  what a rule is, and the update rules, one step of one weight each: the heart of the project
couplings    where a regularizer's pull enters an update; composed with any rule
words        the vocabularies in which the same rule runs: floats, NumPy, sympy, torch, compiled
simulate/    many weights at once (lanes x steps), compiled; weights that share a loss
theory/      the rules as sympy expressions, closed forms with their regimes, numbers that know what is the regularizer's
optimizer/   the rules as a torch.optim.Optimizer
libraries/   what other libraries call them and where theirs differ
estimate     a number with its interval, from samples
answers/     settings, what they do to a weight, conversion, reading a live optimizer
"""
