"""What the compiler put into this build and what the machine it runs on offers."""

from libc.stdlib cimport free, malloc

from fastconv._memory cimport kernel_table
from fastconv._types cimport KernelTable, log2_height

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int fastconv_max_threads(void) { return omp_get_max_threads(); }
    static const int fastconv_openmp = _OPENMP;
    #else
    static int fastconv_max_threads(void) { return 1; }
    static const int fastconv_openmp = 0;
    #endif
    #if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
    /* The compiler's runtime asks CPUID and, for the wide registers, XGETBV. */
    static int fastconv_has_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
            && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    }
    static int fastconv_has_avx512(void) {
        return fastconv_has_avx2() && __builtin_cpu_supports("avx512f")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int fastconv_has_avx2(void) { return 0; }
    static int fastconv_has_avx512(void) { return 0; }
    #endif
    #if defined(__VERSION__)
    static const char *fastconv_compiler = __VERSION__;
    #else
    static const char *fastconv_compiler = "unknown";
    #endif
    """
    int fastconv_max_threads() nogil
    const int fastconv_openmp
    const char* fastconv_compiler
    int fastconv_has_avx2()
    int fastconv_has_avx512()


def max_threads():
    """What OpenMP would use here: 1 without it."""
    return fastconv_max_threads()


def openmp_version():
    """The date of the OpenMP standard this was built with; 0 without OpenMP."""
    return fastconv_openmp


def compiler():
    """The compiler's own name for its version."""
    return fastconv_compiler.decode()


def cpu_supports(str isa):
    """Whether CPU and system run the kernels of an instruction set."""
    if isa == "avx512":
        return bool(fastconv_has_avx512())
    if isa == "avx2":
        return bool(fastconv_has_avx2())
    return True


def tile_of(kernels, int compute):
    """Lanes of a vector and rows of the tallest tile, for a compute type."""
    cdef const KernelTable* k = kernel_table(kernels)
    return k.lanes[compute], k.rows


def multiply_add_loop(kernels, int compute, Py_ssize_t rounds):
    """Run the register-resident multiply-add loop without the GIL; the operations it did."""
    cdef const KernelTable* k = kernel_table(kernels)
    cdef float singles[2]
    cdef double doubles[2]
    cdef unsigned long long integers[2]
    cdef void* tag = <void*> integers
    cdef double operations
    if compute == 0:
        singles[0], singles[1] = 0.999, 0.001
        tag = <void*> singles
    elif compute == 1:
        doubles[0], doubles[1] = 0.999, 0.001
        tag = <void*> doubles
    else:
        integers[0], integers[1] = 3, 1
    with nogil:
        operations = k.peak[compute](rounds, tag)
    return operations


def tile_loop(
    kernels, int compute, Py_ssize_t height, Py_ssize_t vectors, Py_ssize_t rounds,
    Py_ssize_t depth=128,
):
    """Run a tile on operands in the first-level cache; the operations it did."""
    cdef const KernelTable* k = kernel_table(kernels)
    cdef Py_ssize_t size = 4 if compute == 0 else 8
    cdef Py_ssize_t lanes = vectors * k.lanes[compute]
    cdef Py_ssize_t tap = 0, i
    cdef char* memory = <char*> malloc((depth * height + depth * lanes + height * lanes) * size)
    cdef const void* row
    if memory == NULL:
        raise MemoryError("no memory for the operands of a tile")
    for i in range((depth * height + depth * lanes) * size):
        memory[i] = 0
    row = memory + depth * height * size
    with nogil:
        for i in range(rounds):
            k.tile[compute][log2_height(height)][vectors - 1](
                memory, 0, &tap, &row, 1, 1, 0, 0, depth, lanes, 1,
                memory + (depth * height + depth * lanes) * size, lanes, i > 0, 1,
            )
    free(memory)
    return 2.0 * rounds * depth * height * lanes
