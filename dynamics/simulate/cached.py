"""Compiled kernels kept on disk: what one process has compiled, the next one loads in milliseconds.

numba's own cache goes by a function's source file, and the loops of `dynamics.simulate.kernel` have none. Here a function is
known by a digest of everything that decides its code: its bytecode, its constants, and all that it reads, functions that
it calls included. Only a whole loop is kept; its code contains what it calls, so that on a hit nothing is compiled.

The folder is NUMBA_CACHE_DIR/undertow, or undertow/kernels in XDG_CACHE_HOME or ~/.cache. A cache is no result: where it
cannot be used, kernels are compiled as if there were none.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import math
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, cast

import llvmlite
import numba
import numpy as np
from numba.core import config, serialize
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher

MOST_BYTES = 256 * 2**20


class _UnknownError(Exception):
    """A value of which it is not known what decides the code that reads it."""


def _digest(told: object) -> str:
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _names(code: CodeType) -> Iterator[str]:
    """The names of globals, and of attributes, that code and the functions within it read."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _code(code: CodeType) -> object:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return (code.co_code, code.co_exceptiontable, names, counts, [_told(value) for value in code.co_consts])


def _function(function: FunctionType, options: object) -> str:
    known = vars(builtins) | function.__globals__
    read = [(name, _told(known[name])) for name in sorted({*_names(function.__code__)} & known.keys())]
    cells = [_told(cell.cell_contents) for cell in function.__closure__ or ()]
    given = _told((function.__defaults__, *sorted((function.__kwdefaults__ or {}).items())))
    return _digest((_code(function.__code__), read, cells, given, options))


def _told(value: Any) -> object:
    """What decides the code that reads a value; _UnknownError for a value of another kind than these."""
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return type(value).__name__, repr(value)
    if isinstance(value, np.number | np.bool_):
        return value.dtype.str, value.tobytes()
    if type(value) is tuple:
        return [_told(part) for part in value]
    if isinstance(value, CodeType):
        return _code(value)
    if isinstance(value, Dispatcher):
        return _function(value.py_func, sorted(value.targetoptions.items()))
    # Of another module the version is not known; and what a function that is not compiled means to numba, anybody can define.
    if value is math or value is np:
        return value.__name__
    name = str(getattr(value, "__name__", ""))
    for module in (builtins, math, np):
        if getattr(module, name, None) is value:
            return module.__name__, name
    raise _UnknownError


def folder() -> Path | None:
    """Where kernels are kept. None where that is not the user's own alone to write: to load a kernel is to run it."""
    given, home = os.environ.get("NUMBA_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    found = Path(given, "undertow") if given else Path(home, "undertow", "kernels").expanduser()
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = found.stat()
    return found if status.st_uid == os.getuid() and not status.st_mode & 0o022 else None


def _versions() -> object:
    """What beside a function decides its machine code: the versions of all that compiles it, and numba's settings."""
    settings = {name: value for name, value in vars(config).items() if name.isupper() and name != "CACHE_DIR"}
    return sys.version, numba.__version__, llvmlite.__version__, np.__version__, sorted(map(repr, settings.items()))


class _Disk(_Cache):  # type: ignore[misc]
    """The cache of one function, a file a signature: the SHA-256 of what follows, and numba's compiled result."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    @property
    def cache_path(self) -> None:
        """The folder may change with the environment."""

    def _file(self, signature: Any, codegen: Any) -> Path | None:
        kept = folder()
        # numba's tuple names the processor and its features.
        told = (self._digest, str(signature), codegen.magic_tuple(), _versions())
        return kept and kept / f"{_digest(told)}.kernel"

    def load_overload(self, signature: Any, target: Any) -> Any:
        target.refresh()
        try:
            path = self._file(signature, target.codegen())
            kept = path.read_bytes() if path else b""
        except (OSError, RuntimeError):  # not there, unreadable; no home
            return None
        stamp, payload = kept[:32], kept[32:]
        if hashlib.sha256(payload).digest() != stamp:  # cut off or damaged: it will be written anew
            return None
        return CompileResult._rebuild(target, *pickle.loads(payload))

    def save_overload(self, signature: Any, result: Any) -> None:
        if result.lifted or result.library.has_dynamic_globals:  # addresses of this process
            return
        payload = serialize.dumps(result._reduce())
        # A full or unwritable disk, no home: the next process compiles again.
        with contextlib.suppress(OSError, RuntimeError):
            if path := self._file(signature, result.codegen):
                _write(path, hashlib.sha256(payload).digest() + payload)

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def _write(path: Path, content: bytes) -> None:
    """At once or not at all; then the oldest files go, down to MOST_BYTES."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as handle:
        try:
            handle.write(content)
            handle.flush()
            os.replace(handle.name, path)
        except OSError:
            os.unlink(handle.name)
            raise
    files = sorted(((at := file.stat()).st_mtime, at.st_size, file) for file in path.parent.iterdir())
    total = sum(size for _, size, _ in files)
    for _, size, file in files:
        if total <= MOST_BYTES:
            break
        file.unlink(missing_ok=True)
        total -= size


def compiled(function: Callable[..., Any], options: dict[str, Any], *, keep: bool) -> Callable[..., Any]:
    """`function` for numba to compile at its first call; keep: on disk.

    The digest becomes part of its name: the linker knows functions by their names alone, and those of two processes would
    meet under numba's running numbers.
    """
    plain = cast(FunctionType, function)
    try:
        digest = _function(plain, sorted(options.items()))
    except (_UnknownError, RecursionError):  # the latter of what calls itself
        return cast(Callable[..., Any], numba.njit(**options)(function))
    named = FunctionType(plain.__code__, plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__)
    named.__kwdefaults__ = plain.__kwdefaults__
    named.__qualname__ = f"{plain.__name__}_{digest}"
    named.__module__ = __name__  # without a module numba does not serialize a function
    found = numba.njit(**options)(named)
    if keep and isinstance(found, Dispatcher):  # not where NUMBA_DISABLE_JIT is set
        found._cache = _Disk(digest)  # type: ignore[attr-defined]
    return cast(Callable[..., Any], found)
