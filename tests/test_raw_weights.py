"""Raw weights, the method "col2im": both sides of what "auto" takes, and its tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instruction_sets import using

import fastconv
from fastconv import _api, _columns, _isa, _problem


def chosen(x, w, **arguments):
    return _api.explain(x, w, **arguments)["method"]


@pytest.mark.parametrize(
    ("most", "channels", "kernel", "arguments"),
    [
        # 60 weights to pack against so many pixels of columns that are stored, ...
        (358, 64, 2, {"stride": 2}),
        (358, 64, 2, {"stride": 2, "channel_axis": -1}),
        (672, 64, 2, {"stride": 3}),
        # ... added, where taps overlap, ...
        (165, 64, 4, {"stride": 2, "dilation": 2}),
        (279, 128, 4, {"stride": 2, "dilation": 2}),
        (91, 64, 4, {"stride": 2, "dilation": 2, "groups": 2}),
        # ... and apart from each other.
        (100, 128, 1, {}),
        (768, 1024, 1024, {"stride": 256}),
    ],
)
def test_auto_takes_raw_weights_for_few_pixels(most, channels, kernel, arguments):
    for dtype in ("float32", "float64"):
        for pixels in (1, most, most + 1):
            x = (1, channels, pixels)
            if arguments.get("channel_axis") == -1:
                x = (1, pixels, channels)
            method = chosen(x, (channels, 128, kernel), dtype=dtype, **arguments)
            assert (method == "col2im") == (pixels <= most)


@pytest.mark.parametrize(("kernel", "stride", "most"), [(3, 1, 11), (5, 2, 12)])
def test_minimal_filtering_takes_more_pixels(kernel, stride, most):
    w = (256, 256, kernel, kernel)
    for n in range(4, 25):
        method = chosen((1, 256, n, n), w, stride=stride, padding=1)
        assert method == ("col2im" if n <= most else "winograd")


def test_images_count_as_pixels():
    w = (64, 64, 2, 2)
    # The more idle lanes a row of the direct method has, the more pixels are worth it.
    assert chosen((29, 64, 4, 3), w, stride=2) == "col2im"
    assert chosen((30, 64, 4, 3), w, stride=2) == "direct"
    assert chosen((2, 64, 179, 1), w, stride=2) == "col2im"
    assert chosen((2, 64, 180, 1), w, stride=2) == "direct"
    # More of several images, whose rows are short, than of one.
    w = (1024, 1024, 2, 2)
    assert chosen((1, 1024, 32, 24), w, stride=2) == "col2im"
    assert chosen((1, 1024, 769, 1), w, stride=2) == "direct"
    assert chosen((16, 1024, 8, 8), w, stride=2) == "col2im"
    assert chosen((5, 1024, 5, 41), w, stride=2) == "direct"


def test_products_that_are_cropped_count():
    # Of maps of 4 x 4 with padding 1 direct makes 14 / 16 of the products along rows, in which 5
    # lanes make 4 pixels, and along the batch (14 / 16)**2, if all lanes have images.
    w = (1024, 64, 4, 4)
    padded = {"stride": 2, "padding": 1}
    for images, method in [
        (14, "col2im"), (15, "direct"), (16, "direct"), (17, "col2im"), (20, "col2im"),
        (21, "direct"), (24, "direct"), (25, "col2im"), (26, "col2im"), (27, "direct"),
        (64, "direct"),
    ]:
        assert chosen((images, 1024, 4, 4), w, **padded) == method
    assert chosen((62, 1024, 4, 4), w, stride=2) == "col2im"
    assert chosen((63, 1024, 4, 4), w, stride=2) == "direct"


def test_auto_packs_few_weights():
    assert chosen((1, 64, 3, 3), (64, 16, 4, 4)) == "col2im"
    assert chosen((1, 63, 3, 3), (63, 16, 4, 4)) == "direct"
    assert chosen((1, 64, 3, 3), (64, 17, 4, 4), groups=2) == "col2im"
    # 32 input channels of a group, no fewer.
    assert chosen((1, 64, 3, 3), (64, 64, 4, 4), groups=2) == "col2im"
    assert chosen((1, 62, 3, 3), (62, 64, 4, 4), groups=2) == "direct"
    assert chosen((1, 64, 3, 3), (64, 64, 4, 4), groups=4) == "direct"


def test_types_of_raw_weights():
    for dtype, method in [
        ("float32", "col2im"), ("float64", "col2im"), ("float16", "direct"), ("int32", "direct"),
        ("complex64", "direct"), ("longdouble", "reference"),
    ]:
        assert chosen((1, 128, 3, 3), (128, 32, 4, 4), dtype=dtype) == method


def test_col2im_needs_a_vector_of_columns():
    x = np.ones((1, 2, 5), np.float32)
    for shape, groups in [((2, 1, 16), 1), ((2, 4, 4), 1), ((2, 4, 4), 2)]:
        y = fastconv.conv_transpose(x, np.ones(shape, np.float32), groups=groups, method="col2im")
        assert y.sum() == 5 * np.prod(shape)
    for shape, groups, columns in [((2, 1, 15), 1, 15), ((2, 5, 3), 1, 15), ((2, 1, 9), 2, 9)]:
        with pytest.raises(ValueError, match=f"a group has {columns} columns"):
            fastconv.conv_transpose(x, np.ones(shape, np.float32), groups=groups, method="col2im")


@pytest.mark.parametrize(
    ("x", "w", "arguments", "tasks"),
    [
        # An inverse short-time transform has one output channel: its hop is shared out, and its
        # frames where there are more workers than vectors in the hop.
        ((1, 130, 224), (130, 1, 1024), {"stride": 256},
         {1: [1024], 2: 4 * [192] + 2 * [128], 3: 5 * [192] + [64], 4: 8 * [128], 64: 64 * [64]}),
        ((1, 130, 224), (130, 1, 1024), {"stride": 1024},
         {1: [1024], 2: [240, 240, 144, 144, 48, 48, 48, 48, 32, 32],
          4: 4 * [96] + 8 * [48] + 8 * [32], 16: 32 * [32], 64: 64 * [16]}),
        # No two taps but those a whole stride apart meet, so dilation changes the phases.
        ((1, 130, 50), (130, 1, 256), {"stride": 96, "dilation": 2},
         {1: [256], 2: [176, 80], 64: [96, 80, 80]}),
        ((1, 130, 50), (130, 1, 256), {"stride": 1}, {1: [256], 64: [256]}),
        ((1, 130, 4, 4), (130, 1, 64, 64), {"stride": 16},
         {1: [4096], 2: 4 * [768] + 2 * [512], 64: 16 * [256]}),
        # With enough output channels a task owns some of them.
        ((1, 130, 50), (130, 256, 16), {"stride": 8},
         {1: [4096], 2: [1024, 1024, 512, 512] + 4 * [256], 4: 4 * [512] + 8 * [256],
          8: 16 * [256], 64: 64 * [64]}),
        ((1, 130, 50), (130, 2, 16), {"stride": 8, "groups": 10},
         {1: 10 * [32], 4: 10 * [32], 64: 10 * [32]}),
    ],
)
def test_columns_of_tasks(x, w, arguments, tasks):
    # With vectors of 16 numbers, as with AVX-512.
    options = {"stride": 1, "dilation": 1, "groups": 1, **arguments}
    problem = _problem.make_problem(
        x, w, options["stride"], 0, 0, None, options["dilation"], options["groups"], 1)
    for workers, columns in tasks.items():
        assert _columns.task_columns(problem, workers, 16, False) == columns
    for name in _isa.supported():
        with using(name):
            for workers, columns in tasks.items():
                plan = _api.explain(x, w, method="col2im", workers=workers, **arguments)
                assert plan["workers"] == min(workers, plan["tasks"])
                # Shorter vectors leave more pieces that still fill one.
                assert plan["tasks"] >= len(columns)
                if _isa.tiles[0][0] == 16:
                    assert plan["tasks"] == len(columns)


@given(
    channels=st.integers(1, 300), groups=st.integers(1, 5), kernel=st.integers(1, 300),
    stride=st.integers(1, 300), dilation=st.integers(1, 4), workers=st.integers(1, 70),
    vector=st.sampled_from((2, 4, 8, 16)), karatsuba=st.booleans(),
)
def test_tasks_have_all_columns(
    channels, groups, kernel, stride, dilation, workers, vector, karatsuba
):
    problem = _problem.make_problem(
        (3, groups, 40), (groups, channels, kernel), stride, 0, 0, None, dilation, groups, 1)
    columns = _columns.task_columns(problem, workers, vector, karatsuba)
    assert min(columns) > 0
    # Each in as many parts of the images.
    parts, rest = divmod(sum(columns), channels * groups * kernel)
    assert rest == 0 and 1 <= parts <= 3


@pytest.mark.parametrize(
    ("x", "w", "arguments", "tasks"),
    [
        ((1, 70, 300), (70, 1, 64), {"stride": 16, "padding": 5}, 8),
        ((1, 33, 301), (33, 2, 48), {"stride": 8, "padding": [(100, 0)]}, 2),
        # Three pixels are left over, seven with the images.
        ((1, 33, 303), (33, 2, 48), {"stride": 8, "padding": [(100, 0)]}, 2),
        ((5, 40, 27), (40, 1, 16), {"stride": 16}, 5),
        ((1, 40, 90, 7), (40, 1, 5, 16), {"stride": (2, 16), "padding": [(3, 2), 0]}, 5),
        ((7, 40, 20), (40, 1, 16), {"stride": 16}, 7),
        ((3, 40, 20), (40, 1, 16), {"stride": 16, "output_size": 300, "padding": "same"}, 3),
    ],
)
def test_parts_of_a_result(x, w, arguments, tasks, isa):
    rng = np.random.default_rng(3)
    for dtype in ("float32", "float64"):
        a = rng.standard_normal(x).astype(dtype)
        b = rng.standard_normal(w).astype(dtype)
        bias = rng.standard_normal(w[1]).astype(dtype)
        plan = _api.explain(x, w, dtype, method="col2im", workers=64, **arguments)
        assert plan["tasks"] >= tasks
        alone = fastconv.conv_transpose(a, b, bias, method="col2im", workers=1, **arguments)
        for workers in (2, 5, 64):
            shared = fastconv.conv_transpose(
                a, b, bias, method="col2im", workers=workers, **arguments)
            assert shared.tobytes() == alone.tobytes()


@pytest.mark.parametrize("shape", [(1,) * 62, (3,) * 7, (1, 1, 1), (2000,), (40, 50)])
def test_a_worker_of_raw_weights_keeps_its_promise(shape):
    rank = len(shape)
    problem = _problem.make_problem(
        (1, 2, *shape), (2, 16, *(1,) * rank), 1, 0, 0, None, 1, 1, 1)
    for images in (1, 17, 5000):
        for vector, size in [(4, 4), (2, 8), (8, 4), (16, 4), (8, 8)]:
            taken = _columns.worker_bytes(problem, images, 1, vector, size, False)
            assert 0 < taken <= 4 << 20


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        # Blocks begin and end inside of a channel's taps; one pixel block, then two.
        ((70,), (40, 37, 11), {"stride": 3, "padding": 2}),
        ((1100,), (24, 9, 16), {"stride": 8, "padding": ((3, -5),)}),
        # Few channels, so that workers have parts of the pixels.
        ((1100,), (24, 2, 16), {"stride": 8, "padding": 3}),
        ((200, 3), (24, 2, 4, 9), {"stride": (2, 3), "padding": 1}),
        # Groups, few channels, a dilated axis.
        ((60,), (32, 5, 12), {"stride": 4, "groups": 4}),
        ((60,), (16, 3, 8), {"stride": 2, "dilation": 3}),
        # Rows of a map; the last has more results than are turned.
        ((5, 6), (32, 20, 3, 9), {"stride": (2, 4), "padding": 1}),
        ((4, 3, 5), (16, 7, 2, 2, 8), {"stride": (2, 1, 8)}),
        ((8, 8), (16, 20, 32, 32), {"stride": 32}),
        ((5, 6), (32, 20, 4, 4), {"stride": 2, "padding": 1}),
        # Three taps are turned, two are not.
        ((70,), (40, 37, 3), {"stride": 2}),
        ((70,), (40, 37, 2), {"stride": 2}),
        # More channels than are turned at a time: by their number, and by their results.
        ((30,), (24, 150, 8), {"stride": 4}),
        ((5, 4, 4), (16, 12, 9, 9, 9), {"stride": 4, "padding": 2}),
    ],
)
@pytest.mark.parametrize("images", (1, 3))
def test_same_bits_with_channels_last(images, x, w, options, dtype, isa):
    """Results that are turned on their way are those of channels first."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((images, w[0], *x)).astype(dtype)
    w = rng.standard_normal(w).astype(dtype)
    bias = rng.standard_normal(w.shape[1] * options.get("groups", 1)).astype(dtype)
    wanted = fastconv.conv_transpose(x, w, bias, method="col2im", workers=1, **options)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    shape = np.moveaxis(wanted, 1, -1).shape
    for workers in (1, 2, 5):
        room = np.full((shape[0], *shape[1:-1], shape[-1] + 3), 77, dtype)
        # Images with gaps between are not turned.
        apart = np.full((2 * shape[0], *shape[1:]), 77, dtype)
        for options_out in ({}, {"out": room[..., 1:-2]}, {"out": apart[::2]}):
            y = fastconv.conv_transpose(
                last, w, bias, method="col2im", workers=workers, channel_axis=-1, **options,
                **options_out)
            assert np.moveaxis(y, -1, 1).tobytes() == wanted.tobytes()
        assert (room[..., 0] == 77).all() and (room[..., -2:] == 77).all()
        assert (apart[1::2] == 77).all()


