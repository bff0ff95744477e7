"""Phases of the last axis as output channels: a view of results whose channels are neighbours.

Where the kernel is a multiple of the stride along the last axis, and the window of the result
begins with the first phase and ends with the last one, its pixels are the phases of one sample
after those of another. With channels last they are neighbours in memory, channels of each phase
after those of the phase before: a result of stride 1 with as many times more channels. So few
channels fill vectors that do not by themselves.
"""

from __future__ import annotations

import numpy as np

from ._problem import Problem


def fold(problem: Problem, dtype: np.dtype, y_strides: tuple[int, ...]) -> Problem | None:
    """The problem whose result is the same memory, or None."""
    stride, size = problem.stride[-1], dtype.itemsize
    if stride == 1 or y_strides[1] != size or y_strides[-1] != problem.c_out * size:
        return None
    kernel, crop, length = problem.kernel[-1], problem.crop[-1], problem.spatial_out[-1]
    if (
        dtype.char not in "fd" or problem.groups > 1 or problem.c_out < 2
        or problem.dilation[-1] > 1 or kernel % stride or crop % stride or length % stride
    ):
        return None
    channels, spatial_out = problem.c_out * stride, (*problem.spatial_out[:-1], length // stride)
    return problem._replace(
        c_out=channels, kernel=(*problem.kernel[:-1], kernel // stride),
        stride=(*problem.stride[:-1], 1), crop=(*problem.crop[:-1], crop // stride),
        spatial_out=spatial_out, channels="last", shape=(*problem.batch, *spatial_out, channels),
    )


def fold_strides(strides: tuple[int, ...], stride: int) -> tuple[int, ...]:
    """Steps of a folded result, in bytes, from those of the result."""
    return *strides[:-1], strides[-1] * stride


def fold_result(y: np.ndarray, folded: Problem) -> np.ndarray:
    """A canonical result as that of the folded problem: a view."""
    axes = range(1, y.ndim)
    last = y.transpose(0, *axes[1:], 1)
    return last.reshape(len(y), *folded.spatial_out, folded.c_out).transpose(0, -1, *axes[:-1])


def fold_weights(w: np.ndarray, stride: int) -> np.ndarray:
    """The weights of the folded problem: C-contiguous, (C_in, phases and C_out, *K)."""
    apart = w.reshape(*w.shape[:-1], -1, stride)
    folded = apart.transpose(0, -1, *range(1, w.ndim)).reshape(
        len(w), stride * w.shape[1], *w.shape[2:-1], -1)
    # Of weights in another order it may be a view.
    return np.ascontiguousarray(folded)
