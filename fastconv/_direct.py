"""The direct method: phases as matrix products in registers. The general path of the package."""

from __future__ import annotations

import math
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from . import _execute, _isa, _reference
from ._dtypes import TYPES, Type
from ._fold import fold, fold_result, fold_strides, fold_weights
from ._plan import SAFE_DILATION, SAFE_TAPS, Plan, lane_products, multiply_adds
from ._problem import Problem

#: What numbers are computed in, by `Type.compute`.
COMPUTE = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.uint64))

#: What it takes beside its products, in multiply-adds of one core: on an element of x or of the
#: result, and on a weight that it packs. These and the constants of the other methods are fitted
#: together (docs/performance-notes.md, where raw weights win).
NUMBER_WORK = 10
WEIGHT_WORK = 60

#: Rows are the phases of the last axis of all output channels of a group. Where they are few, an
#: element of x takes as much for each time that a task reads it again, for taps that reach back to
#: it, and products take longer in a tile of so few rows.
FEW_ROWS = 16
AGAIN_WORK = 8
ROW_WORK = {1: 2.0, 2: 1.5, 3: 1.5}

#: Multiply-adds from which a copy of the weights and another plan are worth it, see `_fold.py`.
FOLD_WORK = 1 << 21


def refuses(problem: Problem, dtype: np.dtype) -> str | None:
    """Why this method cannot do a problem, or None."""
    if dtype.char not in TYPES:
        return f"there are no kernels for {dtype}"
    # Up to so many taps of a kernel, and this dilation, there always is a plan.
    if math.prod(problem.kernel) > SAFE_TAPS or math.prod(problem.dilation) > SAFE_DILATION:
        try:
            explain(problem, dtype, 1)
        except OverflowError as error:
            return str(error)
        except MemoryError:
            # No matter of the method: what does not fit is said when memory is asked for.
            return None
    return None


