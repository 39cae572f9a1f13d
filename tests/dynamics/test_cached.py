"""Kernels kept on disk: the same bits without compiling, never those of another function, and no folder is no harm."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from numba.core.caching import NullCache

from dynamics.simulate import cached

# One loop over a rule, and a function whose name and number in its process are those of another.
PROGRAM = """
import math
import sys
import numpy as np
from numba.core import event
from dynamics.simulate import cached
from undertow import simulate

compiled = event.RecordingListener()
event.register("numba:compile", compiled)

def times(factor):
    # So long that it stays a function of its own in the machine code, which the linker knows by its name.
    lines = ["def inner(x):", *["    x = x + sin(x) * 0.0"] * 99, "    return x * factor"]
    scope = {"sin": math.sin, "factor": factor}
    exec("\\n".join(lines), scope)
    inner = cached.compiled(scope["inner"], {}, keep=False)
    return cached.compiled(lambda x: inner(x) + inner(x - 1), {}, keep=True)

print([times(float(factor))(1.0) for factor in sys.argv[1:]])
print(simulate("sgd", "l2", record=[0, 50], lanes={"lr": 0.1, "strength": np.linspace(0, 1, 7)}).w.tobytes().hex())
print(len(compiled.buffer) // 2)
"""


def run(home: Path, *factors: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, *factors],
        env=os.environ | {"NUMBA_CACHE_DIR": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.splitlines()


def test_a_process_loads_what_others_compiled_and_compiles_nothing(tmp_path: Path) -> None:
    (two, first, many), (three, second, one) = run(tmp_path, "2"), run(tmp_path, "3")
    assert (two, three) == ("[2.0]", "[3.0]")
    assert int(many) > 5
    assert one == "2"  # for the factor 3; of the loop nothing
    assert run(tmp_path, "2", "3", "2") == ["[2.0, 3.0, 2.0]", first, "0"]
    assert first == second


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path / "undertow"


def made(source: str, **scope: Any) -> Callable[..., Any]:
    """The function f of `source`, which reads `scope`."""
    exec(source, scope)
    found = scope["f"]
    assert isinstance(found, FunctionType)
    return found


def keep(function: Callable[..., Any], **options: Any) -> Any:
    return cached.compiled(function, options, keep=True)


def through(inner: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """A function that calls one that calls `inner`."""
    middle = cached.compiled(
        made("def f(x): return inner(x)", inner=cached.compiled(inner, options, keep=False)), {}, keep=False
    )
    return made("def f(x): return middle(x)", middle=middle)


def enclosing(value: Any) -> Callable[..., Any]:
    return lambda x: x + value


TIMES = "def f(x): return x * c"
# No two of them do the same.
DIFFERENT: tuple[Callable[[], Callable[..., Any]], ...] = (
    *(
        lambda c=c: made(TIMES, c=c)
        for c in (0.0, -0.0, 1, 1.0, True, math.nan, (1.0,), (1.0, 2.0), np.float32(1), np.uint32(1))
    ),
    *(
        lambda c=c: made(f"def f(x): return x * {c}")
        for c in ("2.0", "2.5", "-x", "(x + 1)", "abs(x)", "len(x)", "x.real", "x.imag")
    ),
    *(lambda c=c: through(made(TIMES, c=c)) for c in (1.0, 2.0)),
    lambda: through(made(TIMES, c=1.0), error_model="numpy"),
    *(lambda c=c: enclosing(c) for c in (1.0, 2.0)),
    *(lambda c=c: made(f"def f(x, y={c}): return x + y") for c in (1.0, 2.0)),
    *(lambda c=c: made(f"def f(x, *, y={c}): return x + y") for c in (1.0, 2.0)),
    *(
        lambda c=c: made("def f(x): return c(x)", c=c)
        for c in (math.sqrt, math.exp, np.sqrt, np.exp, abs, np.uint32, float)
    ),
    *(lambda c=c: made(f"def f(x): return [y + {c} for y in x]") for c in (1, 2)),
    lambda: made("def f(x): return min(x, 1.0)"),
    lambda: made("def f(x): return min(x, 1.0)", min=max),
)


def test_functions_share_a_name_only_where_their_code_is_the_same() -> None:
    def names() -> list[str]:
        return [keep(make()).py_func.__qualname__ for make in DIFFERENT]

    assert names() == names()
    assert len(set(names())) == len(DIFFERENT)
    options = [
        keep(DIFFERENT[0](), **given).py_func.__qualname__ for given in ({}, {"nogil": True}, {"fastmath": True})
    ]
    assert len(set(options)) == 3


UNKNOWN = {
    "array": np.ones(2),
    "list": [1.0],
    "module": sys,
    "class": Path,
    "function": made,
    "builtin of another module": os.getpid,
}


@pytest.mark.parametrize("value", UNKNOWN.values(), ids=UNKNOWN)
def test_what_reads_a_value_of_unknown_kind_is_not_kept(value: Any) -> None:
    assert isinstance(keep(made("def f(x): return c", c=value))._cache, NullCache)
    assert isinstance(keep(through(made("def f(x): return c", c=value)))._cache, NullCache)


def test_a_function_that_calls_itself_is_not_kept() -> None:
    scope: dict[str, Any] = {}
    exec("def f(x): return 1.0 if x < 1 else x * f(x - 1)", scope)
    for _ in range(2):  # the second time it calls a compiled one
        scope["f"] = keep(scope["f"] if isinstance(scope["f"], FunctionType) else scope["f"].py_func)
        assert isinstance(scope["f"]._cache, NullCache)
        assert scope["f"](3.0) == 6.0


@pytest.mark.parametrize("harm", [lambda kept: kept[:-1], lambda kept: b"", lambda kept: kept[:99] + b"?" + kept[100:]])
def test_a_damaged_file_is_compiled_and_written_anew(home: Path, harm: Callable[[bytes], bytes]) -> None:
    assert keep(made(TIMES, c=3.0))(2.0) == 6.0
    (file,) = home.iterdir()
    good = file.read_bytes()
    file.write_bytes(harm(good))
    again = keep(made(TIMES, c=3.0))
    assert again(2.0) == 6.0
    assert (sum(again.stats.cache_hits.values()), sum(again.stats.cache_misses.values())) == (0, 1)
    loaded = keep(made(TIMES, c=3.0))
    assert loaded(2.0) == 6.0
    assert (sum(loaded.stats.cache_hits.values()), sum(loaded.stats.cache_misses.values())) == (1, 0)


def test_every_type_of_argument_has_a_file(home: Path) -> None:
    for _ in range(2):
        found = keep(made(TIMES, c=3.0))
        assert [found(x) for x in (2, 2.0, 2j)] == [6.0, 6.0, 6j]
    assert len([*home.iterdir()]) == sum(found.stats.cache_hits.values()) == 3


def test_the_folder_is_made_for_its_user_alone(home: Path) -> None:
    assert cached.folder() == home
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("theirs", ["group", "others", "owner"])
def test_a_folder_into_which_others_may_write_is_not_used(
    home: Path, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    keep(made(TIMES, c=3.0))(2.0)
    (file,) = home.iterdir()
    if theirs == "owner":
        monkeypatch.setattr(os, "getuid", lambda: home.stat().st_uid + 1)
    else:
        home.chmod(0o720 if theirs == "group" else 0o702)
    found = keep(made(TIMES, c=3.0))
    assert found(2.0) == 6.0
    assert not found.stats.cache_hits
    keep(made(TIMES, c=4.0))(2.0)
    assert [*home.iterdir()] == [file]


def test_without_a_folder_or_room_kernels_are_compiled(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:

        def refuse(*names: Any) -> None:
            raise OSError(28, "No space left on device")

        full.setattr(os, "replace", refuse)
        assert keep(made(TIMES, c=3.0))(2.0) == 6.0
    assert not [*home.iterdir()]
    home.rmdir()
    home.write_text("")
    assert keep(made(TIMES, c=3.0))(2.0) == 6.0


def test_the_oldest_files_go_where_there_are_too_many(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for factor in (1.0, 2.0, 3.0):
        before = {*home.iterdir()} if home.exists() else set()
        keep(made(TIMES, c=factor))(2.0)
        (new,) = {*home.iterdir()} - before
        os.utime(new, (factor, factor))
        sizes.append(new.stat().st_size)
        monkeypatch.setattr(cached, "MOST_BYTES", 2.5 * sizes[0])
    assert sorted(file.stat().st_mtime for file in home.iterdir()) == [2.0, 3.0]


def test_where_it_is_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cached.folder() == tmp_path / ".cache/undertow/kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "else"))
    assert cached.folder() == tmp_path / "else/undertow/kernels"
