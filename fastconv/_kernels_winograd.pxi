# What the winograd method does before and after its products. Part of _kernels.pxi.

cdef enum:
    ROUNDS_FROM = 32       # elements of a row from which on it is dealt out or woven by rounds
    WEAVE_LANES = 64       # lanes that are interleaved in two steps at a time


cdef inline void deal_rounds(
        const float_t* s, Py_ssize_t parts, Py_ssize_t n, float_t* d0,
        Py_ssize_t part_pitch) noexcept nogil:
    """Deal out n elements to each of up to four parts; the compiler makes shuffles of it."""
    cdef float_t* d1 = d0 + part_pitch
    cdef float_t* d2 = d1 + part_pitch
    cdef float_t* d3 = d2 + part_pitch
    cdef Py_ssize_t v
    if parts == 1:
        for v in range(n):
            d0[v] = s[v]
    elif parts == 2:
        for v in range(n):
            d0[v] = s[2 * v]
            d1[v] = s[2 * v + 1]
    elif parts == 3:
        for v in range(n):
            d0[v] = s[3 * v]
            d1[v] = s[3 * v + 1]
            d2[v] = s[3 * v + 2]
    else:
        # Two loops, so that few pointers can overlap.
        for v in range(n):
            d0[v] = s[4 * v]
            d1[v] = s[4 * v + 1]
        for v in range(n):
            d2[v] = s[4 * v + 2]
            d3[v] = s[4 * v + 3]


cdef void deal(
        const char* src, Py_ssize_t channel_step, Py_ssize_t channels, Py_ssize_t row_step,
        Py_ssize_t rows, Py_ssize_t lane_step, Py_ssize_t n, Py_ssize_t before, Py_ssize_t parts,
        Py_ssize_t part_pitch, float_t* dst, Py_ssize_t row_pitch) noexcept nogil:
    cdef Py_ssize_t places[2 * DEALT_PARTS + ROUNDS_FROM]
    cdef Py_ssize_t c, r, u, v, rounds = 0, head, at, tail, single
    cdef const char* row
    cdef float_t* to
    # Whole rounds go through shuffles, single elements to places that are worked out once.
    head = min((parts - before % parts) % parts, n)
    if n >= ROUNDS_FROM:
        rounds = (n - head) // parts
    at = (before + head) // parts
    tail = rounds * parts
    single = n - tail
    # ... which are less than two rounds, or a short row.
    u = before % parts * part_pitch + before // parts
    for v in range(single):
        if v == head:
            u += rounds
        places[v] = u
        u += part_pitch
        if u >= parts * part_pitch:
            u -= parts * part_pitch - 1
    for r in range(rows):
        for c in range(channels):
            row = src + (c * channel_step + r * row_step)
            to = dst + (c * parts * part_pitch + r * row_pitch)
            if before or n < parts * part_pitch:
                for v in range(parts * part_pitch):
                    to[v] = 0
            if lane_step == <Py_ssize_t> sizeof(float_t) and parts <= 4:
                deal_rounds(
                    <const float_t*> (row + head * lane_step), parts, rounds, to + at, part_pitch)
            else:
                for u in range(parts if rounds else 0):
                    for v in range(rounds):
                        to[at + u * part_pitch + v] = (
                            <const float_t*> (row + (head + v * parts + u) * lane_step))[0]
            for v in range(single):
                to[places[v]] = (
                    <const float_t*> (row + (v if v < head else v + tail) * lane_step))[0]


