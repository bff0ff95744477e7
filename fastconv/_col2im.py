"""The col2im method: for few pixels and many weights, which are read once and never packed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _columns, _isa, _runtime, _threads
from ._direct import COMPUTE, LINE, bias_numbers
from ._dtypes import TYPES
from ._problem import Problem

#: A tile's lanes must fit into the columns of a group on every instruction set.
LEAST_COLUMNS = 16

#: "auto" takes this method up to this many pixels ...
MOST_PIXELS = 64

#: ... and from this many weights on, where packing them would cost more than it gains.
LEAST_WEIGHTS = 1 << 18


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
    pixels = math.prod(problem.batch) * math.prod(problem.spatial_in)
    weights = problem.c_in * (problem.c_out // problem.groups) * math.prod(problem.kernel)
    return pixels <= MOST_PIXELS and weights >= LEAST_WEIGHTS


def explain(problem: Problem, dtype: np.dtype, workers: int) -> dict[str, Any]:
    """What `run` would do."""
    size = COMPUTE[TYPES[dtype.char].compute].itemsize
    tile = _runtime.tile_of(_isa.kernels, TYPES[dtype.char].compute)
    _, tasks = _columns.tasks(problem, workers)
    workers = min(workers, tasks)
    return {
        "workers": workers,
        "tasks": tasks,
        "tile": (tile[1], 3 * tile[0]),
        "scratch_bytes": _columns.panel_bytes(problem, math.prod(problem.batch), size)
        + workers * _columns.worker_bytes(problem, tile[0], size),
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
    kind = TYPES[out.dtype.char]
    size = COMPUTE[kind.compute].itemsize
    tile = _runtime.tile_of(_isa.kernels, kind.compute)
    threads = _threads.resolve(workers)
    slice_, tasks = _columns.tasks(problem, threads)
    threads = min(threads, tasks)
    panels = np.empty(_columns.panel_bytes(problem, x.shape[0], size) + LINE, np.uint8)
    scratch = np.empty(threads * _columns.worker_bytes(problem, tile[0], size) + LINE, np.uint8)
    _columns.run(
        problem, _isa.kernels, kind.code, kind.compute, tile, x, np.ascontiguousarray(w),
        bias_numbers(problem, bias, kind), out, panels, scratch, slice_, threads,
    )
