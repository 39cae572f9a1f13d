"""What an optimizer and a regularizer do to a weight. No files, no plots, no data.

The rules, and how they run:
rules        the update rules, one step of one weight each: the heart of the project
couplings    where a regularizer's pull enters an update; composed with any rule
words        the vocabularies in which the same rule runs: floats, NumPy, sympy, torch, compiled
simulator    many weights at once (lanes x steps); kernel is its compiled loop, random its numbers
device       the same lanes on a CUDA device
events       weights whose gradients come rarely, from arrival to arrival
together     many weights that share a loss
gradients    where a toy weight's gradient comes from
schedules    the learning rate's multiplier over time
torch_face   the rules as a torch.optim.Optimizer; torch_groups says which parameters a regularizer takes

What follows from them:
formula      the rules as sympy expressions: formulas, symmetries, fixed points, limits
closed       closed forms, each with its regime
attributed   numbers that remember which part of them is the regularizer's; pull asks them for one update's share
passage      how long a weight without a gradient takes from one size to another; law, by which law it decays
rates        how hard a regularizer pulls while gradients come and go, measured
predict      closed form where its regime holds, simulation where not

Answers for people:
setting      a rule, a coupling and numbers, and how people write them down
explain      what a setting does to a weight; curves, what there is to draw of it
convert      the strength that gives one setting the pull of another
live         reading a live torch optimizer; live_readers, how libraries spell theirs
table        every rule with every coupling, in steps; reference, the page of all rules
claims       what a claim is, and how an estimate becomes a verdict
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamics.pull import PullShare, pull_share

__all__ = ["PullShare", "pull_share"]


def __getattr__(name: str) -> Any:
    # Looked up when asked for, so that `import dynamics` costs nothing.
    if name in __all__:
        from dynamics import pull

        return getattr(pull, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
