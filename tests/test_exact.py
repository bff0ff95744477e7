"""Bit for bit: with small integers every sum is exact, so every path must give the same bytes.

The catalogue is run through each method and instruction set; types, numbers of workers and memory
layouts are then varied over parts of it. What is compared with the definition is the type, the
shape and the bytes, with one exception: the sign of a zero. Whether a sum that cancels starts at
+0 or at its first product decides it, and nothing promises either; so negative zeros of the
result are made positive first, and any NaN is as good as another. Tests that compare the package
with itself compare the bytes.
"""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest
import reference
from cases import BY_ID, CASES, FLOATS, INTEGERS, LAYERS, SAMPLE, attempt, expected, multiply_adds

import fastconv
from fastconv import _isa

#: Those that take Inf and NaN: forced, "winograd" and "karatsuba" do not, see their tests.
METHODS = ("auto", "direct", "col2im", "reference")
WORKERS = (1, 2, 3, 7)


def by_id(case):
    return case.id


def canonical(array):
    """The bytes of `array` with one zero and one NaN, and without unused bytes."""
    if array.dtype.kind in "fc":
        array = np.ascontiguousarray(array)
        array = array.view(array.real.dtype) + array.real.dtype.type(0)
        array[np.isnan(array)] = np.nan
        if array.dtype.char == "g":
            # Its bytes beyond the number are whatever was in memory.
            return array.tolist()
    return array.tobytes()


def assert_same(actual, wanted):
    """Same type, shape and bytes, up to the sign of zeros and the payload of NaNs."""
    assert actual.dtype == wanted.dtype
    assert actual.shape == wanted.shape
    if actual.tobytes() != wanted.tobytes() and canonical(actual) != canonical(wanted):
        np.testing.assert_array_equal(actual, wanted)
        raise AssertionError("equal values, but not the same bytes")


def run(case, dtype, method, **options):
    """The result for the catalogue's operands, or None where the method refuses with a reason."""
    return attempt(case, case.operands(dtype), method, **options)


@pytest.mark.parametrize("method", ("auto", "direct", "col2im", "planes", "winograd", "karatsuba"))
@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_methods_and_instruction_sets(case, method, isa):
    # Two types everywhere; the other kernels take turns, so that each meets each family.
    turn = CASES.index(case) + _isa.ORDER.index(isa)
    third = ("complex64", "complex128", "float16")[turn % 3]
    workers = WORKERS[turn % len(WORKERS)]
    for dtype in ("float32", "float64", third):
        y = run(case, dtype, method, workers=workers)
        if y is not None:
            assert_same(y, expected(case, dtype))


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_reference_method(case):
    for dtype in ("float32", FLOATS[CASES.index(case) % len(FLOATS)]):
        assert_same(run(case, dtype, "reference"), expected(case, dtype))


@pytest.mark.parametrize("case", SAMPLE, ids=by_id)
def test_all_float_types(case, isa):
    for dtype in FLOATS:
        for method in ("direct", "col2im", "planes", "winograd", "karatsuba"):
            y = run(case, dtype, method)
            if y is not None:
                assert_same(y, expected(case, dtype))


@pytest.mark.parametrize("dtype", ("longdouble", "clongdouble"))
@pytest.mark.parametrize("case", SAMPLE[::4], ids=by_id)
def test_extended_types(case, dtype):
    assert_same(run(case, dtype, "auto"), expected(case, dtype))


