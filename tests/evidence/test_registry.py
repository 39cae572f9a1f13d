"""The one registry: what is declared is found, by name and in order, and a user's file adds to it or leaves it as it was."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import xarray as xr

import undertow.experiments  # noqa: F401
from dynamics.errors import InputError
from evidence.claim import Decision, Estimate, above, below, judge, never_above, spread, within
from evidence.progress import Live
from evidence.registry import CLAIMS, EXPERIMENTS, FIGURES, claim, find_claims, find_world, load_worlds, opposed, world
from evidence.store import Store
from evidence.study import world_data
from figures.report import _claim
from undertow.commands.claims import _why, as_dict


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The registry is emptied of what a test declares."""
    tables = [(table, dict(table)) for table in (EXPERIMENTS, CLAIMS, FIGURES)]
    modules = set(sys.modules)
    yield
    for table, before in tables:
        table.clear()
        table.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith("undertow_worlds_"):
            del sys.modules[name]


def test_the_docstring_is_the_sentence_and_what_is_measured() -> None:
    @claim("X1", source="here", experiment="silence", decision=above(0), formula="x > 0", figure="silence")
    def positive(data: list[float]) -> Estimate:
        """What is claimed, over
        two lines.

        What is measured.

        And how.
        """
        return spread(data, "points")

    found = CLAIMS["X1"]
    assert (found.sentence, found.measured) == ("What is claimed, over two lines.", "What is measured. And how.")
    assert (found.source, found.experiment, found.formula, found.figure) == ("here", "silence", "x > 0", "silence")
    assert judge(found, [1, 2]).verdict == "holds"
    assert positive([3]).value == 3  # as it was written


def test_one_estimator_bears_on_several_claims() -> None:
    @claim("X1", source="", experiment="silence", decision=above(0), sentence="Doubled.", factor=2)
    @claim("X2", source="", experiment="silence", decision=above(0), sentence="Turned round.", factor=-1)
    def scaled(data: list[float], factor: float) -> Estimate:
        """The numbers, scaled."""
        return spread([factor * x for x in data], "points")

    assert {name: judge(CLAIMS[name], [1.0, 2.0]).estimate.low for name in ("X1", "X2")} == {"X1": 2, "X2": -2}
    assert (CLAIMS["X1"].sentence, CLAIMS["X1"].measured) == ("Doubled.", "The numbers, scaled.")


def test_a_decision_says_itself_in_words() -> None:
    for decision, words in (
        (above(0), "interval above 0 points"),
        (below(-0.5), "interval below -0.5 points"),
        (within(0.95, 1.05), "interval within [0.95, 1.05] points"),
        (never_above(1 + 1e-9), "interval at most 1.000000001 points"),
        (Decision(low=2), "interval at least 2 points"),
    ):
        assert decision.in_words("points") == words


def test_a_claim_says_when_its_margin_was_chosen_and_what_contradicts_it() -> None:
    claim("X1", source="", experiment="silence", decision=above(0), sentence="One.")(
        lambda data: spread(data, "points")
    )
    for margin, words in (("before", "before the data were seen"), ("after", "after the data were seen")):
        told = claim(f"X {margin}", source="", experiment="silence", decision=above(0), sentence="Other.",
                     margin=margin, against=("X1",))  # type: ignore[arg-type]  # fmt: skip
        told(lambda data: spread(data, "points"))
        assert judge(CLAIMS[f"X {margin}"], [1]).holds_if == f"every sample above 0 points; margin chosen {words}"
    assert judge(CLAIMS["X1"], [1]).holds_if == "every sample above 0 points; margin chosen with the data"
    assert [found.id for found in opposed(CLAIMS["X1"])] == ["X before", "X after"]
    assert [found.id for found in opposed(CLAIMS["X after"])] == ["X1"]
    for one, other in (("X1", "X after"), ("X after", "X1")):
        finding = judge(CLAIMS[one], [1])
        assert f"against it: {other}, on silence: {CLAIMS[other].sentence}" in _why(finding)
        assert f"Against it: {other}, {CLAIMS[other].sentence}" in _claim(finding)
        assert other in as_dict(finding)["against"]


def test_names_that_are_taken_and_claims_without_a_sentence_are_refused() -> None:
    with pytest.raises(InputError, match=r"^claim 'S3' is there already: another name is accepted$"):
        claim("S3", source="", experiment="silence", decision=above(0), sentence="Again.")(spread)
    with pytest.raises(InputError, match=r"^world 'silence' is there already"):
        world("silence")(find_world("silence").world)
    with pytest.raises(InputError, match=r"^claim 'X1' has no sentence"):
        claim("X1", source="", experiment="silence", decision=above(0))(lambda data: spread(data, ""))
    with pytest.raises(InputError, match=r"^world 'plain': a dataclass with a method run is accepted$"):
        world("plain")(object)


