"""Weights on their way into panels: every order of memory, and what is not finite among them."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from oracle import small_integers

import fastconv

#: Panels of four taps and whole panels of channels, rests of both, and kernels of other lengths.
SHAPES = [(9, 8, 4), (17, 24, 9), (8, 16, 2, 2), (3, 12, 3, 3), (70, 40, 4, 4), (2, 8, 1, 5)]

ORDERS = {
    "C": lambda w: w,
    "Fortran": np.asfortranarray,
    "channels last": lambda w: np.moveaxis(np.ascontiguousarray(np.moveaxis(w, 1, -1)), -1, 1),
    "flipped": lambda w: np.ascontiguousarray(w[..., ::-1])[..., ::-1],
    "spread": lambda w: np.repeat(w, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_weight_finds_its_place(shape, order, isa):
    rng = np.random.default_rng(sum(shape))
    for dtype in ("float32", "float64", "float16", "int8", "complex128"):
        for stride in (1, 2, 3):
            x = small_integers(rng, (2, shape[0], *(7,) * (len(shape) - 2)), dtype, -1, 2)
            w = small_integers(rng, shape, dtype, -2, 3)
            wanted = reference.conv_transpose(x, w, stride=stride)
            y = fastconv.conv_transpose(x, ORDERS[order](w), stride=stride, method="direct")
            np.testing.assert_array_equal(y, wanted.astype(dtype))


@pytest.mark.parametrize("value", (np.inf, -np.inf, np.nan))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_weight_that_is_not_finite(shape, value, isa):
    """Padding must not meet it: only positions that one of its products reaches change."""
    rng = np.random.default_rng(3)
    spatial = (20,) * (len(shape) - 2)
    x = small_integers(rng, (1, shape[0], *spatial), "float32", 1, 3)
    for _ in range(12):
        w = small_integers(rng, shape, "float32", 1, 3)
        place = tuple(rng.integers(0, n) for n in shape)
        w[place] = value
        y = fastconv.conv_transpose(x, w, stride=2, method="direct")
        # 2*i + k is reached by this weight, of one output channel.
        hit = np.zeros(y.shape, bool)
        hit[(0, place[1], *(slice(k, k + 2 * 20 - 1, 2) for k in place[2:]))] = True
        np.testing.assert_array_equal(np.isfinite(y), ~hit)
        w[place] = 0
        np.testing.assert_array_equal(
            y[~hit], fastconv.conv_transpose(x, w, stride=2, method="direct")[~hit])
