"""Every error: its type, the argument's name, the numbers that clash, and nothing written."""

import re

import numpy as np
import pytest

from fastconv import conv_transpose, output_shape

X = np.ones((2, 4, 5, 6), np.float32)
W = np.ones((4, 3, 3, 2), np.float32)
RESULT = (2, 3, 7, 7)


def check(error, *parts, x=X, w=W, **options):
    """The call raises `error`, its text has all `parts` in this order, `out` is untouched."""
    out = options.pop("out", None)
    if out is None:
        out = np.full(RESULT, 7, np.float32)
    before = out.tobytes() if isinstance(out, np.ndarray) else None
    pattern = "(?s)" + ".*".join(re.escape(str(part)) for part in parts)
    with pytest.raises(error, match=pattern):
        conv_transpose(x, w, **({"out": out} | options))
    if before is not None:
        assert out.tobytes() == before


NO_INTEGERS = [True, False, np.True_, 1.0, np.float32(2), "2", None, 1j, b"\x02", object]


@pytest.mark.parametrize("name", ["stride", "dilation", "output_padding"])
@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
def test_not_an_integer(name, value):
    check(TypeError, name, **{name: value})
    check(TypeError, name, **{name: (value, 1)})


@pytest.mark.parametrize("value", [v for v in NO_INTEGERS if v is not None], ids=repr)
def test_output_size_is_no_integer(value):
    check(TypeError, "output_size", output_size=value)
    check(TypeError, "output_size", output_size=(7, value))


@pytest.mark.parametrize("name", ["groups", "workers"])
@pytest.mark.parametrize("value", [True, np.False_, 1.0, "2", 1j, (1,), object], ids=repr)
def test_scalar_option_is_no_integer(name, value):
    check(TypeError, name, **{name: value})


@pytest.mark.parametrize("value", [True, 1.0, "1", "last", (1,)], ids=repr)
def test_channel_axis_is_no_integer(value):
    check(TypeError, "channel_axis", channel_axis=value)


@pytest.mark.parametrize("value", [v for v in NO_INTEGERS if v != "2"], ids=repr)
def test_padding_is_no_integer(value):
    check(TypeError, "padding", padding=value)
    check(TypeError, "padding", padding=(value, 1))
    check(TypeError, "padding", padding=(1, (0, value)))


def test_strings_among_the_entries_of_padding():
    check(TypeError, "padding", "'same'", padding=("same", 1))
    check(TypeError, "padding", "valid", padding=[(0, 1), ("valid", 0)])


@pytest.mark.parametrize("container", [{1: 0, 2: 0}, {1, 2}, b"\x01\x02"], ids=repr)
@pytest.mark.parametrize("name", ["stride", "dilation", "padding", "output_size"])
def test_containers_without_an_order_of_integers(name, container):
    check(TypeError, name, **{name: container})


def test_mapping_as_a_pair_of_padding():
    check(TypeError, "padding", padding=[{1: 1, 2: 2}, 0])
    check(TypeError, "padding", padding=[{1, 2}, 0])


@pytest.mark.parametrize("name", ["stride", "dilation"])
@pytest.mark.parametrize("value", [0, -1, (1, 0), (-2, 1), np.array([1, 0])], ids=repr)
def test_below_one(name, value):
    check(ValueError, f"{name} must be at least 1", repr(value), **{name: value})


def test_negative_output_padding():
    check(ValueError, "output_padding must be at least 0", "-1", output_padding=-1)
    check(ValueError, "output_padding must be at least 0", "(0, -2)", output_padding=(0, -2))


@pytest.mark.parametrize("name", ["stride", "dilation", "output_padding", "output_size"])
@pytest.mark.parametrize("value", [(), (1,), (1, 1, 1), np.ones(3, int)], ids=repr)
def test_wrong_number_of_entries(name, value):
    check(ValueError, name, f"{len(value)} entries", "2 spatial axes", **{name: value})


@pytest.mark.parametrize("value", [(), (1,), [(1, 2)], (1, 1, 1)], ids=repr)
def test_wrong_number_of_paddings(value):
    check(ValueError, "padding", f"{len(value)} entries", "2 spatial axes", padding=value)


def test_flat_pair_for_one_axis():
    x, w = np.ones((1, 1, 5)), np.ones((1, 1, 3))
    check(ValueError, "padding", "2 entries", "1 spatial", "[(1, 2)]", x=x, w=w, padding=(1, 2))


@pytest.mark.parametrize("entry", [(), (1,), (1, 2, 3), np.arange(4)], ids=repr)
def test_padding_entry_that_is_no_pair(entry):
    check(ValueError, "padding", f"{len(entry)} numbers", "(before, after)", padding=(0, entry))


@pytest.mark.parametrize("name", ["SAME", "Valid", "same_upper", "wrap", "reflect", ""])
def test_unknown_padding_name(name):
    check(ValueError, "padding", "same_lower", repr(name), padding=name)


@pytest.mark.parametrize("padding", ["valid", "same", "same_lower"])
def test_output_padding_with_a_string_padding(padding):
    check(
        ValueError, "output_padding=1", f"padding='{padding}'",
        padding=padding, output_padding=1, stride=2,
    )


