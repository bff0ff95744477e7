# How accumulators and columns get into the result. Part of _kernels.pyx.

from fastconv._interleave cimport six_doubles, six_floats
from fastconv._stream cimport copy_part, copy_run, stream_block, stream_run

cdef enum:
    STREAMED = 256         # lanes that are interleaved before they are streamed
    FEW_LANES = 3          # that are told apart one by one


# How many sources are neighbours that follow each other in a row, carried by a type.
cdef struct Ways1:
    char unused
cdef struct Ways2:
    char unused
cdef struct Ways3:
    char unused
cdef struct Ways4:
    char unused

ctypedef fused ways_t:
    Ways1
    Ways2
    Ways3
    Ways4


cdef inline void interleave_four(
        const real_t** sources, const real_t* bias, Py_ssize_t bias_mask, Py_ssize_t j,
        Py_ssize_t at, element_t* quads) noexcept nogil:
    """quads[4*u + i] = sources[j + i][at + u] + bias for u < QUAD, i < 4."""
    cdef Py_ssize_t u
    cdef const real_t* s0 = sources[j] + at
    cdef const real_t* s1 = sources[j + 1] + at
    cdef const real_t* s2 = sources[j + 2] + at
    cdef const real_t* s3 = sources[j + 3] + at
    cdef real_t b0 = bias[j & bias_mask]
    cdef real_t b1 = bias[(j + 1) & bias_mask]
    cdef real_t b2 = bias[(j + 2) & bias_mask]
    cdef real_t b3 = bias[(j + 3) & bias_mask]
    for u in range(QUAD):
        deposit[real_t, element_t](s0[u] + b0, &quads[4 * u])
        deposit[real_t, element_t](s1[u] + b1, &quads[4 * u + 1])
        deposit[real_t, element_t](s2[u] + b2, &quads[4 * u + 2])
        deposit[real_t, element_t](s3[u] + b3, &quads[4 * u + 3])


cdef inline void interleave_twice(
        const real_t** sources, const real_t* bias, Py_ssize_t bias_mask, Py_ssize_t at,
        Py_ssize_t runs, Py_ssize_t ways, element_t* to) noexcept nogil:
    """QUAD lanes of runs * ways sources whose results follow each other: runs, then their members.

    to[(runs*u + r) * ways + i] = sources[r*ways + i][at + u] + bias, by shuffles of whole vectors.
    """
    cdef real_t rows[4 * 4 * QUAD]
    cdef const real_t* run[4]
    cdef real_t b[4]
    cdef Py_ssize_t n = runs * QUAD, i, r, u
    for i in range(ways):
        for r in range(runs):
            run[r] = sources[r * ways + i]
            b[r] = bias[(r * ways + i) & bias_mask]
        interleave[real_t, real_t](run, at, b[0], b[1], b[2], b[3], runs, QUAD, rows + i * n)
    for u in range(n):
        deposit[real_t, element_t](rows[u], &to[ways * u])
        deposit[real_t, element_t](rows[n + u], &to[ways * u + 1])
        deposit[real_t, element_t](rows[2 * n + u], &to[ways * u + 2])
        if ways > 3:
            deposit[real_t, element_t](rows[3 * n + u], &to[ways * u + 3])


cdef inline bint store_six(
        const real_t** sources, const real_t* bias, element_t* dst, const Store* s,
        Py_ssize_t at, Py_ssize_t lanes) noexcept nogil:
    """Lanes from `at` on of six sources whose results follow each other, if they can be shuffled.

    These are phases of the minimal filtering, or of colours.
    """
    if VECTOR_FLOATS == 16 or s.n_sources != 6 or s.lane_step != 6 * sizeof(element_t):
        return False
    if real_t is float and element_t is float:
        six_floats(sources, at, bias, s.bias_mask, lanes, dst)
        return True
    elif real_t is double and element_t is double:
        six_doubles(sources, at, bias, s.bias_mask, lanes, dst)
        return True
    else:
        return False


