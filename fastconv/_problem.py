# cython: annotation_typing=False, boundscheck=True, wraparound=True
"""Every rule, every error text and every length of a transposed convolution.

:func:`make_problem` turns arguments into a frozen :class:`Problem`. Nothing below this module
checks an argument again, and nothing outside of it computes an output length. The file is plain
Python and is built as an extension too (`_problem.pxd`), because it is passed by every call.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

#: NumPy's arrays have at most 64 axes; two of them are batch and channels.
MAX_RANK = 62

MAX_LENGTH = sys.maxsize

#: The string forms of ``padding``.
PADDING_NAMES = ("valid", "same", "same_lower")


class Problem(NamedTuple):
    """A checked problem: shapes and geometry only, no arrays and no types.

    Per spatial axis the result is the window ``[crop, crop + out)`` of the full scatter
    ``full[i*stride + k*dilation] += x[i] * w[k]``.
    """

    batch: tuple[int, ...]
    groups: int
    c_in: int
    c_out: int
    spatial_in: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    crop: tuple[int, ...]
    spatial_out: tuple[int, ...]
    channels: str  # "first", "last" or "none"
    shape: tuple[int, ...]


def as_index(value: Any, name: str) -> int:
    """One integer, as `operator.index` takes it, but never a bool."""
    if type(value) is int:
        return value
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got the bool {value}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def is_sequence(value: Any) -> bool:
    """Whether `value` is an ordered collection: strings, bytes, sets and dicts are not."""
    if isinstance(value, (tuple, list)):
        return True
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _per_axis(value: Any, name: str, d: int, minimum: int) -> tuple[int, ...]:
    """An int for every axis or a sequence with one per axis, each at least `minimum`."""
    if type(value) is int:
        values = (value,) * d
    elif not is_sequence(value):
        values = (as_index(value, name),) * d
    else:
        if len(value) != d:
            raise ValueError(
                f"{name} has {len(value)} entries for {d} spatial axes: {value!r}"
            )
        values = tuple([v if type(v) is int else as_index(v, name) for v in value])
    for v in values:
        if v < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return values


def _padding_pairs(padding: Any, d: int) -> tuple[tuple[int, int], ...]:
    """The numeric forms of `padding` as one ``(before, after)`` pair per axis."""
    if not is_sequence(padding):
        p = as_index(padding, "padding")
        return ((p, p),) * d
    if len(padding) != d:
        raise ValueError(
            f"padding has {len(padding)} entries for {d} spatial axes: {padding!r}; "
            "a (before, after) pair stands inside the sequence, as in [(1, 2)]"
        )
    pairs = []
    for entry in padding:
        if type(entry) is int:
            pairs.append((entry, entry))
        elif is_sequence(entry):
            if len(entry) != 2:
                raise ValueError(
                    f"padding has an entry with {len(entry)} numbers, "
                    f"must be an integer or (before, after): {padding!r}"
                )
            pairs.append((as_index(entry[0], "padding"), as_index(entry[1], "padding")))
        else:
            p = as_index(entry, "padding")
            pairs.append((p, p))
    return tuple(pairs)


def _windows(
    full: list[int],
    spatial_in: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: Any,
    output_padding: Any,
    output_size: Any,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """``(crop, spatial_out)``: where the result lies in the full scatter, per axis."""
    d = len(full)
    if type(padding) is type(output_padding) is int and output_padding == 0 and output_size is None:
        cropped = tuple([f - 2 * padding for f in full])
        if min(cropped) >= 1:
            return (padding,) * d, cropped
    extra = _per_axis(output_padding, "output_padding", d, 0)
    size = None if output_size is None else _per_axis(output_size, "output_size", d, 1)
    if isinstance(padding, str):
        if padding not in PADDING_NAMES:
            raise ValueError(f"padding must be numbers or one of {PADDING_NAMES}, got {padding!r}")
        if any(extra):
            raise ValueError(
                f"output_padding={output_padding!r} cannot be combined with padding={padding!r}"
            )
        if padding == "valid":
            return (0,) * d, tuple(full) if size is None else size
        if size is None:
            size = tuple([spatial_in[a] * stride[a] for a in range(d)])
        odd_before = padding == "same_lower"
        return tuple([max(full[a] - size[a] + odd_before, 0) // 2 for a in range(d)]), size

    pairs = _padding_pairs(padding, d)
    crop = tuple([before for before, _ in pairs])
    natural = [full[a] - pairs[a][0] - pairs[a][1] for a in range(d)]
    if size is not None:
        if any(extra):
            raise ValueError(
                f"output_padding={output_padding!r} cannot be combined with "
                f"output_size={output_size!r}"
            )
        for a in range(d):
            low, high = natural[a], natural[a] + max(stride[a], dilation[a]) - 1
            if not low <= size[a] <= high:
                raise ValueError(
                    f"output_size={output_size!r} is out of reach on spatial axis {a}: "
                    f"{size[a]} is not between {low} and {high}"
                )
        return crop, size
    for a in range(d):
        if extra[a] >= max(stride[a], dilation[a]):
            raise ValueError(
                f"output_padding={output_padding!r} must be smaller than "
                f"max(stride, dilation) = {max(stride[a], dilation[a])} on spatial axis {a}"
            )
    size = tuple([natural[a] + extra[a] for a in range(d)])
    for a in range(d):
        if size[a] < 1:
            raise ValueError(
                f"padding={padding!r} leaves an output length of {size[a]} on spatial axis {a} "
                f"(the full length there is {full[a]})"
            )
    return crop, size


def make_problem(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    output_padding: Any,
    output_size: Any,
    dilation: Any,
    groups: Any,
    channel_axis: Any,
) -> Problem:
    """Check everything that shapes and geometry can get wrong and decide all lengths."""
    groups = as_index(groups, "groups")
    if groups < 1:
        raise ValueError(f"groups must be at least 1, got {groups}")
    if channel_axis is None:
        channels = "none"
        d = len(w_shape)
        if d < 1:
            raise ValueError("w must have at least one axis, got a 0-d array")
        if len(x_shape) < d:
            raise ValueError(
                f"x has {len(x_shape)} axes, fewer than the {d} spatial axes of w "
                f"(shapes {x_shape} and {w_shape}, channel_axis=None)"
            )
        if groups != 1:
            raise ValueError(f"groups must be 1 when channel_axis is None, got {groups}")
        split = len(x_shape) - d
        batch, spatial_in, kernel = x_shape[:split], x_shape[split:], w_shape
        c_in = c_out = 1
    else:
        d = len(w_shape) - 2
        if d < 1:
            raise ValueError(
                f"w must be (C_in, C_out // groups, *K) with at least one spatial axis, "
                f"got shape {w_shape}"
            )
        channel_axis = as_index(channel_axis, "channel_axis")
        ndim = len(x_shape)
        first = ndim - d - 1
        if first < 0:
            raise ValueError(
                f"x has {ndim} axes, but w with shape {w_shape} asks for {d} spatial axes "
                f"and a channel axis; got x of shape {x_shape}"
            )
        if channel_axis == first or channel_axis == -d - 1:
            channels = "first"
            batch, c_in, spatial_in = x_shape[:first], x_shape[first], x_shape[first + 1 :]
        elif channel_axis == -1 or channel_axis == ndim - 1:
            channels = "last"
            batch, c_in, spatial_in = x_shape[:first], x_shape[-1], x_shape[first:-1]
        else:
            raise ValueError(
                f"channel_axis={channel_axis} does not fit x.ndim={ndim} and "
                f"w.ndim={len(w_shape)}: use {first} or {-d - 1} (channels first) "
                f"or -1 (channels last)"
            )
        if c_in != w_shape[0]:
            raise ValueError(
                f"x has {c_in} channels on axis {channel_axis}, w has {w_shape[0]} on axis 0 "
                f"(shapes {x_shape} and {w_shape})"
            )
        if c_in % groups:
            raise ValueError(f"groups={groups} does not divide the {c_in} channels of x")
        c_out = w_shape[1] * groups
        kernel = w_shape[2:]
    if d > MAX_RANK:
        raise ValueError(f"w has {d} spatial axes, at most {MAX_RANK} are possible")
    if 0 in spatial_in:
        raise ValueError(
            f"x has length 0 on spatial axis {spatial_in.index(0)} (shape {x_shape})"
        )
    if 0 in kernel:
        raise ValueError(f"w has length 0 on spatial axis {kernel.index(0)} (shape {w_shape})")
    stride = _per_axis(stride, "stride", d, 1)
    dilation = _per_axis(dilation, "dilation", d, 1)
    full = [(spatial_in[a] - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + 1 for a in range(d)]
    crop, spatial_out = _windows(
        full, spatial_in, stride, dilation, padding, output_padding, output_size
    )
    for a in range(d):
        if full[a] + abs(crop[a]) + spatial_out[a] > MAX_LENGTH:
            raise ValueError(
                f"positions on spatial axis {a} do not fit in {MAX_LENGTH}: "
                f"length {spatial_in[a]}, kernel {kernel[a]}, stride {stride[a]}, "
                f"dilation {dilation[a]}, crop {crop[a]}, output {spatial_out[a]}"
            )
    if channels == "first":
        shape = (*batch, c_out, *spatial_out)
    elif channels == "last":
        shape = (*batch, *spatial_out, c_out)
    else:
        shape = batch + spatial_out
    # The class itself would be called through a Python function.
    return tuple.__new__(Problem, (
        batch, groups, c_in, c_out, spatial_in, kernel, stride, dilation, crop, spatial_out,
        channels, shape,
    ))
