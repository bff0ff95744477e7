/* Kernels for x86-64 with AVX2 and FMA (x86-64-v3): 16 registers of 32 bytes. */
#define PyInit__kernels PyInit__kernels_avx2
#define VECTOR_FLOATS 8
#define TALLEST 4
#define ROWS_AHEAD 10
#include "_kernels.c"
