"""The benchmark runs, prints its whole table, and refuses to compare contestants that computed different things.

Nothing here asserts a time.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench.__main__
from bench import scaling, torch_face
from bench.__main__ import main
from bench.agreement import Weights, same_bits, same_fates, same_moments, same_weights
from bench.bound import divide_and_root
from bench.contestants import FUSED, OTHERS, Contestant, available_cores
from bench.measure import DisagreementError, Row, measure
from bench.phase import Phase
from bench.phase_peers import OURS, PEERS
from bench.report import table
from bench.work import Case, Work, cases
from bench.workers import Worker, WorkerError, started

ROOT = Path(__file__).resolve().parents[1]
SILENT, RANDOM = Case(16, 8, random=False), Case(4096, 8, random=True)
DIAGRAM = Phase(1024, 512)


class _InProcess:
    """Runs a contestant here; `change` is what it does to the end weights."""

    def __init__(self, contestant: Contestant, change: float = 1.0) -> None:
        self.contestant, self.change = contestant, change
        self.runs: dict[Work, Callable[[], Weights]] = {}

    def run(self, case: Work) -> tuple[float, Weights]:
        if case not in self.runs:
            self.runs[case] = self.contestant.prepare(case)
        return 1.0, self.runs[case]() * self.change


@contextmanager
def _together(contestants: Iterable[Contestant]) -> Iterator[Mapping[Contestant, Worker | _InProcess]]:
    """In place of `started`: contestants in this process, so that each library is loaded and each kernel compiled once.

    But the one for which JAX is to see two devices, which the others' XLA was not told when it was loaded.
    """
    every = list(contestants)
    with started(c for c in every if c.name == "optax.adam, in parts") as workers:
        yield {c: workers.get(c) or _InProcess(c) for c in every}


def quick(*words: str) -> int:
    """The quick run, with most of its contestants in one process."""
    bench.__main__.started = scaling.started = _together  # type: ignore[assignment, attr-defined]
    return main(["--quick", *words])


def _check_block(block: str, base: Contestant, others: tuple[Contestant, ...]) -> None:
    title, _, *lines = block.splitlines()
    assert title.endswith("outcomes agree")
    assert {line[:30].rstrip() for line in lines} == {c.name for c in (base, *others)}
    for contestant in others:
        line = next(line for line in lines if line.startswith(f"{contestant.name:30}"))
        if not contestant.missing():
            assert len(re.findall(r"\d+\.\d\d", line)) == 3
            assert line.endswith(("yes", "no")) == (contestant.expected is not None)


@pytest.mark.thorough
def test_quick_run_prints_stores_and_draws_every_part(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    # A process for all: what some of the contestants ask of JAX must be said before it is imported.
    code = "import sys, test_bench; sys.exit(test_bench.quick(*sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--json", str(file), "--figure", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    head, silent, random, diagram, scaled, face, end = done.stdout.strip().split("\n\n")
    assert all(name in head for name in ("cores", "load", "python", "numpy", "numba", "torch", "jax", "optax"))
    assert end.startswith("load at the end")
    _check_block(silent, FUSED, OTHERS)
    _check_block(random, FUSED, OTHERS)
    assert diagram.startswith("phase diagram")
    if not OURS.missing():
        _check_block(diagram, OURS, PEERS)
    assert [line.split()[0] for line in scaled.splitlines()[1:]] == list(scaling.AXES)

    title, _, *lines = face.splitlines()
    assert "torch.optim with foreach=True" in title
    threads = sorted({1, available_cores()})
    assert [line.split()[:2] for line in lines] == [[rule, str(n)] for rule in torch_face.PEERS for n in threads]
    assert all(line.endswith(("yes", "no")) for line in lines)

    assert {path.name for path in tmp_path.iterdir()} == {file.name, "scaling.svg", "scaling.png"}
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert [row["rule"] for row in stored["torch_face"]] == [rule for rule in torch_face.PEERS for _ in threads]
    assert all(len(row["ratios"]) == 2 for row in stored["torch_face"])
    assert [case["gradient"] for case in stored["cases"]] == ["silent", "random"]
    for case in stored["cases"]:
        assert {c["name"] for c in case["contestants"]} | set(stored["missing"]) == {c.name for c in (FUSED, *OTHERS)}
        assert all(len(c["ratios"]) in (0, 1, 2) for c in case["contestants"])
    phase = stored["phase"]
    if not OURS.missing():
        assert {c["name"] for c in phase["contestants"]} | set(phase["missing"]) == {c.name for c in (OURS, *PEERS)}
    for axis in scaling.AXES:
        assert all(len(point["weight_steps_per_second"]) == 2 for point in stored["scaling"][axis])


def test_a_contestant_runs_in_a_process_of_its_own_and_its_end_is_told() -> None:
    plain = OTHERS[1]
    with started([plain]) as workers:
        seconds, w = workers[plain].run(SILENT)
        assert seconds > 0
        np.testing.assert_array_equal(w, plain.prepare(SILENT)())
        workers[plain]._process.kill()
        with pytest.raises(WorkerError, match=rf"{plain.name}: its process ended with status -9"):
            workers[plain].run(SILENT)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--quikc"], "--quikc"),
        (["--json"], "--json"),
        (["--json", "absent/bench.json"], "absent/bench.json"),
        (["--figure", "absent"], "absent"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    printed, complaint = capsys.readouterr()
    assert printed == ""
    assert complaint.count("\n") == 1
    assert named in complaint


def test_all_cases_hold_the_same_number_of_updates() -> None:
    four = cases((256, 1024), 1 << 15)
    assert [c.random for c in four] == [False, True] * 2
    assert {c.updates for c in four} == {1 << 15}


W = np.linspace(0.5, 1.5, 9)
NOISE, OTHER = np.random.default_rng(0).normal(size=(2, 10_000))
FATES = np.random.default_rng(0)


def _outcome(share: float = 0.3, late: float = 0.0, up: float = 0.0) -> Weights:
    dies = FATES.random(10_000) < share
    step = np.floor(50 * FATES.random(10_000) + late)
    return np.stack([np.where(dies, 0.0, FATES.normal(1 + up, 0.1, 10_000)), np.where(dies, step, np.inf)])


OUTCOME = _outcome()
LOST = np.stack([np.where(np.isinf(OUTCOME[1]), np.nan, OUTCOME[0]), OUTCOME[1]])


def _same_fates(ours: Weights, theirs: Weights) -> str | None:
    return same_fates(ours, theirs, 100)


# (comparison, two outcomes, what its complaint holds: None if they agree)
COMPARED: list[tuple[Callable[[Weights, Weights], str | None], Weights, Weights, str | None]] = [
    (same_bits, W, W.copy(), None),
    (same_bits, W, np.where(np.arange(9) == 4, np.nextafter(W, 2), W), "1 of 9 weights differ"),
    (same_bits, W, W[:4], ""),
    (same_weights, W, W * (1 + 1e-10), None),
    (same_weights, W, W * (1 + 1e-8), "1.0e-08"),
    (same_weights, W, np.where(W == 1, np.nan, W), ""),
    (same_weights, W, W[:1], ""),
    (_same_fates, OUTCOME, _outcome(), None),
    (_same_fates, OUTCOME, OUTCOME, None),
    (_same_fates, OUTCOME, _outcome(share=0.35), "share dead is 0.3"),
    (_same_fates, OUTCOME, _outcome(late=20), "steps lived"),
    (_same_fates, OUTCOME, _outcome(up=0.02), "weight of those alive"),
    (_same_fates, OUTCOME, np.full_like(OUTCOME, np.nan), ""),
    (_same_fates, LOST, OUTCOME, "nan"),
    (_same_fates, OUTCOME, OUTCOME[:, :9], ""),
    (_same_fates, np.zeros((2, 9)), np.zeros((2, 9)), None),
    (same_moments, NOISE, OTHER, None),
    (same_moments, NOISE, OTHER + 0.1, "mean"),
    (same_moments, NOISE, OTHER * 1.1, "variance"),
    (same_moments, NOISE, np.full_like(NOISE, np.nan), ""),
    (same_moments, NOISE, OTHER[:1], ""),
]


@pytest.mark.parametrize(("same", "ours", "theirs", "complaint"), COMPARED)
def test_outcomes_agree_or_the_complaint_says_where_they_part(
    same: Callable[[Weights, Weights], str | None], ours: Weights, theirs: Weights, complaint: str | None
) -> None:
    found = same(ours, theirs)
    assert found is None if complaint is None else complaint in str(found) and found is not None


@pytest.mark.parametrize("case", [SILENT, RANDOM], ids=["silent", "random"])
@pytest.mark.parametrize("contestant", [c for c in OTHERS if not c.bound], ids=lambda c: c.name)
def test_measure_refuses_a_contestant_that_computes_something_else(contestant: Contestant, case: Case) -> None:
    # optax and torch would do as well; that they agree is what the quick run shows.
    stand_in = replace(contestant, prepare=FUSED.prepare)
    honest = {FUSED: _InProcess(FUSED), contestant: _InProcess(stand_in)}
    rows = measure(case, FUSED, honest, 2, lambda _: None)  # type: ignore[arg-type]
    assert [row.contestant for row in rows] == [FUSED, contestant]
    assert rows[1].ratios == [1.0] * (1 if contestant.once else 2)

    wrong = honest | {contestant: _InProcess(stand_in, change=1.001)}
    with pytest.raises(DisagreementError, match=re.escape(contestant.name)):
        measure(case, FUSED, wrong, 2, lambda _: None)  # type: ignore[arg-type]


def test_the_bound_does_all_divisions_on_all_threads_and_is_not_compared() -> None:
    bound = next(c for c in OTHERS if c.bound)
    rows = measure(SILENT, FUSED, {FUSED: _InProcess(FUSED), bound: _InProcess(bound)}, 2, lambda _: None)  # type: ignore[arg-type]
    assert rows[1].ratios == [1.0, 1.0]
    w = divide_and_root(2, Case(256, 1000, random=False))()
    assert w.shape == (2 * 128,)
    np.testing.assert_allclose(w, 1 / (np.sqrt(1 + 999e-9) + 1e-8), rtol=1e-12)


def test_a_third_of_the_phase_diagram_dies() -> None:
    ours = OURS.prepare(DIAGRAM)()
    assert 0.1 < np.isfinite(ours[1]).mean() < 0.6
    assert np.abs(ours[0]).min() < 1e-3
    assert PEERS[1].prepare(replace(DIAGRAM, threads=3))().shape == (2, 1024)


def test_lanes_are_the_grid_of_strengths_and_arrivals() -> None:
    strength, arrival = DIAGRAM.grid()
    assert len(strength) == len({*zip(strength, arrival, strict=True)}) == 1024
    assert (strength.min(), strength.max()) == pytest.approx((1e-5, 1e-1))
    assert (arrival.min(), arrival.max()) == pytest.approx((1e-4, 1))


@pytest.mark.parametrize("quick", [True, False])
def test_scaling_changes_one_thing_at_a_time(quick: bool) -> None:
    middle, every = scaling.points(quick)
    for point in every:
        for axis in scaling.AXES:
            if axis != point.against:
                assert getattr(point.case, axis) == getattr(middle, axis)
        assert point.case.grid()[0].shape == (point.case.lanes,)
    for axis in scaling.AXES:
        assert middle in [point.case for point in every if point.against == axis]


def test_a_missing_peer_is_named() -> None:
    peer = replace(OTHERS[2], name="peer", needs=("no_such_module",))
    assert peer.missing() == ["no_such_module: not installed"]
    assert "no_such_module: not installed" in table(SILENT, [Row(FUSED, FUSED, [1.0], [1.0])], {peer: peer.missing()})


def test_a_ratio_says_which_over_which() -> None:
    two, numpy = OTHERS[0], OTHERS[1]
    text = table(SILENT, [Row(two, FUSED, [4e6], [2e6]), Row(numpy, FUSED, [4e6], [2e6])], {})
    assert "2.00   2.00   2.00   it over one thread at least 1.7: yes" in text
    assert "0.50   0.50   0.50   fused over it at least 5.0: no" in text


def test_the_list_of_parameters_is_resnet50s() -> None:
    shapes = torch_face.resnet50()
    assert len(shapes) == 161
    assert sum(map(math.prod, shapes)) == 25_557_032  # torchvision's count


@pytest.mark.parametrize("rule", torch_face.PEERS)
def test_a_step_that_is_not_torchs_is_not_timed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_face.check(rule, [(3, 2), (4,)])
    # Adam's settings for anything else, and for Adam another's.
    other = ("Adam", {}) if torch_face.PEERS[rule] != ("Adam", {}) else ("Adagrad", {})
    monkeypatch.setitem(torch_face.PEERS, rule, other)
    with pytest.raises(DisagreementError, match=rf"disagrees with {rule}"):
        torch_face.check(rule, [(3, 2), (4,)])