@pytest.mark.parametrize("method", ("auto", "reference"))
@pytest.mark.parametrize("case", CASES[::2], ids=by_id)
def test_integers(case, method):
    turn = CASES.index(case) // 2
    for dtype in (INTEGERS[turn % len(INTEGERS)], INTEGERS[(turn + 4) % len(INTEGERS)]):
        assert_same(run(case, dtype, method), expected(case, dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    "name", ("rank2-unlike", "channels-17to31-k4-s2", "batch-last", "layer-istft")
)
def test_integers_in_each_instruction_set(name, dtype, isa):
    case = BY_ID[name]
    for workers in (1, 3):
        assert_same(run(case, dtype, "auto", workers=workers), expected(case, dtype))


@pytest.mark.parametrize("dtype", INTEGERS[:-1])
def test_integers_wrap(dtype):
    rng = np.random.default_rng(5)
    info = np.iinfo(dtype)
    x, w, bias = (
        rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        for shape in [(2, 3, 6), (3, 4, 4), (4,)]
    )
    # Python's integers know no overflow; taken modulo 2**64 they are what must come out.
    whole = reference.conv_transpose(*[a.astype(object) for a in (x, w, bias)], stride=2)
    modulo = (whole % 2**64).astype("uint64")
    assert_same(fastconv.conv_transpose(x, w, bias, stride=2), modulo.astype(dtype))
    wide = np.dtype("uint64" if info.min == 0 else "int64")
    assert_same(
        fastconv.conv_transpose(x, w, bias, stride=2, dtype=wide), modulo.astype(wide)
    )


def test_long_integer_sums():
    # 2**18 products of int8 extremes pass 2**31 on the way; the result type is as asked.
    x = np.full((1, 1 << 18, 2), -128, np.int8)
    w = np.full((1 << 18, 1, 1), -128, np.int8)
    assert fastconv.conv_transpose(x, w, dtype=np.int64).tolist() == [[[1 << 32, 1 << 32]]]
    assert fastconv.conv_transpose(x, w).tolist() == [[[0, 0]]]


@pytest.mark.parametrize("method", ("direct", "col2im", "planes", "winograd", "karatsuba"))
@pytest.mark.parametrize(
    "case", [*LAYERS, *[c for c in CASES if c.id.startswith(("batch", "rank", "columns"))]],
    ids=by_id,
)
def test_workers(case, method, isa):
    for dtype in ("float32", "complex128"):
        for workers in WORKERS:
            y = run(case, dtype, method, workers=workers)
            if y is not None:
                assert_same(y, expected(case, dtype))


def strided(array, step):
    """`array` as every `step`-th element of a larger one, whose rest is poison."""
    size = abs(step)
    poison = {"b": True, "i": 77, "u": 77}.get(array.dtype.kind, np.nan)
    wide = np.full(tuple(n * size for n in array.shape), poison, array.dtype)
    view = wide[(slice(None, None, step),) * array.ndim]
    view[...] = array
    return view


def misaligned(array):
    raw = np.empty(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert array.dtype.itemsize == 1 or not view.flags.aligned
    return view


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def axes_swapped(array):
    return np.ascontiguousarray(np.swapaxes(array, 0, 1)).swapaxes(0, 1) if array.ndim > 1 else (
        strided(array, 3)
    )


LAYOUTS = {
    "fortran": np.asfortranarray,
    "swapped-axes": axes_swapped,
    "reversed": lambda a: strided(a, -1),
    "every-second": lambda a: strided(a, 2),
    "every-third-reversed": lambda a: strided(a, -3),
    "other-byte-order": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
    "misaligned": misaligned,
    "channels-last-memory": lambda a: np.moveaxis(
        np.ascontiguousarray(np.moveaxis(a, min(1, a.ndim - 1), -1)), -1, min(1, a.ndim - 1)
    ),
    "misaligned-fortran": lambda a: misaligned(a.T).T,
}

LAYOUT_CASES = [
    BY_ID[name]
    for name in (
        "rank2-unlike", "rank3-k4-s2", "channels-17to31-k4-s2", "length-33-k4-s2", "batch-17-odd",
        "batch-last-33", "plain-2d-batch", "groups-12to30-g6-k4-s2", "groups-17to17-g17-k4-s2",
        "layer-pose_1", "layer-istft", "layer-dcgan_rgb", "layer-unet_up4", "layer-hifigan_1",
        "batch-two", "window-p-negative",
    )
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", LAYOUT_CASES, ids=by_id)
def test_layouts(case, layout):
    change = LAYOUTS[layout]
    for method, dtype in [("direct", "float32"), ("col2im", "float64"), ("winograd", "float32"),
                          ("karatsuba", "float32"), ("planes", "float32"), ("auto", "complex64"),
                          ("auto", "float16"), ("auto", "int16")]:
        x, w, bias = case.operands(dtype)
        y = expected(case, dtype)
        for changed in [(change(x), w, bias), (x, change(w), bias),
                        (change(x), change(w), bias if bias.ndim == 0 else change(bias))]:
            actual = attempt(case, changed, method)
            if actual is not None:
                assert_same(actual, y)


@pytest.mark.parametrize("case", LAYOUT_CASES, ids=by_id)
def test_zero_strides(case):
    # One element, row or image repeated without being stored twice.
    for dtype in ("float32", "complex128", "int32"):
        x, w, bias = case.operands(dtype)
        for axis in range(x.ndim):
            one = np.broadcast_to(x.take([0], axis), x.shape)
            assert_same(
                fastconv.conv_transpose(one, w, bias, **case.arguments),
                fastconv.conv_transpose(one.copy(), w, bias, **case.arguments),
            )
        for axis in range(w.ndim):
            one = np.broadcast_to(w.take([0], axis), w.shape)
            assert_same(
                fastconv.conv_transpose(x, one, bias, **case.arguments),
                fastconv.conv_transpose(x, one.copy(), bias, **case.arguments),
            )
        ones = np.broadcast_to(x.dtype.type(1), x.shape), np.broadcast_to(w.dtype.type(2), w.shape)
        assert_same(
            fastconv.conv_transpose(*ones, bias, **case.arguments),
            fastconv.conv_transpose(ones[0].copy(), ones[1].copy(), bias, **case.arguments),
        )


OUTS = {
    "contiguous": lambda shape, dtype: np.empty(shape, dtype),
    "fortran": lambda shape, dtype: np.empty(shape, dtype, order="F"),
    "strided": lambda shape, dtype: strided(np.zeros(shape, dtype), 2),
    "reversed": lambda shape, dtype: strided(np.zeros(shape, dtype), -1),
    "misaligned": lambda shape, dtype: misaligned(np.zeros(shape, dtype)),
    "other-byte-order": lambda shape, dtype: np.empty(shape, np.dtype(dtype).newbyteorder()),
    "channels-last-memory": lambda shape, dtype: LAYOUTS["channels-last-memory"](
        np.zeros(shape, dtype)
    ),
}


@pytest.mark.parametrize("layout", OUTS)
@pytest.mark.parametrize("case", LAYOUT_CASES, ids=by_id)
def test_out(case, layout):
    for method, dtype in [("direct", "float32"), ("col2im", "float32"), ("winograd", "float64"),
                          ("karatsuba", "float32"), ("planes", "float64"),
                          ("reference", "float64"),
                          ("auto", "complex128"), ("auto", "float16"), ("auto", "uint8")]:
        y = expected(case, dtype)
        out = OUTS[layout](y.shape, dtype)
        strides = out.strides
        result = run(case, dtype, method, out=out)
        if result is not None:
            assert result is out
            assert out.strides == strides
            assert_same(out.astype(dtype), y)


@pytest.mark.parametrize(
    "method", ("direct", "col2im", "planes", "winograd", "karatsuba", "reference"))
@pytest.mark.parametrize("case", [*SAMPLE, *LAYERS], ids=by_id)
def test_out_is_overwritten(case, method):
    # What was there before must not shine through: holes are bias, not old numbers.
    y = expected(case, "float32")
    out = np.full(y.shape, np.nan, "float32")
    if run(case, "float32", method, out=out) is not None:
        assert_same(out, y)


def test_result_is_contiguous():
    for case in SAMPLE:
        assert run(case, "float32", "auto").flags.c_contiguous


def test_col2im_takes_its_own_kind():
    # It may refuse, but not the problems it exists for.
    for name in ("layer-pose_1", "layer-istft", "layer-few-pixels-many-weights"):
        for dtype in ("float32", "float64"):
            assert run(BY_ID[name], dtype, "col2im") is not None


def test_catalogue_reaches_the_parallel_path():
    # Small problems run in one thread; the tests of workers need enough that do not.
    assert sum(multiply_adds(case) > 1_000_000 for case in LAYERS) >= 12


def _scatter_of_specials(x, w, stride):
    """Where NaN and Inf belong, for one channel and one axis, by Python's floats."""
    full = [0.0] * ((len(x) - 1) * stride + len(w))
    for i, a in enumerate(x):
        for k, b in enumerate(w):
            full[i * stride + k] += a * b
    return np.array(full)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("special", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("stride", (1, 2, 3, 5))
def test_nan_and_inf_where_they_belong(stride, special, method, isa):
    rng = np.random.default_rng(3)
    for length, taps in [(5, 3), (40, 4), (17, 6), (70, 1)]:
        for place in {0, length // 2, length - 1}:
            x = rng.integers(-3, 4, length).astype(float)
            w = np.zeros(taps)
            w[taps // 2] = 2.0
            x[place] = special
            wanted = _scatter_of_specials(x.tolist(), w.tolist(), stride)
            for dtype in ("float32", "float64", "float16"):
                for crop in (0, 2):
                    if crop and len(wanted) < 6:
                        continue
                    try:
                        y = fastconv.conv_transpose(
                            x.astype(dtype)[None, None], w.astype(dtype)[None, None],
                            stride=stride, padding=crop, method=method,
                        )
                    except ValueError as error:
                        assert method == "col2im"
                        assert "cannot do this problem" in str(error)
                        continue
                    assert_same(y[0, 0], wanted[crop : len(wanted) - crop].astype(dtype))


@functools.cache
def spoilt(case):
    """Operands with one Inf and one NaN, in x and then in w, and what must come out."""
    problems = []
    x, w, bias = case.operands("float64")
    for target in (x, w):
        changed = target.copy()
        changed.flat[target.size // 2] = np.inf
        changed.flat[target.size // 3] = np.nan
        operands = (changed, w, bias) if target is x else (x, changed, bias)
        with np.errstate(invalid="ignore"):
            problems.append((operands, reference.conv_transpose(*operands, **case.arguments)))
    return problems


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", [c for c in SAMPLE if 0 not in c.x + c.w], ids=by_id)
def test_special_operands(case, method, isa):
    # A kernel that multiplies padding or inserted zeros by Inf shows here, in every geometry.
    for operands, wanted in spoilt(case):
        y = attempt(case, operands, method)
        if y is not None:
            assert_same(y, wanted)


@pytest.mark.parametrize("method", METHODS)
def test_nan_does_not_cross_channels_or_images(method, isa):
    x = np.ones((3, 6, 5, 7), np.float32)
    w = np.ones((6, 2, 4, 4), np.float32)
    x[1, 4, 2, 3] = np.nan
    y = fastconv.conv_transpose(x, w, stride=2, padding=1, groups=3, method=method)
    where = np.zeros(y.shape, bool)
    where[1, 4:6, 3:7, 5:9] = True
    np.testing.assert_array_equal(np.isnan(y), where)


@pytest.mark.parametrize("method", METHODS)
def test_nan_in_one_weight(method, isa):
    x = np.ones((2, 3, 6, 33), np.float32)
    w = np.ones((3, 9, 3, 3), np.float32)
    w[1, 5, 0, 2] = np.inf
    x[0, 1, 4, 20] = 0
    y = fastconv.conv_transpose(x, w, stride=2, method=method)
    where = np.zeros(y.shape, bool)
    where[:, 5, 0:11:2, 2:67:2] = True
    where[0, 5, 8, 42] = False
    np.testing.assert_array_equal(np.isinf(y), where)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 5, 8, 42]]


def test_bias_nan_fills_its_channel(isa):
    bias = np.array([0, np.nan, np.inf], np.float32)
    y = fastconv.conv_transpose(
        np.ones((1, 2, 3, 3), np.float32), np.ones((2, 3, 1, 1), np.float32), bias, stride=3
    )
    assert np.isnan(y[:, 1]).all()
    assert np.isposinf(y[:, 2]).all()
    assert np.isfinite(y[:, 0]).all()


def test_byte_order_of_the_result_is_native():
    other = ">" if sys.byteorder == "little" else "<"
    x = np.ones((1, 1, 3), other + "f4")
    assert fastconv.conv_transpose(x, x).dtype == np.dtype("=f4")
    assert fastconv.conv_transpose(x, x).dtype.isnative
