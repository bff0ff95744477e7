"""`output_shape` alone: lengths of every dialect, agreement with the result, huge numbers."""

import itertools
import sys

import numpy as np
import pytest

import fastconv
from fastconv import conv_transpose, output_shape


def length(i, k, **geometry):
    """Output length of one axis."""
    return output_shape((i,), (k,), channel_axis=None, **geometry)[0]


# The length that PyTorch documents: (I-1)*s - 2*p + d*(k-1) + op + 1, written out.
PYTORCH = [
    # I, k, stride, padding, output_padding, dilation, length
    (4, 4, 2, 1, 0, 1, 8),
    (4, 3, 2, 1, 0, 1, 7),
    (4, 3, 2, 1, 1, 1, 8),
    (1, 4, 1, 0, 0, 1, 4),
    (32, 5, 2, 2, 1, 1, 64),
    (128, 16, 8, 4, 0, 1, 1024),
    (160, 9, 3, 4, 2, 1, 480),
    (64, 3, 1, 2, 0, 2, 64),
    (5, 2, 2, 0, 0, 1, 10),
    (70, 16, 8, 0, 0, 1, 568),
    (224, 1024, 256, 0, 0, 1, 58112),
    (3, 3, 2, 0, 3, 4, 16),
]


@pytest.mark.parametrize(("i", "k", "s", "p", "op", "d", "o"), PYTORCH)
def test_pytorch_lengths(i, k, s, p, op, d, o):
    assert length(i, k, stride=s, padding=p, output_padding=op, dilation=d) == o


@pytest.mark.parametrize(("i", "k", "s", "p", "op", "d", "o"), PYTORCH)
def test_pytorch_output_size_within_reach(i, k, s, p, op, d, o):
    shortest = o - op
    for size in range(shortest, shortest + max(s, d)):
        assert length(i, k, stride=s, padding=p, dilation=d, output_size=size) == size
    for size in (shortest - 1, shortest + max(s, d)):
        with pytest.raises(ValueError, match=rf"output_size={size} .*axis 0"):
            length(i, k, stride=s, padding=p, dilation=d, output_size=size)


@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_same_is_input_times_stride(padding):
    for i, k, s, d in itertools.product((1, 4, 7), (1, 2, 3, 4, 5), (1, 2, 3, 4), (1, 2, 3)):
        assert length(i, k, stride=s, dilation=d, padding=padding) == i * s


def test_valid_is_the_full_length():
    for i, k, s, d in itertools.product((1, 4, 7), (1, 2, 3, 5), (1, 2, 3), (1, 2)):
        assert length(i, k, stride=s, dilation=d, padding="valid") == (i - 1) * s + (k - 1) * d + 1


@pytest.mark.parametrize(
    ("i", "k", "s", "o"),
    [(4, 3, 2, 9), (4, 2, 2, 8), (4, 1, 2, 8), (4, 2, 3, 12), (5, 5, 3, 17)],
)
def test_keras_and_jax_valid_lengths(i, k, s, o):
    """Keras and JAX say (I-1)*s + max(k, s): ours with that output size."""
    assert o == (i - 1) * s + max(k, s)
    assert length(i, k, stride=s, padding="valid", output_size=o) == o


@pytest.mark.parametrize(
    ("k", "s", "o"),
    [(3, 2, 8), (4, 2, 8), (5, 3, 12), (2, 3, 11), (1, 4, 13)],
)
def test_onnx_auto_pad_lengths(k, s, o):
    """Engines compute SAME as F - max(ek - s, 0): I*s, but F where the kernel is below stride."""
    i = 4
    padding = "same" if k >= s else "valid"
    assert length(i, k, stride=s, padding=padding) == o


def test_onnx_output_shape_above_and_below_the_full_length():
    for size in (7, 8, 9, 10, 14):
        assert length(4, 3, stride=2, padding="same_lower", output_size=size) == size


@pytest.mark.parametrize("size", range(5, 9))
def test_tensorflow_same_lengths(size):
    """TensorFlow's SAME takes any length in ((I-1)*s, I*s]."""
    assert length(4, 3, stride=2, padding="same", output_size=size) == size


