"""What was built, what was chosen, and what this machine can do at most."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from . import _isa, _loops, _methods, _runtime, _threads
from ._dtypes import TYPES

#: Rounds of the multiply-add loop that a kernel is timed beside.
ROUNDS = 1 << 16

#: Kernels that hold accumulators, but for the tiles alone.
KERNELS = {
    "beside": _loops.beside_loop,
    "pixels": _loops.pixels_loop,
    "stencil": _loops.stencil_loop,
    "shared": _loops.shared_loop,
}


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Show version, compiler, OpenMP, instruction sets and workers of this installation.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        ``"stdout"`` prints the configuration as JSON, ``"dicts"`` returns it.

    Returns
    -------
    dict or None
        None when it was printed.

    Raises
    ------
    ValueError
        If `mode` is neither of the two.

    Examples
    --------
    >>> import fastconv
    >>> sorted(fastconv.show_config(mode="dicts"))
    ['compiler', 'instruction sets', 'methods', 'openmp', 'platform', 'versions', 'workers']
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', got {mode!r}")
    from . import __version__

    openmp = _runtime.openmp_version()
    config = {
        "versions": {
            "fastconv": __version__,
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        },
        "platform": sys.platform,
        "compiler": _runtime.compiler(),
        "openmp": {"enabled": bool(openmp), "version": openmp},
        "instruction sets": {
            "built": _isa.built(),
            "supported": _isa.supported(),
            "chosen": _isa.active,
        },
        "methods": list(_methods.METHODS),
        "workers": {
            "default": _threads.resolve(None),
            "limited by": {k: v for k, v in _threads.limits().items() if v != float("inf")},
        },
    }
    if mode == "dicts":
        return config
    import json

    print(json.dumps(config, indent=2))
    return None


def _rate(job: Any, workers: int, repeats: int = 5) -> float:
    """The most of `repeats` runs of (sum of what `workers` threads' jobs return) per second.

    A system may leave new threads on one processor for a whole run.
    """
    import threading

    rates = []
    for _ in range(repeats):
        done = [0.0] * workers
        start = threading.Barrier(workers + 1)

        def work(i: int, done: list[float] = done, start: Any = start) -> None:
            start.wait()
            done[i] = job(i)

        team = [threading.Thread(target=work, args=(i,)) for i in range(workers)]
        for thread in team:
            thread.start()
        start.wait()
        begin = time.perf_counter()
        for thread in team:
            thread.join()
        rates.append(sum(done) / (time.perf_counter() - begin))
    return max(rates)


def peak_gflops(dtype: Any = np.float32, workers: int | None = None) -> float:
    """GFLOP/s of a multiply-add loop that stays in registers, on `workers` threads.

    Compiled like the kernels of the active instruction set; the most a method can reach. For
    complex types it is the rate of their real parts.
    """
    compute = TYPES[np.dtype(dtype).char].compute
    rounds = 1 << 21
    kernels = _isa.kernels
    workers = _threads.resolve(workers)
    return _rate(lambda i: _loops.multiply_add_loop(kernels, compute, rounds), workers) / 1e9


def _fraction(dtype: Any, isa: str | None, kernel: Callable[[Any, int], float]) -> float:
    """Speed of a kernel as a fraction of the multiply-add loop's, on one thread.

    Both are compiled alike and run in turn, a fraction of a millisecond at a time; the fastest run
    of each counts. What else the machine does can only slow down a run, so both fastest ones are
    of the same clock, undisturbed.
    """
    compute = TYPES[np.dtype(dtype).char].compute
    kernels = _isa.kernels if isa is None else _isa.load(isa)

    def rate(loop: Callable[[], float]) -> float:
        start = time.perf_counter()
        operations = loop()
        return operations / (time.perf_counter() - start)

    fastest = loop = 0.0
    for _ in range(40):
        fastest = max(fastest, rate(lambda: kernel(kernels, compute)))
        loop = max(loop, rate(lambda: _loops.multiply_add_loop(kernels, compute, ROUNDS)))
    return fastest / loop


def tile_fraction(
    dtype: Any = np.float32, height: int | None = None, vectors: int = 3, isa: str | None = None
) -> float:
    """Speed of a tile as a fraction of the multiply-add loop's, on one thread."""
    def tile(kernels: Any, compute: int) -> float:
        rows = height or _runtime.tile_of(kernels, compute)[1]
        rounds = max(1, ROUNDS // (16 * rows * vectors))
        return _loops.tile_loop(kernels, compute, rows, vectors, rounds)

    return _fraction(dtype, isa, tile)


def kernel_fraction(kernel: str, dtype: Any = np.float32, isa: str | None = None) -> float:
    """The same of the largest shape of another kernel, by its name in `KERNELS`."""
    return _fraction(
        dtype, isa, lambda kernels, compute: KERNELS[kernel](kernels, compute, ROUNDS // 256))


def bandwidth_gbs(workers: int | None = None) -> float:
    """GB/s of copying arrays larger than the caches, bytes read plus bytes written."""
    workers = _threads.resolve(workers)
    arrays = [(np.ones(1 << 24, np.float32), np.ones(1 << 24, np.float32)) for _ in range(workers)]

    def copy(i: int) -> float:
        source, target = arrays[i]
        np.copyto(target, source)
        return source.nbytes + target.nbytes

    return _rate(copy, workers) / 1e9
