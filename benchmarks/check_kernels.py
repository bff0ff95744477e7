"""Fail where a micro-kernel is much slower than the multiply-add loop compiled next to it.

    python benchmarks/check_kernels.py

The large tiles, in which nearly all work is done, and the kernels that store what they add up must
reach 60 % of the loop; a compiler that unrolls lanes before it vectorises them, or keeps
accumulators in memory, falls to 5 to 50 %. Tiles of one vector or fewer rows have a load for each
multiply-add or too few sums to hide its latency; they are reported.

With baseline x86-64 the kernels that store must reach 45 %: each of its products takes a copy of an
operand, and sixteen registers are one too few, so that a sum of short sums goes through memory.
That costs nothing where the processor renames memory (0.60 to 0.65 of the loop on Zen 4), and the
latency of a store and a load elsewhere (0.49 to 0.55 on Zen 3).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

FLOOR = 0.6
STORING_FLOORS = {"baseline": 0.45}
TYPES = ("float32", "float64")

#: A tile below the floor is measured this often before it counts as slow, with a pause in seconds
#: before each: a neighbour on the same core takes loads from a tile, but nothing from the loop.
TRIES = 60
PAUSE = 1.0


def fastest(fraction: Callable[[], float], floor: float = FLOOR) -> float:
    """A fraction, measured again while it is below the floor."""
    best = fraction()
    for _ in range(TRIES - 1):
        if best >= floor:
            break
        time.sleep(PAUSE)
        best = max(best, fraction())
    return best


def slow_kernels() -> list[str]:
    """Print a line for each kind of kernel; the descriptions of large ones below the floor."""
    from fastconv import _isa
    from fastconv._config import KERNELS, kernel_fraction, tile_fraction
    from fastconv._runtime import tile_of

    slow = []
    print("fraction of the multiply-add loop, tiles of 3, 2 and 1 vectors, and other kernels")
    for isa in _isa.supported():
        floor = STORING_FLOORS.get(isa, FLOOR)
        for compute, dtype in enumerate(TYPES):
            lanes, tallest = tile_of(_isa.load(isa), compute)
            for height in (8, 4, 2, 1):
                if height > tallest:
                    continue
                fractions = []
                for vectors in (3, 2, 1):
                    run = partial(tile_fraction, dtype, height, vectors, isa)
                    large = height == tallest and vectors > 1
                    fraction = fastest(run) if large else run()
                    if large and fraction < FLOOR:
                        slow.append(
                            f"{isa} {dtype}: a tile of {height} rows x {vectors * lanes} lanes "
                            f"runs at {fraction:.2f} of the multiply-add loop"
                        )
                    fractions.append(f"{fraction:.2f}")
                print(f"{isa:9} {dtype}  {height} rows  " + "  ".join(fractions))
            for kernel in KERNELS:
                fraction = fastest(partial(kernel_fraction, kernel, dtype, isa), floor)
                if fraction < floor:
                    slow.append(
                        f"{isa} {dtype}: {kernel} runs at {fraction:.2f} of the multiply-add loop")
                print(f"{isa:9} {dtype}  {kernel}  {fraction:.2f}")
    return slow


def main() -> int:
    slow = slow_kernels()
    for line in slow:
        print(f"SLOW KERNEL: {line}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