def test_output_padding_with_output_size():
    check(
        ValueError, "output_padding=(0, 1)", "output_size=(11, 12)",
        output_padding=(0, 1), output_size=(11, 12), stride=2,
    )


@pytest.mark.parametrize(
    ("stride", "dilation", "value", "limit", "axis"),
    [(1, 1, 1, 1, 0), (2, 1, (1, 2), 2, 1), (2, 3, 3, 3, 0), ((1, 4), 1, (0, 4), 4, 1)],
)
def test_output_padding_too_large(stride, dilation, value, limit, axis):
    check(
        ValueError, f"output_padding={value}", f"max(stride, dilation) = {limit}", f"axis {axis}",
        stride=stride, dilation=dilation, output_padding=value,
    )


@pytest.mark.parametrize(
    ("size", "axis", "low", "high"),
    [((10, 12), 0, 11, 12), ((13, 12), 0, 11, 12), ((11, 11), 1, 12, 13), (14, 0, 11, 12)],
)
def test_output_size_out_of_reach(size, axis, low, high):
    number = size if isinstance(size, int) else size[axis]
    check(
        ValueError, f"output_size={size}", f"axis {axis}", number, low, high,
        stride=2, output_size=size,
    )


@pytest.mark.parametrize("padding", [0, "valid", "same", "same_lower"])
@pytest.mark.parametrize("size", [0, -3, (7, 0)])
def test_output_size_below_one(padding, size):
    check(ValueError, "output_size must be at least 1", size, output_size=size, padding=padding)


@pytest.mark.parametrize(
    ("padding", "axis", "length", "full"),
    [(4, 0, -1, 7), ((0, 5), 1, -3, 7), ([(7, 0), 0], 0, 0, 7), ([0, (0, 8)], 1, -1, 7)],
)
def test_padding_that_leaves_nothing(padding, axis, length, full):
    check(
        ValueError, f"padding={padding}", f"output length of {length}", f"axis {axis}", full,
        padding=padding,
    )


@pytest.mark.parametrize("groups", [0, -1])
def test_groups_below_one(groups):
    check(ValueError, "groups must be at least 1", groups, groups=groups)


def test_groups_that_do_not_divide():
    check(ValueError, "groups=3", "4 channels", groups=3)


def test_channels_that_differ():
    check(ValueError, "x has 4 channels on axis 1", "w has 5", w=np.ones((5, 3, 3, 2)))
    check(
        ValueError, "x has 6 channels on axis -1", "w has 4", channel_axis=-1
    )


@pytest.mark.parametrize("axis", [0, 2, -2, -4, -5, 4, 100])
def test_channel_axis_that_does_not_fit(axis):
    check(
        ValueError, f"channel_axis={axis}", "x.ndim=4", "w.ndim=4", "1", "-3", "-1",
        channel_axis=axis,
    )


def test_default_channel_axis_without_batch():
    check(ValueError, "channel_axis=1", "x.ndim=3", "w.ndim=4", "use 0 or -3", x=X[0])


@pytest.mark.parametrize("shape", [(), (4,), (4, 5)])
def test_x_with_too_few_axes(shape):
    check(ValueError, f"x has {len(shape)} axes", W.shape, "2 spatial axes", x=np.ones(shape))


@pytest.mark.parametrize("shape", [(), (4,), (4, 3)])
def test_w_with_too_few_axes(shape):
    check(ValueError, "w must be (C_in, C_out // groups, *K)", shape, w=np.ones(shape))


def test_plain_arrays_with_too_few_axes():
    check(ValueError, "w must have at least one axis", w=np.float32(2), channel_axis=None)
    check(ValueError, "x has 1 axes", "2 spatial", x=X[0, 0, 0], w=W[0, 0], channel_axis=None)


def test_groups_without_channels():
    check(ValueError, "groups must be 1", "channel_axis is None", 2, channel_axis=None, groups=2)


@pytest.mark.parametrize("axis", [0, 1])
def test_spatial_length_zero(axis):
    lengths = [5, 6]
    lengths[axis] = 0
    check(ValueError, f"x has length 0 on spatial axis {axis}", x=np.ones((2, 4, *lengths)))
    check(ValueError, f"w has length 0 on spatial axis {axis}", w=np.ones((4, 3, *lengths)))


@pytest.mark.parametrize("shape", [(), (1,), (2,), (4,), (1, 3), (1, 3, 1, 1), (3, 1, 1)])
def test_bias_shape(shape):
    check(ValueError, "bias must have shape (3,)", "3 output channels", shape, bias=np.ones(shape))


def test_bias_shape_without_channels():
    check(
        ValueError, "bias must have shape ()", (1,),
        x=X[0, 0], w=W[0, 0], bias=[1.0], channel_axis=None,
    )


def test_bias_of_the_channels_of_all_groups():
    check(ValueError, "bias must have shape (6,)", "6 output", (3,), bias=np.ones(3), groups=2)


NO_NUMBERS = [
    np.array([None]), np.array(["a"]), np.array([b"a"]), np.array(["2020"], "M8[s]"),
    np.array([3], "m8[s]"), np.zeros(1, "V4"), np.zeros(1, [("a", "f4")]),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda a: str(a.dtype))
