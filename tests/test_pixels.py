"""Lanes along the channels of a pixel, where they are neighbours in x and in the result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import plan_strides

import fastconv
from fastconv import _direct, _isa
from fastconv._problem import make_problem

BOTH = (True, True)


def planned(
    x, channel_steps=BOTH, *, kernel=(4, 4), stride=2, dilation=1, c_out=1, groups=None,
    dtype="float32",
):
    """Whether the plan is: for x of this shape, with the channels of x and the result last or not.

    Without `groups` every channel of x is one.
    """
    dtype = np.dtype(dtype)
    groups = x[1] if groups is None else groups
    problem = make_problem(
        x, (x[1], c_out, *kernel), stride, 0, 0, None, dilation, groups, 1)
    strides = plan_strides(problem, x, (x[1], c_out, *kernel), dtype, *channel_steps)
    return _direct.make_plan(problem, dtype, strides, 1).pixelwise


def test_groups_of_one_channel(isa):
    vector, double = _isa.tiles[0][0], _isa.tiles[1][0]
    assert planned((1, vector, 20, 30))
    assert planned((1, double, 20, 30), dtype="float64")
    # Fewer groups than a vector has lanes.
    assert not planned((1, vector - 1, 20, 30))
    assert not planned((1, double - 1, 20, 30), dtype="float64")
    # Rows of any length, and along the batch.
    assert planned((64, 64, 3, 3))
    # The lists of taps stay within the scratch that was promised.
    assert planned((1, vector, 150, 150), kernel=(128, 128), stride=1)
    assert not planned((1, vector, 150, 150), kernel=(128, 129), stride=1)


def test_groups_of_more_channels(isa):
    vector, double = _isa.tiles[0][0], _isa.tiles[1][0]
    for groups in (1, 3):
        assert planned((1, 6, 20, 30), c_out=vector, groups=groups)
        assert planned((1, 6, 20, 30), c_out=double, groups=groups, dtype="float64")
        assert not planned((1, 6, 20, 30), c_out=vector - 1, groups=groups)
        assert not planned((1, 6, 20, 30), c_out=double - 1, groups=groups, dtype="float64")
    # Vectors that are filled to 7/8 at least.
    assert planned((1, 6, 20, 30), c_out=8 * vector - vector // 2, groups=1)
    assert not planned((1, 6, 20, 30), c_out=vector + 1, groups=1)
    # ... three quarters of at least two where each pixel is one sum over the channels.
    point = {"kernel": (1, 1), "stride": 1, "groups": 1}
    assert planned((1, 6, 20, 30), c_out=vector + vector // 2, **point)
    assert not planned((1, 6, 20, 30), c_out=vector + vector // 2 - 1, **point)
    assert not planned((1, 6, 20, 30), c_out=vector - vector // 4, **point)
    for change in ({"kernel": (1, 2)}, {"stride": (1, 2)}):
        assert not planned((1, 6, 20, 30), c_out=vector + vector // 2, **point | change)
    # Seven pixels with both taps, or two for each at the borders.
    assert planned((1, 6, 20, 8), c_out=vector, groups=1)
    assert not planned((1, 6, 20, 7), c_out=vector, groups=1)
    assert planned((1, 6, 8), kernel=(7,), dilation=1, stride=7, c_out=vector, groups=1)
    assert planned((1, 6, 33), kernel=(12,), stride=1, c_out=vector, groups=1)
    assert not planned((1, 6, 32), kernel=(12,), stride=1, c_out=vector, groups=1)
    # 2 MiB of weights.
    many = (1 << 21) // (16 * 4 * vector)
    assert planned((1, many, 20, 30), c_out=vector, groups=1)
    assert not planned((1, many + 1, 20, 30), c_out=vector, groups=1)


def test_pixels_of_whole_lines_go_past_the_caches(isa):
    vector = _isa.tiles[0][0]
    for channels, streamed in ((8 * vector, True), (8 * vector - vector // 2, False)):
        x, w = (1, 6, 500, 500), (6, channels, 2, 2)
        problem = make_problem(x, w, 2, 0, 0, None, 1, 1, 1)
        strides = plan_strides(problem, x, w, np.dtype("float32"), *BOTH)
        plan = _direct.make_plan(problem, np.dtype("float32"), strides, 1)
        assert plan.pixelwise and plan.streamed == streamed


@pytest.mark.parametrize("c_out", (1, 64))
def test_what_keeps_other_lanes(c_out, isa):
    # Channels that are apart.
    for steps in ((True, False), (False, True), (False, False)):
        assert not planned((1, 64, 20, 30), steps, c_out=c_out, groups=64 // c_out)
    # Numbers that are converted or come in pairs.
    for dtype in ("float16", "int32", "complex64"):
        assert not planned((1, 64, 20, 30), c_out=c_out, groups=64 // c_out, dtype=dtype)
    # The order of a sum is that of other layouts: along the batch or the last axis, but no other.
    assert not planned((1, 64, 200, 2), c_out=c_out, groups=64 // c_out)
    assert not planned((1, 64, 500), kernel=(81,), stride=4)


@st.composite
def layers(draw):
    """Shapes, kernel and options of one to three axes, some with the rows long enough."""
    rank = draw(st.integers(1, 3))
    axes = st.integers(1, {1: 70, 2: 14, 3: 6}[rank])
    x = [draw(axes) for _ in range(rank)]
    if draw(st.booleans()):
        x[-1] = draw(st.integers(8, 40))
    kernel = [draw(st.integers(1, 5)) for _ in range(rank)]
    stride = [draw(st.integers(1, 6)) for _ in range(rank)]
    dilation = [draw(st.integers(1, 3)) for _ in range(rank)]
    padding = []
    for i, k, s, d in zip(x, kernel, stride, dilation, strict=True):
        full = (i - 1) * s + d * (k - 1) + 1
        before = draw(st.integers(-3, full - 1))
        padding.append((before, draw(st.integers(-3, full - before - 1))))
    return x, kernel, {"stride": stride, "dilation": dilation, "padding": padding}


def check_bits(layer, images, groups, c_in, c_out, workers, dtype, biased, seed):
    """Channels last give the bits of channels first."""
    x, kernel, options = layer
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, groups * c_in, *x)).astype(dtype)
    w = rng.standard_normal((groups * c_in, c_out, *kernel)).astype(dtype)
    bias = rng.standard_normal(groups * c_out).astype(dtype) if biased else None
    wanted = fastconv.conv_transpose(
        x, w, bias, groups=groups, method="direct", workers=1, **options)
    y = fastconv.conv_transpose(
        np.ascontiguousarray(np.moveaxis(x, 1, -1)), w, bias, groups=groups, channel_axis=-1,
        method="direct", workers=workers, **options)
    assert np.moveaxis(y, -1, 1).tobytes() == wanted.tobytes()


TYPES = st.sampled_from(("float32", "float64"))


@settings(max_examples=200)
@given(
    layers(), st.sampled_from((1, 2, 17)), st.sampled_from((16, 17, 64, 70)), st.integers(1, 3),
    TYPES, st.booleans(), st.integers(0, 9),
)
def test_same_bits_with_groups_of_one_channel(
        layer, images, groups, workers, dtype, biased, seed):
    check_bits(layer, images, groups, 1, 1, workers, dtype, biased, seed)


@settings(max_examples=300)
@given(
    layers(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9),
    st.sampled_from((4, 8, 15, 16, 23, 31, 32, 45, 48, 61, 64, 80, 109)), st.integers(1, 3),
    TYPES, st.booleans(), st.integers(0, 9),
)
def test_same_bits_with_more_channels(
        layer, images, groups, c_in, c_out, workers, dtype, biased, seed):
    check_bits(layer, images, groups, c_in, c_out, workers, dtype, biased, seed)


@pytest.mark.parametrize("pixels", range(8, 34))
@pytest.mark.parametrize("c_out", (16, 31, 48, 64))
def test_rows_of_any_length(pixels, c_out, isa):
    """What is left of a row after the tallest tiles, with every width of tile."""
    for dtype in ("float32", "float64"):
        for channels in ((3, c_out), (70, c_out)):
            check_bits(
                ((2, pixels), (3, 3), {"stride": 2, "padding": 1}), 1, 1, *channels, 1, dtype,
                True, pixels)


@pytest.mark.parametrize("kernel", ((1, 1), (17, 17)))
def test_weights_of_many_taps(kernel):
    """More taps than are packed at a time."""
    check_bits(((5, 60), kernel, {"padding": (kernel[0] - 1) // 2}), 1, 2, 66, 16, 2, "float32",
               True, 0)


def test_large_result():
    """Lines past the caches, with pixels that begin with one and that do not."""
    for c_out in (32, 45):
        check_bits(((150, 320), (2, 2), {"stride": 2}), 1, 1, 3, c_out, 2, "float32", True, 0)


@pytest.mark.parametrize("value", (np.inf, -np.inf, np.nan))
@pytest.mark.parametrize("groups", (1, 32))
def test_weights_that_are_not_finite(value, groups, isa):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9, 11, 32)).astype(np.float32)
    w = rng.standard_normal((32, 32 // groups, 3, 3)).astype(np.float32)
    w[5, 0, 0, 2] = value
    y = fastconv.conv_transpose(
        x, w, stride=2, padding=1, groups=groups, channel_axis=-1, method="direct")
    first = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    wanted = fastconv.conv_transpose(
        first, w, stride=2, padding=1, groups=groups, method="reference")
    good = np.isfinite(wanted)
    assert 0 < np.count_nonzero(~good) < good[:, 5].size
    np.testing.assert_array_equal(np.isfinite(np.moveaxis(y, -1, 1)), good)
    np.testing.assert_allclose(np.moveaxis(y, -1, 1)[good], wanted[good], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", (1, 32))
def test_strided_channels_last(groups, isa):
    """Pixels that are apart, in x and in the result."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 14, 22, 40)).astype(np.float32)[:, ::2, ::-2, 3:35]
    w = rng.standard_normal((32, 32 // groups, 3, 4)).astype(np.float32)
    out = np.full((2, 8, 13, 48), 7, np.float32)[:, :, :, 8:40]
    whole = out.base
    wanted = fastconv.conv_transpose(
        np.ascontiguousarray(np.moveaxis(x, -1, 1)), w, padding=((0, 1), 1), groups=groups,
        method="direct")
    y = fastconv.conv_transpose(
        x, w, padding=((0, 1), 1), groups=groups, channel_axis=-1, out=out[:, :, :12],
        method="direct")
    np.testing.assert_array_equal(np.moveaxis(y, -1, 1), wanted)
    assert (whole[:, :, :, :8] == 7).all() and (whole[:, :, :, 40:] == 7).all()
    assert (whole[:, :, 12:] == 7).all()
