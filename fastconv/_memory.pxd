from libc.stdint cimport uintptr_t

from fastconv._types cimport KernelTable

cdef extern from "fenv.h" nogil:
    ctypedef struct fenv_t:
        pass
    const fenv_t* FE_DFL_ENV
    int fegetenv(fenv_t*)
    int fesetenv(const fenv_t*)


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


# Workers compute in the default floating-point environment, whatever mode the caller set, so
# that the bits do not depend on the thread; the caller's own comes back with its flags.
cdef inline void enter_fenv(fenv_t* caller) noexcept nogil:
    fegetenv(caller)
    fesetenv(FE_DFL_ENV)


cdef inline void leave_fenv(const fenv_t* caller) noexcept nogil:
    fesetenv(caller)
