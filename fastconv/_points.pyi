from typing import Any

from numpy.typing import NDArray

from ._problem import Problem

class Points:
    work: float
    tasks: int
    workers: int
    by_unit: bool
    sets: tuple[int, int]
    phases: int
    tile: tuple[int, int]
    lane_axis: str
    packed_bytes: int
    shared_bytes: int
    relaid_bytes: int
    worker_bytes: int
    def __init__(
        self, problem: Problem, compute: int, vector: int, height: int, workers: int
    ) -> None: ...

def run(
    points: Points,
    kernels: Any,
    code: int,
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any],
    y: NDArray[Any],
) -> bool: ...
