"""A training run: repeatable, honest about what diverged, and about the data it was meant for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from shades import held_out, shades, spec

from dynamics.errors import InputError
from dynamics.rules import RULES
from fullscale import train as module
from fullscale.data import Images
from fullscale.feed import Resident
from fullscale.measure import measure
from fullscale.prune import certify
from fullscale.train import train, train_together

IMAGES = shades()
SPEC = spec(IMAGES, schedule="constant")
TWO = [SPEC, replace(SPEC, seed=1)]


def plain(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without what the clock puts into it."""
    return {name: value for name, value in summary.items() if name != "seconds"}


def test_the_same_spec_twice_is_the_same_to_the_last_bit_and_seeds_do_not_depend_on_their_company() -> None:
    one, other = train_together(TWO, IMAGES), train_together(TWO, IMAGES)
    for a, b in zip(one, other, strict=True):
        assert (plain(a.summary), a.curves, a.status) == (plain(b.summary), b.curves, "done")
        for x, y in ((a.net, b.net), (a.smaller, b.smaller)):
            assert all(torch.equal(t, y.state_dict()[name]) for name, t in x.state_dict().items())
    assert one[0].curves["loss"] != one[1].curves["loss"]
    alone = train(TWO[1], IMAGES)
    assert alone.curves["loss"] == pytest.approx(one[1].curves["loss"], rel=1e-4)


