# C signatures for the compiled form of `_problem.py`, which stays plain Python.

cimport cython


cpdef as_index(value, str name)
cdef tuple _per_axis(value, str name, Py_ssize_t d, Py_ssize_t minimum)
cdef tuple _padding_pairs(padding, Py_ssize_t d)


@cython.locals(a=Py_ssize_t, d=Py_ssize_t, crop=tuple)
cdef tuple _windows(
    list full, tuple spatial_in, tuple stride, tuple dilation, padding, output_padding, output_size,
)


@cython.locals(
    a=Py_ssize_t, d=Py_ssize_t, ndim=Py_ssize_t, first=Py_ssize_t, split=Py_ssize_t, batch=tuple,
    spatial_in=tuple, kernel=tuple, crop=tuple, spatial_out=tuple, full=list,
)
cpdef make_problem(
    tuple x_shape, tuple w_shape, stride, padding, output_padding, output_size, dilation, groups,
    channel_axis,
)
