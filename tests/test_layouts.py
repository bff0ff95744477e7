"""Any strides, alignment and byte order of the inputs; every channel axis; layout of the result."""

import itertools
import tracemalloc

import numpy as np
import pytest
import reference
from oracle import small_integers

from fastconv import conv_transpose

DTYPES = ["float32", "float64", "complex64", "float16", "int8", "uint64", "longdouble"]
SHAPES = [(2, 6, 5, 7), (6, 4, 3, 2), (4,)]
GEOMETRY = {"stride": (2, 1), "padding": ((1, 0), 1), "dilation": (1, 2)}


def strided(a):
    """Every second element of a larger array, along every axis."""
    larger = np.full([2 * n + 1 for n in a.shape], 77, a.dtype)
    view = larger[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def negative(a):
    return np.ascontiguousarray(a[(slice(None, None, -1),) * a.ndim])[
        (slice(None, None, -1),) * a.ndim
    ]


def transposed(a):
    return np.ascontiguousarray(a.T).T


def rolled_axes(a):
    order = (*range(1, a.ndim), 0)
    return np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))


def misaligned(a):
    buffer = np.empty(a.nbytes + 1, np.uint8)
    view = buffer[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def swapped(a):
    return a.astype(a.dtype.newbyteorder("S"))


def misaligned_and_swapped(a):
    return misaligned(swapped(a))


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def field(a):
    """One field of a packed record: odd strides and no alignment."""
    records = np.zeros(a.shape, [("before", "u1"), ("value", a.dtype), ("after", "u1", 2)])
    records["value"] = a
    return records["value"]


LAYOUTS = [
    strided, negative, transposed, rolled_axes, misaligned, swapped, misaligned_and_swapped,
    read_only, field,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_of_inputs_is_of_no_consequence(dtype, layout):
    """Bitwise, with values whose sums are not exact, and without a write to the inputs."""
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind in "iu":
        x, w, bias = (rng.integers(0, 100, s).astype(dtype) for s in SHAPES)
    else:
        x, w, bias = (rng.standard_normal(s).astype(dtype) for s in SHAPES)
    desired = conv_transpose(x, w, bias, **GEOMETRY)
    for which in ("x", "w", "bias", "all"):
        arrays = {"x": x, "w": w, "bias": bias}
        for name in arrays if which == "all" else (which,):
            arrays[name] = layout(arrays[name])
        before = {name: a.copy() for name, a in arrays.items()}
        result = conv_transpose(**arrays, **GEOMETRY)
        np.testing.assert_array_equal(result, desired, strict=True)
        if dtype != "longdouble":  # which has bytes without a meaning
            assert result.tobytes() == desired.tobytes()
        for name, a in arrays.items():
            np.testing.assert_array_equal(a, before[name], strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_strides(dtype):
    row = small_integers(np.random.default_rng(1), 7, dtype, low=0)
    tap = small_integers(np.random.default_rng(2), (3, 1), dtype, low=0)
    bias = np.broadcast_to(np.array(3, dtype), 4)
    x = np.broadcast_to(row, (2, 6, 5, 7))
    w = np.broadcast_to(tap, (6, 4, 3, 2))
    desired = conv_transpose(x.copy(), w.copy(), bias.copy(), **GEOMETRY)
    np.testing.assert_array_equal(conv_transpose(x, w, bias, **GEOMETRY), desired, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_overlapping_windows(dtype):
    signal = small_integers(np.random.default_rng(3), 40, dtype, low=0)
    steps = [signal.itemsize * n for n in (7, 3, 1)]
    x = np.lib.stride_tricks.as_strided(signal, (2, 4, 9), steps)
    w = small_integers(np.random.default_rng(4), (4, 2, 3), dtype, low=0)
    desired = conv_transpose(x.copy(), w, stride=2)
    np.testing.assert_array_equal(conv_transpose(x, w, stride=2), desired, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_memmap(tmp_path, dtype):
    rng = np.random.default_rng(5)
    x, w = (small_integers(rng, s, dtype) for s in SHAPES[:2])
    files = []
    for name, a in (("x", x), ("w", w)):
        a.tofile(tmp_path / name)
        files.append(np.memmap(tmp_path / name, a.dtype, "r", shape=a.shape))
    result = conv_transpose(*files)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, conv_transpose(x, w), strict=True)


def test_buffer_at_an_odd_offset():
    rng = np.random.default_rng(6)
    x, w = (small_integers(rng, s, np.float32) for s in SHAPES[:2])
    odd = np.frombuffer(b"abc" + x.tobytes(), np.float32, offset=3).reshape(x.shape)
    assert not odd.flags.aligned
    np.testing.assert_array_equal(conv_transpose(odd, w), conv_transpose(x, w), strict=True)


def test_unused_axes_may_have_any_stride():
    """NumPy allows whatever stride along an axis of length one."""
    x = np.lib.stride_tricks.as_strided(np.arange(6.0), (1, 1, 1, 6), (-3, 2**40, 5, 8))
    w = np.lib.stride_tricks.as_strided(np.arange(3.0), (1, 1, 1, 3), (1, 7, -(2**40), 8))
    desired = conv_transpose(x.copy(), w.copy())
    np.testing.assert_array_equal(conv_transpose(x, w), desired, strict=True)


def _forms(rank, n_batch):
    """Values of channel_axis: channels first, channels last, and those that do not fit."""
    ndim = n_batch + 1 + rank
    first = {n_batch, -rank - 1}
    last = {-1, ndim - 1}
    return sorted(first), sorted(last), sorted(set(range(-ndim - 1, ndim + 2)) - first - last)


@pytest.mark.parametrize("n_batch", range(5))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_channel_axis(rank, n_batch):
    rng = np.random.default_rng(7)
    batch = (2, 3, 1, 2)[:n_batch]
    spatial, kernel = (4, 3, 5)[:rank], (3, 2, 1)[:rank]
    x = small_integers(rng, (*batch, 4, *spatial))
    w = small_integers(rng, (4, 3, *kernel))
    bias = small_integers(rng, 6)
    options = {"stride": 2, "groups": 2}
    desired = reference.conv_transpose(x, w, bias, channel_axis=-rank - 1, **options)
    firsts, lasts, wrong = _forms(rank, n_batch)
    for axis in firsts:
        result = conv_transpose(x, w, bias, channel_axis=axis, **options)
        np.testing.assert_array_equal(result, desired, strict=True)
        assert result.flags.c_contiguous
    for axis in lasts:
        for channels_last in (
            np.moveaxis(x, n_batch, -1),
            np.ascontiguousarray(np.moveaxis(x, n_batch, -1)),
        ):
            result = conv_transpose(channels_last, w, bias, channel_axis=axis, **options)
            np.testing.assert_array_equal(result, np.moveaxis(desired, n_batch, -1), strict=True)
            assert result.flags.c_contiguous
    for axis in wrong:
        with pytest.raises(ValueError) as error:
            conv_transpose(x, w, bias, channel_axis=axis, **options)
        text = str(error.value)
        for part in (f"channel_axis={axis}", f"x.ndim={x.ndim}", f"w.ndim={w.ndim}"):
            assert part in text
        for fits in (str(n_batch), str(-rank - 1), "-1"):
            assert fits in text.split("use ")[1]


@pytest.mark.parametrize("n_batch", range(4))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_channels(rank, n_batch):
    rng = np.random.default_rng(8)
    x = small_integers(rng, ((2, 3, 2)[:n_batch] + (4, 3, 5)[:rank]))
    w = small_integers(rng, (3, 2, 2)[:rank])
    result = conv_transpose(x, w, 2.0, channel_axis=None, stride=2)
    desired = reference.conv_transpose(x, w, np.array(2.0), channel_axis=None, stride=2)
    np.testing.assert_array_equal(result, desired, strict=True)
    assert result.flags.c_contiguous


@pytest.mark.parametrize("channel_axis", [2, -3, -1, None])
def test_batch_axes_that_cannot_be_merged(channel_axis):
    """A transposed pair of batch axes, every second image, one repeated without a copy."""
    rng = np.random.default_rng(9)
    shape = (4, 6, 5, 7) if channel_axis is None else (4, 6, 3, 5, 7)
    if channel_axis == -1:
        shape = (4, 6, 5, 7, 3)
    x = small_integers(rng, shape)
    w = small_integers(rng, (3, 2) if channel_axis is None else (3, 2, 3, 2))
    views = [
        x.swapaxes(0, 1), x[:, ::2], x[::-1, ::-3], np.broadcast_to(x[:, :1], x.shape),
    ]
    for view in views:
        desired = conv_transpose(view.copy(), w, channel_axis=channel_axis)
        result = conv_transpose(view, w, channel_axis=channel_axis)
        np.testing.assert_array_equal(result, desired, strict=True)
        assert result.flags.c_contiguous


@pytest.mark.parametrize("order", ["C", "F", "channels last"])
def test_result_is_c_contiguous_whatever_the_inputs_are(order):
    rng = np.random.default_rng(10)
    x, w = (small_integers(rng, s) for s in SHAPES[:2])
    if order == "channels last":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        x = np.moveaxis(x, -1, 1)
    else:
        x, w = np.asarray(x, order=order), np.asarray(w, order=order)
    result = conv_transpose(x, w)
    assert result.flags.c_contiguous
    assert result.flags.owndata
    assert result.flags.writeable


def test_weights_of_another_framework_as_a_view():
    """(*K, C_out, C_in) of Keras becomes ours by a transposition."""
    rng = np.random.default_rng(11)
    x = small_integers(rng, (2, 5, 7, 6))
    keras = small_integers(rng, (3, 2, 4, 6))
    result = conv_transpose(x, keras.transpose(3, 2, 0, 1), channel_axis=-1)
    ours = np.ascontiguousarray(keras.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(result, conv_transpose(x, ours, channel_axis=-1), strict=True)
    # By hand for one output pixel: y[0, 0] gets only x[0, 0] * w[0, 0].
    np.testing.assert_array_equal(result[:, 0, 0], x[:, 0, 0] @ keras[0, 0].T)


@pytest.mark.parametrize("shape", [(0, 6, 5, 7), (3, 0, 6, 5, 7), (0, 0, 6, 5, 7)])
@pytest.mark.parametrize("last", [False, True])
def test_empty_batches(shape, last):
    w = np.ones((6, 4, 3, 2))
    x = np.moveaxis(np.ones(shape), -3, -1) if last else np.ones(shape)
    result = conv_transpose(x, w, channel_axis=-1 if last else -3)
    tail = (7, 8, 4) if last else (4, 7, 8)
    assert result.shape == (*shape[:-3], *tail)


def channels_last(a):
    """Memory in the order of channels last."""
    return np.ascontiguousarray(np.moveaxis(a, 1, -1)).transpose(
        0, a.ndim - 1, *range(1, a.ndim - 1))


def traced_peak(call):
    """Bytes that a call allocates at most, arrays and scratch alike."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


#: Scratch of one worker at most, and what is left for Python's own objects.
SCRATCH = (4 << 20) + (1 << 18)


@pytest.mark.parametrize("method", ["auto", "direct"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, channels_last, transposed, negative, strided, rolled_axes],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("shape", [(1, 24, 256, 400), (3, 16, 51_200), (2, 8, 20, 160, 48)])
def test_no_copy_of_x_or_y(shape, layout, dtype, method):
    """Both are several times larger than all scratch; `out` has the same memory order as `x`."""
    rank = len(shape) - 2
    w_shape = (shape[1], shape[1] // 2, *[3] * rank)
    rng = np.random.default_rng(6)
    x = layout(small_integers(rng, shape, dtype))
    w = small_integers(rng, w_shape, dtype)
    arguments = {"padding": 1, "method": method, "workers": 1}
    wanted = conv_transpose(np.ascontiguousarray(x), w, **arguments)
    out = layout(np.zeros(wanted.shape, dtype))
    assert min(x.nbytes, out.nbytes) - w.nbytes > SCRATCH
    peak, result = traced_peak(lambda: conv_transpose(x, w, out=out, **arguments))
    assert result is out
    np.testing.assert_array_equal(out, wanted)
    assert peak - w.nbytes < SCRATCH


@pytest.mark.parametrize("method", ["auto", "direct"])
def test_no_copy_with_channels_last(method):
    """The same with the channel axis last, where the result is fresh: it alone is allocated."""
    rng = np.random.default_rng(8)
    x, w = small_integers(rng, (1, 256, 400, 24), "float32"), small_integers(
        rng, (24, 12, 3, 3), "float32")
    for view in (x, x[:, ::-1], x[:, :, ::-1], x[..., ::-1], x.swapaxes(1, 2)):
        peak, y = traced_peak(lambda view=view: conv_transpose(
            view, w, padding=1, channel_axis=-1, method=method, workers=1))
        assert y.flags.c_contiguous
        assert peak - w.nbytes - y.nbytes < SCRATCH
        first = conv_transpose(
            np.ascontiguousarray(np.moveaxis(view, -1, 1)), w, padding=1, method=method)
        np.testing.assert_array_equal(np.moveaxis(y, -1, 1), first)


def test_a_copy_would_be_seen():
    """Two batch axes whose images are not evenly apart are the case that needs one."""
    x = np.zeros((3, 2, 12, 256, 200), "float32")
    w = np.ones((12, 12, 1, 1), "float32")
    arguments = {"channel_axis": 2, "workers": 1, "method": "direct"}
    out = np.empty(x.shape, "float32")
    peak, _ = traced_peak(lambda: conv_transpose(x, w, out=out, **arguments))
    assert peak < SCRATCH
    uneven = np.zeros((3, 3, 12, 256, 200), "float32")[:, :2]
    peak, _ = traced_peak(lambda: conv_transpose(uneven, w, out=out, **arguments))
    assert peak > uneven.nbytes


@pytest.mark.parametrize("dtype", ("float32", "complex64", "float16", "uint8"))
@pytest.mark.parametrize("stride", (1, 2, 3))
def test_few_channels_last(dtype, stride, isa):
    # All channels and phases of a row are stored as one run while they are few.
    rng = np.random.default_rng(stride)
    for c_out, padding, output_padding in itertools.product(
        (1, 2, 3, 4, 5, 11, 21, 22, 32, 33, 64, 65), (0, 1), (0, stride - 1)
    ):
        x = rng.integers(-3, 4, (2, 4, 7, 37)).astype(dtype)
        w = rng.integers(-3, 4, (4, c_out, 3, 4)).astype(dtype)
        bias = rng.integers(-3, 4, c_out).astype(dtype)
        arguments = {
            "stride": stride, "padding": padding, "output_padding": output_padding,
            "method": "direct",
        }
        first = conv_transpose(x, w, bias, **arguments)
        last = conv_transpose(
            np.ascontiguousarray(np.moveaxis(x, 1, -1)), w, bias, channel_axis=-1, **arguments)
        np.testing.assert_array_equal(np.moveaxis(last, -1, 1), first)
