# Short sums straight into rows whose channels are neighbours, too. Part of _kernels.pyx.

# How many rows of the result, and channels of each, carried by a type.
cdef struct Last1x2:
    char unused
cdef struct Last1x3:
    char unused
cdef struct Last1x4:
    char unused
cdef struct Last2x2:
    char unused
cdef struct Last2x3:
    char unused
cdef struct Last2x4:
    char unused

ctypedef fused last_t:
    Last1x2
    Last1x3
    Last1x4
    Last2x2
    Last2x3
    Last2x4

# How more phases than one are woven: a single one is better stored in the usual way.
ctypedef fused woven_t:
    Ways2
    Ways4
    Parted
    More2
    More4
    Shared
    SharedBack


cdef inline void weave_channels(
        const float_t* acc, Py_ssize_t own, Py_ssize_t channels, Py_ssize_t ways,
        Py_ssize_t lanes, Py_ssize_t pitch, Py_ssize_t row, const float_t* bias,
        Py_ssize_t bias_step, float_t* to) noexcept nogil:
    """A row's lane phases of each channel become neighbours, then the channels."""
    cdef float_t rows[MAX_ACC * VECTOR_FLOATS]
    cdef Py_ssize_t c, j, n = ways * lanes
    for c in range(channels):
        weave_row[float_t](
            acc + c * own * ways * pitch, own, ways, lanes, pitch, row, bias[c * bias_step],
            rows + c * n)
    for j in range(n):
        to[channels * j] = rows[j]
        to[channels * j + 1] = rows[n + j]
        if channels > 2:
            to[channels * j + 2] = rows[2 * n + j]
        if channels > 3:
            to[channels * j + 3] = rows[3 * n + j]


