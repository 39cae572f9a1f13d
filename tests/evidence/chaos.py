"""Studies whose driver and workers are killed at random, again and again, and what is left in the end.

python tests/evidence/chaos.py [--kills N] [--seed S] [--study FILE] [--keep FILE] kills until N processes have got a SIGKILL,
starts each driver that was killed again, and says what it saw; exit status 1 if a row was lost, doubled or other than in an
undisturbed study, or if a process or a file was left behind. With --study, that is `undertow study FILE`, real trainings; with
--keep, what was counted is written to a JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MARK = "UNDERTOW_CHAOS"  # in the environment of a driver and of all that it starts
PATIENCE = 20.0  # seconds in which a process must have begun or ended
LOST, MORE, OTHER = "rows lost", "rows too many", "rows of other bits"
PROCESSES, FILES, FAILED = "processes left behind", "files left behind", "drivers that failed"
Results = dict[str, tuple[str, ...]]


def computed(number: int, steps: int) -> dict[str, Any]:
    """A run of some hundredths of a second in which a wrong bit would grow."""
    x, kept = 0.1 + number / 1000, []
    for step in range(steps):
        x = 3.9 * x * (1 - x)
        if step % 200 == 0:
            kept.append(x)
    return {"summary": {"last": x}, "curves": {"x": kept}}


def drive(path: Path, runs: int, steps: int) -> None:
    """The driver: a study of short runs, every other four of them a group."""
    from evidence.executors.local import processes
    from evidence.store import Store
    from evidence.study import Run, run_all

    asked = [
        Run("chaos", {"number": n}, f"{n}", partial(computed, n, steps), f"{n // 4}" if n // 4 % 2 else "")
        for n in range(runs)
    ]
    with Store(path) as store, processes(workers=2) as executor:
        run_all(asked, store, executor, lambda *_: None, retry=("failed",), curves=False)


@dataclass
class Chaos:
    """One study after another in a folder, killed on the way. command: what drives one, given its folder."""

    command: list[str]
    random: Random
    folder: Path
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    amiss: Counter[str] = field(
        default_factory=lambda: Counter(dict.fromkeys((LOST, MORE, OTHER, PROCESSES, FILES, FAILED), 0))
    )
    turns: list[str] = field(default_factory=list)  # of the kills that come next, the last first: as many of each kind
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def study(self, name: str, kills: int) -> Results:
        """Run one study to its end, with at most so many kills on the way; its results by key."""
        place, scratch = self.folder / name, self.folder / f"{name} scratch"
        place.mkdir()
        scratch.mkdir()
        left, idle = kills, 0
        while True:
            driver = self._start(place, scratch)
            while left and driver.poll() is None:
                left -= self._kill_one(driver, place)
            status = driver.wait()
            self._gone(place)
            if status == -signal.SIGKILL:
                continue
            idle += 1
            rows = results(place / "results.sqlite") if not status else {}
            failed = sum(row[1] == "failed" for row in rows.values())
            self.seen["runs given up and tried again"] += failed
            if status or (failed and idle > 5):
                self.amiss[FAILED] += 1
                self.wrong.append(f"a driver of {name} ended with exit status {status}, {failed} runs failed")
            if status or not failed or idle > 5:
                break
        hidden = [
            x for x in place.rglob("*") if x.name.startswith(".") or x.name.endswith(("-journal", "-wal", "-shm"))
        ]
        files = (*hidden, *scratch.rglob("*"))
        self.amiss[FILES] += len(files)
        self.wrong += [f"left behind: {x.relative_to(self.folder)}" for x in files]
        return rows

    def _start(self, place: Path, scratch: Path) -> subprocess.Popen[bytes]:
        command = [part.format(folder=place) for part in self.command]
        surroundings = {MARK: self.mark, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
        # torch keeps a cache for later processes, below TMPDIR unless told otherwise: it is meant to stay.
        surroundings["TORCHINDUCTOR_CACHE_DIR"] = str(self.folder / "cache of torch")
        self.seen["drivers started"] += 1
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                command, env=os.environ | surroundings, stdout=said, stderr=said, start_new_session=True
            )

    def _kill_one(self, driver: subprocess.Popen[bytes], place: Path) -> bool:
        """After a while, kill the driver or one of its workers; False if there was none any more."""
        time.sleep(self.random.uniform(0, 0.5))
        if not self.turns:
            self.turns = self.random.sample(["driver", "worker"], 2)
        waiting = time.monotonic() + PATIENCE
        # A driver that is killed before it works loses little: that is tried only now and then.
        early = self.turns[-1] == "driver" and self.random.random() < 0.2
        while not (workers := self._workers(driver.pid)) and not early:
            if driver.poll() is not None or time.monotonic() > waiting:
                return False
            time.sleep(0.02)
        victim = driver.pid if self.turns[-1] == "driver" else self.random.choice(workers)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.turns.pop()
        self.seen["drivers killed" if victim == driver.pid else "workers killed"] += 1
        if victim == driver.pid:
            driver.wait()
            self.seen["journals found"] += (place / "results.sqlite-journal").exists()
        return True

    def _workers(self, driver: int) -> list[int]:
        """The grandchildren of the driver: what its server of processes has started."""
        parents = {pid: parent_of(pid) for pid in self.alive()}
        return [pid for pid, parent in parents.items() if parents.get(parent) == driver]

    def alive(self) -> list[int]:
        """Processes of these studies that have not ended."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if marked(pid, self.mark)]

    def _gone(self, place: Path) -> None:
        """Once its driver has ended, no process may be left; what is left is noted, and ended."""
        waiting = time.monotonic() + PATIENCE
        while (left := self.alive()) and time.monotonic() < waiting:
            time.sleep(0.01)
        for pid in left:
            self.amiss[PROCESSES] += 1
            self.wrong.append(f"process {pid} of {place.name} outlived its driver by {PATIENCE:g} s")
            os.kill(pid, signal.SIGKILL)
        while left and self.alive():
            time.sleep(0.01)


