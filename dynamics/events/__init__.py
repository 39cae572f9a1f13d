"""Lanes whose gradients arrive rarely, advanced from arrival to arrival: the cost falls with the number of arrivals.

A lane is a weight as in `dynamics.simulate.lanes`. Its gradient is that of `selective`, but the arrivals are
drawn by their gaps (geometric), not step by step. An arrival is one step of the rule itself. The silent steps up to the
next are one event:

sgd, momentum, nesterov: a silent step is linear in the weight and its state. Its matrix is read off the rule, applied to
    basis vectors, and raised to the number of steps by repeated squaring.
adam, rmsprop without a regularizer or with weight decay: v falls geometrically and the momentum's tail is a sum of
    geometric weights times a slowly varying denominator, for which Gauss quadrature in the steps is exact to rounding.
adam, rmsprop with L2: with v given, (w, m) is a linear recurrence with a fast rate, the tail, and a slow one, whose
    logarithm is integrated together with v by Dormand and Prince's fifth-order pair with error control. The slow rate is an
    eigenvalue, so momentum's lag is in it; where it varies, so is the first adiabatic correction.

What is none of these is stepped by the rule: the first steps of Adam, while 1 - beta1^t matters; gaps of a few steps; tails
over a denominator that changes within them (1 - beta2 not far below 1 - beta1); and a weight under L2 so near zero that
momentum overshoots. To there L2 takes a weight that hears nothing for several times 1 / (1 - beta2) steps, so that with
L2 gaps must not be longer for the cost to fall with the arrivals. Clocks go on by powers of beta.

The bound follows every error (quadrature, integration, rounding of either way) to the end through the Jacobians of all
events: an ellipsoid holds what the errors can sum up to, and grows by no more than the sum of two ellipsoids needs (Kurzhanski,
Valyi 1997). It holds to first order in local errors that are estimates themselves; where first order is too little, because
nearby paths part, it is inf.
"""

from dynamics.events.lanes import ADAPTIVE, LINEAR, Sparse, arrivals, sparse

__all__ = ["ADAPTIVE", "LINEAR", "Sparse", "arrivals", "sparse"]
