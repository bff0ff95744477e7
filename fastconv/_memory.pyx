"""How Cython modules get at memory, of arrays and their own, and at a table of kernels."""

cimport cython
from cpython.buffer cimport (
    PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer

from fastconv._types cimport LARGE_RESULT, LINE, KernelTable

cdef extern from *:
    """
    #if defined(__linux__)
    #include <stdint.h>
    #include <sys/mman.h>
    #include <unistd.h>
    /* Advice about the whole pages of a piece of memory and no others: the system rounds up. */
    static void fastconv_advise(char *start, size_t size, int advice) {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        uintptr_t skip = (page - (uintptr_t)start % page) % page;
        if (size > skip)
            (void)madvise(start + skip, (size - skip) / page * page, advice);
    }
    #endif
    static void fastconv_want_huge_pages(char *start, size_t size) {
    #if defined(MADV_HUGEPAGE)
        fastconv_advise(start, size, MADV_HUGEPAGE);
    #else
        (void)start;
        (void)size;
    #endif
    }
    """
    void fastconv_want_huge_pages(char* start, size_t size) nogil

cdef extern from *:
    """
    #if defined(_MSC_VER)
    #include <intrin.h>
    #define fastconv_exchange(place, value) _InterlockedExchangePointer((void **)(place), value)
    #else
    #define fastconv_exchange(place, value) __atomic_exchange_n(place, value, __ATOMIC_ACQ_REL)
    #endif
    /* The system may take these pages back whenever it needs memory, and not before. */
    static void fastconv_lend_pages(char *start, size_t size) {
    #if defined(MADV_FREE)
        fastconv_advise(start, size, MADV_FREE);
    #else
        (void)start;
        (void)size;
    #endif
    }
    """
    Block* fastconv_exchange(Block** place, Block* value) nogil
    void fastconv_lend_pages(char* start, size_t size) nogil

cdef enum:
    HUGE = 1 << 22         # bytes from which on large pages are asked for, as NumPy does
    HEAD = 64              # bytes of a block before its own, which are not lent
    LEAST_KEPT = 1 << 17   # bytes of a block that is kept: less the C library keeps for certain,
    MOST_KEPT = 1 << 28    # and more is not kept
    ANY_SIZE = 1 << 22     # bytes of a block that may be used for anything smaller

large_result = LARGE_RESULT


# The blocks of the last large result, the last planes and the last scratch that were given up, for
# the next ones: fresh memory has to be cleared by the system first, which takes as long as many a
# layer's products, and the C library may give it back as soon as it is free.
cdef Block* kept_result = NULL
cdef Block* kept_planes = NULL
cdef Block* kept_scratch = NULL


cdef Block* take_block(Block** kept, Py_ssize_t size) noexcept:
    """The block that is kept, if its size fits, or a new one; NULL if there is no memory."""
    cdef Block* block = fastconv_exchange(kept, NULL)
    if block != NULL and size <= block.size <= max(size + size // 2, ANY_SIZE):
        return block
    PyMem_RawFree(block)
    block = <Block*> PyMem_RawMalloc(HEAD + size + LINE)
    if block != NULL:
        block.size = size
        block.start = aligned(<char*> block + HEAD)
        if size >= HUGE:
            fastconv_want_huge_pages(<char*> block, HEAD + size)
    return block


cdef void give_block(Block** kept, Block* block) noexcept:
    """Keep a block instead of the one before it."""
    if block.size <= MOST_KEPT:
        if block.size >= LARGE_RESULT:
            fastconv_lend_pages(block.start, block.size)
        block = fastconv_exchange(kept, block)
    PyMem_RawFree(block)


@cython.final
cdef class KeptMemory:
    """The buffer of a large result, or of planes, from a cache line on.

    When the last array that uses it is gone, it is kept for the next one of its kind and of about
    the same size: one block of each, of 256 MiB at most, which the system may take back at any time
    where it is large. Planes are a kind of their own since other scratch is used beside them.
    """

    cdef Block* block
    cdef Block** kept
    cdef Py_ssize_t size

    def __cinit__(self, Py_ssize_t size, bint planes=False):
        self.size = size
        self.kept = &kept_planes if planes else &kept_result
        self.block = take_block(self.kept, size)
        if self.block == NULL:
            what = "scratch" if planes else "a result"
            raise MemoryError(f"no memory for {what} of {size} bytes")

    def __dealloc__(self):
        if self.block != NULL:
            give_block(self.kept, self.block)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.block.start, self.size, False, flags)


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
    """Bytes of scratch, of any content, from a cache line on, given up with the object."""

    def __cinit__(self, Py_ssize_t size):
        if size >= LEAST_KEPT:
            self.kept = take_block(&kept_scratch, size)
            if self.kept != NULL:
                self.start = self.kept.start
        else:
            self.block = PyMem_RawMalloc(size + LINE)
            if self.block != NULL:
                self.start = aligned(self.block)
        if self.start == NULL:
            raise MemoryError(f"no memory for {size} bytes of scratch")

    def __dealloc__(self):
        if self.kept != NULL:
            give_block(&kept_scratch, self.kept)
        PyMem_RawFree(self.block)


cdef const KernelTable* kernel_table(capsule) except NULL:
    """The table that a module of kernels hands out."""
    return <const KernelTable*> PyCapsule_GetPointer(capsule, b"fastconv.kernels")