@pytest.mark.parametrize("workers", (1, 2, 5))
def test_several_images_with_channels_last(workers, isa):
    """Each result of each image begins as the bias of its channel, all channels at once."""
    rng = np.random.default_rng(workers)
    x = rng.integers(-4, 5, (3, 4, 5, 6)).astype(np.float32)
    w = rng.integers(-4, 5, (6, 7, 2, 3)).astype(np.float32)
    bias = rng.integers(-9, 9, 14).astype(np.float32)
    options = {"stride": (4, 3), "padding": (1, -2), "groups": 2}
    wanted = fastconv.conv_transpose(
        np.moveaxis(x, -1, 1), w, bias, method="reference", **options)
    room = np.full((*wanted.shape[:1], *wanted.shape[2:], 17), 77, np.float32)
    fastconv.conv_transpose(
        x, w, bias, method="col2im", workers=workers, channel_axis=-1, out=room[..., 1:15],
        **options)
    np.testing.assert_array_equal(np.moveaxis(room[..., 1:15], -1, 1), wanted)
    assert (room[..., 0] == 77).all() and (room[..., 15:] == 77).all()


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("taps", (1024, 37, 16))
def test_both_sides_of_copied_weights(taps, dtype, isa):
    """The same bits where tiles leave weights to the next ones, with more pixels than rows, ...

    or multiply a copy that was made before, from 32 pixels on with baseline instructions.
    """
    rng = np.random.default_rng(taps)
    x = rng.standard_normal((1, 300, 71)).astype(dtype)
    w = rng.standard_normal((300, 3, taps)).astype(dtype)
    options = {"stride": taps, "method": "col2im"}
    few = [fastconv.conv_transpose(x[..., i : i + 1], w, **options) for i in range(71)]
    for pixels in (3, 4, 5, 8, 9, 31, 32, 33, 71):
        for workers in (1, 2):
            y = fastconv.conv_transpose(x[..., :pixels], w, workers=workers, **options)
            assert y.tobytes() == np.concatenate(few[:pixels], -1).tobytes()