cdef void transform_input(
        Scheme scheme, const float_t* src, const Py_ssize_t* offsets, Py_ssize_t src_pitch,
        Py_ssize_t channels, Py_ssize_t n, Py_ssize_t room, float_t* dst, Py_ssize_t point_step,
        Py_ssize_t dst_pitch) noexcept nogil:
    # Vectors go through arrays of the function, which nothing overlaps.
    cdef float_t a[VECTOR_FLOATS]
    cdef float_t b[VECTOR_FLOATS]
    cdef float_t e[VECTOR_FLOATS]
    cdef float_t f[VECTOR_FLOATS]
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), c, t, j
    cdef const float_t* s0
    cdef const float_t* s1
    cdef const float_t* s2
    cdef const float_t* s3
    cdef float_t* d1
    cdef float_t* d2
    cdef float_t* d3
    for c in range(channels):
        s0 = src + c * src_pitch + offsets[0]
        if scheme == F11:
            for t in range(n):
                dst[t] = s0[t]
            dst += dst_pitch
            continue
        s1 = src + c * src_pitch + offsets[1]
        s2 = src + c * src_pitch + offsets[2]
        d1 = dst + point_step
        d2 = d1 + point_step
        t = 0
        if scheme == F22:
            while t < n and t + lanes <= room:
                for j in range(lanes):
                    a[j] = s0[t + j]
                    b[j] = s1[t + j]
                    e[j] = s2[t + j]
                for j in range(lanes):
                    dst[t + j] = a[j] - b[j]
                for j in range(lanes):
                    d1[t + j] = b[j]
                for j in range(lanes):
                    d2[t + j] = e[j] - b[j]
                t += lanes
            while t < n:
                dst[t] = s0[t] - s1[t]
                d1[t] = s1[t]
                d2[t] = s2[t] - s1[t]
                t += 1
        else:
            s3 = src + c * src_pitch + offsets[3]
            d3 = d2 + point_step
            while t < n and t + lanes <= room:
                for j in range(lanes):
                    a[j] = s0[t + j]
                    b[j] = s1[t + j]
                    e[j] = s2[t + j]
                    f[j] = s3[t + j]
                for j in range(lanes):
                    dst[t + j] = a[j] - e[j]
                for j in range(lanes):
                    d1[t + j] = b[j] + e[j]
                for j in range(lanes):
                    d2[t + j] = e[j] - b[j]
                for j in range(lanes):
                    d3[t + j] = b[j] - f[j]
                t += lanes
            while t < n:
                dst[t] = s0[t] - s2[t]
                d1[t] = s1[t] + s2[t]
                d2[t] = s2[t] - s1[t]
                d3[t] = s1[t] - s3[t]
                t += 1
        dst += dst_pitch


cdef void transform_filter(
        Scheme scheme, bint shorter, const float_t* src, Py_ssize_t step, Py_ssize_t n,
        float_t* dst, Py_ssize_t point_step) noexcept nogil:
    cdef Py_ssize_t taps = 1 if scheme == F11 else 3 if scheme == F23 else 2, i
    cdef float_t half = <float_t> 0.5
    # A missing tap counts nothing: read another one in its place.
    cdef float_t keep = 0 if shorter else 1
    cdef const float_t* first = src + (0 if shorter else (taps - 1) * step)
    cdef const float_t* middle = src + step
    cdef float_t* d1 = dst + point_step
    cdef float_t* d2 = d1 + point_step
    cdef float_t* d3 = d2 + point_step
    if not shorter:
        for i in range(n):
            dst[i] = first[i]
    if scheme == F22:
        for i in range(n):
            d1[i] = keep * first[i] + src[i]
        for i in range(n):
            d2[i] = src[i]
    elif scheme == F32:
        for i in range(n):
            d1[i] = half * (keep * first[i] + src[i])
        for i in range(n):
            d2[i] = half * (keep * first[i] - src[i])
        for i in range(n):
            d3[i] = src[i]
    elif scheme == F23:
        for i in range(n):
            d1[i] = half * ((keep * first[i] + src[i]) + middle[i])
        for i in range(n):
            d2[i] = half * ((keep * first[i] + src[i]) - middle[i])
        for i in range(n):
            d3[i] = src[i]


cdef bint transform_output(
        Scheme scheme, bint shorter, const float_t* src, Py_ssize_t point_step, Py_ssize_t n,
        float_t* dst, Py_ssize_t step) noexcept nogil:
    cdef float_t y0[VECTOR_FLOATS]
    cdef float_t y1[VECTOR_FLOATS]
    cdef float_t y2[VECTOR_FLOATS]
    cdef float_t nan[VECTOR_FLOATS]
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), i, j
    cdef const float_t* m0 = src + (point_step if shorter else 0)
    cdef const float_t* m1 = src + point_step
    cdef const float_t* m2 = m1 + point_step
    cdef const float_t* m3 = m2 + point_step
    cdef float_t* d1 = dst + step
    cdef float_t* d2 = d1 + step
    cdef float_t keep = 0 if shorter else 1, zero = 0
    cdef bint bad = False
    # Zero times Inf or NaN is NaN, and stays.
    for j in range(lanes):
        nan[j] = 0
    i = 0
    while i < n:
        if scheme == F11:
            for j in range(lanes):
                y0[j] = src[i + j]
                nan[j] += zero * y0[j]
        elif scheme == F22:
            for j in range(lanes):
                y0[j] = keep * m0[i + j] + m1[i + j]
                y1[j] = m1[i + j] + m2[i + j]
                nan[j] += zero * y0[j] + zero * y1[j]
        elif scheme == F32:
            for j in range(lanes):
                y0[j] = keep * m0[i + j] + (m1[i + j] + m2[i + j])
                y1[j] = m1[i + j] - m2[i + j]
                y2[j] = (m1[i + j] + m2[i + j]) - m3[i + j]
                nan[j] += zero * y0[j] + zero * y1[j] + zero * y2[j]
        else:
            for j in range(lanes):
                y0[j] = keep * m0[i + j] + (m1[i + j] + m2[i + j])
                y1[j] = (m1[i + j] - m2[i + j]) - m3[i + j]
                nan[j] += zero * y0[j] + zero * y1[j]
        for j in range(lanes):
            dst[i + j] = y0[j]
        if scheme != F11:
            for j in range(lanes):
                d1[i + j] = y1[j]
        if scheme == F32:
            for j in range(lanes):
                d2[i + j] = y2[j]
        i += lanes
    for j in range(lanes):
        bad |= nan[j] != 0
    return bad


