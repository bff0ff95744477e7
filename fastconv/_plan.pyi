from ._problem import Problem

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
        workers: int,
        exact: bool = False,
    ) -> None: ...
    lane_axis: str
    macs: int
    tasks: int
    workers: int
    packed: int
    relaid: int
    worker_bytes: int
    scratch_bytes: int
    phases: int
    tile: tuple[int, int]
    needs_finite_weights: bool
