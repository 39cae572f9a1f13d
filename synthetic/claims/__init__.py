"""What is claimed of the toy worlds: a file a section. Each estimator reads one world's dataset and can come out either way;
what it claims is declared on it, and found in `evidence.registry`.

pulls        L2's pull against weight decay's (S8, A1, B1, B3)
laws         a weight without a gradient under every rule (A)
selectivity  selective features see more of the regularizer, rule by rule (S6)
visits       gradients that come by chance or once an epoch (B5)
rest         where restoring gradients leave a weight (B6 to B10)
phases       where selective features die (E8)
batch_size   batch size (S4, S5a, S6, E3, E7, E8); capacity and difficulty (S5b, S5c, S6, E9); their trends
feature      a feature with BatchNorm and ReLU, alone and among others (E1, E2, and S1 to S12 in toys); plane, its gamma and beta
noise        sizes under noise (C); quadratic, on a quadratic loss (D); scheduled, under schedules (F)
"""

from synthetic.claims import (
    batch_size,
    capacity,
    feature,
    laws,
    noise,
    phases,
    plane,
    pulls,
    quadratic,
    rest,
    scheduled,
    selectivity,
    visits,
)
