"""The comparison of pruning criteria: what is run and stored, how a share without loss is read off, and the statements."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import comparison
import console
import numpy as np
import pytest
import torch
import xarray as xr
from shades import shades, spec

from dynamics.errors import InputError
from evidence.registry import CLAIMS
from evidence.store import Row, Store
from fullscale import pruning_claims, pruning_data, pruning_study, pruning_work
from fullscale.data import Images
from fullscale.feed import Resident
from fullscale.models import basicnet
from fullscale.pruning_study import COMPARISONS, DIGITS, PAPER, PAPER_RATES, Base, PruningStudy
from fullscale.studies.runs import Source
from fullscale.train import train_together
from undertow import extras

BASES = (
    Base("adam", "adam", 1e-2, 5e-3, criteria=("l1", "random")),
    Base("slimming", "momentum", 3e-2, 5e-4, slimming=0.1, criteria=("l1",)),
)
SMALL = PruningStudy("small", BASES, width=1 / 32, steps=12, seeds=(0, 1), shares=(0.4, 0.7), tuning_steps=5)
TASK = shades(32, side=4)


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever place a worker reads images from, they are these."""
    monkeypatch.setattr(pruning_work, "images_at", lambda *_: TASK)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "results.sqlite") as made:
        yield made


def done(study: PruningStudy, store: Store, notify: Any = lambda *_: None, images: Images = TASK) -> list[Row]:
    with ThreadPoolExecutor(1) as pool:
        return study.run(images, Source("shades"), store, pool, notify)


def test_a_run_fills_every_cell_that_was_asked_for_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    rows = done(SMALL, store, lambda *line: said.append(line))
    assert said[-1][:2] == (4, 4)
    assert said[-1][2].startswith("slimming, seed 1: ")
    monkeypatch.setattr(pruning_work, "trained", None)
    assert done(SMALL, store, lambda *line: said.append(line)) == rows
    assert said[-1] == (4, 4, "4 of 4 runs are stored already")
    data = pruning_data.by_criterion(rows)
    assert dict(data.sizes) == {"training": 2, "criterion": 2, "share": 3, "seed": 2, "tuned": 2}
    assert (data.attrs["data"], data.attrs["bases"]["adam"]["epochs"]) == ("shades", 6)
    tried = data.test_error.notnull().all(("share", "seed", "tuned"))
    assert tried.values.tolist() == [[True, True], [True, False]]
    filters = sum(max(1, round(n / 32)) for n in (64, 128, 128, 256, 256, 512, 512))
    for share in (0.4, 0.7):
        np.testing.assert_allclose(data.reached.sel(training="adam", share=share), round(share * filters) / filters)
    assert (data.reached.sel(training="adam", share=0) == 0).all()
    costs = data.sel(training="adam")[["parameters", "multiply_adds"]]
    assert (costs.diff("share") < 0).all().to_array().all()
    # The removal of dead filters changes no prediction.
    np.testing.assert_array_equal(data.dead_error.sel(tuned="no"), data.whole_error.sel(tuned="no"))
    np.testing.assert_array_equal(data.test_error.sel(criterion="l1", share=0), data.whole_error)


