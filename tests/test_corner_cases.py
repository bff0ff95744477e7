"""Forty corner cases, each by name: where implementations of this operator have gone wrong.

What runs out of bounds, does not end or could take the process down runs in one of its own.
"""

import itertools
import math
import sys

import ml_dtypes
import numpy as np
import pytest
import reference
from oracle import assert_within, error_bound, exact, small_integers, wrapped

from fastconv import _isa, conv_transpose, output_shape


def rng():
    return np.random.default_rng(42)


def each_method(x, w, bias=None, **options):
    """``(name, result)`` of every method; four may say that a problem is not for them."""
    for method in ("auto", "direct", "reference"):
        yield method, conv_transpose(x, w, bias, method=method, **options)
    for method in ("col2im", "planes", "winograd", "karatsuba"):
        try:
            result = conv_transpose(x, w, bias, method=method, **options)
        except ValueError as error:
            assert f"method='{method}' cannot " in str(error)
        else:
            yield method, result


def assert_exact(x, w, bias=None, **options):
    """Result of every method, into an `out` of NaN, equals the definition."""
    desired = reference.conv_transpose(x, w, bias, **options)
    out = np.full(desired.shape, np.nan, desired.dtype)
    for method, result in each_method(x, w, bias, out=out, **options):
        np.testing.assert_array_equal(result, desired, err_msg=method, strict=True)
        out[...] = np.nan
    np.testing.assert_array_equal(conv_transpose(x, w, bias, **options), desired, strict=True)
    return desired


def random_problem(*spatial, kernel, c_in=3, c_out=2, n=2, dtype=np.float64, low=-4):
    g = rng()
    return (
        small_integers(g, (n, c_in, *spatial), dtype, low),
        small_integers(g, (c_in, c_out, *kernel), dtype, low),
        small_integers(g, c_out, dtype, low),
    )


# 1
def test_holes_of_a_kernel_below_the_stride_hold_bias():
    x, w, bias = random_problem(4, kernel=(2,), low=1)
    for padding, length in (("valid", 17), ("same", 20), (0, 17)):
        y = assert_exact(x, w, bias, stride=5, padding=padding)
        assert y.shape[-1] == length
        holes = np.arange(length) % 5 >= 2
        assert np.all(y[..., holes] == bias[:, None])
        assert np.all(y[..., ~holes] != bias[:, None])


# 2
def test_phases_that_no_tap_reaches():
    x, w, bias = random_problem(5, 4, kernel=(3, 2))
    for stride, dilation in [(4, 2), (6, 4), (6, 3), (9, 3), ((8, 3), (4, 6))]:
        assert_exact(x, w, bias, stride=stride, dilation=dilation)
        assert_exact(x, w, bias, stride=stride, dilation=dilation, padding="same")
    y = conv_transpose(np.ones((1, 1, 5)), np.ones((1, 1, 3)), stride=4, dilation=2)
    assert not y[..., 1::2].any()


# 3
def test_coprime_stride_and_dilation_hit_every_tap_once():
    for i, k, s, d in itertools.product((1, 2, 5), (3, 4), (2, 3, 7), (3, 5, 8)):
        if math.gcd(s, d) > 1:
            continue
        x = 16.0 ** np.arange(i)[None, None]
        w = 2.0 ** np.arange(k)[None, None]
        y = assert_exact(x, w, stride=s, dilation=d)
        assert y.sum() == x.sum() * w.sum()


# 4
def test_padding_beyond_the_kernel():
    x, w, bias = random_problem(9, 8, kernel=(3, 2))
    for padding in (3, 5, (7, 6), [(0, 9), (8, 0)], [(9, 0), (0, 7)]):
        assert_exact(x, w, bias, stride=2, padding=padding)
    for padding in ((4, 3), [(8, 2), (0, 8)]):
        assert_exact(x, w, bias, padding=padding)


# 5
def test_crops_that_empty_one_side_or_everything():
    x, w, bias = random_problem(4, kernel=(3,))
    full = 9
    for before in range(full):
        for after in range(full - before):
            assert_exact(x, w, bias, stride=2, padding=[(before, after)])
        with pytest.raises(ValueError, match="padding.*length of 0 .*axis 0.*9"):
            conv_transpose(x, w, bias, stride=2, padding=[(before, full - before)])
    with pytest.raises(ValueError, match="padding=20.*length of -31"):
        conv_transpose(x, w, bias, stride=2, padding=20)


# 6
def test_negative_padding_grows_by_rows_of_bias():
    x, w, bias = random_problem(4, 3, kernel=(3, 2), low=1)
    y = assert_exact(x, w, bias, stride=2, padding=[(-3, -1), (-2, 1)])
    assert np.all(y[:, :, :3] == bias[:, None, None])
    assert np.all(y[:, :, -1] == bias[:, None])
    assert np.all(y[..., :2] == bias[:, None, None])
    assert_exact(x, w, bias, padding=[(-40, 3), (2, -70)])
    assert_exact(x, w, bias, padding=[(-3, 5), (3, -9)])


# 7
def test_output_padding_up_to_the_dilation():
    x, w, bias = random_problem(4, kernel=(3,))
    for stride, dilation, extra in [(2, 5, 4), (2, 5, 2), (3, 1, 2), (3, 4, 3), (1, 3, 2)]:
        y = assert_exact(x, w, bias, stride=stride, dilation=dilation, output_padding=extra)
        assert np.all(y[..., -extra:] == bias[:, None])
        cropped = {"stride": stride, "dilation": dilation, "padding": 2}
        y = assert_exact(x, w, bias, output_padding=extra, **cropped)
        uncropped = conv_transpose(x, w, bias, stride=stride, dilation=dilation)
        seen = y.shape[-1] - extra + min(2, extra)  # two cropped samples come back first
        np.testing.assert_array_equal(y[..., :seen], uncropped[..., 2 : 2 + seen])
    assert_exact(x, w, bias, stride=3, output_padding=2)


