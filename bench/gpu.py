"""python -m bench.gpu --minutes 12 --out DIR --data ARCHIVE: one visit to a CUDA device, most telling first.

What has to be seen on a device, in this order: that it computes what the CPU does, how fast it is, and the study of VGG-16 on
CIFAR-10 with as much of the paper's table as the time allows. Every step is a process of its own with a bound; it is
skipped if too little time is left. DIR/gpu.json is written again after every step, DIR/results.sqlite run by run, so nothing
that was finished is lost with the device. `undertow merge` joins the runs with those made elsewhere.

--rehearse: all of it on the CPU, at a tiny size, before the device is at hand.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamics.errors import InputError
from evidence.files import write_whole, writing
from evidence.store import environment

# A process that is asked to end has so many seconds to write what it has.
GRACE = 20.0
# Of a step's output, so many characters are kept.
KEPT = 6_000


@dataclass(frozen=True)
class Step:
    """A process. bound: seconds it may take of 12 minutes, more or less in proportion; least: with less left it is skipped;
    result: a JSON file, or JUnit's XML, that it writes, taken into gpu.json."""

    name: str
    words: tuple[str, ...]
    bound: float
    least: float
    result: str = ""


def steps(out: Path, data: str, rehearse: bool) -> list[Step]:
    """The visit, in order."""
    python = (sys.executable, "-m")
    device = ("--device", "cpu" if rehearse else "cuda")
    tests = ("tests/gpu", "tests/conformance/test_torch_plan.py")
    # Without the plugins of the whole suite, and with warnings that are no failures: a borrowed machine has other packages.
    # The newer family of JUnit's XML has no place for the numbers that tests record.
    pytest = (
        *python,
        "pytest",
        "-o",
        "addopts=",
        "-o",
        "filterwarnings=default",
        "-o",
        "junit_family=xunit1",
        "-q",
        "-m",
        "gpu",
        *device,
        f"--junitxml={out / 'tests.xml'}",
        *tests,
    )
    speed = (*python, "bench.throughput", *device)
    phase = (*python, "undertow", "phase", "selectivity", "--out", str(out))
    beside = (*python, "bench.side_by_side", *device)
    study = (*python, "undertow", "study")
    runs = (*device, "--data", data, "--out", str(out))
    if rehearse:
        tiny = ("--images", "64", "--width", "0.04", "--repeats", "1", "--workers", "0", "--batches", "16")
        small = ("--sizes", "8", "--widths", "0.04", "--runs", "2", "--repeats", "1")
        tests_bound = 400.0
        speeds = [Step("throughput basicnet", (*speed, *tiny, "--models", "basicnet"), 120, 1, "basicnet.json")]
        speeds.append(Step("replicas", (*beside, *small), 300, 1, "replicas.json"))
        phases = [Step("phase diagram", (*phase, "--cells", "8", "--steps", "200"), 120, 1)]
        studies = [Step("study", (*study, str(Path(__file__).with_name("rehearsal.toml")), *runs), 400, 1)]
    else:
        tests_bound = 110.0
        # Fewer images than CIFAR-10's: an epoch of the plain loop takes long, and more of them say no more.
        few = ("--images", "20000", "--repeats", "1", "--models")
        speeds = [
            Step(f"throughput {name}", (*speed, *few, name), bound, 40, f"{name}.json")
            for name, bound in (("basicnet", 75.0), ("vgg16", 85.0))
        ]
        wide = ("--sizes", "32", "16", "--widths", "1", "0.25", "0.125", "--repeats", "2")
        speeds.append(Step("replicas", (*beside, *wide), 80, 30, "replicas.json"))
        phases = [Step("phase diagram", (*phase, *device, "--cells", "256", "--seeds", "64"), 30, 20)]
        studies = [
            Step("vgg16-cifar10", (*study, "vgg16-cifar10", *runs), 360, 60),
            Step("table", (*study, "table", *runs), 720, 60),
        ]
    named = [Step(s.name, (*s.words, "--json", str(out / s.result)), s.bound, s.least, s.result) for s in speeds]
    return [Step("tests", pytest, tests_bound, 20, "tests.xml"), *named[:-1], *phases, named[-1], *studies]


