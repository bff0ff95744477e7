"""The planes method: products of every pixel with every tap, then overlap-add; for few columns.

Where a group has few output channels, phases by themselves leave tiles almost empty and read x
again for each tap. Here all taps of all output channels are the rows of one product, which reads x
once: a convolution with kernel 1, by the direct method. Some images, or some rows of one, are
computed at a time, so that planes stay in the caches.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple, cast

import numpy as np

from . import _direct, _isa, _overlap, _threads
from ._direct import bias_numbers
from ._dtypes import TYPES
from ._memory import KeptMemory
from ._plan import MOST_BYTES, SAFE_DILATION, multiply_adds
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

#: Fewer products are made before the threads are gathered.
LEAST_PRODUCTS = CALL // 4

#: Columns of a group at most.
MOST_COLUMNS = 256

#: Bytes of the planes that are made at a time, for each worker, and how many times as many rows of
#: an image as overlap with the next ones.
PLANES_BYTES = 1 << 21
LEAST_REACHES = 8

#: Numbers of the planes from which on several threads add them.
SHARED_NUMBERS = 1 << 14


class Block(NamedTuple):
    """What is computed at a time: images, and along the first axis rows of x and of the result."""

    images: slice
    samples: slice
    results: slice
    problem: Problem


def refuses(problem: Problem, dtype: np.dtype) -> str | None:
    """Why this method cannot do a problem, or None."""
    if dtype.char not in "fd":
        return f"it takes float32 and float64, not {dtype}"
    depth = problem.c_in // problem.groups
    columns = problem.c_out // problem.groups * math.prod(problem.kernel)
    if columns > min(depth, MOST_COLUMNS):
        return (
            f"a group has {columns} columns (output channels x taps), more than {MOST_COLUMNS} or "
            f"than its {depth} input channels"
        )
    if columns == 0:
        return "there are no output channels"
    spread = math.prod(
        step for step, taps in zip(problem.dilation, problem.kernel, strict=True) if taps > 1)
    if spread > SAFE_DILATION:
        return f"dilation {problem.dilation} is above {SAFE_DILATION}"
    try:
        axis = _overlap.gaps(problem)
    except OverflowError as error:
        return str(error)
    if axis >= 0:
        return f"there are gaps between the phases on spatial axis {axis}, or outside of them"
    return None


def planes_bytes(problem: Problem, images: int, samples: int, size: int) -> int:
    """Bytes of the planes of so many images and samples along the first axis."""
    columns = problem.c_out * math.prod(problem.kernel)
    return images * columns * samples * math.prod(problem.spatial_in[1:]) * size


def cut(problem: Problem, size: int, workers: int) -> tuple[int, int, int]:
    """Images, results and samples along the first axis of a block at most."""
    n, out, stride = problem.spatial_in[0], problem.spatial_out[0], problem.stride[0]
    reach = (problem.kernel[0] - 1) * problem.dilation[0]
    row = planes_bytes(problem, 1, 1, size)
    most = PLANES_BYTES * workers
    overlap = reach // stride + 1
    fitting = max(most // row, LEAST_REACHES * overlap)
    rows = out
    if fitting < n:
        # About as many of the result in each.
        rows = -(-out // -(-out // ((fitting - overlap) * stride)))
    images = min(math.prod(problem.batch), max(1, most // (n * row)))
    return images, rows, min(n, (rows - 1 + reach) // stride + 1)


def block_at(problem: Problem, image: int, images: int, at: int, rows: int) -> Block:
    """The block that begins with an image and a row of the result."""
    n, stride, crop = problem.spatial_in[0], problem.stride[0], problem.crop[0]
    images = min(images, math.prod(problem.batch) - image)
    stop = min(at + rows, problem.spatial_out[0])
    # Samples that reach some of these rows, and at least one.
    reach = (problem.kernel[0] - 1) * problem.dilation[0]
    low = min(max(0, -((reach - at - crop) // stride)), n - 1)
    high = max(low + 1, min((stop - 1 + crop) // stride + 1, n))
    part = problem._replace(
        batch=(images,),
        spatial_in=(high - low, *problem.spatial_in[1:]),
        spatial_out=(stop - at, *problem.spatial_out[1:]),
        crop=(crop + at - low * stride, *problem.crop[1:]),
    )
    return Block(slice(image, image + images), slice(low, high), slice(at, stop), part)


def products(problem: Problem, spatial: tuple[int, ...]) -> Problem:
    """The convolution whose output channels are the planes, of images of such axes."""
    columns = problem.c_out * math.prod(problem.kernel)
    ones = (1,) * len(spatial)
    return problem._replace(
        c_out=columns, spatial_in=spatial, kernel=ones, stride=ones, dilation=ones,
        crop=(0,) * len(ones), spatial_out=spatial, channels="first",
        shape=(*problem.batch, columns, *spatial),
    )


def merged(x: np.ndarray) -> np.ndarray:
    """The pixels of x as one axis, where they follow each other so."""
    for axis in range(2, x.ndim - 1):
        if x.strides[axis] != x.strides[axis + 1] * x.shape[axis + 1]:
            return x
    return x.reshape(*x.shape[:2], -1)


def work(problem: Problem, dtype: np.dtype) -> float | None:
    """What it takes, in multiply-adds; None where "auto" need not think of it."""
    if problem.c_out * problem.kernel[-1] > problem.c_in:
        # Most problems, and small ones are in a hurry.
        return None
    columns = problem.c_out // problem.groups * math.prod(problem.kernel)
    images = math.prod(problem.batch)
    pixels = images * math.prod(problem.spatial_in)
    if pixels * problem.c_in * columns < LEAST_PRODUCTS or refuses(problem, dtype) is not None:
        return None
    if 2 * multiply_adds(problem) < pixels * problem.c_in * columns:
        # It makes all products, also those that are cropped.
        return None
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
    """What `run` would do for C-contiguous arrays, with a block from the middle."""
    size = dtype.itemsize
    images, rows, samples = cut(problem, size, workers)
    middle = problem.spatial_out[0] // rows // 2 * rows
    part = block_at(problem, 0, images, middle, rows).problem
    first = products(part, (math.prod(part.spatial_in),))
    figures = _direct.explain(first, dtype, workers)
    tasks, worker_bytes = _overlap.count_tasks(part, size)
    adding = min(add_workers(part, workers), max(tasks, 1)) * worker_bytes
    figures["scratch_bytes"] = (
        planes_bytes(problem, images, samples, size) + max(figures["scratch_bytes"], adding))
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
    threads = _threads.resolve(workers)
    images, rows, samples = cut(problem, dtype.itemsize, threads)
    bytes = planes_bytes(problem, images, samples, dtype.itemsize)
    if bytes > MOST_BYTES:
        raise MemoryError(f"no memory for scratch of {bytes} bytes")
    memory = KeptMemory(bytes, planes=True)
    numbers = bias_numbers(problem, bias, kind)
    for image, at in product(range(0, len(x), images), range(0, problem.spatial_out[0], rows)):
        block = block_at(problem, image, images, at, rows)
        try:
            run_block(block, x, w, numbers, out, memory, threads)
        except MemoryError:
            if image == at == 0:
                raise
            # Results have been written.
            _direct.run_instead(problem, x, w, bias, out, workers)
            return


def run_block(
    block: Block,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    out: np.ndarray,
    memory: KeptMemory,
    workers: int,
) -> None:
    """Make the planes of a block and add them."""
    dtype, kind, part = out.dtype, TYPES[out.dtype.char], block.problem
    x = merged(x[block.images, :, block.samples])
    first = products(part, x.shape[2:])
    planes = np.ndarray(first.shape, dtype, cast(Any, memory))
    w = w.reshape(part.c_in, first.c_out // part.groups, *first.kernel)
    _direct.run(first, x, w, None, planes, workers)
    _overlap.run(
        part, _isa.kernels, kind.code, kind.compute,
        planes.reshape(*planes.shape[:2], *part.spatial_in), bias,
        out[block.images, :, block.results], add_workers(part, workers),
    )
