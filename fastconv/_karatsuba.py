"""The karatsuba method: col2im with three products in the place of four, for even kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _col2im, _columns, _direct
from ._problem import Problem

#: Pixels of the three factors of an image, for which a block of columns has room, and bytes that
#: they may take beyond those of x and w.
MOST_ROWS = 2048
SLACK = 1 << 21

#: "auto" thinks of this method from this many input channels of a group on.
LEAST_DEPTH = 192

#: What it takes beside its products, in multiply-adds: on two weights, whose sum it makes and
#: copies, on an element of x, and on adding one column.
SPLITTING = 30
PAIRING = 180
ADDING = 30

#: Halves of kernels are told apart by runs of so many numbers at least.
RUN = 4


def refuses(problem: Problem, dtype: np.dtype) -> str | None:
    """Why this method cannot do a problem, or None."""
    reason = _col2im.refuses(problem, dtype)
    if reason is not None:
        return reason
    kernel, stride, n = problem.kernel[0], problem.stride[0], problem.spatial_in[0]
    if kernel != 2 * stride or problem.dilation[0] != 1:
        return (
            f"along the first axis the kernel must be twice as long as the stride, without "
            f"dilation; they are {kernel} and {stride}, dilation {problem.dilation[0]}"
        )
    if n < 2:
        return f"x must have two positions or more along the first axis, not {n}"
    columns = problem.c_out // problem.groups * math.prod(problem.kernel) // 2
    if columns < _col2im.LEAST_COLUMNS:
        return (
            f"half of the kernels of a group have {columns} columns (output channels x taps), "
            f"fewer than {_col2im.LEAST_COLUMNS}"
        )
    pixels = math.prod(problem.spatial_in)
    if _columns.count_rows(problem) > MOST_ROWS:
        return f"an image has too many pixels, {pixels}"
    if (more_numbers(problem) - 2 * columns) * problem.c_in * dtype.itemsize > SLACK:
        return (
            f"factors of {problem.c_in} channels of {pixels} pixels take too much memory "
            f"for {problem.c_out // problem.groups} output channels"
        )
    return None


def more_numbers(problem: Problem) -> int:
    """Numbers that the factors of one channel of an image are more than that channel."""
    return _columns.count_rows(problem) - math.prod(problem.spatial_in)


def work(problem: Problem, dtype: np.dtype) -> float | None:
    """What it takes, in multiply-adds; None where "auto" need not think of it."""
    if problem.c_in < LEAST_DEPTH * problem.groups:
        return None
    half = math.prod(problem.kernel) // 2
    images = math.prod(problem.batch)
    pixels = images * math.prod(problem.spatial_in)
    if pixels > _col2im.BATCH_PIXELS or half % RUN or refuses(problem, dtype) is not None:
        return None
    columns = problem.c_out * half
    factors = images * _columns.count_rows(problem)
    if factors > 2 * pixels:
        return None
    return (
        problem.c_in // problem.groups * columns
        * (_col2im.PRODUCT * factors + SPLITTING)
        + PAIRING * pixels * problem.c_in
        + ADDING * pixels * columns
    )


def explain(problem: Problem, dtype: np.dtype, workers: int) -> dict[str, Any]:
    """What `run` would do."""
    some = problem._replace(batch=(images_at_a_time(problem),))
    return _col2im.explain_columns(some, dtype, workers, True)


def run(
    problem: Problem,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    workers: int | None = None,
) -> None:
    """Write the transposed convolution of canonical arrays into `out`; see `_reference.run`."""
    step = images_at_a_time(problem)
    for first in range(0, len(x), step):
        some = x[first : first + step]
        if not _col2im.run_columns(
            problem._replace(batch=(len(some),)), some, w, bias, out[first : first + step],
            workers, True,
        ):
            # Inf or NaN in an operand, or a difference that overflowed: products one by one then,
            # so that they are where the definition has them.
            _direct.run_instead(problem, x, w, bias, out, workers)
            return


def images_at_a_time(problem: Problem) -> int:
    """All images, or where their factors would take more memory than x and w do, half of them."""
    images = math.prod(problem.batch)
    weights = problem.c_out // problem.groups * math.prod(problem.kernel)
    if images * more_numbers(problem) > weights:
        # Of two rows of an image there are twice as many numbers, of others fewer.
        images //= 2
    return max(1, images)
