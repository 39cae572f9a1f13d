"""A converted strength gives the pull of the original, within the range that it states; none is said to be none."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.answers.convert import Conversion, convert
from dynamics.answers.match import Range
from dynamics.answers.pull_rate import Gradients, pull_rates, sees_gradients
from dynamics.answers.setting import Setting, make, parse, parse_target
from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.libraries.catalogue import PUBLISHED
from dynamics.rules import RULES

SEEN = Gradients(1e-3, 0.1)


def converted(source: str, target: str, gradients: Gradients = SEEN, **more: float) -> Conversion:
    return convert(parse(source), parse_target(target), gradients, **more)  # type: ignore[arg-type]


def pull(setting: Setting, rms: float, arrival: float, weight: float) -> float:
    return float(pull_rates(setting, rms, arrival, weight, after=6_000)[0, 0].mean())


def test_adam_to_adamw_is_b10() -> None:
    found = converted("adam lr=1e-3 l2=1e-4", "adamw lr=1e-3")
    # strength / (rms sqrt(arrival) + eps); the mean of 1 / sqrt(v) is larger by 0.6% at 200 critical arrivals.
    assert found.formula == pytest.approx(1e-4 / (1e-3 * math.sqrt(0.1) + 1e-8), rel=1e-9)
    assert found.strength == pytest.approx(found.formula, rel=0.02)
    assert found.ratio is not None
    assert found.ratio.low < 1.01
    assert found.ratio.high > 0.99
    assert found.ratio.n == 8
    assert "torch.optim.AdamW" in found.library
    assert found.horizon is None
    json.dumps(found.as_dict(), allow_nan=False)


@given(
    rms=st.floats(1e-4, 1.0),
    arrival=st.floats(0.05, 1.0),
    strength=st.floats(1e-6, 1e-3),
    lr=st.sampled_from([1e-4, 1e-3]),
)
@settings(max_examples=1)
def test_there_and_back_is_the_start(rms: float, arrival: float, strength: float, lr: float) -> None:
    gradients = Gradients(rms, arrival)
    there = converted(f"adam lr={lr} l2={strength}", "adamw lr=2e-3", gradients)
    assert there.strength is not None
    back = converted(f"adamw lr=2e-3 wd={there.strength}", f"adam lr={lr}", gradients)
    assert back.strength == pytest.approx(strength, rel=0.02)


EXACT = {
    ("sgd lr=.1 l2=5e-4", "sgdw lr=.1"): 5e-4,
    ("momentum lr=.1 l2=5e-4", "momentum lr=.1 coupling=decoupled_lr"): 5e-3,
    ("adamw lr=1e-3 wd=.1", "adam lr=1e-3 coupling=decoupled_schedule"): 1e-4,
    ("adamw lr=1e-3 wd=.1", "lion lr=1e-4"): 1.0,
    ("lion lr=1e-4 wd=1", "adamw lr=1e-3"): 0.1,
    ("adam cautious=.2", "adamw"): 0.1,
}


@pytest.mark.parametrize(("source", "target"), EXACT)
def test_known_conversions_and_their_range(source: str, target: str) -> None:
    found = converted(source, target)
    assert found.strength == pytest.approx(EXACT[source, target], rel=0.01)
    # Both pulls are free of the gradients: no bound on their size, nor on the weight.
    assert [found.holds[name] for name in ("weight", "gradient_rms")] == [type(found.holds["weight"])(None, None)] * 2
    assert found.notes == ()  # none of these rules looks beyond the weight


@pytest.mark.parametrize("target", ["adamw lr=1e-3", "sgd lr=0.1"])
def test_within_its_range_it_holds_and_beyond_it_does_not(target: str) -> None:
    source = parse("adam lr=1e-3 l2=1e-4")
    found = converted(str(source), target)
    assert found.target is not None
    assert found.strength is not None
    other = parse(found.target)
    reach = found.holds["gradient_rms"]
    assert reach.low is not None
    assert reach.high is not None
    # 10%, and a bit for the seeds, on what the setting's text keeps of the strength.
    for rms, inside in ((reach.low, True), (reach.high, True), (reach.low / 1.4, False), (reach.high * 1.4, False)):
        ratio = pull(other, rms, 0.1, 0.05) / pull(source, rms, 0.1, 0.05)
        assert (abs(ratio - 1) < 0.12) is inside
    top = found.holds["weight"].high
    assert top is not None
    assert abs(pull(other, 1e-3, 0.1, top) / pull(source, 1e-3, 0.1, top) - 1) < 0.12
    assert abs(pull(other, 1e-3, 0.1, 3 * top) / pull(source, 1e-3, 0.1, 3 * top) - 1) > 0.12


def test_adagrad_has_no_constant_but_a_horizon() -> None:
    found = converted("adagrad lr=1e-2 l2=1e-4", "adamw lr=1e-3", steps=8_000)
    assert found.strength is None
    assert "falls as 1 / sqrt(t)" in found.why
    horizon = found.horizon
    assert horizon is not None
    assert (horizon.first, horizon.steps) == (500, 8_000)
    # 1 / sqrt(t) over its mean from T/16 to T is 1.72 on average over the first eighth, and 0.64 over the last.
    assert horizon.early == pytest.approx(1.72, rel=0.12)
    assert horizon.late == pytest.approx(0.64, rel=0.12)
    json.dumps(found.as_dict(), allow_nan=False)


def test_adagrad_to_itself_has_one() -> None:
    # Both fall alike.
    found = converted("adagrad lr=1e-2 l2=1e-4", "adagrad lr=2e-2")
    assert found.strength == pytest.approx(5e-5, rel=0.02)


@pytest.mark.parametrize(
    ("source", "target", "gradients", "why"),
    [
        ("adam l2=1e-4", "adamw", Gradients(1e-3, 3e-4), "below the critical 0.0005"),
        ("adamw wd=.1", "adam", Gradients(1e-3, 3e-4), "below the critical 0.0005"),
        ("adam l1=1e-4", "adamw", SEEN, "L1 pulls equally at weights of all sizes"),
    ],
)
def test_where_there_is_none_it_says_why(source: str, target: str, gradients: Gradients, why: str) -> None:
    found = converted(source, target, gradients)
    assert found.strength is None
    assert why in found.why


@pytest.mark.parametrize(
    ("source", "target", "more", "message"),
    [
        ("adam", "adamw", {}, "has no regularizer"),
        ("adam l2=0", "adamw", {}, "has no regularizer"),
        ("adam l2=1", "sgd coupling=none", {}, "names no coupling"),
        ("adam lr=0 l2=1", "adamw", {}, "lr 0 in"),
        ("adam l2=1", "adamw", {"weight": 0.0}, "weight 0.0"),
        ("adam l2=1", "adamw", {"steps": 5}, "steps 5"),
    ],
)
def test_what_cannot_be_converted_is_refused(source: str, target: str, more: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        converted(source, target, **more)


@pytest.mark.grid(30)
@pytest.mark.parametrize("coupling", [name for name in COUPLINGS if name not in ("none", "l1")])
@pytest.mark.parametrize("name", RULES)
def test_a_pull_that_sees_no_gradients_is_the_same_under_all(name: str, coupling: str) -> None:
    setting = make(name, coupling, lr=1e-3, strength=1e-2)
    if sees_gradients(setting):
        with pytest.raises(InputError, match=r"^gradient rms is needed: the pull of"):
            convert(setting, "sgd lr=0.1")
        return
    rates = pull_rates(setting, [1e-3, 1.0, 1e2], [1.0, 0.1, 0.5], 1.0, after=100)[0].mean(axis=1)
    assert rates == pytest.approx(rates[0], rel=1e-6)


@pytest.mark.parametrize(
    ("source", "target"), [("sgd lr=.1 l2=5e-4", "sgd lr=.1 momentum=.9"), ("adamw wd=.1", "sgdw lr=.1")]
)
def test_where_no_pull_sees_gradients_none_are_needed(source: str, target: str) -> None:
    found = convert(source, target)
    assert found.strength == pytest.approx(converted(source, target).strength, rel=1e-6)
    assert found.holds["gradient_rms"] == found.holds["arrival"] == Range(None, None)


def test_a_setting_is_converted_to_itself_where_the_strength_hardly_counts() -> None:
    # The trust ratio divides by the norm of the pull: many strengths pull alike.
    assert converted("lars lr=1 l2=1e-3", "lars lr=1", Gradients(1e3, 0.1)).strength == 1e-3


def test_what_seeds_differ_by_is_no_drift() -> None:
    found = converted("sgd lr=0.1 l2=1e-4", "lion lr=1e-4 l2=0", Gradients(1.0, 0.01))
    assert found.strength is not None
    assert found.ratio is not None
    assert found.ratio.low < 1 < found.ratio.high


def test_a_pull_that_was_not_found_is_told_with_what_was_tried() -> None:
    found = converted("sgd lr=0.1 l2=1e-4", "lamb", Gradients(1e3, 1e-3))
    assert found.strength is None
    assert "1e-05 is to be matched" in found.why


def test_rules_of_whole_tensors_say_what_a_weight_is_here() -> None:
    assert converted("lamb wd=.01", "adamw").notes == (
        "lamb looks at the norms of a whole tensor: these numbers are those of a weight that is one by itself",
    )
    # Also where there is no strength, which is found at once.
    assert "muon looks at a whole matrix" in converted("muon wd=.01", "adam", Gradients(1e-3, 3e-4)).notes[0]


def test_a_strength_far_from_published_ones_is_told_with_the_reason() -> None:
    far = converted("adam lr=1e-3 l2=1e-3", "adamw lr=1e-3")
    assert far.strength == pytest.approx(1e-3 / (1e-3 * math.sqrt(0.1)), rel=0.05)
    (note,) = far.notes
    usual = r"adam and decoupled_lr \(0\.05 to 0\.1\): adam"
    assert re.match(rf"strength 3\.[12]\d is 3[12]\.\d times the largest that published recipes use with {usual}", note)
    assert "divides its pull by the size of the gradients" in note
    below = converted("adamw lr=1e-3 wd=1e-3", "lion lr=1e-4")
    assert below.strength == pytest.approx(1e-2, rel=0.01)
    usual = r"lion and decoupled_lr \(1\): both take 1e-06"
    assert re.match(rf"strength 0\.01 is 1/100 of the smallest that published recipes use with {usual}", below.notes[0])
    assert converted("adamw lr=1e-3 wd=.1", "adamw lr=4e-4").notes == ()  # 0.25, within three times 0.1


def test_every_published_setting_is_explained_in_the_recipes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    for text, who in PUBLISHED.items():
        block = page.index(f'undertow explain "{text}"')
        assert who.rpartition(", ")[2] in page[max(0, block - 600) : block]
