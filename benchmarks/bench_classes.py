"""One benchmark for each class of problems, as time and as a share of what bounds it.

Rows that differ in one thing stand next to each other: channels in groups next to dense ones, types
next to float32, memory layouts next to contiguous arrays, instruction sets next to the best.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from .common import ISAS, bound_seconds, median_seconds, need_isa
from .layers import CLASSES


def _fraction_of_bound(name: str, call: Callable[[], Any]) -> float:
    """The bound over the time; the bound is taken before and after, as the clock drifts."""
    before = bound_seconds(CLASSES[name])
    seconds = median_seconds(call)
    return min(before, bound_seconds(CLASSES[name])) / seconds


class Classes:
    """A call with contiguous operands, channels first, and a fresh result."""

    params = [list(CLASSES)]
    param_names = ["class"]
    timeout = 60
    warmup_time = 0.1

    def setup(self, name: str) -> None:
        # asv repeats the set-up before every sample; the operands are drawn once.
        if not hasattr(self, "call"):
            from fastconv import conv_transpose

            layer = CLASSES[name]
            x, w, bias = layer.operands()
            self.call = lambda: conv_transpose(x, w, bias, **layer.options)

    def time_call(self, name: str) -> None:
        self.call()

    def track_fraction_of_bound(self, name: str) -> float:
        return _fraction_of_bound(name, self.call)


class Layouts:
    """Some classes with other memory layouts of x; the result has the same channel axis."""

    params = [
        ["contiguous", "channels last", "transposed", "every second", "reversed"],
        ["dense", "k_equals_s", "depthwise", "colours"],
    ]
    param_names = ["layout", "class"]
    timeout = 60
    warmup_time = 0.1

    def setup(self, layout: str, name: str) -> None:
        if not hasattr(self, "call"):
            import numpy as np

            from fastconv import conv_transpose

            layer = CLASSES[name]
            x, w, bias = layer.operands()
            options: dict[str, Any] = dict(layer.options)
            if layout == "channels last":
                x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
                options["channel_axis"] = -1
            elif layout == "transposed":
                x = np.ascontiguousarray(x.swapaxes(2, 3)).swapaxes(2, 3)
            elif layout == "every second":
                x = np.repeat(x, 2, axis=3)[..., ::2]
            elif layout == "reversed":
                x = x[:, :, ::-1, ::-1]
            self.call = lambda: conv_transpose(x, w, bias, **options)

    def time_call(self, layout: str, name: str) -> None:
        self.call()

    def track_fraction_of_bound(self, layout: str, name: str) -> float:
        return _fraction_of_bound(name, self.call)


class InstructionSets:
    """Some classes with each instruction set; the bound is that set's own."""

    params = [
        ISAS,
        ["near_peak", "k_equals_s", "three_outputs", "one_axis", "depthwise", "colours", "dense",
         "float64"],
    ]
    param_names = ["instruction set", "class"]
    timeout = 60
    warmup_time = 0.1

    def setup(self, isa: str, name: str) -> None:
        from fastconv import _isa, conv_transpose

        need_isa(isa)
        # Each benchmark has a process of its own, which stays with this set.
        _isa.use(isa)
        if not hasattr(self, "call"):
            layer = CLASSES[name]
            x, w, bias = layer.operands()
            self.call = lambda: conv_transpose(x, w, bias, **layer.options)

    def time_call(self, isa: str, name: str) -> None:
        self.call()

    def track_fraction_of_bound(self, isa: str, name: str) -> float:
        return _fraction_of_bound(name, self.call)


class Shapes:
    """Calls whose shape was seen before, and calls whose shape is new each time: no difference."""

    params = [["same", "new"], ["small", "dense"]]
    param_names = ["shapes", "class"]
    timeout = 60

    def setup(self, shapes: str, name: str) -> None:
        if hasattr(self, "call"):
            return
        from fastconv import conv_transpose

        layer = CLASSES[name]
        x, w, bias = layer.operands()
        height, width = layer.spatial
        # Cutting up to a quarter off each axis of x: a view, of which no two are alike for long.
        cuts = itertools.cycle(itertools.product(range(height // 4), range(width // 4)))
        middle = (height // 8, width // 8)

        def call() -> Any:
            rows, columns = next(cuts) if shapes == "new" else middle
            return conv_transpose(x[:, :, rows:, columns:], w, bias, **layer.options)

        self.call = call

    def time_call(self, shapes: str, name: str) -> None:
        self.call()

    def track_fraction_of_bound(self, shapes: str, name: str) -> float:
        """Of the whole shape's bound: both parameters are cut alike on average."""
        return _fraction_of_bound(name, self.call)


class FirstCall:
    """The first call of a process, and the second: threads start in the first."""

    number = 1
    rounds = 1
    repeat = (3, 10, 3.0)
    timeout = 60

    OPERANDS = """
import numpy as np
from fastconv import conv_transpose
x, w = np.ones((1, 64, 64, 64), np.float32), np.ones((64, 64, 4, 4), np.float32)
"""

    def timeraw_first_call(self) -> tuple[str, str]:
        return "conv_transpose(x, w, stride=2, padding=1)", self.OPERANDS

    def timeraw_second_call(self) -> tuple[str, str]:
        call = "conv_transpose(x, w, stride=2, padding=1)"
        return call, self.OPERANDS + call


for _group in (Classes, Layouts, InstructionSets, Shapes):
    _group.track_fraction_of_bound.unit = "fraction of bound"  # type: ignore[attr-defined]
