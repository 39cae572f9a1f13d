"""The one registry: experiments, the claims on them, and pictures of them, of this package and of a user's own file.

Each is declared where it is written, and found here by name:

    @world("coin")
    @dataclass(frozen=True)
    class Coin:
        seeds: int = 20

        def run(self, threads: int = 1) -> xr.Dataset:
            heads = np.random.default_rng(0).binomial(100, 0.5, self.seeds)
            return xr.Dataset({"heads": ("seed", heads)})

    @claim("X1", source="common knowledge", experiment="coin", decision=within(45, 55))
    def half(data):
        \"\"\"A coin shows heads in half of its flips.

        Heads in 100 flips, one sample a seed.
        \"\"\"
        return mean_interval(data["heads"], "heads", "seeds")
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

from dynamics.door import check_fields, checked
from dynamics.errors import InputError
from dynamics.given import among, file, function, items, kind, shown, suggestion, whole
from dynamics.given import text as as_text
from evidence.claim import Claim, Decision, Estimate, Finding, Margin, judge

if TYPE_CHECKING:
    import xarray as xr

Declared = TypeVar("Declared")
Estimator = TypeVar("Estimator", bound=Callable[..., Estimate | Mapping[str, Estimate]])


class World(Protocol):
    """A frozen dataclass of an experiment's constants, with a method `run` that gives what happened in it.

    Example:
        >>> import xarray as xr
        >>> @dataclass(frozen=True)
        ... class Halved:
        ...     steps: int = 3
        ...     def run(self, threads: int = 1) -> xr.Dataset:
        ...         return xr.Dataset({"left": ("step", [0.5**t for t in range(self.steps)])})
        >>> Halved(steps=2).run().left.values.tolist()
        [1.0, 0.5]
    """

    def run(self, threads: int = 1) -> xr.Dataset:
        """What happened in it, with named dimensions; threads changes nothing but the time it takes."""


@dataclass(frozen=True)
class Experiment:
    """What claims look at. constants: gives those that it is run with; again: the command that runs it anew.

    world: what runs it, where it takes seconds. chapter: of the report, empty if the chapter names the world itself.
    group: worlds of one group run one after another in one process. file: the digest of the user's file that it stands in.
    meaning: raised by hand when other numbers follow from the same constants; results stored before then answer no more.
    """

    name: str
    constants: Callable[[], Mapping[str, Any]]
    again: str
    world: World | None = None
    chapter: str = ""
    group: str = ""
    file: str = ""
    meaning: int = 1


@dataclass(frozen=True)
class Figure:
    """A picture that a user's file brings. draw: takes the datasets of `worlds`, in that order."""

    draw: Callable[..., Any]
    worlds: tuple[str, ...]


EXPERIMENTS: dict[str, Experiment] = {}
CLAIMS: dict[str, Claim] = {}
FIGURES: dict[str, Figure] = {}
_digest = ""  # of the file that is being loaded


def world(name: str, *, chapter: str = "", group: str = "", meaning: int = 1) -> Callable[[Declared], Declared]:
    """Declares a world under a name: decorates its class, or takes a World with other constants than the class's own.

    Args:
        name: by which commands find it.
        chapter: title of the report's chapter that it belongs to, a new one or one that is there; a chapter of its own
            if empty.
        group: worlds of one group run one after another in one process, for what costs more to start than to run.
        meaning: raised by hand when other numbers follow from the same constants; results stored before then answer no
            more.

    Returns:
        The decorator; it hands back what it decorates.

    Raises:
        InputError: for a name that is taken, and for what is not a dataclass with a method `run`.

    Example:
        >>> import xarray as xr
        >>> @world("halved")
        ... @dataclass(frozen=True)
        ... class Halved:
        ...     steps: int = 3
        ...     def run(self, threads: int = 1) -> xr.Dataset:
        ...         return xr.Dataset({"left": ("step", [0.5**t for t in range(self.steps)])})
        >>> find_world("halved").constants()
        {'steps': 3}
    """

    for what, value in (("name", name), ("chapter", chapter), ("group", group)):
        as_text(what, value)
    whole("meaning", meaning, 1)

    def declare(declared: Declared) -> Declared:
        if is_dataclass(declared) and not isinstance(declared, type):
            check_fields(declared)
        found: Any = declared() if isinstance(declared, type) else declared
        if not (is_dataclass(found) and callable(getattr(found, "run", None))):
            raise InputError(f"world {name!r}: a dataclass with a method run is accepted")
        again = f"undertow reproduce --only {name} --fresh"
        made: Any = found
        experiment = Experiment(name, partial(asdict, made), again, made, chapter, group, _digest, meaning)
        _enter(EXPERIMENTS, name, experiment, "world")
        return declared

    return declare


