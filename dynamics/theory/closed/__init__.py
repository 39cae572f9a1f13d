"""Closed forms: where a weight goes, without stepping. Each names its regime, and refuses what lies outside it.

silent            no gradient, rules that are linear: SGD, momentum, decoupled decay; and every rule's end
silent_adaptive   no gradient, L2 through an adaptive rule: Adam, RMSprop, Adagrad, Adamax, Lion
selective         gradients that arrive now and then: L2 against decay, critical selectivity, conversion
equilibrium       pure noise: mean squares, scale-invariant weights
quadratic         a quadratic loss: fixed points, stability limits, bounds of a step
feature           a BatchNorm + ReLU feature: when it is dead, how long it takes, how likely it is
scheduled         decay under a learning-rate schedule

Outside its regime a form raises InputError with one line that says what is accepted.
How far each is from the simulation: docs/theory.md.
"""

from dynamics.theory.closed.equilibrium import (
    adam_l2_mean_square,
    adamw_mean_square,
    adamw_rotation,
    momentum_mean_square,
    scale_invariant_adam_l2_norm,
    scale_invariant_adamw_norm,
    scale_invariant_sgd_norm,
    sgd_mean_square,
    sgd_rotation,
    sign_mean_square,
)
from dynamics.theory.closed.feature import (
    activation_slopes,
    certified_dead,
    collapse,
    death_steps,
    inactive_share,
    mean_activation,
    normalized_bound,
    revives,
    shared_adamw,
    shared_l2,
    silent_batch,
    starvation,
    starvation_exact,
)
from dynamics.theory.closed.quadratic import (
    adam_limit,
    adam_step_bound,
    adamw_weight_bound,
    clipped_fixed_point,
    decay_fixed_point,
    l2_minimum,
    momentum_limit,
    noisy_adamw_fixed_point,
    sgd_limit,
)
from dynamics.theory.closed.scheduled import (
    averaged_updates,
    decade_ratio,
    half_life,
    lagging_mean_square,
    scheduled_decay,
    scheduled_floor,
)
from dynamics.theory.closed.selective import (
    adagrad_l2_over_decay,
    adam_l2_fixed_point,
    batch_critical_selectivity,
    critical_arrival,
    critical_selectivity,
    decay_of_l2,
    decay_under_constant_pull,
    inverse_root_ratio,
    l2_fixed_point,
    l2_of_decay,
    l2_over_decay,
    l2_under_constant_pull,
    momentum_l2_over_decay,
)
from dynamics.theory.closed.silent import (
    critical_damping,
    geometric,
    geometric_steps,
    lion_decay_path,
    momentum_path,
    momentum_roots,
    momentum_slow_rate,
    settled_rate,
    settling_limit,
)
from dynamics.theory.closed.silent_adaptive import (
    adagrad_steps,
    adam_floor,
    adam_steps,
    adamax_steps,
    lion_overshoot,
    residual_path,
    residual_steps,
    rmsprop_largest_step,
    silent_time,
)