@pytest.mark.parametrize("name", ["x", "w", "bias"])
def test_types_without_arithmetic(name, value):
    shape = {"x": X.shape, "w": W.shape, "bias": (3,)}[name]
    check(TypeError, name, value.dtype, **{name: np.broadcast_to(value, shape)})


@pytest.mark.parametrize("name", ["x", "w", "bias"])
@pytest.mark.parametrize("value", [[[1], [2, 3]], {"a": 1}, "abc", object], ids=repr)
def test_what_is_no_array(name, value):
    options = {"x": X, "w": W} | {name: value}
    check((TypeError, ValueError), name, **options)


@pytest.mark.parametrize("dtype", ["spam", object, "U3", "M8[s]", "f4,i4", "f4,,", 5])
def test_dtype_that_is_none(dtype):
    check(TypeError, "dtype", dtype=dtype)


def test_dtype_that_operands_cannot_be_cast_to():
    check(TypeError, "x", "float32", "int32", "same_kind", dtype=np.int32)
    check(TypeError, "x", "complex64", "float64", x=X.astype("c8"), dtype=np.float64)
    x = X.astype("i4")
    check(TypeError, "w", "float32", "int64", x=x, dtype=np.int64)
    check(TypeError, "x", "int32", "uint64", x=x, w=W.astype("u4"), dtype=np.uint64)
    check(TypeError, "bias", "complex128", "float32", bias=np.ones(3, complex), dtype="f4")


@pytest.mark.parametrize("method", ["fastest", "AUTO", "", "auto "])
def test_unknown_method(method):
    check(ValueError, "method", "auto", "direct", repr(method), method=method)


@pytest.mark.parametrize("method", [None, 1, ["auto"], np.array(["auto", "direct"])], ids=repr)
def test_method_that_is_no_string(method):
    check(TypeError, "method", method=method)


def test_method_that_cannot_do_the_problem():
    x = X.astype(np.longdouble)
    out = np.zeros(RESULT, np.longdouble)
    check(ValueError, "method='direct'", x.dtype, x=x, method="direct", out=out)


def test_workers():
    check(ValueError, "workers", "0", workers=0)
    check(ValueError, "workers=-1000000", "usable", workers=-1_000_000)


@pytest.mark.parametrize(
    "out", [[0.0], 1.0, "float32", np.float32, memoryview(b"abc")],
    ids=("list", "float", "name", "type", "memory"))
def test_out_that_is_no_array(out):
    check(TypeError, "out must be a NumPy array", type(out).__name__, out=out)


@pytest.mark.parametrize("shape", [(2, 3, 7, 8), (1, 3, 7, 7), (3, 7, 7), (2, 3, 49), ()])
def test_out_of_another_shape(shape):
    check(ValueError, "out has shape", shape, RESULT, out=np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8", "m8[s]", "M8[s]"])
def test_out_of_a_type_that_cannot_hold_the_result(dtype):
    check(TypeError, "out", "float32", np.dtype(dtype), "same_kind", out=np.zeros(RESULT, dtype))


def test_out_that_is_read_only():
    out = np.full(RESULT, 7, np.float32)
    out.flags.writeable = False
    check(ValueError, "out is read-only", out=out)


@pytest.mark.parametrize("name", ["mode", "cval", "axes", "output_slice", "zi", "data_format"])
def test_unknown_keyword(name):
    check(TypeError, name, **{name: 1})


def test_options_are_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        conv_transpose(X, W, None, 2)


@pytest.mark.parametrize(
    "size", [2**40, 2**55, 2**60], ids=["4 TiB", "beyond addresses", "beyond 2**63 bytes"]
)
def test_result_that_does_not_fit_in_memory(size):
    with pytest.raises(MemoryError, match=rf"{size}"):
        conv_transpose(X[..., 0], W[..., 0], padding="valid", output_size=size)


def test_positions_beyond_any_index():
    check(ValueError, "spatial axis 0", "stride 4611686018427387904", stride=2**62)
    check(ValueError, "spatial axis 1", f"crop {2**63}", padding=(0, (2**63, -(2**63))))


@pytest.mark.parametrize(("x", "w"), [((0, 1, 2), (1, 1, 2)), ((1, 1, 2), (1, 0, 2))])
def test_empty_result_too_long_for_numpy(x, w):
    with pytest.raises((ValueError, MemoryError), match=f"shape.*{2**62}"):
        conv_transpose(np.ones(x), np.ones(w), padding="valid", output_size=2**62)


def test_invalid_geometry_of_an_empty_batch():
    check(ValueError, "output_padding=1", x=X[:0], output_padding=1)
    check(ValueError, "padding=9", x=X[:0], padding=9)


def test_output_shape_raises_the_same():
    for options in ({"stride": 0}, {"padding": 9}, {"groups": 3}, {"channel_axis": 2}):
        with pytest.raises(ValueError) as one:
            conv_transpose(X, W, **options)
        with pytest.raises(ValueError) as other:
            output_shape(X.shape, W.shape, **options)
        assert str(one.value) == str(other.value)
