"""The one table of methods: "auto" takes the one that is expected to take least.

A row is a module with `refuses` (why it cannot do a problem, or None), `work` (what it would take,
in multiply-adds of one core; None where "auto" need not think of it), `run`, and `explain` (what
`run` would do, in figures). A row of `SPREADING` adds operands before it multiplies them, which
would spread Inf and NaN: where it is forced these are an error, under "auto" its `run` must find
its own way. What no row of `SHORTCUTS` is expected to do in less time is computed by the direct
method, and by the reference what that refuses.
A new method is one file, one row here, and its place among `SHORTCUTS`.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from . import _col2im, _direct, _karatsuba, _planes, _reference, _winograd
from ._problem import Problem

METHODS: dict[str, ModuleType] = {
    "karatsuba": _karatsuba,
    "col2im": _col2im,
    "planes": _planes,
    "winograd": _winograd,
    "direct": _direct,
    "reference": _reference,
}
SHORTCUTS = (_karatsuba, _col2im, _planes, _winograd)
SPREADING = (_karatsuba, _winograd)


def choose(method: str, problem: Problem, dtype: np.dtype) -> ModuleType:
    """The row for a problem; depends on shapes and types only."""
    if not isinstance(method, str):
        raise TypeError(f"method must be a string, got {method!r}")
    if method == "auto":
        return quickest(problem, dtype)
    if method not in METHODS:
        raise ValueError(f"method must be 'auto' or one of {tuple(METHODS)}, got {method!r}")
    row = METHODS[method]
    reason = row.refuses(problem, dtype)
    if reason is not None:
        raise ValueError(f"method={method!r} cannot do this problem: {reason}")
    return row


def quickest(problem: Problem, dtype: np.dtype) -> ModuleType:
    """The row that is expected to take least."""
    least, best = math.inf, None
    for row in SHORTCUTS:
        work = row.work(problem, dtype)
        if work is not None and work < least:
            least, best = work, row
    if best is not None and least <= _direct.work(problem, dtype):
        return best
    return _direct if _direct.refuses(problem, dtype) is None else _reference


def check(
    method: str, row: ModuleType, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None
) -> None:
    """Raise if a forced method does not take these values."""
    if method == "auto" or row not in SPREADING:
        return
    for name, array in (("x", x), ("w", w), ("bias", bias)):
        if array is None or array.size == 0:
            continue
        # Both extremes are NaN where one element is.
        if not (np.isfinite(array.min()) and np.isfinite(array.max())):
            raise ValueError(
                f"method={method!r} cannot take {name}: it holds Inf or NaN, which the method's "
                "transforms would spread"
            )


def name(row: ModuleType) -> str:
    """The name of a row."""
    return next(key for key, value in METHODS.items() if value is row)
