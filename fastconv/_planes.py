"""The planes method: products of every pixel with every tap, then overlap-add; for few columns.

Where a group has few output channels, phases by themselves leave tiles almost empty and read x
again for each tap. Here all taps of all output channels are the rows of one product, which reads x
once: a convolution with kernel 1, by the direct method.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from . import _direct, _isa, _overlap, _threads
from ._dtypes import TYPES
from ._memory import PlanesMemory
from ._plan import SAFE_DILATION
from ._problem import Problem

#: What it takes, in multiply-adds: a call, whose threads are gathered twice, a product, also of
#: rows of a tile that are left over, by how many there are of the last eight, ...
CALL = 600_000
PRODUCT = 1.1
LEFT_OVER = (0, 2.5, 3, 5.5, 4.3, 6.8, 7.3, 9.8)

#: ... an element of x, a number of a plane, a row of one that is added, and a result.
READING = 8
PLANE = 10
ROW = 400
RESULT = 25

#: Numbers of the planes from which on several threads add them.
SHARED_NUMBERS = 1 << 14

#: Bytes of x from which on not all images are computed at a time: planes and a copy of x may be as
#: large as x each, and together no more is promised.
SLACK = 1 << 21


def refuses(problem: Problem, dtype: np.dtype) -> str | None:
    """Why this method cannot do a problem, or None."""
    if dtype.char not in "fd":
        return f"it takes float32 and float64, not {dtype}"
    depth = problem.c_in // problem.groups
    columns = problem.c_out // problem.groups * math.prod(problem.kernel)
    if columns > depth:
        return f"a group has {columns} columns (output channels x taps) and {depth} input channels"
    if columns == 0:
        return "there are no output channels"
    if math.prod(problem.dilation) > SAFE_DILATION:
        return f"dilation {problem.dilation} is above {SAFE_DILATION}"
    try:
        axis = _overlap.gaps(problem)
    except OverflowError as error:
        return str(error)
    if axis >= 0:
        return f"there are gaps between the phases on spatial axis {axis}, or outside of them"
    return None


def image_block(problem: Problem, size: int) -> int:
    """Images that are computed at a time."""
    images = math.prod(problem.batch)
    if images * problem.c_in * math.prod(problem.spatial_in) * size <= SLACK:
        return images
    return max(1, images // 2)


def products(problem: Problem, images: int, spatial: tuple[int, ...]) -> Problem:
    """The convolution whose output channels are the planes, of so many images of such axes."""
    columns = problem.c_out * math.prod(problem.kernel)
    ones = (1,) * len(spatial)
    return problem._replace(
        batch=(images,), c_out=columns, spatial_in=spatial, kernel=ones, stride=ones,
        dilation=ones, crop=(0,) * len(ones), spatial_out=spatial, channels="first",
        shape=(images, columns, *spatial),
    )


def merged(x: np.ndarray) -> np.ndarray:
    """The pixels of x as one axis, where they follow each other so."""
    for axis in range(2, x.ndim - 1):
        if x.strides[axis] != x.strides[axis + 1] * x.shape[axis + 1]:
            return x
    return x.reshape(*x.shape[:2], -1)


def work(problem: Problem, dtype: np.dtype) -> float | None:
    """What it takes, in multiply-adds; None where "auto" need not think of it."""
    if refuses(problem, dtype) is not None:
        return None
    columns = problem.c_out // problem.groups * math.prod(problem.kernel)
    images = math.prod(problem.batch)
    pixels = images * math.prod(problem.spatial_in)
    rows = images * problem.c_out * problem.kernel[-1] * math.prod(
        out * -(-k // s) for out, k, s in zip(
            problem.spatial_out[:-1], problem.kernel[:-1], problem.stride[:-1], strict=True))
    return (
        CALL
        + pixels * problem.c_in * (
            PRODUCT * (columns - columns % 8 + LEFT_OVER[columns % 8]) + READING)
        + PLANE * pixels * problem.groups * columns
        + ROW * rows
        + RESULT * images * problem.c_out * math.prod(problem.spatial_out)
    )


def add_workers(problem: Problem, workers: int) -> int:
    """Threads that add planes."""
    numbers = math.prod(problem.batch) * problem.c_out * math.prod(problem.kernel)
    return workers if numbers * math.prod(problem.spatial_in) >= SHARED_NUMBERS else 1


def explain(problem: Problem, dtype: np.dtype, workers: int) -> dict[str, Any]:
    """What `run` would do for C-contiguous arrays."""
    size = dtype.itemsize
    images = image_block(problem, size)
    first = products(problem, images, (math.prod(problem.spatial_in),))
    figures = _direct.explain(first, dtype, workers)
    problem = problem._replace(batch=(images,))
    tasks, worker_bytes = _overlap.count_tasks(problem, size)
    adding = min(add_workers(problem, workers), max(tasks, 1)) * worker_bytes
    figures["scratch_bytes"] = (
        math.prod(first.shape) * size + max(figures["scratch_bytes"], adding))
    return figures


def run(
    problem: Problem,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    workers: int | None = None,
) -> None:
    """Write the transposed convolution of canonical arrays into `out`; see `_reference.run`."""
    dtype, kind = out.dtype, TYPES[out.dtype.char]
    block = image_block(problem, dtype.itemsize)
    x = merged(x)
    shape = products(problem, block, x.shape[2:]).shape
    memory = PlanesMemory(math.prod(shape) * dtype.itemsize)
    numbers = np.ndarray(shape, dtype, cast(Any, memory))
    taps = math.prod(problem.kernel)
    w = np.ascontiguousarray(w).reshape(
        problem.c_in, problem.c_out // problem.groups * taps, *(1,) * len(shape[2:]))
    bias = _direct.bias_numbers(problem, bias, kind)
    for at in range(0, len(x), block):
        images = x[at : at + block]
        planes = numbers[: len(images)]
        _direct.run(
            products(problem, len(images), x.shape[2:]), images, w, None, planes, workers)
        part = problem._replace(batch=(len(images),))
        _overlap.run(
            part, _isa.kernels, kind.code, kind.compute,
            planes.reshape(*planes.shape[:2], *problem.spatial_in), bias, out[at : at + block],
            add_workers(part, _threads.resolve(workers)),
        )
