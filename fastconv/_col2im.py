"""The col2im method: for few pixels and many weights, which are read once and never packed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _columns, _isa, _threads, _winograd
from ._direct import COMPUTE, bias_numbers
from ._dtypes import TYPES
from ._plan import lane_products
from ._problem import Problem

#: A tile's lanes must fit into the columns of a group on every instruction set.
LEAST_COLUMNS = 16

#: "auto" takes this method up to this many pixels, of one image and of several, and from more than
#: so many on only where minimal filtering does not suit.
MOST_PIXELS = 768
BATCH_PIXELS = 1024
FILTERED_PIXELS = 128

#: What the direct method spends on packing a weight, once for all pixels, in multiply-adds, ...
PACKING = 46

#: ... and what this method spends on a pixel and column: adding it to what is in the result, and
#: the share by which its products are slower than the direct method's, which reads packed weights
#: again and again where taps overlap. It makes products that are cropped as well. A fit to timings
#: of both methods, 16 to 1200 pixels of one to 40 images, 64 to 1024 input channels, on one thread
#: and two, ...
ADDED = (15, -0.07)

#: ... where no two taps meet, and columns are stored or added to nothing but the bias, ...
APART = (12, -0.03)

#: ... and of columns that are no neighbours in the result, with one tap along the last axis.
SINGLE = (36, 0.1)

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


def suits(problem: Problem, dtype: np.dtype) -> bool:
    """Whether "auto" takes this row when it is reached."""
    weights = problem.c_in * (problem.c_out // problem.groups) * math.prod(problem.kernel)
    depth = problem.c_in // problem.groups
    if weights < LEAST_WEIGHTS or depth < LEAST_DEPTH:
        return False
    images = math.prod(problem.batch)
    pixels = images * math.prod(problem.spatial_in)
    if pixels > (MOST_PIXELS if images == 1 else BATCH_PIXELS):
        return False
    if problem.kernel[-1] == 1:
        scatter, slower = SINGLE
    elif all(k <= s for k, s in zip(problem.kernel, problem.stride, strict=True)):
        scatter, slower = APART
    else:
        scatter, slower = ADDED
    taps = pixels * math.prod(problem.kernel)
    made = lane_products(problem, _isa.WIDEST // dtype.itemsize) / taps
    lost = scatter + (1 - made + slower) * depth
    return pixels * lost <= PACKING * depth and (
        pixels <= FILTERED_PIXELS or not _winograd.suits(problem, dtype)
    )


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
