"""What the benchmarks share: implementations by name, the count of work, a stop-watch.

Nothing here imports fastconv or PyTorch before a benchmark is set up. Where asv forks its
benchmark processes (``--launch-method forkserver``) an import in the parent would leave the
children with threads that did not survive the fork, and with figures for one core.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from .layers import LAYERS, Layer

#: Parameters of the benchmarks: a further implementation is a name here and a branch in `prepare`.
IMPLEMENTATIONS = ["fastconv", "torch"]

ISAS = ["baseline", "avx2", "avx512", "neon"]


def need_isa(isa: str) -> None:
    """Leave out a benchmark of an instruction set that this CPU does not have.

    Raises
    ------
    NotImplementedError
        asv reports this as "n/a".
    """
    from fastconv import _isa

    if isa not in _isa.supported():
        raise NotImplementedError(f"this CPU has no {isa}")


def prepare(layer: str, implementation: str) -> Callable[[], Any]:
    """A call without arguments that computes one layer with one implementation.

    Raises
    ------
    NotImplementedError
        If a peer is not installed; asv reports this as "n/a". fastconv itself has to be.
    """
    spec = LAYERS[layer]
    if implementation == "torch":
        if importlib.util.find_spec("torch") is None:
            raise NotImplementedError("torch is not installed")
        return _torch(spec)
    from fastconv import conv_transpose

    x, w, bias = spec.operands()
    return lambda: conv_transpose(x, w, bias, **spec.options)


def _torch(spec: Any) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(workers())
    function = getattr(torch.nn.functional, f"conv_transpose{len(spec.spatial)}d")
    x, w, bias = map(torch.from_numpy, spec.operands())

    def call() -> Any:
        with torch.inference_mode():
            return function(x, w, bias, **spec.options)

    return call


def workers() -> int:
    """Threads that every implementation gets: what fastconv uses when it is not told."""
    from fastconv import _threads

    if _threads.forked():
        raise RuntimeError("a forked process computes in one thread: use --launch-method spawn")
    return _threads.resolve(None)


def flops(layer: Layer) -> int:
    """Twice the multiply-adds that reach the output, of the real parts where numbers are complex.

    Taps that are cropped away do not count.
    """
    return int(_told(layer)["flops"])


def bound_seconds(layer: Layer) -> float:
    """What no implementation of the direct algorithm can be faster than on as many threads.

    Its arithmetic at the speed of a multiply-add loop, or moving operands and result once at the
    speed of a copy, whichever takes longer; both are measured now.
    """
    from fastconv._config import bandwidth_gbs, peak_gflops

    told, threads = _told(layer), workers()
    arithmetic = told["flops"] / peak_gflops(layer.dtype, threads)
    return max(arithmetic, told["bytes"] / bandwidth_gbs(threads)) / 1e9


@cache
def _told(layer: Layer) -> dict[str, Any]:
    from fastconv._api import explain

    return explain(layer.x_shape, layer.w_shape, layer.dtype, **layer.options)


def median_seconds(call: Callable[[], Any], budget: float = 0.25, most: int = 50) -> float:
    """Median time of a call, after one that is not counted, within about `budget` seconds."""
    call()
    samples: list[float] = []
    end = time.perf_counter() + budget
    while len(samples) < 3 or (time.perf_counter() < end and len(samples) < most):
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)
