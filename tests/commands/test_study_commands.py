"""`undertow study` and `undertow results`: what is typed, what is said, what is left."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from console import refused, run

from dynamics.estimate import mean_interval
from evidence.driver import one_after_another
from evidence.store import Store, record
from fullscale import sweep
from fullscale.studies import Found, asked, find_study, images, runs, table
from fullscale.studies.standing import of_images, standing

STUDY = """
name = "little"
title = "A little study"

[fixed]
data = "digits"
classes = ["0", "1"]
epochs = 2

[axes]
optimizer = ["adam", "sgd"]
coupling = ["l2"]
strength = [0, 1e-3]
seed = [0, 1, 2]

[[override]]
when = { optimizer = "sgd" }
lr = [0.1, 0.2]
"""
RUNS = 18


def as_it_would(spec: Any, *_: Any) -> dict[str, Any]:
    """In the place of training: numbers that say which run they are of."""
    if spec.optimizer == "sgd" and spec.lr == 0.2 and spec.seed == 1:
        return {"status": "diverged", "error": "the loss is nan", "summary": {"steps": 3}, "curves": {}}
    share = spec.lr + spec.seed / 100
    certificate = {"error_before": 0.1, "multiply_adds_before": 1000}
    summary = {"inactive_by_activation": share, "inactive_by_scale": 0.5, "test_error": 0.25, "seconds": 6.0}
    # filters: as a watched run has them, which are no curve.
    curves = {"epoch": [1.0, 2.0], "loss": [2.0, 1.0 + share], "filters": {"epochs": [1, 2]}}
    return {"summary": summary | {"certificate": certificate, "channels": [3, 4]}, "curves": curves}


@contextmanager
def threads(*_: Any) -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Runs end at once and in this process."""
    monkeypatch.setattr("evidence.executors.choice.processes", threads)
    monkeypatch.setattr(sweep, "work", as_it_would)
    monkeypatch.setattr(sweep, "work_together", one_after_another)
    return monkeypatch


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "little.toml"
    file.write_text(STUDY)
    return file


def lines_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text())))


