"""The winograd method: phases of two or three taps with fewer products, for many channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _direct, _isa, _points, _threads
from ._direct import bias_numbers
from ._dtypes import TYPES
from ._problem import Problem

#: "auto" thinks of this method from this many channels of a group on, of x and of the result ...
LEAST_CHANNELS = 32
LEAST_RESULTS = 8

#: ... and takes it where others, whose errors are smaller, are expected to take this much longer.
LEAST_GAIN = 1.05


def refuses(problem: Problem, dtype: np.dtype) -> str | None:
    """Why this method cannot do a problem, or None."""
    if dtype.char not in "fd":
        return f"it takes float32 and float64, not {dtype}"
    if len(problem.kernel) > 2:
        return f"it takes one or two spatial axes, not {len(problem.kernel)}"
    try:
        plan(problem, dtype, 1)
    except OverflowError as error:
        return str(error)
    return None


def work(problem: Problem, dtype: np.dtype) -> float | None:
    """What it takes, in multiply-adds; None where "auto" need not think of it."""
    if (
        dtype.char not in "fd"
        or len(problem.kernel) > 2
        or problem.c_in < LEAST_CHANNELS * problem.groups
        or problem.c_out < LEAST_RESULTS * problem.groups
    ):
        return None
    compute = TYPES[dtype.char].compute
    try:
        points = _points.Points(problem, compute, _isa.RECKONED // dtype.itemsize, 8, 1)
    except OverflowError:
        return None
    return points.work * LEAST_GAIN


def plan(problem: Problem, dtype: np.dtype, workers: int) -> _points.Points:
    """The plan for a problem with the active instruction set."""
    compute = TYPES[dtype.char].compute
    return _points.Points(problem, compute, *_isa.tiles[compute], workers)


def explain(problem: Problem, dtype: np.dtype, workers: int) -> dict[str, Any]:
    """What `run` would do."""
    points = plan(problem, dtype, workers)
    return {
        "workers": points.workers,
        "tasks": points.tasks,
        "phases": points.phases,
        "tile": points.tile,
        "lane_axis": points.lane_axis,
        "scratch_bytes": points.packed_bytes
        + points.shared_bytes
        + points.relaid_bytes
        + points.workers * points.worker_bytes,
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
    points = plan(problem, out.dtype, _threads.resolve(workers))
    numbers = bias_numbers(problem, bias, kind)
    if not _points.run(points, _isa.kernels, kind.code, x, w, numbers, out):
        # Inf or NaN in an operand, or a transform that overflowed: products one by one then, so
        # that they are where the definition has them.
        _direct.run_instead(problem, x, w, bias, out, workers)
