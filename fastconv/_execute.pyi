from typing import Any

from numpy.typing import NDArray

from ._plan import Plan

def run(
    plan: Plan,
    kernels: Any,
    code: int,
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any] | None,
    y: NDArray[Any],
) -> bool: ...
