from typing import Any

from numpy.typing import NDArray

from ._problem import Problem

def panel_bytes(problem: Problem, images: int, size: int) -> int: ...
def worker_bytes(problem: Problem, images: int, vector: int, size: int) -> int: ...
def count_tasks(problem: Problem, workers: int, vector: int) -> int: ...
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
    threads: int,
) -> None: ...