def marked(pid: int, mark: str) -> bool:
    """Whether a process carries the mark, and is no zombie."""
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return False


def parent_of(pid: int) -> int:
    """The parent of a process, 0 if it has just ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def timeless(value: Any) -> Any:
    """The same data without the seconds that a run took."""
    if isinstance(value, dict):
        return {name: timeless(part) for name, part in value.items() if name != "seconds"}
    return value


def results(path: Path) -> Results:
    """What a store holds, read without the program under test: by key, and to the last bit."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = db.execute("select key, spec, status, summary, curves, error from runs").fetchall()
    db.close()
    if len({spec for _, spec, *_ in found}) != len(found):
        raise AssertionError(f"a row of {path} is doubled")
    return {
        key: (spec, status, json.dumps(timeless(json.loads(summary))), *more)
        for key, spec, status, summary, *more in found
    }


def chaos(kills: int, seed: int, command: list[str], folder: Path, each: int) -> Chaos:
    """Kill so many processes, at most `each` in one study, and compare every study with an undisturbed one."""
    made = Chaos(command, Random(seed), folder)
    undisturbed = made.study("undisturbed", 0)
    made.seen["runs of a study"] = len(undisturbed)
    while not made.wrong and (done := made.seen["drivers killed"] + made.seen["workers killed"]) < kills:
        made.seen["studies"] += 1
        name = f"study {made.seen['studies']}"
        found = made.study(name, min(each, kills - done))
        different = [key for key in undisturbed if key in found and found[key] != undisturbed[key]]
        lost, more = undisturbed.keys() - found.keys(), found.keys() - undisturbed.keys()
        made.amiss.update({LOST: len(lost), MORE: len(more), OTHER: len(different)})
        if lost or more or different:
            made.wrong.append(f"{name}: {len(lost)} rows lost, {len(more)} too many, {len(different)} of other bits")
    return made


def short_runs(runs: int = 240, steps: int = 60_000) -> list[str]:
    """The command that drives a study of short runs."""
    return [sys.executable, __file__, "--drive", "{folder}/results.sqlite", str(runs), str(steps)]


def main() -> int:
    """The command line."""
    if sys.argv[1:2] == ["--drive"]:
        drive(Path(sys.argv[2]), *map(int, sys.argv[3:]))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--study", metavar="FILE")
    parser.add_argument("--keep", metavar="FILE")
    asked = parser.parse_args()
    command = short_runs()
    if asked.study:
        command = [sys.executable, "-m", "undertow", "study", asked.study, "--out", "{folder}", "--retry", "failed"]
    started = time.monotonic()
    with TemporaryDirectory(prefix="chaos-") as folder:
        made = chaos(asked.kills, asked.seed, command, Path(folder), each=25)
        if made.wrong:
            print((Path(folder) / "said.txt").read_text()[-3000:], file=sys.stderr)
    seconds = round(time.monotonic() - started)
    if asked.keep:
        versions = {
            "date": date.today().isoformat(),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        }
        counts = {
            "kills": made.seen["drivers killed"] + made.seen["workers killed"],
            "seen": made.seen,
            "wrong": made.amiss,
        }
        found = {"made": versions, "seed": asked.seed, "seconds": seconds, **counts}
        Path(asked.keep).write_text(json.dumps(found, indent=1) + "\n")
    print(f"seed {asked.seed}, {seconds} s: " + ", ".join(f"{n} {what}" for what, n in made.seen.items()))
    print("\n".join(made.wrong) or "no row lost, doubled or of other bits; no process and no file left behind")
    return bool(made.wrong)


if __name__ == "__main__":
    sys.exit(main())