def experiment(name: str, constants: Callable[[], Mapping[str, Any]], again: str) -> None:
    """Declares an experiment that is run by a command of its own; InputError for a name that is taken."""
    _enter(EXPERIMENTS, name, Experiment(name, constants, again), "experiment")


def claim(
    id: str,
    *,
    source: str,
    experiment: str,
    decision: Decision,
    sentence: str = "",
    formula: str = "",
    figure: str = "",
    margin: Margin = "with the data",
    against: Sequence[str] = (),
    **fixed: Any,
) -> Callable[[Estimator], Estimator]:
    """Declares a claim on the data that the decorated estimator reads.

    The first paragraph of the estimator's docstring is the sentence, the rest says what is measured. Where one
    estimator bears on several claims, it is decorated once for each: `sentence` then gives each its own, the docstring
    is what is measured, and `fixed` are arguments that the estimator is called with beside the data.

    The estimator of a sentence about every cell of a grid hands back an estimate for each (`every_cell`): the verdict is
    that of the worst.

    Args:
        id: by which commands find it.
        source: who says so.
        experiment: name of the world whose data bear on it.
        decision: what follows from the estimate, e.g. `above(0)`.
        sentence: the claim, where the docstring does not begin with it.
        formula: what is claimed, as text.
        figure: name of the picture in which it is seen.
        margin: when the numbers of the decision were chosen: "before" the data were seen, "with the data" where it cannot
            be told, or "after".
        against: ids of claims whose data say the opposite; told in the rows of both.
        **fixed: arguments of the estimator.

    Returns:
        The decorator; it hands back what it decorates.

    Raises:
        InputError: for an id that is taken, and for an estimator without a sentence.

    Example:
        >>> from evidence.claim import mean_interval, within
        >>> @claim("X1", source="common knowledge", experiment="coin", decision=within(0.4, 0.6))
        ... def half(data):
        ...     "A coin shows heads in half of its flips."
        ...     return mean_interval(data["heads"], "of flips", "seeds")
        >>> found = judge(CLAIMS["X1"], {"heads": [0.49, 0.5, 0.52]})
        >>> found.claim.sentence, found.holds_if, found.verdict
        ('A coin shows heads in half of its flips.', 'interval within [0.4, 0.6] of flips; margin chosen with the data', 'holds')
    """

    said_of = {"id": id, "source": source, "experiment": experiment, "sentence": sentence, "formula": formula}
    for name, value in {**said_of, "figure": figure}.items():
        as_text(name, value)
    for other in items("against", against, "ids of claims"):
        as_text("against", other)
    kind("decision", decision, Decision, "what above, below, within and never_above give")
    among("margin", margin, get_args(Margin))

    def declare(estimator: Estimator) -> Estimator:
        paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(estimator) or "").split("\n\n")]
        said, measured = (sentence, paragraphs) if sentence else (paragraphs[0], paragraphs[1:])
        if not said:
            raise InputError(f"claim {id!r} has no sentence: the estimator's docstring begins with it")
        estimate = partial(estimator, **fixed) if fixed else estimator
        text = " ".join(measured), formula, figure
        declared = Claim(id, said, source, experiment, estimate, decision, *text, margin, tuple(against))
        _enter(CLAIMS, id, declared, "claim")
        return estimator

    return declare


def figure(name: str, *worlds: str) -> Callable[[Declared], Declared]:
    """Declares a picture of worlds: decorates a function from their datasets to a `figures.style.Picture` of this name.

    Args:
        name: of the picture and its files.
        *worlds: names of the worlds whose datasets the function takes, in that order.

    Returns:
        The decorator; it hands back what it decorates.

    Raises:
        InputError: for a name that is taken.

    Example:
        >>> @figure("heads", "coin")
        ... def draw(data): ...
        >>> FIGURES["heads"].worlds
        ('coin',)
    """

    for what in (name, *worlds):
        as_text("name", what)

    def declare(draw: Declared) -> Declared:
        function(f"what draws {name!r},", draw)
        _enter(FIGURES, name, Figure(draw, worlds), "figure")  # type: ignore[arg-type]
        return draw

    return declare


def _enter(table: dict[str, Any], name: str, entry: Any, what: str) -> None:
    if name in table:
        raise InputError(f"{what} {name!r} is there already: another name is accepted")
    table[name] = entry


def worlds() -> dict[str, Experiment]:
    """The experiments that run in seconds, in the order in which they were declared."""
    return {name: found for name, found in EXPERIMENTS.items() if found.world is not None}