def test_a_network_learns_and_its_certificate_is_that_of_its_networks() -> None:
    outcome = train(replace(SPEC, epochs=12, width=0.1), IMAGES)
    assert outcome.curves["loss"][-1] < 0.3 * outcome.curves["loss"][0]
    summary, (x, y) = outcome.summary, held_out(IMAGES)
    found = certify(outcome.net, outcome.smaller, x, y).as_dict()
    assert found == summary["certificate"]
    with torch.no_grad():
        wrong = (outcome.net(x).argmax(1) != y).double().mean()
    assert summary["test_error"] == summary["certificate"]["error_before"] == float(wrong)
    assert tuple(summary["channels"]) == outcome.net.config.channels
    assert summary["steps"] == 12 * (24 // 8)
    assert [threshold for threshold, *_ in summary["sweep"]] == [10.0**k for k in range(-14, 1)]
    assert len(summary["layers_by_activation"]) == len(summary["layers_by_scale"]) == 7


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3]), (2, [2, 3]), (5, [3])])
def test_curves_have_a_point_each_so_many_epochs_and_at_the_end(every: int, epochs: list[int]) -> None:
    heard: list[tuple[int, float]] = []
    points: list[dict[str, float]] = []
    asked = replace(SPEC, measure_every=every)
    outcome = train(asked, IMAGES, lambda epoch, losses: heard.append((epoch, *losses)), write=points.append)
    curves = outcome.curves
    assert curves["epoch"] == epochs
    assert set(curves) == {"epoch", "loss", "inactive_by_activation", "inactive_by_scale", "test_error"}
    # Progress is told of every epoch, what writes of every point.
    assert [epoch for epoch, _ in heard] == [1, 2, 3]
    assert curves["loss"] == [loss for epoch, loss in heard if epoch in epochs]
    assert points == [{name: values[i] for name, values in curves.items()} for i in range(len(epochs))]


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_every_step_takes_the_learning_rate_of_the_schedule(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    class Watched(module.Optimizer):
        def step(self, closure: Any = None) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(module, "Optimizer", Watched)
    train(replace(SPEC, epochs=5, schedule=schedule), IMAGES)
    steps = 5 * 3
    expected = {
        "constant": [0.01] * steps,
        "step": [0.01] * 12 + [0.001] * 3,
        "cosine": [0.005 * (1 + math.cos(math.pi * t / steps)) for t in range(steps)],
    }
    assert rates == pytest.approx(expected[schedule])


def test_the_validation_part_is_another_one_for_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    whole = Images.validation

    def validation(self: Images, share: float, seed: int) -> Images:
        asked.append((share, seed, whole(self, share, seed).digest))
        return whole(self, share, seed)

    monkeypatch.setattr(Images, "validation", validation)
    outcomes = train_together([replace(SPEC, validation=0.25, seed=seed) for seed in (3, 4)], IMAGES)
    assert [a[:2] for a in asked] == [(0.25, 3), (0.25, 4)]
    assert asked[0][2] != asked[1][2]
    # 24 training images, a quarter of each class away: 18 are left, and 6 judge.
    assert [o.summary["steps"] for o in outcomes] == [3 * (18 // 8)] * 2
    assert [o.summary["certificate"]["held_out_images"] for o in outcomes] == [6, 6]


def test_the_held_out_part_is_the_same_for_every_seed_and_not_trained_on() -> None:
    parts = IMAGES.validation(0.25)
    both = train_together([replace(SPEC, held_out=0.25, seed=seed) for seed in (3, 4)], IMAGES)
    for outcome, seed in zip(both, (3, 4), strict=True):
        # The same training on the remaining images alone, once judged by the test images, once by those held out.
        left = Images("left", IMAGES.classes, parts.train, IMAGES.test)
        alone = train_together([replace(SPEC, digest=left.digest, seed=seed)], left)[0]
        assert outcome.curves == alone.curves
        assert "held_out_error" not in alone.summary
        judged = Images("judged", IMAGES.classes, parts.train, parts.test)
        again = train_together([replace(SPEC, digest=judged.digest, seed=seed)], judged)[0]
        assert outcome.summary["held_out_error"] == again.summary["test_error"]
        assert outcome.summary["held_out_loss"] == again.summary["test_loss"]


def test_the_selectivity_of_a_layer_is_that_of_its_filters_that_are_active() -> None:
    outcome = train(SPEC, IMAGES)
    activity = measure(outcome.net, Resident(IMAGES).training(1024))
    for i, found in enumerate(outcome.summary["layers_selectivity"]):
        active = [s for s, p in zip(activity.selectivity[i], activity.peak[i], strict=True) if p >= 1e-12]
        assert found == pytest.approx(sum(active) / len(active) if active else None)


@pytest.mark.usefixtures("unjudged")
def test_the_test_images_have_no_say_in_training() -> None:
    other = Images(IMAGES.name, IMAGES.classes, IMAGES.train, shades(seed=5).test)
    assert other.digest != IMAGES.digest
    one = train(SPEC, IMAGES)
    two = train(replace(SPEC, digest=other.digest), other)
    assert one.curves["loss"] == two.curves["loss"]
    assert torch.equal(one.net.head.weight, two.net.head.weight)


def test_a_run_that_diverges_says_where_and_leaves_no_network() -> None:
    heard = []
    bad = [replace(one, optimizer="sgd", lr=1e30) for one in TWO]
    outcomes = train_together(bad, IMAGES, lambda epoch, _: heard.append(epoch))
    for outcome in outcomes:
        assert (outcome.status, outcome.net, outcome.smaller) == ("diverged", None, None)
        assert "epoch 1" in outcome.error
        assert set(outcome.summary) == {"seconds", "steps"}
    assert heard == [1]  # with no run left there is nothing to go on for


def test_a_run_that_diverges_leaves_its_company_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train_together(TWO, IMAGES)[1]
    first = module.build
    made = []

    def spoiled(*arguments: Any, **options: Any) -> Any:
        net = first(*arguments, **options)
        if not made:
            with torch.no_grad():
                net.head.bias[0] = math.inf
        made.append(net)
        return net

    monkeypatch.setattr(module, "build", spoiled)
    broken, whole = train_together(TWO, IMAGES)
    assert (broken.status, whole.status) == ("diverged", "done")
    assert broken.net is None
    assert plain(whole.summary) == plain(expected.summary)
    assert whole.curves == expected.curves


@pytest.mark.usefixtures("unjudged")
def test_every_setting_of_the_network_and_its_training_counts() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"augment": True}, {"precision": "bf16"}, {"model": "resnet20"}, {"hyper": (("beta1", 0.0), ("eps", 1e-3))},
        {"strength": 0.0}, {"coupling": "l1"}, {"validation": 0.25}, {"batch": 6},
    ]  # fmt: skip
    outcomes = [train(replace(SPEC, **change), IMAGES) for change in changes]
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert len({tuple(outcome.curves["loss"]) for outcome in outcomes}) == len(changes)
    assert outcomes[3].net.config.model == "resnet20"
    default = (("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8))
    assert train(replace(SPEC, hyper=default), IMAGES).curves == outcomes[0].curves
    # In bfloat16, of eight bits of mantissa, the network computes; its weights are kept in float32.
    assert {t.dtype for t in outcomes[2].net.state_dict().values()} == {torch.float32, torch.int64}
    assert outcomes[2].curves["loss"][0] == pytest.approx(outcomes[0].curves["loss"][0], rel=0.05)


def test_images_that_the_spec_does_not_fit_are_refused() -> None:
    other = shades(seed=1)
    with pytest.raises(InputError, match=f"digest {IMAGES.digest[:12]} .* not that of the images, {other.digest[:12]}"):
        train(SPEC, other)
    train(replace(SPEC, batch=24, epochs=1), IMAGES)
    with pytest.raises(InputError, match=r"^batch 25: must be at most 24, the number of training images$"):
        train(replace(SPEC, batch=25), IMAGES)


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if rule.unit != "matrix"])
def test_every_rule_that_takes_convolutions_trains(rule: str) -> None:
    outcome = train(replace(SPEC, optimizer=rule, lr=1e-3, epochs=1), IMAGES)
    assert outcome.status == "done"
    assert math.isfinite(outcome.curves["loss"][-1])
    assert all(t.isfinite().all() for t in outcome.net.state_dict().values())


def test_a_schedule_free_run_is_measured_at_its_average(monkeypatch: pytest.MonkeyPatch) -> None:
    averaging = replace(SPEC, optimizer="schedule_free")
    averaged = train(averaging, IMAGES)
    monkeypatch.setattr(module.Optimizer, "eval", lambda self: None)
    raw = train(averaging, IMAGES)
    # Training goes on from the gradient point in both; only what is looked at differs.
    assert averaged.curves["loss"] == raw.curves["loss"]
    assert averaged.summary["test_loss"] != raw.summary["test_loss"]


def test_runs_of_another_shape_or_that_go_alone_do_not_go_together() -> None:
    refused = (
        [SPEC, replace(SPEC, width=0.1)], [SPEC, replace(SPEC, batch=4)], [SPEC, replace(SPEC, epochs=2)],
        [replace(SPEC, optimizer="lamb", seed=seed) for seed in (0, 1)],
    )  # fmt: skip
    for specs in refused:
        with pytest.raises(InputError, match="one together_key is accepted"):
            train_together(specs, IMAGES)
    with pytest.raises(InputError, match="0 runs: at least one is accepted"):
        train_together([], IMAGES)


def test_of_a_group_those_are_looked_at_over_all_thresholds_that_ask_for_it() -> None:
    asked = [replace(one, thresholds=k == 1) for k, one in enumerate(TWO)]
    assert ["thresholds" in outcome.summary for outcome in train_together(asked, IMAGES)] == [False, True]
