# Columns added to the rows of the result that their taps reach, or put there. Part of _kernels.pyx.

cdef inline void add_results(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t stride,
        Py_ssize_t first, Py_ssize_t stop, bint all_there, real_t* dst, bint put,
        real_t start) noexcept nogil:
    """Runs [first, stop) of `stride` results: run i is reached by pixels i, i - 1 and so on.

    n and `stride`, at most 8, are constants. What pixels overlap in is read and written once, since
    reading what two stores have just written means waiting for both.
    """
    cdef real_t acc[8]
    cdef Py_ssize_t i, j, u, width = min(stride, n)
    cdef const real_t* row
    for i in range(first, stop):
        for u in range(width):
            acc[u] = start if put else dst[i * stride + u]
        for j in range((n + stride - 1) // stride):
            if all_there or 0 <= i - j < count:
                row = src + ((i - j) * src_step + j * stride)
                for u in range(min(stride, n - j * stride)):
                    acc[u] += row[u]
        for u in range(width):
            dst[i * stride + u] = acc[u]


cdef inline void add_cut(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t stride,
        Py_ssize_t i, Py_ssize_t at, Py_ssize_t length, real_t* dst, bint put,
        real_t start) noexcept nogil:
    """One run of them, those that are within [0, length)."""
    cdef Py_ssize_t u, j, o
    for u in range(min(stride, n)):
        o = at + i * stride + u
        if 0 <= o < length:
            if put:
                dst[o] = start
            for j in range((n - u + stride - 1) // stride):
                if 0 <= i - j < count:
                    dst[o] += src[(i - j) * src_step + j * stride + u]


cdef inline void add_dense(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t at,
        Py_ssize_t stride, Py_ssize_t length, const Rows* rows, real_t* dst, bint put,
        real_t start) noexcept nogil:
    """All pixels, of n neighbours each, run after run of results."""
    cdef Py_ssize_t turns = (n + stride - 1) // stride, runs = count + turns - 1, i, row
    # Runs [low, high) are not cut, and runs [inner, outer) have all their pixels.
    cdef Py_ssize_t low = min(max(0, (stride - 1 - at) // stride), runs)
    cdef Py_ssize_t high = max(low, min(runs, (length - at) // stride if length > at else 0))
    cdef Py_ssize_t inner = max(low, min(high, turns - 1)), outer = max(inner, min(high, count))
    for row in range(rows.n):
        for i in range(low):
            add_cut[real_t](src, src_step, count, n, stride, i, at, length, dst, put, start)
        add_results[real_t](
            src, src_step, count, n, stride, low, inner, False, dst + at, put, start)
        add_results[real_t](
            src, src_step, count, n, stride, inner, outer, True, dst + at, put, start)
        add_results[real_t](
            src, src_step, count, n, stride, outer, high, False, dst + at, put, start)
        for i in range(high, runs):
            add_cut[real_t](src, src_step, count, n, stride, i, at, length, dst, put, start)
        src += rows.src_step
        dst = <real_t*> (<char*> dst + rows.dst_step)


cdef inline void add_apart(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t at,
        Py_ssize_t stride, Py_ssize_t dilation, Py_ssize_t length, const Rows* rows, char* dst,
        Py_ssize_t lane_step, bint put, real_t start) noexcept nogil:
    """Pixel after pixel, with any steps."""
    cdef bint dense = dilation * lane_step == <Py_ssize_t> sizeof(real_t)
    cdef Py_ssize_t row, i, u, o, first
    cdef const real_t* pixel
    cdef real_t* to
    for row in range(rows.n):
        for i in range(count - 1, -1, -1):
            pixel = src + i * src_step
            first = at + i * stride
            if dense and first >= 0 and first + n <= length:
                to = <real_t*> (dst + first * lane_step)
                for u in range(n):
                    to[u] = (start if put else to[u]) + pixel[u]
                continue
            for u in range(n):
                o = first + u * dilation
                if o >= 0 and o < length:
                    to = <real_t*> (dst + o * lane_step)
                    to[0] = (start if put else to[0]) + pixel[u]
        src += rows.src_step
        dst += rows.dst_step


cdef inline void add_line(
        const real_t* src, Py_ssize_t count, Py_ssize_t at, Py_ssize_t length, const Rows* rows,
        real_t* dst) noexcept nogil:
    """Pixels of one number, which are neighbours, to results that are."""
    cdef Py_ssize_t low = max(0, -at), high = min(count, length - at), row, i
    for row in range(rows.n):
        for i in range(low, high):
            dst[at + i] += src[i]
        src += rows.src_step
        dst = <real_t*> (<char*> dst + rows.dst_step)


cdef void add(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t at,
        Py_ssize_t stride, Py_ssize_t dilation, Py_ssize_t length, const Rows* rows, char* dst,
        Py_ssize_t lane_step, const real_t* bias) noexcept nogil:
    cdef real_t* to = <real_t*> dst
    cdef bint put = bias != NULL
    cdef real_t start = bias[0] if put else 0
    if dilation != 1 or lane_step != <Py_ssize_t> sizeof(real_t):
        add_apart[real_t](
            src, src_step, count, n, at, stride, dilation, length, rows, dst, lane_step, put, start)
    elif put and n == 2 and stride == 2:
        add_dense[real_t](src, src_step, count, 2, at, 2, length, rows, to, True, start)
    elif put and n == 3 and stride == 3:
        add_dense[real_t](src, src_step, count, 3, at, 3, length, rows, to, True, start)
    elif put and n == 4 and stride == 4:
        add_dense[real_t](src, src_step, count, 4, at, 4, length, rows, to, True, start)
    elif put:
        add_apart[real_t](
            src, src_step, count, n, at, stride, 1, length, rows, dst, lane_step, True, start)
    elif n == 1 and stride == 1 and src_step == 1:
        add_line[real_t](src, count, at, length, rows, to)
    elif n == 4 and stride == 2:
        add_dense[real_t](src, src_step, count, 4, at, 2, length, rows, to, False, 0)
    elif n == 2 and stride == 2:
        add_dense[real_t](src, src_step, count, 2, at, 2, length, rows, to, False, 0)
    elif n == 4 and stride == 4:
        add_dense[real_t](src, src_step, count, 4, at, 4, length, rows, to, False, 0)
    elif n == 3 and stride == 2:
        add_dense[real_t](src, src_step, count, 3, at, 2, length, rows, to, False, 0)
    elif n == 5 and stride == 2:
        add_dense[real_t](src, src_step, count, 5, at, 2, length, rows, to, False, 0)
    elif n == 3 and stride == 1:
        add_dense[real_t](src, src_step, count, 3, at, 1, length, rows, to, False, 0)
    elif n == 8 and stride == 4:
        add_dense[real_t](src, src_step, count, 8, at, 4, length, rows, to, False, 0)
    elif n == 16 and stride == 8:
        add_dense[real_t](src, src_step, count, 16, at, 8, length, rows, to, False, 0)
    else:
        add_apart[real_t](
            src, src_step, count, n, at, stride, 1, length, rows, dst, lane_step, False, 0)
