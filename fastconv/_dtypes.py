# cython: annotation_typing=False
"""Which types exist, what each is computed in, and how mixed operands are brought together.

`TYPES` is the one table: a new type is one row. Types that are not in it have no kernel; the
reference method takes the inexact ones among them (longdouble, clongdouble).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Type(NamedTuple):
    """How the kernels see a NumPy type."""

    code: int  #: index into the load and store tables of the kernels
    compute: int  #: 0 float32, 1 float64, 2 integers modulo 2**64
    components: int  #: real numbers an element is made of: 2 for complex


FLOAT32, FLOAT64, UINT64 = 0, 1, 2

TYPES: dict[str, Type] = {
    "f": Type(0, FLOAT32, 1),
    "d": Type(1, FLOAT64, 1),
    "e": Type(2, FLOAT32, 1),
    "F": Type(0, FLOAT32, 2),
    "D": Type(1, FLOAT64, 2),
    "b": Type(3, UINT64, 1),
    "B": Type(4, UINT64, 1),
    "h": Type(5, UINT64, 1),
    "H": Type(6, UINT64, 1),
    "i": Type(7, UINT64, 1),
    "I": Type(8, UINT64, 1),
    "?": Type(10, UINT64, 1),
}
# long and long long are both 8 bytes on some platforms, and long is 4 on others.
for _char, _code in (("l", 7), ("q", 7), ("L", 8), ("Q", 8)):
    TYPES[_char] = Type(_code if np.dtype(_char).itemsize == 4 else 9, UINT64, 1)

#: What the reference accumulates in, where that is not the result type itself.
ACCUMULATOR = {"e": np.dtype(np.float32)} | {c: np.dtype(np.uint64) for c in "bBhHiIlLqQ?"}

_NUMERIC = frozenset("biufc")


def native(dtype: Any) -> np.dtype:
    """A type argument as a native NumPy dtype that can be computed in."""
    if not isinstance(dtype, np.dtype):
        try:
            dtype = np.dtype(dtype)
        except (TypeError, ValueError, SyntaxError):
            raise TypeError(f"dtype={dtype!r} is not a NumPy type") from None
    if dtype.kind not in _NUMERIC:
        raise TypeError(f"dtype={dtype} must be bool, integer, float or complex")
    result: np.dtype[Any] = dtype if dtype.isnative else dtype.newbyteorder("=")
    return result


def as_numeric(value: Any, name: str) -> NDArray[Any]:
    """`value` as an array of a type that has arithmetic here."""
    if type(value) is np.ndarray:
        array = value
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} cannot be made an array: {error}") from None
    if array.dtype.kind not in _NUMERIC:
        raise TypeError(
            f"{name} has dtype {array.dtype}; it must be bool, integer, float or complex"
        )
    return array


def bring_scalar(value: complex, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """A Python number, which takes part in the promotion by its kind alone (NEP 50)."""
    needed = {int: "biufc", float: "fc", complex: "c"}[type(value)]
    if dtype.kind not in needed:
        raise TypeError(f"{name}={value!r} cannot be cast to {dtype} with casting 'same_kind'")
    try:
        with np.errstate(all="ignore"):
            return np.asarray(value, dtype)
    except OverflowError:
        raise ValueError(f"{name}={value!r} is out of bounds for {dtype}") from None


def bring(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """`array` in `dtype` and in a form that kernels can read: at most one copy."""
    if array.dtype is not dtype and array.dtype != dtype:
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise TypeError(
                f"{name} cannot be cast from {array.dtype} to {dtype} with casting 'same_kind'"
            )
        with np.errstate(all="ignore"):
            array = array.astype(dtype)
    return array if array.flags.aligned else array.copy()
