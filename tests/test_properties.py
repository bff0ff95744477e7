"""Properties over the whole space of arguments, with geometry that is valid by construction.

Operands are small integers, so every comparison is exact. The last tests draw arguments that need
not be valid: whatever they are, a call returns what `output_shape` announces or raises one of the
documented exceptions.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import reference
from cases import Case, expected
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import fastconv

DTYPES = ("float32", "float64", "complex64", "complex128", "float16", "int8", "uint16", "int64")
thorough = settings(
    max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
brief = settings(parent=thorough, max_examples=120)


def shorten(draw, values):
    """Per-axis values, or one integer where they agree and a coin says so."""
    if len(set(values)) == 1 and draw(st.booleans()):
        return values[0]
    return draw(st.sampled_from([tuple(values), list(values)]))


@st.composite
def cases(draw, numeric=False, channels=("first", "last", "none"), ranks=(1, 1, 2, 2, 2, 3, 4)):
    """A valid `Case`; with `numeric`, its padding is one pair an axis and nothing else is set."""
    rank = draw(st.sampled_from(ranks))
    most = {1: 40, 2: 8, 3: 4, 4: 3}[rank]
    lengths = [draw(st.integers(1, most)) for _ in range(rank)]
    kernel = [draw(st.integers(1, {1: 12, 2: 6, 3: 3, 4: 2}[rank])) for _ in range(rank)]
    stride = [draw(st.integers(1, 7 if rank < 3 else 3)) for _ in range(rank)]
    dilation = [draw(st.integers(1, 6 if rank < 3 else 3)) for _ in range(rank)]
    full = [
        (i - 1) * s + d * (k - 1) + 1
        for i, k, s, d in zip(lengths, kernel, stride, dilation, strict=True)
    ]
    form = "pairs" if numeric else draw(
        st.sampled_from(("numbers", "pairs", "size", "valid", "same", "same_lower", "rule-size"))
    )
    arguments = {}
    if form in ("numbers", "pairs", "size"):
        pairs, extras = [], []
        for f, s, d in zip(full, stride, dilation, strict=True):
            extra = 0 if numeric else draw(st.integers(0, max(s, d) - 1))
            if form == "numbers":
                before = after = draw(st.integers(-3, (f + extra - 1) // 2))
            else:
                before = draw(st.integers(-4, f + 3))
                after = draw(st.integers(-4, max(-4, f + extra - 1 - before)))
                after = min(after, f + extra - 1 - before)
            pairs.append((before, after))
            extras.append(extra)
        if form == "numbers":
            arguments["padding"] = shorten(draw, [p[0] for p in pairs])
        else:
            arguments["padding"] = tuple(pairs)
        if form == "size":
            arguments["output_size"] = shorten(
                draw, [f - b - a + e for f, (b, a), e in zip(full, pairs, extras, strict=True)]
            )
        elif not numeric:
            arguments["output_padding"] = shorten(draw, extras)
    elif form == "rule-size":
        arguments["padding"] = draw(st.sampled_from(("valid", "same", "same_lower")))
        arguments["output_size"] = shorten(draw, [draw(st.integers(1, f + 4)) for f in full])
    else:
        arguments["padding"] = form
    layout = draw(st.sampled_from(channels))
    batch = draw(st.sampled_from(((), (1,), (2,), (3,), (2, 2), (1, 3), (0,), (17,))))
    if layout == "none":
        x, w, axis, groups = (*batch, *lengths), tuple(kernel), None, 1
    else:
        groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
        c_in = groups * draw(st.sampled_from((1, 1, 2, 3, 5, 9, 0)))
        per_out = draw(st.sampled_from((1, 2, 3, 4, 8, 17, 0)))
        w = (c_in, per_out, *kernel)
        if layout == "first":
            x = (*batch, c_in, *lengths)
            axis = draw(st.sampled_from((len(batch), -rank - 1)))
        else:
            x = (*batch, *lengths, c_in)
            axis = draw(st.sampled_from((-1, len(x) - 1)))
    return Case(
        "drawn", x, w, stride=tuple(stride) if numeric else shorten(draw, stride),
        dilation=tuple(dilation) if numeric else shorten(draw, dilation), groups=groups,
        channel_axis=axis, bias=draw(st.booleans()), **arguments,
    )


def call(case, operands, **options):
    return fastconv.conv_transpose(*operands, **(case.arguments | options))


def same(actual, wanted):
    assert actual.shape == wanted.shape
    assert actual.dtype == wanted.dtype
    np.testing.assert_array_equal(actual, wanted)


@thorough
@given(cases(), st.sampled_from(DTYPES), st.sampled_from((1, 2, 3, 7)))
def test_equals_the_definition(case, dtype, workers):
    same(call(case, case.operands(dtype), workers=workers), _wanted(case, dtype))


def _wanted(case, dtype):
    # A list in a case cannot be hashed, and drawn cases need no cache.
    kind = np.dtype(dtype).kind
    wide = {"f": "float64", "c": "complex128"}.get(kind, "int64")
    return reference.conv_transpose(*case.operands(wide), **case.arguments).astype(dtype)


@thorough
@given(cases(), st.sampled_from(DTYPES[:5]),
       st.sampled_from(("direct", "col2im", "planes", "winograd", "karatsuba", "reference")))
def test_methods_equal_the_definition(case, dtype, method):
    try:
        y = call(case, case.operands(dtype), method=method)
    except ValueError as error:
        assert method in ("col2im", "planes", "winograd", "karatsuba")
        assert "cannot do this problem" in str(error)
        event(f"{method} refused")
        return
    same(y, _wanted(case, dtype))


@thorough
@given(cases())
def test_output_shape(case):
    shape = fastconv.output_shape(case.x, case.w, **case.arguments)
    assert all(type(n) is int for n in shape)
    assert call(case, case.operands()).shape == shape
    rank = len(case.w) - (0 if case.channel_axis is None else 2)
    last = case.channel_axis in (-1, len(case.x) - 1)
    x = (*case.x[:-1],) if last else case.x
    _, out = reference.window(
        x[len(x) - rank :], case.w[len(case.w) - rank :],
        **{k: v for k, v in case.arguments.items() if k not in ("groups", "channel_axis")},
    )
    if case.channel_axis is None:
        wanted = (*case.x[: len(case.x) - rank], *out)
    elif last:
        wanted = (*case.x[: len(case.x) - rank - 1], *out, case.c_out)
    else:
        wanted = (*case.x[: len(case.x) - rank - 1], case.c_out, *out)
    assert shape == wanted


@brief
@given(cases(), st.integers(-3, 3), st.integers(-3, 3))
def test_linear_in_each_operand(case, a, b):
    x, w, _ = case.operands()
    other_x, other_w = np.roll(x, 1) + 1, np.roll(w, 1) - 2
    whole = call(case, (a * x + b * other_x, w))
    same(whole, a * call(case, (x, w)) + b * call(case, (other_x, w)))
    whole = call(case, (x, a * w + b * other_w))
    same(whole, a * call(case, (x, w)) + b * call(case, (x, other_w)))


@brief
@given(cases(numeric=True, channels=("first",)), st.data())
def test_shift(case, data):
    # A row of zeros before x moves the result by one stride, a row behind it by nothing.
    x, w, bias = case.operands()
    rank = w.ndim - 2
    axis = data.draw(st.integers(0, rank - 1))
    behind = data.draw(st.booleans())
    zeros = np.zeros_like(x.take([0], x.ndim - rank + axis))
    parts = (x, zeros) if behind else (zeros, x)
    pairs = [list(p) for p in case.padding]
    pairs[axis][behind] += case.stride[axis]
    longer = np.concatenate(parts, x.ndim - rank + axis)
    same(call(case, (longer, w, bias), padding=pairs), call(case, (x, w, bias)))


@brief
@given(cases(channels=("first",)))
def test_channels_last_is_a_view(case):
    x, w, bias = case.operands()
    rank = w.ndim - 2
    y = call(case, (np.moveaxis(x, -rank - 1, -1), w, bias), channel_axis=-1)
    same(np.moveaxis(y, -1, -rank - 1), call(case, (x, w, bias)))


@brief
@given(cases(channels=("none",)))
def test_plain_arrays_are_one_channel(case):
    x, w, bias = case.operands()
    rank = w.ndim
    one = None if bias is None else bias.reshape(1)
    y = call(case, (np.expand_dims(x, -rank - 1), w[None, None], one), channel_axis=-rank - 1)
    same(np.squeeze(y, -rank - 1), call(case, (x, w, bias)))


@brief
@given(cases(channels=("first",)))
def test_batch_is_a_loop(case):
    x, w, bias = case.operands()
    rank = w.ndim - 2
    y = call(case, (x, w, bias))
    for index in np.ndindex(x.shape[: x.ndim - rank - 1]):
        same(y[index], call(case, (x[index], w, bias), channel_axis=0))


@brief
@given(cases(channels=("first",)))
def test_groups_are_separate(case):
    assume(case.groups > 1)
    x, w, bias = case.operands()
    rank = w.ndim - 2
    y = call(case, (x, w, bias))
    g = case.groups
    parts = zip(
        np.split(x, g, -rank - 1), np.split(w, g), [None] * g if bias is None else
        np.split(bias, g), np.split(y, g, -rank - 1), strict=True,
    )
    for x_part, w_part, bias_part, y_part in parts:
        same(call(case, (x_part, w_part, bias_part), groups=1), y_part)


@brief
@given(cases(numeric=True, channels=("first",), ranks=(1, 2, 2, 3)))
def test_dilation_is_a_kernel_with_zeros(case):
    x, w, bias = case.operands()
    spread = np.zeros(
        (*w.shape[:2], *[(k - 1) * d + 1 for k, d in zip(w.shape[2:], case.dilation, strict=True)])
    )
    spread[(..., *[slice(None, None, d) for d in case.dilation])] = w
    same(call(case, (x, spread, bias), dilation=1), call(case, (x, w, bias)))


@brief
@given(cases(numeric=True, channels=("first",), ranks=(1, 2, 2, 3)))
def test_stride_is_an_input_with_zeros(case):
    x, w, bias = case.operands()
    rank = w.ndim - 2
    lengths = x.shape[x.ndim - rank :]
    spread = np.zeros(
        (*x.shape[: x.ndim - rank],
         *[(i - 1) * s + 1 for i, s in zip(lengths, case.stride, strict=True)])
    )
    spread[(..., *[slice(None, None, s) for s in case.stride])] = x
    same(call(case, (spread, w, bias), stride=1), call(case, (x, w, bias)))


@brief
@given(cases(numeric=True, channels=("first",)))
def test_padding_crops_the_full_result(case):
    x, w, bias = case.operands()
    y, full = call(case, (x, w, bias)), call(case, (x, w, bias), padding="valid")
    rank = w.ndim - 2
    for axis, (before, after) in enumerate(case.padding):
        # Beyond the full result there is bias: what an empty sum leaves.
        edge = [max(0, -before), max(0, -after)]
        widths = [(0, 0)] * (full.ndim - rank + axis) + [tuple(edge)]
        widths += [(0, 0)] * (rank - axis - 1)
        full = np.pad(full, widths, constant_values=np.nan)
        at = full.ndim - rank + axis
        keep = range(max(0, before), full.shape[at] - max(0, after))
        full = full.take(keep, at)
    nothing = 0 if bias is None else bias.reshape(-1, *[1] * rank)
    same(y, np.where(np.isnan(full), nothing, full))


@brief
@given(cases(numeric=True))
def test_padding_dialects(case):
    operands = case.operands()
    plain = case.channel_axis is None
    rank = len(case.w) - (0 if plain else 2)
    last = case.channel_axis in (-1, len(case.x) - 1)
    x = case.x[:-1] if last else case.x
    geometry = list(
        zip(x[len(x) - rank :], case.w[len(case.w) - rank :], case.stride, case.dilation,
            strict=True)
    )
    full = [(i - 1) * s + d * (k - 1) + 1 for i, k, s, d in geometry]
    surplus = [f - i * s for f, (i, _, s, _) in zip(full, geometry, strict=True)]

    valid = call(case, operands, padding="valid")
    same(call(case, operands, padding=0), valid)
    same(call(case, operands, padding=[(0, 0)] * rank), valid)
    same(call(case, operands, padding="valid", output_size=full), valid)
    same(call(case, operands, padding=0, output_size=full), valid)

    # "same" by the formulas of TensorFlow and ONNX, in numbers.
    upper = [(max(t, 0) // 2, t - max(t, 0) // 2) for t in surplus]
    lower = [(-(-max(t, 0) // 2), t + (-max(t, 0) // 2)) for t in surplus]
    same(call(case, operands, padding="same"), call(case, operands, padding=upper))
    same(call(case, operands, padding="same_lower"), call(case, operands, padding=lower))

    # PyTorch's output_padding and a smaller crop at the end are the same thing.
    for extra in itertools.islice(itertools.product(*[range(max(s, d)) for *_, s, d in geometry]),
                                  6):
        less = [(b, a - e) for (b, a), e in zip(case.padding, extra, strict=True)]
        y = call(case, operands, output_padding=extra)
        same(y, call(case, operands, padding=less))
        sizes = [f - b - a for f, (b, a) in zip(full, less, strict=True)]
        same(y, call(case, operands, output_size=sizes))


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 6), st.floats(), st.text(max_size=3),
    st.sampled_from(("same", "SAME", "valid", b"same", (), [], [[]], {}, object(), 1j, 2**62, 2**63,
                     -(2**63), 2**200, np.int64(2), np.float64(2), np.array(2), np.array([1, 2]),
                     np.array([[1, 2]]), np.True_, (1, 2, 3, 4, 5), ((0, 1), (1, 0)), [(1, 2, 3)],
                     [None, None], [True, 1], range(2), Ellipsis)),
    st.lists(st.one_of(st.integers(-4, 5), st.tuples(st.integers(-4, 5), st.integers(-4, 5))),
             max_size=3),
)
NAMES = ("stride", "padding", "output_padding", "output_size", "dilation", "groups",
         "channel_axis")
DOCUMENTED = (TypeError, ValueError, MemoryError)


@thorough
@given(cases(), st.dictionaries(st.sampled_from(NAMES), JUNK, min_size=1, max_size=3))
def test_junk_geometry(case, junk):
    arguments = case.arguments | junk
    try:
        shape = fastconv.output_shape(case.x, case.w, **arguments)
    except DOCUMENTED as error:
        event(type(error).__name__)
        assert str(error)
        shape = None
    if shape is not None and math.prod(shape) > 1_000_000:
        return
    try:
        y = fastconv.conv_transpose(*case.operands(), **arguments)
    except DOCUMENTED as error:
        assert shape is None, error
        assert str(error)
    else:
        assert y.shape == shape


ARRAYS = st.one_of(
    JUNK,
    st.builds(
        np.zeros,
        st.lists(st.integers(0, 4), max_size=5).map(tuple),
        st.sampled_from(("f4", "c8", "i2", "?", "O", "U3", "S2", "M8[s]", "m8[D]", "V4", "f2", "g",
                         "f4,i4")),
    ),
)


@thorough
@given(cases(), st.dictionaries(st.sampled_from(("x", "w", "bias", "out")), ARRAYS, min_size=1),
       st.dictionaries(st.sampled_from(("method", "dtype", "workers")), JUNK))
def test_junk_operands(case, arrays, options):
    x, w, bias = case.operands()
    arrays = {"x": x, "w": w, "bias": bias} | arrays
    for name in ("x", "w"):
        if isinstance(arrays[name], np.ndarray) and arrays[name].size > 5000:
            return
    try:
        y = fastconv.conv_transpose(**arrays, **(case.arguments | options))
    except DOCUMENTED as error:
        event(type(error).__name__)
        assert str(error)
    else:
        assert isinstance(y, np.ndarray)
        shapes = [np.shape(arrays[name]) for name in ("x", "w")]
        assert y.shape == fastconv.output_shape(*shapes, **case.arguments)


def test_expected_and_drawn_agree():
    # The two ways to the wanted result in these tests and in the catalogue are one.
    case = Case("drawn", (2, 3, 5), (3, 4, 3), stride=2)
    for dtype in DTYPES:
        same(_wanted(case, dtype), expected(case, dtype))
