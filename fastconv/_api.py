# cython: embedsignature=False, annotation_typing=False
"""The public functions: arguments -> `Problem` -> method -> result."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, cast

import numpy as np

from . import _isa, _methods, _threads
from ._dtypes import as_numeric, bring, bring_scalar, native
from ._memory import KeptMemory, large_result
from ._plan import multiply_adds
from ._problem import MAX_LENGTH, Problem, as_index, make_problem

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

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


def explain(
    x_shape: Sequence[SupportsIndex],
    w_shape: Sequence[SupportsIndex],
    dtype: DTypeLike = np.float32,
    *,
    method: str = "auto",
    workers: SupportsIndex | None = None,
    channel_axis: SupportsIndex | None = 1,
    **geometry: Any,
) -> dict[str, Any]:
    """What `conv_transpose` would do for C-contiguous operands of these shapes.

    Returns
    -------
    dict
        ``method``, ``isa``, ``workers`` (None where the method plans its own), ``flops`` (two for
        each product that reaches the result; eight for complex), ``bytes`` (x, w and the result
        once each), and where the method plans them ``phases``, ``tile``, ``tasks``, ``lane_axis``
        and ``scratch_bytes``.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose` would for such arrays, or because there are none.
    MemoryError
        If the direct method's copies would not fit into any memory.
    """
    arguments = {
        "stride": 1, "padding": 0, "output_padding": 0, "output_size": None, "dilation": 1,
        "groups": 1, **geometry,
    }
    x_lengths, w_lengths = _shape(x_shape, "x_shape"), _shape(w_shape, "w_shape")
    problem = make_problem(x_lengths, w_lengths, **arguments, channel_axis=channel_axis)
    kind = native(dtype)
    count = 0
    for name, lengths in (("x", x_lengths), ("w", w_lengths), ("result", problem.shape)):
        numbers = math.prod(lengths)
        # NumPy takes no longer axes beside one of length 0 either.
        if math.prod([max(n, 1) for n in lengths]) * kind.itemsize > MAX_LENGTH:
            raise ValueError(
                f"a {name} of shape {lengths} and type {kind} is more than NumPy can address")
        count += numbers
    row = _methods.choose(method, problem, kind)
    told: dict[str, Any] = {
        "method": _methods.name(row),
        "isa": _isa.active,
        "flops": (8 if kind.kind == "c" else 2) * multiply_adds(problem),
        "bytes": kind.itemsize * count,
    }
    threads = _threads.resolve(_threads.check_workers(workers))
    told.update(row.explain(problem, kind, threads))
    return told


def _shape(shape: Sequence[SupportsIndex], name: str) -> tuple[int, ...]:
    """A shape argument as a tuple of non-negative integers."""
    try:
        lengths = tuple([n if type(n) is int else as_index(n, name) for n in shape])
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

    Each input element is multiplied by the whole kernel and added to the result, `stride` apart:
    ``y[o] += x[i] * w[k]`` for ``o = i*stride + k*dilation - crop``. This is the adjoint of a
    strided cross-correlation, also called deconvolution or fractionally strided convolution. The
    kernel is not flipped.

    Parameters
    ----------
    x : array_like, ``(*batch, C_in, *S)`` or ``(*batch, *S, C_in)``
        Input. `S` are the ``d = w.ndim - 2`` spatial lengths, each at least 1; `batch` is any
        number of axes, also none. Any strides, alignment and byte order; never written.
    w : array_like, ``(C_in, C_out // groups, *K)``
        Kernel, in this order whatever `channel_axis` is. A transposed view of another layout
        is as good, but copied where there are few pixels and many weights.
    bias : array_like, ``(C_out,)``, optional
        Added to each output channel; a scalar where `channel_axis` is None.
    stride, dilation : int or sequence of int, default 1
        At least 1; one number, or one per spatial axis.
    padding : int, sequence, or {"valid", "same", "same_lower"}, default 0
        What is cropped from the full result. A number is cropped from both ends of an axis; a
        sequence has one entry per axis, an int or a ``(before, after)`` pair. Negative numbers
        grow the result by zeros (plus bias). ``"valid"`` crops nothing. ``"same"`` gives
        ``I*stride`` samples and crops ``floor(t/2)`` of the ``t = full - I*stride`` superfluous
        ones before, the rest after; ``"same_lower"`` crops ``ceil(t/2)`` before. Missing samples
        (``t < 0``) are zeros at the end.
    output_padding : int or sequence of int, default 0
        Extra samples at the end, less than ``max(stride, dilation)``. Only with a numeric
        `padding` and without `output_size`.
    output_size : int or sequence of int, optional
        The spatial lengths of the result. With a numeric `padding` the crop before is fixed and
        the end reaches the size, which `output_padding` must be able to express; with a string
        any length is possible and the string's rule splits the crop.
    groups : int, default 1
        Output channels ``g*C_out/groups + j`` see only the input channels of group ``g``.
    channel_axis : int or None, default 1
        Where the channels of `x` and of the result are: right before the spatial axes (0 without
        batch axes, 1 with one, ..., ``-(d+1)`` with any number) or last (-1). None: no channels,
        `x` is ``(*batch, *S)`` and `w` is ``(*K)``.
    method : {"auto", "direct", "col2im", "karatsuba", "planes", "winograd", "reference"}
        Default "auto".
        How to compute. "auto" chooses by shapes and types alone; only where operands hold Inf or
        NaN, or where a transform overflows, it computes by another method than the one it chose.
        In float32 and float64 "winograd" takes fewer products for one or two spatial axes, and
        "karatsuba" for kernels twice as long as the stride, their error being that of their
        transforms; "planes" is for few output channels and many input channels.
    dtype : data-type, optional
        Type of the computation and of the result; `numpy.result_type` of the operands if not
        given. Operands are cast with casting ``"same_kind"``.
    out : ndarray, optional
        Where to store the result: an array of exactly its shape, with any strides, whose type it
        can be cast to with casting ``"same_kind"``. It may overlap the operands.
    workers : int, optional
        Most threads to use. None is what the process may use (affinity, CPU quota,
        ``OMP_NUM_THREADS``); negative numbers count from there, -1 being all of them.

    Returns
    -------
    ndarray
        ``(*batch, C_out, *O)`` or ``(*batch, *O, C_out)``: `out`, or a new C-contiguous array.
        Per axis ``full = (I-1)*stride + dilation*(K-1) + 1`` and
        ``O = full - before - after + output_padding``.

    Raises
    ------
    TypeError
        If an argument has a wrong type: an operand that is not numeric, a bool or a float for an
        integer, a type that cannot be cast.
    ValueError
        If shapes or numbers clash, if a forced `method` cannot do the problem, or if it is
        "winograd" or "karatsuba" and an operand holds Inf or NaN.
    MemoryError
        If the result does not fit into memory; nothing has been written then.

    See Also
    --------
    output_shape : The shape of the result alone.

    Notes
    -----
    float16 is accumulated in float32 and rounded once. Integers are computed exactly modulo
    ``2**64`` and cast to the result type. longdouble takes the reference method, which is slow.
    On one machine and instruction set the result has the same bits for any number of workers,
    any position in the batch and any memory layout. NaN and Inf appear exactly where the
    products above put them. Phases of two or three taps with many channels are computed by
    minimal filtering algorithms [2]_.

    The operator and its lengths are those of [1]_, section 4.

    References
    ----------
    .. [1] V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning",
       arXiv:1603.07285, 2016.
    .. [2] A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks",
       arXiv:1509.09308, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv
    >>> x = np.array([[0.0, 1.0], [2.0, 3.0]])
    >>> k = np.array([[4.0, 1.0], [2.0, 3.0]])
    >>> fastconv.conv_transpose(x, k, channel_axis=None)
    array([[ 0.,  4.,  1.],
           [ 8., 16.,  6.],
           [ 4., 12.,  9.]])

    A decoder layer that doubles a map of 16 channels:

    >>> x = np.ones((1, 16, 32, 32), np.float32)
    >>> w = np.ones((16, 8, 4, 4), np.float32)
    >>> fastconv.conv_transpose(x, w, stride=2, padding=1).shape
    (1, 8, 64, 64)
    """
    x = as_numeric(x, "x")
    w = as_numeric(w, "w")
    problem = make_problem(
        x.shape, w.shape, stride, padding, output_padding, output_size, dilation, groups,
        channel_axis,
    )
    if bias is None:
        result = x.dtype if x.dtype is w.dtype else np.result_type(x, w)
    else:
        if type(bias) not in (int, float, complex):
            bias = as_numeric(bias, "bias")
        shape = bias.shape if isinstance(bias, np.ndarray) else ()
        wanted = () if channel_axis is None else (problem.c_out,)
        if shape != wanted:
            raise ValueError(
                f"bias must have shape {wanted} for {problem.c_out} output channels, got {shape}"
            )
        if x.dtype is w.dtype is getattr(bias, "dtype", None):
            result = x.dtype
        else:
            result = np.result_type(x, w, bias)
    result = native(result if dtype is None else dtype)
    row = _methods.choose(method, problem, result)
    threads = _threads.check_workers(workers)
    x = bring(x, result, "x")
    w = bring(w, result, "w")
    if bias is not None:
        if isinstance(bias, np.ndarray):
            bias = bring(bias, result, "bias")
        else:
            bias = bring_scalar(cast(complex, bias), result, "bias")
        bias = bias.reshape(-1)
    _methods.check(method, row, x, w, bias)

    if out is None:
        target = y = _empty(problem, result)
    else:
        target = y = np.asarray(_check_out(out, problem, result))
        if not _writable_in_place(out, result, x, w, bias):
            y = _empty(problem, result)
    canonical = _channels_first(y, problem)
    if len(problem.batch) != 1 and out is not None and not np.may_share_memory(canonical, y):
        y = _empty(problem, result)
        canonical = _channels_first(y, problem)
    if y.size:
        row.run(
            problem, _channels_first(x, problem), _weights(w, problem), bias, canonical, threads
        )
    if y is not target:
        with np.errstate(all="ignore"):
            np.copyto(target, y, casting="same_kind")
    return target if out is None else out


def _channels_first(array: NDArray[Any], problem: Problem) -> NDArray[Any]:
    """`array` as (n, channels, *spatial); a view except where batch axes cannot be merged."""
    n_batch = len(problem.batch)
    if problem.channels == "last":
        array = array.transpose(*range(n_batch), -1, *range(n_batch, array.ndim - 1))
    elif problem.channels == "none":
        # At once: NumPy's arrays may have no room for one more axis.
        return array.reshape((math.prod(problem.batch), 1, *array.shape[n_batch:]))
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
    try:
        if size >= large_result:
            return np.ndarray(problem.shape, dtype, cast(Any, KeptMemory(size)))
        return np.empty(problem.shape, dtype)
    except ValueError:
        raise ValueError(
            f"a result of shape {problem.shape} and type {dtype} is more than NumPy can address"
        ) from None


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
