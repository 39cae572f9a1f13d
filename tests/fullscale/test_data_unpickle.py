"""The reader of pickles: plain arrays come out as they went in, and nothing that a pickle asks for is done."""

from __future__ import annotations

import os
import pickle
import struct
from functools import partial
from pathlib import Path
from typing import Any

import archives
import numpy as np
import pytest
from archives import Call
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fullscale.data import unpickle

DTYPES = st.sampled_from(["u1", "i1", "<i8", ">i4", "<u2", "<f4", ">f8", "?", "<c16"])
ARRAYS = DTYPES.flatmap(lambda code: hnp.arrays(np.dtype(code), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
PLAIN = st.recursive(st.integers() | st.text() | st.binary() | st.floats(allow_nan=False), st.lists, max_leaves=6)


@settings(max_examples=40, deadline=None)
@given(
    arrays=st.dictionaries(st.text(), ARRAYS, max_size=3),
    plain=st.dictionaries(st.integers().map(str), PLAIN, max_size=3),
    fortran=st.booleans(),
    protocol=st.integers(2, 5),
)
def test_what_was_pickled_comes_out(
    arrays: dict[str, np.ndarray], plain: dict[str, Any], fortran: bool, protocol: int
) -> None:
    written = {key: np.asfortranarray(a) if fortran else a for key, a in arrays.items()} | plain
    read = unpickle.load(pickle.dumps(written, protocol), "it")
    assert read.keys() == written.keys()
    for key, value in written.items():
        if isinstance(value, np.ndarray):
            assert read[key].dtype == value.dtype
            assert read[key].shape == value.shape
            assert read[key].tobytes() == value.tobytes()
        else:
            assert read[key] == value


def test_a_pickle_of_python_2() -> None:
    # As Python 2 with NumPy 1.6 wrote it: strings are bytes, modules have their old names.
    data = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85q\x05U\x01b"
        b"\x87Rq\x06(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x07U\x02u1K\x00K\x01\x87Rq\x08(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x06abcdeftbU\x06labelsq\x09]q\x0a(K\x01K\x00eu."
    )
    read = unpickle.load(data, "it")
    assert read["data"].tolist() == [[97, 98, 99], [100, 101, 102]]
    assert read["labels"] == [1, 0]


refused = partial(archives.refused, read=(lambda data: unpickle.load(data, "'data_batch_1'"),))


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_executed(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "made"
    for attack in (
        Call(os.system, f"touch {target}"), Call(eval, f"open({str(target)!r}, 'w')"), Call(Path.touch, target),
        Call(np.save, str(target), 1), Call(getattr, "", "join"), Call(np.fromfile, str(target)),
    ):  # fmt: skip
        refused(pickle.dumps({"data": attack}, protocol), "asks for")
    assert not list(tmp_path.iterdir())


NAMES = st.text("abcdefgh_.", min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(module=st.sampled_from(["os", "numpy", "builtins", "numpy.core.multiarray", "_codecs"]) | NAMES, name=NAMES)
def test_any_other_global_is_refused(module: str, name: str) -> None:
    refused(f"c{module}\n{name}\n.".encode(), f"asks for {module}.{name}")
    encoded = [text.encode() for text in (module, name)]
    stacked = b"\x80\x04" + b"".join(b"\x8c" + struct.pack("B", len(text)) + text for text in encoded) + b"\x93."
    refused(stacked, f"asks for {module}.{name}")


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
CRAFTED = {
    "an attribute of what it may use": (RECONSTRUCT + b"N}U\x0c__defaults__)s\x86b.", "would change _reconstruct"),
    "the class of arrays changed": (b"cnumpy\nndarray\n}U\x05arrayNsb.", "would change"),
    "another encoding": (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "rot13"),
    "an array of another kind": (RECONSTRUCT + b"(c_codecs\nencode\n(K\x00tU\x01btR.", "an array of kind"),
    "elements that are objects": (b"cnumpy\ndtype\n(U\x01OtR.", "elements of type b'O'"),
    "a structured type": (b"cnumpy\ndtype\n(U\x02V8tR.", "elements of type b'V8'"),
    "a type with fields": (b"cnumpy\ndtype\n(U\x02u1tR(K\x03U\x01|U\x01aU\x01bNtb.", "a type with"),
    "an array that claims more": (
        b"cnumpy.core.numeric\n_frombuffer\n(U\x02abcnumpy\ndtype\n(U\x02u1tR(I9999999999999\ntX\x01\x00\x00\x00CtR.", "2 bytes for"
    ),
    "a negative shape": (
        b"cnumpy.core.numeric\n_frombuffer\n(U\x01acnumpy\ndtype\n(U\x02u1tR(I-1\nI-1\ntX\x01\x00\x00\x00CtR.", "shape (-1, -1)"
    ),
    "an array that is never filled": (
        b"}U\x04data" + RECONSTRUCT + b"(cnumpy\nndarray\n(K\x00tU\x01btRs.", "AttributeError"
    ),
    "bytes of any length": (b"c__builtin__\nbytes\n(I1000000000000\ntR.", "TypeError"),
    "a list": (pickle.dumps([1, 2]), "a list in it"),
    "an array alone": (pickle.dumps(np.zeros(3)), "in it"),
    "objects": (pickle.dumps({"data": np.array([None, "a"])}), "elements of type"),
    "nothing": (b"", "EOFError"),
    "a persistent id": (b"Pid\n.", "UnpicklingError"),
    "an extension": (b"\x80\x02\x82\x01.", "ValueError"),
}  # fmt: skip


@pytest.mark.parametrize("case", CRAFTED)
def test_crafted(case: str) -> None:
    data, words = CRAFTED[case]
    refused(data, words)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), protocol=st.integers(2, 5))
def test_a_cut_pickle_is_refused(data: st.DataObject, protocol: int) -> None:
    whole = pickle.dumps({"data": np.arange(40, dtype=np.uint8).reshape(2, 20), "labels": [1, 0]}, protocol)
    refused(whole[: data.draw(st.integers(0, len(whole) - 1))])
