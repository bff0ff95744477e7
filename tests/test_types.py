"""The table of types: what is computed in what, and what comes out."""

import itertools
import sys

import ml_dtypes
import numpy as np
import pytest
import reference
from oracle import assert_within, error_bound, exact, small_integers, wrapped

from fastconv import conv_transpose

INTEGERS = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64".split()
FLOATS = "float16 float32 float64 longdouble".split()
COMPLEX = "complex64 complex128 clongdouble".split()
ALL = INTEGERS + FLOATS + COMPLEX
GEOMETRY = {"stride": 2, "padding": 1, "dilation": 1}


def operands(dtype_x, dtype_w, seed=0, c_in=3, c_out=2):
    rng = np.random.default_rng(seed)
    x = small_integers(rng, (2, c_in, 5), dtype_x, low=0)
    w = small_integers(rng, (c_in, c_out, 3), dtype_w, low=0)
    return x, w


@pytest.mark.parametrize("dtype_w", ALL)
@pytest.mark.parametrize("dtype_x", ALL)
def test_result_type_of_every_pair(dtype_x, dtype_w):
    """Type as NumPy promotes, values exact."""
    x, w = operands(dtype_x, dtype_w)
    result = conv_transpose(x, w, **GEOMETRY)
    promoted = np.result_type(x, w)
    assert result.dtype == promoted
    if promoted.kind in "biu":
        desired = wrapped(exact(x, w, **GEOMETRY), promoted)
    else:
        desired = reference.conv_transpose(
            x.astype(promoted), w.astype(promoted), **GEOMETRY
        ).astype(promoted)
    np.testing.assert_array_equal(result, desired, strict=True)


@pytest.mark.parametrize("dtype", ALL)
def test_bias_takes_part_in_the_promotion(dtype):
    x, w = operands("int8", "int8")
    bias = np.array([1, 0], dtype)
    result = conv_transpose(x, w, bias, **GEOMETRY)
    assert result.dtype == np.result_type(x, w, bias)
    plain = conv_transpose(x, w, dtype=result.dtype, **GEOMETRY)
    if result.dtype != bool:
        np.testing.assert_array_equal(result, plain + bias[:, None].astype(result.dtype))


@pytest.mark.parametrize("dtype", INTEGERS[1:])
def test_integers_over_their_whole_range_are_modular(dtype):
    rng = np.random.default_rng(1)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, (2, 4, 7), dtype, endpoint=True)
    w = rng.integers(info.min, info.max, (4, 3, 4), dtype, endpoint=True)
    bias = rng.integers(info.min, info.max, 3, dtype, endpoint=True)
    x[0, 0, :2] = info.min, info.max
    result = conv_transpose(x, w, bias, stride=3)
    np.testing.assert_array_equal(result, wrapped(exact(x, w, bias, stride=3), dtype), strict=True)


@pytest.mark.parametrize(
    ("x", "w"),
    list(itertools.combinations(["uint8", "int8", "int16", "uint16", "int64", "uint32"], 2)),
)
def test_mixed_integers_over_their_whole_range(x, w):
    rng = np.random.default_rng(2)
    a = rng.integers(np.iinfo(x).min, np.iinfo(x).max, (1, 3, 6), x, endpoint=True)
    b = rng.integers(np.iinfo(w).min, np.iinfo(w).max, (3, 2, 3), w, endpoint=True)
    result = conv_transpose(a, b)
    np.testing.assert_array_equal(result, wrapped(exact(a, b), np.result_type(x, w)), strict=True)


def test_int8_wraps_and_a_wider_dtype_does_not():
    x = np.full((1, 2, 3), 100, np.int8)
    w = np.full((2, 1, 1), 100, np.int8)
    assert conv_transpose(x, w)[0, 0, 0] == np.int64(20000).astype(np.int8) == 32
    wide = conv_transpose(x, w, dtype=np.int32)
    np.testing.assert_array_equal(wide, np.full((1, 1, 3), 20000, np.int32), strict=True)


def test_uint64_beyond_two_to_the_63():
    x = np.array([[2**63, 2**64 - 1, 3]], np.uint64)
    w = np.array([[[1, 1]]], np.uint64)
    result = conv_transpose(x, w, channel_axis=0)
    assert result.tolist() == [[2**63, 2**63 - 1, 2, 3]]


