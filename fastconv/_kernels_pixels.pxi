# Products of pixels with weights whose output channels are the lanes. Part of _kernels.pyx.

# Pixels x vectors of channels: the larger shapes of a tile, and single pixels.
ctypedef fused pixels_tile_t:
    Tile8x3
    Tile8x2
    Tile8x1
    Tile4x3
    Tile4x2
    Tile4x1
    Tile1x3
    Tile1x2
    Tile1x1


cdef void pixels_tile(
        const float_t** weights, const float_t** rows, Py_ssize_t taps, Py_ssize_t depth,
        const float_t* bias, Py_ssize_t n, Py_ssize_t at, Py_ssize_t row, Py_ssize_t row_step,
        pixels_tile_t* dst, Py_ssize_t dst_step, bint streamed) noexcept nogil:
    """The lanes from `at` on of some pixels, of which the first is `row` bytes past the rows."""
    cdef float_t acc[MAX_ACC * VECTOR_FLOATS]
    cdef const float_t* b
    cdef const char* a
    cdef float_t* to
    cdef Py_ssize_t height, vectors, lanes, size = sizeof(float_t), t, k, m, j
    if pixels_tile_t is Tile8x3 or pixels_tile_t is Tile8x2 or pixels_tile_t is Tile8x1:
        height = 8
    elif pixels_tile_t is Tile4x3 or pixels_tile_t is Tile4x2 or pixels_tile_t is Tile4x1:
        height = 4
    else:
        height = 1
    if pixels_tile_t is Tile8x3 or pixels_tile_t is Tile4x3 or pixels_tile_t is Tile1x3:
        vectors = 3
    elif pixels_tile_t is Tile8x2 or pixels_tile_t is Tile4x2 or pixels_tile_t is Tile1x2:
        vectors = 2
    else:
        vectors = 1
    lanes = vectors * (4 * VECTOR_FLOATS // size)
    # Loops that surely run leave the accumulators in registers.
    assume(taps > 0)
    assume(depth > 0)
    if not streamed:
        for m in range(height):
            for j in range((lanes * size + LINE - 1) // LINE):
                prefetch_result(<char*> dst + (m * dst_step + at * size + LINE * j))
    for m in range(height):
        for j in range(lanes):
            acc[m * lanes + j] = 0
    for t in range(taps):
        a = <const char*> rows[t] + row
        b = weights[t] + at
        for k in range(depth):
            for m in range(height):
                for j in range(lanes):
                    acc[m * lanes + j] += (<const float_t*> (a + m * row_step))[0] * b[j]
            a += size
            b += n
    for m in range(height):
        for j in range(lanes):
            acc[m * lanes + j] += bias[at + j]
    for m in range(height):
        to = <float_t*> (<char*> dst + m * dst_step) + at
        if streamed:
            stream_block(<char*> to, <char*> &acc[m * lanes], lanes * size)
        else:
            for j in range(lanes):
                to[j] = acc[m * lanes + j]


cdef inline void pixels_lanes(
        const float_t** weights, const float_t** rows, Py_ssize_t taps, Py_ssize_t depth,
        const float_t* bias, Py_ssize_t n, Py_ssize_t at, Py_ssize_t count, Py_ssize_t row_step,
        char* dst, Py_ssize_t dst_step, bint streamed, pixels_tile_t* single) noexcept nogil:
    """All pixels with the lanes of one tile."""
    cdef Py_ssize_t r = 0
    while r < count:
        if TALLEST == 8 and (count - r >= 8 or r >= 8 and count - r > 4):
            # The last ones are moved back, and some computed twice.
            r = min(r, count - 8)
            if pixels_tile_t is Tile1x3:
                pixels_tile[float_t, Tile8x3](
                    weights, rows, taps, depth, bias, n, at, r * row_step, row_step,
                    <Tile8x3*> (dst + r * dst_step), dst_step, streamed)
            elif pixels_tile_t is Tile1x2:
                pixels_tile[float_t, Tile8x2](
                    weights, rows, taps, depth, bias, n, at, r * row_step, row_step,
                    <Tile8x2*> (dst + r * dst_step), dst_step, streamed)
            else:
                pixels_tile[float_t, Tile8x1](
                    weights, rows, taps, depth, bias, n, at, r * row_step, row_step,
                    <Tile8x1*> (dst + r * dst_step), dst_step, streamed)
            r += 8
        elif count - r >= 4 or r >= 4 and count - r > 1:
            r = min(r, count - 4)
            if pixels_tile_t is Tile1x3:
                pixels_tile[float_t, Tile4x3](
                    weights, rows, taps, depth, bias, n, at, r * row_step, row_step,
                    <Tile4x3*> (dst + r * dst_step), dst_step, streamed)
            elif pixels_tile_t is Tile1x2:
                pixels_tile[float_t, Tile4x2](
                    weights, rows, taps, depth, bias, n, at, r * row_step, row_step,
                    <Tile4x2*> (dst + r * dst_step), dst_step, streamed)
            else:
                pixels_tile[float_t, Tile4x1](
                    weights, rows, taps, depth, bias, n, at, r * row_step, row_step,
                    <Tile4x1*> (dst + r * dst_step), dst_step, streamed)
            r += 4
        else:
            pixels_tile[float_t, pixels_tile_t](
                weights, rows, taps, depth, bias, n, at, r * row_step, row_step,
                <pixels_tile_t*> (dst + r * dst_step), dst_step, streamed)
            r += 1


cdef void pixels(
        const float_t** weights, const float_t** rows, Py_ssize_t taps, Py_ssize_t depth,
        const float_t* bias, Py_ssize_t n, Py_ssize_t count, Py_ssize_t row_step, char* dst,
        Py_ssize_t dst_step, bint streamed) noexcept nogil:
    cdef Py_ssize_t vector = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), at = 0, vectors, r
    if taps == 0 or depth == 0:
        for r in range(count):
            memcpy(dst + r * dst_step, bias, n * sizeof(float_t))
        return
    while at < n:
        vectors = min(tile_vectors(n - at, vector, TALL_VECTORS, TALLEST), n // vector)
        # The last ones are moved back, and some computed twice.
        at = min(at, n - vectors * vector)
        if vectors == 3:
            pixels_lanes[float_t, Tile1x3](
                weights, rows, taps, depth, bias, n, at, count, row_step, dst, dst_step, streamed,
                NULL)
        elif vectors == 2:
            pixels_lanes[float_t, Tile1x2](
                weights, rows, taps, depth, bias, n, at, count, row_step, dst, dst_step, streamed,
                NULL)
        else:
            pixels_lanes[float_t, Tile1x1](
                weights, rows, taps, depth, bias, n, at, count, row_step, dst, dst_step, streamed,
                NULL)
        at += vectors * vector
