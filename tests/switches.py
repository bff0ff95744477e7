"""Both sides of a switch: problems, and what is exact whatever way they take."""

from __future__ import annotations

import numpy as np
import reference
from oracle import plan_strides, small_integers

import fastconv
from fastconv import _direct
from fastconv._problem import make_problem

DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "output_size": None, "dilation": 1,
            "groups": 1, "channel_axis": 1}
WORKERS = (1, 2, 5)


def problem_of(x, w, **arguments):
    return make_problem(x, w, **(DEFAULTS | arguments))


def plan(x, w, dtype="float32", workers=1, **arguments):
    return _direct.contiguous_plan(problem_of(x, w, **arguments), np.dtype(dtype), workers)


def plan_last(x, w, dtype="float32", **arguments):
    """The plan for one worker where channels are neighbours."""
    problem = problem_of(x, w, **arguments)
    strides = plan_strides(problem, x, w, dtype, True, True)
    return _direct.make_plan(problem, np.dtype(dtype), strides, 1)


def check_exact(x_shape, w_shape, dtype="float32", method="auto", **arguments):
    """The result of small integers is that of the definition, for several workers."""
    rng = np.random.default_rng(11)
    x, w = small_integers(rng, x_shape, dtype), small_integers(rng, w_shape, dtype)
    bias = small_integers(rng, (w_shape[1] * arguments.get("groups", 1),), dtype)
    wide = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    wanted = reference.conv_transpose(*(a.astype(wide) for a in (x, w, bias)), **arguments)
    for workers in WORKERS:
        y = fastconv.conv_transpose(x, w, bias, method=method, workers=workers, **arguments)
        assert y.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(y, wanted.astype(dtype))


def switches(values, state):
    """Neighbours ``(before, after)`` among `values` between which `state` changes."""
    states = [state(value) for value in values]
    return [
        (values[i], values[i + 1]) for i in range(len(values) - 1) if states[i] != states[i + 1]
    ]