def test_uint64_with_int64_is_float64_as_in_numpy():
    x, w = operands("uint64", "int64")
    assert conv_transpose(x, w).dtype == np.float64


def test_bool_is_true_where_the_sum_is_not_zero():
    x = np.array([[[True, True, False]]])
    result = conv_transpose(x, np.array([[[True, True]]]))
    assert result.dtype == bool
    assert result.tolist() == [[[True, True, True, False]]]


def test_bool_counts_with_a_wider_dtype():
    x, w = np.ones((1, 300, 4), bool), np.ones((300, 1, 2), bool)
    assert conv_transpose(x, w, dtype=np.int16).tolist() == [[[300, 600, 600, 600, 300]]]
    assert conv_transpose(x, w).all()


def test_bool_of_256_trues_is_true():
    """The sum is cast once: a sum kept in eight bits would be zero."""
    assert conv_transpose(np.ones((1, 256, 1), bool), np.ones((256, 1, 1), bool)).all()


@pytest.mark.parametrize(
    ("dtype_x", "dtype"),
    [
        ("float64", "float32"), ("float64", "float16"), ("float32", "float64"),
        ("int64", "float32"), ("int64", "int8"), ("uint8", "int8"), ("bool", "uint64"),
        ("float32", "complex64"), ("float16", "clongdouble"), ("longdouble", "float32"),
    ],
)
def test_dtype_brings_the_operands_to_it_first(dtype_x, dtype):
    x, w = operands(dtype_x, dtype_x)
    result = conv_transpose(x, w, dtype=dtype, **GEOMETRY)
    desired = conv_transpose(x.astype(dtype), w.astype(dtype), **GEOMETRY)
    np.testing.assert_array_equal(result, desired, strict=True)
    assert result.dtype == dtype


def test_dtype_rounds_operands_before_the_products():
    x = np.array([[1 + 2.0**-30]])
    w = np.array([[[1.0, -1.0]]])
    assert conv_transpose(x, w, channel_axis=0, dtype="f4").tolist() == [[1.0, -1.0]]


def test_dtype_takes_every_spelling():
    x, w = operands("float32", "float32")
    for dtype in (np.float64, "float64", "f8", float, np.dtype(">f8"), "d"):
        result = conv_transpose(x, w, dtype=dtype)
        assert result.dtype == np.float64
        assert result.dtype.isnative


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("bias", [2, 2.5, True, np.float16(2.5)], ids=repr)
def test_scalar_bias_is_promoted_as_in_a_ufunc(dtype, bias):
    """A Python scalar is weak (NEP 50), a NumPy scalar has its type."""
    x, w = np.ones(4, dtype), np.ones(3, dtype)
    result = conv_transpose(x, w, bias, channel_axis=None)
    desired = conv_transpose(x, w, channel_axis=None) + bias
    np.testing.assert_array_equal(result, desired, strict=True)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("bias", [3, 0, 1.5, 2j, np.int16(3)], ids=repr)
def test_scalar_bias_with_integers(dtype, bias):
    x, w = np.ones(4, dtype), np.ones(3, dtype)
    result = conv_transpose(x, w, bias, channel_axis=None)
    assert result.dtype == np.result_type(x, w, bias)
    if dtype != "bool":
        desired = conv_transpose(x, w, channel_axis=None) + bias
        np.testing.assert_array_equal(result, desired, strict=True)


def test_strong_scalar_bias_promotes():
    x, w = np.ones(4, np.float32), np.ones(3, np.float32)
    assert conv_transpose(x, w, np.float64(1), channel_axis=None).dtype == np.float64
    assert conv_transpose(x, w, np.array(1.0), channel_axis=None).dtype == np.float64
    assert conv_transpose(x, w, 1j, channel_axis=None).dtype == np.complex64


def test_integer_scalar_bias_that_no_integer_type_holds():
    x, w = np.ones(4), np.ones(3)
    result = conv_transpose(x, w, 10**30, channel_axis=None)
    np.testing.assert_array_equal(result, conv_transpose(x, w, channel_axis=None) + 1e30)


