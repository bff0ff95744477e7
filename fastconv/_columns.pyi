from typing import Any

from numpy.typing import NDArray

from ._problem import Problem

def panel_bytes(problem: Problem, images: int, size: int) -> int: ...
def worker_bytes(problem: Problem, vector: int, size: int) -> int: ...
def tasks(problem: Problem, workers: int) -> tuple[int, int]: ...
def run(
    problem: Problem,
    kernels: Any,
    code: int,
    compute: int,
    tile: tuple[int, int],
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any],
    y: NDArray[Any],
    panels: NDArray[Any],
    scratch: NDArray[Any],
    slice_: int,
    workers: int,
) -> None: ...