def test_a_study_is_run_and_told_and_extending_an_axis_reruns_nothing(
    stub: pytest.MonkeyPatch, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = run("study", study, "--out", out, "--dry-run")
    assert (said.status, said.out) == (
        0, f"little: {RUNS} runs, 0 stored; the time left is not known until a run is stored\n"
    )  # fmt: skip
    assert not out.exists()
    said = run("study", study, "--out", out)
    assert said.status == 0
    assert said.out.startswith(f"little: complete: {RUNS} runs are stored (2 diverged)\nstore: {out}")

    ran: list[Any] = []
    stub.setattr(sweep, "work", lambda spec, *rest: (ran.append(spec), as_it_would(spec))[1])
    study.write_text(STUDY.replace("[0, 1, 2]", "[0, 1, 2, 3]").replace('"l2"', '"l2", "decoupled_lr"'))
    said = run("study", study, "--out", out, "--dry-run", "--workers", "2")
    more = 36 - RUNS
    # Of each run that is left the time is that of the stored ones: 6 s, two at a time.
    assert said.out == (
        f"little: 36 runs, {RUNS} stored (16 done, 2 diverged); about 54 seconds left with 2 workers, from the speed of "
        "those stored\n"
    )
    assert ran == []
    assert run("study", study, "--out", out).status == 0
    assert len(ran) == more
    assert run("study", study, "--out", out, "--dry-run").out.endswith("nothing is left\n")


def test_a_failed_run_is_a_row_with_its_reason_and_is_run_again_when_asked(
    stub: pytest.MonkeyPatch, study: Path, tmp_path: Path
) -> None:
    broken = [True]

    def breaks(spec: Any, *rest: Any) -> dict[str, Any]:
        if broken[0] and spec.lr == 0.1 and spec.seed == 2 and spec.strength:
            raise OSError("the disk went away")
        return as_it_would(spec)

    stub.setattr(sweep, "work", breaks)
    out = ("--out", tmp_path / "out")
    said = run("study", study, *out)
    assert said.status == 1
    assert f"little: incomplete: {RUNS - 1} of {RUNS} runs are stored (2 diverged, 1 failed)\n" in said.out
    assert "failed (optimizer sgd, coupling l2, strength 0.001, seed 2, lr 0.1): " in said.out
    assert "the disk went away" in said.out
    broken[0] = False
    assert run("study", study, *out).status == 1  # a failed run is left alone
    said = run("study", study, *out, "--retry", "failed")
    assert (said.status, said.out.split("\n")[0]) == (0, f"little: complete: {RUNS} runs are stored (2 diverged)")


def test_results_has_intervals_of_whole_cells_alone(stub: pytest.MonkeyPatch, study: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    run("study", study, *out)
    found = json.loads(run("results", study, *out, "--json").out)
    assert (found["study"], found["complete"], found["runs"], found["diverged"]) == ("little", True, RUNS, 2)
    for one in found["cells"]:
        samples = [one["cell"]["lr"] + seed / 100 for seed in range(3)]
        if one["cell"]["lr"] == 0.2:
            samples.pop(1)
        measure = one["inactive_by_activation"]
        assert measure["samples"] == pytest.approx(samples)
        expected = mean_interval(samples, "", "") if len(samples) == 3 else None
        for name, end in (("mean", "value"), ("low", "low"), ("high", "high")):
            assert measure[name] == (pytest.approx(getattr(expected, end)) if expected else None)
    lines = run("results", study, *out).out.splitlines()
    head = "optimizer  coupling  strength  lr     runs    inactive by activation  by scale"
    assert lines[0].startswith(head)
    assert lines[1].split()[:7] == ["adam", "none", "0", "0.001", "3", "of", "3"]
    assert re.search(r"1\.1% \[-1\.4, 3\.6\] +50\.0% \[50\.0, 50\.0\] +25\.0%", lines[1])
    [broken] = [line for line in lines if line.split()[:4] == ["sgd", "l2", "0.001", "0.2"]]
    assert broken.split()[4:] == ["2", "of", "3", "-", "-", "-", "1", "diverged"]
    assert lines[-1] == f"little: complete: {RUNS} runs are stored (2 diverged)"

    study.write_text(STUDY.replace("seed = [0, 1, 2]", "seed = [0, 1, 2, 7]"))
    said = run("results", study, *out)
    assert f"little: incomplete: {RUNS} of 24 runs are stored (2 diverged)\n" in said.out
    assert "have no mean and no interval" in said.out
    assert "[" not in said.out
    cells = json.loads(run("results", study, *out, "--json").out)["cells"]
    assert {one["test_error"]["mean"] for one in cells} == {None}


def test_results_as_csv_parquet_and_netcdf_hold_the_same_runs(
    stub: pytest.MonkeyPatch, study: Path, tmp_path: Path
) -> None:
    from pyarrow import parquet

    out = ("--out", tmp_path / "out")
    run("study", study, *out)
    study.write_text(STUDY.replace("seed = [0, 1, 2]", "seed = [0, 1, 2, 7]"))
    files = {end: tmp_path / f"made.{end}" for end in ("csv", "parquet", "nc")}
    flags = ("--csv", files["csv"], "--parquet", files["parquet"], "--netcdf", files["nc"])
    said = run("results", study, *out, *flags)
    assert said.status == 0
    assert all(f"written: {file}" in said.out for file in files.values())
    rows = lines_of(files["csv"])
    others = parquet.read_table(files["parquet"]).to_pylist()
    with xr.open_dataset(files["nc"], engine="scipy") as opened:
        data = opened.load()
    assert len(rows) == len(others) == 24
    assert [r["status"] for r in rows] == [r["status"] for r in others]
    assert {r["status"] for r in rows} == {"done", "diverged", "missing"}
    assert data.sizes["epoch"] == 2
    for row, other in zip(rows, others, strict=True):
        at = data.sel(
            optimizer=row["optimizer"], coupling=row["coupling"], strength=float(row["strength"]), lr=float(row["lr"]),
            seed=int(row["seed"]),
        )  # fmt: skip
        assert row["classes"] == other["classes"] == "0,1"
        assert at.status.item() == ("" if row["status"] == "missing" else row["status"])
        if row["status"] != "done":
            assert row["test_error"] == ""
            assert other["test_error"] is None
            assert at.test_error.isnull()
            continue
        share = float(row["lr"]) + int(row["seed"]) / 100
        assert float(row["inactive_by_activation"]) == other["inactive_by_activation"] == at.inactive_by_activation
        assert at.loss_by_epoch.values.tolist() == pytest.approx([2.0, 1.0 + share])
        assert at.certificate_error_before == float(row["certificate.error_before"]) == 0.1
        assert (row["channels.0"], other["channels.1"]) == ("3", 4)
    assert data.attrs["study"] == "little"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("lr = [0.1, 0.2]", "rate = 3"), ["'rate'", "accepted are data, steps"]),
        (("seed = [0, 1, 2]", "seed = []"), ["axis 'seed' is empty"]),
        (('lr = [0.1, 0.2]', 'lr = 1\n[[override]]\nwhen = {seed = 0}\nlr = 2'), ["two values for 'lr'"]),
        (("epochs = 2", "batch = 1"), ["18 of 18 runs cannot be", "batch 1: a whole number from 2"]),
        (('data = "digits"', 'data = "./nowhere"'), ["'./nowhere' cannot be found"]),
        (('data = "digits"', ""), ["leaves its images to --data"]),
        (('"0", "1"', '"0", "x"'), ["class 'x'"]),
        (("epochs = 2", "epochs = 2\nbatch = 4000"), ["batch 4000", "training images"]),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_nothing_written(
    change: tuple[str, str], words: list[str], study: Path, tmp_path: Path
) -> None:
    assert change[0] in STUDY
    study.write_text(STUDY.replace(*change))
    for flags in ([], ["--dry-run"]):
        refused(run("study", study, "--out", tmp_path / "out", *flags), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["little.toml"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workers", "0"], ["--workers 0"]),
        (["--workers", "10000"], ["--workers 10000: a whole number from 1 to 4,096 is accepted"]),
        (["--data", ""], ["source '': 'digits', a directory or an archive"]),
        (["--executor", "pbs"], ["executor 'pbs' is unknown", "slurm"]),
        (["--executor", "slurm"], ["sbatch is not found"]),
        (["--executor", "127.0.0.1:99999"], ["no Ray cluster at '127.0.0.1:99999'"]),
        (["--slurm", "timeout"], ["--slurm timeout: NAME=VALUE"]),
        (["--slurm", "a=1"], ["are of SLURM jobs"]),
        (["--out", "little.toml"], ["little.toml is a file"]),
        (["--out", "little.toml/out"], ["little.toml is a file"]),
    ],
)
def test_flags_that_cannot_be_are_refused_with_nothing_written(
    flags: list[str], words: list[str], study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for more in ([], ["--dry-run"]):
        refused(run("study", study, *flags, *more), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["little.toml"]


def test_the_runs_of_a_study_are_checked_once(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked, check = [], runs._asked
    monkeypatch.setattr(runs, "_asked", lambda cell, names: checked.append(cell) or check(cell, names))
    assert run("study", study, "--out", tmp_path / "out", "--dry-run").status == 0
    assert len(checked) == len(find_study(str(study)).cells())


def test_results_makes_nothing_and_names_what_a_store_holds(
    stub: pytest.MonkeyPatch, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    refused(run("results", study, "--out", out), "out/results.sqlite", "missing")
    assert not out.exists()
    run("study", study, "--out", out)
    refused(run("results", "digits", "--out", out), "no run of study digits: it holds 18 runs, of the studies little")
    refused(run("results", study, "--out", out, "--csv", tmp_path / "no" / "a.csv"), "a.csv cannot be written")
    a, known = tmp_path / "a.csv", (out / "results.sqlite").read_bytes()
    refused(run("results", study, "--out", out, "--csv", a, "--netcdf", tmp_path / "no" / "a.nc"), "cannot be written")
    refused(
        run("results", study, "--out", out, "--csv", a, "--netcdf", a),
        "a.csv is the store or the study, or is named twice",
    )
    refused(run("results", study, "--out", out, "--csv", out / ".." / "out" / "results.sqlite"), "is the store")
    refused(run("results", study, "--out", out, "--csv", study), "is the store or the study")
    assert (out / "results.sqlite").read_bytes() == known
    refused(run("results", "digit", "--out", out), "study 'digit' is unknown")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["little.toml", "out"]


def test_results_need_no_images_once_they_were_read(stub: pytest.MonkeyPatch, study: Path, tmp_path: Path) -> None:
    run("study", study, "--out", tmp_path / "out")

    def read(*_: Any) -> Any:
        raise AssertionError("the images were read")

    stub.setattr(images, "read", read)
    assert run("results", study, "--out", tmp_path / "out").status == 0


def test_images_elsewhere_stand_in_for_those_of_the_study(
    stub: pytest.MonkeyPatch, study: Path, tmp_path: Path
) -> None:
    places: list[str] = []
    stub.setattr(sweep, "work", lambda spec, place, *_: (places.append(place), as_it_would(spec))[1])
    study.write_text(STUDY.replace('data = "digits"', ""))
    assert run("study", study, "--data", "digits", "--out", tmp_path / "out").status == 0
    assert places == ["digits"] * RUNS
    # What another study calls the same are other images.
    with Store(tmp_path / "out" / "results.sqlite") as store:
        others = {source: replace(one, digest="other") for source, one in images.kept(store, "little").items()}
        images.keep(store, "big", others)
    assert run("results", study, "--out", tmp_path / "out").out.endswith("(2 diverged)\n")
    study.write_text(STUDY.replace('data = "digits"', "").replace("[axes]", '[axes]\ndata = ["a", "b"]'))
    refused(run("study", study, "--data", "digits", "--out", tmp_path / "out"), "--data digits for a study of a, b")


def test_the_time_left_follows_images_and_the_cost_of_a_network(study: Path, tmp_path: Path) -> None:
    from fullscale.cost import multiply_adds
    from fullscale.models import Architecture, build
    from fullscale.studies.estimate import seconds_left

    study.write_text(STUDY.replace("epochs = 2", "").replace("[axes]", "[axes]\nepochs = [2, 6]\nwidth = [0.04, 0.08]"))
    found = find_study(str(study))
    runs = asked(found)
    known = images.read([one.source for one in runs], None)
    stands = of_images(found, runs, known, None)
    assert seconds_left(stands) is None
    import torch

    shape = torch.empty(1, 1, 8, 8)
    narrow, wide = (multiply_adds(build(Architecture("basicnet", w, 1, 2)), shape) for w in (0.04, 0.08))
    with Store(tmp_path / "results.sqlite") as store:
        done = {"seconds": 6.0, "certificate": {"multiply_adds_before": narrow}}
        first = stands.specs[0]
        assert (first.epochs, first.width) == (2, 0.04)
        store.put(sweep.KIND, first.as_dict(), summary=done, curves={})
        stands = of_images(found, runs, known, store)
    cells = RUNS * (6.0 + 18.0) * (1 + wide / narrow)
    assert seconds_left(stands) == pytest.approx(cells - 6.0)


def test_thousands_of_rows_are_read_without_curves_in_a_few_queries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "many.toml"
    file.write_text(STUDY.replace('"little"', '"many"').replace("[0, 1, 2]", str(list(range(400)))))
    many = find_study(str(file))
    known = {one.source: Found("d", "digits", (500, 500), (1, 8, 8), {}) for one in asked(many)}
    stands = of_images(many, asked(many), known, None)
    with Store(tmp_path / "results.sqlite") as store:
        images.keep(store, "many", known)
        store.write(record(sweep.KIND, spec.as_dict(), **as_it_would(spec)) for spec in stands.specs)
    queries: list[str] = []
    real = sqlite3.connect

    def watched(*arguments: Any, **more: Any) -> sqlite3.Connection:
        db = real(*arguments, **more)
        db.set_trace_callback(queries.append)
        return db

    monkeypatch.setattr("evidence.store.sqlite3.connect", watched)
    with Store(tmp_path / "results.sqlite", reading=True) as store:
        stands = standing(many, store)
    assert stands.complete
    assert len(stands.runs) == len(stands.specs) == 2400
    assert {len(row.curves) for row in stands.rows if row} == {0}
    assert 0 < sum("where key in" in query for query in queries) <= 10
    assert len(table.table(stands).splitlines()) == 1 + 6
