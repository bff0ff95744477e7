"""The karatsuba method: what it takes, when "auto" takes it, its exactness, errors and fallback.

The catalogue is run through it in test_exact and its neighbours; here are rows of odd and even
numbers, halves of kernels of all lengths, blocks of images, and the thresholds.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import reference
from transforms import check_error, chosen, integers, normal, problem_of

import fastconv
from fastconv import _columns, _direct, _karatsuba, _problem

FLOATS = ("float32", "float64")

LAYERS = {
    # x, w and arguments. Even and odd numbers of rows, halves of 8, 4, 16 and other numbers.
    "1d-k16-s8": ((1, 12, 33), (12, 20, 16), {"stride": 8, "padding": 4}),
    "1d-k8-s4": ((3, 9, 8), (9, 40, 8), {"stride": 4, "padding": 1}),
    "1d-k4-s2": ((2, 7, 12), (7, 33, 4), {"stride": 2}),
    "1d-k2-s1": ((1, 5, 9), (5, 49, 2), {"padding": 1}),
    "1d-k20-s10": ((1, 5, 6), (5, 11, 20), {"stride": 10, "padding": 5}),
    "1d-k6-s3-odd": ((5, 4, 7), (4, 21, 6), {"stride": 3, "padding": ((0, 2),)}),
    "two-rows": ((1, 8, 2, 3), (8, 10, 4, 4), {"stride": 2, "padding": 1}),
    "three-rows": ((1, 8, 3, 2), (8, 10, 4, 4), {"stride": 2, "padding": 1}),
    "k4-s2": ((2, 30, 8, 8), (30, 25, 4, 4), {"stride": 2, "padding": 1}),
    "k4-s2-odd": ((3, 10, 7, 5), (10, 18, 4, 4), {"stride": 2, "padding": ((1, 2), (0, 3))}),
    "k4x3-s2x1": ((1, 6, 6, 9), (6, 22, 4, 3), {"stride": (2, 1), "padding": 1}),
    "k4x1-s2x1": ((1, 6, 6, 9), (6, 22, 4, 1), {"stride": (2, 1)}),
    "k4x5-d1x2": ((1, 6, 5, 9), (6, 7, 4, 5), {"stride": (2, 3), "dilation": (1, 2)}),
    "k8-s4": ((1, 9, 5, 6), (9, 12, 8, 8), {"stride": 4, "padding": 2}),
    "k2x2-s1x2": ((1, 9, 5, 6), (9, 40, 2, 2), {"stride": (1, 2)}),
    "negative-crop": ((1, 9, 6, 6), (9, 12, 4, 4), {"stride": 2, "padding": -1}),
    "output-padding": ((1, 9, 6, 6), (9, 12, 4, 4), {"stride": 2, "output_padding": 1}),
    "3d": ((2, 5, 4, 3, 5), (5, 6, 4, 4, 4), {"stride": 2, "padding": 1}),
    "3d-apart": ((1, 5, 5, 3, 4), (5, 16, 4, 2, 2), {"stride": 2}),
    "groups": ((2, 12, 6, 5), (12, 14, 4, 4), {"stride": 2, "padding": 1, "groups": 3}),
    # Blocks of several images, the last one of fewer; more input channels than fit into one.
    "blocks-of-images": ((67, 6, 4, 6), (6, 16, 4, 4), {"stride": 2, "padding": 1}),
    "deep": ((1, 300, 3, 3), (300, 9, 4, 4), {"stride": 2}),
    "many-columns": ((1, 6, 30, 20), (6, 90, 4, 4), {"stride": 2, "padding": 1}),
}

#: A layer that "auto" gives to this method, and its arguments.
AUTO = ((1, 256, 9, 16), (256, 128, 4, 4), {"stride": 2, "padding": 1})


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LAYERS)
def test_exact(name, dtype, isa):
    x, w, bias = integers(LAYERS[name], dtype)
    options = LAYERS[name][2]
    wanted = fastconv.conv_transpose(x, w, bias, **options, method="direct")
    for workers, last in itertools.product((1, 2, 5), (False, True)):
        # What was there before must not shine through, nor what is beside be touched.
        shape = np.moveaxis(wanted, 1, -1).shape if last else wanted.shape
        memory = np.full([n + 2 for n in shape], np.nan, dtype)
        out = memory[(slice(1, -1),) * len(shape)]
        fastconv.conv_transpose(
            np.moveaxis(x, 1, -1).copy() if last else x, w, bias, **options, workers=workers,
            method="karatsuba", channel_axis=-1 if last else 1, out=out,
        )
        np.testing.assert_array_equal(np.moveaxis(out, -1, 1) if last else out, wanted)
        assert np.isnan(memory).sum() == memory.size - out.size
        y = fastconv.conv_transpose(
            x, w, bias, **options, workers=workers, method="karatsuba",
            out=np.full_like(wanted, np.nan),
        )
        np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize(
    "name", ("1d-k16-s8", "k4-s2", "k4-s2-odd", "3d", "groups", "blocks-of-images", "deep"))
def test_same_bits(name, isa):
    # For any team, batch and layout: how work is cut changes no sum.
    x, w = normal(LAYERS[name], "float32")
    arguments = LAYERS[name][2] | {"method": "karatsuba"}
    wanted = fastconv.conv_transpose(x, w, **arguments, workers=1)
    for workers in (2, 3, 8, 64):
        y = fastconv.conv_transpose(x, w, **arguments, workers=workers)
        assert y.tobytes() == wanted.tobytes()
    for images in (1, 5, 64):
        batch = np.concatenate([x[:1]] * images)
        for image in fastconv.conv_transpose(batch, w, **arguments):
            assert image.tobytes() == wanted[0].tobytes()
    last = fastconv.conv_transpose(
        np.moveaxis(x, 1, -1).copy(), w, **arguments, channel_axis=-1)
    assert np.moveaxis(last, -1, 1).tobytes() == wanted.tobytes()
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2]):
        y = fastconv.conv_transpose(change(x), change(w), **arguments)
        assert y.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    ("taken", "refused", "reason"),
    [
        (((1, 2, 9), (2, 16, 4), {"stride": 2}), ((1, 2, 9), (2, 16, 5), {"stride": 2}),
         "twice as long as the stride, without dilation; they are 5 and 2, dilation 1"),
        (((1, 2, 9), (2, 16, 4), {"stride": 2}),
         ((1, 2, 9), (2, 16, 4), {"stride": 2, "dilation": 3}), "4 and 2, dilation 3"),
        (((1, 2, 2), (2, 16, 4), {"stride": 2}), ((1, 2, 1), (2, 16, 4), {"stride": 2}),
         "two positions or more along the first axis, not 1"),
        (((1, 2, 3), (2, 8, 4), {"stride": 2}), ((1, 2, 3), (2, 7, 4), {"stride": 2}),
         "half of the kernels of a group have 14 columns"),
        # Of 1364 rows there are 683 sums of even ones, and 682 of odd ones need two factors.
        (((1, 2, 1364), (2, 8, 4), {"stride": 2}), ((1, 2, 1365), (2, 8, 4), {"stride": 2}),
         "an image has too many pixels, 1365"),
        (((1, 2, 3), (2, 8, 4), {"stride": 2}), ((1, 0, 3), (0, 8, 4), {"stride": 2}),
         "no input channels"),
        # 683 numbers for each channel that x does not have, of which w has 32; 2 MiB of them.
        (((1, 402, 1364), (402, 8, 4), {"stride": 2}), ((1, 403, 1364), (403, 8, 4), {"stride": 2}),
         "factors of 403 channels of 1364 pixels take too much memory for 8 output channels"),
    ],
)
def test_what_it_takes(taken, refused, reason):
    x, w, arguments = taken
    y = fastconv.conv_transpose(np.ones(x), np.ones(w), **arguments, method="karatsuba")
    wanted = fastconv.conv_transpose(np.ones(x), np.ones(w), **arguments, method="direct")
    np.testing.assert_array_equal(y, wanted)
    x, w, arguments = refused
    with pytest.raises(ValueError, match=f"^method='karatsuba' cannot do this problem: .*{reason}"):
        fastconv.conv_transpose(np.ones(x), np.ones(w), **arguments, method="karatsuba")


@pytest.mark.parametrize("dtype", ("float16", "complex64", "int32", "longdouble"))
def test_types_it_does_not_take(dtype):
    x, w = np.ones((1, 4, 9), dtype), np.ones((4, 16, 4), dtype)
    with pytest.raises(ValueError, match=f"takes float32 and float64, not {np.dtype(dtype)}"):
        fastconv.conv_transpose(x, w, stride=2, method="karatsuba")


@pytest.mark.parametrize("dtype", FLOATS)
def test_when_auto_takes_it(dtype, isa):
    padded = {"stride": 2, "padding": 1}
    # The layers it was made for: vocoders, generators, decoders of poses.
    assert chosen((1, 512, 128), (512, 256, 16), dtype, stride=8, padding=4) == "karatsuba"
    assert chosen((1, 256, 16, 12), (256, 256, 4, 4), dtype, **padded) == "karatsuba"
    # Weights are taken apart at the cost of 30 products of each pair, of some 0.4 for a pixel ...
    assert chosen((1, 512, 4, 4), (512, 256, 4, 4), dtype, **padded) == "col2im"
    assert chosen((1, 512, 9, 9), (512, 256, 4, 4), dtype, **padded) == "col2im"
    assert chosen((1, 512, 10, 10), (512, 256, 4, 4), dtype, **padded) == "karatsuba"
    # ... and of few output channels the work on x counts.
    assert chosen((1, 256, 8, 16), (256, 85, 4, 4), dtype, **padded) == "karatsuba"
    assert chosen((1, 256, 8, 16), (256, 84, 4, 4), dtype, **padded) == "col2im"
    # Enough input channels ...
    assert chosen((1, 192, 8, 16), (192, 128, 4, 4), dtype, **padded) == "karatsuba"
    assert chosen((1, 191, 8, 16), (191, 128, 4, 4), dtype, **padded) == "col2im"
    assert chosen((1, 384, 8, 16), (384, 128, 4, 4), dtype, groups=2, **padded) == "karatsuba"
    assert chosen((1, 382, 8, 16), (382, 128, 4, 4), dtype, groups=2, **padded) == "col2im"
    # ... halves of whole runs ...
    assert chosen((1, 512, 128), (512, 256, 4), dtype, stride=2) == "col2im"
    assert chosen((1, 512, 128), (512, 256, 8), dtype, stride=4) == "karatsuba"
    # ... so few pixels that minimal filtering of the other method is not better ...
    long = {"dtype": dtype, "stride": 8, "padding": 4}
    assert chosen((1, 512, 382), (512, 256, 16), **long) == "karatsuba"
    assert chosen((1, 512, 589), (512, 256, 16), **long) == "winograd"
    # ... which does not take three axes; there many pixels are left to packed weights.
    assert chosen((1, 256, 10, 10, 10), (256, 128, 4, 4, 4), dtype, **padded) == "karatsuba"
    assert chosen((1, 256, 4, 16, 10), (256, 128, 4, 4, 4), dtype, **padded) == "karatsuba"
    assert chosen((1, 256, 4, 16, 11), (256, 128, 4, 4, 4), dtype, **padded) == "direct"


def test_auto_leaves_many_cropped_products_to_others():
    # Of maps of 4 x 4 x 4 there are (14 / 16)**3 in the result, and direct makes only those.
    w = (256, 128, 4, 4, 4)
    assert chosen((7, 256, 4, 4, 4), w, stride=2) == "karatsuba"
    assert chosen((6, 256, 4, 4, 4), w, stride=2, padding=1) == "karatsuba"
    assert chosen((7, 256, 4, 4, 4), w, stride=2, padding=1) == "direct"


def test_auto_computes_by_it():
    x, w = normal(AUTO, "float32")
    assert chosen(*AUTO[:2], **AUTO[2]) == "karatsuba"
    auto, forced, direct = (
        fastconv.conv_transpose(x, w, **AUTO[2], method=m) for m in ("auto", "karatsuba", "direct")
    )
    assert auto.tobytes() == forced.tobytes() != direct.tobytes()


@pytest.mark.parametrize("special", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("place", (0, 1, 777, "end"))
@pytest.mark.parametrize("operand", (0, 1))
@pytest.mark.parametrize("rows", (8, 9))
def test_auto_keeps_the_rule_for_nan_and_inf(rows, operand, place, special, isa):
    # Of an even number of rows the last one shows in no other sum that is looked at.
    layer = ((1, 256, rows, 16), *AUTO[1:])
    assert chosen(*layer[:2], **layer[2]) == "karatsuba"
    for dtype, workers in itertools.product(FLOATS, (1, 3)):
        operands = normal(layer, dtype)
        operands[operand].flat[-1 if place == "end" else place] = special
        auto = fastconv.conv_transpose(*operands, **AUTO[2], workers=workers)
        direct = fastconv.conv_transpose(*operands, **AUTO[2], method="direct")
        np.testing.assert_array_equal(auto, direct)
        assert not np.isfinite(auto).all()
        assert np.isfinite(auto).any()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("operand", (0, 1))
def test_auto_survives_an_overflow(operand, dtype, isa):
    # Two neighbours add up to more than the type holds; the products do not.
    operands = normal(AUTO, dtype)
    big, small = (np.finfo(dtype).max / 1.5).astype(dtype), np.finfo(dtype).eps
    for i, a in enumerate(operands):
        a[...] = np.where(a < 0, -1, 1) * (big if i == operand else small / 10000)
    auto = fastconv.conv_transpose(*operands, **AUTO[2])
    direct = fastconv.conv_transpose(*operands, **AUTO[2], method="direct")
    assert np.isfinite(direct).all()
    np.testing.assert_array_equal(auto, direct)


def test_infinite_bias_needs_no_other_method():
    x, w = normal(AUTO, "float32")
    bias = np.zeros(128, "float32")
    bias[3] = np.inf
    y = fastconv.conv_transpose(x, w, bias, **AUTO[2])
    assert np.isposinf(y[:, 3]).all()
    same = fastconv.conv_transpose(x, w, **AUTO[2], method="karatsuba")
    assert np.delete(y, 3, axis=1).tobytes() == np.delete(same, 3, axis=1).tobytes()


@pytest.mark.parametrize("special", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("name", ("x", "w", "bias"))
def test_forced_it_raises_for_nan_and_inf(name, special):
    operands = dict(zip(("x", "w", "bias"), integers(LAYERS["k4-s2"], "float32"), strict=True))
    operands[name].flat[-1] = special
    options = LAYERS["k4-s2"][2]
    out = np.full_like(fastconv.conv_transpose(**operands, **options), 7)
    with pytest.raises(ValueError, match=f"^method='karatsuba' cannot take {name}: .*Inf or NaN"):
        fastconv.conv_transpose(**operands, **options, method="karatsuba", out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("data", ("normal", "rectified"))
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ("1d-k16-s8", "1d-k8-s4", "k4-s2", "k8-s4", "3d", "deep"))
def test_error_is_at_most_four_times_that_of_direct(name, dtype, data):
    check_error(LAYERS[name], dtype, data, "karatsuba")


# y = A ((G g) * (B d)) of inputs 2i - 1, 2i, 2i + 1 and the taps of inputs 2i + 1 - a, 2i - a.
B = np.array([[1, -1, 0], [0, 1, 0], [0, -1, 1]])
G = np.array([[0, 1], [1, 1], [1, 0]])
A = np.array([[1, 1, 0], [0, 1, 1]])


def test_identity():
    for i, j in itertools.product(range(3), range(2)):
        # Output a takes tap j from input 2i + a - j, number a + 1 - j of the three.
        assert (A @ (G[:, j] * B[:, i])).tolist() == [a + 1 - j == i for a in range(2)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", (0, 12), ids=("normal", "wide-range"))
def test_error_bound(spread, dtype, isa):
    # Each of the three is a sum of c_in products of two sums of at most two numbers.
    rng = np.random.default_rng(3)
    c_in, n = 50, 14
    x = rng.standard_normal((1, c_in, n))
    w = rng.standard_normal((c_in, 16, 2))
    x, w = ((v * np.exp2(rng.integers(-spread, spread + 1, v.shape))).astype(dtype) for v in (x, w))
    y = fastconv.conv_transpose(x, w, method="karatsuba")
    exact = reference.conv_transpose(x.astype(np.longdouble), w.astype(np.longdouble))
    padded = np.pad(np.abs(x[0].astype(float)), ((0, 0), (1, 2)))
    weights = np.abs(w.astype(float)) @ np.abs(G).T
    for i in range(n // 2):
        window = padded[:, 2 * i : 2 * i + 3] @ np.abs(B).T
        scale = (weights * window[:, None]).sum(0) @ np.abs(A).T
        difference = np.abs(y[0, :, 2 * i : 2 * i + 2] - exact[0, :, 2 * i : 2 * i + 2])
        assert (difference <= (c_in + 8) * np.finfo(dtype).eps * scale).all()


@pytest.mark.parametrize("workers", (1, 2, 5, 64))
@pytest.mark.parametrize("name", LAYERS)
def test_scratch_is_bounded(name, workers, isa):
    # A copy of w, a copy of x, and 4 MiB a worker.
    x, w, _ = LAYERS[name]
    problem = problem_of(LAYERS[name])
    for dtype in FLOATS:
        for images in (x[0], 3, 1000):
            told = _karatsuba.explain(
                problem._replace(batch=(images,)), np.dtype(dtype), workers)
            numbers = math.prod(x) // x[0] * images + math.prod(w)
            held = numbers * np.dtype(dtype).itemsize + told["workers"] * (4 << 20)
            assert 0 < told["scratch_bytes"] <= held


def test_tasks_share_out_channels_and_images():
    # Two for each of two workers, at most as many as have 48 columns, 24 of a half; then images.
    one = _problem.make_problem((1, 64, 8, 8), (64, 64, 4, 4), 2, 1, 0, None, 1, 1, 1)
    many = _problem.make_problem((8, 64, 8, 8), (64, 64, 4, 4), 2, 1, 0, None, 1, 1, 1)
    for problem, tasks in ((one, {1: 1, 2: 4, 3: 3, 64: 22}), (many, {1: 1, 2: 4, 22: 22, 64: 44})):
        for workers, n in tasks.items():
            assert len(_columns.task_columns(problem, workers, 16, True)) == n


@pytest.mark.parametrize("method", ("karatsuba", "winograd"))
def test_a_result_that_is_begun_is_finished_without_memory(method, monkeypatch):
    # "auto" finds Inf in the result, and there is no room for the other method's scratch.
    layer = AUTO if method == "karatsuba" else ((1, 64, 40, 40), (64, 64, 3, 3), {"padding": 1})
    x, w, bias = integers(layer, "float32")
    x.flat[5] = np.inf
    assert chosen(*layer[:2], **layer[2]) == method
    wanted = fastconv.conv_transpose(x, w, bias, **layer[2], method="reference")

    def no_memory(*_):
        raise MemoryError("scratch")

    monkeypatch.setattr(_direct, "run", no_memory)
    np.testing.assert_array_equal(fastconv.conv_transpose(x, w, bias, **layer[2]), wanted)


def test_overflow_where_direct_has_no_plan():
    # Sums of two weights overflow, and the second axis has taps too far apart for direct.
    dilation = 2**23
    full = 3 * 3 + 7 * dilation + 1
    x = np.zeros((1, 192, 4, 4), np.float32)
    x[0, 0] = 0.25
    w = np.full((192, 32, 2, 8), np.finfo(np.float32).max)
    window = {
        "stride": (1, 3), "dilation": (1, dilation),
        "padding": [(0, 0), (dilation, full - dilation - 8)],
    }
    y = fastconv.conv_transpose(x, w, method="karatsuba", **window)
    np.testing.assert_array_equal(
        y, fastconv.conv_transpose(x, w, method="reference", **window))
    assert np.isfinite(y).all()
    assert y.any()
