"""Exact cases: does this build, on this machine, compute what the definition says?

All operands are small integers, so that every product and every sum is exact in every type, and
results compare bit by bit, whatever the order of the additions: each method on each instruction
set with 1, 2 and 3 workers against the plain NumPy reference, and the reference against
results written out by hand.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from . import _isa, _methods
from ._api import conv_transpose, output_shape
from ._problem import make_problem

WORKERS = (1, 2, 3)

INTEGERS = "?bBhHiIqQ"
TYPES = INTEGERS + "efdgFDG"

#: The arguments of `make_problem`, in its order, with the defaults of `conv_transpose`.
_DEFAULTS: dict[str, Any] = {
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "output_size": None,
    "dilation": 1,
    "groups": 1,
    "channel_axis": 1,
}


class Case(NamedTuple):
    """One problem: shapes and the arguments that differ from the defaults."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    geometry: dict[str, Any]
    bias: bool = False


CASES: dict[str, tuple[Case, ...]] = {
    "rank 1": (
        Case((2, 3, 17), (3, 5, 4), {}),
        Case((1, 2, 1), (2, 1, 1), {}),
        Case((3, 1, 40), (1, 1, 7), {"stride": 3, "padding": 2}, bias=True),
    ),
    "rank 2": (
        Case((1, 4, 9, 8), (4, 6, 3, 3), {}),
        Case((2, 3, 7, 33), (3, 17, 4, 4), {"stride": 2, "padding": 1}, bias=True),
        Case((1, 2, 5, 6), (2, 3, 2, 5), {"stride": (3, 1)}),
    ),
    "rank 3": (
        Case((1, 2, 4, 3, 5), (2, 3, 3, 2, 3), {"stride": (2, 1, 2)}),
        Case((1, 3, 3, 3, 3), (3, 2, 3, 3, 3), {"stride": 2, "padding": 1}, bias=True),
    ),
    "rank 4": (Case((1, 2, 2, 3, 2, 3), (2, 2, 2, 1, 2, 3), {"stride": 2}),),
    "stride": (
        Case((1, 2, 5, 5), (2, 2, 2, 2), {"stride": 3}),
        Case((1, 2, 4, 6), (2, 3, 5, 4), {"stride": (4, 3), "output_padding": (3, 2)}),
        Case((1, 3, 6, 5), (3, 4, 1, 1), {"stride": 2, "output_padding": 1}, bias=True),
    ),
    "dilation": (
        Case((1, 2, 6, 7), (2, 3, 3, 3), {"dilation": 2}),
        Case((1, 2, 5, 8), (2, 3, 3, 2), {"dilation": (3, 4), "stride": (2, 6)}),
    ),
    "groups": (
        Case((2, 6, 6, 5), (6, 2, 3, 3), {"groups": 3, "stride": 2}, bias=True),
        Case((1, 8, 5, 9), (8, 1, 4, 4), {"groups": 8, "stride": 2, "padding": 1}),
    ),
    "padding": (
        Case((1, 2, 5, 6), (2, 3, 3, 4), {"stride": 2, "padding": "same"}),
        Case((1, 2, 5, 6), (2, 3, 3, 4), {"stride": 2, "padding": "same_lower"}, bias=True),
        Case((1, 2, 5, 6), (2, 3, 3, 4), {"padding": [(2, 0), (1, 3)]}),
        Case((1, 2, 5, 6), (2, 3, 3, 4), {"padding": (-2, -1)}, bias=True),
        Case((1, 2, 5, 6), (2, 3, 3, 3), {"stride": 2, "output_size": (11, 14)}),
    ),
    "layouts": (
        Case((2, 7, 6, 3), (3, 5, 3, 3), {"channel_axis": -1, "stride": 2}, bias=True),
        Case((3, 7, 6), (3, 5, 3, 3), {"channel_axis": 0}),
        Case((2, 2, 3, 4, 5), (3, 2, 3, 3), {"channel_axis": 2, "stride": 2}),
        Case((2, 6, 7), (3, 4), {"channel_axis": None, "stride": (2, 3)}, bias=True),
    ),
}


def run(stream: TextIO | None = None) -> int:
    """Run all cases, print a line for each group of them and a summary.

    Parameters
    ----------
    stream : file-like, optional
        Where to print, by default standard output.

    Returns
    -------
    int
        0 if all is equal, else 1.
    """
    stream = sys.stdout if stream is None else stream
    start = time.perf_counter()
    compared = 0
    wrong: list[str] = []
    before = _isa.active
    groups = {"worked by hand": _by_hand, **{name: _family(name) for name in CASES}}
    try:
        for name, comparisons in groups.items():
            count = 0
            bad = []
            for label, equal in comparisons():
                count += 1
                if not equal:
                    bad.append(label)
            compared += count
            wrong += bad
            verdict = f"{len(bad)} DIFFER, first: {bad[0]}" if bad else "equal"
            print(f"{name:<16}{count:>6} results  {verdict}", file=stream, flush=True)
    finally:
        _isa.use(before)
    print(
        f"{compared} results, {len(wrong)} differ; instruction sets "
        f"{', '.join(_isa.supported())}; methods {', '.join(_methods.METHODS)}; "
        f"{time.perf_counter() - start:.1f} s",
        file=stream,
    )
    return 1 if wrong else 0


