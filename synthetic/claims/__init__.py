"""What the toy worlds say about the claims: a file a section. Each estimator reads one world's dataset and can come out
either way.

pulls        L2's pull against weight decay's (S8, A1, B1, B3)
laws         a weight without a gradient under every rule (A)
selectivity  selective features see more of the regularizer, rule by rule (S6)
visits       gradients that come by chance or once an epoch (B5)
rest         where restoring gradients leave a weight (B6 to B10)
phases       where selective features die (E8)
gating       batch size, capacity, difficulty (S4, S5, S6, E3, E7 to E9)
feature      a feature with BatchNorm and ReLU, alone and among others (E, and S1 to S12 in toys)
equilibrium  sizes under noise, on a quadratic loss, under schedules (C, D, F)
"""

from __future__ import annotations

from evidence.claim import Claim
from synthetic.claims import equilibrium, feature, gating, laws, phases, pulls, rest, selectivity, visits

_SECTIONS = (pulls, laws, selectivity, visits, rest, phases, gating, feature, equilibrium)
CLAIMS: tuple[Claim, ...] = tuple(claim for section in _SECTIONS for claim in section.CLAIMS)
