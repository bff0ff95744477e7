# How numbers get from arrays into scratch and back, with a change of type. Part of _kernels.pxi.

from fastconv._stream cimport copy_run, stream_block, stream_run

cdef enum:
    STREAMED = 256         # lanes that are interleaved before they are streamed
    FEW_LANES = 3          # that are told apart one by one
    MANY = 64              # neighbours that are read before they are told apart

cdef union Bits:
    float value
    uint32_t bits


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


cdef inline float half_to_float(uint16_t h) noexcept nogil:
    """Exact: the exponent is moved by a multiplication, which makes subnormals normal too."""
    cdef Bits b
    cdef uint32_t magnitude = h & 0x7fff
    b.bits = magnitude << 13
    b.value = b.value * 5.192296858534828e33  # 2**112
    if magnitude >= 0x7c00:
        b.bits = (magnitude << 13) | 0x7f800000
    b.bits |= (<uint32_t> (h & 0x8000)) << 16
    return b.value


cdef inline uint16_t float_to_half(float value) noexcept nogil:
    """Round to nearest even, in the integers; subnormals let the adder round."""
    cdef Bits b, small
    cdef uint32_t sign, magnitude, moved, result
    b.value = value
    sign = (b.bits >> 16) & 0x8000
    magnitude = b.bits & 0x7fffffff
    small.bits = magnitude
    small.value = small.value + <float> 0.5
    moved = magnitude - 0x38000000
    result = (moved + 0xfff + ((moved >> 13) & 1)) >> 13
    if magnitude < 0x38800000:
        result = small.bits - 0x3f000000
    if magnitude >= 0x47800000:
        result = 0x7c00
    if magnitude > 0x7f800000:
        result = 0x7e00
    return <uint16_t> (result | sign)


cdef inline void convert(element_t value, real_t* out) noexcept nogil:
    if element_t is half_t:
        out[0] = <real_t> half_to_float(value.bits)
    elif element_t is bool_t:
        out[0] = <real_t> (value.value != 0)
    else:
        out[0] = <real_t> value


cdef inline void deposit(real_t value, element_t* out) noexcept nogil:
    if element_t is half_t:
        out.bits = float_to_half(<float> value)
    elif element_t is bool_t:
        out.value = value != 0
    else:
        out[0] = <element_t> value


