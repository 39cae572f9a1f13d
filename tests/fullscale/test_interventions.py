"""The trial inside of networks: what a treatment does and leaves alone, the lot, the rows, and one number a network."""

from __future__ import annotations

import copy
import doctest
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shades import shades, spec
from torch import nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES
from evidence.claim import judge
from evidence.registry import find_claims
from evidence.store import Store
from fullscale.interventions import arms as asked
from fullscale.interventions import claims, stored
from fullscale.interventions.arms import ARMS, CIFAR, DIGITS, NONE, TRIALS
from fullscale.interventions.estimate import effect, lost_life, moved
from fullscale.interventions.run import SHARE, begun, chosen
from fullscale.interventions.treated import Treated, parts_of
from fullscale.interventions.treatment import Treatment
from fullscale.models import basicnet
from fullscale.train import train_together

IMAGES = shades()
# By a batch of 6 no kernel is compiled first; arms that run together are then the same but for rounding (`fullscale.replicas`).
SPEC = spec(IMAGES, schedule="step", epochs=3, batch=6)
FEW = [[0], [1, 2], [], [3], [], [0, 5], [1]]
PER_WEIGHT = [name for name, rule in RULES.items() if rule.unit == "weight"]


def layers_of(net: Any) -> list[list[torch.Tensor]]:
    """Of each layer what makes its filters."""
    return [[block.norm.weight, block.norm.bias, block.conv.weight] for block in net.blocks]


class Run:
    """A small BasicNet, so many steps from its first."""

    def __init__(self, rule: str, coupling: str, done: int = 6, strength: float = 5e-3, **hyper: Any) -> None:
        torch.manual_seed(0)
        self.net = basicnet(0.05, 1, 3)
        self.optimizer = Optimizer(self.net.parameters(), rule, coupling, lr=1e-2, weight_decay=strength, **hyper)
        draws = torch.Generator().manual_seed(1)
        self.batches = [
            (torch.randn(8, 1, 6, 6, generator=draws), torch.randint(0, 3, (8,), generator=draws)) for _ in range(12)
        ]
        self.done = 0
        self.go(done)

    def go(self, steps: int) -> Run:
        for x, y in self.batches[self.done : self.done + steps]:
            self.optimizer.zero_grad()
            cross_entropy(self.net(x), y).backward()
            self.optimizer.step()
        self.done += steps
        return self

    def twin(self) -> Run:
        return copy.deepcopy(self)

    def treat(self, treatment: Treatment, few: Sequence[Sequence[int]] = FEW, seed: int = 0) -> Run:
        Treated(self.optimizer, parts_of(layers_of(self.net), few), treatment, seed)
        return self

    def numbers(self) -> list[torch.Tensor]:
        fields = self.optimizer.rule.state
        params = list(self.net.parameters())
        return [*params, *(self.optimizer.state[p][name] for p in params for name in fields)]


