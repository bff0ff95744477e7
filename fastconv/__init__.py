"""Fast multi-channel transposed convolution of NumPy arrays in any number of dimensions.

How a call travels, and which file each step is in::

    conv_transpose(x, w, bias, stride=2, ...)          _api.py
        |   types are brought together                 _dtypes.py
        v
    Problem: checked, frozen, all lengths decided      _problem.py
        |
        v
    the method that is expected to take least:         _methods.py
    karatsuba, col2im, planes, winograd,               _karatsuba.py _col2im.py _planes.py
    direct, reference                                  _winograd.py _direct.py _reference.py
        |
        v
    Plan: phases, blocks, tasks, scratch;              _plan.pyx
    arithmetic only                                    _threads.py (how many workers)
        |
        v
    driver: one team of threads packs the              _execute.pyx (direct)
    weights, then takes tasks one by one               _columns.pyx (col2im, karatsuba)
        |                                              _points.pyx (winograd)
        |                                              _overlap.pyx (planes)
        v
    kernels, built once per instruction set from       _kernels.pyx, _types.pxd (contract)
    one source: load rows, multiply tiles, store       _isa.py (which set runs)
        |
        v
    out

One path as an example: float32, stride 2, kernel 4, padding 1. Positions of the full result with
the same remainder modulo 2 are a phase; per axis there are two, each with two taps. The plan runs
the lanes of the vectors along the last axis, so a tile is 48 neighbouring inputs times 8 rows, a
row being an output channel and a phase. A task takes some input rows, copies them once with a
halo of zeros into its scratch, multiplies tiles that stay in registers, and stores both phases
interleaved, plus bias: every result is written once, by one thread, and its sum has one order.

To add a method, write a file and a row in `_methods`; an instruction set, some lines of C and a row
in `setup.py` and `_isa`; a type, a row in `_dtypes` and in `_kernels.pyx`.
"""

from . import filters
from ._api import conv_transpose, output_shape
from ._config import show_config

__version__ = "0.1.0"

__all__ = ["conv_transpose", "filters", "output_shape", "show_config"]