cdef inline void load_channels(
        const element_t* src, real_t* dst, const Load* load) noexcept nogil:
    """QUAD lanes of one row whose channels are neighbours, four of these at a time."""
    cdef element_t quads[QUAD * MANY]
    cdef Py_ssize_t first = 0, m, c, u, lane_step = load.lane_step, pitch = load.pitch
    cdef Py_ssize_t size = sizeof(element_t), ahead
    cdef const element_t* from_
    cdef real_t* t0
    cdef real_t* t1
    cdef real_t* t2
    cdef real_t* t3
    while first < load.channels:
        # The last ones are moved back, and some read twice. What is copied is read again much
        # later: a load that spans several stores under way has to wait for them.
        m = min(MANY, load.channels - first) // 4 * 4
        if m == 0:
            m = 4
            first = load.channels - 4
        # The next channels of these lanes, or the next lanes: a row crosses pages, where the
        # hardware starts anew.
        ahead = m * size if first + m < load.channels else QUAD * lane_step - first * size
        for u in range(QUAD):
            from_ = <const element_t*> (<const char*> (src + first) + u * lane_step)
            for c in range((m * size + LINE - 1) // LINE):
                prefetch_far(<const char*> from_ + ahead + c * LINE)
            for c in range(0, m, 4):
                memcpy(&quads[QUAD * c + 4 * u], from_ + c, 4 * sizeof(element_t))
        for c in range(0, m, 4):
            from_ = &quads[QUAD * c]
            t0 = dst + (first + c) * pitch
            t1 = t0 + pitch
            t2 = t1 + pitch
            t3 = t2 + pitch
            for u in range(QUAD):
                convert[element_t, real_t](from_[4 * u], &t0[u])
                convert[element_t, real_t](from_[4 * u + 1], &t1[u])
                convert[element_t, real_t](from_[4 * u + 2], &t2[u])
                convert[element_t, real_t](from_[4 * u + 3], &t3[u])
        first += m


cdef inline void load_dense_channels(
        const element_t* src, real_t* dst, Py_ssize_t pitch, Py_ssize_t ways,
        Py_ssize_t n) noexcept nogil:
    """n lanes whose two to four channels are all that lies between them."""
    cdef Py_ssize_t u
    cdef real_t* t0 = dst
    cdef real_t* t1 = dst + pitch
    cdef real_t* t2 = dst + 2 * pitch
    cdef real_t* t3 = dst + 3 * pitch
    for u in range(n):
        convert[element_t, real_t](src[ways * u], &t0[u])
        convert[element_t, real_t](src[ways * u + 1], &t1[u])
        if ways > 2:
            convert[element_t, real_t](src[ways * u + 2], &t2[u])
        if ways > 3:
            convert[element_t, real_t](src[ways * u + 3], &t3[u])


cdef void load(const element_t* src, real_t* dst, const Load* load) noexcept nogil:
    cdef Py_ssize_t size = sizeof(element_t), n = load.n, step = load.lane_step
    cdef Py_ssize_t c, part, r, u
    cdef real_t* to
    cdef const char* row
    cdef const element_t* dense
    cdef bint few = 2 <= load.channels <= 4 and step == load.channels * size
    cdef bint by_channel = (
        load.channel_step == size and step != size and load.components == 1
        and (load.channels >= 4 and n >= QUAD or few)
    )
    for c in range(load.channels):
        for part in range(load.components):
            # Row after row of one channel: they are neighbours in memory as a rule.
            for r in range(load.rows):
                row = <const char*> src + (
                    c * load.channel_step + part * load.component_step + r * load.row_step)
                to = dst + ((c * load.components + part) * load.pitch + r * load.slot)
                for u in range(load.before):
                    to[u] = 0
                to += load.before
                if by_channel:
                    pass
                elif step == size:
                    # A plane of a channel may be a page or less, too short for the hardware.
                    if c + 1 < load.channels:
                        for u in range((n * size + 63) // 64):
                            prefetch(row + (load.channel_step + 64 * u))
                    dense = <const element_t*> row
                    for u in range(n):
                        convert[element_t, real_t](dense[u], &to[u])
                else:
                    for u in range(n):
                        convert[element_t, real_t](
                            (<const element_t*> (row + u * step))[0], &to[u])
                for u in range(n, load.width - load.before):
                    to[u] = 0
    if by_channel and few:
        for r in range(load.rows):
            dense = <const element_t*> (<const char*> src + r * load.row_step)
            to = dst + (r * load.slot + load.before)
            if load.channels == 2:
                load_dense_channels[element_t, real_t](dense, to, load.pitch, 2, n)
            elif load.channels == 3:
                load_dense_channels[element_t, real_t](dense, to, load.pitch, 3, n)
            else:
                load_dense_channels[element_t, real_t](dense, to, load.pitch, 4, n)
    elif by_channel:
        for r in range(load.rows):
            u = 0
            while u < n:
                # The last ones are moved back, and some read twice.
                u = min(u, n - QUAD)
                load_channels[element_t, real_t](
                    <const element_t*> (
                        <const char*> src + (r * load.row_step + u * step)),
                    dst + (r * load.slot + load.before + u), load)
                u += QUAD


cdef inline bint four_taps(const Run* run, Py_ssize_t size) noexcept nogil:
    """Whether four runs fill whole panels of four columns or eight, with neighbours of a source."""
    cdef Py_ssize_t j
    if run.dst_step != 1 or run.count != run.height or (run.count != 8 and run.count != 4):
        return False
    for j in range(1, 4):
        if (
            run[j].src != run.src + j * size or run[j].src_step != run.src_step
            or run[j].dst_step != 1 or run[j].count != run.count or run[j].height != run.height
        ):
            return False
    return True


cdef inline bint pack_taps(
        const element_t* src, Py_ssize_t channel_step, Py_ssize_t first, Py_ssize_t channels,
        const Run* run, real_t* dst) noexcept nogil:
    """Such four runs, for up to 8 channels."""
    cdef element_t quads[4 * 8 * 8]
    cdef Py_ssize_t count = run.count, i, m, u
    cdef real_t* t0 = dst + (run[0].dst + first * count)
    cdef real_t* t1 = dst + (run[1].dst + first * count)
    cdef real_t* t2 = dst + (run[2].dst + first * count)
    cdef real_t* t3 = dst + (run[3].dst + first * count)
    cdef const char* place
    cdef real_t value
    cdef bint bad = False
    for i in range(channels):
        place = <const char*> src + ((first + i) * channel_step + run.src)
        for m in range(count):
            memcpy(&quads[4 * (i * count + m)], place + m * run.src_step, 4 * sizeof(element_t))
    for u in range(channels * count):
        convert[element_t, real_t](quads[4 * u], &t0[u])
        convert[element_t, real_t](quads[4 * u + 1], &t1[u])
        convert[element_t, real_t](quads[4 * u + 2], &t2[u])
        convert[element_t, real_t](quads[4 * u + 3], &t3[u])
    for u in range(4 * channels * count):
        convert[element_t, real_t](quads[u], &value)
        bad |= value - value != 0
    return bad


cdef bint pack(
        const element_t* src, Py_ssize_t channel_step, Py_ssize_t channels, Py_ssize_t components,
        const Run* runs, Py_ssize_t n_runs, real_t* dst) noexcept nogil:
    cdef Py_ssize_t size = sizeof(element_t), i, i_0, i_1, r, m
    cdef const Run* run
    cdef const char* place
    cdef const element_t* pair
    cdef real_t value, imaginary
    cdef real_t* to
    cdef bint bad = False
    # Steps from channel to channel and from panel to panel are often powers of two; by eights,
    # neither the lines that are read nor those that are written drive each other from the cache.
    i_0 = 0
    while i_0 < channels:
        i_1 = min(i_0 + 8, channels)
        r = 0
        while r < n_runs:
            run = &runs[r]
            if r + 3 < n_runs and components == 1 and four_taps(run, size):
                bad |= pack_taps[element_t, real_t](
                    src, channel_step, i_0, i_1 - i_0, run, dst)
                r += 4
                continue
            r += 1
            for i in range(i_0, i_1):
                place = <const char*> src + (i * channel_step + run.src)
                to = dst + (run.dst + i * run.height)
                # Inf - Inf and NaN - NaN are NaN; everything else is 0.
                if components == 2:
                    for m in range(run.count):
                        pair = <const element_t*> (place + m * run.src_step)
                        convert[element_t, real_t](pair[0], &value)
                        convert[element_t, real_t](pair[1], &imaginary)
                        bad |= (value - value != 0) | (imaginary - imaginary != 0)
                        to[m * run.dst_step] = value
                        to[m * run.dst_step + 1] = imaginary
                elif run.count == 8 and run.dst_step == 1 and run.src_step == size:
                    pair = <const element_t*> place
                    for m in range(8):
                        convert[element_t, real_t](pair[m], &value)
                        bad |= value - value != 0
                        to[m] = value
                elif run.count == 8 and run.dst_step == 1:
                    for m in range(8):
                        convert[element_t, real_t](
                            (<const element_t*> (place + m * run.src_step))[0], &value)
                        bad |= value - value != 0
                        to[m] = value
                else:
                    for m in range(run.count):
                        convert[element_t, real_t](
                            (<const element_t*> (place + m * run.src_step))[0], &value)
                        bad |= value - value != 0
                        to[m * run.dst_step] = value
        i_0 = i_1
    return bad


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


cdef inline void store_quads(
        const real_t** sources, const real_t* bias, element_t* dst, const Store* s,
        Py_ssize_t at, Py_ssize_t lanes) noexcept nogil:
    """QUAD lanes or fewer from `at` on of 4 sources or more, which are neighbours."""
    cdef element_t quads[4 * QUAD]
    cdef Py_ssize_t j = 0, u
    cdef char* to
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
        v = 0
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


cdef void add(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t at,
        Py_ssize_t stride, Py_ssize_t dilation, Py_ssize_t length, char* dst,
        Py_ssize_t lane_step) noexcept nogil:
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
