"""`out=`: any strides, casts, overlaps; nothing outside of it is written."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from oracle import small_integers

from fastconv import conv_transpose

OPTIONS = {"stride": (2, 3), "padding": ((1, 0), 1)}
SHAPE = (2, 4, 10, 18)
DTYPES = ["float32", "float64", "complex64", "float16", "int16", "longdouble"]


def operands(dtype="float64"):
    rng = np.random.default_rng(0)
    x = small_integers(rng, (2, 6, 5, 7), dtype)
    w = small_integers(rng, (3, 2, 3, 2), dtype) if False else small_integers(
        rng, (6, 2, 3, 2), dtype
    )
    return x, w, small_integers(rng, 4, dtype)


def call(x, w, bias, **options):
    return conv_transpose(x, w, bias, groups=2, **OPTIONS, **options)


CANARY = 99


def framed(shape, dtype, order="C"):
    """``(larger array of canaries, view of `shape` in its middle)``."""
    larger = np.full([n + 4 for n in shape], CANARY, dtype, order=order)
    return larger, larger[(slice(2, -2),) * len(shape)]


def assert_frame_untouched(larger, view):
    view[...] = CANARY
    assert np.all(larger == CANARY)
