"""The visit to a device: every step bounded, nothing that was finished lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import gpu
from bench.gpu import Step


def python(name: str, code: str, bound: float = 30.0, least: float = 0.1, result: str = "") -> Step:
    return Step(name, (sys.executable, "-c", code), bound, least, result)


def test_each_step_is_bounded_and_what_it_leaves_is_kept_at_once(tmp_path: Path) -> None:
    kept = tmp_path / "gpu.json"
    report = tmp_path / "tests.xml"
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
    polite = f"""
import json, time
try:
    time.sleep(600)
except KeyboardInterrupt:
    open({str(tmp_path / "study.json")!r}, "w").write(json.dumps({{"rows": 3}}))
    raise SystemExit(130)
"""
    read = f"import json; assert json.load(open({str(kept)!r}))['steps'][0]['status'] == 'done'"
    xml = (
        '<testsuites><testsuite><testcase classname="a" name="b" time="0.5"><properties><property name="difference" '
        'value="1e-7"/></properties></testcase><testcase classname="a" name="c" time="0"><skipped/></testcase>'
        '<testcase classname="a" name="d" time="1"><failure/></testcase></testsuite></testsuites>'
    )
    todo = [
        python("tests", f"open({str(report)!r}, 'w').write({xml!r}); print('x' * 50_000)", result="tests.xml"),
        python("reads", read),
        python("fails", "raise SystemExit(3)"),
        python("polite", polite, bound=18.0, result="study.json"),
        python("stubborn", stubborn, bound=6.0),
        python("later", "", least=1e6),
    ]
    found = gpu.visit(todo, tmp_path, minutes=2.0)
    statuses = ["done", "done", "failed with 3", "out of time", "out of time", "skipped"]
    assert [step["status"] for step in found] == statuses
    assert json.loads(kept.read_text())["steps"] == found
    outcomes = {case["test"]: case["outcome"] for case in found[0]["result"]}
    assert outcomes == {"a.b": "passed", "a.c": "skipped", "a.d": "failure"}
    assert found[0]["result"][0]["numbers"] == {"difference": "1e-7"}
    assert len(found[0]["output"]) == gpu.KEPT
    assert found[3]["result"] == {"rows": 3}


def test_the_visit_goes_from_what_the_device_computes_to_the_paper() -> None:
    names = [step.name for step in gpu.steps(Path("out"), "cifar.tar.xz", rehearse=False)]
    assert names[0] == "tests"
    assert names.index("phase diagram") < names.index("vgg16-cifar10") < names.index("table")
    for step in gpu.steps(Path("out"), "cifar.tar.xz", rehearse=False):
        assert step.least < step.bound


def test_bad_usage_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    for words, said in (
        (["--data", "digits", "--minutes", "0"], "minutes 0.0: a number above 0"),
        (["--data", str(tmp_path / "none"), "--rehearse"], "it cannot be found"),
        (["--data", "digits", "--rehearse", "--minutes", "nan"], "minutes nan"),
    ):
        assert gpu.main([*words, *out]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