@pytest.mark.parametrize("channel_axis", (1, -1))
@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (2, 2)])
def test_pixels_that_are_left_over(kernel, stride, channel_axis, isa):
    """Any number of pixels is left for the last panel; three are one of four rows, seven of eight.

    Of two groups, of one image and three, with columns that are added or stored, and with more
    pixels than a block or a task that packs them takes.
    """
    rng = np.random.default_rng(kernel)
    for images, pixels in (
        *((1, n) for n in range(1, 12)), (1, 67), (1, 1027), (1, 1091), (3, 1), (3, 25), (3, 345)
    ):
        x = rng.integers(-4, 5, (images, 14, pixels)).astype(np.float32)
        w = rng.integers(-4, 5, (14, 11, kernel)).astype(np.float32)
        bias = rng.integers(-9, 9, 22).astype(np.float32)
        wanted = fastconv.conv_transpose(
            x, w, bias, method="reference", stride=stride, groups=2)
        source = np.ascontiguousarray(np.moveaxis(x, 1, channel_axis))
        for workers in (1, 2, 5):
            y = fastconv.conv_transpose(
                source, w, bias, method="col2im", stride=stride, groups=2, workers=workers,
                channel_axis=channel_axis)
            np.testing.assert_array_equal(np.moveaxis(y, channel_axis, 1), wanted)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("method", ("col2im", "karatsuba"))
