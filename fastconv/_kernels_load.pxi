# How rows of x get into scratch, and weights into panels. Part of _kernels.pyx.

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
        ahead = m * size
        if first + m == load.channels and not load.goes_on:
            ahead = QUAD * lane_step - first * size
        for u in range(QUAD):
            from_ = <const element_t*> (<const char*> (src + first) + u * lane_step)
            for c in range((m * size + LINE - 1) // LINE):
                prefetch_far(<const char*> from_ + ahead + c * LINE)
            # They seldom begin where a line does, so they end in one more.
            prefetch_far(<const char*> (from_ + m) + ahead - 1)
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


cdef inline void load_few_lanes(
        const element_t* src, real_t* dst, const Load* load) noexcept nogil:
    """A row of few lanes whose channels are neighbours: lane by lane, as they lie in memory."""
    cdef Py_ssize_t u, c
    cdef const element_t* from_
    for u in range(load.n):
        from_ = <const element_t*> (<const char*> src + u * load.lane_step)
        for c in range(load.channels):
            convert[element_t, real_t](from_[c], &dst[c * load.pitch + u])


cdef inline void put_zeros(real_t* to, Py_ssize_t n) noexcept nogil:
    """n zeros; the few around a row would take longer in a loop of vectors."""
    cdef Py_ssize_t u
    if n > 4:
        for u in range(n):
            to[u] = 0
        return
    if n > 0:
        to[0] = 0
    if n > 1:
        to[1] = 0
    if n > 2:
        to[2] = 0
    if n > 3:
        to[3] = 0


cdef inline void load_lines(
        const element_t* src, real_t* dst, const Load* load, Py_ssize_t ahead,
        Py_ssize_t width) noexcept nogil:
    """Rows whose numbers are neighbours, a constant width of them at a time, which is n at most.

    The same rows are fetched `ahead` bytes further on.
    """
    cdef element_t some[QUAD]
    cdef Py_ssize_t n = load.n, after = load.width - load.before - n, r, u, at
    cdef const char* row = <const char*> src
    cdef real_t* to = dst
    for r in range(load.rows):
        if ahead:
            # A plane of a channel may be a page or less, too short for the hardware.
            for u in range((n * <Py_ssize_t> sizeof(element_t) + LINE - 1) // LINE):
                prefetch(row + (ahead + LINE * u))
        put_zeros[real_t](to, load.before)
        to += load.before
        at = 0
        while at < n:
            # The last ones are moved back, and some read twice.
            at = min(at, n - width)
            for u in range(width):
                some[u] = (<const element_t*> row)[at + u]
            for u in range(width):
                convert[element_t, real_t](some[u], &to[at + u])
            at += width
        put_zeros[real_t](to + n, after)
        row += load.row_step
        to += load.slot - load.before


cdef inline void load_scattered(
        const element_t* src, real_t* dst, const Load* load, bint only_zeros) noexcept nogil:
    """Rows whose numbers are apart, or only the zeros around them."""
    cdef Py_ssize_t n = load.n, r, u
    cdef const char* row
    cdef real_t* to
    for r in range(load.rows):
        row = <const char*> src + r * load.row_step
        to = dst + r * load.slot
        put_zeros[real_t](to, load.before)
        to += load.before
        if not only_zeros:
            for u in range(n):
                convert[element_t, real_t](
                    (<const element_t*> (row + u * load.lane_step))[0], &to[u])
        put_zeros[real_t](to + n, load.width - load.before - n)


cdef void load(const element_t* src, real_t* dst, const Load* load) noexcept nogil:
    cdef Py_ssize_t size = sizeof(element_t), n = load.n, step = load.lane_step
    cdef Py_ssize_t c, part, r, u, ahead
    cdef real_t* to
    cdef const element_t* from_
    cdef bint few = 2 <= load.channels <= 4 and step == load.channels * size
    cdef bint by_channel = (
        load.channel_step == size and step != size and load.components == 1
        and (load.channels >= 4 or few)
    )
    # Channels that are neighbours are read below; here they get the zeros around them, if any.
    for c in range(0 if by_channel and load.width == n else load.channels):
        ahead = load.channel_step if c + 1 < load.channels else 0
        for part in range(load.components):
            # Row after row of one channel: they are neighbours in memory as a rule.
            from_ = <const element_t*> (
                <const char*> src + (c * load.channel_step + part * load.component_step))
            to = dst + (c * load.components + part) * load.pitch
            if by_channel or step != size:
                load_scattered[element_t, real_t](from_, to, load, by_channel)
            elif n >= QUAD:
                load_lines[element_t, real_t](from_, to, load, ahead, QUAD)
            elif n >= QUAD // 2:
                load_lines[element_t, real_t](from_, to, load, ahead, QUAD // 2)
            elif n >= QUAD // 4:
                load_lines[element_t, real_t](from_, to, load, ahead, QUAD // 4)
            else:
                load_lines[element_t, real_t](from_, to, load, ahead, 1)
    if by_channel and few:
        for r in range(load.rows):
            from_ = <const element_t*> (<const char*> src + r * load.row_step)
            to = dst + (r * load.slot + load.before)
            if load.channels == 2:
                load_dense_channels[element_t, real_t](from_, to, load.pitch, 2, n)
            elif load.channels == 3:
                load_dense_channels[element_t, real_t](from_, to, load.pitch, 3, n)
            else:
                load_dense_channels[element_t, real_t](from_, to, load.pitch, 4, n)
    elif by_channel:
        for r in range(load.rows):
            from_ = <const element_t*> (<const char*> src + r * load.row_step)
            to = dst + (r * load.slot + load.before)
            if n < QUAD:
                load_few_lanes[element_t, real_t](from_, to, load)
                continue
            u = 0
            while u < n:
                # The last ones are moved back, and some read twice.
                u = min(u, n - QUAD)
                load_channels[element_t, real_t](
                    <const element_t*> (<const char*> from_ + u * step), to + u, load)
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


cdef inline bint pack_column(
        const element_t* src, Py_ssize_t step, Py_ssize_t count, real_t* to) noexcept nogil:
    """Bring numbers to places that follow each other; whether one is Inf or NaN."""
    cdef Py_ssize_t m
    cdef real_t value
    cdef bint bad = False
    if step == sizeof(element_t):
        for m in range(count):
            convert[element_t, real_t](src[m], &to[m])
        for m in range(count):
            bad |= to[m] - to[m] != 0
    else:
        # What is stored number by number cannot be read again as a vector before it is written.
        for m in range(count):
            convert[element_t, real_t](
                (<const element_t*> (<const char*> src + m * step))[0], &value)
            bad |= value - value != 0
            to[m] = value
    return bad


cdef inline bint pack_singles(
        const element_t* src, Py_ssize_t channel_step, Py_ssize_t first, Py_ssize_t stop,
        const Run* runs, Py_ssize_t n, real_t* dst) noexcept nogil:
    """Runs of one number each, for some channels; whether one is Inf or NaN."""
    cdef Py_ssize_t i, r
    cdef real_t value
    cdef bint bad = False
    for i in range(first, stop):
        for r in range(n):
            convert[element_t, real_t](
                (<const element_t*> (<const char*> src + i * channel_step + runs[r].src))[0],
                &value)
            bad |= value - value != 0
            dst[runs[r].dst + i * runs[r].height] = value
    return bad


cdef bint pack(
        const element_t* src, Py_ssize_t channel_step, Py_ssize_t channels, Py_ssize_t components,
        const Run* runs, Py_ssize_t n_runs, real_t* dst) noexcept nogil:
    cdef Py_ssize_t size = sizeof(element_t), i, i_0, i_1, r, m, singles
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
            singles = 0
            while components == 1 and r + singles < n_runs and run[singles].count == 1:
                singles += 1
            if singles:
                bad |= pack_singles[element_t, real_t](
                    src, channel_step, i_0, i_1, run, singles, dst)
                r += singles
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
                elif run.count == 8 and run.dst_step == 1:
                    bad |= pack_column[element_t, real_t](
                        <const element_t*> place, run.src_step, 8, to)
                elif run.count == 4 and run.dst_step == 1:
                    bad |= pack_column[element_t, real_t](
                        <const element_t*> place, run.src_step, 4, to)
                else:
                    for m in range(run.count):
                        convert[element_t, real_t](
                            (<const element_t*> (place + m * run.src_step))[0], &value)
                        bad |= value - value != 0
                        to[m * run.dst_step] = value
        i_0 = i_1
    return bad
