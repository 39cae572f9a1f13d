"""What a user names as Python: an attribute of a module of theirs or of an installed package."""

from __future__ import annotations

import importlib
import operator
import re
import sys
from contextlib import redirect_stdout
from typing import Any

from dynamics.errors import InputError


def attribute(name: str, example: str, flag: str = "") -> Any:
    """What "module:name" stands for; the module is imported, from the current folder too, where its code runs.

    Raises InputError for another form and for whatever goes wrong there. example: of what is accepted, in words; flag: what
    stands before the name in a message.

    Example:
        >>> attribute("math:tau", "math:pi for pi in the module math")
        6.283185307179586
    """
    if not re.fullmatch(r"[\w.]+:[\w.]+", name):
        raise InputError(f"{flag}{name}: module:function is accepted, such as {example}")
    module, _, path = name.partition(":")
    if "" not in sys.path:
        sys.path.append("")  # last: nothing that is installed gets another meaning
    try:
        with redirect_stdout(sys.stderr):
            return operator.attrgetter(path)(importlib.import_module(module))
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise InputError(f"{flag}{name}: failed ({_reason(error)}); {example} is accepted") from error


def called(flag: str, name: str) -> Any:
    """What the function "module:function" of a user's returns, called without arguments.

    flag: by which it was named. Raises InputError where there is no such function, or it fails.

    Example:
        >>> called("--net", "builtins:list")
        []
    """
    words = "a function without arguments, as networks:make for make() in networks.py, of this folder or a package,"
    function = attribute(name, words, f"{flag} ")
    try:
        with redirect_stdout(sys.stderr):
            return function()
    except (Exception, SystemExit) as error:
        raise InputError(f"{flag} {name}: failed ({_reason(error)}); {words} is accepted") from error


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
