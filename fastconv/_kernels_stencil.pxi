# Sums straight into rows of the result, short ones or streamed ones. Part of _kernels.pyx.

# A stencil's constants, carried by types: rows of accumulators, of one vector, two or more, and how
# many phases of the lane axis are woven. `Parted` are two with panels of their own; of `More2` and
# `More4` the first has a tap more.
cdef struct Wide8:
    char unused
cdef struct Narrow8:
    char unused
cdef struct Wide4:
    char unused
cdef struct Middle4:
    char unused
cdef struct Narrow4:
    char unused
cdef struct Wide2:
    char unused
cdef struct Middle2:
    char unused
cdef struct Narrow2:
    char unused
cdef struct Wide1:
    char unused
cdef struct Middle1:
    char unused
cdef struct Narrow1:
    char unused

ctypedef fused stencil_t:
    Wide8
    Narrow8
    Wide4
    Middle4
    Narrow4
    Wide2
    Middle2
    Narrow2
    Wide1
    Middle1
    Narrow1

cdef struct Parted:
    char unused
cdef struct More2:
    char unused
cdef struct More4:
    char unused

ctypedef fused weave_t:
    Ways1
    Ways2
    Ways4
    Parted
    More2
    More4


cdef inline Py_ssize_t wide_vectors(Py_ssize_t height) noexcept nogil:
    """Vectors of a wide stencil: so many that few rows do not wait for their own sums."""
    return 2 if height == 8 else 3 if height > TALLEST // 2 else 4


cdef inline void weave_row(
        const float_t* acc, Py_ssize_t own, Py_ssize_t ways, Py_ssize_t lanes, Py_ssize_t pitch,
        Py_ssize_t i, float_t bias, float_t* to) noexcept nogil:
    """Row i of the results, `pitch` behind the one before: its lane phases become neighbours."""
    cdef Py_ssize_t j
    for j in range(lanes):
        to[ways * j] = acc[i * pitch + j] + bias
        if ways > 1:
            to[ways * j + 1] = acc[(own + i) * pitch + j] + bias
        if ways > 2:
            to[ways * j + 2] = acc[(2 * own + i) * pitch + j] + bias
            to[ways * j + 3] = acc[(3 * own + i) * pitch + j] + bias


