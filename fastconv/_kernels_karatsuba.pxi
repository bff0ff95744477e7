# What three products in the place of four take before and after them. Part of _kernels.pyx.

cdef inline void split_run(
        const float_t* a, const float_t* b, Py_ssize_t n, float_t* d0, float_t* d1,
        float_t* d2) noexcept nogil:
    """Up to eight neighbours of both halves and their sums."""
    # Through arrays of the function, which nothing overlaps.
    cdef float_t u[8]
    cdef float_t v[8]
    cdef Py_ssize_t i
    for i in range(n):
        u[i] = a[i]
    for i in range(n):
        v[i] = b[i]
    for i in range(n):
        d0[i] = v[i]
    for i in range(n):
        d1[i] = u[i] + v[i]
    for i in range(n):
        d2[i] = u[i]


cdef inline void split_rows(
        const float_t* src, Py_ssize_t src_step, Py_ssize_t depth, Py_ssize_t half,
        Py_ssize_t start, Py_ssize_t width, float_t* dst, Py_ssize_t point_step,
        Py_ssize_t run) noexcept nogil:
    """Rows by runs of so many neighbours."""
    cdef const float_t* a
    cdef float_t* d
    cdef Py_ssize_t k, left
    for k in range(depth):
        a = src + k * src_step
        d = dst + k * width
        # What is left of a half.
        left = half - start
        while d < dst + (k + 1) * width:
            split_run[float_t](a, a + half, run, d, d + point_step, d + 2 * point_step)
            a += run
            d += run
            left -= run
            if left == 0:
                a += half
                left = half


cdef void split_weights(
        const float_t* src, Py_ssize_t src_step, Py_ssize_t depth, Py_ssize_t half,
        Py_ssize_t first, Py_ssize_t width, float_t* dst, Py_ssize_t point_step) noexcept nogil:
    cdef Py_ssize_t start = first % half
    src += first // half * 2 * half + start
    # With constants the compiler takes whole vectors.
    if (half | start | width) % 8 == 0:
        split_rows[float_t](src, src_step, depth, half, start, width, dst, point_step, 8)
    elif (half | start | width) % 4 == 0:
        split_rows[float_t](src, src_step, depth, half, start, width, dst, point_step, 4)
    else:
        split_rows[float_t](src, src_step, depth, half, start, width, dst, point_step, 1)


cdef bint join_products(
        float_t* even, const float_t* both, float_t* odd, Py_ssize_t n) noexcept nogil:
    cdef float_t nan[VECTOR_FLOATS]
    cdef float_t zero = 0
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), i = 0, j
    cdef bint bad = False
    # Zero times Inf or NaN is NaN, and stays.
    for j in range(lanes):
        nan[j] = 0
    while i < n:
        for j in range(lanes):
            even[i + j] += both[i + j]
            nan[j] += zero * even[i + j]
        for j in range(lanes):
            odd[i + j] += both[i + j]
            nan[j] += zero * odd[i + j]
        i += lanes
    for j in range(lanes):
        bad |= nan[j] != 0
    return bad
