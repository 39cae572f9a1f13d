"""The comparison of pruning criteria: what is run and stored, how a share without loss is read off, and the statements."""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import asdict, replace
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
from evidence.store import Store
from fullscale import pruning_claims, pruning_study
from fullscale.data import Images
from fullscale.feed import Resident
from fullscale.models import basicnet
from fullscale.pruning_study import Base, PruningStudy
from fullscale.train import train_together
from undertow import extras

BASES = (
    Base("adam", "adam", 1e-2, 5e-3, criteria=("l1", "random")),
    Base("slimming", "momentum", 3e-2, 5e-4, slimming=0.1, criteria=("l1",)),
)
SMALL = PruningStudy(width=1 / 32, steps=12, bases=BASES, seeds=(0, 1), shares=(0.4, 0.7), tuning_steps=5)


TASK = shades(32, side=4)


def test_a_run_fills_every_cell_that_was_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    with Store(tmp_path / "results.sqlite") as store:
        data = SMALL.run(TASK, store, lambda *line: said.append(line))
        assert said[-1][:2] == (4, 4)
        assert said[-1][2].startswith("slimming, seed 1: ")
        for training in ("train_together", "slim"):
            monkeypatch.setattr(pruning_study, training, None)
        xr.testing.assert_identical(SMALL.run(TASK, store, lambda *line: said.append(line)), data)
    assert said[-1] == (4, 4, "4 of 4 networks are stored already")
    assert dict(data.sizes) == {"training": 2, "criterion": 2, "share": 3, "seed": 2, "tuned": 2}
    assert (data.attrs["data"], data.attrs["epochs"]) == ("shades", 6)
    tried = data.test_error.notnull().all(("share", "seed", "tuned"))
    assert tried.values.tolist() == [[True, True], [True, False]]
    filters = sum(max(1, round(n / 32)) for n in (64, 128, 128, 256, 256, 512, 512))
    for share in (0.4, 0.7):
        np.testing.assert_allclose(data.reached.sel(training="adam", share=share), round(share * filters) / filters)
    assert (data.reached.sel(training="adam", share=0) == 0).all()
    costs = data.sel(training="adam")[["parameters", "multiply_adds"]]
    assert (costs.diff("share") < 0).all().to_array().all()
    # The removal of dead filters changes no prediction.
    whole = data.test_error.sel(criterion="l1", share=0, tuned="no", drop=True)
    np.testing.assert_array_equal(data.dead_error.sel(tuned="no"), whole)


def test_other_constants_are_other_rows() -> None:
    asked = [
        (SMALL, TASK, BASES[0]), (SMALL, TASK, BASES[1]), (SMALL, shades(33, side=4), BASES[0]),
        *((replace(SMALL, **other), TASK, BASES[0]) for other in ({"tuning_steps": 6}, {"shares": (0.5,)}, {"width": 0.5})),
    ]  # fmt: skip
    assert len({json.dumps(study._spec(images, base, 0, 6), sort_keys=True) for study, images, base in asked}) == 6


def test_a_network_that_diverges_is_a_row_without_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = pruning_study.train_together

    def broken(*asked: Any) -> Any:
        outcomes = trained(*asked)
        outcomes[1].net = None
        return outcomes

    monkeypatch.setattr(pruning_study, "train_together", broken)
    asked = PruningStudy(1 / 64, steps=4, bases=BASES[:1], seeds=(0, 1), shares=(0.5,), tuning_steps=1)
    with Store(tmp_path / "store") as store:
        data = asked.run(TASK, store, lambda *_: None)
        assert [row.status for row in store.rows("compare")] == ["done", "diverged"]
    assert data.test_error.isnull().all(("training", "criterion", "share", "tuned")).values.tolist() == [False, True]
    assert data.test_error.sel(seed=0).notnull().all()
    with pytest.raises(InputError, match="every network of the comparison diverged"):
        pruning_claims.by_criterion([comparison.row("adam", 0, comparison.FREE, 0.5, "diverged")], "digits")


def test_fine_tuning_is_seeded_and_takes_the_steps_asked_for() -> None:
    first, ends = basicnet(1 / 32, 1, 2), []
    for seed, steps in ((0, 5), (0, 5), (1, 5), (0, 0)):
        net = copy.deepcopy(first)
        pruning_study.fine_tune(net, Resident(TASK), BASES[0], 16, steps, seed)
        assert not net.training
        assert int(net.blocks[0].norm.num_batches_tracked) == steps
        ends.append(torch.nn.utils.parameters_to_vector(net.parameters()))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
    assert torch.equal(ends[3], torch.nn.utils.parameters_to_vector(first.parameters()))