@checked
def find_world(name: str) -> Experiment:
    """The world of that name; InputError for an unknown one."""
    return EXPERIMENTS[among("world", name, tuple(worlds()))]


@checked
def find_claims(names: Sequence[str] = (), experiments: Iterable[str] | None = None) -> list[Claim]:
    """Claims in the order of their ids, numbers as numbers.

    names: ids, first words of ids, or groups: S5 has S5a, S5b and S5c with it, and E all claims of this letter; all claims if
    none. experiments: only claims on these.
    Raises InputError for a name that no claim has.
    """
    every = sorted(
        CLAIMS.values(), key=lambda claim: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", claim.id)]
    )
    for name in names:
        if not any(_is_like(claim, name) for claim in every):
            groups = dict.fromkeys(re.sub(r"^(S\d+|[A-Z](?=\d)|\S*).*", r"\1", claim.id) for claim in every)
            near = suggestion(name, (*groups, *(claim.id for claim in every)))
            raise InputError(
                f"claim {name!r} is unknown: accepted are {', '.join(groups)}, and each id that undertow claims lists{near}"
            )
    if experiments is not None:
        wanted = {as_text("experiment", name) for name in experiments}
        every = [claim for claim in every if claim.experiment in wanted]
    return [claim for claim in every if not names or any(_is_like(claim, name) for name in names)]


def _is_like(claim: Claim, name: str) -> bool:
    # The paper numbers its claims, of which some are told apart by a letter; others have a letter and then a number.
    more = "[a-z]?" if name[-1:].isdecimal() else r"\d*" if re.fullmatch("[A-Z]", name) else ""
    return re.fullmatch(f"{re.escape(name)}{more}( .*)?", claim.id) is not None


def opposed(claim: Claim) -> list[Claim]:
    """The claims whose data say the opposite, whichever of the two says so."""
    return [c for c in CLAIMS.values() if c.id in claim.against or claim.id in c.against]


def judged(claims: Iterable[Claim], data: Mapping[str, Any]) -> list[Finding]:
    """The findings of those claims whose experiment's data are there. Raises InputError where data are not those of a claim."""
    return [_judged(claim, data[claim.experiment]) for claim in claims if claim.experiment in data]


def _judged(claim: Claim, data: Any) -> Finding:
    try:
        return judge(claim, data)
    except InputError:
        raise
    except Exception as error:  # of data from a damaged store, or of a user's own claim, anything
        raise InputError(
            f"claim {claim.id} cannot be judged ({type(error).__name__}: {shown(str(error))}): whole data of "
            f"{claim.experiment}, as --fresh makes them, are accepted"
        ) from error


@checked
def load_worlds(path: Path) -> None:
    """Runs a user's Python file, in which worlds, claims and figures are declared; once in a process.

    Args:
        path: the user's own code.

    Raises:
        InputError: where there is no such file, where it does not run, and where nothing is declared in it; the
            registry is then as it was.

    Example:
        >>> text = "from evidence.registry import world; from synthetic.silence import Silence; "
        >>> _ = Path("mine.py").write_text(text + "world('brief')(Silence(steps=9))")
        >>> load_worlds(Path("mine.py"))
        >>> find_world("brief").constants()["steps"]
        9
    """
    global _digest  # noqa: PLW0603
    source = file(path, "a Python file of worlds is accepted").read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    # Under one name in every process, so that a worker finds the classes of what is sent to it.
    name = f"undertow_worlds_{digest[:16]}"
    if name in sys.modules:
        return
    tables: list[dict[str, Any]] = [EXPERIMENTS, CLAIMS, FIGURES]
    before = [(table, dict(table)) for table in tables]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: a Python file (.py) is accepted")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    _digest = digest
    try:
        spec.loader.exec_module(module)
        if all(table == old for table, old in before):
            raise InputError("nothing is declared in it: a world, a claim or a figure is accepted")
        _refuse_dangling()
    except BaseException as error:  # another's code: whatever it raises is told as its mistake
        del sys.modules[name]
        for table, old in before:
            table.clear()
            table.update(old)
        if isinstance(error, KeyboardInterrupt):
            raise
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: {said[:500]}") from error
    finally:
        _digest = ""


def _refuse_dangling() -> None:
    """InputError for a claim or a figure on what is not there."""
    for id, found in CLAIMS.items():
        if found.experiment not in EXPERIMENTS:
            raise InputError(f"claim {id!r} on {found.experiment!r}: accepted are {', '.join(EXPERIMENTS)}")
    for id, drawn in FIGURES.items():
        for name in drawn.worlds:
            if name not in worlds():
                raise InputError(f"figure {id!r} of {name!r}: accepted are {', '.join(worlds())}")
