/* Kernels for any CPU: vectors of 16 bytes, as in SSE2 and NEON. */
#define PyInit__kernels PyInit__kernels_baseline
#define VECTOR_FLOATS 4
#define TALLEST 4
#define ROWS_AHEAD 0
#include "_kernels.c"
