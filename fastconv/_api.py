"""The public functions: arguments -> `Problem` -> method -> result."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _methods, _threads
from ._dtypes import bring, check_numeric, native
from ._problem import MAX_LENGTH, Problem, make_problem

PerAxis = SupportsIndex | Sequence[SupportsIndex]
Padding = (
    SupportsIndex
    | Sequence[SupportsIndex | tuple[SupportsIndex, SupportsIndex]]
    | Literal["valid", "same", "same_lower"]
)

#: Results from this size on are held against the machine's memory before they are allocated.
CHECKED_BYTES = 1 << 30


def output_shape(
    x_shape: Sequence[SupportsIndex],
    w_shape: Sequence[SupportsIndex],
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    output_size: PerAxis | None = None,
    dilation: PerAxis = 1,
    groups: SupportsIndex = 1,
    channel_axis: SupportsIndex | None = 1,
) -> tuple[int, ...]:
    """Shape of the result of `conv_transpose` for operands of the given shapes.

    Parameters
    ----------
    x_shape, w_shape : sequence of int
        Shapes of the operands, laid out as in `conv_transpose`.
    stride, padding, output_padding, output_size, dilation, groups, channel_axis
        As in `conv_transpose`.

    Returns
    -------
    tuple of int
        The full shape, batch and channel axes included.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose` would for these shapes.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.output_shape((1, 16, 32, 32), (16, 8, 4, 4), stride=2, padding=1)
    (1, 8, 64, 64)
    """
    return make_problem(
        _shape(x_shape, "x_shape"), _shape(w_shape, "w_shape"), stride, padding, output_padding,
        output_size, dilation, groups, channel_axis,
    ).shape


def _shape(shape: Sequence[SupportsIndex], name: str) -> tuple[int, ...]:
    """A shape argument as a tuple of non-negative integers."""
    from ._problem import as_index

    try:
        lengths = tuple([as_index(n, name) for n in shape])
    except TypeError:
        raise TypeError(f"{name} must be a sequence of integers, got {shape!r}") from None
    if min(lengths, default=0) < 0:
        raise ValueError(f"{name} must not have negative lengths, got {shape!r}")
    return lengths


def conv_transpose(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    output_size: PerAxis | None = None,
    dilation: PerAxis = 1,
    groups: SupportsIndex = 1,
    channel_axis: SupportsIndex | None = 1,
    method: str = "auto",
    dtype: DTypeLike | None = None,
    out: NDArray[Any] | None = None,
    workers: SupportsIndex | None = None,
) -> NDArray[Any]:
    """Multi-channel transposed convolution in any number of dimensions.

    DOCSTRING_PLACEHOLDER
    """
    x = np.asarray(x)
    w = np.asarray(w)
    check_numeric(x, "x")
    check_numeric(w, "w")
    problem = make_problem(
        x.shape, w.shape, stride, padding, output_padding, output_size, dilation, groups,
        channel_axis,
    )
    if bias is None:
        result = x.dtype if x.dtype is w.dtype else np.result_type(x, w)
    else:
        # A Python scalar stays weak in the promotion, as in a ufunc (NEP 50).
        weak = type(bias) in (int, float, complex)
        scalar, bias = bias, np.asarray(bias)
        check_numeric(bias, "bias")
        wanted = () if channel_axis is None else (problem.c_out,)
        if bias.shape != wanted:
            raise ValueError(
                f"bias must have shape {wanted} for {problem.c_out} output channels, "
                f"got {bias.shape}"
            )
        if x.dtype is w.dtype is bias.dtype:
            result = x.dtype
        else:
            result = np.result_type(x, w, scalar if weak else bias)
    result = native(result if dtype is None else dtype)
    row = _methods.choose(method, problem, result)
    threads = _threads.check_workers(workers)
    x = bring(x, result, "x")
    w = bring(w, result, "w")
    if bias is not None:
        bias = bring(bias.reshape(-1), result, "bias")

    if out is None:
        target = y = _empty(problem, result)
    else:
        target = y = _check_out(out, problem, result)
        if not _writable_in_place(out, result, x, w, bias):
            y = _empty(problem, result)
    canonical = _channels_first(y, problem)
    if not np.may_share_memory(canonical, y):
        y = _empty(problem, result)
        canonical = _channels_first(y, problem)
    if y.size:
        row.run(problem, _channels_first(x, problem), _weights(w, problem), bias, canonical, threads)
    if y is not target:
        np.copyto(target, y, casting="same_kind")
    return target


def _channels_first(array: NDArray[Any], problem: Problem) -> NDArray[Any]:
    """`array` as (n, channels, *spatial); a view except where batch axes cannot be merged."""
    n_batch = len(problem.batch)
    if problem.channels == "last":
        array = np.moveaxis(array, -1, n_batch)
    elif problem.channels == "none":
        array = array.reshape((*array.shape[:n_batch], 1, *array.shape[n_batch:]))
    if n_batch == 1:
        return array
    return array.reshape((math.prod(problem.batch), *array.shape[n_batch:]))


def _weights(w: NDArray[Any], problem: Problem) -> NDArray[Any]:
    """`w` as (c_in, c_out // groups, *kernel)."""
    return w[None, None] if problem.channels == "none" else w


def _empty(problem: Problem, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A fresh result, or a `MemoryError` that says how much it would take."""
    size = math.prod(problem.shape) * dtype.itemsize
    if size >= CHECKED_BYTES and size > min(_physical_memory(), MAX_LENGTH):
        raise MemoryError(
            f"the result of shape {problem.shape} and type {dtype} needs {size} bytes, "
            f"more than this machine's memory of {_physical_memory()}"
        )
    return np.empty(problem.shape, dtype)


def _physical_memory() -> int:
    """Bytes of memory of the machine, or the largest address where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return MAX_LENGTH


def _check_out(out: Any, problem: Problem, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`out`, if the result can be stored there."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != problem.shape:
        raise ValueError(f"out has shape {out.shape}, the result has {problem.shape}")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(
            f"out cannot take the result: casting {dtype} to {out.dtype} is not 'same_kind'"
        )
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out


def _writable_in_place(out: NDArray[Any], dtype: np.dtype[Any], *inputs: Any) -> bool:
    """Whether kernels may write `out` directly: right type, own memory, no element twice."""
    if out.dtype != dtype or not out.flags.aligned:
        return False
    if any(a is not None and np.may_share_memory(out, a) for a in inputs):
        return False
    if out.flags.c_contiguous:
        return True
    extent = out.itemsize
    for step, length in sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True)):
        if length > 1:
            if step < extent:
                return False
            extent += step * (length - 1)
    return True