# 8
def test_output_size_below_and_above_the_natural_length():
    x, w, bias = random_problem(3, 3, kernel=(3, 3))
    for padding in ("valid", "same", "same_lower"):
        for size in (1, 4, 7, 8, (10, 8), 13):
            assert_exact(x, w, bias, stride=(3, 2), padding=padding, output_size=size)
    y = conv_transpose(x, w, bias, stride=(3, 2), padding="same", output_size=(10, 8))
    full = conv_transpose(x, w, bias, stride=(3, 2))
    assert full.shape[2:] == (9, 7)
    np.testing.assert_array_equal(y[..., :9, :7], full)
    assert np.all(y[:, :, 9] == bias[:, None])
    assert np.all(y[..., 7] == bias[:, None])


# 9
def test_odd_total_padding_is_split_as_named():
    x, w = np.eye(1, 4)[None], np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
    full = conv_transpose(x, w, stride=2)
    for padding, before in (("same", 1), ("same_lower", 2)):
        y = assert_exact(x, w, stride=2, padding=padding)
        np.testing.assert_array_equal(y, full[..., before : before + 8])


# 10
def test_even_kernel_with_same_at_stride_one():
    x, w = np.eye(1, 6)[None], np.array([[[1.0, 2.0, 3.0, 4.0]]])
    assert assert_exact(x, w, padding="same")[0, 0].tolist() == [2, 3, 4, 0, 0, 0]
    assert assert_exact(x, w, padding="same_lower")[0, 0].tolist() == [3, 4, 0, 0, 0, 0]


# 11
def test_kernel_is_not_flipped_and_channels_are_not_swapped():
    w = np.arange(2 * 3 * 2 * 4, dtype=float).reshape(2, 3, 2, 4)
    for ci, i, j in itertools.product(range(2), range(2), range(3)):
        x = np.zeros((1, 2, 2, 3))
        x[0, ci, i, j] = 1
        y = conv_transpose(x, w, stride=(2, 4))
        expected = np.zeros((1, 3, 4, 12))
        expected[0, :, 2 * i : 2 * i + 2, 4 * j : 4 * j + 4] = w[ci]
        np.testing.assert_array_equal(y, expected)


