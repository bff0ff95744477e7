# Products of vectors with vectors, for groups of one channel. Part of _kernels.pyx.

cdef enum:
    BLOCK = 4              # vectors of a pixel that are computed at a time
    AHEAD_PIXELS = 8       # results whose lines are fetched before

# How many, carried by a type: pixels that share their weights, and vectors of each.
cdef struct Pixels2x4:
    char unused
cdef struct Pixels1x4:
    char unused
cdef struct Pixels1x1:
    char unused

ctypedef fused pixels_t:
    Pixels2x4
    Pixels1x4
    Pixels1x1


cdef inline void depthwise_block(
        const float_t** weights, const float_t** rows, Py_ssize_t taps, const float_t* bias,
        Py_ssize_t at, Py_ssize_t row, Py_ssize_t row_step, char* dst, Py_ssize_t dst_step,
        bint streamed, pixels_t* tag) noexcept nogil:
    """The lanes from `at` on of some results, of which the first is `row` bytes past the rows."""
    cdef float_t acc[2 * BLOCK * VECTOR_FLOATS]
    cdef float_t block[2 * BLOCK * VECTOR_FLOATS]
    cdef const float_t* a
    cdef const char* b
    cdef float_t* to
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), pixels = 1, t, j, p
    if pixels_t is Pixels2x4:
        pixels = 2
    if pixels_t is not Pixels1x1:
        lanes *= BLOCK
    # A loop that surely runs leaves the accumulators in registers.
    assume(taps > 0)
    for j in range(pixels * lanes):
        acc[j] = 0
    for t in range(taps):
        a = weights[t] + at
        b = <const char*> (rows[t] + at) + row
        for p in range(pixels):
            for j in range(lanes):
                acc[p * lanes + j] += a[j] * (<const float_t*> (b + p * row_step))[j]
    for p in range(pixels):
        for j in range(lanes):
            acc[p * lanes + j] += bias[at + j]
    if streamed:
        # Through an array of its own: accumulators whose address is taken are written to memory.
        for j in range(pixels * lanes):
            block[j] = acc[j]
        for p in range(pixels):
            stream_block(
                dst + p * dst_step + at * <Py_ssize_t> sizeof(float_t), <char*> &block[p * lanes],
                lanes * sizeof(float_t))
        return
    for p in range(pixels):
        to = <float_t*> (dst + p * dst_step) + at
        for j in range(lanes):
            to[j] = acc[p * lanes + j]


cdef void depthwise(
        const float_t** weights, const float_t** rows, Py_ssize_t taps, const float_t* bias,
        Py_ssize_t n, Py_ssize_t count, Py_ssize_t row_step, char* dst,
        Py_ssize_t dst_step, bint streamed) noexcept nogil:
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), r = 0, at, line
    cdef Py_ssize_t pixels, p
    cdef char* to
    if taps == 0:
        for r in range(count):
            memcpy(dst + r * dst_step, bias, n * sizeof(float_t))
        return
    while r < count:
        pixels = 2 if count - r >= 2 else 1
        to = dst + r * dst_step
        if not streamed:
            for p in range(pixels):
                for line in range(n * <Py_ssize_t> sizeof(float_t) // LINE):
                    prefetch_result(to + ((AHEAD_PIXELS + p) * dst_step + LINE * line))
        at = 0
        while at < n:
            # The last ones are moved back, and some computed twice.
            if n - at >= BLOCK * lanes and pixels == 2:
                depthwise_block[float_t, Pixels2x4](
                    weights, rows, taps, bias, at, r * row_step, row_step, to, dst_step, streamed,
                    NULL)
                at += BLOCK * lanes
            elif n - at >= BLOCK * lanes:
                depthwise_block[float_t, Pixels1x4](
                    weights, rows, taps, bias, at, r * row_step, row_step, to, dst_step, streamed,
                    NULL)
                at += BLOCK * lanes
            else:
                at = min(at, n - lanes)
                for p in range(pixels):
                    depthwise_block[float_t, Pixels1x1](
                        weights, rows, taps, bias, at, (r + p) * row_step, row_step,
                        to + p * dst_step, dst_step, streamed, NULL)
                at += lanes
        r += pixels