cdef inline void store_channels(
        const float_t* acc, Py_ssize_t own, Py_ssize_t channels, Py_ssize_t ways,
        Py_ssize_t lanes, Py_ssize_t pitch, Py_ssize_t row, const float_t* bias, char* y,
        Py_ssize_t low, Py_ssize_t high, bint streamed, const Stencil* s) noexcept nogil:
    """Positions [low, high) of a row of the result."""
    cdef float_t block[MAX_ACC * VECTOR_FLOATS]
    cdef Py_ssize_t pixel = channels * sizeof(float_t), bytes = ways * lanes * pixel, i
    if low > 0 or high < ways * lanes:
        weave_channels[float_t](
            acc, own, channels, ways, lanes, pitch, row, bias, s.bias_step, block)
        low = min(low, high)
        copy_part(y, <char*> block, bytes, low * pixel, high * pixel)
    elif streamed:
        weave_channels[float_t](
            acc, own, channels, ways, lanes, pitch, row, bias, s.bias_step, block)
        stream_block(y, <char*> block, bytes)
    else:
        for i in range(0 if s.ahead == 0 else (bytes + LINE - 1) // LINE):
            prefetch_result(y + s.ahead + i * LINE)
        weave_channels[float_t](
            acc, own, channels, ways, lanes, pitch, row, bias, s.bias_step, <float_t*> y)


cdef inline void last_tile(
        const float_t* panel, const Product* products, const float_t* x, const float_t* bias,
        char** results, const Stencil* s, Py_ssize_t u, bint streamed, Py_ssize_t own,
        Py_ssize_t channels, Py_ssize_t ways, Py_ssize_t vectors, woven_t* tag) noexcept nogil:
    """The lanes from u on of all channels; how many are constants."""
    cdef float_t acc[MAX_ACC * VECTOR_FLOATS]
    cdef const Product* more = products + s.products[0]
    cdef const float_t* a[4]
    cdef const float_t* b[4]
    cdef Py_ssize_t size = sizeof(float_t), lanes = vectors * (4 * VECTOR_FLOATS // size)
    cdef Py_ssize_t n = own * ways * lanes, i, c, m, j, weights, at
    cdef Py_ssize_t sums = own if woven_t is Parted else own * ways
    cdef Py_ssize_t second = own if woven_t is Parted else 0
    cdef Py_ssize_t low = max(0, s.skip - u * ways), high = min(ways * lanes, s.end - u * ways)
    for c in range(channels):
        a[c] = panel + c * s.panel_step
        b[c] = x + u + c * s.x_step
    for j in range(channels * n):
        acc[j] = 0
    assume(s.products[0] > 0)
    for i in range(s.products[0]):
        weights = products[i].weights
        at = products[i].x
        for c in range(channels):
            for m in range(sums):
                for j in range(lanes):
                    acc[c * n + m * lanes + j] += a[c][weights + m] * b[c][at + j]
    if woven_t is Parted or woven_t is More2 or woven_t is More4:
        assume(s.products[1] > 0)
        for i in range(s.products[1]):
            weights = more[i].weights
            at = more[i].x
            for c in range(channels):
                for m in range(own):
                    for j in range(lanes):
                        acc[c * n + (second + m) * lanes + j] += a[c][weights + m] * b[c][at + j]
    u *= ways * channels * size
    if results[0] != NULL:
        store_channels[float_t](
            acc, own, channels, ways, lanes, lanes, 0, bias, results[0] + u, low, high, streamed,
            s)
    if own > 1 and results[1] != NULL:
        store_channels[float_t](
            acc, own, channels, ways, lanes, lanes, 1, bias, results[1] + u, low, high, streamed,
            s)


cdef inline void last_strip(
        const float_t* panel, const Product* products, const float_t* x, const float_t* bias,
        char** results, const Stencil* s, Py_ssize_t u, bint streamed, Py_ssize_t channels,
        Py_ssize_t vectors, shared_t* tag) noexcept nogil:
    """Tiles of rows that share x, channel after channel, woven when all are done.

    Tiles of all channels at once would be of one vector, and read a weight for each.
    """
    cdef float_t acc[MAX_ACC * VECTOR_FLOATS]
    cdef float_t sums[4 * MAX_ACC * VECTOR_FLOATS]
    cdef Py_ssize_t size = sizeof(float_t), vector = 4 * VECTOR_FLOATS // size
    cdef Py_ssize_t lanes = vectors * vector, c, v, i, j, high, at
    for c in range(channels):
        for j in range(4 * lanes):
            acc[j] = 0
        add_shared[float_t, shared_t](
            acc, panel + c * s.panel_step, x + u + c * s.x_step, products, s, 1, lanes, NULL)
        for j in range(4 * lanes):
            sums[4 * lanes * c + j] = acc[j]
    for v in range(vectors):
        i = v * vector
        high = min(2 * vector, s.end - 2 * (u + i))
        at = 2 * channels * size * (u + i)
        if results[0] != NULL:
            store_channels[float_t](
                sums + i, 2, channels, 2, vector, lanes, 0, bias, results[0] + at, 0, high,
                streamed, s)
        if results[1] != NULL:
            store_channels[float_t](
                sums + i, 2, channels, 2, vector, lanes, 1, bias, results[1] + at, 0, high,
                streamed, s)


cdef void stencil_last(
        const float_t* panel, const Product* products, const float_t* x, const woven_t* biases,
        last_t** result_rows, const Stencil* s) noexcept nogil:
    cdef const float_t* bias = <const float_t*> biases
    cdef char** results = <char**> result_rows
    cdef float_t* to
    cdef Py_ssize_t vector = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), u = 0, n, c, i
    cdef Py_ssize_t own = 1, channels, vectors, pixel
    cdef Py_ssize_t ways = 4 if woven_t is Ways4 or woven_t is More4 else 2
    cdef bint streamed = False
    if last_t is Last2x2 or last_t is Last2x3 or last_t is Last2x4:
        own = 2
    if last_t is Last1x2 or last_t is Last2x2:
        channels = 2
    elif last_t is Last1x3 or last_t is Last2x3:
        channels = 3
    else:
        channels = 4
    vectors = max(1, min(2, woven_sums(TALLEST) // (own * ways * channels)))
    if woven_t is Shared or woven_t is SharedBack:
        vectors = wide_vectors(4)
    pixel = ways * channels * sizeof(float_t)
    if s.products[0] <= 0:
        # No tap reaches the row.
        for i in range(own):
            for n in range(max(0, s.skip), min(s.stop * ways, s.end)):
                to = <float_t*> results[i] + n * channels
                for c in range(channels if results[i] != NULL else 0):
                    to[c] = bias[c * s.bias_step]
        return
    while u < s.stop:
        # The last lanes are moved back, and some computed twice.
        if woven_t is Shared or woven_t is SharedBack:
            if s.stop - u > vector and s.stop >= vectors * vector:
                n = vectors * vector
                u = min(u, s.stop - n)
                last_strip[float_t, woven_t](
                    panel, products, x, bias, results, s, u, streamed, channels, vectors, NULL)
            else:
                n = vector
                if s.stop >= n:
                    u = min(u, s.stop - n)
                last_strip[float_t, woven_t](
                    panel, products, x, bias, results, s, u, streamed, channels, 1, NULL)
        elif vectors > 1 and s.stop - u > vector:
            n = vectors * vector
            if s.stop >= vectors * vector:
                u = min(u, s.stop - vectors * vector)
            last_tile[float_t, woven_t](
                panel, products, x, bias, results, s, u, streamed, own, channels, ways, vectors,
                NULL)
        else:
            n = vector
            if s.stop >= vector:
                u = min(u, s.stop - vector)
            last_tile[float_t, woven_t](
                panel, products, x, bias, results, s, u, streamed, own, channels, ways, 1, NULL)
        u += n
        if s.streamed and not streamed and u < s.stop:
            # What was stored in the usual way goes on to a lane that begins with a line.
            streamed = True
            for c in range(n):
                if <Py_ssize_t> (results[0] + (u - c) * pixel) % LINE == 0:
                    u -= c
                    break
