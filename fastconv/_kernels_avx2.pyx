"""Kernels for x86-64 with AVX2 and FMA (x86-64-v3): 16 registers of 32 bytes."""

cdef enum:
    VECTOR_FLOATS = 8
    TALLEST = 4
    ROWS_AHEAD = 10

include "_kernels.pxi"
