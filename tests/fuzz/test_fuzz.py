"""A few bad inputs of each part, and the judge of them: `make fuzz` gives more."""

from __future__ import annotations

import importlib
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamics.errors import InputError
from evidence.store import Store
from fuzz import commands, formats, mutations, session, valid
from fuzz.cage import Case, run_all
from undertow import __main__ as program
from undertow.commands import COMMANDS

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits and processes are those of Linux"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What no command makes, a network and stores; what commands import is imported."""
    for name in session.COMMON:
        importlib.import_module(name)
    from fullscale.checkpoint import save
    from fullscale.models import basicnet

    folder = tmp_path_factory.mktemp("valid")
    valid.make(folder, commands=())
    for name in ("net.safetensors", "colour.safetensors", "trained/training.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        save(basicnet(classes=2, width=1 / 32, in_channels=1), folder / name)
    for name in ("results.sqlite", "studied/results.sqlite", "stored/results.sqlite"):
        (folder / name).parent.mkdir(exist_ok=True)
        with Store(folder / name) as store:
            store.put("kind", {"x": 1}, summary={"y": 2}, curves={})
    return folder


def faults(cases: Iterator[Case], seconds: float = 60) -> list[str]:
    return [
        f"{case.id}: {said}"
        for case, left in run_all(cases, seconds=seconds)
        if (said := case.judge(left)) not in session.OUTCOMES
    ]


def test_every_command_is_there() -> None:
    assert list(valid.INVOCATIONS) == list(COMMANDS)
    for name, invocations in valid.INVOCATIONS.items():
        assert all(invocation.words[0] == name for invocation in invocations)


def test_bad_words_are_refused_in_one_line(files: Path) -> None:
    names = ("results", "fetch")
    assert faults(commands.cases(3, 36, files, {}, names)) == []


def test_bad_files_are_refused_in_one_line(files: Path) -> None:
    names = ("study (.toml)", "rules (.py)", "store, merged", "CIFAR, not vouched for", "network (safetensors)")
    assert faults(formats.cases(0, 22, files, {}, names)) == []


def _hang() -> None:
    time.sleep(600)


def _raise() -> None:
    raise ValueError("planted")


def _two_lines() -> None:
    print("undertow: one\nundertow: two", file=sys.stderr)
    raise InputError("x: y is accepted")


def _eat() -> None:
    whole = bytearray(3 * 2**30)
    raise InputError(f"{len(whole)}: less is accepted")


def _leave() -> None:
    Path("half.csv").write_text("half")
    raise InputError("x: y is accepted")


def _change() -> None:
    Path("given").write_text("half")
    raise InputError("x: y is accepted")


def _warn() -> None:
    warnings.warn("planted", stacklevel=1)


def _say() -> None:
    print("half an answer")
    raise InputError("x: y is accepted")


def _orphan() -> None:
    import os

    if not os.fork():
        time.sleep(600)


def _kill() -> None:
    signal.raise_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("does", "found"),
    [
        (_hang, "longer than its time"),
        (_raise, "exit status 1, "),
        (_two_lines, "exit status 2 with 3 lines"),
        (_eat, "it ran out of memory"),
        (_leave, "refused, but left behind: half.csv"),
        (_change, "refused, but left behind: given"),
        (_warn, "exit status 0 with "),
        (_say, "refused, with something on standard output"),
        (_orphan, "left behind: a process"),
        (_kill, "exit status -9"),
    ],
)
def test_what_is_planted_is_found(does: Callable[[], None], found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.cage.PATIENCE", 0.1)

    class Parsed:
        def parse_args(self, _: Any) -> Any:
            return type("Asked", (), {"run": lambda _, __: does() or 0})()

    monkeypatch.setattr(program, "parser", Parsed)
    case = Case(
        "commands",
        "planted",
        "",
        lambda: program.main([]),
        lambda left: commands.judge([], None, "", left),
        lambda place: (place / "given").touch(),
    )
    [[_, left]] = run_all([case], seconds=0.5 if does is _hang else 60)
    assert case.judge(left).startswith(found), (case.judge(left), left)


def test_right_answers_and_refusals_are_told_apart(files: Path) -> None:
    def judged(words: str, said: str | None = None) -> str:
        def run() -> int:
            return program.main(words.split())

        case = Case("commands", "explain", "", run, lambda left: commands.judge(words.split(), said, "", left))
        [[_, left]] = run_all([case])
        return case.judge(left)

    assert judged("explain adam --lr -1") == "refused"
    assert judged("explain adam --lr 1") == "right"
    assert judged("explain adam --lr 1", said="another").startswith("it says something else")


def test_the_same_seed_gives_the_same_cases_and_every_flag_comes(files: Path) -> None:
    def ids(seed: int) -> list[str]:
        few = ["JPEG", "store, read"]
        found = (commands.cases(seed, 10, files, {}, ["merge"]), formats.cases(seed, 10, files, {}, few))
        return [case.id for each in found for case in each]

    assert ids(3) == ids(3) != ids(4)
    first = [case.id for case in commands.cases(3, 800, files, {})]
    flags = {commands.name_of(action) for name in COMMANDS for action in commands.actions(name)}
    assert {
        word for word in (id.split(": ")[1].split()[0] for id in first if id.startswith("commands")) if word in flags
    } == flags


def test_every_change_changes_the_file(files: Path) -> None:
    for name, form in formats.FORMATS.items():
        source = files / form.needs.get(form.file, "nowhere")
        if not source.is_file():
            continue
        before = source.read_bytes()
        for strategy, change in form.changes.values():
            made = {change(mutation, before) for mutation in mutations.drawn(strategy, 0, 6)}
            assert made - {before}, name
