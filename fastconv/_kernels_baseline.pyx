"""Kernels for any CPU: vectors of 16 bytes, as in SSE2 and NEON."""

cdef enum:
    VECTOR_FLOATS = 4
    TALLEST = 4
    ROWS_AHEAD = 0

include "_kernels.pxi"
