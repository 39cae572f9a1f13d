"""The visit to a device: every step bounded, nothing that was finished lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from bench import gpu
from bench.gpu import Step
from undertow.__main__ import parser as command_line

ROOT = Path(__file__).resolve().parents[1]


def python(name: str, code: str, mark: str | Path = "", least: float = 0.1, result: str = "") -> Step:
    return Step(name, (sys.executable, "-c", code, str(mark)), 30.0, least, result)


class Marked(subprocess.Popen[str]):
    """A process that is out of time as soon as it has made its mark, or never: how fast the machine is does not count."""

    asked: ClassVar[dict[str, list[float]]] = {}

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        mark = Path(self.args[-1])  # type: ignore[index, arg-type]
        if timeout is None or not mark.is_absolute():
            return super().communicate(input)
        self.asked.setdefault(mark.name, []).append(timeout)
        if len(self.asked[mark.name]) == 1:
            while not mark.exists():
                time.sleep(0.01)
        elif mark.name == "polite":
            return super().communicate(input)
        raise subprocess.TimeoutExpired(self.args, timeout)


def test_each_step_is_bounded_and_what_it_leaves_is_kept_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Marked, "asked", {})
    monkeypatch.setattr(subprocess, "Popen", Marked)
    kept = tmp_path / "gpu.json"
    report = tmp_path / "tests.xml"
    stubborn = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
open(sys.argv[1], "w").close()
time.sleep(60)
"""
    polite = f"""
import json, sys, time
try:
    open(sys.argv[1], "w").close()
    time.sleep(60)
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
        python("polite", polite, tmp_path / "polite", result="study.json"),
        python("stubborn", stubborn, tmp_path / "stubborn"),
        python("later", "", least=1e6),
    ]
    found = gpu.visit(todo, tmp_path, minutes=120.0)
    assert Marked.asked == {name: [300.0, 10 * gpu.GRACE] for name in ("polite", "stubborn")}
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
    for rehearse in (False, True):
        todo = gpu.steps(Path("out"), "cifar.tar.xz", rehearse)
        assert all(step.least < step.bound for step in todo)
        for step in todo:  # every command line of our own is one that its parser takes
            if step.words[2] == "undertow":
                command_line().parse_args(list(step.words[3:]))
    # What a slow step before them may take leaves the study of VGG-16 five minutes of twelve.
    bounds = {step.name: step.bound for step in gpu.steps(Path("out"), "cifar.tar.xz", rehearse=False)}
    studies = ("vgg16-cifar10", "table")
    assert sum(bound for name, bound in bounds.items() if name not in studies) + gpu.GRACE <= 7 * 60


def test_what_tests_record_is_kept_also_where_there_are_warnings(tmp_path: Path) -> None:
    written = "import warnings\ndef test_it(record_property):\n    warnings.warn('odd')\n    record_property('n', 7)\n"
    (tmp_path / "test_one.py").write_text(written)
    (first, *_) = gpu.steps(tmp_path, "digits", rehearse=True)
    words = [
        word for word in first.words if word not in ("-m", "gpu", "--device", "cpu") and not word.startswith("tests/")
    ]
    words = [words[0], "-m", "pytest", *words[2:], f"-c{ROOT / 'pyproject.toml'}", str(tmp_path / "test_one.py")]
    (found,) = gpu.visit([Step("tests", tuple(words), 600, 1, "tests.xml")], tmp_path, 12)
    assert (found["status"], found["result"][0]["numbers"]) == ("done", {"n": "7"}), found["output"]


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
