"""The comparison of pruning criteria: what is run and stored, how a share without loss is read off, and the statements."""

from __future__ import annotations

import json
from dataclasses import asdict
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
from fullscale.data import Images, Split
from fullscale.feed import Resident
from fullscale.models import basicnet
from fullscale.pruning_study import Base, PruningStudy
from fullscale.train import train
from undertow import extras
from undertow.commands import compare as compare_command
from undertow.commands.arguments import Parser

BASES = (
    Base("adam", "adam", 1e-2, 5e-3, criteria=("l1", "random")),
    Base("slimming", "momentum", 3e-2, 5e-4, slimming=0.1, criteria=("l1",)),
)
SMALL = PruningStudy(width=1 / 32, steps=12, bases=BASES, seeds=(0, 1), shares=(0.4, 0.7), tuning_steps=5)


TASK = shades(32, side=4)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.Dataset, list[str]]:
    path, said = tmp_path_factory.mktemp("compare") / "results.sqlite", []
    with Store(path) as store:
        data = SMALL.run(TASK, store, lambda done, total, text: said.append(f"{done} of {total}: {text}"))
    return path, data, said


def test_a_run_fills_every_cell_that_was_asked_for(stored: tuple[Path, xr.Dataset, list[str]]) -> None:
    _, data, said = stored
    assert dict(data.sizes) == {"training": 2, "criterion": 2, "share": 3, "seed": 2, "tuned": 2}
    assert data.attrs["data"] == "shades"
    assert data.attrs["epochs"] == 6
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
    assert said[-1].startswith("4 of 4: slimming, seed 1: ")


