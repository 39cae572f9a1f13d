"""The rules as formulas, and what follows from them: the code that runs, run over sympy symbols and other numbers.

update    one step as expressions, and how they are written
clocks    what is carried for speed, as a function of the step number
silence   the first step without a gradient, and what survives at eps = 0
scaling   which inputs can be scaled together, found by sampling
settled   stability limit and effective decay, by attributed arithmetic
fixed     where a weight rests on a quadratic

Nothing here restates a rule: every result is derived from the functions of `dynamics.rules` and `dynamics.couplings`.
"""

from dynamics.theory.formula.fixed import FixedPoint, fixed_point
from dynamics.theory.formula.scaling import unchanged
from dynamics.theory.formula.settled import Limit, effective_decay, stability
from dynamics.theory.formula.silence import EpsZero, at_eps_zero, silent_step
from dynamics.theory.formula.update import Update, spoken, symbol, text, update
