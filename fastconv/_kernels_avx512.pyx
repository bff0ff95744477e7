"""Kernels for x86-64 with AVX-512 (x86-64-v4): 32 registers of 64 bytes."""

cdef enum:
    VECTOR_FLOATS = 16
    TALLEST = 8
    ROWS_AHEAD = 0

include "_kernels.pxi"