def test_claims_are_found_by_first_words_in_the_order_of_their_numbers() -> None:
    ids = [found.id for found in find_claims()]
    assert len(ids) == len(set(ids)) == len(CLAIMS) > 200
    assert [id for id in ids if re.fullmatch(r"A\d+", id)] == [f"A{k}" for k in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13)]
    chosen = [c.id for c in find_claims(["S1", "S9 thresholds"])]
    assert chosen == [
        "S1",
        "S1 any lr",
        "S1 cifar",
        "S1 cifar short",
        "S1 toy",
        *(f"S9 thresholds {m}" for m in ("activation", "activation 8", "scale", "scale 2")),
    ]
    assert {c.experiment for c in find_claims(experiments=["grid", "compare"])} == {"grid", "compare"}
    for name, first in (("S5", ["S5a", "S5b", "S5c"]), ("S1", ["S1"]), ("F", ["F"]), ("E9", ["E9"]), ("A1", ["A1"])):
        assert [*dict.fromkeys(c.id.split()[0] for c in find_claims([name]))] == first
    assert [c.id for c in find_claims(["A"])] == [id for id in ids if re.match(r"A\d", id)]
    groups = ", ".join([*"ABCDEF", *(f"S{n}" for n in range(1, 14))])
    for name, near in (("S99", "S9"), ("S5 a", "S5a"), ("s5", "S5"), ("a", "A"), ("", ""), ("zebra", "")):
        refusal = f"claim {name!r} is unknown: accepted are {groups}, and each id that undertow claims lists"
        refusal += re.escape(f"; did you mean {near!r}?") if near else ""
        with pytest.raises(InputError, match=f"^{refusal}$"):
            find_claims([name])
    with pytest.raises(InputError, match=r"^world 'pocket' is unknown: accepted are .*silence"):
        find_world("pocket")


# Words that a reader of one row alone cannot resolve.
LEANING = re.compile(
    r"^(So |They |It |There |The same|Beyond that|Before it)|\bSo does|\b(does|do|did)( so)?[.,]|\bthat (limit|size)\b"
    r"|\bbeyond it\b|\bas well\.|, too[.,]"
)


def test_every_claim_stands_alone() -> None:
    for found in find_claims():
        assert not LEANING.search(found.sentence), found.id
        assert found.sentence.endswith("."), found.id
        assert found.measured and not re.search(r"\bThe same\b|`", found.measured), found.id  # noqa: PT018
        assert found.source, found.id
        assert dict(EXPERIMENTS[found.experiment].constants()), found.id


FILE = '''
from dataclasses import dataclass

import numpy as np
import xarray as xr

from evidence.claim import mean_interval, within
from evidence.registry import claim, world


@world("coin")
@dataclass(frozen=True)
class Coin:
    """Flips of a coin."""

    seeds: int = 20

    def run(self, threads: int = 1) -> xr.Dataset:
        return xr.Dataset({"heads": ("seed", np.random.default_rng(0).binomial(100, 0.5, self.seeds))})


@claim("X1", source="common knowledge", experiment="coin", decision=within(45, 55))
def half(data):
    """A coin shows heads in half of its flips."""
    return mean_interval(data["heads"], "heads of 100", "seeds")
'''


def test_a_users_file_adds_a_world_and_a_claim_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    for _ in range(2):  # a worker may get it twice
        load_worlds(path)
    found = find_world("coin")
    assert found.constants() == {"seeds": 20}
    assert found.again == "undertow reproduce --only coin --fresh"
    assert len(found.file) == 64  # the file's digest, part of the key in the store
    assert isinstance(found.world, sys.modules[type(found.world).__module__].Coin)
    assert judge(CLAIMS["X1"], found.world.run()).verdict == "holds"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "nothing is declared in it: a world, a claim or a figure is accepted"),
        (FILE + "\ndef (", "SyntaxError: invalid syntax"),
        (FILE + "\n1 / 0", "ZeroDivisionError: division by zero"),
        (FILE.replace('"coin"', '"silence"'), "world 'silence' is there already: another name is accepted"),
        (FILE.replace('"X1"', '"S3"'), "claim 'S3' is there already: another name is accepted"),
        (FILE.replace('experiment="coin"', 'experiment="dice"'), "claim 'X1' on 'dice': accepted are"),
        (
            FILE + '\nfrom evidence.registry import figure\n@figure("f", "dice")\ndef draw(data): ...\n',
            "figure 'f' of 'dice': accepted are",
        ),
    ],
    ids=["empty", "syntax", "raises", "world taken", "claim taken", "no such experiment", "no such world"],
)
def test_a_file_that_cannot_be_used_leaves_the_registry_as_it_was(text: str, words: str, tmp_path: Path) -> None:
    before, path = [dict(table) for table in (EXPERIMENTS, CLAIMS, FIGURES)], tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}.*{re.escape(words)}"):
        load_worlds(path)
    assert [dict(table) for table in (EXPERIMENTS, CLAIMS, FIGURES)] == before
    with pytest.raises(InputError, match="cannot be read"):
        load_worlds(tmp_path / "nowhere.py")


def test_a_world_with_other_constants_is_declared_as_it_is() -> None:
    @dataclass(frozen=True)
    class Small:
        size: int = 3

        def run(self, threads: int = 1) -> xr.Dataset:
            return xr.Dataset()

    world("small", chapter="Sizes", group="compiler")(Small(5))
    found = find_world("small")
    assert (found.constants(), found.chapter, found.group, found.file) == ({"size": 5}, "Sizes", "compiler", "")


def test_another_meaning_of_the_same_constants_is_another_key(tmp_path: Path) -> None:
    name = "scheduled"  # its numbers changed once while its constants stayed
    with Store(tmp_path / "results.sqlite") as store, Live() as live, ThreadPoolExecutor(1) as pool:
        world_data([name], store, pool, live)
        constants = EXPERIMENTS[name].constants()
        assert store.get(name, constants) is None
        assert store.get(name, {**constants, "meaning": 2}) is not None
