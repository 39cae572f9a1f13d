"""Outside its regime a closed form says what it takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dynamics.errors import InputError
from dynamics.theory import closed


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: closed.geometric(1.0, 0.1, np.array([1.0, -2.0])), "t -2.0: must be whole numbers of at least 0"),
        (lambda: closed.momentum_roots(0.1, 1.0), "momentum 1.0: a number in .0, 1. is accepted"),
        (lambda: closed.momentum_slow_rate(0.01, 0.9), "x 0.01: must be at most 0.001"),
        (lambda: closed.settled_rate(38.1, 0.9), "lr strength / eps 38.1: a number in .0, 38. is accepted"),
        (lambda: closed.lion_decay_path(1.0, 0, 0.1, 0.1, [1]), "sign 0.0: -1 or 1 is accepted"),
        (lambda: closed.l2_over_decay(0.001, 1.0, 0.0, 1.0, 1e-8), "arrival 0.001: must be at least 0.01"),
        (lambda: closed.l2_over_decay(0.02, 1.0, 0.0, 1.0, 1e-8, 0.99), "arrival 0.02: must be at least 0.1003"),
        (lambda: closed.inverse_root_ratio(0.0005, 0.999), "arrival 0.0005: must be more than 0.0005"),
        (lambda: closed.adam_l2_fixed_point(0.0009, 1.0, 1.0, 0.1), "arrival 0.0009: must be at least 0.001"),
        (lambda: closed.adagrad_l2_over_decay(0.1, 1.0, 100), "arrival x step 10.0: must be at least 50 arrivals"),
        (lambda: closed.decay_under_constant_pull(0.1, 1.0, 1.0, 2.0), "power 2.0: 0 .Lion., 0.5"),
        (lambda: closed.inactive_share(0.0, 1.0), "gamma 0.0: a number other than 0 is accepted"),
        (lambda: closed.death_steps(1.0, -0.5, 1e-5, 8.0), r"beta -0.5: must be less than -abs\(gamma\) = -1"),
        (lambda: closed.collapse(1.0, 0.1, 1.0, 10), "steps 10.0: must be at least 100"),
        (lambda: closed.collapse(1.0, 0.1, 1.0, 100, "cauchy"), "noise 'cauchy' nan: normal, uniform, sign are accepted"),
        (lambda: closed.certified_dead(1.0, -1.0, 0), "count 0.0: must be a whole number of at least 1"),
        (lambda: closed.adam_steps(1.0, 1e-3, 0.1, 0.1), r"lr beta1 / \(1 - beta1\) 0.9.*: must be at most 0.06"),
        (lambda: closed.adam_steps(1.0, 1e-4, 1e-3, 0.1), "target / start 0.0001: must be at least 0.001"),
        (lambda: closed.adam_steps(1.0, 0.1, 1e-3, 1e-7), "eps 1e-08: must be at most 1e-10"),
        (lambda: closed.adamax_steps(1.0, 2.0, 1e-3, 0.1), "target 2.0: must be a number below start = 1"),
        (lambda: closed.adagrad_steps(1.0, 0.1, 0.5, 0.1), "lr 0.5: must be at most 0.1"),
        (lambda: closed.residual_steps(1.5, 0.1, 0.1, 0.1, 0.9), r"ratio 1.5: a number in \(0, 1\) is accepted"),
        (lambda: closed.noisy_adamw_fixed_point(1.0, 1.0, 1.0, 1.0), "gradient at rest 0.5: must be at most 0.1"),
        (lambda: closed.adam_step_bound(0.99, 0.9), "beta1 0.99: must be less than sqrt.beta2. = 0.9487"),
        (lambda: closed.l2_minimum(0.0, 1.0, 0.1), "curvature 0.0: a positive finite number is accepted"),
        (lambda: closed.sgd_limit(0.0, 0.0), r"curvature \+ strength 0.0: a positive"),
        (lambda: closed.sgd_mean_square(1.0, 2.0, 1.0), r"lr strength 2.0: a number in \(0, 2\) is accepted"),
        (lambda: closed.momentum_mean_square(1.0, 4.0, 1.0, 0.9), r"lr strength 4.0: a number in \(0, 3.8\)"),
        (lambda: closed.adamw_mean_square(0.1, 0.1, arrival=0.001), "arrival 0.001: must be at least 0.01"),
        (lambda: closed.adam_l2_mean_square(0.1, 1.0, 0.1), "strength x rms weight"),
        (lambda: closed.adamw_rotation(0.1, 0.1), r"lr strength 0.01.*: a number in \(0, 0.005\)"),
        (lambda: closed.half_life(1.0), r"share 1.0: a number in \(0, 1\) is accepted"),
        (lambda: closed.scheduled_decay(1.0, [0.1, -0.1], 0.1), "rates -0.1: must be a finite number of at least 0"),
        (lambda: closed.decade_ratio(1.0, 1e-12, 1e-3), "near 1e-12: a number between far = 0.001 and start = 1"),
        (lambda: closed.averaged_updates(0.0, [1.0], 2.0, 1.0), r"lr strength 2.0: a number in \(0, 2\)"),
        (lambda: closed.lagging_mean_square(0.0, [1.0, 2.0], 1.0), "lr strength 2.0: must be at most 1"),
    ],
)  # fmt: skip
def test_outside_its_regime_a_form_says_what_it_takes(call: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=rf"^{says}"):
        call()