def test_float32_stays_float32():
    x, w = operands("float32", "float32")
    assert conv_transpose(x, w, np.zeros(2, np.float32)).dtype == np.float32
    assert conv_transpose(x, w, [0, 0]).dtype == np.result_type(np.float32, np.int64)


def test_float16_is_summed_in_float32_and_rounded_once():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 64, 9)).astype(np.float16)
    w = rng.standard_normal((64, 5, 4)).astype(np.float16)
    bias = rng.standard_normal(5).astype(np.float16)
    result = conv_transpose(x, w, bias, stride=2)
    wide = [a.astype(np.float64) for a in (x, w, bias)]
    sums = reference.conv_transpose(*wide, stride=2)
    slack = error_bound(*wide, dtype=np.float32, stride=2)
    with np.errstate(over="ignore"):
        low, high = (sums - slack).astype(np.float16), (sums + slack).astype(np.float16)
    assert result.dtype == np.float16
    assert np.all((low <= result) & (result <= high))


def test_float16_intermediate_overflow_does_not_show():
    x = np.full((1, 4, 1), 300, np.float16)
    w = np.array([300, 300, -300, -300], np.float16).reshape(4, 1, 1)
    assert conv_transpose(x, w).tolist() == [[[0.0]]]


def test_float16_overflow_and_subnormals_of_the_result():
    x = np.array([[[300, -300, 2.0**-14, 2.0**-14]]], np.float16)
    w = np.array([[[300.0]]], np.float16)
    assert conv_transpose(x, w)[0, 0, :2].tolist() == [np.inf, -np.inf]
    w = np.array([[[2.0**-10]]], np.float16)
    assert conv_transpose(x, w)[0, 0, 2] == np.float16(2.0**-24)


def test_float16_ties_round_to_even():
    x = np.array([[[2049.0 / 2048, 2051.0 / 2048]]], np.float32)
    assert conv_transpose(
        np.array([[[1.0, 1.0]], [[1.0, 3.0]]], np.float16).reshape(1, 2, 2),
        np.array([[[1.0]], [[2.0**-11]]], np.float16),
    ).tolist() == x.astype(np.float16).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64", "longdouble"])
def test_floats_are_within_the_bound(dtype):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 6, 7, 5)).astype(dtype)
    w = rng.standard_normal((6, 2, 3, 4)).astype(dtype)
    bias = rng.standard_normal(4).astype(dtype)
    geometry = {"stride": (2, 3), "padding": ((1, 0), 2), "groups": 2}
    desired = reference.conv_transpose(
        *(a.astype(np.longdouble) for a in (x, w, bias)), **geometry
    )
    bound = 2 * error_bound(x, w, bias, dtype=dtype, **geometry)
    assert_within(conv_transpose(x, w, bias, **geometry), desired, bound)


@pytest.mark.parametrize("dtype", COMPLEX)
def test_complex_is_within_the_bound_and_not_conjugated(dtype):
    rng = np.random.default_rng(5)
    x, w, bias = (
        (rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype)
        for s in ((2, 4, 7), (4, 3, 4), (3,))
    )
    desired = reference.conv_transpose(
        *(a.astype(np.clongdouble) for a in (x, w, bias)), stride=2
    )
    bound = 2 * error_bound(x, w, bias, dtype=dtype, stride=2)
    assert_within(conv_transpose(x, w, bias, stride=2), desired, bound)
    i = np.array([[[1j]]], dtype)
    assert conv_transpose(i, i).item() == -1


def test_complex_with_real():
    x, w = operands("complex64", "float32")
    result = conv_transpose(x, w, **GEOMETRY)
    assert result.dtype == np.complex64
    for part in ("real", "imag"):
        np.testing.assert_array_equal(
            getattr(result, part), conv_transpose(getattr(x, part), w, **GEOMETRY)
        )


