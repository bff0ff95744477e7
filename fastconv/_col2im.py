"""The col2im method: for few pixels and many weights, which are read once and never packed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _columns, _isa, _threads
from ._direct import COMPUTE, bias_numbers
from ._dtypes import TYPES
from ._problem import Problem

#: A tile's lanes must fit into the columns of a group on every instruction set.
LEAST_COLUMNS = 16

#: "auto" thinks of this method up to this many pixels, of one image and of several.
MOST_PIXELS = 768
BATCH_PIXELS = 1024

#: What it takes, in multiply-adds: on a product, also of those that are cropped, ...
PRODUCT = 1.05

#: ... on an element of x, which is copied, ...
COPYING = 20

#: ... on adding a pixel and column to what is in the result, ...
ADDED = 25

#: ... where no two taps meet, and columns are stored or added to nothing but the bias, ...
APART = 15

#: ... and of columns that are no neighbours in the result, with one tap along the last axis.
SINGLE = 70

#: Fewer weights than this are packed in no time, and sums of fewer products are made in less than
#: their columns take to be scattered.
LEAST_WEIGHTS = 1 << 14
LEAST_DEPTH = 32


def refuses(problem: Problem, dtype: np.dtype) -> str | None:
    """Why this method cannot do a problem, or None."""
    if dtype.char not in "fd":
        return f"it takes float32 and float64, not {dtype}"
    columns = problem.c_out // problem.groups * math.prod(problem.kernel)
    if columns < LEAST_COLUMNS:
        return f"a group has {columns} columns (output channels x taps), fewer than {LEAST_COLUMNS}"
    if problem.c_in == 0:
        return "there are no input channels"
    return None


def work(problem: Problem, dtype: np.dtype) -> float | None:
    """What it takes, in multiply-adds; None where "auto" need not think of it."""
    columns = problem.c_out * math.prod(problem.kernel)
    depth = problem.c_in // problem.groups
    if depth * columns < LEAST_WEIGHTS or depth < LEAST_DEPTH:
        return None
    images = math.prod(problem.batch)
    pixels = images * math.prod(problem.spatial_in)
    if pixels > (MOST_PIXELS if images == 1 else BATCH_PIXELS):
        return None
    if refuses(problem, dtype) is not None:
        return None
    scatter = ADDED
    if problem.kernel[-1] == 1:
        scatter = SINGLE
    elif all(k <= s for k, s in zip(problem.kernel, problem.stride, strict=True)):
        scatter = APART
    return pixels * (columns * (PRODUCT * depth + scatter) + COPYING * problem.c_in)


def explain(problem: Problem, dtype: np.dtype, workers: int) -> dict[str, Any]:
    """What `run` would do."""
    return explain_columns(problem, dtype, workers, False)


def explain_columns(
    problem: Problem, dtype: np.dtype, workers: int, karatsuba: bool
) -> dict[str, Any]:
    """The figures of a method on columns of raw weights."""
    size = COMPUTE[TYPES[dtype.char].compute].itemsize
    tile = _isa.tiles[TYPES[dtype.char].compute]
    images = math.prod(problem.batch)
    tasks = _columns.count_tasks(problem, workers, tile[0], karatsuba)
    used = min(workers, tasks)
    return {
        "workers": used,
        "tasks": tasks,
        "tile": (tile[1], 3 * tile[0]),
        "scratch_bytes": _columns.panel_bytes(problem, images, size, karatsuba)
        + used * _columns.worker_bytes(problem, images, workers, tile[0], size, karatsuba),
    }


def run(
    problem: Problem,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    workers: int | None = None,
) -> None:
    """Write the transposed convolution of canonical arrays into `out`; see `_reference.run`."""
    run_columns(problem, x, w, bias, out, workers, False)


def run_columns(
    problem: Problem,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    workers: int | None,
    karatsuba: bool,
) -> bool:
    """Compute by columns of raw weights; False if `out` may be wrong, see `_columns.run`."""
    kind = TYPES[out.dtype.char]
    return _columns.run(
        problem, _isa.kernels, kind.code, kind.compute, _isa.tiles[kind.compute], x,
        np.ascontiguousarray(w), bias_numbers(problem, bias, kind), out, _threads.resolve(workers),
        karatsuba,
    )
