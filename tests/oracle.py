"""Exact integers, error bounds and small operands for the tests, on top of `reference`."""

import math

import numpy as np
import reference


def small_integers(rng, shape, dtype=np.float64, low=-4, high=5):
    """Values whose products and sums are exact in `dtype`, complex parts included."""
    a = rng.integers(low, high, shape)
    if np.dtype(dtype).kind == "c":
        return (a + 1j * rng.integers(low, high, shape)).astype(dtype)
    return a.astype(dtype)


def exact(x, w, bias=None, **geometry):
    """The result for integer operands in Python integers, which cannot overflow."""
    x, w, bias = (None if a is None else python_integers(a) for a in (x, w, bias))
    return reference.conv_transpose(x, w, bias, **geometry)


def python_integers(array):
    """An array of objects: the integers of `array` as Python's."""
    array = np.asarray(array)
    return np.array([int(v) for v in array.ravel()] + [None], object)[:-1].reshape(array.shape)


def wrapped(values, dtype):
    """Python integers as an integer type stores them: modulo 2**64, then as NumPy casts."""
    flat = np.array([int(v) % 2**64 for v in np.ravel(values)], np.uint64)
    return flat.reshape(np.shape(values)).astype(dtype)


def error_bound(x, w, bias=None, *, dtype, **geometry):
    """Largest error of any order of summation: ``terms * eps * sum |x||w|``, per element.

    Every product and every addition is rounded once (Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1). A complex number counts with the sum of its parts' moduli, which
    bounds all four real products; a sum of it bounds real and imaginary part at once.
    """
    x, w = _moduli(x), _moduli(w)
    bias = None if bias is None else _moduli(bias)
    if geometry.get("channel_axis", 1) is None:
        terms = w.size
    else:
        terms = w.shape[0] // geometry.get("groups", 1) * math.prod(w.shape[2:])
    # Twice as many for the two products in each part of a complex one; two for bias and store.
    unit = (2 * terms + 2) * float(np.finfo(dtype).eps)
    return reference.conv_transpose(x, w, bias, **geometry) * unit / (1 - unit)


def _moduli(array):
    array = np.asarray(array)
    return np.abs(array.real).astype(np.float64) + np.abs(array.imag).astype(np.float64)


def assert_within(actual, desired, bound):
    """Every element of `actual` is within `bound` of `desired`."""
    assert actual.shape == desired.shape
    wide = np.result_type(actual, desired, np.float64)
    difference = np.abs(actual.astype(wide) - desired.astype(wide))
    assert np.all(difference <= bound), (
        f"worst difference is {np.max(difference / np.where(bound > 0, bound, np.inf)):.3g} "
        f"of what the bound allows"
    )


def plan_strides(problem, x, w, dtype, x_last=False, y_last=False):
    """Strides of x, w and the result, each in C order or with channels that are neighbours."""
    strides = []
    for (n, c, *spatial), last in (
        (x, x_last), ((x[0], problem.c_out, *problem.spatial_out), y_last)
    ):
        order = (n, *spatial, c) if last else (n, c, *spatial)
        array = np.empty(order, dtype)
        strides.append((np.moveaxis(array, -1, 1) if last else array).strides)
    return strides[0], np.empty(w, dtype).strides, strides[1]
