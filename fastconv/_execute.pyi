from typing import Any

from numpy.typing import NDArray

from ._plan import Plan

def pack(plan: Plan, kernels: Any, code: int, w: NDArray[Any], packed: NDArray[Any]) -> bool: ...
def run(
    plan: Plan,
    kernels: Any,
    code: int,
    x: NDArray[Any],
    packed: NDArray[Any],
    bias: NDArray[Any],
    y: NDArray[Any],
    relaid: NDArray[Any],
    scratch: NDArray[Any],
) -> None: ...
