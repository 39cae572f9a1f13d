"""scikit-learn's digits: the set that comes with a library and needs no file."""

from __future__ import annotations

import numpy as np

from .images import Images, Split, halves


def read() -> Images:
    """1,797 handwritten digits, (N, 1, 8, 8), pixel values 0 to 16; a stratified fifth is the test part.

    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998 (its test part), through
    sklearn.datasets.load_digits.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    whole = Split(bunch.images.astype(np.uint8)[:, None], bunch.target.astype(np.int64))
    classes = tuple(str(name) for name in bunch.target_names)
    kept, given = halves("'digits'", classes, whole.labels)
    return Images("digits", classes, whole.take(kept), whole.take(given))
