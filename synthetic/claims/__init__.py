"""What the toy worlds say about the claims: a file a section. Each estimator reads one world's dataset and can come out
either way.

pulls  L2's pull against weight decay's (S8, A1, B1, B3)
"""

from __future__ import annotations

from dynamics.claims import Claim
from synthetic.claims import pulls

CLAIMS: tuple[Claim, ...] = pulls.CLAIMS
