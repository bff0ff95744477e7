"""What the compiler put into this build and what the machine it runs on offers."""

from fastconv._memory cimport kernel_table
from fastconv._types cimport KernelTable

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
    #include <cpuid.h>
    /* What x86-64-v3 has besides, for which compilers have different names: F16C, MOVBE, LZCNT. */
    static int fastconv_has_rest_of_v3(void) {
        unsigned a, b, c, d, e;
        return __get_cpuid(1, &a, &b, &c, &d) && __get_cpuid(0x80000001u, &a, &b, &e, &d)
            && (c >> 29 & 1) && (c >> 22 & 1) && (e >> 5 & 1);
    }
    /* The compiler's runtime asks CPUID and, for the wide registers, XGETBV. */
    static int fastconv_has_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
            && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")
            && fastconv_has_rest_of_v3();
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