cdef inline void store_woven(
        const float_t* acc, Py_ssize_t own, Py_ssize_t ways, Py_ssize_t lanes, Py_ssize_t i,
        float_t bias, char* y, Py_ssize_t low, Py_ssize_t high, const Stencil* s) noexcept nogil:
    """Numbers [low, high) of row i. Nothing but constants and `y` differs from row to row."""
    cdef float_t block[MAX_ACC * VECTOR_FLOATS]
    cdef Py_ssize_t r, size = sizeof(float_t), bytes = ways * lanes * size
    if high - low < ways * lanes:
        weave_row[float_t](acc, own, ways, lanes, lanes, i, bias, block)
        copy_part(y, <char*> block, bytes, low * size, high * size)
    elif s.streamed:
        weave_row[float_t](acc, own, ways, lanes, lanes, i, bias, block)
        stream_block(y, <char*> block, bytes)
    else:
        for r in range(0 if s.ahead == 0 else bytes // LINE):
            prefetch_result(y + s.ahead + r * LINE)
        weave_row[float_t](acc, own, ways, lanes, lanes, i, bias, <float_t*> y)


cdef inline void store_row(
        const float_t* acc, Py_ssize_t own, Py_ssize_t ways, Py_ssize_t lanes, Py_ssize_t i,
        const float_t* bias, char** results, Py_ssize_t at, Py_ssize_t low, Py_ssize_t high,
        const Stencil* s) noexcept nogil:
    """Row i, a constant, if there is one and it goes anywhere."""
    if i < own and results[i] != NULL:
        store_woven[float_t](
            acc, own, ways, lanes, i, bias[i & s.channel_mask], results[i] + at, low, high, s)


cdef void fill_woven(
        const float_t* bias, char** results, Py_ssize_t own, Py_ssize_t ways,
        const Stencil* s) noexcept nogil:
    """Rows that no tap reaches."""
    cdef Py_ssize_t panel, i, n, low = max(s.first * ways, s.skip), high = min(s.stop * ways, s.end)
    cdef float_t* to
    for panel in range(s.panels):
        for i in range(own):
            if results[i] != NULL:
                to = <float_t*> (results[i] + panel * s.result_step)
                for n in range(low, high):
                    to[n] = bias[i & s.channel_mask]
        bias += s.bias_step


cdef void stencil(
        const float_t* panel, const Product* products, const float_t* x, const weave_t* biases,
        stencil_t** result_rows, const Stencil* s) noexcept nogil:
    cdef float_t acc[MAX_ACC * VECTOR_FLOATS]
    cdef const float_t* bias = <const float_t*> biases
    cdef char** results = <char**> result_rows
    cdef const Product* more
    cdef const float_t* a
    cdef const float_t* b
    cdef Py_ssize_t height, vectors, ways, sums, second, lanes, own, size = sizeof(float_t)
    cdef Py_ssize_t n = s.products[0], n_more = s.products[1], at = 0
    cdef Py_ssize_t p, u, i, m, j, first, low, high, at_y
    if stencil_t is Wide8 or stencil_t is Narrow8:
        height = 8
    elif stencil_t is Wide4 or stencil_t is Middle4 or stencil_t is Narrow4:
        height = 4
    elif stencil_t is Wide2 or stencil_t is Middle2 or stencil_t is Narrow2:
        height = 2
    else:
        height = 1
    vectors = 1
    if stencil_t is Wide8 or stencil_t is Wide4 or stencil_t is Wide2 or stencil_t is Wide1:
        vectors = wide_vectors(height)
    elif stencil_t is Middle4 or stencil_t is Middle2 or stencil_t is Middle1:
        vectors = 2
    ways = 1 if weave_t is Ways1 else 4 if weave_t is Ways4 or weave_t is More4 else 2
    lanes = vectors * (4 * VECTOR_FLOATS // size)
    own = height // ways
    # Rows of accumulators of the first part, and where those of the second are.
    sums = own if weave_t is Parted else height
    second = own if weave_t is Parted else 0
    more = products + n
    if n <= 0:
        fill_woven[float_t](bias, results, own, ways, s)
        return
    for p in range(s.panels):
        u = s.first
        while u < s.stop:
            # The last ones are moved back, and some computed twice.
            if s.stop >= lanes:
                u = min(u, s.stop - lanes)
            for m in range(height):
                for j in range(lanes):
                    acc[m * lanes + j] = 0
            for i in range(n):
                a = panel + products[i].weights
                b = x + u + products[i].x
                for m in range(sums):
                    for j in range(lanes):
                        acc[m * lanes + j] += a[m] * b[j]
            if weave_t is Parted or weave_t is More2 or weave_t is More4:
                # A loop that surely runs, as the one before, leaves the accumulators in registers.
                assume(n_more > 0)
                for i in range(n_more):
                    a = panel + more[i].weights
                    b = x + u + more[i].x
                    for m in range(own):
                        for j in range(lanes):
                            acc[(second + m) * lanes + j] += a[m] * b[j]
            first = u * ways
            low = max(0, s.skip - first)
            high = min(lanes * ways, s.end - first)
            at_y = at + first * size
            if high > low:
                store_row[float_t](
                    acc, own, ways, lanes, 0, bias, results, at_y, low, high, s)
                store_row[float_t](
                    acc, own, ways, lanes, 1, bias, results, at_y, low, high, s)
                store_row[float_t](
                    acc, own, ways, lanes, 2, bias, results, at_y, low, high, s)
                store_row[float_t](
                    acc, own, ways, lanes, 3, bias, results, at_y, low, high, s)
                store_row[float_t](
                    acc, own, ways, lanes, 4, bias, results, at_y, low, high, s)
                store_row[float_t](
                    acc, own, ways, lanes, 5, bias, results, at_y, low, high, s)
                store_row[float_t](
                    acc, own, ways, lanes, 6, bias, results, at_y, low, high, s)
                store_row[float_t](
                    acc, own, ways, lanes, 7, bias, results, at_y, low, high, s)
            u += lanes
        panel += s.panel_step
        x += s.x_step
        bias += s.bias_step
        at += s.result_step
