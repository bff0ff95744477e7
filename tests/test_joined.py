"""Phases that share panels, and what the longer ones have more, which is added afterwards."""

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
        # All phases have as many taps.
        ((1, 1, 500), (1, 1, 80), 4, False),
        # Sixteen products in common at least.
        ((1, 8, 500), (8, 1, 9), 4, True),
        ((1, 7, 500), (7, 1, 9), 4, False),
        ((1, 3, 60, 70), (3, 1, 5, 5), 2, False),
        # Sums of 64 products at most are a stencil, if their lanes fill vectors.
        ((1, 8, 60, 64), (8, 1, 5, 5), 2, True),
        ((1, 7, 60, 60), (7, 1, 5, 5), 2, False),
        ((1, 7, 60, 50), (7, 3, 5, 5), 2, True),
        ((1, 7, 60, 64), (7, 1, 4, 9), 2, True),
        ((1, 6, 60, 60), (6, 1, 4, 9), 2, False),
        ((1, 7, 60, 64), (7, 1, 9, 4), 2, True),
        ((1, 6, 60, 63), (6, 1, 9, 4), 2, False),
        # One axis but that of the lanes may have taps.
        ((1, 9, 3, 500), (9, 1, 1, 81), (1, 4), True),
        ((1, 9, 3, 500), (9, 1, 2, 81), (1, 4), True),
        ((1, 9, 3, 9, 64), (9, 1, 1, 5, 5), 2, True),
        ((1, 9, 3, 9, 64), (9, 1, 2, 5, 5), 2, False),
        # The order of the sums is another one, which must not change with the batch: the lanes
        # run along rows that are long enough for that.
        ((1, 9, 40, 3), (9, 1, 5, 5), 2, False),
        ((1, 9, 9, 40), (9, 1, 5, 5), 2, True),
        # Gaps between the phases.
        ((1, 9, 60, 70), (9, 1, 5, 5), (2, 6), False),
        # Lanes along the batch.
        ((64, 20, 2), (20, 1, 81), 4, False),
    ],
)
def test_which_phases_are_joined(x, w, stride, wanted, isa):
    assert joined(x, w, stride) == wanted