cdef inline void store_quads(
        const real_t** sources, const real_t* bias, element_t* dst, const Store* s,
        Py_ssize_t at, Py_ssize_t lanes) noexcept nogil:
    """QUAD lanes or fewer from `at` on of 4 sources or more, which are neighbours."""
    cdef element_t quads[4 * QUAD]
    cdef Py_ssize_t j = 0, u
    cdef char* to
    if (
        VECTOR_FLOATS == 16 and lanes == QUAD
        and s.lane_step == s.n_sources * <Py_ssize_t> sizeof(element_t)
    ):
        # Colours of two phases or four, and eight phases. Shorter vectors gain nothing.
        if s.n_sources == 6:
            interleave_twice[real_t, element_t](sources, bias, s.bias_mask, at, 2, 3, dst)
            return
        if s.n_sources == 8:
            interleave_twice[real_t, element_t](sources, bias, s.bias_mask, at, 2, 4, dst)
            return
        if s.n_sources == 12:
            interleave_twice[real_t, element_t](sources, bias, s.bias_mask, at, 4, 3, dst)
            return
    while j < s.n_sources:
        # The last ones are moved back, and some stored twice.
        j = min(j, s.n_sources - 4)
        interleave_four[real_t, element_t](sources, bias, s.bias_mask, j, at, quads)
        to = <char*> (dst + j)
        for u in range(lanes):
            memcpy(to, &quads[4 * u], 4 * sizeof(element_t))
            to += s.lane_step
        j += 4


cdef inline void store_some(
        const real_t** sources, const real_t* bias, element_t* dst, const Store* s,
        Py_ssize_t source, Py_ssize_t stop, Py_ssize_t first, Py_ssize_t low,
        Py_ssize_t high) noexcept nogil:
    """Sources [source, stop) one by one, lanes [low, high)."""
    cdef Py_ssize_t j, u, step = s.source_step, mask = s.bias_mask
    cdef char* o
    for u in range(low, high):
        o = <char*> dst + u * s.lane_step
        for j in range(source, stop):
            deposit[real_t, element_t](
                sources[j][first + u] + bias[j & mask], <element_t*> (o + j * step))


cdef inline void hand_over(
        char* to, const char* run, Py_ssize_t size, bint streamed) noexcept nogil:
    """Write what was collected of a run."""
    if streamed:
        stream_run(to, run, size)
    else:
        copy_run(to, run, size)


cdef inline void interleave(
        const real_t** sources, Py_ssize_t at, real_t b0, real_t b1, real_t b2, real_t b3,
        Py_ssize_t ways, Py_ssize_t lanes, element_t* to) noexcept nogil:
    """to[ways*u + i] = sources[i][at + u] + b_i for u < lanes, i < ways.

    The compiler makes shuffles of these loops.
    """
    cdef Py_ssize_t u
    cdef const real_t* s0 = sources[0] + at
    cdef const real_t* s1 = sources[1 if ways > 1 else 0] + at
    cdef const real_t* s2 = sources[2 if ways > 2 else 0] + at
    cdef const real_t* s3 = sources[3 if ways > 3 else 0] + at
    for u in range(lanes):
        deposit[real_t, element_t](s0[u] + b0, &to[ways * u])
        if ways > 1:
            deposit[real_t, element_t](s1[u] + b1, &to[ways * u + 1])
        if ways > 2:
            deposit[real_t, element_t](s2[u] + b2, &to[ways * u + 2])
        if ways > 3:
            deposit[real_t, element_t](s3[u] + b3, &to[ways * u + 3])


cdef inline void stream_wide(
        const real_t** sources, const real_t* bias, element_t* dst, const Store* s,
        Py_ssize_t at, Py_ssize_t lanes) noexcept nogil:
    """What `store_quads` does, but with many sources collected and written by whole lines."""
    cdef element_t rows[QUAD * MANY]
    cdef element_t quads[4 * QUAD]
    cdef Py_ssize_t first = 0, j, m, u, size = sizeof(element_t)
    while first < s.n_sources:
        # The last ones are moved back, and some stored twice.
        m = min(MANY, s.n_sources - first) // 4 * 4
        if m == 0:
            m = 4
            first = s.n_sources - 4
        for j in range(0, m, 4):
            interleave_four[real_t, element_t](sources, bias, s.bias_mask, first + j, at, quads)
            for u in range(QUAD):
                memcpy(&rows[u * MANY + j], &quads[4 * u], 4 * sizeof(element_t))
        for u in range(lanes):
            stream_run(
                <char*> (dst + first) + u * s.lane_step, <char*> &rows[u * MANY], m * size)
        first += m


