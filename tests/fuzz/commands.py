"""Every command with something wrong: values, flags, files, surroundings."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from fuzz.cage import Case, Left
from fuzz.odd import ENDINGS, KINDS, NUMBERS, ODD, PLACES, TEXTS, copy, odd_path
from fuzz.valid import INVOCATIONS, Invocation
from undertow.__main__ import main, parser
from undertow.commands.arguments import number, whole

# What is said beside an answer: how far it is, and which claims have no data.
PROGRESS = re.compile(r"\[ *\d+\.\d s\] |not run yet, see undertow reproduce: ")
# Exit status 1 is an answer, too, said in these words.
NO = re.compile(r"^(diverged: |undertow: outputs differ by |.*\bfailed\b)", re.MULTILINE)
Change = Callable[[Path], list[str]]


@cache
def line() -> argparse.ArgumentParser:
    """The parser of the command line, made once."""
    return parser()


@cache
def actions(command: str) -> list[argparse.Action]:
    """The flags and arguments of a command, but for --help."""
    [below] = [a for a in line()._actions if isinstance(a, argparse._SubParsersAction)]
    return [a for a in below.choices[command]._actions if not isinstance(a, argparse._HelpAction)]


def name_of(action: argparse.Action) -> str:
    """The flag, or the argument in capitals."""
    return action.option_strings[-1] if action.option_strings else str(action.metavar)


def odd_values(action: argparse.Action) -> Iterator[tuple[str, Callable[[Sequence[str], Path], str]]]:
    """What may stand wrong in its place: in words, and how it is made, given the words of the command and the folder."""
    if action.nargs == 0:
        return
    if action.type in (number, whole, float, int):
        odd: Iterable[str] = NUMBERS
    else:
        odd = (*TEXTS, "0", "-1", "nan")
    if action.type is Path or action.dest in PLACES:
        ending = ENDINGS.get(action.dest, "")
        for kind in (*ODD, *KINDS):
            yield kind, partial(odd_path, kind, ending)
            if ending and kind in ("folder", "fifo", "null", "text", *KINDS):
                yield f"{kind}, no ending", partial(odd_path, kind, "")
    else:
        for text in odd:
            yield repr(text[:30]), lambda words, folder, text=text: text


def replaced(words: Sequence[str], action: argparse.Action, value: str, given: argparse.Namespace) -> list[str]:
    """The words with another value for a flag or an argument."""
    words = list(words)
    if not action.option_strings:
        now = getattr(given, action.dest)
        word = str(now[0] if isinstance(now, list) else now)
        if word in words[1:]:
            words[words.index(word, 1)] = value
            return words
        return [words[0], value, *words[1:]]
    for flag in action.option_strings:
        if flag in words:
            words[words.index(flag) + 1] = value
            return words
    count = action.nargs if isinstance(action.nargs, int) else 1
    return [*words, name_of(action), *[value] * count]


def shapes(words: Sequence[str], action: argparse.Action) -> Iterator[tuple[str, list[str]]]:
    """Flags and arguments that are missing, doubled, misspelt, or have too little or too much behind them."""
    words = list(words)
    flag = next((f for f in action.option_strings if f in words), None)
    if flag is None and action.option_strings:
        long = action.option_strings[-1]
        value = [] if action.nargs == 0 else ["1"]
        yield "misspelt", [*words, f"{long}x", *value]
        yield "cut short", [*words, long[:-1], *value]
        yield "with =", [*words, f"{long}=1"]
        yield "without a value", [*words, long]
        yield "given twice", [*words, long, *value, long, *value]
    elif flag is not None:
        at = words.index(flag)
        rest = words[at + 1 :][: 0 if action.nargs == 0 else 1]
        without = [*words[:at], *words[at + 1 + len(rest) :]]
        if action.dest not in ("data", "epochs", "worlds"):  # the program's own take minutes
            yield "left out", without
        yield "misspelt", [*words[:at], f"{flag}x", *words[at + 1 :]]
        yield "twice", [*words, flag, *rest]
        yield "without a value", [*without, flag]
        yield "as a single -", [*words[:at], f"-{flag.lstrip('-')}", *words[at + 1 :]]


# What would be right, and takes minutes.
MINUTES = {("compare", "data", kind) for kind in ("data", "cifar.tar.gz", "tiny.zip", "pictures.tar")}
SURROUNDINGS = ("standard output full", "folder read-only", "no folder", "no TMPDIR", "no HOME", "ascii")


def cases(
    seed: int, count: int, valid: Path, said: dict[tuple[str, ...], str], names: Sequence[str] = ()
) -> Iterator[Case]:
    """`count` cases drawn by `seed`, commands and their flags in turn so that each comes; of the commands `names`, or of all.

    valid: the folder that `fuzz.valid.make` has filled. said: what the valid invocations print.
    """
    draw = random.Random(seed)
    each: list[list[list[Case]]] = []
    for name in names or INVOCATIONS:
        turns: dict[str, list[Case]] = defaultdict(list)
        for invocation in INVOCATIONS[name]:
            make = partial(_case, name, invocation, valid, said.get(invocation.words))
            # A file of rules is loaded while the line is parsed: here none is.
            given = line().parse_args([word for word in invocation.words if word not in ("--rules", "rules.py")])
            for action in actions(name):
                flag = name_of(action)
                for what, value in odd_values(action):
                    if (name, action.dest, what) not in MINUTES:
                        change = partial(_with, invocation.words, action, given, value)
                        turns[flag].append(make(f"{flag} {what}", change, ""))
                for what, words in shapes(invocation.words, action):
                    turns[flag].append(make(f"{flag} {what}", partial(_as_is, words), what))
            turns[""] += [make(what, partial(_as_is, list(invocation.words)), what) for what in SURROUNDINGS]
        for turn in turns.values():
            draw.shuffle(turn)
        each.append(list(turns.values()))
        draw.shuffle(each[-1])
    seen: set[str] = set()
    while len(seen) < count and any(each):
        for turns_left in each:
            if turns_left and len(seen) < count:
                case = turns_left[0].pop()
                turns_left.append(turns_left.pop(0))  # the next flag's turn
                turns_left[:] = [turn for turn in turns_left if turn]
                if case.id not in seen:
                    seen.add(case.id)
                    yield case


def _as_is(words: list[str], _: Path) -> list[str]:
    return words


def _with(
    words: Sequence[str], action: argparse.Action, given: argparse.Namespace, value: Any, folder: Path
) -> list[str]:
    return replaced(words, action, value(words, folder), given)


def _case(
    name: str, invocation: Invocation, valid: Path, said: str | None, what: str, change: Change, shape: str
) -> Case:
    words: list[str] = []

    def prepare(folder: Path) -> None:
        (folder.parent / "valid").symlink_to(valid)
        for target, source in invocation.needs.items():
            copy(valid / source, folder / target)
        words[:] = change(folder)
        if shape == "folder read-only":
            folder.chmod(0o500)

    def run() -> int:
        surround(shape)
        return main(words)

    number_of = INVOCATIONS[name].index(invocation)
    return Case(
        "commands", name, f"{what} ({number_of + 1})", run,
        partial(judge, words, said if shape == "twice" else None, shape), prepare,
        "/dev/full" if shape == "standard output full" else "",
    )  # fmt: skip


def surround(shape: str) -> None:
    """Make the surroundings of this process odd."""
    import sys

    if shape == "no folder":
        gone = Path.cwd().parent / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
    elif shape == "no TMPDIR":
        os.environ["TMPDIR"] = "/nowhere"
    elif shape == "no HOME":
        os.environ.pop("HOME", None)
    elif shape == "ascii":
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="ascii")  # type: ignore[union-attr]


def judge(words: Sequence[str], said: str | None, shape: str, left: Left) -> str:
    """The outcome of a command: refused or right, or what is wrong."""
    if fault := fault_of(left):
        return fault
    if left.status == 2:
        return "refused"
    if shape == "standard output full" and "phase" not in words:
        return "it succeeded, and what it says went nowhere"
    if "--json" in words and left.status == 0 and not shape.startswith("standard"):
        try:
            json.loads(left.out, parse_constant=_no_json)
        except ValueError as error:
            return f"no JSON on standard output: {error}"
    if said is not None and left.status == 0 and timeless(left.out) != timeless(said):
        return f"it says something else: {left.out[:100]!r}"
    return "right"


def fault_of(left: Left) -> str:
    """What is wrong with what any command left, if it is neither a refusal in one line nor an answer."""
    problems = [line for line in left.err.splitlines() if not PROGRESS.match(line)]
    last = problems[-1][:200] if problems else ""
    if left.late:
        return "longer than its time"
    if left.status == 2:
        if len(problems) != 1 or not last.startswith("undertow: "):
            return f"exit status 2 with {len(problems)} lines: {last}"
        if "no memory is left" in last:
            return "it ran out of memory"
        if left.out:
            return f"refused, with something on standard output: {left.out[:100]!r}"
        # What was made is whole, where only what is said about it finds no room.
        if (left.made or left.changed) and "standard output cannot be written" not in last:
            return f"refused, but left behind: {', '.join((*left.made, *left.changed))[:200]}"
        return ""
    if left.status == 1 and NO.search(left.err + left.out) and not any("Traceback" in line for line in problems):
        return ""
    if left.status != 0:
        return f"exit status {left.status}, {len(problems)} lines: {last}"
    if problems:
        return f"exit status 0 with {len(problems)} lines: {last}"
    if hidden := [name for name in left.made if temporary(name)]:
        return f"left behind: {', '.join(hidden)[:200]}"
    return ""


def temporary(name: str) -> bool:
    """Whether this is a file that should not outlive a command."""
    return (
        name == "a process"
        or name.startswith("temporary ")
        or Path(name).name.startswith(".")
        or name.endswith("-journal")
    )


def timeless(text: str) -> Any:
    """What a command says, without the times that it took and the folder in which it ran."""
    try:
        return _without_times(json.loads(text))
    except ValueError:
        return re.sub(r"(?m)^time for .*$|in [\d.]+ s: .*$|/\S*/place/", "", text)


def _without_times(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _without_times(part) for name, part in data.items() if name not in ("seconds", "latency")}
    return [_without_times(part) for part in data] if isinstance(data, list) else data


def _no_json(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")