def rows(run: Run, few: Sequence[Sequence[int]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of each parameter of a layer, those of these filters, and the others."""
    found = []
    for params, some in zip(layers_of(run.net), few, strict=True):
        others = [i for i in range(len(params[0])) if i not in some]
        found += [(p.detach()[list(some)], p.detach()[others]) for p in params]
    return found


@pytest.mark.parametrize("rule", PER_WEIGHT)
def test_a_treatment_that_changes_nothing_leaves_the_run_the_same_to_the_last_bit(rule: str) -> None:
    for coupling in ("l2", "decoupled_schedule"):
        plain = Run(rule, coupling)
        treated = plain.twin().treat(Treatment())
        for run in (plain, treated):
            run.optimizer.param_groups[0]["lr"] /= 10
            run.go(4)
        assert all(map(torch.equal, plain.numbers(), treated.numbers())), coupling


@pytest.mark.parametrize("treatment", [t for _, t in ARMS.values() if t is not None], ids=lambda t: t.words)
def test_only_treated_filters_differ_after_the_first_step(treatment: Treatment) -> None:
    plain = Run("adam", "l2")
    treated = plain.twin().treat(treatment)
    plain.go(1), treated.go(1)
    for (own, others), (theirs, as_before) in zip(rows(plain, FEW), rows(treated, FEW), strict=True):
        assert torch.equal(others, as_before)
        # Where a filter is drawn to have its gradient and is not blanked, the factor alone differs; scale is seen by all.
        if own.numel() and treatment.arrival == 1 and treatment.beta2 is None:
            assert not torch.equal(own, theirs)
    assert torch.equal(plain.net.head.weight, treated.net.head.weight)


@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_b9_decoupled_decay_does_not_see_the_size_of_gradients_and_l2_sees_it_as_its_strength(factor: float) -> None:
    """Adam from a fresh state under (c g, c eps) walks the path of (g, eps) with decoupled decay, and with L2 that of
    strength / c: the oracles of row B9, in which c is a power of two, so that no rounding differs."""
    for coupling, strength in (("decoupled_lr", 1.0), ("l2", 1 / factor)):
        flat = nn.Parameter(torch.linspace(-1, 1, 12).view(4, 3))
        made = [nn.Parameter(flat.detach().clone()) for _ in range(2)]
        scaled = Optimizer([made[0]], "adam", coupling, lr=0.01, weight_decay=0.125, eps=2.0**-20 * factor)
        plain = Optimizer([made[1]], "adam", coupling, lr=0.01, weight_decay=0.125 * strength, eps=2.0**-20)
        draws = torch.Generator().manual_seed(0)
        for p, optimizer in zip(made, (scaled, plain), strict=True):
            p.grad = torch.zeros(4, 3)
            optimizer.step()  # the state is there, and of a gradient of 0 alone
            for name in ("m", "v"):
                optimizer.state[p][name].zero_()
            p.data.copy_(flat)
        Treated(scaled, parts_of([[made[0]]], [[0, 1, 2, 3]]), Treatment(scale=factor))
        for _ in range(20):
            g = torch.randn(4, 3, generator=draws)
            for p, optimizer in zip(made, (scaled, plain), strict=True):
                p.grad = g.clone()
                optimizer.step()
        assert torch.equal(*made), coupling


@settings(max_examples=10, deadline=None)
@given(
    p=st.sampled_from([0.05, 0.3, 0.8]),
    kept=st.sampled_from(["square", "mean", "none"]),
    scale=st.sampled_from([1.0, 0.5]),
    seed=st.integers(0, 2**31),
)
def test_blanking_has_the_share_and_the_sizes_that_are_promised(p: float, kept: Any, scale: float, seed: int) -> None:
    """Under plain SGD each step is the gradient that arrived: the draws are read off the weights."""
    weight, steps = nn.Parameter(torch.zeros(40, 2, dtype=torch.float64)), 200
    optimizer = Optimizer([weight], "sgd", lr=1.0)
    Treated(optimizer, parts_of([[weight]], [list(range(40))]), Treatment(scale=scale, arrival=p, kept=kept), seed)
    seen = torch.empty(steps, 40, 2, dtype=torch.float64)
    for step in range(steps):
        before = weight.detach().clone()
        weight.grad = torch.ones(40, 2, dtype=torch.float64)
        optimizer.step()
        seen[step] = before - weight.detach()
    arrived = seen != 0
    assert torch.equal(arrived[..., 0], arrived[..., 1])
    share = float(arrived.float().mean())
    assert abs(share - p) < 6 * math.sqrt(p * (1 - p) / (steps * 40))
    size = {"square": p**-0.5, "mean": 1 / p, "none": 1.0}[kept] * scale
    torch.testing.assert_close(seen[arrived], torch.full_like(seen[arrived], size), rtol=1e-9, atol=0)


def test_filters_of_several_layers_are_numbered_through_and_keep_their_places() -> None:
    found = parts_of([[torch.zeros(3), torch.zeros(3, 2)], [torch.zeros(2)], [torch.zeros(2, 1, 2)]], [[0, 2], [], [1]])
    assert [part.places.tolist() for part in found] == [[0, 2], [0, 1, 4, 5], [2, 3]]
    assert [part.filters.tolist() for part in found] == [[0, 1], [0, 0, 1, 1], [2, 2]]


def test_rarer_draws_are_among_the_less_rare_ones() -> None:
    def arrived(p: float) -> torch.Tensor:
        weight = nn.Parameter(torch.zeros(300))
        optimizer = Optimizer([weight], "sgd", lr=1.0)
        Treated(optimizer, parts_of([[weight]], [list(range(300))]), Treatment(arrival=p), seed=3)
        weight.grad = torch.ones(300)
        optimizer.step()
        return weight.detach() != 0

    some, few = arrived(0.3), arrived(0.05)
    assert 0 < int(few.sum()) < int(some.sum())
    assert bool((some | ~few).all())


def test_without_strength_the_filters_go_as_in_a_run_without_a_regularizer() -> None:
    """Of one step, in which the gradients of both runs are the same; from the same state."""
    treated = Run("adam", "l2").treat(Treatment(strength=0.0))
    free = Run("adam", "l2")
    free.optimizer.param_groups[0]["weight_decay"] = 0.0
    for run in (treated, free):
        run.go(1)
    for (own, _), (theirs, _) in zip(rows(treated, FEW), rows(free, FEW), strict=True):
        assert torch.equal(own, theirs)
    assert not torch.equal(treated.net.head.weight, free.net.head.weight)


@pytest.mark.parametrize("beta2", [0.9, 0.9999])
def test_another_memory_goes_on_from_the_corrected_mean_square(beta2: float) -> None:
    run = Run("adam", "l2", strength=0.0)
    before = {p: run.optimizer.state[p]["v"].clone() / (1 - 0.999**6) for p in run.net.parameters()}
    run.treat(Treatment(beta2=beta2)).go(1)
    for params, some in zip(layers_of(run.net), FEW, strict=True):
        for p in params if some else ():
            v, g = run.optimizer.state[p]["v"][some], p.grad[some]
            expected = (beta2 * before[p][some] * (1 - beta2**6) + (1 - beta2) * g * g) / (1 - beta2**7)
            torch.testing.assert_close(v / (1 - beta2**7), expected, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *[
            ({"scale": 0.0}, "scale"),
            ({"arrival": 0.0}, "arrival"),
            ({"arrival": 1.5}, "arrival"),
            ({"beta2": 1.0}, "beta2"),
        ],
        *[({"kept": "median"}, "kept"), ({"strength": -1.0}, "strength"), ({"scale": math.nan}, "scale")],
    ],
)
def test_a_treatment_that_cannot_be_is_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Treatment(**words)


def test_what_cannot_be_treated_is_refused() -> None:
    run = Run("sgd", "l2")
    with pytest.raises(InputError, match="filters \\[99\\]"):
        parts_of(layers_of(run.net), [[99], *FEW[1:]])
    with pytest.raises(InputError, match="in another layout"):
        parts_of([[torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)]], [[0]])
    apart = Run("adam", "l2", 1)
    apart.optimizer.state[apart.net.blocks[0].norm.weight]["power2"] = 0.5
    with pytest.raises(InputError, match="equally often"):
        apart.treat(Treatment())
    with pytest.raises(InputError, match="no filters"):
        parts_of(layers_of(run.net), [[]] * 7)
    for rule, treatment, done, words in (
        *(("lars", Treatment(), 1, "whose unit is a tensor"), ("sgd", Treatment(beta2=0.9), 1, "beta2 of sgd")),
        *(("adam", Treatment(), 0, "before its first step"), ("adan", Treatment(beta2=0.9), 1, "beta2 of adan")),
    ):
        with pytest.raises(InputError, match=words):
            Run(rule, "l2", done).treat(treatment)


@pytest.mark.usefixtures("unjudged")
def test_an_untreated_arm_is_the_run_and_an_arm_is_the_same_in_any_company() -> None:
    network = begun(SPEC, IMAGES)
    smaller = Treatment(scale=1 / 64)
    alone, [twin, same, again] = network.under([smaller]), network.under([None, Treatment(), smaller])
    assert twin.filters == same.filters
    assert alone[0].filters == again.filters != twin.filters
    [whole] = train_together([SPEC], IMAGES)
    assert twin.summary["inactive"] == whole.curves["inactive_by_activation"][-1]
    assert twin.summary["test_error"] == whole.curves["test_error"][-1]
    gamma = torch.cat([block.norm.weight.detach().abs() for block in whole.net.blocks])
    np.testing.assert_allclose(twin.filters["gamma"], gamma.numpy(), rtol=1e-3)
    assert (network.epoch, twin.summary["start"]) == (1, 1)
    assert {len(twin.filters[name]) for name in ("alive", "treated", "died", "gamma", "selectivity", "size")} == {
        sum(twin.filters["layers"])
    }
    with pytest.raises(InputError, match="digest"):
        begun(replace(SPEC, digest="0" * 64), IMAGES)


def test_a_death_is_of_the_first_measured_epoch_of_the_silence_that_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = begun(replace(SPEC, epochs=7, measure_every=2), IMAGES)
    # At the epochs 2, 4, 6 and 7.
    seen = iter(
        [[True, True, False, False], [True, False, False, True], [True, True, False, False], [True, True, False, True]]
    )
    count = sum(network.layers)
    monkeypatch.setattr("fullscale.interventions.run.inactive", lambda activity: next(seen) + [False] * (count - 4))
    [twin] = network.under([None])
    assert twin.filters["died"][:4] == [2, 6, None, 7]
    assert twin.summary["inactive"] == 3 / count


def test_an_arm_that_diverges_ends_alone() -> None:
    found = begun(replace(SPEC, optimizer="sgd", coupling="l2"), IMAGES).under([None, Treatment(scale=1e30)])
    assert [result.status for result in found] == ["done", "diverged"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=7), st.integers(0, 2**31))
def test_the_lot_takes_a_quarter_of_each_layers_active_filters(alive: list[set[int]], seed: int) -> None:
    active = [sorted(some) for some in alive]
    found = chosen(active, seed)
    assert found == chosen(active, seed)
    for some, drawn in zip(active, found, strict=True):
        assert set(drawn) <= set(some)
        assert len(set(drawn)) == len(drawn) == (max(1, round(SHARE * len(some))) if some else 0)


def record(seed: int, arm: str, treated: Sequence[int | None], others: Sequence[int | None]) -> dict[str, Any]:
    """By the epochs of death of those treated and of those not, of 11 epochs, the first before the moment; one is dead at once."""
    died = [*treated, *others, 1]
    marks = {"alive": [1] * (len(died) - 1) + [0], "treated": [1] * len(treated) + [0] * (len(others) + 1)}
    return {"seed": seed, "arm": arm, "moment": 1, "epochs": 11, "layers": [len(died)], "died": died, **marks}


def test_effects_are_those_counted_by_hand_one_number_a_network() -> None:
    records = [
        record(4, NONE, [None, None, 6, 11], [3, None]),
        record(4, "scale 0.1", [2, None, 3, 6], [None, None]),
        record(3, NONE, [None] * 4, [None, None]),
        record(3, "scale 0.1", [11] * 4, [None, None]),
        record(9, "scale 0.1", [2] * 4, [2, 2]),  # without a twin
        record(8, NONE, [2] * 4, [2, 2]),
    ]
    assert effect(records, "scale 0.1").tolist() == [100.0, 25.0]
    assert effect(records, "scale 0.1", "siblings").tolist() == [0.0, -50.0]
    # Of seed 4 (9 + 0 + 8 + 5 - 5 - 0) of 40 epochs; of seed 3 none, since they died at the end.
    np.testing.assert_allclose(lost_life(records, "scale 0.1"), [0.0, 100 * 17 / 40])
    assert effect(records, "scale 10").tolist() == []
    columns = [
        r | {"size": [10.0 * k + r["seed"] * (r["arm"] != NONE) for k in range(len(r["died"]))]} for r in records
    ]
    # Of seed 4 one treated filter lives in both, of seed 3 none does.
    np.testing.assert_allclose(moved(columns, "scale 0.1", "size"), [np.nan, 4.0])
    with pytest.raises(InputError, match="of 'all'"):
        effect(records, "scale 0.1", "all")


def trial(sign: int) -> list[dict[str, Any]]:
    """Four networks in which every arm does what its claim says, or, at sign -1, the contrary."""
    kills = {"scale 0.1", "arrival 0.01", "arrival 0.1, mean kept", "arrival 0.1, nothing kept", "beta2 0.99"}
    moves = dict.fromkeys(ARMS, -8) | dict.fromkeys(kills, 8) | {NONE: 0, "scale 0.316": 0}
    found = []
    for seed in range(6):
        for arm in ARMS:
            # As little as theory has it, of what it says nothing without the other sign.
            move = (2 if sign > 0 else 8) if arm == "arrival 0.1" else moves[arm]
            dead = 20 + sign * move + (seed % 2 if move else 0)
            strayed = 10 + 8 * (sign < 0 and arm == "strength 0")
            found.append(record(seed, arm, [5] * dead + [None] * (40 - dead), [5] * strayed + [None] * (30 - strayed)))
    return found


def test_every_claim_can_come_out_either_way() -> None:
    own = find_claims(["S6 cause"])
    assert {claim.margin for claim in own} == {"before"}
    assert len(own) == 5 + 4 + 3 + 2 + 1
    yes, no = ({claim.id: judge(claim, trial(sign)) for claim in own} for sign in (1, -1))
    assert {id for id, found in yes.items() if found.verdict != "holds"} == set()
    assert {id for id, found in no.items() if found.verdict != "fails"} == set()
    assert "by Holm" in yes["S6 cause size"].estimate.interval
    assert yes["S6 cause size"].estimate.n == 6


def test_rows_that_are_stored_do_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(DIGITS, seeds=(1, 2), stages=((NONE, "scale 0.1", "beta2 0.99"),))
    whole = asked.Trial.spec
    monkeypatch.setattr(
        asked.Trial,
        "spec",
        lambda self, found, seed: replace(whole(self, found, seed), width=0.02, epochs=2, batch=478),
    )
    said: list[str] = []
    with Store(tmp_path / "rows.sqlite") as store:
        assert stored.conduct(replace(small, seeds=(1,), stages=(small.arms[:2],)), 0, store, None, said.append) == 2
        first = stored.records(store, small)
        assert stored.conduct(small, 0, store, None, said.append) == 4
        assert stored.conduct(small, 0, store, None, said.append) == 0
        assert stored.conduct(small, 1, store, None, said.append) == 0
        found = stored.records(store, small)
    assert said == [
        "digits, seed 1: none, scale 0.1", "digits, seed 1: beta2 0.99", "digits, seed 2: none, scale 0.1, beta2 0.99",
    ]  # fmt: skip
    assert [(r["seed"], r["arm"]) for r in found] == [(s, arm) for s in (1, 2) for arm in small.arms]
    assert found[:2] == first
    assert "start" in found[0]
    assert "start" not in found[1]
    assert len(effect(found, "scale 0.1")) == 2


@pytest.mark.parametrize("module", ["estimate", "run", "treated", "treatment"])
def test_the_examples_do_what_they_show(module: str) -> None:
    found = doctest.testmod(import_module(f"fullscale.interventions.{module}"))
    assert found.attempted >= 2
    assert not found.failed


def test_the_trials_are_those_of_the_protocol() -> None:
    page = (Path(__file__).parents[2] / "docs" / "interventions.md").read_text(encoding="utf-8")
    for arm in ARMS:
        assert f"`{arm}`" in page, arm
    for claim in find_claims(["S6 cause"]):
        assert "cifar" in claim.id or f"| {claim.id} |" in page, claim.id
    assert (DIGITS.seeds, CIFAR.seeds) == (tuple(range(8, 14)), (12, 13, 14))
    assert ARMS["scale 0.316"].treatment.scale ** 2 == pytest.approx(0.1)


def test_the_kept_rows_are_whole_and_their_lot_is_the_same_in_every_arm() -> None:
    found = stored.kept()
    assert set(claims.bearing()) == {claims.EXPERIMENTS[name] for name in found}
    for name, records in found.items():
        first = {r["seed"]: r for r in records if r["arm"] == NONE}
        assert sorted(first) == list(TRIALS[name].seeds)[: len(first)]
        for one in records:
            twin, size = first[one["seed"]], sum(one["layers"])
            assert (one["treated"], one["alive"]) == (twin["treated"], twin["alive"])
            assert {len(one[k]) for k in ("treated", "alive", "died", "gamma", "selectivity", "size")} == {size}
            assert 0.2 < sum(one["treated"]) / sum(one["alive"]) < 0.3
