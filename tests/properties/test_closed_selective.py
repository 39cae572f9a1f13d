"""Closed forms under gradients that arrive now and then (B): simulated lanes, fixed seeds, tolerances in standard errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.draws import hyperparameters
from properties.paths import mean_and_error, noisy

from dynamics.errors import InputError
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import simulate
from dynamics.theory import closed


def displacement_ratio(rule: str, arrival: float, sigma: float, record: tuple[int, int], **hyper: float) -> float:
    """What L2 moves over what decay moves, against the same noise without a regularizer."""
    # The weight hardly moves, and the pull stays what it is.
    lanes, given = 200, {"lr": 1e-5, "strength": 1e-3, "arrival": arrival, "sigma": sigma, "pull": 0.0, "target": 0.0}
    w = simulate(
        rule, ["none"] * lanes + ["l2"] * lanes + ["decoupled_lr"] * lanes, selective, record=record,
        stream=np.tile(np.arange(lanes), 3), seed=1, lanes=given | hyper,
    ).w  # fmt: skip
    none, l2, decay = (w[1] - w[0]).reshape(3, lanes).mean(axis=1)
    return float((none - l2) / (none - decay))


class TestL2OverDecay:
    # sigma sqrt(p) = .9, 1.1, ...: on both sides of 1, from every image to one in fifty.
    @pytest.mark.parametrize(
        ("arrival", "sigma"), [(1.0, 0.9), (1.0, 1.1), (0.2, 0.5), (0.02, 0.9 / 0.02**0.5), (0.5, 4.0)]
    )
    def test_b1_l2_is_stronger_than_decay_iff_the_denominator_is_below_1(self, arrival: float, sigma: float) -> None:
        # After 6000 steps, six memories of v: before the first gradient L2 meets an empty v and moves lr a step.
        found = displacement_ratio("adam", arrival, sigma, (6_000, 18_000))
        predicted = closed.l2_over_decay(arrival, sigma, 1e-3, 1.0, 1e-8)
        # 4 % : the mean of 1 / sqrt(v) is above 1 / sqrt(mean v) by 3 % at one in fifty.
        assert found == pytest.approx(predicted, rel=0.04)
        assert (found > 1) == (predicted > 1) == (sigma * math.sqrt(arrival) < 1)

    @pytest.mark.parametrize(("rule", "hyper"), [("sgd", {}), ("momentum", {"momentum": 0.9}), ("nesterov", {})])
    @pytest.mark.parametrize("arrival", [1.0, 0.01])
    def test_b3_a_buffer_multiplies_l2_whatever_the_arrival(
        self, rule: str, hyper: dict[str, float], arrival: float
    ) -> None:
        found = displacement_ratio(rule, arrival, 0.5, (1_000, 10_000), **hyper)
        # lr strength is 1e-8, so rounding is all that is left.
        assert found == pytest.approx(closed.momentum_l2_over_decay(0.0 if rule == "sgd" else 0.9), rel=1e-3)

    @pytest.mark.parametrize(("arrival", "sigma"), [(1.0, 0.5), (0.05, 3.0)])
    def test_b3_adagrads_l2_fades(self, arrival: float, sigma: float) -> None:
        for t in (4_000, 40_000):
            found = displacement_ratio("adagrad", arrival, sigma, (t, t + t // 20))
            # 1 %: the mean of 1 / sqrt(sum) at 200 arrivals is above its own by .5 %.
            assert found == pytest.approx(closed.adagrad_l2_over_decay(arrival, sigma, t + t / 40), rel=0.01)
        whole = displacement_ratio("adagrad", arrival, sigma, (0, 40_000))
        twice = 2 * closed.adagrad_l2_over_decay(arrival, sigma, 40_000)
        if arrival == 1:
            assert whole == pytest.approx(twice, rel=0.02)
        else:  # before the first arrival the sum holds nothing but the pull, and L2 moves lr a step
            assert whole > 5 * twice

    @pytest.mark.parametrize(("arrival", "sigma"), [(1.0, 0.37), (0.1, 2.0), (0.02, 0.5)])
    def test_b10_the_converted_decay_moves_a_weight_as_l2_does(self, arrival: float, sigma: float) -> None:
        l2 = 0.01 * sigma * math.sqrt(arrival)
        decay = closed.decay_of_l2(l2, arrival, sigma)
        assert closed.l2_of_decay(decay, arrival, sigma) == pytest.approx(l2)
        given = {"lr": 1e-3, "arrival": arrival, "sigma": sigma}
        none = noisy("adam", "none", [6_000, 16_000], 200, **given)
        ends = [
            noisy("adam", c, [6_000, 16_000], 200, strength=s, **given)
            for c, s in (("l2", l2), ("decoupled_lr", decay))
        ]
        by_l2, by_decay = (((none - w)[1] - (none - w)[0]).mean() for w in ends)
        assert by_l2 == pytest.approx(by_decay, rel=0.05)
        assert by_decay > 0.05  # the weights have moved by more than the two can differ

    def test_b10_no_share_of_the_weight_where_the_pull_is_no_small_part_of_the_gradient(self) -> None:
        with pytest.raises(InputError, match=r"^l2 x w 0.1: must be at most 0.05"):
            closed.decay_of_l2(0.1, 1.0, 0.5)


class TestCriticalSelectivity:
    @pytest.mark.parametrize(("beta2", "times"), [(0.9, 3.0), (0.99, 4.0), (0.999, 3.0), (0.99, 8.0)])
    def test_b5_the_mean_of_1_over_root_v_against_that_on_arrival(self, beta2: float, times: float) -> None:
        arrival, memory = times * closed.critical_arrival(beta2), round(1 / (1 - beta2))
        v = simulate(
            "adam", "none", selective, record=15 * memory + 3 * memory * np.arange(20), fields=("v",),
            lanes={"arrival": arrival, "pull": 0.0, "target": 0.0, "sigma": 1.0, "beta2": beta2},
            stream=np.arange(2_000),
        ).fields["v"]  # fmt: skip
        # Arrivals do not depend on the past: v after one is that of any step with a fresh square.
        g = math.sqrt(12) * (np.random.default_rng(0).random(v.shape) - 0.5)
        on_arrival = (beta2 * v + (1 - beta2) * g * g) ** -0.5
        lanes = (v**-0.5).mean(axis=0)
        error = lanes.std() / lanes.mean() / math.sqrt(len(lanes))
        found = float(lanes.mean() / on_arrival.mean())
        assert error < 0.01
        assert found == pytest.approx(closed.inverse_root_ratio(arrival, beta2), rel=4 * error)

    def test_b5_beyond_it_the_mean_grows_with_the_time_looked_at(self) -> None:
        beta2 = 0.99

        def means(selectivity: float) -> np.ndarray:
            v = simulate(
                "adam", "none", selective, record=[500, 2_000, 8_000], fields=("v",),
                lanes={"arrival": 1 - selectivity, "pull": 0.0, "target": 0.0, "sigma": 1.0, "beta2": beta2},
                stream=np.arange(40_000),
            ).fields["v"]  # fmt: skip
            return np.asarray(np.where(v > 0, v, np.nan) ** -0.5).T

        critical = closed.critical_selectivity(beta2)
        below, above = (np.nanmean(means(1 - (1 - critical) * k), axis=0) for k in (6.0, 0.4))
        assert abs(below[2] / below[1] - 1) < 0.05
        assert above[2] / above[1] > 3

    @given(beta2=st.floats(0.5, 0.9999), images=st.integers(1, 1_000))
    def test_e3_a_batch_is_critical_where_its_chance_of_silence_is(self, beta2: float, images: int) -> None:
        s = closed.batch_critical_selectivity(beta2, images)
        assert closed.silent_batch(s, images) == pytest.approx(closed.critical_selectivity(beta2), rel=1e-9)
        assert closed.critical_selectivity(beta2, root=False) == beta2


class TestFixedPoints:
    @staticmethod
    def rest(rule: str, arrival: float, lr: float, last: int, **hyper: float) -> tuple[float, float]:
        """Mean weight and its standard error with L2 such that strength / h is a fifth of the critical arrival."""
        strength = 0.2 * closed.critical_arrival(0.999)
        given = {"arrival": arrival, "pull": 1.0, "target": 1.0, "lr": lr, "strength": strength} | hyper
        return mean_and_error(noisy(rule, "l2", np.linspace(last // 2, last, 40, dtype=int), 200, **given))

    # Adam near p_c rests far below the linear fixed point: .833 against .909 at 2 p_c, and .952 against .962 at 5.
    @pytest.mark.parametrize(
        ("times", "lr", "within", "beta1"),
        [(20, 1e-4, 0.002, 0.9), (5, 1e-4, 0.004, 0.0), (2, 1e-4, 0.02, 0.9), (2, 1e-4, 0.02, 0.0)],
    )
    def test_b6_selectivity_acts_on_adam_like_arrival_less_the_critical(
        self, times: int, lr: float, within: float, beta1: float
    ) -> None:
        arrival = times * closed.critical_arrival(0.999)
        found, error = self.rest("adam", arrival, lr, 300_000, beta1=beta1)
        strength = 0.2 * closed.critical_arrival(0.999)
        formula = closed.adam_l2_fixed_point(arrival, 1.0, 1.0, strength)
        assert abs(found - formula) < within
        if times < 20:
            assert closed.l2_fixed_point(arrival, 1.0, 1.0, strength) - found > max(2 * within, 5 * error)

    def test_b6_below_the_critical_arrival_adam_lets_go(self) -> None:
        found, _ = self.rest("adam", 0.5 * closed.critical_arrival(0.999), 1e-4, 300_000)
        assert found < 0.15  # the linear fixed point is .714

    @pytest.mark.parametrize(("rule", "times"), [("sgd", 2), ("momentum", 20)])
    def test_b6_linear_rules_rest_where_the_linear_equation_says(self, rule: str, times: int) -> None:
        arrival, strength = times * closed.critical_arrival(0.999), 0.2 * closed.critical_arrival(0.999)
        found, error = self.rest(rule, arrival, 0.05 if rule == "sgd" else 0.005, 300_000)
        assert abs(found - closed.l2_fixed_point(arrival, 1.0, 1.0, strength)) < 4 * error + 1e-6

    # A gradient of -1 on arrival: pull h (w - target) with a target so far away that it is the same at every weight.
    @pytest.mark.parametrize(
        ("rule", "times", "lr", "beta2"),
        [("sgd", 4, 1e-2, 0.0), ("adam", 20, 1e-4, 0.999), ("adam", 4, 2e-5, 0.999), ("rmsprop", 20, 1e-4, 0.99)],
    )
    def test_b7_l2_under_a_constant_pull(self, rule: str, times: int, lr: float, beta2: float) -> None:
        arrival = times * closed.critical_arrival(beta2 or 0.999)
        strength = 0.5 * arrival if rule != "sgd" else 0.01
        formula = closed.l2_under_constant_pull(arrival, 1.0, strength, beta2)
        record = np.linspace(60_000, 200_000, 40, dtype=int)
        w = noisy(
            rule, "l2", record, 300, start=formula, pull=1e-9, target=1e9, arrival=arrival, lr=lr, strength=strength
        )
        found, error = mean_and_error(w)
        assert abs(found - formula) < 4 * error + 0.015 * formula
        if times == 4 and beta2:
            assert found < 0.85 * closed.l2_under_constant_pull(arrival, 1.0, strength)

    def test_b7_lions_l2_is_not_led_by_the_mean(self) -> None:
        arrival, strength = 0.05, 0.5
        w = noisy(
            "lion", "l2", np.linspace(30_000, 60_000, 30, dtype=int), 300, start=arrival / strength,
            pull=1e-9, target=1e9, arrival=arrival, lr=1e-4, strength=strength,
        )  # fmt: skip
        found, error = mean_and_error(w)
        assert closed.l2_under_constant_pull(arrival, 1.0, strength) - found > max(0.05 * found, 5 * error)

    @pytest.mark.parametrize(
        ("rule", "power", "lr", "beta2", "within"),
        [("sgd", 1.0, 1e-2, 0.0, 0.0), ("momentum", 1.0, 1e-3, 0.0, 0.0), ("lion", 0.0, 1e-3, 0.0, 1e-3),
         ("adam", 0.5, 1e-3, 0.999, 0.03), ("rmsprop", 0.5, 1e-3, 0.99, 0.03)],
    )  # fmt: skip
    @pytest.mark.parametrize("arrival", [0.03, 0.3])
    def test_b7_decay_under_a_constant_pull_has_the_rules_own_slope(
        self, rule: str, power: float, lr: float, beta2: float, within: float, arrival: float
    ) -> None:
        momentum = 0.9 if rule == "momentum" else 0.0
        formula = closed.decay_under_constant_pull(arrival, 1.0, 0.5, power, momentum, beta2)
        record = np.linspace(20_000, 60_000, 40, dtype=int)
        w = noisy(
            rule,
            "decoupled_lr",
            record,
            300,
            start=formula,
            pull=1e-9,
            target=1e9,
            arrival=arrival,
            lr=lr,
            strength=0.5,
        )
        found, error = mean_and_error(w)
        assert abs(found - formula) < 4 * error + within * formula + 1e-6


class TestGradientScale:
    @given(power=st.integers(-30, 30), data=st.data())
    @settings(max_examples=20)
    def test_b9_the_scale_of_the_loss_leaves_adamw_alone_and_not_adam_with_l2(
        self, power: int, data: st.DataObject
    ) -> None:
        hyper, seed = data.draw(hyperparameters("adam")), data.draw(st.integers(0, 1000))
        c = 2.0**power

        def path(coupling: str, gradient: float, strength: float, eps: float) -> bytes:
            given = {"arrival": 0.7, "pull": gradient, "target": 0.3, "sigma": gradient * 0.8, "lr": 0.01}
            given |= {"strength": 0.1 * strength} | hyper | {"eps": hyper["eps"] * eps}
            return noisy("adam", coupling, range(50), 1, seed=seed, **given).tobytes()

        decay, l2 = path("decoupled_lr", 1, 1, 1), path("l2", 1, 1, 1)
        assert path("decoupled_lr", c, 1, c) == decay
        assert path("l2", c, c, c) == l2
        if power:
            assert path("l2", c, 1, c) != l2
            assert path("decoupled_lr", c, c, c) != decay

    def test_b9_a_smaller_loss_strengthens_l2_and_not_weight_decay(self) -> None:
        scales = np.array([1.0, 0.1, 0.01])
        lanes = {"lr": 1e-3, "strength": 1e-3, "arrival": 1.0, "pull": 0.0, "target": 0.0, "sigma": scales, "eps": 0.0}
        ends = {
            coupling: simulate("adam", coupling, selective, record=[2_000], lanes=lanes, stream=[1, 1, 1]).w[0]
            for coupling in ("l2", "decoupled_lr")
        }
        assert np.ptp(ends["decoupled_lr"]) < 1e-12
        assert np.all(np.diff(ends["l2"]) < -1e-3)
