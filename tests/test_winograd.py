"""The winograd method: what it takes, when "auto" takes it, its exactness, errors and fallback.

The catalogue is run through it in test_exact and its neighbours; here are the channels, blocks and
thresholds that only this method has. With small integers its sums are exact too, because a weight
is halved at most twice; so results are compared with direct's bit by bit.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from transforms import check_error, chosen, integers, normal, problem_of

import fastconv
from fastconv import _isa, _points, _problem, _winograd

FLOATS = ("float32", "float64")

LAYERS = {
    # x, w and arguments: every scheme, alone and in pairs, with crops and odd lengths
    "k3-s1": ((2, 40, 17, 30), (40, 24, 3, 3), {"padding": 1}),
    "k3-s1-valid": ((1, 9, 5, 51), (9, 70, 3, 3), {}),
    "k2-s1": ((1, 70, 13, 14), (70, 9, 2, 2), {"padding": (0, 1)}),
    "k3-s2": ((1, 33, 12, 19), (33, 20, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "k4-s2": ((3, 48, 8, 8), (48, 40, 4, 4), {"stride": 2, "padding": 1}),
    "k5-s2": ((1, 40, 16, 23), (40, 36, 5, 5), {"stride": 2, "padding": 2, "output_padding": 1}),
    "k6-s2": ((1, 17, 9, 11), (17, 12, 6, 6), {"stride": 2, "padding": 2}),
    "k5-s3": ((1, 12, 9, 10), (12, 10, 5, 5), {"stride": 3, "padding": ((0, 4), (3, 1))}),
    "k8-s4": ((1, 20, 7, 9), (20, 5, 8, 8), {"stride": 4, "padding": 2}),
    "k7-s4": ((1, 20, 7, 9), (20, 5, 7, 7), {"stride": 4, "padding": 1}),
    "k3-d2": ((1, 24, 32, 33), (24, 24, 3, 3), {"dilation": 2, "padding": 2}),
    "k3-d3": ((2, 10, 11, 50), (10, 11, 3, 3), {"dilation": 3}),
    "k2-d6": ((1, 6, 20, 40), (6, 7, 2, 2), {"dilation": 6, "padding": 3}),
    "k3-d8": ((2, 7, 9, 41), (7, 9, 3, 3), {"dilation": (1, 8), "padding": (1, 8)}),
    "k1x3": ((2, 30, 6, 40), (30, 20, 1, 3), {"padding": (0, 1)}),
    "k3x1": ((2, 30, 40, 6), (30, 20, 3, 1), {"padding": (1, 0)}),
    "k2x3-s2x1": ((1, 30, 9, 14), (30, 20, 4, 3), {"stride": (2, 1), "dilation": (1, 2)}),
    "k5x3-s2x1": (
        (1, 9, 8, 25), (9, 6, 5, 3), {"stride": (2, 1), "dilation": (1, 2), "padding": 2},
    ),
    "1d-k3": ((2, 65, 100), (65, 40, 3), {"padding": 1}),
    "1d-k4-s2": ((1, 64, 301), (64, 33, 4), {"stride": 2, "padding": 1}),
    "1d-k16-s8": ((1, 80, 40), (80, 30, 16), {"stride": 8, "padding": 4}),
    "1d-k3-d5": ((2, 8, 77), (8, 9, 3), {"dilation": 5, "padding": ((4, 6),)}),
    "groups": ((2, 36, 9, 10), (36, 11, 3, 3), {"groups": 3, "padding": 1}),
    "one-tile": ((1, 90, 1, 1), (90, 50, 3, 3), {}),
    "many-channels": ((1, 300, 5, 6), (300, 17, 4, 4), {"stride": 2, "padding": 1}),
    "most-channels": ((1, 2560, 3, 3), (2560, 3, 3, 3), {"padding": 1}),
    # Weights that are transformed in several blocks, and windows that all tasks share.
    "blocks": ((1, 160, 9, 9), (160, 200, 4, 4), {"stride": 2, "padding": 1}),
    "blocks-of-groups": ((1, 256, 5, 5), (256, 160, 4, 4), {"groups": 2, "stride": 2}),
    # Units so large that more workers than they have room for find no task.
    "large-units": ((3, 3000, 2, 3), (3000, 64, 4, 4), {"stride": 3}),
    # Several times what a block holds, for one worker and in float64 for three.
    "blocks-of-many": ((1, 320, 5, 6), (320, 136, 4, 4), {"stride": 2, "padding": 1}),
    # Lanes along the batch: whole columns of images and a part of one, in every rank.
    "images-k4-s2": ((29, 24, 8, 8), (24, 20, 4, 4), {"stride": 2, "padding": 1}),
    "images-k3": ((16, 33, 5, 9), (33, 9, 3, 3), {"padding": (1, 0)}),
    "images-k5-s2": ((13, 20, 6, 3), (20, 7, 5, 5), {"stride": 2, "padding": ((2, 0), (1, 3))}),
    "images-1d": ((32, 17, 14), (17, 12, 3), {"padding": 1}),
    "images-rows-d2": ((16, 9, 7, 6), (9, 8, 3, 3), {"dilation": (2, 1), "padding": (3, 1)}),
    "images-groups": ((16, 24, 4, 5), (24, 5, 4, 4), {"stride": 2, "groups": 3}),
    "images-blocks": ((16, 160, 4, 4), (160, 200, 4, 4), {"stride": 2, "padding": 1}),
    # A window that begins between two phases, and maps whose tiles are fewer if phases do, too.
    "turned-k4": ((2, 48, 12, 6), (48, 40, 4, 4), {"stride": 2, "padding": 1}),
    "turned-rows": ((1, 9, 12, 17), (9, 160, 4, 4), {"stride": 2, "padding": 1}),
    "turned-cols": ((2, 8, 5, 28), (8, 150, 4, 4), {"stride": 2, "padding": ((2, 0), (3, 1))}),
    "turned-k3": ((1, 36, 12, 33), (36, 24, 3, 3), {"stride": 2, "padding": ((1, 0), 1)}),
    "turned-k5-s3": ((1, 60, 6, 9), (60, 50, 5, 5), {"stride": 3, "padding": (1, 2)}),
    "turned-k6-s3": ((2, 40, 6, 9), (40, 32, 6, 6), {"stride": 3, "padding": (2, 1)}),
    "turned-k6-s2": ((1, 9, 9, 7), (9, 130, 6, 6), {"stride": 2, "padding": 1}),
    "turned-k10-s4": ((1, 90, 4, 8), (90, 60, 10, 10), {"stride": 4, "padding": (3, 1)}),
    "turned-1d": ((2, 10, 30), (10, 190, 4), {"stride": 2, "padding": 1}),
    "turned-images": ((29, 17, 4, 4), (17, 150, 4, 4), {"stride": 2, "padding": 1}),
    "turned-images-k6": ((16, 40, 5, 6), (40, 24, 6, 6), {"stride": (2, 3), "padding": (1, 2)}),
    "turned-images-rows": ((16, 40, 6, 7), (40, 24, 4, 3), {"stride": (2, 1), "padding": 1}),
    "turned-groups": ((3, 96, 6, 12), (96, 20, 4, 4), {"stride": 2, "padding": 1, "groups": 2}),
    # Windows of both sets of columns, and of tiles of three outputs, leave no room for vectors.
    "turned-rows-only": ((1, 1300, 6, 6), (1300, 100, 4, 4), {"stride": 2, "padding": 1}),
    "short-tiles": ((1, 2600, 7, 4), (2600, 30, 4, 4), {"stride": 2, "padding": 1}),
    "turned-blocks": ((1, 320, 6, 12), (320, 136, 4, 4), {"stride": 2, "padding": 1}),
    "blocks-not-shared": ((12, 160, 16, 16), (160, 160, 4, 4), {"stride": 2, "padding": 1}),
}

#: A layer that "auto" gives to this method, and its arguments.
AUTO = ((1, 64, 40, 40), (64, 64, 3, 3), {"padding": 1})


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LAYERS)
def test_exact(name, dtype, isa):
    operands = integers(LAYERS[name], dtype)
    wanted = fastconv.conv_transpose(*operands, **LAYERS[name][2], method="direct")
    for workers in (1, 3):
        y = fastconv.conv_transpose(
            *operands, **LAYERS[name][2], method="winograd", workers=workers)
        np.testing.assert_array_equal(y, wanted, strict=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [
        (2, 1, 1), (3, 1, 1), (3, 2, 1), (4, 2, 1), (5, 3, 1), (3, 1, 2), (2, 1, 3), (3, 1, 5),
        (2, 1, 8),
    ],
)
def test_rows_of_every_length(kernel, stride, dilation, dtype, isa):
    """Rows are dealt out and stored by vectors that are moved back, and by ends of them.

    The result is a window of a larger array, of which nothing else may change.
    """
    arguments = {"stride": (2, stride), "dilation": (1, dilation), "method": "winograd"}
    full = dilation * (kernel - 1)
    crops = ((0, 0), (1, 0), (0, 1), (full // 2, full // 2), (full, full - 1))
    for number, width in enumerate((*range(1, 30), 47, 48, 49, 50, 73)):
        crop = crops[number % len(crops)]
        layer = (
            (2, 5, 2 + number % 5, width), (5, 3, 3, kernel),
            {"padding": ((number % 2, number // 2 % 3), crop)},
        )
        if (width - 1) * stride + full + 1 <= sum(crop):
            continue
        operands = integers(layer, dtype)
        wanted = fastconv.conv_transpose(
            *operands, **arguments | layer[2] | {"method": "direct"})
        around = np.full([n + 2 for n in wanted.shape], 77, dtype)
        y = around[1:-1, 1:-1, 1:-1, 1:-1]
        fastconv.conv_transpose(*operands, **arguments | layer[2], out=y, workers=1 + number % 2)
        np.testing.assert_array_equal(y, wanted)
        y[...] = 77
        assert (around == 77).all()


@pytest.mark.parametrize(("kernel", "stride"), [
    (3, 2), (4, 2), (5, 2), (6, 2), (4, 3), (5, 3), (6, 3), (8, 3), (9, 4), (10, 4), (12, 4),
])
def test_windows_of_the_result_between_phases(kernel, stride, isa):
    """Phases are counted from the first one inside where that takes fewer tiles.

    With many output channels for each input channel, every tile counts.
    """
    rng = np.random.default_rng(kernel)
    seen = set()
    for length, crop in itertools.product(range(2, 11), range(stride)):
        rows = int(rng.integers(2, 11))
        padding = [(int(rng.integers(stride)), int(rng.integers(3))), (crop, length % 3)]
        layer = (
            (13 if crop == 1 and length < 6 else 1, 2, rows, length), (2, 120, kernel, kernel),
            {"stride": stride, "padding": padding},
        )
        operands = integers(layer, "float32")
        wanted = fastconv.conv_transpose(*operands, **layer[2], method="direct")
        seen.add(_points.Points(problem_of(layer), 0, *_isa.tiles[0], 2).sets)
        for workers in (1, 2):
            y = fastconv.conv_transpose(
                *operands, **layer[2], method="winograd", workers=workers)
            np.testing.assert_array_equal(y, wanted)
    assert seen >= {(1, 1), (1, 2), (2, 1)}


@pytest.mark.parametrize(
    "name", (
        "k3-s1", "k4-s2", "k5-s2", "k3-d3", "k5x3-s2x1", "1d-k4-s2", "groups", "turned-k4",
        "turned-k6-s2", "turned-groups",
    ))
def test_channels_last(name):
    x, w, bias = integers(LAYERS[name], "float32")
    wanted = fastconv.conv_transpose(x, w, bias, **LAYERS[name][2], method="winograd")
    last = np.moveaxis(x, 1, -1).copy()
    for crossed in (False, True):
        # The copy in memory as it is, and as a view of channels first.
        y = fastconv.conv_transpose(
            x if crossed else last, w, bias, **LAYERS[name][2], method="winograd",
            channel_axis=1 if crossed else -1,
            out=np.moveaxis(np.empty_like(np.moveaxis(wanted, 1, -1)), -1, 1) if crossed else None,
        )
        np.testing.assert_array_equal(y if crossed else np.moveaxis(y, -1, 1), wanted)


@pytest.mark.parametrize(
    "name", (
        "k4-s2", "k5-s2", "k3-d2", "k3-d3", "k5x3-s2x1", "1d-k3", "blocks", "many-channels",
        "turned-k6-s3", "turned-k10-s4", "turned-blocks",
    ))
def test_same_bits(name, isa):
    # For any team, batch and layout: how work is cut changes no sum.
    x, w = normal(LAYERS[name], "float32")
    arguments = LAYERS[name][2] | {"method": "winograd"}
    wanted = fastconv.conv_transpose(x, w, **arguments, workers=1)
    for workers in (2, 3, 8, 64):
        y = fastconv.conv_transpose(x, w, **arguments, workers=workers)
        assert y.tobytes() == wanted.tobytes()
    batch = np.concatenate([x[:1]] * 5)
    for image in fastconv.conv_transpose(batch, w, **arguments):
        assert image.tobytes() == wanted[0].tobytes()
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2]):
        y = fastconv.conv_transpose(change(x), change(w), **arguments)
        assert y.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", ("k5-s2", "turned-k4", "turned-groups", "turned-images-k6"))
def test_lanes_without_a_tile_hold_nothing(name, isa):
    # Whatever the scratch held before: NaN in one of them would be taken for a result's.
    other = ((1, 150, 30, 30), (150, 64, 4, 4), {"stride": 2, "padding": 1})
    x, w = normal(LAYERS[name], "float32")
    results = []
    for before in (0, np.nan):
        problem = problem_of(other)
        y = np.empty((1, 64, *problem.spatial_out), np.float32)
        operands = (np.full(shape, before, np.float32) for shape in other[:2])
        _winograd.run(problem, *operands, None, y, workers=1)
        results.append(fastconv.conv_transpose(
            x, w, **LAYERS[name][2], method="winograd", workers=1).tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("taken", "refused", "reason"),
    [
        (((1, 4, 9), (4, 4, 3), {}), ((1, 4, 9), (4, 4, 4), {}), "4 taps, more than 3"),
        (((1, 4, 9, 9), (4, 4, 6, 6), {"stride": 2}), ((1, 4, 9, 9), (4, 4, 6, 7), {"stride": 2}),
         "spatial axis 1 have 4 taps"),
        (((1, 4, 9, 9), (4, 4, 3, 3), {}), ((1, 4, 9, 9, 9), (4, 4, 3, 3, 3), {}), "not 3"),
        (((1, 4, 9), (4, 4, 3), {"stride": 2}), ((1, 4, 9), (4, 4, 2), {"stride": 2}),
         "no axis has a phase of 2"),
        (((1, 4, 9), (4, 4, 3), {"dilation": 8}), ((1, 4, 9), (4, 4, 3), {"dilation": 9}),
         "dilation 9 of the last axis is above 8"),
        # Rows of which no two are summed, however far apart: they would be computed with zeros.
        (((1, 4, 9, 9), (4, 4, 3, 3), {"dilation": (8, 1)}),
         ((1, 4, 9, 9), (4, 4, 3, 3), {"dilation": (9, 1)}),
         "dilation 9 of spatial axis 0 leaves no two taps that meet in its 9 samples"),
        (((1, 4, 9, 9), (4, 4, 16, 9), {"stride": (8, 8)}),
         ((1, 4, 9, 9), (4, 4, 16, 10), {"stride": (8, 9)}), "72 phases, more than 64"),
        (((1, 2560, 3, 3), (2560, 4, 3, 3), {}), ((1, 2561, 3, 3), (2561, 4, 3, 3), {}),
         "2561 input channels do not fit"),
        (((1, 4, 9), (4, 4, 3), {}), ((1, 4, 9), (4, 4, 3), {"padding": -1}), "outside of them"),
        (((1, 4, 9), (4, 4, 3), {"stride": 2}),
         ((1, 4, 9), (4, 4, 3), {"stride": 2, "dilation": 3}), "gaps between the phases"),
        (((1, 4, 9), (4, 4, 3), {}), ((1, 0, 9), (0, 4, 3), {}), "no input channels"),
        (((1, 1200, 3, 3), (1200, 3, 16, 16), {"stride": 8}),
         ((1, 2100, 3, 3), (2100, 1, 9, 9), {"stride": 8}), "an output channel do not fit"),
    ],
)
def test_what_it_takes(taken, refused, reason):
    x, w, arguments = taken
    y = fastconv.conv_transpose(np.ones(x), np.ones(w), **arguments, method="winograd")
    wanted = fastconv.conv_transpose(np.ones(x), np.ones(w), **arguments, method="direct")
    np.testing.assert_array_equal(y, wanted)
    x, w, arguments = refused
    with pytest.raises(ValueError, match=f"^method='winograd' cannot do this problem: .*{reason}"):
        fastconv.conv_transpose(np.ones(x), np.ones(w), **arguments, method="winograd")


@pytest.mark.parametrize("dtype", ("float16", "complex64", "int32", "longdouble"))
def test_types_it_does_not_take(dtype):
    x, w = np.ones((1, 4, 9), dtype), np.ones((4, 4, 3), dtype)
    with pytest.raises(ValueError, match=f"takes float32 and float64, not {np.dtype(dtype)}"):
        fastconv.conv_transpose(x, w, method="winograd")


@pytest.mark.parametrize("dtype", FLOATS)
def test_when_auto_takes_it(dtype, isa):
    layer = {"stride": 1, "padding": 1}
    # Enough channels on both sides ...
    assert chosen((1, 32, 128, 128), (32, 32, 3, 3), dtype, **layer) == "winograd"
    assert chosen((1, 31, 128, 128), (31, 32, 3, 3), dtype, **layer) == "direct"
    strided = {"stride": 2, "padding": 1}
    assert chosen((1, 64, 128, 128), (64, 8, 4, 4), dtype, **strided) == "winograd"
    assert chosen((1, 64, 128, 128), (64, 7, 4, 4), dtype, **strided) == "direct"
    assert chosen((1, 64, 128, 128), (64, 32, 3, 3), dtype, groups=2, **layer) == "winograd"
    assert chosen((1, 64, 128, 128), (64, 32, 3, 3), dtype, groups=4, **layer) == "direct"
    # ... enough pixels for the transform of the weights ...
    assert chosen((1, 256, 32, 24), (256, 256, 4, 4), dtype, **strided) == "winograd"
    assert chosen((1, 256, 11, 11), (256, 256, 3, 3), dtype, **layer) == "col2im"
    assert chosen((1, 256, 12, 12), (256, 256, 3, 3), dtype, **layer) == "winograd"
    assert chosen((1, 256, 14, 14), (256, 256, 4, 4), dtype, **strided) == "karatsuba"
    assert chosen((1, 64, 16, 16), (64, 64, 4, 4), dtype, **strided) == "direct"
    assert chosen((1, 64, 20, 20), (64, 64, 4, 4), dtype, **strided) == "winograd"
    assert chosen((1, 256, 24, 24), (256, 32, 4, 4), dtype, groups=8, **strided) == "direct"
    # ... in rows that are long enough, or of images that are enough ...
    assert chosen((1, 64, 64, 64), (64, 64, 4, 4), dtype, **strided) == "winograd"
    assert chosen((64, 128, 8, 8), (128, 64, 4, 4), dtype, **strided) == "winograd"
    assert chosen((64, 32, 7, 7), (32, 32, 4, 4), dtype, **strided) == "direct"
    assert chosen((4, 256, 8, 8), (256, 128, 4, 4), dtype, **strided) == "karatsuba"
    assert chosen((12, 256, 8, 8), (256, 128, 4, 4), dtype, **strided) == "winograd"
    # ... whose tiles of two or three outputs are full ...
    assert chosen((64, 256, 4, 4), (256, 128, 4, 4), dtype, **strided) == "winograd"
    assert chosen((64, 256, 2, 2), (256, 128, 4, 4), dtype, **strided) == "direct"
    # ... a type and a rank that it can do, and enough work to plan for.
    assert chosen((1, 64, 40, 40), (64, 64, 3, 3), dtype, **layer) == "winograd"
    assert chosen((1, 64, 18, 18), (64, 64, 3, 3), dtype, **layer) == "winograd"
    assert chosen((1, 64, 15, 15), (64, 64, 3, 3), dtype, **layer) == "direct"
    assert chosen((1, 64, 40, 40), (64, 64, 3, 3), "complex64", **layer) == "direct"
    assert chosen((1, 64, 40, 40), (64, 64, 3, 3), "float16", **layer) == "direct"
    assert chosen((1, 64, 20, 20, 20), (64, 64, 3, 3, 3), dtype, **layer) == "direct"


def test_auto_computes_by_it():
    x, w = normal(AUTO, "float32")
    assert chosen(*AUTO[:2], **AUTO[2]) == "winograd"
    auto, forced, direct = (
        fastconv.conv_transpose(x, w, **AUTO[2], method=m) for m in ("auto", "winograd", "direct")
    )
    assert auto.tobytes() == forced.tobytes() != direct.tobytes()


@pytest.mark.parametrize("special", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("place", (0, 1, "end"))
@pytest.mark.parametrize("operand", (0, 1))
def test_auto_keeps_the_rule_for_nan_and_inf(operand, place, special, isa):
    for dtype, workers in itertools.product(FLOATS, (1, 3)):
        operands = normal(AUTO, dtype)
        operands[operand].flat[-1 if place == "end" else place * 777] = special
        auto = fastconv.conv_transpose(*operands, **AUTO[2], workers=workers)
        direct = fastconv.conv_transpose(*operands, **AUTO[2], method="direct")
        np.testing.assert_array_equal(auto, direct)
        assert not np.isfinite(auto).all()
        assert np.isfinite(auto).any()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("operand", (0, 1))
def test_auto_survives_an_overflow_of_a_transform(operand, dtype, isa):
    # Two neighbours add up to more than the type holds; the products do not.
    operands = normal(AUTO, dtype)
    big, small = (np.finfo(dtype).max / 2).astype(dtype), np.finfo(dtype).eps
    for i, a in enumerate(operands):
        a[...] = np.where(a < 0, -1, 1) * (big if i == operand else small / 1000)
    auto = fastconv.conv_transpose(*operands, **AUTO[2])
    direct = fastconv.conv_transpose(*operands, **AUTO[2], method="direct")
    assert np.isfinite(direct).all()
    np.testing.assert_array_equal(auto, direct)


def test_infinite_bias_needs_no_other_method():
    x, w = normal(AUTO, "float32")
    bias = np.zeros(64, "float32")
    bias[3] = np.inf
    y = fastconv.conv_transpose(x, w, bias, **AUTO[2])
    assert np.isposinf(y[:, 3]).all()
    assert np.isfinite(np.delete(y, 3, axis=1)).all()


@pytest.mark.parametrize("special", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("name", ("x", "w", "bias"))
def test_forced_it_raises_for_nan_and_inf(name, special):
    operands = dict(zip(("x", "w", "bias"), integers(LAYERS["k3-s1"], "float32"), strict=True))
    operands[name].flat[-1] = special
    y = fastconv.conv_transpose(**operands, padding=1)
    out = np.full_like(y, 7)
    with pytest.raises(ValueError, match=f"^method='winograd' cannot take {name}: .*Inf or NaN"):
        fastconv.conv_transpose(**operands, padding=1, method="winograd", out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("data", ("normal", "rectified"))
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", (
    "k3-s1", "k3-s2", "k4-s2", "k5-s2", "k3-d2", "1d-k3", "k2-s1", "turned-k4", "turned-images",
))
def test_error_is_at_most_four_times_that_of_direct(name, dtype, data):
    check_error(LAYERS[name], dtype, data, "winograd")


# F(3, 2) and F(2, 3) as matrices: y = A ((G g) * (B d)).
B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G32 = np.array([[1, 0], [0.5, 0.5], [0.5, -0.5], [0, 1]])
A32 = np.array([[1, 1, 1, 0], [0, 1, -1, 0], [0, 1, 1, -1]])
G23 = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A23 = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


@pytest.mark.parametrize(("g", "a"), [(G32, A32), (G23, A23)], ids=("F(3,2)", "F(2,3)"))
def test_identities(g, a):
    outputs, taps = a.shape[0], g.shape[1]
    for i, j in itertools.product(range(4), range(taps)):
        wanted = [k + j == i for k in range(outputs)]
        assert (a @ (g[:, j] * B[:, i])).tolist() == wanted


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", (0, 12), ids=("normal", "wide-range"))
@pytest.mark.parametrize(("g", "a"), [(G32, A32), (G23, A23)], ids=("F(3,2)", "F(2,3)"))
def test_error_bound(g, a, spread, dtype, isa):
    # Each number at a point is a sum of c_in products of two transformed numbers; transforms round
    # at most 3 + 3 times on the way. Absolute values through the matrices bound what is summed.
    rng = np.random.default_rng(3)
    outputs, taps = a.shape[0], g.shape[1]
    c_in, tiles = 50, 15
    x = rng.standard_normal((1, c_in, tiles * outputs + 1 - taps))
    w = rng.standard_normal((c_in, 5, taps))
    x, w = ((v * np.exp2(rng.integers(-spread, spread + 1, v.shape))).astype(dtype) for v in (x, w))
    y = fastconv.conv_transpose(x, w, method="winograd")
    exact = reference.conv_transpose(x.astype(np.longdouble), w.astype(np.longdouble))
    padded = np.pad(np.abs(x[0].astype(float)), ((0, 0), (taps - 1, taps)))
    weights = np.abs(w[:, :, ::-1].astype(float)) @ np.abs(g).T
    for tile in range(tiles):
        window = padded[:, tile * outputs : tile * outputs + 4] @ np.abs(B).T
        scale = (weights * window[:, None]).sum(0) @ np.abs(a).T
        at = slice(tile * outputs, (tile + 1) * outputs)
        difference = np.abs(y[0, :, at] - exact[0, :, at])
        assert (difference <= (c_in + 8) * np.finfo(dtype).eps * scale).all()


@pytest.mark.parametrize("workers", (1, 2, 5, 64))
@pytest.mark.parametrize("name", LAYERS)
def test_scratch_is_bounded(name, workers):
    # A copy of w, a copy of x, 4 MiB a worker, and what keeps the parts on lines of their own.
    problem = problem_of(LAYERS[name])
    for dtype, isa in itertools.product(FLOATS, _isa.supported()):
        vector = {"baseline": 16, "avx2": 32, "avx512": 64}.get(isa, 16) // np.dtype(dtype).itemsize
        points = _points.Points(problem, FLOATS.index(dtype), vector, 8, workers)
        (images, channels, *spatial), w, _ = LAYERS[name]
        size, copy = np.dtype(dtype).itemsize, images * channels * np.prod(spatial)
        if points.lane_axis == "batch":
            # Columns of 16 images, and the zeros that windows of up to five samples reach.
            copy = -(-images // 16) * 16 * channels * np.prod(
                [n + 6 * d for n, d in zip(spatial, problem.dilation, strict=True)])
            assert 0 < points.relaid_bytes <= copy * size
        held = points.packed_bytes + points.shared_bytes + points.workers * points.worker_bytes
        held += points.relaid_bytes
        assert held <= (copy + np.prod(w)) * size + points.workers * (4 << 20)
        assert 1 <= points.workers <= min(workers, points.tasks)


def test_taps_far_apart(run_python):
    # Lines of tiles between rows, a copy of x with all of these, and the bytes of a dilation were
    # counted beyond 2**63.
    run_python('''
import numpy as np
import fastconv

for dilation in (10**5, 2**59, 2**60, 2**61):
    x, w = np.ones((16, 256, 40, 8), "f4"), np.ones((256, 256, 3, 3), "f4")
    options = {"dilation": (dilation, 1), "padding": ((dilation, dilation), (0, 0))}
    y = fastconv.conv_transpose(x, w, **options)
    z = fastconv.conv_transpose(x, w, **options, method="direct")
    assert (y == z).all() and y.shape == (16, 256, 40, 10)

for dilation in (17, 2**59, 2**60, 2**61):
    x, w = np.ones((16, 40, 9), "f4"), np.ones((40, 40, 3), "f4")
    options = {"dilation": dilation, "padding": [(dilation, dilation)]}
    y = fastconv.conv_transpose(x, w, **options)
    assert (y == 40).all() and y.shape == (16, 40, 9)
    try:
        fastconv.conv_transpose(x, w, **options, method="winograd")
    except ValueError as error:
        assert f"dilation {dilation} of the last axis is above 16" in str(error)
    else:
        raise AssertionError("winograd takes a dilation that its lanes have no room for")
''')


@pytest.mark.parametrize(("name", "sets"), [
    ("k4-s2", (1, 1)), ("turned-k4", (1, 2)), ("turned-rows", (2, 1)), ("turned-cols", (1, 2)),
    ("turned-k3", (2, 1)), ("turned-k5-s3", (2, 1)), ("turned-k6-s3", (2, 1)),
    ("turned-k6-s2", (2, 2)), ("turned-k10-s4", (2, 1)), ("turned-1d", (1, 2)),
    ("turned-images", (2, 2)), ("turned-images-k6", (2, 2)), ("turned-images-rows", (2, 1)),
    ("turned-groups", (2, 2)), ("turned-rows-only", (2, 1)), ("turned-blocks", (2, 2)),
    ("short-tiles", (1, 1)),
])
def test_phases_are_counted_from_the_first_one_inside(name, sets, isa):
    points = _points.Points(problem_of(LAYERS[name]), 0, *_isa.tiles[0], 2)
    assert points.sets == sets


@pytest.mark.parametrize("c_in", (320, 400))
@pytest.mark.parametrize("workers", (1, 2, 3))
def test_many_weights_are_transformed_block_by_block(workers, c_in):
    block = 2 << 20

    def held(c_out, *spatial):
        problem = problem_of(
            ((1, c_in, *spatial), (c_in, c_out, 4, 4), {"stride": 2, "padding": 1}))
        return _points.Points(problem, 0, 16, 8, workers)

    # 64 KiB of an output channel, or 80: all together up to two blocks for each worker, ...
    few = held(60 * 320 // c_in * workers, 5, 7)
    assert few.packed_bytes > 1.4 * block * workers
    # ... then a block for each, in as many pieces, ...
    many = held(88 * workers, 5, 7)
    assert 0.4 * block * workers < many.packed_bytes <= block * workers
    assert many.tasks % workers == 0
    # ... unless the windows, which are read again for each, are more.
    assert held(88 * workers, 90, 90).packed_bytes > 2 * block * workers


@pytest.mark.parametrize(("c_out", "by_unit"), ((16, False), (80, False), (88, True), (250, True)))
def test_workers_stay_with_windows_or_with_weights(c_out, by_unit, isa):
    # With the more bytes; either way every task is done, and no sum depends on it.
    layer = ((2, 96, 12, 14), (96, c_out, 3, 3), {"padding": 1})
    points = _points.Points(problem_of(layer), 0, 16, 8, 2)
    assert points.by_unit == by_unit == (points.packed_bytes > points.shared_bytes > 0)
    x, w, _ = integers(layer, "float32")
    wanted = fastconv.conv_transpose(x, w, **layer[2], method="direct")
    out = np.empty_like(wanted)
    for workers in (1, 2, 3, 5, 16, 64):
        out.fill(np.nan)
        fastconv.conv_transpose(x, w, **layer[2], method="winograd", workers=workers, out=out)
        assert out.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("c_out", "tasks"), ((64, 9), (87, 9), (88, 18), (256, 18)))
def test_shares_that_transform_windows_anew_are_few(c_out, tasks):
    # Nine times 48 lanes, whose windows have no room beside the copy of x: a second share of their
    # products is for 2 * 8 * 22 of each, of four phases and these channels.
    layer = ((13, 384, 14, 14), (384, c_out, 4, 4), {"stride": 2, "padding": 1})
    points = _points.Points(problem_of(layer), 0, 16, 8, 2)
    assert points.shared_bytes == 0
    assert points.tasks == tasks
    # They are more where workers would have none, or where windows are shared.
    assert _points.Points(problem_of(layer), 0, 16, 8, 8).tasks >= 54


@pytest.mark.parametrize(
    ("x", "lanes"),
    [
        # Of the sixteen images of a column at least four fifths must be there.
        ((12, 40, 8, 8), "tiles"),
        ((13, 40, 8, 8), "batch"),
        ((17, 40, 8, 8), "tiles"),
        ((26, 40, 8, 8), "batch"),
        # Lines of more than eight tiles, of three outputs each, fill vectors by themselves.
        ((16, 40, 8, 24), "batch"),
        ((16, 40, 8, 25), "tiles"),
        ((16, 40, 300, 8), "batch"),
        # Windows of a column of images must fit into the scratch.
        ((16, 4551, 8, 8), "batch"),
        ((16, 4552, 8, 8), "refused"),
    ],
)
def test_lanes_along_the_batch(x, lanes, isa):
    problem = _problem.make_problem(x, (x[1], 40, 4, 4), 2, 1, 0, None, 1, 1, 1)
    if lanes == "refused":
        with pytest.raises(OverflowError, match="4552 input channels"):
            _points.Points(problem, 0, *_isa.tiles[0], 1)
        return
    assert _points.Points(problem, 0, *_isa.tiles[0], 1).lane_axis == lanes
    # Twice as many bytes: half as many channels.
    wide = _points.Points(problem, 1, *_isa.tiles[1], 1).lane_axis
    assert wide == ("tiles" if x[1] > 1280 else lanes)


@pytest.mark.parametrize("groups", (1, 2))
@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_images_have_the_same_bits_with_channels_last(dtype, groups, isa):
    rng = np.random.default_rng(6)
    w = rng.standard_normal((20, 9, 4, 4)).astype(dtype)
    options = {"stride": 2, "padding": 1, "groups": groups, "method": "winograd"}
    for images, rows in ((16, 7), (29, 1), (48, 3)):
        x = rng.standard_normal((images, 20, rows, 8)).astype(dtype)
        first = fastconv.conv_transpose(x, w, **options)
        for workers in (1, 3):
            last = fastconv.conv_transpose(
                np.moveaxis(x, 1, -1).copy(), w, channel_axis=-1, workers=workers, **options)
            assert np.moveaxis(last, -1, 1).tobytes() == first.tobytes()


def test_images_have_the_same_bits_in_any_batch(isa):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((32, 20, 7, 8)).astype(np.float32)
    w = rng.standard_normal((20, 9, 4, 4)).astype(np.float32)
    options = {"stride": 2, "padding": 1, "method": "winograd"}
    whole = fastconv.conv_transpose(x, w, **options)
    for images in (1, 5, 13, 16, 17):
        assert whole[:images].tobytes() == fastconv.conv_transpose(
            x[:images], w, **options).tobytes()