def work(problem: Problem, dtype: np.dtype) -> float:
    """What it takes, in multiply-adds."""
    c_out = problem.c_out // problem.groups
    pairs = problem.c_in * c_out
    images = math.prod(problem.batch)
    samples = images * problem.c_in * math.prod(problem.spatial_in)
    results = images * problem.c_out * math.prod(problem.spatial_out)
    total = (
        NUMBER_WORK * (samples + results) + WEIGHT_WORK * pairs * math.prod(problem.kernel)
    )
    products = pairs * lane_products(problem, _isa.RECKONED // dtype.itemsize)
    rows = c_out * min(problem.kernel[-1], problem.stride[-1])
    if rows >= FEW_ROWS:
        return total + products
    reads = math.prod(
        -(-k // s) for k, s in zip(problem.kernel[:-1], problem.stride[:-1], strict=True))
    # Of samples all of whose products are cropped none is read.
    read = multiply_adds(problem) / max(1, pairs // problem.c_in * math.prod(problem.kernel))
    return total + products * ROW_WORK.get(rows, 1) + AGAIN_WORK * (reads - 1) * read


def make_plan(
    problem: Problem,
    dtype: np.dtype,
    strides: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    workers: int | None,
    exact: bool = False,
) -> Plan:
    """The plan for canonical x, w and out of these strides, with the active instruction set."""
    kind = TYPES[dtype.char]
    x_strides, w_strides, y_strides = strides
    vector, height = _isa.tiles[kind.compute]
    return Plan(
        problem, x_strides, w_strides, y_strides, math.prod(problem.batch), kind.compute,
        kind.components, dtype.itemsize, vector, height, workers, exact,
    )


def steps(size: int, *shape: int) -> tuple[int, ...]:
    """Steps of a C-contiguous array of elements of so many bytes."""
    return tuple(accumulate(reversed(shape[1:]), mul, initial=size))[::-1]


def contiguous_strides(
    problem: Problem, size: int,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Steps of C-contiguous x, w and out."""
    images = math.prod(problem.batch)

    def image_steps(channels: int, spatial: tuple[int, ...]) -> tuple[int, ...]:
        if problem.channels != "last":
            return steps(size, images, channels, *spatial)
        image, *others, channel = steps(size, images, *spatial, channels)
        return (image, channel, *others)

    return (
        image_steps(problem.c_in, problem.spatial_in),
        steps(size, problem.c_in, problem.c_out // problem.groups, *problem.kernel),
        image_steps(problem.c_out, problem.spatial_out),
    )


def contiguous_plan(problem: Problem, dtype: np.dtype, workers: int) -> Plan:
    """The plan for C-contiguous arrays."""
    return make_plan(problem, dtype, contiguous_strides(problem, dtype.itemsize), workers)


def folded_plan(
    problem: Problem,
    dtype: np.dtype,
    strides: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    workers: int | None,
    plan: Plan,
) -> tuple[Problem, Plan] | None:
    """The folded problem and its plan, where channels fill vectors better so; see `_fold.py`."""
    x_strides, _, y_strides = strides
    if plan.macs < FOLD_WORK:
        return None
    vector, height = _isa.tiles[TYPES[dtype.char].compute]
    # A single vector waits for its sums in tiles of four rows.
    if plan.pixelwise and (height > 4 or problem.c_out > vector):
        return None
    folded = fold(problem, dtype, y_strides)
    if folded is None:
        return None
    w_strides = steps(dtype.itemsize, folded.c_in, folded.c_out, *folded.kernel)
    other = make_plan(
        folded, dtype, (x_strides, w_strides, fold_strides(y_strides, problem.stride[-1])),
        workers)
    return (folded, other) if other.pixelwise else None


def explain(problem: Problem, dtype: np.dtype, workers: int) -> dict[str, Any]:
    """What `run` would do for C-contiguous arrays."""
    strides = contiguous_strides(problem, dtype.itemsize)
    plan, copied = make_plan(problem, dtype, strides, workers), 0
    other = folded_plan(problem, dtype, strides, workers, plan)
    if other is not None:
        folded, plan = other
        copied = folded.c_in * folded.c_out * math.prod(folded.kernel) * dtype.itemsize
    return {
        "workers": plan.workers,
        "tasks": plan.tasks,
        "phases": plan.phases,
        "tile": plan.tile,
        "lane_axis": plan.lane_axis,
        "scratch_bytes": plan.scratch_bytes + copied,
    }


def bias_numbers(problem: Problem, bias: np.ndarray | None, kind: Type) -> np.ndarray:
    """The bias as real numbers of the compute type, zeros where there is none."""
    compute = COMPUTE[kind.compute]
    if bias is None:
        return np.zeros(problem.c_out * kind.components, compute)
    bias = np.ascontiguousarray(bias)
    if kind.components == 2:
        return bias.view(compute)
    return bias if bias.dtype is compute else bias.astype(compute, copy=False)


def run(
    problem: Problem,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    workers: int | None = None,
) -> None:
    """Write the transposed convolution of canonical arrays into `out`; see `_reference.run`."""
    dtype = out.dtype
    kind = TYPES[dtype.char]
    numbers = None if bias is None else bias_numbers(problem, bias, kind)
    strides = x.strides, w.strides, out.strides
    plan = make_plan(problem, dtype, strides, workers)
    other = folded_plan(problem, dtype, strides, workers, plan)
    weights, offsets, y = w, numbers, out
    if other is not None:
        folded, plan = other
        stride = problem.stride[-1]
        weights, y = fold_weights(w, stride), fold_result(out, folded)
        offsets = None if numbers is None else np.concatenate([numbers] * stride)
    if not _execute.run(plan, _isa.kernels, kind.code, x, weights, offsets, y):
        try:
            plan = make_plan(problem, dtype, strides, workers, exact=True)
        except OverflowError:
            _reference.run(problem, x, w, bias, out)
            return
        _execute.run(plan, _isa.kernels, kind.code, x, w, numbers, out)


def run_instead(
    problem: Problem,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    workers: int | None,
) -> None:
    """The same after another method has written to `out`: nothing is an excuse then."""
    try:
        run(problem, x, w, bias, out, workers)
    except (MemoryError, OverflowError):
        _reference.run(problem, x, w, bias, out)
