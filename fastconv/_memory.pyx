"""How Cython modules get at memory, of arrays and their own, and at a table of kernels."""

cimport cython
from cpython.buffer cimport (
    PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer

from fastconv._types cimport LINE, KernelTable

cdef extern from *:
    """
    #if defined(__linux__)
    #include <stdint.h>
    #include <sys/mman.h>
    #endif
    static void fastconv_want_huge_pages(char *start, size_t size) {
    #if defined(MADV_HUGEPAGE)
        uintptr_t skip = (4096 - (uintptr_t)start % 4096) % 4096;
        (void)madvise(start + skip, size - skip, MADV_HUGEPAGE);
    #else
        (void)start;
        (void)size;
    #endif
    }
    """
    void fastconv_want_huge_pages(char* start, size_t size) nogil

cdef enum:
    HUGE = 1 << 22         # bytes from which on large pages are asked for, as NumPy does


@cython.final
@cython.freelist(8)
cdef class Buffer:
    """A borrowed pointer to the memory of an array, given back with the object."""

    def __cinit__(self, array, bint writable):
        PyObject_GetBuffer(array, &self.view, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


@cython.final
@cython.freelist(8)
cdef class Memory:
    """Bytes of any content from a cache line on, freed with the object."""

    def __cinit__(self, Py_ssize_t size):
        self.block = <char*> PyMem_RawMalloc(size + LINE)
        if self.block == NULL:
            raise MemoryError(f"no memory for {size} bytes of scratch")
        if size >= HUGE:
            fastconv_want_huge_pages(self.block, size)
        self.start = aligned(self.block)

    def __dealloc__(self):
        PyMem_RawFree(self.block)


cdef const KernelTable* kernel_table(capsule) except NULL:
    """The table that a module of kernels hands out."""
    return <const KernelTable*> PyCapsule_GetPointer(capsule, b"fastconv.kernels")