def test_a_network_of_its_own_ends_as_those_of_a_group_and_learns_from_no_held_out_image(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = replace(SMALL, bases=BASES[1:], held_out=0.25, tuning_steps=0)
    whole = pruning_data.by_criterion(done(study, store))
    assert whole.attrs["bases"]["slimming"]["epochs"] == 12 // (int(0.75 * len(TASK.train.labels)) // 16)
    monkeypatch.setattr(pruning_study, "TOGETHER", 0)
    with Store(store.path.with_name("alone.sqlite")) as other:
        alone = pruning_data.by_criterion(done(study, other))
    xr.testing.assert_allclose(whole, alone)
    kept, apart = pruning_study.parted(TASK, 0.25)
    seen = [image.tobytes() for image in (*kept.train.images, *apart.images)]
    assert sorted(seen) == sorted(image.tobytes() for image in TASK.train.images)
    assert kept.test is TASK.test
    # Errors are whole numbers of images: of those held out, and of those for the test.
    for error, part in ((whole.whole_held_out, apart), (whole.whole_error, TASK.test)):
        count = len(part.labels) * error.values
        np.testing.assert_allclose(count, count.round(), atol=1e-9)


def test_every_training_takes_the_whole_budget(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, int] = {}
    loop = pruning_work.epoch_by_epoch

    def counted(
        net: Any, optimizer: Any, feeds: Any, orders: Any, rates: Any, total: int, *rest: Any, **more: Any
    ) -> Any:
        taken["training" if len(orders) == 2 else "tuning"] = total
        return loop(net, optimizer, feeds, orders, rates, total, *rest, **more)

    monkeypatch.setattr(pruning_work, "epoch_by_epoch", counted)
    per_epoch = len(TASK.train.labels) // 16
    for base, tuning in ((replace(BASES[0], criteria=()), 0), (BASES[0], 3 * per_epoch)):
        taken.clear()
        done(replace(SMALL, bases=(base,), steps=4 * per_epoch, tuning_steps=3 * per_epoch), store)
        assert (sum(taken.values()), taken["tuning"]) == (7 * per_epoch, tuning)
    for study in (PAPER, PAPER_RATES):
        each = 45_000 // study.batch
        budgets = {study.epochs(base, each) * each + study.tuning(base) for base in study.bases}
        assert budgets == {study.steps + study.tuning_steps}
    assert PAPER.epochs(PAPER.bases[0], 1125) == 12


def test_other_constants_are_other_rows() -> None:
    asked = [
        (SMALL, "one", BASES[0]), (SMALL, "one", BASES[1]), (SMALL, "other", BASES[0]), *(
            (replace(SMALL, **other), "one", BASES[0])
            for other in ({"tuning_steps": 6}, {"shares": (0.5,)}, {"width": 0.5}, {"model": "vgg16"}, {"held_out": 0.1})
        ),
    ]  # fmt: skip
    assert len({json.dumps(study.spec(base, 0, digest, 6), sort_keys=True) for study, digest, base in asked}) == 8


def test_a_network_that_diverges_is_a_row_without_numbers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = pruning_work.trained
    monkeypatch.setattr(pruning_work, "trained", lambda *asked: [trained(*asked)[0], None])
    rows = done(replace(SMALL, bases=BASES[:1], steps=4, shares=(0.5,), tuning_steps=1), store)
    assert [row.status for row in rows] == ["done", "diverged"]
    data = pruning_data.by_criterion(rows)
    assert data.test_error.isnull().all(("training", "criterion", "share", "tuned")).values.tolist() == [False, True]
    assert data.test_error.sel(seed=0).notnull().all()
    with pytest.raises(InputError, match="every network of the comparison diverged"):
        pruning_data.by_criterion([comparison.row("adam", 0, comparison.FREE, 0.5, "diverged")])


def test_a_rate_that_is_far_too_high_ends_in_no_network() -> None:
    wild = Base("wild", "sgd", 1e9, 0.0)
    feed = Resident(TASK)
    assert pruning_work.trained(SMALL, wild, [0, 1], feed, together=True) == [None, None]
    assert pruning_work.trained(SMALL, wild, [0], feed, together=False) == [None]


def test_fine_tuning_is_seeded_and_takes_the_steps_asked_for() -> None:
    first, ends = basicnet(1 / 32, 1, 2), []
    for seed, steps in ((0, 5), (0, 5), (1, 5), (0, 0)):
        net = copy.deepcopy(first)
        pruning_work.fine_tune(net, Resident(TASK), BASES[0], 16, steps, seed)
        assert not net.training
        assert int(net.blocks[0].norm.num_batches_tracked) == steps
        ends.append(torch.nn.utils.parameters_to_vector(net.parameters()))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
    assert torch.equal(ends[3], torch.nn.utils.parameters_to_vector(first.parameters()))


def test_slimming_is_training_with_a_penalty_that_shrinks_scales() -> None:
    def slimmed(strength: float, *seeds: int) -> list[Any]:
        base = Base("slimming", "momentum", 1e-2, 5e-4, slimming=strength)
        study = replace(SMALL, steps=5 * (len(TASK.train.labels) // 16))
        return list(pruning_work.trained(study, base, seeds, Resident(TASK), together=True))

    asked = spec(TASK, width=1 / 32, optimizer="momentum", strength=5e-4, batch=16, epochs=5)
    without, weak, strong = (slimmed(strength, 0, 1) for strength in (0.0, 0.1, 0.5))
    for net, outcome in zip(without, train_together([asked, replace(asked, seed=1)], TASK), strict=True):
        assert all(torch.equal(net.state_dict()[name], x) for name, x in outcome.net.state_dict().items())
    for nets in zip(without, weak, strong, strict=True):
        sizes = [sum(float(b.norm.weight.detach().abs().sum()) for b in net.blocks) for net in nets]
        assert sizes == sorted(sizes, reverse=True)
    torch.testing.assert_close(slimmed(0.1, 1)[0].state_dict(), weak[1].state_dict(), rtol=1e-4, atol=1e-5)


def test_share_without_loss_is_where_the_line_crosses_or_at_an_end() -> None:
    data = comparison.comparison()
    for criterion, free in comparison.FREE.items():
        # Between two shares the error is a straight line, but for the piece in which it begins to rise.
        for tuned, moved in (("no", 0.0), ("yes", 0.1)):
            found = pruning_data.affordable(data, "adam", criterion, tuned)
            np.testing.assert_allclose(found[0], free + moved + pruning_data.PRICE / comparison.SLOPE)
            assert np.all(np.diff(found) >= 0)
            np.testing.assert_allclose(found, found[0], atol=0.1)
    free = comparison.comparison({"l1": 1.0})
    low = xr.full_like(data.dead_error.sel(training="adam", tuned="no"), comparison.OWN / 2)
    assert pruning_data.affordable(free, "adam", "l1", "no").tolist() == [0.9] * 3
    assert pruning_data.affordable(free, "adam", "l1", "no", low).tolist() == [0.0] * 3
    assert np.isnan(pruning_data.affordable(free, "slimming", "l1", "no")).all()


def verdicts(data: xr.Dataset, name: str = "digits") -> dict[str, str]:
    return {finding.claim.id: finding.verdict for finding in pruning_claims.findings(data, name)}


def test_statements_follow_the_data() -> None:
    turned = comparison.comparison({"random": 0.7, "gamma": 0.2, "l1": 0.1}, {"adam": 0.3})
    one, other = verdicts(comparison.comparison()), verdicts(turned)
    s12 = {"S12 selective random adam", "S12 selective gamma adam", "S12 selective_layer random momentum"}
    assert {(one[claim], other[claim]) for claim in s12} == {("holds", "fails")}
    # 50% silent, where L1 can remove 71% and gamma 61%.
    assert {(one[claim], other[claim]) for claim in ("S10 l1", "S10 gamma")} == {("fails", "holds")}


def at_one_error(**asked: Any) -> tuple[str, str]:
    found = verdicts(pruning_data.by_criterion(comparison.at_one_error(**asked)), PAPER.name)
    assert list(found) == ["S10 cifar l1", "S10 cifar slimming"]
    return found["S10 cifar l1"], found["S10 cifar slimming"]


def test_at_one_error_dead_filters_count_against_what_each_method_removes() -> None:
    # At 26% at most: L1 norms may cost a point, from 25%, and abs(gamma), from 26%, none.
    data = pruning_data.by_criterion(comparison.at_one_error({"l1": 0.3, "gamma": 0.4}))
    samples = {name: CLAIMS[f"S10 cifar {name}"].estimate(data).samples for name in ("l1", "slimming")}
    # Of seed 2, 50.4% are silent; by L1 norms the error rises from 40% on, in a straight line to 9.8 points at 50%.
    np.testing.assert_allclose(samples["l1"][0], 50.4 - (40 + 10 / 9.8))
    np.testing.assert_allclose(samples["slimming"], [0.4, 0.6, 0.8])
    assert at_one_error(free={"l1": 0.3, "gamma": 0.4}) == ("holds", "holds")
    assert at_one_error(free={"l1": 0.42, "gamma": 0.2}) == ("fails", "fails")
    assert at_one_error(free={"l1": 0.7, "gamma": 0.8}) == ("fails", "fails")
    # What is silenced at a higher error does not count, nor does what a network with one is cut to.
    assert at_one_error(free={"l1": 0.3, "gamma": 0.4}, whole={"adam": 0.27}) == ("fails", "fails")
    assert at_one_error(free={"l1": 0.3, "gamma": 0.4}, whole={"slimming": 0.28}) == ("holds", "fails")
    # Without one of its networks nothing is decided.
    for training, decided in (("slimming", True), ("momentum", False), ("adam", False)):
        found = at_one_error(free={"l1": 0.3, "gamma": 0.4}, lost=(training,))
        assert found == ("holds" if decided else "undecided", "undecided")


def test_a_rate_is_chosen_by_the_lowest_held_out_error() -> None:
    def row(name: str, held_out: float, status: str = "done") -> Row:
        made = comparison.row(name, 0, {}, 0.1, status, criteria=())
        for point in made.summary.get("points", []):
            point |= {"held_out": [held_out] * 2, "error": [1 - held_out] * 2}
        return made

    rows = [row("adam 0.1", 0.4), row("adam 0.2", 0.3), row("momentum 1", 0.9), row("momentum 2", 0.1, "diverged")]
    assert sorted(pruning_data.chosen(pruning_data.by_criterion(rows))) == ["adam 0.2", "momentum 1"]
    assert pruning_data.chosen(comparison.comparison()) == []
    assert json.loads(pruning_claims.as_text(rows, PAPER_RATES.name))["table"] == []


def test_the_outcome_is_plain_json_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Store
) -> None:
    rows = comparison.rows()
    rows[0].summary["points"][2]["error"][0] = float("nan")
    data = pruning_data.by_criterion(rows)
    (tmp_path / "compared.json").write_text(pruning_claims.as_text(rows))
    monkeypatch.setattr(pruning_data.resources, "files", lambda _: tmp_path)
    again = pruning_data.by_criterion(pruning_data.kept_rows())
    xr.testing.assert_equal(again, data)
    assert again.attrs == json.loads(json.dumps(data.attrs))
    assert pruning_data.kept_rows(PAPER.name) == []
    assert pruning_claims.bearing(store).keys() == {"compare"}
    [row] = [
        r for r in json.loads((tmp_path / "compared.json").read_text())["table"]
        if (r["training"], r["criterion"]) == ("adam", "dead")
    ]  # fmt: skip
    assert row["share"] == comparison.DEAD["adam"]
    assert row["error"] == 0


@pytest.mark.parametrize("study", COMPARISONS.values(), ids=COMPARISONS)
def test_what_is_kept_says_what_its_rows_say(study: PruningStudy) -> None:
    rows = pruning_data.kept_rows(study.name)
    if not rows:
        pytest.skip("not run yet")
    each = (45_000 if study.held_out else 1437) // study.batch
    pairs = [(base, seed) for base in study.bases for seed in study.seeds]
    asked = [study.spec(base, seed, rows[0].spec["digest"], each) for base, seed in pairs]
    assert [row.spec for row in rows] == json.loads(json.dumps(asked))
    stored = json.loads(resources.files("fullscale").joinpath(pruning_data.KEPT[study.name]).read_text())
    found = verdicts(pruning_data.by_criterion(rows), study.name)
    assert {f["id"]: f["verdict"] for f in stored["findings"]} == found
    assert {"python", "torch", "torch-pruning"} <= stored["versions"].keys()


def test_the_study_paper_trains_as_its_grid_has_chosen() -> None:
    adam, momentum, slimming = PAPER.bases
    assert {base.lr for base in PAPER_RATES.bases if base.slimming} == {momentum.lr} == {slimming.lr}
    rows = pruning_data.kept_rows(PAPER_RATES.name)
    if not rows:
        pytest.skip("not run yet")
    names = {f"adam {adam.lr:g}", f"momentum {momentum.lr:g}", f"slimming {slimming.slimming:g}"}
    assert set(pruning_data.chosen(pruning_data.by_criterion(rows))) == names


def test_a_comparison_that_was_run_again_takes_the_place_of_the_kept_one(store: Store) -> None:
    *most, last = kept = pruning_data.kept_rows()
    for row in most:
        store.put(row.kind, row.spec, summary=row.summary | {"again": True}, curves={})
    assert pruning_data.stored(store) == kept
    store.put(last.kind, last.spec, summary=last.summary | {"again": True}, curves={})
    assert all(row.summary["again"] for row in pruning_data.stored(store))


def test_the_command_writes_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(self: PruningStudy, images: Images, source: Source, store: Store, pool: Any, notify: Any) -> list[Row]:
        assert self == replace(DIGITS, steps=7) if self.name == "digits" else self == PAPER
        assert source == Source("digits", ("3", "8"), 4)
        notify(1, 1, f"{images.name}, {len(images.classes)} classes")
        return comparison.rows() if self.name == "digits" else comparison.at_one_error()

    monkeypatch.setattr(PruningStudy, "run", quick)
    out = tmp_path / "o"
    said = console.run("compare", "--out", out, "--steps", 7, "--classes", "3,8", "--size", 4)
    assert said.status == 0, said.err
    assert "digits, 2 classes, 4 x 4, 2 classes" in said.err
    assert "adam      dead             dead, removed exactly   50.0%" in said.out
    assert "fails      S10 l1: " in said.out
    assert (out / "figures" / "pruning.png").stat().st_size > 10_000
    assert json.loads((out / "compared.json").read_text())["price"] == pruning_data.PRICE
    paper = console.run("compare", PAPER.name, "--data", "digits", "--out", out, "--classes", "3,8", "--size", 4)
    assert "S10 cifar l1: " in paper.out
    assert "momentum       test error 25.00%, dead filters 0.0%, n = 3" in paper.out
    assert (out / "figures" / "pruning_vgg16.png").exists()
    assert len(json.loads((out / "paper-6-pruning.json").read_text())["rows"]) == 9


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(flags: str, *words: str) -> None:
        console.refused(console.run("compare", "--out", tmp_path / "o", *flags.split()), *words)

    refused("--data nowhere", "nowhere")
    refused("--steps many", "--steps", "whole number")
    refused("--steps 0", "steps 0", "positive whole number")
    refused("--workers 0", "--workers 0", "whole number")
    refused("--classes 3 eleven", "eleven")
    refused("--share 1", "--share")
    refused("nothing", "'nothing'", "digits, paper-6-rates, paper-6-pruning")
    refused(PAPER.name, PAPER.name, "--data")
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "torch_pruning" else True)
    refused("", "torch_pruning", "undertow[criteria]")
    assert not (tmp_path / "o").exists()
    with Store(tmp_path / "store") as store, pytest.raises(InputError, match="batch 16: must be at most 8"):
        done(SMALL, store, images=shades(8, side=4))
