"""The two definitions agree with each other, with worked examples and with an outer sum."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import reference
from cases import CASES


def by_id(case):
    return case.id


# The second definition multiplies all the zeros it inserts, which takes minutes for huge kernels.
AFFORDABLE = [case for case in CASES if not case.id.endswith(("many-taps", "many-phases"))]


@pytest.mark.parametrize("case", AFFORDABLE, ids=by_id)
def test_definitions_agree(case):
    operands = case.operands("int64")
    one = reference.conv_transpose(*operands, **case.arguments)
    other = reference.conv_transpose(
        *operands, **case.arguments, definition=reference.zero_insertion
    )
    assert one.dtype == other.dtype == np.int64
    np.testing.assert_array_equal(one, other)


def test_worked_example():
    x = np.array([[0, 1], [2, 3]])
    w = np.array([[4, 1], [2, 3]])
    for definition in (reference.scatter, reference.zero_insertion):
        y = reference.conv_transpose(x, w, channel_axis=None, definition=definition)
        assert y.tolist() == [[0, 4, 1], [8, 16, 6], [4, 12, 9]]


def test_kernel_is_not_flipped():
    w = np.array([[[1, 2, 3]]])
    y = reference.conv_transpose(np.ones((1, 1, 1), int), w)
    assert y.tolist() == [[[1, 2, 3]]]


# x = [1, 2, 3, 5], w = [1, 10, 100], stride 2: inputs overlap in every second output.
FULL = [1, 10, 102, 20, 203, 30, 305, 50, 500]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"padding": "valid"}, FULL),
        ({"padding": 0}, FULL),
        ({"padding": "same"}, FULL[:8]),
        ({"padding": "same_lower"}, FULL[1:]),
        ({"padding": [(2, 1)]}, FULL[2:8]),
        ({"padding": [(-1, 3)]}, [0, *FULL[:6]]),
        ({"padding": -2}, [0, 0, *FULL, 0, 0]),
        ({"padding": 1, "output_padding": 1}, FULL[1:]),
        ({"padding": [(0, 0)], "output_padding": 1}, [*FULL, 0]),
        ({"padding": 1, "output_size": 7}, FULL[1:8]),
        ({"padding": 1, "output_size": 8}, FULL[1:]),
        ({"padding": "valid", "output_size": 4}, FULL[:4]),
        ({"padding": "same", "output_size": 6}, FULL[1:7]),
        ({"padding": "same_lower", "output_size": 6}, FULL[2:8]),
        ({"padding": "same", "output_size": 11}, [*FULL, 0, 0]),
        ({"padding": "same_lower", "output_size": [11]}, [*FULL, 0, 0]),
    ],
    ids=str,
)
def test_windows_by_hand(arguments, expected):
    x, w = np.array([1, 2, 3, 5]), np.array([1, 10, 100])
    for definition in (reference.scatter, reference.zero_insertion):
        y = reference.conv_transpose(
            x, w, stride=2, channel_axis=None, definition=definition, **arguments
        )
        assert y.tolist() == expected


def test_exact_numbers():
    # Objects stay objects: fractions are added without any rounding.
    x = np.array([[Fraction(1, 3), Fraction(1, 7)]], dtype=object)[None]
    w = np.array([[[Fraction(3), Fraction(7)]]], dtype=object)
    for definition in (reference.scatter, reference.zero_insertion):
        y = reference.conv_transpose(x, w, definition=definition)
        assert y.tolist() == [[[Fraction(1), Fraction(7, 3) + Fraction(3, 7), Fraction(1)]]]


def test_nan_stays_where_its_products_are():
    x = np.array([1.0, np.nan, 1.0, 1.0])
    y = reference.conv_transpose(x, np.array([1.0, 0.0]), stride=3, channel_axis=None)
    assert np.flatnonzero(np.isnan(y)).tolist() == [3, 4]
    y = reference.conv_transpose(x, np.array([1.0, 0.0]), stride=3, padding=[(4, 0)],
                                 channel_axis=None)
    assert np.flatnonzero(np.isnan(y)).tolist() == [0]
