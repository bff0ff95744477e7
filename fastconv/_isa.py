"""Which instruction set's kernels run: the best that was built, that CPU and system support.

``FASTCONV_ISA`` caps the choice. A module of kernels is imported only after the check, since
its flags apply to the whole of it.
"""

from __future__ import annotations

import importlib.util
import os
import platform

from . import _runtime

#: From the smallest to the largest. On Arm there is one, and it is the compiler's default.
ORDER = ("neon",) if platform.machine().lower() in ("aarch64", "arm64") else (
    "baseline",
    "avx2",
    "avx512",
)

#: Bytes of the vector that "auto" reckons with, since it takes the same method on each.
RECKONED = 32

_NAMES = ("baseline", "avx2", "avx512", "neon")


def module_name(isa: str) -> str:
    """The extension module that holds the kernels of an instruction set."""
    return "fastconv._kernels_" + ("baseline" if isa == "neon" else isa)


def built() -> list[str]:
    """Instruction sets whose kernels this build contains."""
    return [isa for isa in ORDER if importlib.util.find_spec(module_name(isa)) is not None]


def supported() -> list[str]:
    """Instruction sets that were built and that this CPU and its system support."""
    return [isa for isa in built() if _runtime.cpu_supports(isa)]


def choose(cap: str | None) -> str:
    """The best supported instruction set that is not above `cap`."""
    if cap and cap not in _NAMES:
        raise ValueError(f"FASTCONV_ISA={cap!r} must be one of {', '.join(_NAMES)}")
    best = supported()
    if cap in ORDER:
        best = [isa for isa in best if ORDER.index(isa) <= ORDER.index(cap)]
    return best[-1]


def load(isa: str) -> object:
    """The table of kernels of an instruction set."""
    return importlib.import_module(module_name(isa)).table()


active = choose(os.environ.get("FASTCONV_ISA"))
kernels = load(active)

#: ``(lanes of a vector, rows of the tallest tile)`` for each compute type.
tiles = [_runtime.tile_of(kernels, compute) for compute in range(3)]


def use(isa: str) -> None:
    """Switch to another supported instruction set, for tests and benchmarks."""
    global active, kernels
    if isa not in supported():
        raise ValueError(f"instruction set {isa!r} is not among {supported()}")
    active, kernels = isa, load(isa)
    tiles[:] = [_runtime.tile_of(kernels, compute) for compute in range(3)]
