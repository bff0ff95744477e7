from typing import Any

from numpy.typing import NDArray

from ._problem import Problem

def panel_bytes(problem: Problem, images: int, size: int, karatsuba: bool) -> int: ...
def worker_bytes(
    problem: Problem, images: int, workers: int, vector: int, size: int, karatsuba: bool
) -> int: ...
def count_tasks(
    problem: Problem, workers: int, vector: int, karatsuba: bool
) -> int: ...
def task_columns(
    problem: Problem, workers: int, vector: int, karatsuba: bool
) -> list[int]: ...
def count_rows(problem: Problem) -> int: ...
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
    karatsuba: bool,
) -> bool: ...
