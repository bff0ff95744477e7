"""The micro-kernels alone, against a multiply-add loop that stays in registers.

A fraction far below the others of its instruction set says that the compiler did not vectorise a
tile along its lanes or did not keep its accumulators in registers.
"""

from __future__ import annotations

from .common import ISAS, need_isa


class Tiles:
    """Speed of one tile, operands in the first-level cache, as a fraction of the loop's."""

    params = [
        ISAS,
        ["float32", "float64"],
        ["8x3", "8x1", "4x3", "4x1", "1x3"],
    ]
    param_names = ["instruction set", "type", "rows x vectors"]

    def setup(self, isa: str, dtype: str, tile: str) -> None:
        need_isa(isa)

    def track_fraction_of_peak(self, isa: str, dtype: str, tile: str) -> float:
        from fastconv._config import tile_fraction

        rows, vectors = map(int, tile.split("x"))
        return tile_fraction(dtype, rows, vectors, isa)


Tiles.track_fraction_of_peak.unit = "fraction of peak"  # type: ignore[attr-defined]


class Kernels:
    """The same of the kernels that store what they add up, in their largest shapes."""

    params = [
        ISAS,
        ["float32", "float64"],
        ["pixels", "stencil", "shared"],
    ]
    param_names = ["instruction set", "type", "kernel"]

    def setup(self, isa: str, dtype: str, kernel: str) -> None:
        need_isa(isa)

    def track_fraction_of_peak(self, isa: str, dtype: str, kernel: str) -> float:
        from fastconv._config import kernel_fraction

        return kernel_fraction(kernel, dtype, isa)


Kernels.track_fraction_of_peak.unit = "fraction of peak"  # type: ignore[attr-defined]
