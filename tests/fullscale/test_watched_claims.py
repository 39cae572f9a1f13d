"""The claims on watched runs: verdicts follow the data, networks are the samples, and the kept rows are those of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from docs.keep import keep
from evidence.claim import Finding, judge
from evidence.registry import CLAIMS, find_claims
from evidence.store import Store, record
from fullscale.studies import asked
from fullscale.studies.images import keep as keep_images
from fullscale.studies.runs import Found
from fullscale.studies.standing import of_images, standing
from fullscale.watched import agreement
from fullscale.watched import claims as module
from fullscale.watched.claims import QUESTIONS, over_networks
from fullscale.watched.estimate import SIGNS

EPOCHS = [1, 3, 10]
CLAIMED = {claim.id: claim for claim in find_claims(experiments=["watched"])}


def network(seed: int, says_so: bool) -> dict[str, Any]:
    """What all the questions hold of, or, turned round, none: high selectivity goes with a large share and with death, a small
    scale even more so."""
    draws = np.random.default_rng(seed)
    place = np.arange(20) / 20
    sense = 1 if says_so else -1
    noisy = np.argsort(np.argsort(place + draws.random(20))) / 20

    def rows(values: Any) -> list[list[float]]:
        return [list(values)] * len(EPOCHS)

    selectivity = noisy if says_so else 1 - noisy
    causes = ["regularizer"] * 9 + ["noise"] if says_so else ["noise"] * 8 + ["regularizer"] * 2
    return dict.fromkeys(SIGNS, rows(place)) | {
        "layers": [20], "epochs": EPOCHS, "peak": rows(np.ones(20)), "selectivity": rows(selectivity),
        "share_gamma": rows(0.5 + sense * 0.4 * selectivity), "share_weights": rows(0.5 + sense * 0.3 * selectivity),
        # Of the dead all have the smallest scales, or the largest.
        "gamma": rows(sense * (1 - place) + 1), "dead_by_activation": (place >= 0.5).astype(int).tolist(),
        "deaths": {"cause": causes},
    }  # fmt: skip


def verdicts(says_so: bool) -> dict[str, Finding]:
    records = [network(seed, says_so) for seed in range(5)]
    return {id: judge(claim, records) for id, claim in CLAIMED.items()}


def test_every_question_can_come_out_either_way() -> None:
    assert set(CLAIMED) == {f"S6 digits {name}".strip() for name in QUESTIONS}
    assert {found.verdict for found in verdicts(True).values()} == {"holds"}
    assert {found.verdict for found in verdicts(False).values()} == {"fails"}


def test_a_network_is_one_sample_however_many_filters_it_has() -> None:
    records = [network(seed, True) for seed in range(5)]
    each = agreement(records)
    found = CLAIMED["S6 digits"].estimate(records)
    half = t.ppf(0.975, 4) * each.std(ddof=1) / np.sqrt(5)
    assert (found.n, found.interval) == (5, "95% t-interval over seeds")
    np.testing.assert_allclose([found.value, found.low, found.high], each.mean() + np.array([0, -half, half]))


def test_networks_in_which_nothing_dies_are_left_out_and_counted() -> None:
    alive = network(9, True) | {"dead_by_activation": [0] * 20, "deaths": {"cause": []}}
    records = [network(0, True), alive, network(1, True)]
    for name in ("S6 digits dies", "S6 digits killed"):
        found = CLAIMED[name].estimate(records)
        assert found.n == 2
        assert found.interval == "95% t-interval over seeds, 1 of 3 without a number"
    none = judge(CLAIMED["S6 digits dies"], [alive, alive, network(0, True)])
    assert (none.verdict, none.estimate.interval) == ("undecided", "1 of 3 networks have a number")
    assert over_networks([], "").n == 0


def test_questions_are_declared_on_other_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evidence.registry.CLAIMS", dict(CLAIMS))
    from evidence import registry

    module.declare("elsewhere", "some study", lambda found: found["runs"], ("", "dies"))
    more = {id: claim for id, claim in registry.CLAIMS.items() if "elsewhere" in id}
    assert {(id, claim.experiment) for id, claim in more.items()} == {
        ("S6 elsewhere", "some study"), ("S6 elsewhere dies", "some study"),
    }  # fmt: skip
    records = [network(seed, False) for seed in range(4)]
    assert [judge(claim, {"runs": records}).verdict for claim in more.values()] == ["fails"] * 2


def test_the_kept_rows_are_those_of_the_study_and_all_died_in_part() -> None:
    records = module.kept()
    assert len(records) == len(module.STUDY.axes["seed"])
    for one in records:
        filters = sum(one["layers"])
        assert {np.shape(one[name]) for name in SIGNS} == {(len(one["epochs"]), filters)}
        assert 0 < sum(one["dead_by_activation"]) < filters
        # A filter that the monitor saw die and not come back is inactive at the end, or it died on observed batches alone.
        died = {f for f, back in zip(one["deaths"]["filter"], one["deaths"]["revived"], strict=True) if back is None}
        dead = set(np.flatnonzero(one["dead_by_activation"]))
        assert len(died & dead) > 0.9 * len(dead)


def test_the_filters_of_watched_runs_are_kept_with_the_package(tmp_path: Path) -> None:
    runs = asked(module.STUDY)
    images = {run.source: Found("d", "digits", (144,) * 10, (1, 8, 8), {}) for run in runs}
    with Store(tmp_path / "results.sqlite") as store:
        keep_images(store, module.STUDY.name, images)
        for spec in of_images(module.STUDY, runs, images, None).specs:
            curves = {"loss": [1.0], "filters": network(spec.seed, True)}
            store.write([record("train", spec.as_dict(), summary={"test_error": 0.1}, curves=curves)])
    keep(module.STUDY, tmp_path, tmp_path / "kept.sqlite")
    with Store(tmp_path / "kept.sqlite", reading=True) as store:
        stands = standing(module.STUDY, store, curves=True)
    assert module.of_study(stands) == [network(run.spec.seed, True) for run in runs]
    assert all(row is not None and set(row.curves) == {"filters"} for row in stands.rows)
