"""How Cython modules get at the memory of arrays and at a table of kernels."""

from cpython.buffer cimport (
    PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.pycapsule cimport PyCapsule_GetPointer

from fastconv._types cimport KernelTable


cdef class Buffer:
    """A borrowed pointer to the memory of an array, given back with the object."""

    def __cinit__(self, array, bint writable):
        PyObject_GetBuffer(array, &self.view, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef const KernelTable* kernel_table(capsule) except NULL:
    """The table that a module of kernels hands out."""
    return <const KernelTable*> PyCapsule_GetPointer(capsule, b"fastconv.kernels")
