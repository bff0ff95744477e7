"""The definition in plain NumPy: the scatter itself, for every type NumPy can multiply.

It is the last row of the table of methods, takes what no kernel takes (longdouble), and is the
text to read when in doubt what an argument means. Only elementwise operations are used, one tap
and one input channel after the other, so that the order of every sum is fixed by the shapes.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ._dtypes import ACCUMULATOR
from ._problem import Problem

#: Bytes of one temporary product; blocks of channels and of the longest axis are made to fit.
BLOCK_BYTES = 1 << 20


def refuses(problem: Problem, dtype: np.dtype) -> str | None:
    """Why this method cannot do a problem: it can do all."""
    return None


def explain(problem: Problem, dtype: np.dtype, workers: int) -> dict[str, Any]:
    """What `run` would do."""
    return {"workers": 1}


def run(
    problem: Problem,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    out: np.ndarray,
    workers: int | None = None,
) -> None:
    """Write the transposed convolution of canonical arrays into `out`.

    Parameters
    ----------
    x : (n, c_in, *spatial_in)
    w : (c_in, c_out // groups, *kernel)
    bias : (c_out,) or None
    out : (n, c_out, *spatial_out)
    workers
        Not used: the reference is serial.
    """
    acc_type = ACCUMULATOR.get(out.dtype.char, out.dtype)
    per_group_in = problem.c_in // problem.groups
    per_group_out = problem.c_out // problem.groups
    plane = math.prod(problem.spatial_in) * acc_type.itemsize
    longest = problem.spatial_in.index(max(problem.spatial_in))
    step = max(1, BLOCK_BYTES * problem.spatial_in[longest] // plane)
    co_step = max(1, BLOCK_BYTES // max(plane, math.prod(problem.spatial_out) * acc_type.itemsize))
    with np.errstate(all="ignore"):
        for n, g in itertools.product(range(out.shape[0]), range(problem.groups)):
            ci0, co0 = g * per_group_in, g * per_group_out
            for co in range(co0, co0 + per_group_out, co_step):
                cos = slice(co, min(co + co_step, co0 + per_group_out))
                y = out[n, cos]
                if acc_type != out.dtype:
                    y = np.empty(y.shape, acc_type)
                y[...] = 0
                weights = w[ci0 : ci0 + per_group_in, cos.start - co0 : cos.stop - co0]
                _scatter(problem, x[n, ci0 : ci0 + per_group_in], weights, y, longest, step)
                if bias is not None:
                    b = bias[cos].astype(acc_type)
                    y += b.reshape((-1,) + (1,) * (y.ndim - 1))
                if acc_type != out.dtype:
                    out[n, cos] = y.astype(out.dtype)


def _scatter(
    problem: Problem, x: np.ndarray, w: np.ndarray, y: np.ndarray, longest: int, step: int
) -> None:
    """``y[:, i*stride + k*dilation - crop] += x[:, i] * w[:, :, k]`` for every i and k inside."""
    near = [
        range(max(0, -(((i - 1) * s - c) // d)), min(k, (c + o - 1) // d + 1))
        for k, i, s, d, c, o in zip(
            problem.kernel, problem.spatial_in, problem.stride, problem.dilation, problem.crop,
            problem.spatial_out, strict=True,
        )
    ]
    for tap in itertools.product(*near):
        source, target = [], []
        for k, i, s, d, c, o in zip(
            tap, problem.spatial_in, problem.stride, problem.dilation, problem.crop,
            problem.spatial_out, strict=True,
        ):
            shift = k * d - c
            first = max(0, -(shift // s))
            stop = min(i, (o - 1 - shift) // s + 1)
            source.append(range(first, stop))
            target.append((shift, s))
        if not all(source):
            continue
        part_of = source[longest]
        for r in range(part_of.start, part_of.stop, step):
            source[longest] = range(r, min(r + step, part_of.stop))
            xs = tuple([slice(ax.start, ax.stop) for ax in source])
            ys = tuple(
                [
                    slice(ax.start * s + shift, (ax.stop - 1) * s + shift + 1, s)
                    for ax, (shift, s) in zip(source, target, strict=True)
                ]
            )
            part = y[(slice(None), *ys)]
            for ci in range(x.shape[0]):
                factor = w[ci][(..., *tap)].astype(y.dtype)
                part += x[ci][xs].astype(y.dtype) * factor.reshape(
                    (-1,) + (1,) * len(problem.kernel)
                )