def visit(todo: Sequence[Step], out: Path, minutes: float) -> list[dict[str, Any]]:
    """Run the steps one after another within so many minutes; what came of each, also in out/gpu.json after each."""
    end = time.monotonic() + 60 * minutes
    found: list[dict[str, Any]] = []
    for step in todo:
        left = end - time.monotonic() - GRACE * minutes / 12
        least, bound = step.least * minutes / 12, min(step.bound * minutes / 12, left)
        print(f"{step.name}: {max(0.0, left):.0f} s left, at most {max(0.0, bound):.0f} s", file=sys.stderr, flush=True)
        if left < least:
            found.append({"step": step.name, "status": "skipped", "seconds": 0.0, "left": left})
        else:
            found.append(_run(step, bound, GRACE * minutes / 12) | _result(out / step.result if step.result else None))
        content = {"minutes": minutes, "device": _device(), "environment": environment(), "steps": found}
        write_whole(out / "gpu.json", (json.dumps(content, indent=1) + "\n").encode())
        print(f"{step.name}: {found[-1]['status']}, {found[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    return found


def _run(step: Step, bound: float, grace: float) -> dict[str, Any]:
    """Run a step in a process group of its own, which is interrupted at its bound and killed if it does not end."""
    started = time.monotonic()
    process = subprocess.Popen(
        step.words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    status = ""
    try:
        output, _ = process.communicate(timeout=bound)
    except subprocess.TimeoutExpired:
        status = "out of time"
        os.killpg(process.pid, signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
    status = status or ("done" if process.returncode == 0 else f"failed with {process.returncode}")
    return {
        "step": step.name,
        "status": status,
        "seconds": time.monotonic() - started,
        "words": list(step.words),
        "output": output[-KEPT:],
    }


def _result(path: Path | None) -> dict[str, Any]:
    """What a step has written, as plain data; nothing if it did not come to that."""
    if path is None or not path.exists():
        return {}
    if path.suffix == ".json":
        return {"result": json.loads(path.read_text() or "{}")}
    cases = [
        {
            "test": f"{case.get('classname')}.{case.get('name')}",
            "seconds": float(case.get("time", "nan")),
            "outcome": next((c.tag for c in case if c.tag in ("failure", "error", "skipped")), "passed"),
            "numbers": {p.get("name"): p.get("value") for p in case.iter("property")},
        }
        for case in ET.parse(path).iter("testcase")
    ]
    return {"result": cases}


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: every step was done; 1: one failed, or there was no time for it; 2: bad usage."""
    parser = argparse.ArgumentParser("bench.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=12.0, help="of the whole visit (12)")
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.json and results.sqlite")
    parser.add_argument(
        "--data", required=True, help="archive or folder of CIFAR-10; of anything, digits too, with --rehearse"
    )
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at a tiny size")
    asked = parser.parse_args(arguments)
    try:
        if not 0 < asked.minutes <= 24 * 60:
            raise InputError(f"minutes {asked.minutes}: a number above 0, at most a day, is accepted")
        if not asked.rehearse and _device() == "cpu":
            raise InputError("no CUDA device is here: one is needed, or --rehearse")
        if asked.data != "digits" and not Path(asked.data).exists():
            raise InputError(f"data {asked.data}: it cannot be found; an archive or folder of images is accepted")
        with writing(asked.out) as out:
            found = visit(steps(out, asked.data, asked.rehearse), out, asked.minutes)
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    for step in found:
        print(f"{step['step']:24} {step['status']:16} {step['seconds']:6.0f} s")
    return int(any(step["status"] != "done" for step in found))


if __name__ == "__main__":
    sys.exit(main())