# 12
def test_groups_of_unequal_sizes_and_bias_by_global_channel():
    g = rng()
    for c_in, c_out, groups in [(6, 4, 2), (4, 8, 4), (5, 5, 5), (6, 9, 3), (1, 7, 1), (7, 1, 1)]:
        x = small_integers(g, (2, c_in, 5, 4))
        w = small_integers(g, (c_in, c_out // groups, 3, 2))
        bias = np.arange(c_out) * 100.0
        y = assert_exact(x, w, bias, stride=2, groups=groups)
        per_in, per_out = c_in // groups, c_out // groups
        for k in range(groups):
            ins, outs = (slice(k * n, (k + 1) * n) for n in (per_in, per_out))
            part = conv_transpose(x[:, ins], w[ins], bias[outs], stride=2)
            np.testing.assert_array_equal(y[:, outs], part)


# 13
def test_channels_that_do_not_fit_are_named():
    x, w = np.ones((1, 6, 4)), np.ones((6, 2, 3))
    with pytest.raises(ValueError, match="groups=4 .*6 channels"):
        conv_transpose(x, w, groups=4)
    with pytest.raises(ValueError, match=r"x has 6 channels.* w has 5.*\(5, 2, 3\)"):
        conv_transpose(x, w[:5])


# 14
def test_empty_batch_channels_and_axes():
    x, w, bias = np.ones((2, 3, 4)), np.ones((3, 5, 2)), np.arange(5.0)
    assert conv_transpose(x[:0], w, bias).shape == (0, 5, 5)
    with pytest.raises(ValueError, match="output_padding"):
        conv_transpose(x[:0], w, output_padding=1)
    np.testing.assert_array_equal(
        conv_transpose(x[:, :0], w[:0], bias, stride=3), np.tile(bias[:, None], (2, 1, 11))
    )
    assert not conv_transpose(x[:, :0], w[:0]).any()
    assert conv_transpose(x, w[:, :0], bias[:0]).shape == (2, 0, 5)
    assert conv_transpose(x[:, :0], w[:0, :0]).shape == (2, 0, 5)
    for options in ({"stride": 2}, {"dilation": 3}, {"padding": "same"}):
        with pytest.raises(ValueError, match="x has length 0 on spatial axis 0"):
            conv_transpose(x[..., :0], w, **options)
        with pytest.raises(ValueError, match="w has length 0 on spatial axis 0"):
            conv_transpose(x, w[..., :0], **options)


# 15
def test_no_output_channels_in_groups_with_large_dilation():
    """Its plan is made before it is known that nothing is asked for."""
    x, w = np.ones((1, 2, 3, 8), np.float32), np.ones((2, 0, 3, 3), np.float32)
    for method in ("auto", "direct"):
        y = conv_transpose(
            x, w, groups=2, dilation=(5000, 1), padding=(5000, 0), method=method)
        assert y.shape == (1, 0, 3, 10)


def test_single_pixels_and_single_taps():
    for i, k, s in itertools.product((1, 3), (1, 4), (1, 2, 30)):
        x, w, bias = random_problem(i, kernel=(k,))
        assert_exact(x, w, bias, stride=s)
        assert_exact(x, w, bias, stride=s, padding="same")
    x, w, _ = random_problem(1, 1, kernel=(4, 5))
    np.testing.assert_array_equal(
        conv_transpose(x, w, stride=9), np.tensordot(x[:, :, 0, 0], w, 1)
    )


# 16
def test_no_spatial_axis_and_four_or_five_of_them():
    with pytest.raises(ValueError, match=r"w .*at least one spatial axis.*\(3, 2\)"):
        conv_transpose(np.ones((4, 3)), np.ones((3, 2)))
    x, w = small_integers(rng(), (4, 3)), small_integers(rng(), (3, 2))
    np.testing.assert_array_equal(conv_transpose(x[..., None], w[..., None])[..., 0], x @ w)
    x, w, bias = random_problem(3, 2, 2, 4, kernel=(2, 3, 1, 2))
    assert_exact(x, w, bias, stride=(2, 1, 3, 2), padding=(1, 0, 0, (0, 1)), dilation=(1, 2, 1, 3))
    x, w, bias = random_problem(2, 3, 1, 2, 2, kernel=(2, 1, 3, 2, 2))
    assert_exact(x, w, bias, stride=2, padding=(0, 0, 1, 1, (1, 0)))
    assert_exact(x[..., 0], w[..., 0], bias, padding=-1)


# 17
def test_positions_and_offsets_beyond_32_bits(run_python):
    run_python(HUGE, timeout=100)


HUGE = """
import numpy as np
from fastconv import _isa, conv_transpose, output_shape

assert output_shape((1, 1, 2**31), (1, 1, 2**31)) == (1, 1, 2**32 - 1)
assert output_shape((1, 2**16, 2**16), (2**16, 2**16, 1)) == (1, 2**16, 2**16)

# Windows far inside of the full scatter: rows and columns around the last input and tap.
x, w = np.array([[1.0, 2.0, 3.0]]), np.array([[[1.0, 10.0, 100.0, 1000.0]]])
for step in (2**31 - 1, 2**31, 2**32 + 1, 2**40, 2**60):
    y = conv_transpose(x, w, channel_axis=0, stride=step, padding=[(2 * step - 1, 1)])
    assert y.tolist() == [[0.0, 3.0, 30.0, 300.0]], (step, y)
    far = step // 2
    y = conv_transpose(x, w, channel_axis=0, dilation=far, padding=[(2 * far - 1, far)])
    assert y.tolist() == [[0.0, 100.0, 200.0, 300.0]], (step, y)
    y = conv_transpose(
        x, w, channel_axis=0, stride=step, padding="valid", output_size=6
    )
    assert y.tolist() == [[1.0, 10.0, 100.0, 1000.0, 0.0, 0.0]], (step, y)
many, taps = np.ones((1, 64, 1, 3), np.float32), np.ones((64, 64, 16, 1), np.float32)
for step in (2**63 - 1, 2**63, 2**64, 2**100):
    for method in ("auto", "direct", "col2im"):
        # One row of x, and one column of the kernel.
        y = conv_transpose(many, taps, stride=(step, 1), dilation=(1, step), method=method)
        assert y.shape == (1, 64, 16, 3) and (y == 64).all(), (step, method)
    y = conv_transpose(x[:, :1], w, channel_axis=0, stride=step)
    assert y.tolist() == [[1.0, 10.0, 100.0, 1000.0]], (step, y)
    y = conv_transpose(x, w[..., :1], channel_axis=0, dilation=step)
    assert y.tolist() == [[1.0, 2.0, 3.0]], (step, y)

# Two batch axes and 62 others, as many as arrays have: there is no room for one of channels.
y = conv_transpose(np.ones((3, 2) + (1,) * 62), np.full((1,) * 62, 5.0), channel_axis=None)
assert y.shape == (3, 2) + (1,) * 62 and (y == 5).all()

# 46341 squared is the first square beyond 2**31.
plane = np.array([[1.0, 2.0], [3.0, 4.0]])
tap = np.array([[1.0]])
y = conv_transpose(plane, tap, channel_axis=None, stride=46341, padding=[(46340, 0), (46340, 0)])
assert y.tolist() == [[0.0, 0.0], [0.0, 4.0]]

# Elements whose offsets in bytes and in elements need more than 32 bits; hardly any is touched.
step = 2**31 + 9
signal = np.empty(3 * step, np.uint8)[::step]
signal[:] = 1, 2, 3
taps = np.empty(2 * step, np.uint8)[::step]
taps[:] = 5, 7
out = np.empty(4 * step, np.uint8)[::step]
conv_transpose(signal, taps, channel_axis=None, out=out)
assert out.tolist() == [5, 17, 29, 21]

for options in (
    {"stride": 2**62}, {"stride": 2**63}, {"dilation": 2**62}, {"padding": -(2**63)},
):
    try:
        conv_transpose(x, w, channel_axis=0, **options)
    except ValueError as error:
        assert "spatial axis 0" in str(error), error
    else:
        raise AssertionError(options)
for options in ({"stride": 2**50}, {"padding": -(2**58)}, {"padding": "same", "stride": 2**45}):
    try:
        conv_transpose(x, w, channel_axis=0, **options)
    except MemoryError as error:
        assert "shape" in str(error), error
    else:
        raise AssertionError(options)
"""


# 18
def test_integers_of_every_origin_and_what_is_none():
    x, w, _ = random_problem(4, kernel=(3,))

    class Two:
        def __index__(self):
            return 2

    desired = conv_transpose(x, w, stride=2, padding=2)
    for two in (np.int8(2), np.uint64(2), np.array(2), (2,), [np.int16(2)], np.array([2]), Two()):
        np.testing.assert_array_equal(conv_transpose(x, w, stride=two, padding=two), desired)
    np.testing.assert_array_equal(conv_transpose(x, w, stride=2, padding=[[2, Two()]]), desired)
    for wrong in (True, np.True_, 2.0, np.float64(2), "2", None, (2.0,), (None,), np.array(2.0)):
        with pytest.raises(TypeError, match="stride"):
            conv_transpose(x, w, stride=wrong)
    for wrong in ((2, 2), (), 0, -1):
        with pytest.raises(ValueError, match="stride"):
            conv_transpose(x, w, stride=wrong)
    for wrong in ("SAME", "Same", "VALID"):
        with pytest.raises(ValueError, match="padding.*same"):
            conv_transpose(x, w, padding=wrong)


# 19
def test_inputs_of_every_layout_in_one_call(tmp_path):
    x, w, bias = random_problem(5, 4, kernel=(3, 2), dtype=np.float32)
    desired = conv_transpose(x, w, bias, stride=2)
    x.tofile(tmp_path / "x")
    odd = np.frombuffer(b"?" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    forms = [
        x[::-1, :, ::-1][::-1, :, ::-1], np.asfortranarray(x), x.astype(">f4"), odd,
        np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape), x.tolist(),
        np.ma.masked_array(x, mask=x > 0),
        np.lib.stride_tricks.as_strided(np.repeat(x, 2), x.shape, [2 * n for n in x.strides]),
    ]
    for form in forms:
        result = conv_transpose(form, w.swapaxes(2, 3).copy().swapaxes(2, 3), bias, stride=2)
        np.testing.assert_array_equal(result, desired)
        assert type(result) is np.ndarray
    constant = conv_transpose(np.broadcast_to(np.float32(2), x.shape), w, bias, stride=2)
    np.testing.assert_array_equal(constant, conv_transpose(np.full_like(x, 2), w, bias, stride=2))
    for scalar in (np.float32(1), np.array(1.0), 3):
        with pytest.raises(ValueError, match="x has 0 axes"):
            conv_transpose(scalar, w)


# 20
def test_out_that_aliases_an_operand_or_lies_in_a_larger_array():
    x, w = small_integers(rng(), (3, 3, 3)), small_integers(rng(), (3, 3, 3))
    for which in "xw":
        arrays = {"x": x.copy(), "w": w.copy()}
        desired = conv_transpose(**arrays, padding=1)
        conv_transpose(**arrays, padding=1, out=arrays[which][:, ::-1])
        np.testing.assert_array_equal(arrays[which][:, ::-1], desired)
    larger = np.full((7, 7, 9), -1.0)
    conv_transpose(x, w, out=larger[2:5, 2:5, 2:7])
    larger[2:5, 2:5, 2:7] = -1
    assert np.all(larger == -1)


# 21
def test_nan_and_inf_appear_where_their_products_belong():
    g = rng()
    special = [np.nan, np.inf, -np.inf, 0.0, 0.0]
    for options in (
        {}, {"stride": 2}, {"stride": 3, "padding": 2}, {"stride": 2, "dilation": 3, "padding": 3},
        {"padding": "same", "stride": 2}, {"padding": [(-2, 1), (4, -3)]}, {"groups": 2},
    ):
        x, w = small_integers(g, (2, 4, 5, 6)), small_integers(g, (4, 2, 3, 3))
        for a, count in ((x, 7), (w, 2)):
            a.ravel()[g.choice(a.size, count, replace=False)] = g.choice(special, count)
        with np.errstate(invalid="ignore"):
            desired = scatter_one_by_one(x, w, **options)
        for method, result in each_method(x, w, **options):
            np.testing.assert_array_equal(result, desired, err_msg=f"{method} {options}")
    # A NaN in the kernel's cropped tap, and next to inserted zeros, stays away.
    y = conv_transpose([1.0, 2.0], [np.nan, 1.0, 1.0], channel_axis=None, padding=[(1, 0)])
    np.testing.assert_array_equal(y, [np.nan, 3.0, 2.0])
    y = conv_transpose([np.nan, 2.0], [1.0], channel_axis=None, stride=3, padding=[(-1, -1)])
    np.testing.assert_array_equal(y, [0, np.nan, 0, 0, 2, 0])
    y = conv_transpose([-1.0, 1.0], [0.0], -0.0, channel_axis=None)
    assert np.all(y == 0)


def scatter_one_by_one(x, w, groups=1, **options):
    """The definition, product by product, without a matrix product that could skip zeros."""
    (n, c_in, *spatial), (_, per_out, *kernel) = x.shape, w.shape
    rank = len(spatial)
    options = {"stride": 1, "dilation": 1, "padding": 0} | options
    crop, out = reference.window(
        spatial, kernel, output_padding=0, output_size=None, **options
    )
    stride, dilation = (reference.each(options[k], rank) for k in ("stride", "dilation"))
    y = np.zeros((n, per_out * groups, *out))
    for ci, co in itertools.product(range(c_in), range(per_out)):
        target = co + per_out * (ci // (c_in // groups))
        for i in np.ndindex(*spatial):
            for k in np.ndindex(*kernel):
                o = tuple(
                    a * s + b * d - c
                    for a, s, b, d, c in zip(i, stride, k, dilation, crop, strict=True)
                )
                if all(0 <= p < length for p, length in zip(o, out, strict=True)):
                    y[(slice(None), target, *o)] += x[(slice(None), ci, *i)] * w[(ci, co, *k)]
    return y


# 22
def test_float16_rounds_once_and_bfloat16_is_refused():
    x = np.full((1, 4, 1), 300, np.float16)
    w = np.array([300, 300, -300, -300], np.float16).reshape(4, 1, 1)
    tiny = np.full((1, 1, 1), 2.0**-13, np.float16), np.full((1, 1, 1), 2.0**-11, np.float16)
    ones = np.ones((1, 4096, 1), np.float16), np.ones((4096, 1, 1), np.float16)
    for operands, value in (((x, w), 0), (tiny, 2.0**-24), (ones, 4096)):
        for method, result in each_method(*operands):
            assert result.dtype == np.float16
            assert result.item() == value, method
    for name in ("x", "w", "bias"):
        arrays = {"x": x, "w": w, "bias": np.ones(1, np.float16)}
        arrays[name] = arrays[name].astype(ml_dtypes.bfloat16)
        with pytest.raises(TypeError, match=f"{name} .*bfloat16"):
            conv_transpose(**arrays)


# 23
def test_subnormals_survive_and_the_floating_point_state_too():
    tiny = np.finfo(np.float32).smallest_subnormal
    x = np.full((1, 3, 70), tiny, np.float32)
    w = np.ones((3, 2, 4), np.float32)
    for _, y in each_method(x, w, stride=2):
        np.testing.assert_array_equal(y[..., 2:-2], np.float32(6) * tiny)
        assert np.float32(1e-38) * np.float32(0.1) > 0
    with np.errstate(all="raise"):
        conv_transpose(np.full((1, 1, 3), np.inf), np.zeros((1, 1, 2)))


# 24
def test_integers_are_exact_modulo_and_never_saturate():
    x, w = np.full((1, 2**15, 1), 127, np.int8), np.full((2**15, 1, 5), 127, np.int8)
    total = 127 * 127 * 2**15
    assert total * 5 > 2**31
    assert conv_transpose(x, w, dtype=np.int64).tolist() == [[[total] * 5]]
    assert conv_transpose(x, w).tolist() == [[[int(wrapped(total, np.int8))] * 5]]
    g = rng()
    a = g.integers(0, 256, (1, 3, 5), np.uint8)
    b = g.integers(-128, 128, (3, 2, 3), np.int8)
    for dtype in (np.int16, np.int32, None):
        y = conv_transpose(a, b, stride=2, dtype=dtype)
        np.testing.assert_array_equal(y, wrapped(exact(a, b, stride=2), dtype or np.int16))
    big = np.array([[[2**64 - 1]]], np.uint64)
    assert conv_transpose(big, big).item() == 1
    yes = np.ones((1, 2, 2), bool)
    assert conv_transpose(yes, np.ones((2, 1, 2), bool)).dtype == bool


# 25
def test_complex_is_not_conjugated_and_keeps_nan_in_its_part():
    x = np.array([[[1 + 2j, 3 - 1j]]])
    w = np.array([[[2 - 1j, 1j]]])
    desired = np.convolve(x[0, 0], w[0, 0])
    for method, y in each_method(x, w):
        np.testing.assert_array_equal(y[0, 0], desired, err_msg=method)
    real = w.real
    assert conv_transpose(x.astype(np.complex64), real.astype(np.float32)).dtype == np.complex64
    np.testing.assert_array_equal(conv_transpose(x, real)[0, 0], np.convolve(x[0, 0], real[0, 0]))
    y = conv_transpose(np.array([[[complex(np.nan, 1), 1]]]), np.array([[[1.0, 0]]]) + 0j)
    assert np.isnan(y[0, 0, :2]).all()
    assert y[0, 0, 2] == 0
    y = conv_transpose(np.array([[[complex(np.inf, 0), 2j]]]), np.array([[[1 + 0j]]]), stride=2)
    assert np.isposinf(y[0, 0, 0].real)
    assert y[0, 0, 1:].tolist() == [0, 2j]


# 26
def test_mixed_types_promote_as_in_numpy_and_float32_stays():
    x, w = np.ones(3, np.float32), np.ones(2, np.float32)
    assert conv_transpose(x, w, 1.5, channel_axis=None).dtype == np.float32
    assert conv_transpose(x, w, np.float64(1.5), channel_axis=None).dtype == np.float64
    assert conv_transpose(x, w.astype(np.int8), channel_axis=None).dtype == np.float32
    assert conv_transpose(x, w.astype(np.int32), channel_axis=None).dtype == np.float64
    assert conv_transpose(x.astype("f2"), w, 2, channel_axis=None).dtype == np.float32
    out = np.empty(4)
    assert conv_transpose(x, w, channel_axis=None, out=out).dtype == np.float64


# 27
def test_workers_beyond_the_work_and_inside_of_workers():
    from concurrent.futures import ThreadPoolExecutor

    g = np.random.default_rng(7)
    x = g.standard_normal((3, 5, 9, 8)).astype(np.float32)
    w = g.standard_normal((5, 7, 4, 3)).astype(np.float32)
    desired = conv_transpose(x, w, stride=2, workers=1)
    for workers in (None, -1, 1, 2, 3, 5, 16, 1000):
        result = conv_transpose(x, w, stride=2, workers=workers)
        assert result.tobytes() == desired.tobytes()
    tiny = np.ones((1, 1, 1), np.float32)
    assert conv_transpose(tiny, tiny, workers=64).item() == 1
    with pytest.raises(ValueError, match="workers"):
        conv_transpose(x, w, workers=0)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(conv_transpose, x, w, stride=2, workers=n % 3 + 1) for n in range(24)]
        assert all(call.result().tobytes() == desired.tobytes() for call in calls)


# 28
def test_fork_after_use_and_an_exception_in_a_thread(run_python):
    run_python(FORK, timeout=100)


FORK = """
import os
import sys
import threading

import numpy as np
from fastconv import conv_transpose

x = np.random.default_rng(0).standard_normal((4, 32, 40, 40)).astype(np.float32)
w = np.random.default_rng(1).standard_normal((32, 32, 4, 4)).astype(np.float32)
desired = conv_transpose(x, w, stride=2, workers=2)
for workers in (None, 2, -1, 1, -2):
    try:
        conv_transpose(x[:1], w, stride=2, workers=workers)
    except ValueError:
        assert workers == -2  # on a machine with one processor
        continue
    if hasattr(os, "fork"):
        pid = os.fork()
        if not pid:
            same = conv_transpose(x, w, stride=2, workers=workers).tobytes() == desired.tobytes()
            os._exit(0 if same else 3)
        assert os.waitpid(pid, 0)[1] == 0
assert conv_transpose(x, w, stride=2, workers=2).tobytes() == desired.tobytes()

failures = []

def fail():
    try:
        conv_transpose(x, w, stride=0)
    except ValueError:
        failures.append(conv_transpose(x, w, stride=2).tobytes() == desired.tobytes())

threads = [threading.Thread(target=fail) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
assert failures == [True] * 4

# A thread that still computes when the interpreter ends.
threading.Thread(target=lambda: conv_transpose(x, w, stride=2), daemon=True).start()
sys.exit(0)
"""


# 29
def test_overlaps_on_the_borders_of_threads_are_summed_in_one_order():
    g = np.random.default_rng(8)
    x = g.standard_normal((1, 9, 37, 29)).astype(np.float32)
    w = g.standard_normal((9, 6, 7, 5)).astype(np.float32)
    for options in ({"stride": 2}, {"stride": (3, 1), "padding": 3}, {"dilation": 2}):
        one = conv_transpose(x, w, workers=1, **options)
        for workers in (2, 3, 7):
            again = conv_transpose(x, w, workers=workers, **options)
            assert again.tobytes() == one.tobytes()


# 30
@pytest.mark.parametrize("isa", _isa.supported())
def test_tails_of_vectors_next_to_guard_pages(run_python, isa):
    run_python(GUARD_PAGES, timeout=200, env={"FASTCONV_ISA": isa})


GUARD_PAGES = """
import ctypes
import itertools
import mmap
import sys

import numpy as np
from fastconv import conv_transpose

PAGE = mmap.PAGESIZE
keep = []


def guarded(a, at_end):
    \"\"\"A copy of `a` right before (or right after) a page that cannot be touched.\"\"\"
    pages = -(-a.nbytes // PAGE) or 1
    room = mmap.mmap(-1, (pages + 2) * PAGE)
    keep.append(room)
    data = np.frombuffer(room, np.uint8)
    if sys.platform != "win32":
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for page in (0, pages + 1):
            address = data.ctypes.data + page * PAGE
            assert protect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), 0) == 0
    start = PAGE + (pages * PAGE - a.nbytes if at_end else 0)
    view = data[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


rng = np.random.default_rng(0)
SIZES = [1, 2, 3, 7, 8, 9, 15, 17, 31, 33]
problems = [
    (int(rng.choice(SIZES)), int(rng.choice(SIZES)), int(rng.choice(SIZES)),
     int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.integers(0, 3)))
    for _ in range(20)
]
# Every number of rows that a tile of (phase, output channel) can be left with.
problems += [(1, c_out, 29, 1, 1, 0) for c_out in range(1, 20)]
for dtype, at_end in itertools.product(("f4", "f8", "f2", "c8", "u1"), (False, True)):
    for c_in, c_out, length, k, stride, padding in problems:
        full = (length - 1) * stride + k
        padding = min(padding, (full - 1) // 2)
        x = rng.integers(0, 4, (1, c_in, 3, length)).astype(dtype)
        w = rng.integers(0, 4, (c_in, c_out, 4, k)).astype(dtype)
        bias = rng.integers(0, 4, c_out).astype(dtype)
        options = {"stride": (3, stride), "padding": (0, padding)}
        desired = conv_transpose(x, w, bias, method="reference", **options)
        for last, method in itertools.product(
            (False, True), ("auto", "direct", "col2im", "planes", "winograd", "karatsuba")
        ):
            if dtype == "u1" and method != "auto":
                continue
            image = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
            shape = np.moveaxis(desired, 1, -1).shape if last else desired.shape
            args = [guarded(a, at_end) for a in (image, w, bias)]
            out = guarded(np.zeros(shape, dtype), at_end)
            try:
                conv_transpose(
                    *args, out=out, method=method, channel_axis=-1 if last else 1, **options
                )
            except ValueError as error:
                assert method in ("col2im", "planes", "winograd", "karatsuba"), error
                assert "cannot do this problem" in str(error), error
                continue
            result = np.moveaxis(out, -1, 1) if last else out
            assert np.array_equal(result, desired), (dtype, c_in, c_out, length, k, options, method)
            del args, out, result
            while keep and len(keep) > 64:
                keep.pop(0)
"""


# 31
def test_channels_in_the_middle_last_and_without_batch():
    g = rng()
    x = small_integers(g, (2, 3, 4, 5, 6))
    w, bias = small_integers(g, (4, 2, 3, 2)), small_integers(g, 2)
    desired = reference.conv_transpose(x, w, bias, channel_axis=2, stride=2)
    for axis in (2, -3):
        result = conv_transpose(x, w, bias, channel_axis=axis, stride=2)
        np.testing.assert_array_equal(result, desired, strict=True)
    last = conv_transpose(np.moveaxis(x, 2, -1), w, bias, channel_axis=-1, stride=2)
    np.testing.assert_array_equal(np.moveaxis(last, -1, 2), desired)
    one = conv_transpose(x[1, 2], w, bias, channel_axis=0, stride=2)
    np.testing.assert_array_equal(one, desired[1, 2])
    one = conv_transpose(np.moveaxis(x[1, 2], 0, -1), w, bias, channel_axis=-1, stride=2)
    np.testing.assert_array_equal(np.moveaxis(one, -1, 0), desired[1, 2])
    with pytest.raises(ValueError, match="channel_axis=1 .*use 2 or -3 .* or -1"):
        conv_transpose(x, w, bias)


# 32
def test_periodic_boundary_is_the_full_result_folded_several_times():
    """There is no such mode; the full result holds what is needed, also where a kernel is longer
    than the period."""
    x, w = small_integers(rng(), 3), small_integers(rng(), 17)
    for name in ("wrap", "circular", "reflect", "symmetric", "edge"):
        with pytest.raises(ValueError, match=f"padding.*{name}"):
            conv_transpose(x, w, channel_axis=None, padding=name)
        with pytest.raises(TypeError, match="mode"):
            conv_transpose(x, w, channel_axis=None, mode=name)
    period = 6
    full = conv_transpose(x, w, channel_axis=None, stride=2)
    folded = np.zeros(4 * period)
    folded[: full.size] = full
    folded = folded.reshape(-1, period).sum(0)
    desired = np.zeros(period)
    for i, k in itertools.product(range(3), range(17)):
        desired[(2 * i + k) % period] += x[i] * w[k]
    np.testing.assert_array_equal(folded, desired)


# 33
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_adjoint_is_the_strided_correlation(dtype):
    """``<A x, y> == <x, A^H y>`` exactly, with a correlation that is written out here."""
    g = rng()
    for (s, d, k), options in itertools.product(
        [(1, 1, 4), (2, 1, 3), (3, 1, 2), (2, 3, 3), (3, 2, 1)],
        [
            {}, {"padding": 1}, {"padding": [(0, 2)]}, {"padding": [(-2, -1)]},
            {"padding": "same"}, {"padding": "same_lower"}, {"output_padding": 1},
            {"padding": "valid", "output_size": 23},
        ],
    ):
        if options.get("output_padding", 0) >= max(s, d):
            continue
        geometry = {"stride": s, "dilation": d} | options
        x, w = small_integers(g, (2, 3, 6), dtype), small_integers(g, (3, 4, k), dtype)
        ax = conv_transpose(x, w, **geometry)
        y = small_integers(g, ax.shape, dtype)
        (crop,), _ = reference.window(
            (6,), (k,), **({"padding": 0, "output_padding": 0, "output_size": None} | geometry)
        )
        reach = 5 * s + (k - 1) * d + 1
        room = np.zeros((2, 4, abs(crop) + reach + ax.shape[-1]), dtype)
        room[..., max(crop, 0) : max(crop, 0) + ax.shape[-1]] = y
        room = room[..., max(-crop, 0) :]
        windows = np.lib.stride_tricks.sliding_window_view(room, (k - 1) * d + 1, -1)
        taps = windows[:, :, : 5 * s + 1 : s, ::d]
        back = np.einsum("noik,cok->nci", taps, w.conj())
        assert np.vdot(y, ax) == np.vdot(back, x)


# 34
def test_streaming_by_hand_equals_one_shot():
    """Chunks of any length, the overlap carried over, give the same numbers."""
    x, w, _ = random_problem(23, kernel=(5,), n=1)
    for stride, dilation in ((1, 1), (2, 1), (3, 2), (4, 1), (7, 1)):
        reach = (w.shape[-1] - 1) * dilation + 1
        whole = conv_transpose(x, w, stride=stride, dilation=dilation)
        pieces, tail, start = [], np.zeros((1, 2, max(reach - stride, 0))), 0
        for length in (1, 0, 4, 1, 10, 0, 7):
            if length:
                size = (length - 1) * stride + max(reach, stride)
                part = conv_transpose(
                    x[..., start : start + length], w, stride=stride, dilation=dilation,
                    padding="valid", output_size=size,
                )
                part[..., : tail.shape[-1]] += tail
                done = length * stride
                pieces.append(part[..., :done])
                tail = part[..., done:]
            start += length
        assert start == 23
        result = np.concatenate([*pieces, tail], axis=-1)
        np.testing.assert_array_equal(result[..., : whole.shape[-1]], whole)
        assert not result[..., whole.shape[-1] :].any()
        with pytest.raises(TypeError, match="zi"):
            conv_transpose(x, w, zi=tail)


# 35
def test_window_of_the_output_on_every_phase():
    """There is no output_slice; padding cuts the same window, for every start and stop."""
    x, w, bias = random_problem(4, kernel=(5,))
    full = conv_transpose(x, w, bias, stride=3)
    length = full.shape[-1]
    for start in range(length):
        for stop in range(start + 1, length + 1):
            part = conv_transpose(x, w, bias, stride=3, padding=[(start, length - stop)])
            np.testing.assert_array_equal(part, full[..., start:stop], strict=True)
    with pytest.raises(ValueError, match="length of 0"):
        conv_transpose(x, w, bias, stride=3, padding=[(4, length - 4)])
    with pytest.raises(TypeError, match="output_slice"):
        conv_transpose(x, w, output_slice=slice(2, 5))


# 36
@pytest.mark.parametrize("chunks", [(1,) * 11, (2, 2, 2, 2, 3), (5, 6), (1, 9, 1), (11,)])
def test_chunks_smaller_than_the_halo_equal_the_whole(chunks):
    """Each output chunk from the input chunks and the halo it needs, cut by padding."""
    x, w, bias = random_problem(11, kernel=(8,), n=1)
    stride, crop = 3, 2
    whole = conv_transpose(x, w, bias, stride=stride, padding=crop)
    reach = w.shape[-1]
    result, begin, position = [], 0, 0
    for length in chunks:
        last = begin + length == 11
        end = whole.shape[-1] if last else min((begin + length) * stride, whole.shape[-1])
        first = max(0, -(-(position + crop - reach + 1) // stride))
        stop = min(11, (end - 1 + crop) // stride + 1)
        before = position + crop - first * stride
        after = (stop - 1 - first) * stride + reach - before - (end - position)
        options = {"stride": stride, "padding": [(before, after)]}
        part = x[..., first:stop]
        assert output_shape(part.shape, w.shape, **options)[-1] == end - position
        result.append(conv_transpose(part, w, bias, **options))
        begin, position = begin + length, end
    np.testing.assert_array_equal(np.concatenate(result, axis=-1), whole, strict=True)


# 37
@pytest.mark.parametrize(
    ("c_in", "c_out", "length", "k", "stride"),
    [(130, 1, 9, 256, 64), (1026, 1, 3, 64, 16), (3, 2, 3000, 2, 2), (2, 2, 5000, 3, 1)],
)
def test_long_kernels_and_long_signals_agree_between_methods(c_in, c_out, length, k, stride):
    g = np.random.default_rng(9)
    x = g.standard_normal((1, c_in, length)).astype(np.float32)
    w = g.standard_normal((c_in, c_out, k)).astype(np.float32)
    desired = reference.conv_transpose(x.astype(np.float64), w.astype(np.float64), stride=stride)
    bound = error_bound(x, w, dtype=np.float32, stride=stride)
    results = dict(each_method(x, w, stride=stride))
    # The bound is for sums of the products themselves.
    results.pop("winograd", None)
    results.pop("karatsuba", None)
    for result in results.values():
        assert_within(result, desired, bound)
    assert "col2im" in results or c_out * k < 64
    # On both sides of any threshold of "auto", exactly.
    for n in (1, 2, 3, 5, 8, 13, 21, 34, 55):
        a, b = small_integers(g, (1, n, n)), small_integers(g, (n, 1, 4 * n))
        assert_exact(a, b, stride=n)


# 38
def test_memory_that_is_not_there_leaves_out_alone(run_python):
    if sys.platform == "linux":
        run_python(NO_MEMORY, timeout=100)
    with pytest.raises(MemoryError, match=r"shape \(1, 1, 1099511627777\).* bytes"):
        conv_transpose(np.ones((1, 1, 2)), np.ones((1, 1, 1)), stride=2**40)


NO_MEMORY = """
import resource

import numpy as np
from fastconv import conv_transpose


def in_use():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


x = np.ones((1, 4, 4_000_000), np.float32)
w = np.ones((4, 1, 3), np.float32)
out = np.full((1, 1, 4_000_002), 7.0)
conv_transpose(x[..., :100], w, dtype=np.float64)
conv_transpose(x[..., :100_000], w, workers=2)
before = in_use()
resource.setrlimit(resource.RLIMIT_AS, (before + 30_000_000,) * 2)
for _ in range(20):
    try:
        conv_transpose(x, w, dtype=np.float64, out=out)  # a copy of x takes 128 MB
    except MemoryError:
        pass
    else:
        raise AssertionError("that cannot fit")
    assert (out == 7).all()
assert in_use() - before < 10_000_000
small = conv_transpose(x[..., :5], w, dtype=np.float64)
assert small.tolist() == [[[4.0, 8.0, 12.0, 12.0, 12.0, 8.0, 4.0]]]
"""


# 39
def test_bias_of_every_wrong_shape_and_type():
    x, w = np.ones((2, 4, 5), np.float32), np.ones((4, 3, 2), np.float32)
    for shape in [(), (1,), (2,), (4,), (1, 3), (3, 1), (1, 3, 1), (0,)]:
        with pytest.raises(ValueError, match=r"bias must have shape \(3,\)"):
            conv_transpose(x, w, np.ones(shape))
    assert conv_transpose(x, w, np.ones(3)).dtype == np.float64
    assert conv_transpose(x, w, np.ones(3, np.int8)).dtype == np.float32
    for wrong in (["a", "b", "c"], [None] * 3, np.zeros(3, "M8[s]")):
        with pytest.raises(TypeError, match="bias"):
            conv_transpose(x, w, wrong)
    with pytest.raises(TypeError, match="bias .*complex128.*float32"):
        conv_transpose(x, w, np.ones(3) * 1j, dtype=np.float32)
    assert conv_transpose(x[0, 0], w[0, 0], 2, channel_axis=None)[0] == 3
    with pytest.raises(ValueError, match=r"bias must have shape \(\)"):
        conv_transpose(x[0, 0], w[0, 0], [2], channel_axis=None)


# 40
def test_weights_with_one_more_axis_are_never_taken_for_a_batch():
    """Shapes that coincide: the number of axes of `w` alone says how many are spatial."""
    x, w = small_integers(rng(), (2, 2, 2)), small_integers(rng(), (2, 2, 2, 2))
    with pytest.raises(ValueError, match="channel_axis=1 .*use 0 or -3 .* or -1"):
        conv_transpose(x, w)
    y = conv_transpose(x, w, channel_axis=0)
    assert y.shape == (2, 3, 3)
    np.testing.assert_array_equal(y, conv_transpose(x[None], w)[0])
    last = conv_transpose(x, w, channel_axis=-1)
    first = conv_transpose(np.moveaxis(x, -1, 0), w, channel_axis=0)
    np.testing.assert_array_equal(np.moveaxis(last, -1, 0), first)
