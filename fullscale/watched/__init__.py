"""Training runs watched filter by filter, and what they say of claim S6: do selective features see more regularization?

- run.py       Watch: what every step does to every filter, summed between two measurements
- estimate.py  one number a network: agreement of selectivity and the regularizer's share; what tells who dies; of what they die
- claims.py    what follows for S6, on the runs that are kept

Only run.py imports torch.
"""

from fullscale.watched.estimate import agreement, foretold, killed

__all__ = ["agreement", "foretold", "killed"]
