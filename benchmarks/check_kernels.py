"""Fail where a micro-kernel is much slower than the multiply-add loop compiled next to it.

    python benchmarks/check_kernels.py

The large tiles, in which nearly all work is done, must reach 60 % of the loop; a compiler that
unrolls lanes before it vectorises them, or keeps accumulators in memory, falls to 5 to 50 %. Tiles
of one vector or fewer rows have a load for each multiply-add or too few sums to hide its latency;
they are reported.
"""

from __future__ import annotations

import sys
import time

FLOOR = 0.6
TYPES = ("float32", "float64")

#: A tile below the floor is measured this often before it counts as slow, with a pause in seconds
#: before each: a neighbour on the same core takes loads from a tile, but nothing from the loop.
TRIES = 20
PAUSE = 1.0


def slow_tiles() -> list[str]:
    """Print a line for each kind of tile; the descriptions of large ones below the floor."""
    from fastconv import _isa
    from fastconv._config import tile_fraction
    from fastconv._runtime import tile_of

    slow = []
    print("fraction of the multiply-add loop, tiles of 3, 2 and 1 vectors")
    for isa in _isa.supported():
        for compute, dtype in enumerate(TYPES):
            lanes, tallest = tile_of(_isa.load(isa), compute)
            for height in (8, 4, 2, 1):
                if height > tallest:
                    continue
                fractions = []
                for vectors in (3, 2, 1):
                    fraction = tile_fraction(dtype, height, vectors, isa)
                    if height == tallest and vectors > 1:
                        for _ in range(TRIES - 1):
                            if fraction >= FLOOR:
                                break
                            time.sleep(PAUSE)
                            fraction = max(fraction, tile_fraction(dtype, height, vectors, isa))
                        if fraction < FLOOR:
                            slow.append(
                                f"{isa} {dtype}: a tile of {height} rows x {vectors * lanes} lanes "
                                f"runs at {fraction:.2f} of the multiply-add loop"
                            )
                    fractions.append(f"{fraction:.2f}")
                print(f"{isa:9} {dtype}  {height} rows  " + "  ".join(fractions))
    return slow


def main() -> int:
    slow = slow_tiles()
    for line in slow:
        print(f"SLOW KERNEL, below {FLOOR}: {line}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
