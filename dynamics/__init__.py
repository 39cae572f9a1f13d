"""What an optimizer and a regularizer do to a weight. No files, no plots, no data.

rule, rules  what a rule is, and the update rules, one step of one weight each: the heart of the project
couplings    where a regularizer's pull enters an update; composed with any rule
words        the vocabularies in which the same rule runs: floats, NumPy, sympy, torch, compiled
simulate/    many weights at once (lanes x steps), compiled; weights that share a loss
theory/      the rules as sympy expressions, closed forms with their regimes, numbers that know what is the regularizer's
optimizer/   the rules as a torch.optim.Optimizer
libraries/   what other libraries call them and where theirs differ
answers/     settings, what they do to a weight, conversion, reading a live optimizer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamics.theory.pull import PullShare, pull_share

__all__ = ["PullShare", "pull_share"]


def __getattr__(name: str) -> Any:
    # Looked up when asked for, so that `import dynamics` costs nothing.
    if name in __all__:
        from dynamics.theory import pull

        return getattr(pull, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
