from libc.stdint cimport uintptr_t

from fastconv._types cimport KernelTable

cdef extern from *:
    """
    #if defined(__SSE2__) || defined(_M_X64)
    /* All arithmetic is done in vector registers, whose mode has a register of its own on x86. To
       switch the x87 unit as well, as fenv.h does, takes twenty times as long. */
    #include <xmmintrin.h>
    typedef unsigned int fastconv_fenv;
    static inline void fastconv_enter_fenv(fastconv_fenv *caller) {
        *caller = _mm_getcsr();
        _mm_setcsr(_MM_MASK_MASK);
    }
    static inline void fastconv_leave_fenv(const fastconv_fenv *caller) { _mm_setcsr(*caller); }
    #else
    #include <fenv.h>
    typedef fenv_t fastconv_fenv;
    static inline void fastconv_enter_fenv(fastconv_fenv *caller) {
        fegetenv(caller);
        fesetenv(FE_DFL_ENV);
    }
    static inline void fastconv_leave_fenv(const fastconv_fenv *caller) { fesetenv(caller); }
    #endif
    """
    ctypedef struct fenv_t "fastconv_fenv":
        pass
    # Workers compute in the default floating-point environment, whatever mode the caller set, so
    # that the bits do not depend on the thread; the caller's own comes back with its flags.
    void enter_fenv "fastconv_enter_fenv"(fenv_t* caller) noexcept nogil
    void leave_fenv "fastconv_leave_fenv"(const fenv_t* caller) noexcept nogil


cdef class Buffer:
    cdef Py_buffer view


# A piece of memory that is kept when it is given up: `size` bytes from `start` on.
cdef struct Block:
    Py_ssize_t size
    char* start


cdef class Memory:
    cdef void* block
    cdef Block* kept
    cdef char* start


cdef const KernelTable* kernel_table(capsule) except NULL


cdef inline char* aligned(void* p) noexcept nogil:
    """The first address on a cache line from `p` on."""
    return <char*> p + (64 - <uintptr_t> p % 64) % 64
