from typing import Any

from numpy.typing import NDArray

from ._problem import Problem

def gaps(problem: Problem) -> int: ...
def count_tasks(problem: Problem, size: int) -> tuple[int, int]: ...
def run(
    problem: Problem,
    kernels: Any,
    code: int,
    compute: int,
    planes: NDArray[Any],
    bias: NDArray[Any],
    y: NDArray[Any],
    workers: int,
) -> None: ...