def test_up_to_four_tall_tiles_of_rows_are_joined(isa):
    tallest = _isa.tiles[0][1]
    # A set of few rows by itself: all are no more than four tiles.
    assert joined((1, 9, 50, 70), (9, tallest - 1, 5, 5), 2)
    assert not joined((1, 9, 50, 70), (9, tallest, 5, 5), 2)
    assert joined((1, 9, 50, 70), (9, tallest // 2 - 1, 5, 5), 2, dtype="complex64")
    assert not joined((1, 9, 50, 70), (9, tallest // 2, 5, 5), 2, dtype="complex64")
    assert joined((1, 9, 50, 70), (9, 4 * tallest // 9, 7, 7), 3)
    assert not joined((1, 9, 50, 70), (9, 4 * tallest // 9 + 1, 7, 7), 3)


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "int16", "float16"))
@pytest.mark.parametrize("channels", ((1, 1, 1), (3, 2, 1), (4, 2, 2)))
@pytest.mark.parametrize("axis", [(81, 4, 1), (9, 4, 3), (7, 2, 1), (11, 5, 1)])
def test_joined_sums_are_those_of_lanes_along_the_batch(channels, axis, dtype, isa):
    c_in, c_out, groups = channels
    kernel, stride, dilation = axis
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


KERNELS = {
    # kernel, stride, dilation, padding: both axes uneven, one of them, three phases, dilated
    "k9": ((9, 9), 2, 1, 4),
    "k3": ((3, 3), 2, 1, 1),
    "k5x4": ((5, 4), 2, 1, ((1, 2), (0, 3))),
    "k4x5": ((4, 5), 2, 1, 0),
    "k7x5": ((7, 5), (3, 2), 1, 2),
    "k5x7": ((5, 7), (2, 3), 1, -1),
    "k9x5-d3": ((9, 5), 2, (3, 1), 2),
    "k1x9": ((1, 9), (1, 2), 1, (0, 3)),
}


@pytest.mark.parametrize("channel_axis", (1, -1))
@pytest.mark.parametrize("channels", ((17, 1, 1), (16, 3, 1), (40, 1, 2), (18, 2, 1)))
@pytest.mark.parametrize("name", KERNELS)
def test_joined_phases_of_two_axes(name, channels, channel_axis, isa):
    kernel, stride, dilation, padding = KERNELS[name]
    c_in, c_out, groups = channels
    rng = np.random.default_rng(1)
    options = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups,
               "channel_axis": channel_axis}
    for spatial in ((20, 41), (3, 100), (2, 17)):
        for dtype in ("float32", "complex64", "int16"):
            x = rng.integers(-3, 4, (2, c_in, *spatial)).astype(dtype)
            w = rng.integers(-3, 4, (c_in, c_out, *kernel)).astype(dtype)
            # Some of the others are not, on some instruction sets: all must be right.
            if c_out == 1 and spatial == (20, 41) and dtype == "float32":
                assert joined(x.shape, w.shape, stride, dilation, groups)
            if channel_axis == -1:
                x = np.moveaxis(x, 1, -1).copy()
            assert np.array_equal(
                fastconv.conv_transpose(x, w, method="direct", **options),
                fastconv.conv_transpose(x, w, method="reference", **options))


def test_joined_sums_do_not_depend_on_batch_layout_or_workers(isa):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((70, 20, 4, 30)).astype(np.float32)
    w = rng.standard_normal((20, 3, 5, 5)).astype(np.float32)
    options = {"stride": 2, "padding": 2, "method": "direct"}
    assert joined((1, *x.shape[1:]), w.shape, 2)
    whole = fastconv.conv_transpose(x, w, **options)
    for images in (1, 2, 33):
        part = fastconv.conv_transpose(x[-images:], w, workers=1, **options)
        assert part.tobytes() == whole[-images:].tobytes()
    last = fastconv.conv_transpose(
        np.moveaxis(x, 1, -1).copy(), w, channel_axis=-1, workers=3, **options)
    assert np.moveaxis(last, -1, 1).tobytes() == whole.tobytes()


@pytest.mark.parametrize("workers", (1, 2))
def test_short_sums_have_the_same_bits_in_any_batch_and_layout(workers, isa):
    """Whether they are joined is decided by the problem alone."""
    rng = np.random.default_rng(3)
    few = isa != "avx512"
    for shape, w, options, is_joined in (
        ((7, 12, 60), (7, 1, 5, 5), {"stride": 2}, False),
        ((8, 12, 60), (8, 1, 5, 5), {"stride": 2}, True),
        ((7, 12, 50), (7, 3, 5, 5), {"stride": 2, "padding": 2}, True),
        ((7, 12, 64), (7, 3, 5, 5), {"stride": 2, "padding": 2}, few),
        ((32, 14, 30), (32, 2, 5, 5), {"stride": 2, "padding": 2, "groups": 8}, False),
        # The window begins between two even phases.
        ((8, 12, 60), (8, 1, 5, 4), {"stride": 2, "padding": 1}, True),
        ((8, 12, 63), (8, 1, 5, 4), {"stride": 2}, False),
        # No tap of a row overlaps another one.
        ((16, 9, 24), (16, 1, 5, 2), {"stride": 2}, not few),
    ):
        plan = _direct.contiguous_plan(
            make_problem(
                (20, *shape), w, options["stride"], options.get("padding", 0), 0, None, 1,
                options.get("groups", 1), 1), np.dtype("float32"), workers)
        assert plan.joined == is_joined
        x = rng.standard_normal((20, *shape)).astype(np.float32)
        w = rng.standard_normal(w).astype(np.float32)
        options = options | {"method": "direct", "workers": workers}
        wanted = fastconv.conv_transpose(x[:1], w, **options)[0].tobytes()
        assert fastconv.conv_transpose(x, w, **options)[0].tobytes() == wanted
        last = np.moveaxis(x, 1, -1).copy()
        y = fastconv.conv_transpose(last, w, channel_axis=-1, **options)
        assert np.moveaxis(y[0], -1, 0).tobytes() == wanted
        turned = np.swapaxes(np.swapaxes(x, 2, 3).copy(), 2, 3)
        assert fastconv.conv_transpose(turned, w, **options)[0].tobytes() == wanted


def test_how_x_lies_does_not_decide_what_is_joined(isa):
    """Rows of x with gaps between them run on less far, with AVX2."""
    x, w, dtype = (1, 20, 6, 24, 68), (20, 1, 5, 1, 2), np.dtype("float32")
    problem = make_problem(x, w, (2, 1, 2), 0, 0, None, 1, 1, 1)
    plans = []
    for width in (68, 70):
        strides = np.empty((*x[:-1], width), np.float32)[..., :68].strides
        y = np.empty(problem.shape, np.float32).strides
        plans.append(_direct.make_plan(
            problem, dtype, (strides, np.empty(w, np.float32).strides, y), 1))
    assert plans[0].joined == plans[1].joined
