"""What commands share: a parser that says mistakes in one line, values, and the flags of a setting."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dynamics.errors import InputError
from dynamics.given import line, shown, suggestion
from dynamics.lines import fit, width
from dynamics.rule import SHARED

if TYPE_CHECKING:
    from evidence.progress import Live
    from fullscale.data import Images

# Of all rules; a rule says itself which of them it has. What an own rule alone has is written behind its name.
_HYPER = tuple(name for name in SHARED if name not in ("lr", "strength"))
FORMATS = (".png", ".svg", ".pdf")
Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """argparse, with its mistakes raised as InputError."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the message, with where to find help."""
        said = message.removeprefix("argument ").replace(": '", " '", 1)
        raise InputError(f"{said}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse's own place for it: what it says there gets the nearest of the choices behind it.
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += suggestion(value, [str(choice) for choice in action.choices or ()])
            raise

    def print_help(self, file: Any = None) -> None:
        """Print it; where argparse's own method keeps it for itself that nothing could be written, this one raises."""
        print(self.format_help(), end="", file=file)


class Version(argparse.Action):
    """Print the installed version, looked up only when it is asked for, and end."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print it."""
        from importlib.metadata import version

        print(f"undertow {version('undertow')}")
        parser.exit()


class LoadRules(argparse.Action):
    """Load the rules of a file where the flag stands, so that all that is checked after it knows them."""

    def __call__(self, parser: argparse.ArgumentParser, space: argparse.Namespace, value: Any, *_: Any) -> None:
        """Load them."""
        from dynamics.rules import load_rules

        load_rules(value)


def number(text: str) -> float:
    """A number, which its user checks further."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)}: a number is accepted") from None


def whole(text: str) -> int:
    """A whole number, which its user checks further."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)}: a whole number is accepted") from None


def path(text: str) -> Path:
    """A path that there is, or can be: not too long, not a link to itself, not below a folder that is closed to us."""
    if not text:
        raise argparse.ArgumentTypeError("'': a path is accepted")
    try:
        os.stat(text)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a zero byte in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{line(text)}: {reason}: another path is accepted") from None
    return Path(text)


def say(text: str) -> None:
    """Print an answer for people, in lines no wider than the terminal."""
    print(fit(text, width()))


def add_out(parser: argparse.ArgumentParser, holds: str) -> None:
    """The flag of the folder that a command writes into; holds: what will be in it."""
    text = f"folder for {holds}; made if need be (out)"
    parser.add_argument("--out", type=path, default=Path("out"), metavar="FOLDER", help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The flag of an answer for programs."""
    parser.add_argument("--json", action="store_true", help="print the same as data")


def add_images(parser: Any, text: str = "only these classes") -> None:
    """The flags of what is made of the images: fewer classes, fewer pixels, other labels."""
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help=f"{text}: cat,dog or cat dog")
    parser.add_argument(
        "--size", type=whole, default=0, metavar="N", help="images of N x N pixels, averaged over areas (as they are)"
    )
    parser.add_argument(
        "--label-noise",
        type=number,
        default=0.0,
        metavar="P",
        help="draw this share of the training labels at random (0)",
    )


def given_images(arguments: argparse.Namespace, live: Live) -> Images:
    """The images of --data, of all classes or of those in --classes, of --size, with --label-noise."""
    from fullscale.data import load, prepared

    live.line(f"reading {arguments.data}")
    images = load(arguments.data)
    return prepared(images, named(arguments.classes, images.classes), arguments.size, arguments.label_noise)


def named(given: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """The names in --classes: a class's own name as it is, comma or not, and anything else cut at its commas, as in cat, dog.
    InputError where commas are all that is given."""
    parts = [name.strip() for text in given for name in ([text] if text in classes else text.split(","))]
    found = tuple(name for name in parts if name)
    if given and not found:
        raise InputError(f"--classes {' '.join(given)!r}: names of classes are accepted")
    return found


def add_worlds(parser: argparse.ArgumentParser) -> None:
    """The flag of a user's own worlds."""
    text = "a Python file with worlds, claims and figures of your own"
    parser.add_argument("--worlds", type=path, metavar="FILE", help=text)


def drawable(flag: str, file: Path) -> None:
    """InputError unless the file's name has an ending that pictures can be written to, and it can be written."""
    from evidence.files import check_place

    if file.suffix not in FORMATS:
        raise InputError(f"{flag} {file}: a file name that ends in {', '.join(FORMATS)} is accepted")
    check_place(file)


def add_setting(parser: argparse.ArgumentParser) -> None:
    """The flags of a setting: learning rate, regularizer, hyperparameters."""
    group = parser.add_argument_group("setting")
    group.add_argument("--lr", type=number, metavar="X", help="learning rate; the optimizer's default if not given")
    group.add_argument(
        "--l2", type=number, metavar="X", help="short for --coupling l2 --strength X: L2 in the gradient"
    )
    group.add_argument(
        "--weight-decay", type=number, metavar="X", help="strength of the regularizer that the library's class has"
    )
    group.add_argument(
        "--coupling",
        metavar="NAME",
        help="how the regularizer enters: none, l2, l1, decoupled_lr (torch's AdamW), decoupled_schedule (the AdamW "
        "paper), decoupled_constant, corrected or cautious",
    )
    group.add_argument(
        "--strength", type=number, metavar="X", help="the regularizer's strength, entering by --coupling"
    )
    for name in _HYPER:
        group.add_argument(f"--{name.replace('_', '-')}", dest=name, type=number, metavar="X", help=argparse.SUPPRESS)
    group.description = (
        f"hyperparameters, where the optimizer has them: {', '.join('--' + n.replace('_', '-') for n in _HYPER)}"
    )
    add_rules(parser)


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The flag of rules of the user's own."""
    text = "a Python file with rules of your own, which then go by their names like all others; may be given again"
    parser.add_argument("--rules", action=LoadRules, type=path, metavar="FILE", help=text)


def given_setting(arguments: argparse.Namespace) -> dict[str, Any]:
    """The setting's flags that were given, for `dynamics.answers.setting.parse`."""
    names = ("lr", "l2", "weight_decay", "coupling", "strength", *_HYPER)
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}
