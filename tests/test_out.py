"""`out=`: any strides, casts and overlaps; nothing outside of it is written."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from oracle import small_integers

from fastconv import conv_transpose

SHAPE = (2, 4, 10, 19)
DTYPES = ["float32", "float64", "complex64", "float16", "int16", "longdouble"]
CANARY = 99


def operands(dtype="float64"):
    rng = np.random.default_rng(0)
    shapes = (2, 6, 5, 7), (6, 2, 3, 2), (4,)
    return [small_integers(rng, shape, dtype) for shape in shapes]


def call(x, w, bias, **options):
    return conv_transpose(
        x, w, bias, groups=2, stride=(2, 3), padding=((1, 0), 1), output_padding=(0, 1), **options
    )


def contiguous(shape, dtype):
    a = np.full(shape, CANARY, dtype)
    return a, a


def inner(shape, dtype):
    larger = np.full([n + 4 for n in shape], CANARY, dtype)
    return larger, larger[(slice(2, -2),) * len(shape)]


def every_third(shape, dtype):
    larger = np.full([3 * n for n in shape], CANARY, dtype)
    return larger, larger[(slice(1, None, 3),) * len(shape)]


def reversed_axes(shape, dtype):
    larger, view = inner(shape, dtype)
    return larger, view[(slice(None, None, -1),) * len(shape)]


def fortran(shape, dtype):
    larger, view = inner(shape[::-1], dtype)
    return larger, view.T


def contiguous_fortran(shape, dtype):
    a = np.full(shape, CANARY, dtype, order="F")
    return a, a


def channels_inside(shape, dtype):
    n, c, *spatial = shape
    larger, view = inner((n, *spatial, c), dtype)
    return larger, np.moveaxis(view, -1, 1)


def batch_inside(shape, dtype):
    larger, view = inner((*shape[1:], shape[0]), dtype)
    return larger, np.moveaxis(view, -1, 0)


def swapped(shape, dtype):
    return inner(shape, np.dtype(dtype).newbyteorder("S"))


def misaligned(shape, dtype):
    dtype = np.dtype(dtype)
    larger = np.full(int(np.prod(shape)) + 2, CANARY, dtype)
    data = larger.view(np.uint8)[1 : 1 + int(np.prod(shape)) * dtype.itemsize]
    return larger, data.view(dtype).reshape(shape)


def field(shape, dtype):
    records = np.full(shape, CANARY, [("a", dtype), ("b", dtype)])
    return records["a"], records["b"]


FORMS = [
    contiguous, inner, every_third, reversed_axes, fortran, contiguous_fortran, channels_inside,
    batch_inside, swapped, misaligned, field,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_out(dtype, form):
    """Same bits as without, the same object returned, nothing written beside it."""
    arrays = operands(dtype)
    desired = call(*arrays)
    assert desired.shape == SHAPE
    larger, out = form(SHAPE, dtype)
    before = larger.copy()
    assert call(*arrays, out=out) is out
    np.testing.assert_array_equal(out, desired.astype(out.dtype), strict=True)
    if form is misaligned:
        now, then = larger.view(np.uint8), before.view(np.uint8)
        assert now[0] == then[0]
        np.testing.assert_array_equal(now[1 + out.nbytes :], then[1 + out.nbytes :])
        return
    if form is not field:
        out[...] = CANARY
    np.testing.assert_array_equal(larger, before)


@pytest.mark.parametrize("channel_axis", [0, 1, 2, -1, None])
def test_out_with_every_channel_axis(channel_axis):
    rng = np.random.default_rng(1)
    shape = {0: (3, 5), 1: (2, 3, 5), 2: (2, 2, 3, 5), -1: (2, 2, 5, 3), None: (2, 3, 5)}
    x = small_integers(rng, shape[channel_axis])
    w = small_integers(rng, 4 if channel_axis is None else (3, 2, 4))
    desired = conv_transpose(x, w, channel_axis=channel_axis)
    for form in FORMS[:7]:
        larger, out = form(desired.shape, "float64")
        assert conv_transpose(x, w, channel_axis=channel_axis, out=out) is out
        np.testing.assert_array_equal(out, desired, strict=True)


@pytest.mark.parametrize("form", [contiguous, inner, fortran, swapped, misaligned])
@pytest.mark.parametrize(
    ("dtype", "into"),
    [
        ("float64", "float32"), ("float32", "float64"), ("float32", "float16"),
        ("float32", "complex128"), ("int32", "float64"), ("int64", "int8"), ("uint8", "int32"),
        ("int16", "longdouble"), ("bool", "float32"), ("complex128", "complex64"),
    ],
)
def test_casting_same_kind(dtype, into, form):
    arrays = operands(dtype)
    desired = call(*arrays).astype(into)
    _, out = form(SHAPE, into)
    assert call(*arrays, out=out) is out
    np.testing.assert_array_equal(out, desired)


def test_type_of_out_is_not_the_type_of_the_computation():
    x = np.array([[2.0**24, 1.0, -(2.0**24)]], np.float32)[..., None]
    w = np.ones((3, 1, 1), np.float32)
    out = np.empty((1, 1, 1))
    conv_transpose(x, w, out=out)
    assert out.item() == conv_transpose(x, w).item()
    x = np.array([[[1 + 2.0**-30, -1.0]]])
    out = np.empty((1, 1, 3), np.float32)
    conv_transpose(x, np.array([[[1.0, 1.0]]]), out=out)
    assert out.tolist() == [[[1.0, np.float32(2.0**-30), -1.0]]]


def test_dtype_and_out_together():
    arrays = operands("float32")
    out = np.empty(SHAPE, np.float32)
    assert call(*arrays, dtype=np.float64, out=out) is out
    np.testing.assert_array_equal(out, call(*arrays))


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_is_x(dtype):
    x = small_integers(np.random.default_rng(2), (2, 3, 6), dtype)
    w = small_integers(np.random.default_rng(3), (3, 3, 3), dtype)
    desired = conv_transpose(x, w, padding=1)
    assert conv_transpose(x, w, padding=1, out=x) is x
    np.testing.assert_array_equal(x, desired)


def test_out_is_w():
    x = small_integers(np.random.default_rng(4), (3, 3, 4))
    w = small_integers(np.random.default_rng(5), (3, 3, 4))
    desired = conv_transpose(x, w, padding="same")
    assert conv_transpose(x, w, padding="same", out=w) is w
    np.testing.assert_array_equal(w, desired)


def test_out_is_bias():
    x, w = np.arange(1.0, 4.0).reshape(1, 3, 1), np.ones((3, 4, 1))
    storage = np.array([10.0, 20.0, 30.0, 40.0])
    desired = conv_transpose(x, w, storage.copy())
    conv_transpose(x, w, storage, out=storage.reshape(1, 4, 1))
    np.testing.assert_array_equal(storage, desired.ravel())


@pytest.mark.parametrize("shift", range(-3, 4))
@pytest.mark.parametrize("step", [1, 2, -1])
def test_out_overlaps_a_part_of_x(shift, step):
    storage = small_integers(np.random.default_rng(6), 64)
    x, out = storage[20:40:2], storage[20 + shift : 20 + shift + 12][::step]
    w = np.array([1.0, -2.0, 3.0])
    padding = [(0, len(x) + 2 - len(out))]
    desired = conv_transpose(x.copy(), w, channel_axis=None, padding=padding)
    places = np.arange(64)[20 + shift : 20 + shift + 12][::step]
    untouched = ~np.isin(np.arange(64), places)
    before = storage.copy()
    conv_transpose(x, w, channel_axis=None, padding=padding, out=out)
    np.testing.assert_array_equal(out, desired)
    np.testing.assert_array_equal(storage[untouched], before[untouched])


def test_out_shares_memory_with_x_in_another_type():
    storage = np.arange(24, dtype=np.float32)
    x, w, out = storage[:8], np.array([1.0, 2.0]), storage.view(np.float64)[:9]
    desired = conv_transpose(x.copy(), w, channel_axis=None)
    conv_transpose(x, w, channel_axis=None, out=out)
    np.testing.assert_array_equal(out, desired)


def test_interleaved_out_and_x_that_share_no_element():
    storage = np.zeros(40)
    storage[::2] = np.arange(20.0)
    x, out = storage[:20:2], storage[1:24:2]
    desired = conv_transpose(x.copy(), [1.0, 2.0, 3.0], channel_axis=None)
    conv_transpose(x, [1.0, 2.0, 3.0], channel_axis=None, out=out)
    np.testing.assert_array_equal(out, desired)
    np.testing.assert_array_equal(storage[::2], np.arange(20.0))


def test_out_with_elements_that_share_memory():
    """Each place ends with one of the values that belong there, as with an assignment."""
    x, w = np.arange(1.0, 7.0), np.array([1.0, 10.0, 100.0])
    desired = conv_transpose(x, w, channel_axis=None)
    one = np.zeros(1)
    out = as_strided(one, desired.shape, (0,))
    assert conv_transpose(x, w, channel_axis=None, out=out) is out
    assert one[0] in desired

    x = np.arange(12.0).reshape(2, 6)
    desired = conv_transpose(x, w, channel_axis=None)
    storage = np.full(20, float(CANARY))
    out = as_strided(storage[5:], desired.shape, (8, 8))
    conv_transpose(x, w, channel_axis=None, out=out)
    for place in range(9):
        allowed = [desired[r, place - r] for r in range(2) if 0 <= place - r < 8]
        assert storage[5 + place] in allowed
    assert np.all(storage[:5] == CANARY)
    assert np.all(storage[14:] == CANARY)


def test_out_of_an_empty_result():
    out = np.empty((0, 2, 6))
    assert conv_transpose(np.empty((0, 3, 4)), np.ones((3, 2, 3)), out=out) is out
    out = np.empty((2, 0, 6))
    assert conv_transpose(np.empty((2, 3, 4)), np.ones((3, 0, 3)), out=out) is out


def test_out_where_no_channel_comes_in():
    out = np.full((2, 3, 6), np.nan)
    conv_transpose(np.empty((2, 0, 4)), np.empty((0, 3, 3)), [1.0, 2.0, 3.0], out=out)
    np.testing.assert_array_equal(out, np.broadcast_to([[1.0], [2.0], [3.0]], out.shape))


def test_every_element_of_out_is_written():
    """Holes between taps, zeros of negative padding: nothing old shows through."""
    for options in (
        {"stride": 5}, {"padding": -3}, {"stride": 4, "dilation": 2},
        {"padding": "same", "stride": 4}, {"padding": "valid", "output_size": 40},
    ):
        x, w = np.ones((2, 3, 4)), np.ones((3, 2, 2))
        desired = conv_transpose(x, w, **options)
        assert np.isfinite(desired).all()
        out = np.full(desired.shape, np.nan)
        np.testing.assert_array_equal(conv_transpose(x, w, out=out, **options), desired)


def test_out_used_again_gives_the_same():
    arrays = operands("float32")
    out = np.full(SHAPE, np.nan, np.float32)
    first = call(*arrays, out=out).copy()
    np.testing.assert_array_equal(call(*arrays, out=out), first)


def test_memmap_as_out(tmp_path):
    arrays = operands("float32")
    out = np.memmap(tmp_path / "y", np.float32, "w+", shape=SHAPE)
    assert call(*arrays, out=out) is out
    np.testing.assert_array_equal(np.asarray(out), call(*arrays))


def test_matrix_as_out(run_python):
    """Its views stay two-dimensional whatever they are reshaped to: not in this process."""
    run_python(
        """