def _by_hand() -> Iterator[tuple[str, bool]]:
    """Results that everybody can verify with a pencil."""
    x = [[0, 1], [2, 3]]
    k = [[4, 1], [2, 3]]
    worked = [[0, 4, 1], [8, 16, 6], [4, 12, 9]]
    ones = np.ones((1, 1, 4, 4))
    # Every input pixel adds a 3 x 3 square of ones, every 2 pixels.
    line = np.array([1, 1, 2, 1, 2, 1, 2, 1, 1])
    square = np.multiply.outer(line, line)[None, None]
    for isa, method, workers in _variants():
        for char in TYPES.replace("?", ""):
            dtype = np.dtype(char)
            if not _accepts(method, (2, 2), (2, 2), dtype, {"channel_axis": None}):
                continue
            got = conv_transpose(
                np.array(x, dtype),
                np.array(k, dtype),
                channel_axis=None,
                method=method,
                workers=workers,
            )
            label = f"worked example, {dtype}, {method}, {isa}, {workers} workers"
            yield label, same(got, np.array(worked, dtype))
        for padding, expected in (("valid", square), ("same", square[..., :8, :8])):
            w = np.ones((1, 1, 3, 3))
            geometry: dict[str, Any] = {"stride": 2, "padding": padding}
            if not _accepts(method, ones.shape, w.shape, ones.dtype, geometry):
                continue
            got = conv_transpose(ones, w, method=method, workers=workers, **geometry)
            label = f"4 x 4 map, padding={padding!r}, {method}, {isa}, {workers} workers"
            yield label, same(got, expected.astype(float))


def _family(name: str) -> Any:
    """A function that compares the cases of one group."""

    def comparisons() -> Iterator[tuple[str, bool]]:
        for number, case in enumerate(CASES[name]):
            shape = output_shape(case.x, case.w, **case.geometry)
            for char in TYPES:
                dtype = np.dtype(char)
                x = small_integers(case.x, dtype, 1)
                w = small_integers(case.w, dtype, 2)
                bias = _bias(case, shape, dtype)
                expected = conv_transpose(x, w, bias, method="reference", **case.geometry)
                for isa, method, workers in _variants():
                    if method == "reference":
                        continue
                    if not _accepts(method, case.x, case.w, dtype, case.geometry):
                        continue
                    got = conv_transpose(
                        x, w, bias, method=method, workers=workers, **case.geometry
                    )
                    label = f"case {number}, {dtype}, {method}, {isa}, {workers} workers"
                    yield label, got.shape == shape and same(got, expected)

    return comparisons


def _bias(case: Case, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Small integers for every output channel, or None."""
    if not case.bias:
        return None
    axis = case.geometry.get("channel_axis", 1)
    return small_integers(() if axis is None else (shape[axis],), dtype, 3)


def _variants() -> Iterator[tuple[str, str, int]]:
    """Every instruction set, which is made the active one, with every method and team."""
    for isa in _isa.supported():
        _isa.use(isa)
        for method in _methods.METHODS:
            for workers in WORKERS:
                yield isa, method, workers


def _accepts(
    method: str,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    geometry: dict[str, Any],
) -> bool:
    """Whether a method can do a problem."""
    problem = make_problem(x_shape, w_shape, *(_DEFAULTS | geometry).values())
    return _methods.METHODS[method].refuses(problem, dtype) is None


def small_integers(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int) -> NDArray[Any]:
    """Whole numbers from 1 to 3 with either sign, never 0, in any type; the same every time."""
    # A linear congruence instead of a generator: no stream that may change between releases.
    steps = np.arange(math.prod(shape), dtype=np.int64) * 1103515245 + 12345 * seed
    values = (steps >> 8) % 3 + 1
    signs = np.where((steps >> 12) % 2, 1, -1)
    flat: NDArray[Any]
    if dtype.kind == "b":
        flat = (steps >> 12) % 2 == 1
    elif dtype.kind == "u":
        flat = values
    elif dtype.kind == "c":
        flat = values * signs + 1j * ((steps >> 16) % 3 + 1)
    else:
        flat = values * signs
    return flat.astype(dtype).reshape(shape)


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays agree in type, shape and every value, also in the sign of zeros."""
    if a.dtype != b.dtype or a.shape != b.shape or not np.array_equal(a, b):
        return False
    if a.dtype.kind == "c":
        return same(a.real, b.real) and same(a.imag, b.imag)
    return a.dtype.kind != "f" or bool(np.array_equal(np.signbit(a), np.signbit(b)))
