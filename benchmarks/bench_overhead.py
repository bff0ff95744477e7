"""What a call costs before there is any work worth speaking of."""

from __future__ import annotations

import timeit

OPERANDS = """
import numpy as np
from fastconv import conv_transpose, output_shape
x = np.ones((1, 1, 4, 4), np.float32)
w = np.ones((1, 1, 3, 3), np.float32)
out = np.empty((1, 1, 8, 8), np.float32)
conv_transpose(x, w)
"""

LAYER = """
import numpy as np
from fastconv import conv_transpose
x = np.ones((1, 8, 8, 8), np.float32)
w = np.ones((8, 8, 3, 3), np.float32)
conv_transpose(x, w, stride=2)
"""

LENGTHS = """
import numpy as np
from fastconv import conv_transpose
w = np.ones((8, 8, 3), np.float32)
different = [np.ones((1, 8, n), np.float32) for n in range(64, 114)]
equal = [np.ones((1, 8, 89), np.float32) for _ in different]
"""


class Overhead:
    """A 1x1x4x4 input and a 3x3 kernel: checking, planning, and 144 multiply-adds or fewer."""

    # "Raw" benchmarks run as source text, without the frames that asv puts around a method,
    # which would be a visible part of a few microseconds.
    number = 5000
    rounds = 1
    repeat = (2, 5, 2.0)
    timeout = 60

    def timeraw_defaults(self) -> tuple[str, str]:
        return "conv_transpose(x, w)", OPERANDS

    def timeraw_all_options(self) -> tuple[str, str]:
        return (
            "conv_transpose(x, w, None, stride=(2, 2), padding=((0, 1), (0, 1)), "
            "dilation=(1, 1), channel_axis=-3, out=out)",
            OPERANDS,
        )

    def timeraw_output_shape(self) -> tuple[str, str]:
        return "output_shape((1, 1, 4, 4), (1, 1, 3, 3), stride=2, padding='same')", OPERANDS

    def timeraw_small_layer(self) -> tuple[str, str]:
        """8 channels of 8x8 to 8, kernel 3, stride 2: 37 thousand multiply-adds."""
        return "conv_transpose(x, w, stride=2)", LAYER


class NewShapes:
    """Nothing is compiled or kept for a shape: a new one costs what a known one does."""

    timeout = 60

    def track_new_to_known(self) -> float:
        """Fifty calls of fifty lengths to fifty calls of their mean length."""
        calls = "for x in {}: conv_transpose(x, w, stride=2)"
        new, known = (
            timeit.Timer(calls.format(name), LENGTHS) for name in ("different", "equal")
        )
        # In turn, since the clock of a shared machine drifts.
        pairs = [(new.timeit(20), known.timeit(20)) for _ in range(20)]
        return min(a for a, _ in pairs) / min(b for _, b in pairs)


NewShapes.track_new_to_known.unit = "ratio"  # type: ignore[attr-defined]


class Import:
    """Seconds of the first import in a fresh process; NumPy's own is part of fastconv's."""

    number = 1
    rounds = 1
    repeat = (3, 10, 3.0)
    timeout = 60

    def timeraw_import_fastconv(self) -> str:
        return "import fastconv"

    def timeraw_import_numpy(self) -> str:
        return "import numpy"