def test_worked_example_4x4_kernel_3_stride_2():
    shapes = (1, 1, 4, 4), (1, 1, 3, 3)
    assert output_shape(*shapes, stride=2, padding="valid") == (1, 1, 9, 9)
    assert output_shape(*shapes, stride=2, padding="same") == (1, 1, 8, 8)
    assert output_shape((4, 4), (3, 3), stride=2, channel_axis=None) == (9, 9)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options", "shape"),
    [
        ((6, 5), (6, 2, 3), {"channel_axis": 0}, (2, 7)),
        ((4, 6, 5), (6, 2, 3), {}, (4, 2, 7)),
        ((2, 4, 6, 5), (6, 2, 3), {"channel_axis": 2}, (2, 4, 2, 7)),
        ((2, 4, 6, 5), (6, 2, 3), {"channel_axis": -2}, (2, 4, 2, 7)),
        ((2, 4, 5, 6), (6, 2, 3), {"channel_axis": -1}, (2, 4, 7, 2)),
        ((5, 6), (6, 2, 3), {"channel_axis": -1}, (7, 2)),
        ((2, 4, 5), (3,), {"channel_axis": None}, (2, 4, 7)),
        ((4, 6, 5), (6, 2, 3), {"groups": 3}, (4, 6, 7)),
        ((0, 6, 5), (6, 2, 3), {}, (0, 2, 7)),
        ((4, 0, 5), (0, 2, 3), {}, (4, 2, 7)),
        ((4, 6, 5), (6, 0, 3), {}, (4, 0, 7)),
        ((1, 1, 2, 3, 4, 5), (1, 1, 2, 2, 2, 2), {"stride": 2}, (1, 1, 4, 6, 8, 10)),
    ],
)
def test_full_shapes(x_shape, w_shape, options, shape):
    assert output_shape(x_shape, w_shape, **options) == shape
    assert conv_transpose(np.ones(x_shape), np.ones(w_shape), **options).shape == shape


@pytest.mark.parametrize("padding", [0, 2, [(1, 2)], [(-2, 1)], "valid", "same", "same_lower"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 2), (2, 5), (4, 2)])
def test_equals_the_shape_of_the_result(padding, stride, dilation):
    for i, k in itertools.product((2, 5), (1, 2, 4)):
        options = {"stride": stride, "dilation": dilation, "padding": padding}
        x, w = np.ones((2, 1, i)), np.ones((1, 3, k))
        try:
            shape = output_shape(x.shape, w.shape, **options)
        except ValueError as error:
            with pytest.raises(ValueError) as again:
                conv_transpose(x, w, **options)
            assert str(again.value) == str(error)
        else:
            assert conv_transpose(x, w, **options).shape == shape


def test_returns_plain_integers():
    shape = output_shape(np.array([1, 2, 5]), np.array([2, 3, 4]), stride=np.int64(2))
    assert shape == (1, 3, 12)
    assert type(shape) is tuple
    assert all(type(n) is int for n in shape)


def test_huge_lengths_are_exact():
    assert length(2**31, 3, stride=2**20) == (2**31 - 1) * 2**20 + 3
    assert length(1, 2**40) == 2**40
    assert length(46341, 46341) == 92681
    big = output_shape((2**20, 2**20, 2**10), (2**20, 2**20, 2**10))
    assert big == (2**20, 2**20, 2**11 - 1)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2**63},
        {"stride": 2**62},
        {"stride": 2**80},
        {"dilation": 2**62},
        {"dilation": 10**40},
        {"padding": -(2**62)},
        {"padding": [(2**63, -(2**63))]},
        {"padding": "same", "stride": 2**62},
        {"padding": "valid", "output_size": 2**63},
    ],
)
def test_positions_that_no_index_can_hold(options):
    with pytest.raises(ValueError, match=rf"axis 0 do not fit in {sys.maxsize}"):
        length(5, 4, **options)


@pytest.mark.parametrize("name", ["x_shape", "w_shape"])
@pytest.mark.parametrize("wrong", [5, 2.5, None, "12", (1, 2.0, 3), (1, True, 3), (1, None, 3)])
def test_shapes_that_are_no_shapes(name, wrong):
    shapes = {"x_shape": (1, 2, 3), "w_shape": (2, 2, 3)} | {name: wrong}
    with pytest.raises(TypeError, match=f"{name} must be a sequence of integers"):
        output_shape(**shapes)


@pytest.mark.parametrize("name", ["x_shape", "w_shape"])
def test_negative_lengths(name):
    shapes = {"x_shape": (1, 2, 3), "w_shape": (2, 2, 3)} | {name: (2, 2, -3)}
    with pytest.raises(ValueError, match=rf"{name} .*negative.*-3"):
        output_shape(**shapes)


def test_takes_geometry_by_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        output_shape((1, 1, 4), (1, 1, 3), 2)
    with pytest.raises(TypeError, match="workers"):
        output_shape((1, 1, 4), (1, 1, 3), workers=2)


def test_is_public():
    assert fastconv.output_shape is output_shape
