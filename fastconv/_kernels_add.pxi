# Columns added to the rows of the result that their taps reach. Part of _kernels.pxi.

cdef inline void add_results(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t stride,
        Py_ssize_t first, Py_ssize_t stop, bint all_there, real_t* dst) noexcept nogil:
    """Runs [first, stop) of `stride` results: run i is reached by rows i, i - 1 and so on.

    n and `stride`, at most 8, are constants. What rows overlap in is read and written once, since
    reading what two stores have just written means waiting for both.
    """
    cdef real_t acc[8]
    cdef Py_ssize_t i, j, u, width = min(stride, n)
    cdef const real_t* row
    for i in range(first, stop):
        for u in range(width):
            acc[u] = dst[i * stride + u]
        for j in range((n + stride - 1) // stride):
            if all_there or 0 <= i - j < count:
                row = src + ((i - j) * src_step + j * stride)
                for u in range(min(stride, n - j * stride)):
                    acc[u] += row[u]
        for u in range(width):
            dst[i * stride + u] = acc[u]


cdef inline void add_cut(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t stride,
        Py_ssize_t i, Py_ssize_t at, Py_ssize_t length, real_t* dst) noexcept nogil:
    """One run of them, those that are within [0, length)."""
    cdef Py_ssize_t u, j, o
    for u in range(min(stride, n)):
        o = at + i * stride + u
        if 0 <= o < length:
            for j in range((n - u + stride - 1) // stride):
                if 0 <= i - j < count:
                    dst[o] += src[(i - j) * src_step + j * stride + u]


cdef inline void add_dense(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t stride,
        Py_ssize_t at, Py_ssize_t length, real_t* dst) noexcept nogil:
    """All rows, of n neighbours each, run after run of results."""
    cdef Py_ssize_t turns = (n + stride - 1) // stride, runs = count + turns - 1, i
    # Runs [low, high) are not cut, and runs [inner, outer) have all their rows.
    cdef Py_ssize_t low = min(max(0, (stride - 1 - at) // stride), runs)
    cdef Py_ssize_t high = max(low, min(runs, (length - at) // stride if length > at else 0))
    cdef Py_ssize_t inner = max(low, min(high, turns - 1)), outer = max(inner, min(high, count))
    for i in range(low):
        add_cut[real_t](src, src_step, count, n, stride, i, at, length, dst)
    add_results[real_t](src, src_step, count, n, stride, low, inner, False, dst + at)
    add_results[real_t](src, src_step, count, n, stride, inner, outer, True, dst + at)
    add_results[real_t](src, src_step, count, n, stride, outer, high, False, dst + at)
    for i in range(high, runs):
        add_cut[real_t](src, src_step, count, n, stride, i, at, length, dst)


cdef inline void add_rows(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t at,
        Py_ssize_t stride, Py_ssize_t dilation, Py_ssize_t length, char* dst,
        Py_ssize_t lane_step) noexcept nogil:
    """Row after row, with any steps."""
    cdef bint dense = dilation * lane_step == <Py_ssize_t> sizeof(real_t)
    cdef Py_ssize_t i, u, o, first
    cdef const real_t* row
    cdef real_t* to
    for i in range(count - 1, -1, -1):
        row = src + i * src_step
        first = at + i * stride
        if dense and first >= 0 and first + n <= length:
            to = <real_t*> (dst + first * lane_step)
            for u in range(n):
                to[u] += row[u]
            continue
        for u in range(n):
            o = first + u * dilation
            if o >= 0 and o < length:
                to = <real_t*> (dst + o * lane_step)
                to[0] += row[u]


cdef void add(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t at,
        Py_ssize_t stride, Py_ssize_t dilation, Py_ssize_t length, char* dst,
        Py_ssize_t lane_step) noexcept nogil:
    cdef real_t* to = <real_t*> dst
    if dilation != 1 or lane_step != <Py_ssize_t> sizeof(real_t):
        add_rows[real_t](
            src, src_step, count, n, at, stride, dilation, length, dst, lane_step)
    elif n == 4 and stride == 2:
        add_dense[real_t](src, src_step, count, 4, 2, at, length, to)
    elif n == 2 and stride == 2:
        add_dense[real_t](src, src_step, count, 2, 2, at, length, to)
    elif n == 4 and stride == 4:
        add_dense[real_t](src, src_step, count, 4, 4, at, length, to)
    elif n == 3 and stride == 2:
        add_dense[real_t](src, src_step, count, 3, 2, at, length, to)
    elif n == 5 and stride == 2:
        add_dense[real_t](src, src_step, count, 5, 2, at, length, to)
    elif n == 3 and stride == 1:
        add_dense[real_t](src, src_step, count, 3, 1, at, length, to)
    elif n == 8 and stride == 4:
        add_dense[real_t](src, src_step, count, 8, 4, at, length, to)
    elif n == 16 and stride == 8:
        add_dense[real_t](src, src_step, count, 16, 8, at, length, to)
    else:
        add_rows[real_t](
            src, src_step, count, n, at, stride, dilation, length, dst, lane_step)
