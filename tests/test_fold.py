"""Phases of the last axis as output channels, where channels of the result are neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import plan_strides, small_integers
from transforms import problem_of

import fastconv
from fastconv import _api, _direct, _isa

#: x, w and arguments, all with output channels and phases that fill vectors of any length.
LAYERS = {
    "2d": ((2, 19, 40, 50), (19, 8, 2, 2), {"stride": 2}),
    "1d": ((3, 15, 3000), (15, 4, 4), {"stride": 4}),
    "3d": ((1, 16, 12, 13, 16), (16, 8, 2, 2, 2), {"stride": 2}),
    "two-taps": ((1, 16, 30, 41), (16, 8, 4, 4), {"stride": 2}),
    "three-taps": ((1, 14, 30, 41), (14, 8, 3, 6), {"stride": (1, 2)}),
    "cropped": ((1, 17, 30, 41), (17, 8, 4, 4), {"stride": 2, "padding": ((1, 0), (2, 4))}),
    "beyond": ((1, 17, 30, 41), (17, 8, 4, 4), {"stride": 2, "padding": ((1, 1), (-2, -6))}),
    "rows": ((1, 30, 30, 60), (30, 4, 3, 4), {"stride": (2, 4), "padding": (1, 0)}),
    "dilated-rows": ((1, 30, 30, 60), (30, 4, 3, 4), {"stride": (2, 4), "dilation": (3, 1)}),
    "two-channels": ((1, 20, 40, 60), (20, 2, 8, 8), {"stride": 8}),
    "many-phases": ((1, 3, 20, 30), (3, 2, 16, 48), {"stride": (8, 16)}),
    "parts-of-vectors": ((1, 21, 30, 41), (21, 31, 2, 2), {"stride": 2}),
}

KINDS = ("float32", "float64")


def plans(layer, dtype="float32", channels_last=(True, True), workers=1):
    """The plan without folding, and what there is with it or None."""
    problem = problem_of(layer)
    strides = plan_strides(problem, *layer[:2], np.dtype(dtype), *channels_last)
    plan = _direct.make_plan(problem, np.dtype(dtype), strides, workers)
    return plan, _direct.folded_plan(problem, np.dtype(dtype), strides, workers, plan)


def operands(layer, dtype, seed=3):
    rng = np.random.default_rng(seed)
    return [small_integers(rng, shape).astype(dtype) for shape in (*layer[:2], layer[1][1:2])]


def last(a):
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("name", LAYERS)
def test_exact(name, dtype, isa):
    layer = LAYERS[name]
    plan, other = plans(layer, dtype)
    assert plan.pixelwise or other is not None
    x, w, bias = operands(layer, dtype)
    wanted = fastconv.conv_transpose(x, w, bias, **layer[2], method="reference")
    for workers in (1, 3):
        y = fastconv.conv_transpose(
            last(x), w, bias, **layer[2], channel_axis=-1, method="direct", workers=workers)
        np.testing.assert_array_equal(np.moveaxis(y, -1, 1), wanted, strict=True)


def test_channels_that_fill_vectors_by_themselves_are_left(isa):
    vector, height = _isa.tiles[0]
    for channels, folds in ((vector // 2, True), (vector, height == 4), (2 * vector, False)):
        plan, other = plans(((1, 8, 100, 100), (8, channels, 4, 4), {"stride": 4}))
        assert plan.pixelwise == (channels >= vector)
        assert (other is not None) == folds
    # Nor is what would not fill three quarters of them then, or 7/8 with two taps.
    for channels, kernel, stride, folds in (
        (vector // 2, 3, 3, True), (vector // 4, 5, 5, False), (vector // 2, 6, 3, False),
    ):
        plan, other = plans(
            ((1, 16, 100, 100), (16, channels, kernel, kernel), {"stride": stride}))
        assert not plan.pixelwise and (other is not None) == folds


@pytest.mark.parametrize("name", LAYERS)
def test_same_bits_in_any_layout(name, isa):
    layer = LAYERS[name]
    rng = np.random.default_rng(8)
    x, w, bias = (
        rng.standard_normal(shape).astype(np.float32) for shape in (*layer[:2], layer[1][1:2]))
    options = layer[2] | {"method": "direct"}
    wanted = fastconv.conv_transpose(x, w, bias, **options)
    y = fastconv.conv_transpose(last(x), w, bias, **options, channel_axis=-1)
    assert np.moveaxis(y, -1, 1).tobytes() == wanted.tobytes()
    # Channels first by their names and last in memory, a window of a larger array, weights in
    # another order, several workers.
    around = np.full([n + 3 for n in last(wanted).shape[:-1]] + [wanted.shape[1]], 7, np.float32)
    window = np.moveaxis(around[tuple([slice(1, -2)] * (wanted.ndim - 1))], -1, 1)
    fastconv.conv_transpose(
        np.moveaxis(last(x), -1, 1), np.asfortranarray(w), bias, **options, out=window, workers=2)
    assert window.tobytes() == wanted.tobytes()
    window[...] = 7
    assert (around == 7).all()


@pytest.mark.parametrize("special", (np.nan, np.inf))
def test_nan_and_inf(special, isa):
    layer = LAYERS["two-taps"]
    for operand in (0, 1):
        arrays = operands(layer, "float32")
        arrays[operand].flat[1234 % arrays[operand].size] = special
        x, w, bias = arrays
        wanted = fastconv.conv_transpose(x, w, bias, **layer[2], method="reference")
        y = fastconv.conv_transpose(
            last(x), w, bias, **layer[2], channel_axis=-1, method="direct")
        np.testing.assert_array_equal(np.moveaxis(y, -1, 1), wanted)


def half_a_vector(pixels=(30, 41)):
    """A layer of 2**11 multiply-adds a pixel, whose channels fill half of a vector."""
    channels = _isa.tiles[0][0] // 2
    return (1, 128 // channels, *pixels), (128 // channels, channels, 4, 4), {"stride": 2}


def test_what_is_not_folded(isa):
    x, w, arguments = half_a_vector()
    assert plans((x, w, arguments))[1] is not None
    for change in (
        {"padding": ((0, 0), (1, 1))}, {"padding": ((0, 0), (0, 1))}, {"stride": (2, 3)},
        {"stride": 1}, {"dilation": (1, 3)}, {"output_padding": (0, 1)},
    ):
        plan, other = plans((x, w, arguments | change))
        assert not plan.pixelwise and other is None
    assert plans((x, (*w[:3], 5), arguments))[1] is None
    two = (1, 2 * x[1], *x[2:]), (2 * w[0], *w[1:]), arguments | {"groups": 2}
    assert plans(two)[1] is None
    assert plans((x, w, arguments), dtype="complex64")[1] is None
    # Channels of x or of the result that are no neighbours.
    assert plans((x, w, arguments), channels_last=(False, True))[1] is None
    assert plans((x, w, arguments), channels_last=(True, False))[1] is None


def test_small_problems_are_left(isa):
    # Less than 2**21 multiply-adds.
    assert plans(half_a_vector((32, 32)))[1] is not None
    assert plans(half_a_vector((33, 31)))[1] is None


def test_explain_tells_of_it(isa):
    layer = x, w, arguments = half_a_vector()
    told = _api.explain(
        np.moveaxis(np.empty(x), 1, -1).shape, w, method="direct", channel_axis=-1, workers=2,
        **arguments)
    _, plan = plans(layer, workers=2)[1]
    assert told["lane_axis"] == "channels"
    assert told["tile"] == plan.tile
    assert told["tasks"] == plan.tasks
    # Packed weights and a copy of them, in the order of the phases.
    assert told["scratch_bytes"] == plan.scratch_bytes + 4 * np.prod(w)
