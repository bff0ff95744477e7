"""Operands, choices and errors of the methods that add operands before they multiply them.

A layer is ``(x, w, arguments)``: two shapes and what `conv_transpose` takes besides.
"""

from __future__ import annotations

import numpy as np
import reference
import switches

import fastconv
from fastconv import _api


def integers(layer, dtype, seed=1):
    """``(x, w, bias)``: small integers."""
    rng = np.random.default_rng(seed)
    x, w, arguments = layer
    shapes = x, w, (w[1] * arguments.get("groups", 1),)
    return [rng.integers(-4, 5, shape).astype(dtype) for shape in shapes]


def normal(layer, dtype, seed=1):
    rng = np.random.default_rng(seed)
    x, w, _ = layer
    return rng.standard_normal(x).astype(dtype), rng.standard_normal(w).astype(dtype)


def problem_of(layer):
    x, w, arguments = layer
    return switches.problem_of(x, w, **arguments)


def chosen(x, w, dtype="float32", **arguments):
    """The method that "auto" takes."""
    return _api.explain(x, w, dtype, **arguments)["method"]


def check_promised(error, of_direct):
    """What "auto" promises, for the greatest error and the root of the mean square."""
    assert error.max() <= 4 * of_direct.max()
    assert (error ** 2).mean() <= 16 * (of_direct ** 2).mean()


def check_error(layer, dtype, data, method):
    """That a method's errors are what "auto" promises."""
    x, w = normal(layer, dtype)
    if data == "rectified":
        x = np.maximum(x, 0)
    exact = reference.conv_transpose(
        x.astype(np.longdouble), w.astype(np.longdouble), **layer[2])
    error, of_direct = (
        np.abs(fastconv.conv_transpose(x, w, **layer[2], method=m) - exact)
        for m in (method, "direct")
    )
    check_promised(error, of_direct)
