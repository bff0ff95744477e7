from collections.abc import Sequence

from ._problem import Problem

SAFE_TAPS: int
SAFE_DILATION: int
MOST_BYTES: float

def lane_products(problem: Problem, vector: int) -> float: ...
def multiply_adds(problem: Problem) -> int: ...

class Plan:
    def __init__(
        self,
        problem: Problem,
        x_strides: tuple[int, ...],
        w_strides: tuple[int, ...],
        y_strides: tuple[int, ...],
        images: int,
        compute: int,
        components: int,
        element: int,
        vector: int,
        height: int,
        workers: int | None,
        exact: bool = False,
    ) -> None: ...
    macs: float
    lane_axis: str
    tasks: int
    workers: int
    relaid: int
    scratch_bytes: int
    phases: int
    tile: tuple[int, int]
    flat: bool
    strung: bool
    tiled: bool
    by_panel: bool
    joined: bool
    short_rows: bool
    streamed: bool
    fetched: bool
    stencil: str | None
    shared: bool
    pixelwise: bool
    groups: int
    complete: bool
    def places(self) -> list[list[tuple[Sequence[int], ...]]]: ...