def test_longdouble_keeps_its_digits():
    tiny = np.finfo(np.longdouble).eps
    x = np.array([[[1 + tiny]]], np.longdouble)
    w = np.array([[[1]]], np.longdouble)
    assert conv_transpose(x, w)[0, 0, 0] == 1 + tiny != 1


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("which", ["x", "w", "bias", "all"])
def test_byte_order(dtype, which):
    x, w = operands(dtype, dtype)
    arrays = {"x": x, "w": w, "bias": np.array([1, 2]).astype(dtype)}
    desired = conv_transpose(**arrays, **GEOMETRY)
    for name in arrays if which == "all" else (which,):
        arrays[name] = arrays[name].astype(arrays[name].dtype.newbyteorder("S"))
    result = conv_transpose(**arrays, **GEOMETRY)
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, desired, strict=True)


@pytest.mark.parametrize("char", "bBhHiIlLqQ")
def test_every_name_of_an_integer_type(char):
    """long and long long may be the same size and still be different types."""
    x, w = operands(char, char)
    result = conv_transpose(x, w, **GEOMETRY)
    assert result.dtype == np.dtype(char)
    np.testing.assert_array_equal(result, wrapped(exact(x, w, **GEOMETRY), char))


def test_lists_tuples_and_ranges():
    result = conv_transpose([[0, 1], [2, 3]], ((4, 1), (2, 3)), channel_axis=None)
    assert result.tolist() == [[0, 4, 1], [8, 16, 6], [4, 12, 9]]
    assert result.dtype == np.dtype(int)
    assert conv_transpose(range(3), [1, 1], channel_axis=None).tolist() == [0, 1, 3, 2]


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_matrix_becomes_a_plain_array():
    x = np.asmatrix(np.arange(4.0).reshape(2, 2))
    result = conv_transpose(x, x, channel_axis=None)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(
        result, conv_transpose(np.asarray(x), np.asarray(x), channel_axis=None)
    )


def test_masked_array_counts_with_its_data():
    data = np.arange(4.0)
    x = np.ma.masked_array(data, mask=[0, 1, 0, 0])
    result = conv_transpose(x, [1.0, 1.0], channel_axis=None)
    assert type(result) is np.ndarray
    assert result.tolist() == [0, 1, 3, 5, 3]


def test_object_with_an_array_interface():
    class Holder:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3.0)

    assert conv_transpose(Holder(), [1.0, 1.0], channel_axis=None).tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize("name", ["x", "w", "bias"])
def test_bfloat16_is_refused_by_name(name):
    x, w = operands("float32", "float32")
    arrays = {"x": x, "w": w, "bias": np.ones(2, np.float32)}
    arrays[name] = arrays[name].astype(ml_dtypes.bfloat16)
    with pytest.raises(TypeError, match=f"{name} .*bfloat16"):
        conv_transpose(**arrays)


def test_bfloat16_is_refused_as_dtype():
    x, w = operands("float32", "float32")
    with pytest.raises(TypeError, match="dtype.*bfloat16"):
        conv_transpose(x, w, dtype=ml_dtypes.bfloat16)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_direct_takes_all_floats(dtype):
    x, w = operands(dtype, dtype)
    result = conv_transpose(x, w, method="direct", **GEOMETRY)
    desired = reference.conv_transpose(x, w, **GEOMETRY).astype(dtype)
    np.testing.assert_array_equal(result, desired, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_col2im_takes_real_floats(dtype):
    x, w = operands(dtype, dtype, c_in=5, c_out=24)
    result = conv_transpose(x, w, method="col2im", **GEOMETRY)
    desired = reference.conv_transpose(x, w, **GEOMETRY)
    np.testing.assert_array_equal(result, desired, strict=True)


def test_state_of_floating_point_errors_is_of_no_consequence():
    x = np.array([[[1e300, np.nan, np.inf, 1e-300]]])
    w = np.array([[[1e300, 1e-300, 0.0]]])
    with np.errstate(all="ignore"):
        desired = conv_transpose(x, w, dtype=np.float32)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(conv_transpose(x, w, dtype=np.float32), desired)
        assert np.geterr() == dict.fromkeys(("divide", "over", "under", "invalid"), "raise")


def test_native_order_is_what_this_machine_has():
    x, w = operands("float32", "float32")
    big = conv_transpose(x.astype(">f4"), w.astype(">f4"))
    assert big.dtype.byteorder in ("=", {"little": "<", "big": ">"}[sys.byteorder])
