# Products of vectors with vectors, for groups of one channel. Part of _kernels.pxi.

cdef enum:
    BLOCK = 4              # vectors that are computed at a time
    AHEAD_PIXELS = 8       # results whose lines are fetched before

# How many, carried by a type.
cdef struct OneVector:
    char unused
cdef struct BlockOfVectors:
    char unused

ctypedef fused width_t:
    OneVector
    BlockOfVectors


cdef inline void depthwise_block(
        const float_t** weights, const float_t** rows, Py_ssize_t taps, const float_t* bias,
        Py_ssize_t at, Py_ssize_t row, float_t* dst, bint streamed, width_t* tag) noexcept nogil:
    """The lanes from `at` on of one result, `row` bytes past the rows."""
    cdef float_t acc[4 * BLOCK * VECTOR_FLOATS]
    cdef const float_t* a
    cdef const float_t* b
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), t, j
    if width_t is BlockOfVectors:
        lanes *= BLOCK
    for j in range(4 * BLOCK * VECTOR_FLOATS):
        acc[j] = 0
    for t in range(taps):
        a = weights[t] + at
        b = <const float_t*> (<const char*> (rows[t] + at) + row)
        for j in range(lanes):
            acc[j] += a[j] * b[j]
    for j in range(lanes):
        acc[j] += bias[at + j]
    if streamed:
        stream_run(<char*> (dst + at), <char*> acc, lanes * sizeof(float_t))
        return
    for j in range(lanes):
        dst[at + j] = acc[j]


cdef void depthwise(
        const float_t** weights, const float_t** rows, Py_ssize_t taps, const float_t* bias,
        Py_ssize_t n, Py_ssize_t count, Py_ssize_t row_step, char* dst,
        Py_ssize_t dst_step, bint streamed) noexcept nogil:
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), r, at, line
    cdef float_t* to
    for r in range(count):
        to = <float_t*> (dst + r * dst_step)
        at = 0
        for line in range(0 if streamed else n * <Py_ssize_t> sizeof(float_t) // LINE):
            prefetch_result(<char*> to + (AHEAD_PIXELS * dst_step + LINE * line))
        while at + BLOCK * lanes <= n:
            depthwise_block[float_t, BlockOfVectors](
                weights, rows, taps, bias, at, r * row_step, to, streamed, NULL)
            at += BLOCK * lanes
        while at < n:
            # The last ones are moved back, and some computed twice.
            at = min(at, n - lanes)
            depthwise_block[float_t, OneVector](
                weights, rows, taps, bias, at, r * row_step, to, streamed, NULL)
            at += lanes
