"""The law of a silent weight is found on its path: known laws come out, and their numbers are those of stepping."""

from __future__ import annotations

import math

import pytest

from dynamics.answers.decay_time import decay_time
from dynamics.answers.law import silent_law
from dynamics.answers.setting import make
from dynamics.couplings import COUPLINGS, compose
from dynamics.rules import RULES
from dynamics.words import FLOATS

LAWS = {
    ("sgd", "l2", 0.01): ("geometric", 1.0, -1.0),
    ("momentum", "l2", 1e-4): ("geometric", 1.0, -1.0),
    ("lion", "l2", 1e-3): ("at constant speed", 0.5, 0.0),
    ("lion", "l2", 1e-1): ("at constant speed", 0.5, 0.0),
    ("adan", "l2", 1e-2): ("at constant speed", 0.5, 0.0),
    ("adam", "l2", 1e-2): ("it slows down less than in proportion to its size", 0.74, 0.0),
    ("adagrad", "l2", 1e-2): ("it slows down more than in proportion to its size", 1.8, 0.0),
    ("lamb", "decoupled_lr", 1e-2): ("geometric", 1.0, 0.0),
    ("adam", "decoupled_lr", 1e-2): ("geometric", 1.0, -1.0),
    ("adam", "l1", 1e-2): ("at constant speed", 0.5, 0.0),
    ("sgd", "l1", 1e-3): ("at constant speed", 0.5, -1.0),
}


@pytest.mark.parametrize(("rule", "coupling", "strength"), LAWS)
def test_known_laws(rule: str, coupling: str, strength: float) -> None:
    text, shape, power = LAWS[rule, coupling, strength]
    found = silent_law(make(rule, coupling, strength=strength))
    assert found.text.startswith(text)
    assert found.shape == pytest.approx(shape, abs=0.05)
    assert found.by_strength == pytest.approx(power, abs=0.05)


def test_where_nothing_pulls_the_law_says_so() -> None:
    found = silent_law(make("adam", "none"))
    assert (found.shape, found.by_strength, found.text) == (None, None, "never: nothing pulls")


@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_half_life_is_what_stepping_counts(rule: str) -> None:
    setting = make(rule, "l2", strength=0.1)
    half = silent_law(setting).half_life.steps
    assert half is not None
    step, w, inner = compose(setting.rule, COUPLINGS["l2"], FLOATS), 1.0, setting.rule.fresh(1.0, setting.hyper)
    seen = []
    for _ in range(half):
        w, *rest = step(w, 0.0, inner, setting.lr, 1.0, setting.strength, tuple(setting.hyper.values()))
        inner = tuple(rest)
        seen.append(abs(w))
    assert seen[-1] <= 0.5
    # A closed form may round the last step the other way.
    assert all(w > 0.5 for w in seen[:-2])


def test_a_passage_goes_on_from_the_state_that_it_is_given() -> None:
    # sqrt(v) = 1 from past gradients: L2 begins as weak as decay, and A9's bound holds.
    setting = make("adam", "l2", strength=1e-2)
    fresh = decay_time(setting, 1.0, 0.5).steps
    later = decay_time(setting, 1.0, 0.5, (0.0, 1.0, 0.0, 0.0)).steps
    assert fresh is not None
    assert later is not None
    assert later > 10 * fresh
    # v forgets geometrically: 2 tau ln(1 + ln2 sigma0 / (2 tau lr strength)) is the least it takes.
    tau = 999.5
    assert later >= 2 * tau * math.log(1 + math.log(2) / (2 * tau * 1e-3 * 1e-2))


def test_a_decay_beside_a_step_of_0_over_0_never_halves_anything() -> None:
    for rule in ("adam", "radam", "lamb", "adadelta"):
        found = silent_law(make(rule, "decoupled_lr", strength=1e-2, eps=0.0))
        assert (found.half_life.steps, found.text) == (None, "never: with eps 0 a step without a gradient is 0 / 0")


@pytest.mark.parametrize(
    ("rule", "lr", "strength"),
    [("adam", 1e-12, 1e-4), ("adam", 1e-3, 1e200), ("adam", 1e-3, 1e-320), ("lars", 1e-15, 1.0)],
)
def test_what_is_hopeless_is_given_up_early(rule: str, lr: float, strength: float) -> None:
    found = silent_law(make(rule, "l2", lr=lr, strength=strength))
    assert found.half_life.steps is None
    assert found.text.startswith(
        ("not within 60,000 steps, nor within 1e+10", "never within what a float holds", "never: each step")
    )


def test_one_step_is_one() -> None:
    assert silent_law(make("sgd", "decoupled_constant", strength=0.6)).text.startswith("halves in 1 step,")