cdef inline void weave_3(
        const float_t* s0, const float_t* s1, const float_t* s2, float_t bias, Py_ssize_t n,
        float_t* o) noexcept nogil:
    cdef Py_ssize_t u
    for u in range(n):
        o[3 * u] = s0[u] + bias
        o[3 * u + 1] = s1[u] + bias
        o[3 * u + 2] = s2[u] + bias


cdef inline void weave_rounds(
        const float_t* const* sources, Py_ssize_t at, float_t bias, Py_ssize_t n_sources,
        Py_ssize_t rounds, float_t* o) noexcept nogil:
    """Lanes [at, at + rounds) of one to four or six sources; the compiler makes shuffles of it."""
    cdef float_t even[3 * WEAVE_LANES]
    cdef float_t odd[3 * WEAVE_LANES]
    cdef Py_ssize_t i, v, m
    cdef const float_t* s0 = sources[0] + at
    cdef const float_t* s1 = sources[min(1, n_sources - 1)] + at
    cdef const float_t* s2 = sources[min(2, n_sources - 1)] + at
    cdef const float_t* s3 = sources[min(3, n_sources - 1)] + at
    if n_sources == 1:
        for i in range(rounds):
            o[i] = s0[i] + bias
    elif n_sources == 2:
        for i in range(rounds):
            o[2 * i] = s0[i] + bias
            o[2 * i + 1] = s1[i] + bias
    elif n_sources == 3:
        weave_3(s0, s1, s2, bias, rounds, o)
    elif n_sources == 4:
        for i in range(rounds):
            o[4 * i] = s0[i] + bias
            o[4 * i + 1] = s1[i] + bias
            o[4 * i + 2] = s2[i] + bias
            o[4 * i + 3] = s3[i] + bias
    else:
        # Six by two and three: the compiler has shuffles for those.
        v = 0
        while v < rounds:
            m = min(rounds - v, WEAVE_LANES)
            weave_3(s0 + v, s2 + v, sources[4] + at + v, bias, m, even)
            weave_3(s1 + v, s3 + v, sources[5] + at + v, bias, m, odd)
            for i in range(3 * m):
                o[2 * i] = even[i]
                o[2 * i + 1] = odd[i]
            o += 6 * m
            v += m


cdef void weave(
        const float_t** sources, Py_ssize_t pitch, const float_t* bias, Py_ssize_t channels,
        Py_ssize_t n_sources, Py_ssize_t first, Py_ssize_t stop, char* dst,
        Py_ssize_t channel_step, Py_ssize_t step, bint streamed) noexcept nogil:
    cdef const float_t* places[2 * WOVEN_SOURCES + ROUNDS_FROM]
    cdef float_t run[6 * WEAVE_LANES]
    cdef Py_ssize_t n = stop - first, u = first // n_sources, j = first - u * n_sources
    cdef Py_ssize_t rounds = 0, head, tail, single, c, v, i, shift, m
    cdef float_t b
    cdef float_t* o
    cdef bint dense = (
        step == <Py_ssize_t> sizeof(float_t) and (n_sources <= 4 or n_sources == 6))
    head = min((n_sources - j) % n_sources, n)
    if n >= ROUNDS_FROM:
        rounds = (n - head) // n_sources
    tail = rounds * n_sources
    single = n - tail
    i = j
    m = u
    for v in range(single):
        if v == head:
            m += rounds
        places[v] = sources[i] + m
        i += 1
        if i == n_sources:
            i = 0
            m += 1
    u += 1 if j else 0
    for c in range(channels):
        b = bias[c]
        shift = c * pitch
        if not dense:
            for i in range(rounds):
                for m in range(n_sources):
                    o = <float_t*> (dst + (head + i * n_sources + m) * step)
                    o[0] = sources[m][shift + u + i] + b
        elif streamed:
            v = 0
            while v < rounds:
                m = min(rounds - v, WEAVE_LANES)
                weave_rounds(sources, shift + u + v, b, n_sources, m, run)
                stream_run(
                    dst + (head + v * n_sources) * step, <char*> run, m * n_sources * step)
                v += m
        elif rounds:
            weave_rounds(
                sources, shift + u, b, n_sources, rounds, <float_t*> (dst + head * step))
        for v in range(single):
            o = <float_t*> (dst + (v if v < head else v + tail) * step)
            o[0] = places[v][shift] + b
        dst += channel_step
