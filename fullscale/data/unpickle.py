"""A reader of pickles that can build dictionaries, lists, numbers, strings and plain arrays, and nothing else."""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from dynamics.errors import InputError

PLAIN = re.compile(r"[|<>=]?[biufc]\d{1,2}")  # the types whose elements are numbers


class _Dtype:
    """Stands for `numpy.dtype`, so that no state from the file ever reaches NumPy's own."""

    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        text = code.decode() if isinstance(code, bytes) else code
        if not isinstance(text, str) or not PLAIN.fullmatch(text):
            raise pickle.UnpicklingError(f"elements of type {code!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        if state[2:5] != (None, None, None) or order not in ("|", "<", ">", "="):
            raise pickle.UnpicklingError(f"a type with {state[1:5]!r}")
        self.dtype = self.dtype.newbyteorder(cast(Literal["|", "<", ">", "="], order))


class _Array:
    """Stands for `numpy.ndarray`, as `_Dtype` does."""

    array: NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _filled(data, dtype, shape, "F" if fortran else "C")


def _filled(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not (isinstance(dtype, _Dtype) and isinstance(data, bytes | bytearray) and order in ("C", "F")):
        raise pickle.UnpicklingError("an array without plain elements")
    shape = tuple(shape)
    if any(type(side) is not int or side < 0 for side in shape):
        raise pickle.UnpicklingError(f"an array of shape {shape!r}")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise pickle.UnpicklingError(f"{len(data)} bytes for {shape} elements of type {dtype.dtype}")
    return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not ADMITTED["numpy", "ndarray"]:
        raise pickle.UnpicklingError(f"an array of kind {kind!r}")
    return _Array()


def _frombuffer(data: object, dtype: object, shape: object, order: object, axes: object = None) -> _Array:
    if axes is not None:
        raise pickle.UnpicklingError(f"an array with axes {axes!r}")
    found = _Array()
    found.array = _filled(data, dtype, shape, order)
    return found


def _encode(text: str, encoding: str) -> bytes:
    # How protocol 2 writes bytes; another encoding would be an attack.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


def _empty() -> bytes:
    # How protocol 2 writes no bytes.
    return b""


class _Admitted:
    """What a pickle gets for a name that it may use: it can be called, and not changed."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"it would change {self._call.__name__}")


# NumPy's parts under the names of its versions 1 and 2.
ADMITTED = {
    ("numpy", "ndarray"): _Admitted(_Array),
    ("numpy", "dtype"): _Admitted(_Dtype),
    ("numpy.core.multiarray", "_reconstruct"): _Admitted(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Admitted(_reconstruct),
    ("numpy.core.numeric", "_frombuffer"): _Admitted(_frombuffer),
    ("numpy._core.numeric", "_frombuffer"): _Admitted(_frombuffer),
    ("_codecs", "encode"): _Admitted(_encode),
    ("__builtin__", "bytes"): _Admitted(_empty),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which it gets not")
        return ADMITTED[module, name]


def load(data: bytes, shown: str) -> dict[str, Any]:
    """The dictionary in a pickle of Python 2 or 3: its values, arrays as NumPy's, by key.

    shown: how messages name the file. Nothing in the file is called, whatever it asks for; an array is found only as a value
    of the dictionary. Raises InputError for what is damaged, is no dictionary, or asks for anything but plain arrays.
    """
    try:
        found = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if type(found) is not dict:
            raise pickle.UnpicklingError(f"a {type(found).__name__} in it")
        return {
            key.decode() if isinstance(key, bytes) else str(key): value.array if isinstance(value, _Array) else value
            for key, value in found.items()
        }
    except Exception as error:  # broken bytes lead the machine of pickle into whatever they spell
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{shown}: a pickle that is not read ({reason}): a whole one of a dictionary of numbers, strings and plain "
            "arrays is accepted"
        ) from error
