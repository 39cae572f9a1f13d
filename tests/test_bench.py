"""The benchmark runs, prints its whole table, and refuses to compare contestants that computed different things.

Nothing here asserts a time.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import torch_face
from bench.__main__ import main
from bench.agreement import same_bits, same_moments, same_weights
from bench.contestants import FUSED, OTHERS, Contestant, available_cores
from bench.measure import DisagreementError, Row, measure
from bench.report import table
from bench.work import Case, Weights, cases

ROOT = Path(__file__).resolve().parents[1]
SILENT, RANDOM = Case(16, 8, random=False), Case(4096, 8, random=True)


class _InProcess:
    """Runs a contestant here; `change` is what it does to the end weights."""

    def __init__(self, contestant: Contestant, change: float = 1.0) -> None:
        self.contestant, self.change = contestant, change

    def run(self, case: Case) -> tuple[float, Weights]:
        return 1.0, self.contestant.prepare(case)() * self.change


def test_quick_run_prints_and_stores_every_case(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    head, *blocks, face, end = done.stdout.strip().split("\n\n")
    assert all(name in head for name in ("cores", "load", "python", "numpy", "numba", "torch", "jax", "optax"))
    assert end.startswith("load at the end")
    assert len(blocks) == 4
    for block in blocks:
        title, _, *lines = block.splitlines()
        assert title.endswith("end weights agree")
        assert {line[:30].rstrip() for line in lines} == {c.name for c in (FUSED, *OTHERS)}
        for contestant in OTHERS:
            line = next(line for line in lines if line.startswith(f"{contestant.name:30}"))
            if not contestant.missing():
                assert len(re.findall(r"\d+\.\d\d", line)) == 3
                assert (line.endswith(("yes", "no"))) == (contestant.expected is not None)

    title, _, *lines = face.splitlines()
    assert "torch.optim with foreach=True" in title
    threads = sorted({1, available_cores()})
    assert [line.split()[:2] for line in lines] == [[rule, str(n)] for rule in torch_face.PEERS for n in threads]
    assert all(line.endswith(("yes", "no")) for line in lines)

    stored = json.loads(file.read_text(encoding="utf-8"))
    assert list(tmp_path.iterdir()) == [file]
    assert [row["rule"] for row in stored["torch_face"]] == [rule for rule in torch_face.PEERS for _ in threads]
    assert all(len(row["ratios"]) == 2 for row in stored["torch_face"])
    assert [case["gradient"] for case in stored["cases"]] == ["silent", "random"] * 2
    for case in stored["cases"]:
        assert {c["name"] for c in case["contestants"]} | set(stored["missing"]) == {c.name for c in (FUSED, *OTHERS)}
        assert all(len(c["ratios"]) in (0, 1, 2) for c in case["contestants"])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--quikc"], "--quikc"),
        (["--json"], "--json"),
        (["--json", "absent/bench.json"], "absent/bench.json"),
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


def test_same_bits_sees_the_last_bit() -> None:
    w = np.linspace(0.5, 1.5, 9)
    other = w.copy()
    other[4] = np.nextafter(other[4], 2)
    assert same_bits(w, w.copy()) is None
    assert same_bits(w, other) == "1 of 9 weights differ"
    assert same_bits(w, w[:4]) is not None


def test_same_weights_allows_rounding_and_nothing_more() -> None:
    w = np.linspace(0.5, 1.5, 9)
    assert same_weights(w, w * (1 + 1e-10)) is None
    assert "1.0e-08" in str(same_weights(w, w * (1 + 1e-8)))
    assert same_weights(w, np.where(w == 1, np.nan, w)) is not None
    assert same_weights(w, w[:1]) is not None


def test_same_moments_sees_mean_variance_and_nan() -> None:
    rng = np.random.default_rng(0)
    w, other = rng.normal(size=(2, 10_000))
    assert same_moments(w, other) is None
    assert "mean" in str(same_moments(w, other + 0.1))
    assert "variance" in str(same_moments(w, other * 1.1))
    assert same_moments(w, np.full_like(w, np.nan)) is not None
    assert same_moments(w, other[:1]) is not None


@pytest.mark.parametrize("case", [SILENT, RANDOM], ids=["silent", "random"])
@pytest.mark.parametrize("contestant", OTHERS, ids=lambda c: c.name)
def test_measure_refuses_a_contestant_that_computes_something_else(contestant: Contestant, case: Case) -> None:
    # optax and torch would do as well; that they agree is what the quick run shows.
    stand_in = replace(contestant, prepare=FUSED.prepare)
    honest = {FUSED: _InProcess(FUSED), contestant: _InProcess(stand_in)}
    rows = measure(case, honest, 2, lambda _: None)  # type: ignore[arg-type]
    assert [row.contestant for row in rows] == [FUSED, contestant]
    assert rows[1].ratios == [1.0] * (1 if contestant.once else 2)

    wrong = honest | {contestant: _InProcess(stand_in, change=1.001)}
    with pytest.raises(DisagreementError, match=re.escape(contestant.name)):
        measure(case, wrong, 2, lambda _: None)  # type: ignore[arg-type]


def test_numpy_peer_agrees_with_the_kernel() -> None:
    numpy = next(c for c in OTHERS if c.name.startswith("NumPy"))
    assert same_weights(FUSED.prepare(SILENT)(), numpy.prepare(SILENT)()) is None
    assert same_moments(FUSED.prepare(RANDOM)(), numpy.prepare(RANDOM)()) is None


def test_a_missing_peer_is_named() -> None:
    peer = replace(OTHERS[2], name="peer", needs=("no_such_module",))
    assert peer.missing() == ["no_such_module: not installed"]
    assert "no_such_module: not installed" in table(SILENT, [Row(FUSED, [1.0], [1.0])], {peer: peer.missing()})


def test_a_ratio_says_which_over_which() -> None:
    two, numpy = OTHERS[0], OTHERS[1]
    text = table(SILENT, [Row(two, [4e6], [2e6]), Row(numpy, [4e6], [2e6])], {})
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