def test_what_is_stored_is_not_run_again(
    stored: tuple[Path, xr.Dataset, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data, _ = stored
    said: list[tuple[int, int, str]] = []

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(pruning_study, "train", never)
    monkeypatch.setattr(pruning_study, "slim", never)
    with Store(path) as store:
        again = SMALL.run(TASK, store, lambda *line: said.append(line))
    xr.testing.assert_identical(again, data)
    assert said == [(4, 4, "4 of 4 networks are stored already")]


def test_other_constants_are_other_rows(stored: tuple[Path, xr.Dataset, list[str]]) -> None:
    specs = {json.dumps(SMALL._spec(TASK, BASES[0], 0, 6), sort_keys=True)}
    for other in (
        PruningStudy(SMALL.width, tuning_steps=6),
        PruningStudy(SMALL.width, shares=(0.5,)),
        PruningStudy(width=0.5),
    ):
        specs.add(json.dumps(other._spec(TASK, BASES[0], 0, 6), sort_keys=True))
    specs.add(json.dumps(SMALL._spec(TASK, BASES[1], 0, 6), sort_keys=True))
    specs.add(json.dumps(SMALL._spec(shades(33, side=4), BASES[0], 0, 6), sort_keys=True))
    assert len(specs) == 6


def test_a_network_that_diverges_is_a_row_without_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = pruning_study.train

    def broken(*asked: Any) -> Any:
        outcomes = trained(*asked)
        outcomes[1].net = None
        return outcomes

    monkeypatch.setattr(pruning_study, "train", broken)
    asked = PruningStudy(1 / 64, steps=4, bases=BASES[:1], seeds=(0, 1), shares=(0.5,), tuning_steps=1)
    with Store(tmp_path / "store") as store:
        data = asked.run(TASK, store, lambda *_: None)
        assert [row.status for row in store.rows("compare")] == ["done", "diverged"]
    assert data.test_error.sel(seed=0).notnull().all()
    assert data.test_error.sel(seed=1).isnull().all()


def test_fine_tuning_is_seeded_and_takes_the_steps_asked_for() -> None:
    torch.manual_seed(0)
    first = basicnet(1 / 32, 1, 2)
    start = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    ends = []
    for seed, steps in ((0, 5), (0, 5), (1, 5), (0, 0)):
        net = basicnet(1 / 32, 1, 2)
        net.load_state_dict(start)
        pruning_study.fine_tune(net, Resident(TASK), BASES[0], 16, steps, seed)
        assert not net.training
        assert int(net.blocks[0].norm.num_batches_tracked) == steps
        ends.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
    assert torch.equal(ends[3], torch.cat([start[name].flatten() for name, _ in first.named_parameters()]))


def test_slimming_shrinks_scales_and_networks_are_those_of_their_seeds() -> None:

    def scales(strength: float, seeds: tuple[int, ...]) -> list[float]:
        base = Base("slimming", "momentum", 1e-2, 0.0, slimming=strength)
        nets = pruning_study.slim(Resident(TASK), base, seeds, 1 / 32, 16, 12)
        return [float(sum(b.norm.weight.detach().abs().sum() for b in net.blocks)) for net in nets]

    without, weak, strong = (scales(strength, (3,))[0] for strength in (0.0, 0.05, 0.2))
    assert without > weak > strong
    np.testing.assert_allclose(scales(0.05, (2, 3))[1], weak, rtol=1e-4)


def test_slimming_without_its_penalty_is_training() -> None:
    base = Base("plain", "momentum", 1e-2, 5e-4)
    asked = spec(TASK, width=1 / 32, optimizer="momentum", strength=5e-4, batch=16, epochs=5, seeds=(0, 1))
    nets = pruning_study.slim(Resident(TASK), base, (0, 1), 1 / 32, 16, 5)
    for net, outcome in zip(nets, train(asked, TASK), strict=True):
        for name, tensor in outcome.net.state_dict().items():
            assert torch.equal(net.state_dict()[name], tensor), name


def test_share_without_loss_is_where_the_line_crosses() -> None:
    data = comparison.comparison()
    for criterion, free in comparison.FREE.items():
        # Between two shares the error is a straight line, but for the piece in which it begins to rise.
        for tuned, moved in (("no", 0.0), ("yes", 0.1)):
            found = pruning_claims.affordable(data, "adam", criterion, tuned)
            np.testing.assert_allclose(found[0], free + moved + pruning_claims.PRICE / comparison.SLOPE)
            assert np.all(np.diff(found) >= 0)
            np.testing.assert_allclose(found, found[0], atol=0.1)


def test_share_without_loss_at_its_ends() -> None:
    data = comparison.comparison({"l1": 1.0})
    assert pruning_claims.affordable(data, "adam", "l1", "no").tolist() == [0.9] * 3
    low = xr.full_like(data.dead_error.sel(training="adam", tuned="no"), comparison.OWN / 2)
    assert pruning_claims.affordable(data, "adam", "l1", "no", low).tolist() == [0.0] * 3
    assert np.isnan(pruning_claims.affordable(data, "slimming", "l1", "no")).all()


def verdicts(data: xr.Dataset) -> dict[str, str]:
    return {finding.claim.id: finding.verdict for finding in pruning_claims.findings(data)}


def test_statements_follow_the_data() -> None:
    found = verdicts(comparison.comparison())
    assert found["S12 selective random adam"] == "holds"
    assert found["S12 selective gamma adam"] == "holds"
    assert found["S12 selective_layer random momentum"] == "holds"
    # 50% silent, where L1 can remove 71% and gamma 61%.
    assert found["S10 l1"] == "fails"
    assert found["S10 gamma"] == "fails"
    turned = verdicts(comparison.comparison({"random": 0.7, "gamma": 0.2, "l1": 0.1}, {"adam": 0.3}))
    assert turned["S12 selective random adam"] == "fails"
    assert turned["S12 selective gamma adam"] == "fails"
    assert turned["S12 selective_layer random momentum"] == "fails"
    assert turned["S10 l1"] == "holds"
    assert turned["S10 gamma"] == "holds"


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
    made = {base.name: json.loads(json.dumps(asdict(base))) for base in pruning_study.BASES}
    assert data.attrs["bases"] == made
    assert data.attrs["tuning_steps"] == PruningStudy.tuning_steps
    assert data.sizes["seed"] == len(PruningStudy.seeds)
    assert {"python", "torch", "torch-pruning"} <= stored["versions"].keys()


def test_a_comparison_that_was_run_again_takes_the_place_of_the_kept_one(tmp_path: Path) -> None:
    data, draws = pruning_claims.kept(), np.random.default_rng(0)
    split = Split(draws.integers(0, 256, (8, 1, 4, 4)).astype(np.uint8), np.arange(8, dtype=np.int64) % 2)
    images = Images("noise", ("a", "b"), split, split)
    *most, last = (
        PruningStudy()._spec(images, base, seed, data.attrs["epochs"])
        for base in pruning_study.BASES
        for seed in PruningStudy.seeds
    )
    with Store(tmp_path / "results.sqlite") as store:
        for spec in most:
            store.put(pruning_claims.KIND, spec, summary={"points": []}, curves={})
        xr.testing.assert_identical(pruning_claims.stored(store, images.digest), data)
        store.put(pruning_claims.KIND, last, summary={"points": []}, curves={})
        again = pruning_claims.stored(store, images.digest)
        assert again.attrs == data.attrs
        assert again.sizes == data.sizes
        assert again.test_error.isnull().all()
        xr.testing.assert_identical(pruning_claims.stored(store, "of other images"), data)


def test_nothing_is_left_where_all_diverged() -> None:
    with pytest.raises(InputError, match="every network of the comparison diverged"):
        pruning_claims.by_criterion([comparison.row("adam", 0, comparison.FREE, 0.5, "diverged")], "digits")


def test_the_command_writes_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PruningStudy] = []

    def quick(self: PruningStudy, images: Images, store: Store, notify: pruning_study.Notify) -> xr.Dataset:
        asked.append(self)
        notify(1, 1, f"{images.name}, {len(images.classes)} classes")
        return comparison.comparison()

    monkeypatch.setattr(PruningStudy, "run", quick)
    said = console.run("compare", "--out", tmp_path / "o", "--steps", 7, "--classes", 3, 8)
    assert said.status == 0, said.err
    assert asked == [PruningStudy(steps=7)]
    assert "digits, 2 classes" in said.err
    assert "adam      dead             dead, removed exactly   50.0%" in said.out
    assert "fails      S10 l1: " in said.out
    assert (tmp_path / "o" / "figures" / "pruning.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "o" / "compared.json").read_text())["price"] == pruning_claims.PRICE


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--data", "nowhere"), ("nowhere",)),
        (("--steps", "many"), ("--steps", "whole number")),
        (("--steps", "0"), ("steps 0", "positive whole number")),
        (("--classes", "3", "eleven"), ("eleven",)),
        (("--share", "1"), ("--share",)),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, flags: tuple[str, ...], words: tuple[str, ...]) -> None:
    console.refused(console.run("compare", "--out", tmp_path / "o", *flags), *words)


def test_without_torch_pruning_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "torch_pruning" else True)
    console.refused(console.run("compare", "--out", tmp_path / "o"), "torch_pruning", "undertow[criteria]")
    assert not (tmp_path / "o").exists()


def test_the_flags_have_defaults() -> None:
    parser = Parser()
    compare_command.add(parser)
    asked = parser.parse_args([])
    assert (asked.data, asked.classes, asked.steps, str(asked.out)) == ("digits", [], 5000, "out")
