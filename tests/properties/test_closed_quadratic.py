"""A quadratic loss (D): fixed points, stability limits and bounds, against the rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from properties.paths import Hyper, mean_and_error, noisy, stepped, take

from dynamics.errors import InputError
from dynamics.theory import closed

curvatures, targets, decays = st.floats(0.2, 3), st.floats(-2, 2), st.floats(0.05, 2)


def rest(
    rule: str, coupling: str, h: float, target: float, strength: float, lr: float, steps: int, **hyper: float
) -> float:
    """Mean of the last tenth of the path from weight 1 on h (w - target)^2 / 2."""
    record = np.linspace(steps - steps // 10, steps, 101, dtype=int)
    w = noisy(rule, coupling, record, 1, pull=h, target=target, lr=lr, strength=strength, **hyper)
    return float(w.mean())


class TestFixedPoints:
    @pytest.mark.parametrize(
        ("rule", "lr"), [("sgd", 0.1), ("momentum", 0.05), ("adam", 1e-3), ("rmsprop", 1e-3), ("lion", 1e-3)]
    )
    @given(h=curvatures, target=targets, strength=decays)
    @settings(max_examples=10)
    def test_d_l2_leads_to_the_minimum(self, rule: str, lr: float, h: float, target: float, strength: float) -> None:
        found = rest(rule, "l2", h, target, strength, lr, 3_000 if rule in ("sgd", "momentum") else 20_000)
        # Adaptive rules come back in bursts of a few lr (A10); linear ones have arrived to the last digits.
        within = 1e-9 if rule in ("sgd", "momentum") else 5e-3
        assert abs(found - closed.l2_minimum(h, target, strength)) < within

    @pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov"])
    @given(h=curvatures, target=targets, strength=decays, momentum=st.floats(0.1, 0.9))
    @settings(max_examples=15)
    def test_d_decay_with_a_buffer(self, rule: str, h: float, target: float, strength: float, momentum: float) -> None:
        hyper = {} if rule == "sgd" else {"momentum": momentum}
        assert math.isclose(
            rest(rule, "decoupled_lr", h, target, strength, 0.05, 5_000, **hyper),
            closed.decay_fixed_point(h, target, strength, **hyper),
            rel_tol=1e-9, abs_tol=1e-9,
        )  # fmt: skip

    @pytest.mark.parametrize("rule", ["adam", "rmsprop", "adamax", "lion"])
    @given(h=curvatures, target=st.floats(-3, 3), strength=st.floats(0.3, 3))
    @settings(max_examples=10)
    def test_d_decay_with_steps_of_constant_size_clips(
        self, rule: str, h: float, target: float, strength: float
    ) -> None:
        # Where w* is 1 / strength the gradient fades as the weight arrives, so that it never quite does.
        assume(abs(abs(target) * strength - 1) > 0.05)
        lr = 1e-3
        found = rest(rule, "decoupled_lr", h, target, strength, lr, 30_000)
        formula = float(closed.clipped_fixed_point(target, strength))
        # And near it, a few more lr.
        assert abs(found - formula) < 15 * lr

    def test_d_rmsprop_with_momentum_has_a_wider_clip(self) -> None:
        found = rest("rmsprop_momentum", "decoupled_lr", 1.0, 20.0, 1.0, 1e-3, 30_000)
        assert found == pytest.approx(float(closed.clipped_fixed_point(20.0, 1.0, momentum=0.9)), rel=0.01)

    def test_d_amsgrad_remembers_its_largest_square(self) -> None:
        path = take(stepped("amsgrad", "decoupled_lr", lambda w, t: w - 5.0, 1e-3, 0.5), 60_000)
        # v_max: the largest running mean; the gradient falls from 4, so v rises for the first memories only.
        v, largest = 0.0, 0.0
        for w in path:
            v = 0.999 * v + 0.001 * (w - 5.0) ** 2
            largest = max(largest, v)
        assert path[-1] == pytest.approx(closed.l2_minimum(1.0, 5.0, 0.5 * math.sqrt(largest)), rel=1e-3)

    def test_d_adagrad_with_decay_rests_nowhere(self) -> None:
        path = take(stepped("adagrad", "decoupled_lr", lambda w, t: w - 1.0, 1e-2, 0.5), 200_001)
        assert path[200_000] < 0.6 * path[20_000] < 0.6

    @pytest.mark.parametrize(("arrival", "images"), [(1.0, 1), (0.3, 1), (0.3, 16)])
    def test_d_e7_noise_makes_adamw_an_l2_of_strength_lambda_root_v(self, arrival: float, images: int) -> None:
        h, strength, sigma = 0.2, 0.1, 20.0
        # A batch of independent images: its mean gradient has curvature p h and noise sigma sqrt(p / B).
        rms = sigma * math.sqrt(arrival / images)
        w = noisy(
            "adam", "decoupled_lr", np.linspace(30_000, 60_000, 50, dtype=int), 400, lr=1e-3, strength=strength,
            pull=arrival * h, target=1.0, sigma=rms, start=0.1,
        )  # fmt: skip
        found, error = mean_and_error(w)
        formula = closed.noisy_adamw_fixed_point(arrival * h, 1.0, strength, rms)
        assert abs(found - formula) < 4 * error + 0.01 * formula

    def test_e7_a_larger_batch_is_shrunk_less_and_l2_does_not_care(self) -> None:
        rest = [closed.noisy_adamw_fixed_point(0.06, 1.0, 0.1, 20 * math.sqrt(0.3 / b)) for b in (1, 16, 256)]
        assert np.all(np.diff(rest) > 0.03)


class TestStability:
    @staticmethod
    def grows(rule: str, coupling: str, lr: float, h: float, strength: float, hyper: Hyper, state: Hyper) -> bool:
        path = np.abs(take(stepped(rule, coupling, lambda w, t: h * w, lr, strength, hyper, 1e-30, state), 121))
        return bool(path[100:].max() > path[30:51].max())

    @pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
    @given(h=st.floats(0.0, 5), strength=st.floats(0.1, 5), momentum=st.floats(0.0, 0.95))
    @settings(max_examples=20)
    def test_d_limits_of_sgd_and_momentum(self, coupling: str, h: float, strength: float, momentum: float) -> None:
        decoupled = coupling == "decoupled_lr"
        for rule, hyper, limit in (
            ("sgd", {}, closed.sgd_limit(h, strength)),
            ("momentum", {"momentum": momentum}, closed.momentum_limit(h, strength, momentum, decoupled)),
        ):
            assert not self.grows(rule, coupling, 0.99 * limit, h, strength, hyper, {})
            assert self.grows(rule, coupling, 1.01 * limit, h, strength, hyper, {})

    @pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
    @given(h=st.floats(0.1, 5), strength=st.floats(0.1, 5), beta1=st.floats(0.0, 0.95), log_p=st.floats(-3, 1))
    @settings(max_examples=20)
    def test_d_limit_of_a_frozen_adam(
        self, coupling: str, h: float, strength: float, beta1: float, log_p: float
    ) -> None:
        # eps is the denominator: weights of 1e-30 leave v at nothing. No bias correction: the limit is that of the end.
        p = 10**log_p
        limit = closed.adam_limit(h, strength, p, beta1, coupling == "decoupled_lr")
        hyper, state = {"beta1": beta1, "eps": p}, {"power1": 0.0, "power2": 0.0}
        assert not self.grows("adam", coupling, 0.98 * limit, h, strength, hyper, state)
        assert self.grows("adam", coupling, 1.02 * limit, h, strength, hyper, state)

    def test_d_the_limit_is_38_p_at_the_defaults(self) -> None:
        assert closed.adam_limit(2.0, 0.0, 1.0) == pytest.approx(38 / 2)


class TestBounds:
    @given(
        beta1=st.floats(0, 0.95), beta2=st.floats(0.5, 0.999), step=st.integers(1, 300),
        grows=st.floats(0.3, 1.5), flip=st.floats(0, 1), seed=st.integers(0, 99),
    )  # fmt: skip
    def test_d_no_gradients_make_a_longer_step(
        self, beta1: float, beta2: float, step: int, grows: float, flip: float, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        g = grows ** np.arange(step) * np.where(rng.random(step) < flip, rng.normal(size=step), 1.0)
        g /= np.abs(g).max()
        assume(abs(g[-1]) > 1e-60)
        path = take(stepped("adam", "none", lambda w, t: float(g[min(t, step - 1)]), 1.0, 0.0,
                            {"beta1": beta1, "beta2": beta2, "eps": 1e-150}), step + 1)  # fmt: skip
        assert abs(path[step] - path[step - 1]) <= closed.adam_step_bound(beta1, beta2, step) * (1 + 1e-9) + 1e-9

    @given(beta1=st.floats(0.1, 0.95), beta2=st.floats(0.5, 0.999), step=st.integers(1, 60))
    def test_d_the_bound_is_attained(self, beta1: float, beta2: float, step: int) -> None:
        g = (beta1 / beta2) ** np.arange(step)[::-1]
        path = take(stepped("adam", "none", lambda w, t: float(g[t]) if t < step else 0.0, 1.0, 0.0,
                            {"beta1": beta1, "beta2": beta2, "eps": 1e-150}), step + 1)  # fmt: skip
        assert path[step - 1] - path[step] == pytest.approx(closed.adam_step_bound(beta1, beta2, step), rel=1e-8)

    def test_d_it_is_7_27_at_the_defaults(self) -> None:
        assert closed.adam_step_bound() == pytest.approx(7.2703, abs=1e-4)
        assert closed.adam_step_bound(step=20_000) == pytest.approx(closed.adam_step_bound(), rel=1e-6)

    @given(
        beta1=st.floats(0, 0.9), beta2=st.floats(0.85, 0.999), share=st.floats(0.05, 1), lr=st.floats(0.01, 1),
        start=st.floats(-3, 3), ratio=st.floats(0.8, 1.3),
    )  # fmt: skip
    def test_d_no_weight_of_adamw_is_larger(
        self, beta1: float, beta2: float, share: float, lr: float, start: float, ratio: float
    ) -> None:
        # Gradients that grow by a constant factor are close to the worst.
        hyper = {"beta1": beta1, "beta2": beta2, "eps": 1e-150}
        path = stepped("adam", "decoupled_lr", lambda w, t: ratio**t, lr, share / lr, hyper, start)
        assert np.abs(take(path, 300)).max() <= closed.adamw_weight_bound(start, lr, share / lr, beta1, beta2) * (
            1 + 1e-9
        )

    def test_d_beyond_lr_strength_1_the_bound_is_broken(self) -> None:
        # Signs that alternate: the decay's overshoot and the step then add up.
        path = take(
            stepped("adam", "decoupled_lr", lambda w, t: (-1.0) ** t, 1.0, 1.9, {"beta1": 0.0, "beta2": 0.5}, 0.1), 400
        )
        assert np.abs(path).max() > 9 > 12 * closed.adam_step_bound(0.0, 0.5) / 1.9
        with pytest.raises(InputError, match=r"^lr strength 1.9: a number in \(0, 1\] is accepted"):
            closed.adamw_weight_bound(0.1, 1.0, 1.9, 0.0, 0.5)