cdef inline void stream_dense(
        const real_t** sources, const real_t* bias, element_t* dst, const Store* s,
        Py_ssize_t first, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """Lanes [low, high) of sources whose results follow each other, by whole lines."""
    cdef element_t run[QUAD * MANY]
    cdef Py_ssize_t n_sources = s.n_sources, u = low, n, v
    cdef Py_ssize_t most = MANY // n_sources * QUAD
    while u < high:
        n = min(most, high - u)
        v = n if store_six[real_t, element_t](sources, bias, run, s, first + u, n) else 0
        while v < n:
            store_quads[real_t, element_t](
                sources, bias, &run[v * n_sources], s, first + u + v, min(QUAD, n - v))
            v += QUAD
        stream_run(
            <char*> (dst + u * n_sources), <char*> run,
            n * n_sources * <Py_ssize_t> sizeof(element_t))
        u += n


cdef inline void store_wide(
        const real_t** sources, const real_t* bias, element_t* dst, const Store* s,
        Py_ssize_t first, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """Lanes [low, high) of four or more sources that are neighbours."""
    cdef Py_ssize_t u = low
    cdef element_t* to
    cdef Py_ssize_t bytes = s.n_sources * sizeof(element_t)
    if not s.streamed and store_six[real_t, element_t](
            sources, bias, <element_t*> (<char*> dst + low * s.lane_step), s, first + low,
            high - low):
        return
    if s.streamed and s.lane_step == bytes and s.n_sources <= MANY:
        stream_dense[real_t, element_t](sources, bias, dst, s, first, low, high)
        return
    while u < high:
        # The last ones are moved back, and some stored twice.
        u = max(low, min(u, high - QUAD))
        to = <element_t*> (<char*> dst + u * s.lane_step)
        if s.streamed and bytes >= 2 * LINE:
            stream_wide[real_t, element_t](
                sources, bias, to, s, first + u, min(QUAD, high - low))
        else:
            store_quads[real_t, element_t](
                sources, bias, to, s, first + u, min(QUAD, high - low))
        u += QUAD


cdef inline Py_ssize_t ways_of(ways_t* tag) noexcept nogil:
    """How many sources a type means."""
    if ways_t is Ways1:
        return 1
    elif ways_t is Ways2:
        return 2
    elif ways_t is Ways3:
        return 3
    else:
        return 4


cdef void store_direct(
        const real_t** sources, const real_t* biases, element_t* dst, const Store* s,
        Py_ssize_t low, Py_ssize_t high, ways_t* tag) noexcept nogil:
    """Lanes [low, high), QUAD or more, of one to four sources whose results follow each other."""
    cdef Py_ssize_t n = (high - low) // QUAD * QUAD, group, channel, k = 0, r, left, at, u
    cdef Py_ssize_t ways = ways_of[ways_t](tag)
    cdef element_t block[4 * QUAD]
    cdef const real_t* bias
    cdef const real_t** row
    cdef real_t b0, b1, b2, b3
    cdef element_t* to
    cdef element_t* last
    for group in range(s.groups):
        for channel in range(s.channels):
            bias = biases + k * s.bias_step
            b0 = bias[0]
            b1 = bias[1 & s.bias_mask] if ways > 1 else b0
            b2 = bias[2 & s.bias_mask] if ways > 2 else b0
            b3 = bias[3 & s.bias_mask] if ways > 3 else b0
            to = <element_t*> (<char*> (dst + ways * low) + k * s.channel_step)
            k += 1
            at = group * s.group_pitch + channel * s.pitch + s.at + low
            row = sources + s.first * ways
            left = s.phases - s.first
            for r in range(s.rows):
                interleave[real_t, element_t](row, at, b0, b1, b2, b3, ways, n, to)
                if n < high - low:
                    # The last ones are moved back, and some stored twice.
                    u = high - low - QUAD
                    interleave[real_t, element_t](row, at + u, b0, b1, b2, b3, ways, QUAD, block)
                    last = to + ways * u
                    for u in range(ways * QUAD):
                        last[u] = block[u]
                to = <element_t*> (<char*> to + s.row_step)
                row += ways
                left -= 1
                if left == 0:
                    left = s.phases
                    row = sources
                    at += s.turn


cdef void store_collected(
        const real_t** sources, const real_t* biases, element_t* dst, const Store* s,
        ways_t* tag) noexcept nogil:
    """Rows of one to four sources whose results follow each other, collected, then written.

    Lanes that do not fill a vector are interleaved as if they did. Rows that follow each other in
    memory are written together, so that few lines are written in parts.
    """
    cdef Py_ssize_t size = sizeof(element_t), group, channel, k = 0, r, left, at, u, n
    cdef Py_ssize_t begun = 0, filled = 0, ways = ways_of[ways_t](tag)
    cdef element_t run[4 * STREAMED]
    cdef char* place = <char*> dst
    cdef const real_t* bias
    cdef const real_t** row
    cdef real_t b0, b1, b2, b3
    cdef char* to
    for group in range(s.groups):
        for channel in range(s.channels):
            bias = biases + k * s.bias_step
            b0 = bias[0]
            b1 = bias[1 & s.bias_mask] if ways > 1 else b0
            b2 = bias[2 & s.bias_mask] if ways > 2 else b0
            b3 = bias[3 & s.bias_mask] if ways > 3 else b0
            to = <char*> dst + k * s.channel_step
            k += 1
            at = group * s.group_pitch + channel * s.pitch + s.at
            row = sources + s.first * ways
            left = s.phases - s.first
            for r in range(s.rows):
                u = 0
                while u < s.n:
                    n = min(s.n - u, STREAMED)
                    if filled > begun and (
                        s.skip or filled + ways * (n + QUAD) > 4 * STREAMED
                        or to + ways * u * size != place + filled * size
                    ):
                        hand_over(
                            place + begun * size, <char*> &run[begun], (filled - begun) * size,
                            s.streamed)
                        filled = begun
                    if filled == begun:
                        begun = s.skip if u == 0 else 0
                        filled = 0
                        place = to + ways * u * size
                    interleave[real_t, element_t](
                        row, at + u, b0, b1, b2, b3, ways, (n + QUAD - 1) // QUAD * QUAD,
                        &run[filled])
                    filled += ways * n
                    u += n
                filled -= s.cut
                to += s.row_step
                row += ways
                left -= 1
                if left == 0:
                    left = s.phases
                    row = sources
                    at += s.turn
    hand_over(place + begun * size, <char*> &run[begun], (filled - begun) * size, s.streamed)


cdef void store_scattered(
        const real_t** sources, const real_t* biases, element_t* dst, const Store* s,
        Py_ssize_t low, Py_ssize_t high, bint only_ends) noexcept nogil:
    """Rows of any steps: lanes [low, high), all of whose sources are stored, and the ends."""
    cdef Py_ssize_t group, channel, k = 0, r, left, at, stop
    cdef bint wide = (
        s.source_step == <Py_ssize_t> sizeof(element_t) and s.n_sources >= 4
        and high - low >= FEW_LANES
    )
    cdef const real_t* bias
    cdef const real_t** row
    cdef element_t* to
    for group in range(s.groups):
        for channel in range(s.channels):
            bias = biases + k * s.bias_step
            to = <element_t*> (<char*> dst + k * s.channel_step)
            k += 1
            at = group * s.group_pitch + channel * s.pitch + s.at
            row = sources + s.first * s.n_sources
            left = s.phases - s.first
            for r in range(s.rows):
                if s.skip:
                    stop = s.n_sources - s.cut if high == 0 else s.n_sources
                    store_some[real_t, element_t](row, bias, to, s, s.skip, stop, at, 0, 1)
                if not only_ends and wide:
                    store_wide[real_t, element_t](row, bias, to, s, at, low, high)
                elif not only_ends:
                    store_some[real_t, element_t](
                        row, bias, to, s, 0, s.n_sources, at, low, high)
                if s.cut and high >= low:
                    store_some[real_t, element_t](
                        row, bias, to, s, 0, s.n_sources - s.cut, at, high, s.n)
                to = <element_t*> (<char*> to + s.row_step)
                row += s.n_sources
                left -= 1
                if left == 0:
                    left = s.phases
                    row = sources
                    at += s.turn


cdef inline void store_neighbours(
        const real_t** sources, const real_t* biases, element_t* dst, const Store* s,
        Py_ssize_t low, Py_ssize_t high, ways_t* tag) noexcept nogil:
    """Rows of one to four sources whose results follow each other."""
    if s.streamed or high - low < QUAD:
        store_collected[real_t, element_t, ways_t](sources, biases, dst, s, tag)
        return
    store_direct[real_t, element_t, ways_t](sources, biases, dst, s, low, high, tag)
    if s.skip or s.cut:
        store_scattered[real_t, element_t](sources, biases, dst, s, low, high, True)


cdef void store(
        const real_t** sources, const real_t* biases, element_t* dst,
        const Store* s) noexcept nogil:
    cdef Py_ssize_t size = sizeof(element_t)
    # The lanes of which all sources are stored.
    cdef Py_ssize_t low = 1 if s.skip else 0
    cdef Py_ssize_t high = s.n - 1 if s.cut else s.n
    if s.source_step != size or s.lane_step != s.n_sources * size or s.n_sources > 4:
        store_scattered[real_t, element_t](sources, biases, dst, s, low, high, False)
    elif s.n_sources == 1:
        store_neighbours[real_t, element_t, Ways1](sources, biases, dst, s, low, high, NULL)
    elif s.n_sources == 2:
        store_neighbours[real_t, element_t, Ways2](sources, biases, dst, s, low, high, NULL)
    elif s.n_sources == 3:
        store_neighbours[real_t, element_t, Ways3](sources, biases, dst, s, low, high, NULL)
    else:
        store_neighbours[real_t, element_t, Ways4](sources, biases, dst, s, low, high, NULL)
