"""Phases of the lane axis that share panels, the longer ones' last tap added afterwards."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import _direct, _isa
from fastconv._problem import make_problem


def joined(x, w, stride=1, dilation=1, groups=1, dtype="float32"):
    problem = make_problem(x, w, stride, 0, 0, None, dilation, groups, 1)
    return _direct.contiguous_plan(problem, np.dtype(dtype), 1).joined


@pytest.mark.parametrize(
    ("x", "w", "stride", "wanted"),
    [
        ((1, 1, 500), (1, 1, 81), 4, True),
        # All phases have as many taps, or one and two.
        ((1, 1, 500), (1, 1, 80), 4, False),
        ((1, 1, 500), (1, 1, 7), 4, False),
        ((1, 1, 500), (1, 1, 9), 4, True),
        # Other axes have one tap: the order of the sums is that of the taps.
        ((1, 1, 3, 500), (1, 1, 1, 81), (1, 4), True),
        ((1, 1, 3, 500), (1, 1, 2, 81), (1, 4), False),
        # Lanes along the batch.
        ((64, 1, 3), (1, 1, 81), 4, False),
    ],
)
def test_which_phases_are_joined(x, w, stride, wanted, isa):
    assert joined(x, w, stride) == wanted


def test_up_to_two_tall_tiles_of_rows_are_joined(isa):
    rows = 2 * _isa.tiles[0][1]
    assert joined((1, 1, 500), (1, rows // 2, 9), 2)
    assert not joined((1, 1, 500), (1, rows // 2 + 1, 9), 2)
    assert joined((1, 1, 500), (1, rows // 4, 9), 2, dtype="complex64")
    assert not joined((1, 1, 500), (1, rows // 4 + 1, 9), 2, dtype="complex64")


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "int16", "float16"))
@pytest.mark.parametrize("channels", ((1, 1, 1), (3, 2, 1), (4, 2, 2)))
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(81, 4, 1), (9, 4, 3), (7, 2, 1), (11, 5, 1)])
def test_joined_sums_are_those_of_lanes_along_the_batch(channels, kernel, stride, dilation, dtype, isa):
    c_in, c_out, groups = channels
    rng = np.random.default_rng(1)
    x, w = ((rng.standard_normal(shape) * 9) for shape in (
        (48, c_in, 60), (c_in, c_out, kernel)))
    if dtype == "complex64":
        x, w = x + 1j * x[::-1], w - 2j * w
    x, w = x.astype(dtype), w.astype(dtype)
    options = {"stride": stride, "dilation": dilation, "groups": groups, "padding": 3}
    one = fastconv.conv_transpose(x[:1], w, method="direct", **options)
    strange = np.asarray(x).transpose(1, 2, 0).copy().transpose(2, 0, 1)
    many = fastconv.conv_transpose(strange, w, method="direct", **options)
    assert many[:1].tobytes() == one.tobytes()
    # Of integers all sums are exact.
    x, w = x[:1].real.round().astype(dtype), w.real.round().astype(dtype)
    if dtype == "float16":
        x, w = np.sign(x), np.sign(w)
    assert np.array_equal(
        fastconv.conv_transpose(x, w, method="direct", **options),
        fastconv.conv_transpose(x, w, method="reference", **options))
