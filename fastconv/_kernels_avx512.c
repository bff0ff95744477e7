/* Kernels for x86-64 with AVX-512 (x86-64-v4): 32 registers of 64 bytes. */
#define PyInit__kernels PyInit__kernels_avx512
#define VECTOR_FLOATS 16
#define TALLEST 8
#define ROWS_AHEAD 0
#include "_kernels.c"
