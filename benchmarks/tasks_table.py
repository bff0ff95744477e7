"""Paste into docs/scaling.md how the work of each layer divides among many workers.

    python -m benchmarks.tasks_table

Nothing is computed: method, number of tasks and what each task stores come from the plan, so the
table says the same on a machine with two cores. It belongs to an instruction set, whose tiles the
plan is made for: the best one that this machine has.
"""

from __future__ import annotations

import heapq
import math
from pathlib import Path

from .layers import LAYERS, Layer

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"
BEGIN, END = "<!-- tasks table: begin -->", "<!-- tasks table: end -->"
WORKERS = (8, 16, 64)


def costs(layer: Layer, method: str, tasks: int, workers: int) -> list[int]:
    """What each task costs, in the order in which tasks are taken.

    Results that it stores, or columns of raw weights; other tasks count as equal.
    """
    import numpy as np

    from fastconv import _columns, _direct, _isa
    from fastconv._dtypes import TYPES
    from fastconv._problem import make_problem

    if method in ("winograd", "planes"):
        return [1] * tasks
    problem = make_problem(
        layer.x_shape, layer.w_shape, **layer.options, output_size=None, channel_axis=1)
    if method in ("col2im", "karatsuba"):
        vector = _isa.tiles[TYPES[np.dtype(layer.dtype).char].compute][0]
        return _columns.task_columns(problem, workers, vector, method == "karatsuba")
    plan = _direct.contiguous_plan(problem, np.dtype(layer.dtype), workers)
    return [
        sum(math.prod(len(along) for along in piece) for piece in pieces)
        for pieces in plan.places()
    ]


def imbalance(tasks: list[int], workers: int) -> float:
    """The busiest worker's share over the mean, where each takes the next task when it is free."""
    busy = [0] * workers
    for cost in tasks:
        heapq.heapreplace(busy, busy[0] + cost)
    return max(busy) * workers / sum(tasks)


def table() -> str:
    """The Markdown table, and which layers leave workers without a task."""
    from fastconv import _api, _isa

    lines = [
        "| layer | method | lanes along | "
        + " | ".join(f"{n} workers: tasks | imbalance" for n in WORKERS) + " |",
        "|---|---|---|" + "--:|--:|" * len(WORKERS),
    ]
    idle = []
    for name, layer in LAYERS.items():
        cells = []
        for workers in WORKERS:
            told = _api.explain(
                layer.x_shape, layer.w_shape, layer.dtype, workers=workers, **layer.options)
            share = imbalance(costs(layer, told["method"], told["tasks"], workers), workers)
            cells += [str(told["tasks"]), f"{share:.2f}"]
            if told["tasks"] < workers:
                idle.append(f"{name} ({told['tasks']} tasks for {workers})")
        axis = told.get("lane_axis", "")
        lines.append(f"| {name} | {told['method']} | {axis} | " + " | ".join(cells) + " |")
    lines += ["", f"Tiles of {_isa.active}."]
    if idle:
        lines.append(f"Fewer tasks than workers: {', '.join(idle)}.")
    return "\n".join(lines)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