def test_weights_that_tiles_ask_for(method, dtype, isa):
    """Tiles cut their channels for it, into one, two or four parts, or not at all.

    By the rows that fall on each: many where few tiles go through a block (few pixels), fewer than
    one where many do; and by whether the parts are equal.
    """
    rng = np.random.default_rng(23)
    for channels in (1, 6, 127, 130, 516):
        w = rng.integers(-4, 5, (channels, 70, 4)).astype(dtype)
        for pixels in (2, 4, 5, 8, 12, 16, 31, 70):
            x = rng.integers(-4, 5, (1, channels, pixels)).astype(dtype)
            wanted = fastconv.conv_transpose(x, w, method="reference", stride=2, padding=1)
            for workers in (1, 2, 5):
                y = fastconv.conv_transpose(
                    x, w, method=method, stride=2, padding=1, workers=workers)
                np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        # Every result is reached once: nothing is there before, whatever the place of its row.
        ((3, 5, 6, 7), (5, 9, 2, 2), {"stride": 2}),
        ((1, 5, 6, 7), (5, 9, 3, 3), {"stride": 3, "padding": ((1, 2), (0, 1))}),
        ((2, 5, 4, 9), (5, 9, 4, 4), {"stride": 4, "padding": ((3, 1), (5, 3)), "groups": 1}),
        ((2, 10, 4, 9), (10, 9, 5, 7), {"stride": (5, 7), "groups": 2}),
        ((2, 5, 3, 4, 5), (5, 9, 2, 2, 2), {"stride": 2, "padding": ((0, 1), 1, 0)}),
        # Axes of one pixel, whose rows follow each other in the images or an axis before.
        ((9, 5, 1, 1), (5, 9, 4, 4), {}),
        ((9, 5, 1, 1), (5, 9, 7, 6), {"padding": 1}),
        ((4, 5, 6, 1, 3), (5, 9, 2, 3, 2), {"stride": 2}),
        ((4, 5, 6, 1, 1), (5, 9, 2, 3, 5), {"stride": 2}),
        ((7, 5, 11), (5, 9, 2), {"stride": 2}),
        ((7, 5, 11), (5, 9, 4), {"stride": 4, "padding": ((7, 2),)}),
        ((300, 5, 4), (5, 9, 3), {"stride": 3}),
        ((600, 3, 2, 1), (3, 9, 2, 2), {"stride": 2}),
        # One tap, and results that no tap reaches, or two.
        ((2, 5, 6, 7), (5, 18, 1, 1), {}),
        ((2, 5, 6, 7), (5, 9, 2, 2), {"stride": 2, "output_padding": 1}),
        ((2, 5, 6, 7), (5, 9, 2, 2), {"stride": (2, 3)}),
        ((2, 5, 6, 7), (5, 9, 2, 2), {"stride": 2, "dilation": (1, 3)}),
        ((2, 5, 6, 7), (5, 9, 2, 2), {"stride": 2, "padding": (-1, 0)}),
        ((2, 5, 1, 7), (5, 9, 2, 2), {"stride": 2, "dilation": (2, 1)}),
        ((2, 5, 6, 7), (5, 9, 2, 3), {"stride": 2}),
    ],
)
def test_columns_that_are_stored(x, w, options, dtype, isa):
    """Where each result has one column it is stored, over whatever is in the memory."""
    rng = np.random.default_rng(11)
    a = rng.integers(-4, 5, x).astype(dtype)
    b = rng.integers(-4, 5, w).astype(dtype)
    for bias in (None, rng.integers(-9, 10, w[1] * options.get("groups", 1)).astype(dtype)):
        wanted = fastconv.conv_transpose(a, b, bias, method="reference", **options)
        for workers in (1, 2, 5):
            y = np.full_like(wanted, np.nan)
            fastconv.conv_transpose(
                a, b, bias, method="col2im", workers=workers, out=y, **options)
            np.testing.assert_array_equal(y, wanted)
            # Channels as neighbours, and a window of other memory.
            room = np.full((*(n + 2 for n in wanted.shape[2:]), *wanted.shape[:2]), np.nan, dtype)
            y = np.moveaxis(room, (-2, -1), (0, 1))[(..., *(slice(1, -1),) * (len(x) - 2))]
            fastconv.conv_transpose(
                a, b, bias, method="col2im", workers=workers, out=y, **options)
            np.testing.assert_array_equal(y, wanted)
            y[:] = np.nan
            assert np.isnan(room).all()


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize(
    ("x", "w", "stride"),
    [
        # Depth to space: taps that are turned in registers, others, and too many of them.
        ((2, 40, 5, 6), (40, 37, 2, 2), 2),
        ((2, 20, 5, 6), (20, 96, 2, 2), 2),
        ((2, 20, 5, 6), (20, 192, 1, 2), (1, 2)),
        ((2, 20, 3, 4, 5), (20, 48, 2, 2, 2), 2),
        ((1, 40, 5, 6), (40, 37, 2, 2), 2),
        ((3, 20, 9), (20, 33, 2), 2),
        ((2, 20, 3, 4, 5), (20, 21, 2, 2, 2), 2),
        ((2, 20, 5, 6), (20, 37, 3, 3), 3),
        ((1, 20, 5, 6), (20, 7, 8, 8), 8),
        ((2, 20, 5, 6), (20, 26, 1, 7), (1, 7)),
        ((4, 20, 1, 1), (20, 33, 4, 4), 1),
        ((2, 20, 5, 6), (20, 18, 1, 1), 1),
        ((1, 20, 5), (20, 7, 65), 65),
        ((2, 20, 5, 6), (20, 18, 3, 3), 2),
    ],
)
def test_pixels_are_stored_whole(x, w, stride, dtype, isa):
    """Channels that are neighbours have the bits of channels first, also of several groups."""
    rng = np.random.default_rng(13)
    for groups in (1, 2):
        a = rng.standard_normal((x[0], groups * x[1], *x[2:])).astype(dtype)
        # Tiles begin where vectors of the weights do: within a channel's taps, if these lie so.
        memory = rng.standard_normal(groups * math.prod(w) + 1).astype(dtype)
        b = memory[groups - 1 :][: groups * math.prod(w)].reshape(groups * w[0], *w[1:])
        bias = rng.standard_normal(groups * w[1]).astype(dtype)
        options = {"stride": stride, "groups": groups, "method": "col2im"}
        wanted = np.moveaxis(fastconv.conv_transpose(a, b, bias, workers=1, **options), 1, -1)
        last = np.ascontiguousarray(np.moveaxis(a, 1, -1))
        for workers in (1, 2, 5):
            room = np.full((*wanted.shape[:-1], wanted.shape[-1] + 3), np.nan, dtype)
            fastconv.conv_transpose(
                last, b, bias, workers=workers, channel_axis=-1, out=room[..., 1:-2], **options)
            assert room[..., 1:-2].tobytes() == wanted.tobytes()
            assert np.isnan(room[..., 0]).all() and np.isnan(room[..., -2:]).all()