def test_slimming_is_training_with_a_penalty_that_shrinks_scales() -> None:
    def slimmed(strength: float, *seeds: int) -> list[Any]:
        base = Base("slimming", "momentum", 1e-2, 5e-4, slimming=strength)
        return pruning_study.slim(Resident(TASK), base, seeds, 1 / 32, 16, 5)

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
            found = pruning_claims.affordable(data, "adam", criterion, tuned)
            np.testing.assert_allclose(found[0], free + moved + pruning_claims.PRICE / comparison.SLOPE)
            assert np.all(np.diff(found) >= 0)
            np.testing.assert_allclose(found, found[0], atol=0.1)
    free = comparison.comparison({"l1": 1.0})
    low = xr.full_like(data.dead_error.sel(training="adam", tuned="no"), comparison.OWN / 2)
    assert pruning_claims.affordable(free, "adam", "l1", "no").tolist() == [0.9] * 3
    assert pruning_claims.affordable(free, "adam", "l1", "no", low).tolist() == [0.0] * 3
    assert np.isnan(pruning_claims.affordable(free, "slimming", "l1", "no")).all()


def verdicts(data: xr.Dataset) -> dict[str, str]:
    return {finding.claim.id: finding.verdict for finding in pruning_claims.findings(data)}


def test_statements_follow_the_data() -> None:
    turned = comparison.comparison({"random": 0.7, "gamma": 0.2, "l1": 0.1}, {"adam": 0.3})
    one, other = verdicts(comparison.comparison()), verdicts(turned)
    s12 = {"S12 selective random adam", "S12 selective gamma adam", "S12 selective_layer random momentum"}
    assert {(one[claim], other[claim]) for claim in s12} == {("holds", "fails")}
    # 50% silent, where L1 can remove 71% and gamma 61%.
    assert {(one[claim], other[claim]) for claim in ("S10 l1", "S10 gamma")} == {("fails", "holds")}


def test_the_outcome_is_plain_json_and_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = comparison.comparison()
    text = pruning_claims.as_text(data)
    (tmp_path / "compared.json").write_text(text)
    monkeypatch.setattr(pruning_claims.resources, "files", lambda _: tmp_path)
    xr.testing.assert_equal(pruning_claims.kept(), data)
    assert pruning_claims.kept().attrs["bases"]["slimming"]["slimming"] == 1e-3
    [row] = [r for r in json.loads(text)["table"] if (r["training"], r["criterion"]) == ("adam", "dead")]
    assert row["share"] == comparison.DEAD["adam"]
    assert row["error"] == 0


def test_what_is_kept_says_what_its_data_say() -> None:
    stored = json.loads(resources.files("fullscale").joinpath("compared.json").read_text())
    data = pruning_claims.kept()
    assert {f["id"]: f["verdict"] for f in stored["findings"]} == verdicts(data)
    assert data.attrs["bases"] == {b.name: json.loads(json.dumps(asdict(b))) for b in pruning_study.BASES}
    assert (data.attrs["tuning_steps"], data.sizes["seed"]) == (PruningStudy.tuning_steps, len(PruningStudy.seeds))
    assert {"python", "torch", "torch-pruning"} <= stored["versions"].keys()


def test_a_comparison_that_was_run_again_takes_the_place_of_the_kept_one(tmp_path: Path) -> None:
    data = pruning_claims.kept()
    pairs = itertools.product(pruning_study.BASES, PruningStudy.seeds)
    *most, last = (PruningStudy()._spec(TASK, base, seed, data.attrs["epochs"]) for base, seed in pairs)
    with Store(tmp_path / "results.sqlite") as store:
        for one in most:
            store.put(pruning_claims.KIND, one, summary={"points": []}, curves={})
        xr.testing.assert_identical(pruning_claims.stored(store, TASK.digest), data)
        store.put(pruning_claims.KIND, last, summary={"points": []}, curves={})
        again = pruning_claims.stored(store, TASK.digest)
        assert (again.attrs, again.sizes) == (data.attrs, data.sizes)
        assert again.test_error.isnull().all()
        xr.testing.assert_identical(pruning_claims.stored(store, "of other images"), data)


def test_the_command_writes_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(self: PruningStudy, images: Images, store: Store, notify: pruning_study.Notify) -> xr.Dataset:
        assert self == PruningStudy(steps=7)
        notify(1, 1, f"{images.name}, {len(images.classes)} classes")
        return comparison.comparison()

    monkeypatch.setattr(PruningStudy, "run", quick)
    said = console.run("compare", "--out", tmp_path / "o", "--steps", 7, "--classes", "3,8", "--size", 4)
    assert said.status == 0, said.err
    assert "digits, 2 classes, 4 x 4, 2 classes" in said.err
    assert "adam      dead             dead, removed exactly   50.0%" in said.out
    assert "fails      S10 l1: " in said.out
    assert (tmp_path / "o" / "figures" / "pruning.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "o" / "compared.json").read_text())["price"] == pruning_claims.PRICE


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(flags: str, *words: str) -> None:
        console.refused(console.run("compare", "--out", tmp_path / "o", *flags.split()), *words)

    refused("--data nowhere", "nowhere")
    refused("--steps many", "--steps", "whole number")
    refused("--steps 0", "steps 0", "positive whole number")
    refused("--classes 3 eleven", "eleven")
    refused("--share 1", "--share")
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "torch_pruning" else True)
    refused("", "torch_pruning", "undertow[criteria]")
    assert not (tmp_path / "o").exists()
