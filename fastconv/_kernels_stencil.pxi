# Short sums straight into rows of the result. Part of _kernels.pxi.

# A stencil's constants, carried by types: rows of accumulators, of one vector or more, and how many
# phases of the lane axis are woven. `Parted` are two with panels of their own; of `More2` and
# `More4` the first has a tap more.
cdef struct Wide8:
    char unused
cdef struct Narrow8:
    char unused
cdef struct Wide4:
    char unused
cdef struct Narrow4:
    char unused
cdef struct Wide2:
    char unused
cdef struct Narrow2:
    char unused

ctypedef fused stencil_t:
    Wide8
    Narrow8
    Wide4
    Narrow4
    Wide2
    Narrow2

cdef struct Parted:
    char unused
cdef struct More2:
    char unused
cdef struct More4:
    char unused

ctypedef fused weave_t:
    Ways2
    Ways4
    Parted
    More2
    More4


cdef inline Py_ssize_t wide_vectors(Py_ssize_t height) noexcept nogil:
    """Vectors of a wide stencil: two are enough where registers allow for eight rows."""
    return 2 if TALLEST == 8 or height == 8 else 3 if height == 4 else 4


cdef void stencil(
        const float_t* panel, const Py_ssize_t* taps, const float_t** rows, const weave_t* biases,
        stencil_t** results, const Stencil* s) noexcept nogil:
    cdef float_t acc[MAX_ACC * VECTOR_FLOATS]
    cdef float_t block[MAX_ACC * VECTOR_FLOATS]
    cdef const float_t* bias = <const float_t*> biases
    cdef const StencilPart* part
    cdef const float_t* x
    cdef const float_t* a
    cdef const float_t* b
    cdef float_t* to
    cdef float_t bias_i
    cdef Py_ssize_t height, vectors, ways, sums, second, lanes, own, size = sizeof(float_t)
    cdef Py_ssize_t at = 0, group, u, r, t, k, m, j, i, first, low, high, offset = 0
    cdef bint whole
    if stencil_t is Wide8 or stencil_t is Narrow8:
        height = 8
    elif stencil_t is Wide4 or stencil_t is Narrow4:
        height = 4
    else:
        height = 2
    vectors = 1
    if stencil_t is Wide8 or stencil_t is Wide4 or stencil_t is Wide2:
        vectors = wide_vectors(height)
    ways = 4 if weave_t is Ways4 or weave_t is More4 else 2
    lanes = vectors * (4 * VECTOR_FLOATS // size)
    own = height // ways
    # Rows of accumulators of the first part, and where those of the second are.
    sums = own if weave_t is Parted else height
    second = own if weave_t is Parted else 0
    for group in range(s.groups):
        u = s.first
        while u < s.stop:
            # The last ones are moved back, and some computed twice.
            if s.stop >= lanes:
                u = min(u, s.stop - lanes)
            for m in range(height):
                for j in range(lanes):
                    acc[m * lanes + j] = 0
            for r in range(s.n_rows):
                part = &s.parts[0]
                a = panel + part.panel + taps[r] * part.taps * part.depth * sums
                x = rows[r] + (at + part.at + u)
                for t in range(part.taps):
                    b = x
                    for k in range(part.depth):
                        for m in range(sums):
                            for j in range(lanes):
                                acc[m * lanes + j] += a[m] * b[j]
                        a += sums
                        b += part.depth_step
                    x += part.tap_step
                if weave_t is Parted or weave_t is More2 or weave_t is More4:
                    part = &s.parts[1]
                    a = panel + part.panel + taps[r] * part.taps * part.depth * own
                    x = rows[r] + (at + part.at + u)
                    for t in range(part.taps):
                        b = x
                        for k in range(part.depth):
                            for m in range(own):
                                for j in range(lanes):
                                    acc[(second + m) * lanes + j] += a[m] * b[j]
                            a += own
                            b += part.depth_step
                        x += part.tap_step
            first = u * ways
            low = max(0, s.skip - first)
            high = min(lanes * ways, s.end - first)
            whole = low == 0 and high == lanes * ways
            for i in range(own):
                bias_i = bias[i & s.channel_mask]
                to = &block[i * ways * lanes]
                if whole and results[i] != NULL:
                    to = <float_t*> (<char*> results[i] + offset) + first
                    for r in range(0 if s.ahead == 0 else ways * lanes * size // LINE):
                        prefetch_result(<char*> to + s.ahead + r * LINE)
                for j in range(lanes):
                    to[ways * j] = acc[i * lanes + j] + bias_i
                    to[ways * j + 1] = acc[(own + i) * lanes + j] + bias_i
                    if ways > 2:
                        to[ways * j + 2] = acc[(2 * own + i) * lanes + j] + bias_i
                        to[ways * j + 3] = acc[(3 * own + i) * lanes + j] + bias_i
            if not whole and high > low:
                for i in range(own):
                    if results[i] != NULL:
                        copy_run(
                            <char*> results[i] + offset + (first + low) * size,
                            <char*> &block[i * ways * lanes + low], (high - low) * size)
            u += lanes
        panel += s.group_panel
        at += s.group_row
        bias += s.group_bias
        offset += s.group_step
