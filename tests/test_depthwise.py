"""Lanes along groups of one channel, where channels are neighbours in x and in the result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import _direct, _isa
from fastconv._problem import make_problem


def planned(x, channel_steps, *, stride=2, kernel=(4, 4), dtype="float32", c_out=1):
    """Whether the plan for x of this shape and these steps of its and the result's channels is."""
    dtype = np.dtype(dtype)
    problem = make_problem(x, (x[1], c_out, *kernel), stride, 0, 0, None, 1, x[1], 1)
    y = (x[0], problem.c_out, *problem.spatial_out)
    strides = []
    for shape, last in zip((x, y), channel_steps, strict=True):
        order = (shape[0], *shape[2:], shape[1]) if last else shape
        array = np.empty(order, dtype)
        strides.append((np.moveaxis(array, -1, 1) if last else array).strides)
    w = np.empty((x[1], c_out, *kernel), dtype).strides
    return _direct.make_plan(problem, dtype, (strides[0], w, strides[1]), 1).depthwise


def test_which_problems_are_depthwise(isa):
    vector, double = _isa.tiles[0][0], _isa.tiles[1][0]
    assert planned((1, vector, 20, 30), (True, True))
    assert planned((1, double, 20, 30), (True, True), dtype="float64")
    # Fewer groups than a vector has lanes, more channels of one, or channels that are apart.
    assert not planned((1, vector - 1, 20, 30), (True, True))
    assert not planned((1, double - 1, 20, 30), (True, True), dtype="float64")
    assert not planned((1, vector, 20, 30), (True, True), c_out=2)
    for steps in ((True, False), (False, True), (False, False)):
        assert not planned((1, vector, 20, 30), steps)
    # Numbers that are converted or come in pairs.
    for dtype in ("float16", "int32", "complex64"):
        assert not planned((1, 64, 20, 30), (True, True), dtype=dtype)
    # The order of a sum is that of other layouts: along the batch or the last axis, but no other.
    assert planned((64, 64, 3, 3), (True, True))
    assert not planned((1, 64, 200, 2), (True, True))
    assert not planned((1, 64, 500), (True, True), kernel=(81,), stride=4)

    # The lists of taps stay within the scratch that was promised.
    assert planned((1, vector, 150, 150), (True, True), kernel=(128, 128), stride=1)
    assert not planned((1, vector, 150, 150), (True, True), kernel=(128, 129), stride=1)


@st.composite
def layers(draw):
    rank = draw(st.integers(1, 3))
    axes = st.integers(1, {1: 70, 2: 14, 3: 6}[rank])
    x = [draw(axes) for _ in range(rank)]
    kernel = [draw(st.integers(1, 5)) for _ in range(rank)]
    stride = [draw(st.integers(1, 6)) for _ in range(rank)]
    dilation = [draw(st.integers(1, 3)) for _ in range(rank)]
    padding = []
    for i, k, s, d in zip(x, kernel, stride, dilation, strict=True):
        full = (i - 1) * s + d * (k - 1) + 1
        before = draw(st.integers(-3, full - 1))
        padding.append((before, draw(st.integers(-3, full - before - 1))))
    return x, kernel, {"stride": stride, "dilation": dilation, "padding": padding}


@settings(max_examples=200)
@given(
    layers(), st.sampled_from((1, 2, 17)), st.sampled_from((16, 17, 64, 70)), st.integers(1, 3),
    st.sampled_from(("float32", "float64")), st.booleans(), st.integers(0, 9),
)
def test_same_bits_as_channels_first(layer, images, channels, workers, dtype, biased, seed):
    x, kernel, options = layer
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, channels, *x)).astype(dtype)
    w = rng.standard_normal((channels, 1, *kernel)).astype(dtype)
    bias = rng.standard_normal(channels).astype(dtype) if biased else None
    wanted = fastconv.conv_transpose(
        x, w, bias, groups=channels, method="direct", workers=1, **options)
    y = fastconv.conv_transpose(
        np.ascontiguousarray(np.moveaxis(x, 1, -1)), w, bias, groups=channels, channel_axis=-1,
        method="direct", workers=workers, **options)
    assert np.moveaxis(y, -1, 1).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("value", (np.inf, -np.inf, np.nan))
def test_weights_that_are_not_finite(value, isa):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9, 11, 32)).astype(np.float32)
    w = rng.standard_normal((32, 1, 3, 3)).astype(np.float32)
    w[5, 0, 0, 2] = value
    y = fastconv.conv_transpose(x, w, stride=2, padding=1, groups=32, channel_axis=-1)
    first = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    wanted = fastconv.conv_transpose(
        first, w, stride=2, padding=1, groups=32, method="reference")
    good = np.isfinite(wanted)
    assert 0 < np.count_nonzero(~good) < good[:, 5].size
    np.testing.assert_array_equal(np.isfinite(np.moveaxis(y, -1, 1)), good)
    np.testing.assert_allclose(np.moveaxis(y, -1, 1)[good], wanted[good], rtol=1e-4, atol=1e-5)


def test_strided_channels_last(isa):
    """Pixels that are apart, in x and in the result."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 14, 22, 40)).astype(np.float32)[:, ::2, ::-2, 3:35]
    w = rng.standard_normal((32, 1, 3, 4)).astype(np.float32)
    out = np.full((2, 8, 13, 48), 7, np.float32)[:, :, :, 8:40]
    whole = out.base
    wanted = fastconv.conv_transpose(
        np.ascontiguousarray(np.moveaxis(x, -1, 1)), w, padding=((0, 1), 1), groups=32)
    y = fastconv.conv_transpose(
        x, w, padding=((0, 1), 1), groups=32, channel_axis=-1, out=out[:, :, :12])
    np.testing.assert_array_equal(np.moveaxis(y, -1, 1), wanted)
    assert (whole[:, :, :, :8] == 7).all() and (whole[:, :, :, 40:] == 7).all()
    assert (whole[:, :, 12:] == 7).all()