import warnings

import numpy as np

from fastconv import conv_transpose

warnings.simplefilter("ignore")
x, w = np.arange(9.0).reshape(3, 3), np.ones((2, 2))
out = np.asmatrix(np.zeros((4, 4)))
assert conv_transpose(x, w, channel_axis=None, out=out) is out
np.testing.assert_array_equal(np.asarray(out), conv_transpose(x, w, channel_axis=None))
"""
    )


def test_masked_array_as_out():
    x, w = np.arange(9.0).reshape(3, 3), np.ones((2, 2))
    out = np.ma.masked_array(np.zeros((4, 4)), mask=np.eye(4))
    assert conv_transpose(x, w, channel_axis=None, out=out) is out
    np.testing.assert_array_equal(out.data, conv_transpose(x, w, channel_axis=None))


def test_overflow_while_casting_into_out_is_silent():
    """As everywhere else: no warning, whatever the caller's settings are."""
    x = np.full((1, 1, 2), 1e30)
    out = np.empty((1, 1, 2), np.float32)
    with np.errstate(all="raise"):
        conv_transpose(x, [[[1e30]]], out=out)
    assert np.isinf(out).all()


@pytest.mark.parametrize("dtype", ("float32", "float16", "complex64", "int32"))
@pytest.mark.parametrize("padding", [((1, 1),), ((0, 2),), ((2, 0),), ((1, 2),)])
def test_nothing_beside_a_cut_window_is_written(dtype, padding, isa):
    """The first and the last position of a row are cut, in a row of one input even the same."""
    # One image: lanes would run along the batch otherwise.
    for samples in (1, 2, 20):
        for channels in (1, 3):
            x = np.ones((1, 4, samples), dtype)
            w = np.ones((4, channels, 5), dtype)
            y = conv_transpose(x, w, stride=5, padding=padding, method="direct")
            guarded = np.full((1, channels, y.shape[2] + 40), 77, dtype)
            out = guarded[..., 20:-20]
            conv_transpose(x, w, stride=5, padding=padding, method="direct", out=out)
            np.testing.assert_array_equal(out, np.full_like(y, 4))
            assert (guarded[..., :20] == 77).all() and (guarded[..., -20:] == 77).all()
