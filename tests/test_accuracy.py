"""Errors of floating-point results against bounds that follow from the arithmetic.

Let u = eps/2 be the unit roundoff and n the number of products in an output element. However the
sum is ordered, and whether or not multiply-adds are fused, the result differs from the exact one
by at most ``gamma(n + 1) * sum |x||w|`` with ``gamma(m) = m*u / (1 - m*u)``, the one for the
bias, which counts as a product with 1 (Higham, Accuracy and Stability of Numerical Algorithms,
section 3.1). Here ``(n + 2) * eps * sum |x||w|`` is allowed, about twice that; the other half
belongs to the definition's own rounding on machines where long double is no wider than double.

A complex product is four real ones, and each part of the result a sum of 2n products with
``|xr||wr| + |xi||wi| <= |x||w|``. The error of a part is below ``gamma(2n + 1) * sum |x||w|``, that
of the number below sqrt(2) times it: with the same reserve as above the factor is 2*sqrt(2).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from cases import BY_ID, LAYERS, attempt
from transforms import check_promised, chosen

import fastconv
from fastconv import _methods

FACTOR = {"f": 1.0, "c": 2 * math.sqrt(2)}

NAMES = (
    "axis-i7-k9-s3-d1", "axis-i9-k5-s3-d2", "axis-i11-k31-s7-d1",
    "rank2-unlike", "rank2-k1", "rank3-unlike", "rank4", "window-p-mixed", "window-same",
    "channels-17to31-k4-s2", "channels-9to31-k3-s1", "length-33-k4-s2", "length-97-k9-s3",
    "batch-17-odd", "batch-last-33", "groups-12to30-g6-k4-s2", "groups-17to17-g17-k4-s2",
    "plain-image",
)
CASES = [*[BY_ID[name] for name in NAMES], *LAYERS]


def by_id(case):
    return case.id


def random_operands(case, dtype, spread=0):
    """Normal numbers, times powers of two up to ``2**spread`` either way."""
    rng = np.random.default_rng(11)
    arrays = []
    for shape in (case.x, case.w, () if case.channel_axis is None else (case.c_out,)):
        a = rng.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            a = a + 1j * rng.standard_normal(shape)
        arrays.append((a * np.exp2(rng.integers(-spread, spread + 1, shape))).astype(dtype))
    return arrays


def exact_and_scale(case, operands):
    """The result, ``sum |x||w|`` and the number of products, all in long double."""
    wide = [a.astype(np.result_type(a.dtype, np.longdouble)) for a in operands]
    exact = reference.conv_transpose(*wide, **case.arguments)
    scale = reference.conv_transpose(*map(np.abs, wide), **case.arguments)
    ones = [np.ones(a.shape) for a in operands[:2]]
    return exact, scale, reference.conv_transpose(*ones, **case.arguments)


@pytest.mark.parametrize("spread", (0, 12), ids=("normal", "wide-range"))
@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "complex128"))
@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_error_bound(case, dtype, spread):
    operands = random_operands(case, dtype, spread)
    exact, scale, terms = exact_and_scale(case, operands)
    kind = np.dtype(dtype)
    bound = FACTOR[kind.kind] * (terms + 2) * np.finfo(dtype).eps * scale
    taken = _methods.METHODS[chosen(case.x, case.w, dtype, **case.arguments)]
    errors = {}
    for method in ("direct", "col2im", "planes", "reference", "auto"):
        y = attempt(case, operands, method)
        if y is None:
            continue
        assert y.dtype == kind
        errors[method] = np.abs(y - exact)
        if method == "auto" and taken in _methods.SPREADING:
            # Bounded by what is around an element, docs/numerics.md.
            check_promised(errors["auto"], errors["direct"])
        else:
            assert (errors[method] <= bound).all(), method


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "complex128"))
@pytest.mark.parametrize("case", [c for c in LAYERS if c.id.endswith(("k5", "pose_1", "x3"))],
                         ids=by_id)
def test_error_bound_in_each_instruction_set(case, dtype, isa):
    operands = random_operands(case, dtype)
    exact, scale, terms = exact_and_scale(case, operands)
    bound = FACTOR[np.dtype(dtype).kind] * (terms + 2) * np.finfo(dtype).eps * scale
    for method in ("direct", "col2im", "planes"):
        y = attempt(case, operands, method)
        if y is not None:
            assert (np.abs(y - exact) <= bound).all(), method


@pytest.mark.parametrize("method", ("auto", "direct", "col2im", "reference"))
@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_float16_is_rounded_once(case, method):
    # The sum is in float32; rounding is monotonic, so what comes out lies between the roundings
    # of the ends of the interval in which that sum must be.
    operands = random_operands(case, "float16")
    exact, scale, terms = exact_and_scale(case, operands)
    slack = (terms + 2) * np.finfo(np.float32).eps * scale
    y = attempt(case, operands, method)
    if y is not None:
        low, high = ((exact + s).astype("float16") for s in (-slack, slack))
        assert y.dtype == np.float16
        assert ((low <= y) & (y <= high)).all()


def one_dimensional(products, dtype="float16", method="auto"):
    """One output element: the sum of ``a*b`` over the pairs in `products`, in their order."""
    a, b = np.array(products, dtype).T
    return fastconv.conv_transpose(a.reshape(1, -1, 1), b.reshape(-1, 1, 1), method=method)[0, 0, 0]


@pytest.mark.parametrize("method", ("auto", "direct", "reference"))
def test_float16_intermediate_overflow(method, isa):
    big = [(300, 300), (300, 300), (300, -300), (300, -300)]
    assert one_dimensional(big, method=method) == 0
    assert one_dimensional([*big, (5, 7)], method=method) == 35
    assert np.isposinf(one_dimensional(big[:1], method=method))
    assert np.isneginf(one_dimensional(big[2:], method=method))
    # The largest float16 is 65504; the halfway point to the next power rounds up, below it not.
    assert one_dimensional([(256, 255.75), (1, 47)], method=method) == 65504
    assert np.isposinf(one_dimensional([(256, 255.75), (1, 48)], method=method))


@pytest.mark.parametrize("method", ("auto", "direct", "reference"))
def test_float16_rounding(method, isa):
    # Halfway cases go to even, and what float16 steps would lose on the way is kept.
    assert one_dimensional([(1, 2048), (1, 1)], method=method) == 2048
    assert one_dimensional([(1, 2048), (1, 1), (1, 1)], method=method) == 2050
    assert one_dimensional([(1, 2048), (3, 1)], method=method) == 2052
    assert one_dimensional([(1, 2048), (1, 1), (2**-10, 2**-2)], method=method) == 2050
    tiny = float(np.finfo(np.float16).smallest_subnormal)
    assert one_dimensional([(tiny, 1)], method=method) == tiny
    assert one_dimensional([(tiny, 0.5)], method=method) == 0
    assert one_dimensional([(tiny, 0.5), (tiny, 0.25)], method=method) == tiny
    assert one_dimensional([(tiny, 0.5), (tiny, 1)], method=method) == 2 * tiny


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "complex128"))
@pytest.mark.parametrize("method", ("auto", "direct", "reference"))
def test_subnormals_are_kept(dtype, method, isa):
    tiny = float(np.finfo(dtype).smallest_subnormal)
    x = np.full((1, 3, 2, 20), 5 * tiny, dtype)
    w = np.ones((3, 4, 2, 2), dtype)
    y = fastconv.conv_transpose(x, w, stride=2, method=method)
    np.testing.assert_array_equal(y, np.full(y.shape, 15 * tiny, dtype))
    # A product that falls below the normal range from factors that are in it.
    small = np.full((1, 1, 40), np.finfo(dtype).tiny, dtype)
    half = fastconv.conv_transpose(small, np.full((1, 1, 1), 0.25, dtype), method=method)
    np.testing.assert_array_equal(half, small * np.array(0.25, dtype))
    assert (half != 0).all()


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_long_sums(dtype, isa):
    # 2**16 equal products: a sum in the wrong type or order shows at once.
    x = np.full((1, 1 << 16, 3), 0.1, dtype)
    w = np.full((1 << 16, 1, 2), 0.1, dtype)
    y = fastconv.conv_transpose(x, w).astype(np.longdouble)
    product = np.longdouble(x[0, 0, 0]) * np.longdouble(w[0, 0, 0])
    exact = product * (1 << 16) * np.array([1, 2, 2, 1])
    bound = (2 * (1 << 16) + 2) * np.finfo(dtype).eps * exact
    assert (np.abs(y - exact) <= bound).all()
