"""The winograd method: phases of two or three taps with fewer products, for many channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _direct, _isa, _points, _threads
from ._direct import bias_numbers
from ._dtypes import TYPES
from ._plan import multiply_adds
from ._problem import Problem

#: "auto" takes this method from this many channels of a group on, of x and of the result ...
LEAST_CHANNELS = 32
LEAST_RESULTS = 8

#: ... and where the direct method is expected to take this much longer: the estimate was up to a
#: sixth too good in the timings that it was fitted to where lanes are tiles, hardly where they are
#: images. In multiply-adds of one core, direct takes its products, and for each element of x and
#: of the result and for each weight that it packs as many more; what this method takes beyond
#: packing, `_points` knows.
LEAST_GAIN = {"tiles": 1.2, "batch": 1.05}
PIXEL_WORK = 14
WEIGHT_WORK = 60


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


def suits(problem: Problem, dtype: np.dtype) -> bool:
    """Whether "auto" takes this row when it is reached."""
    if (
        dtype.char not in "fd"
        or len(problem.kernel) > 2
        or problem.c_in < LEAST_CHANNELS * problem.groups
        or problem.c_out < LEAST_RESULTS * problem.groups
    ):
        return False
    compute = TYPES[dtype.char].compute
    try:
        # On every instruction set the same choice: that of the widest.
        points = _points.Points(problem, compute, _isa.WIDEST // dtype.itemsize, 8, 1)
    except OverflowError:
        return False
    pixels = math.prod(problem.batch) * (
        problem.c_in * math.prod(problem.spatial_in)
        + problem.c_out * math.prod(problem.spatial_out)
    )
    weights = problem.c_in * (problem.c_out // problem.groups) * math.prod(problem.kernel)
    direct = multiply_adds(problem) + PIXEL_WORK * pixels
    packing = WEIGHT_WORK * weights
    return (points.work + packing) * LEAST_GAIN[points.lane_axis] <= direct + packing


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
