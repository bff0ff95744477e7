# How weights get into panels. Part of _execute.pyx.

# Where a tap of the kernel goes: the same for all channels of a block.
cdef struct TapPlace:
    Py_ssize_t src                # offset of the tap in the weights of one pair of channels
    Py_ssize_t base               # start of the panels of its set and class of the lane axis
    Py_ssize_t taps               # of that class
    Py_ssize_t tap                # its number among them
    Py_ssize_t row                # of the first output channel; the others follow
    Py_ssize_t rows


cdef void place_tap(
        const Geometry* g, Py_ssize_t outer_tap, Py_ssize_t t, Py_ssize_t n_co,
        TapPlace* place) noexcept nogil:
    """Work out `place` for a tap of the outer axes and tap `t` of the lane axis."""
    cdef Py_ssize_t i, k, cls, phase, j, size, count, lane_taps
    cdef Py_ssize_t set_index = 0, set_step = 1, p = 0, phases = 1, tap = 0, n_taps = 1
    cdef const Axis* a
    if g.joined:
        place_joined(g, outer_tap, t, n_co, place)
        return
    place.src = t * g.w_lane
    for i in range(g.n_outer - 1, -1, -1):
        a = &g.outer[i]
        k = outer_tap % a.kernel
        outer_tap //= a.kernel
        place.src += k * g.w_outer[i]
        phase = k % a.period
        j = k // a.period
        cls = phase
        if a.merged:
            cls = 1 if phase >= class_size(a, 0) else 0
        size = class_size(a, cls)
        count = phase_taps(a, phase)
        set_index += cls * set_step
        set_step *= a.n_classes
        p += (phase - class_first(a, cls)) * phases
        phases *= size
        tap += j * n_taps
        n_taps *= count
    place.base = n_co * g.components * g.c_in * g.set_taps[set_index]
    phase = t % g.lane.period
    j = t // g.lane.period
    size = class_size(&g.lane, 0)
    lane_taps = phase_taps(&g.lane, phase)
    # Phases of the lane axis that are not merged are two.
    if phase >= size:
        place.base += n_co * g.components * g.c_in * phases * n_taps * size * g.lane.max_taps
        phase -= size
        size = g.lane.n_phases - size
    place.taps = n_taps * lane_taps
    place.tap = tap * lane_taps + j
    place.row = (phase * phases + p) * n_co * g.components
    place.rows = size * phases * n_co * g.components


cdef inline Py_ssize_t place_run(
        const Geometry* g, const TapPlace* place, Py_ssize_t co, Py_ssize_t ci,
        Run* run) noexcept nogil:
    """Where the column of output channel `co` and a tap goes; the rows of its panel from there."""
    cdef Py_ssize_t row = place.row + co * g.components
    cdef Panel panel = panel_of(row, place.rows, g.height)
    run.src = place.src + co * g.w_out
    run.dst = (
        place.base + panel.start * place.taps * g.c_in
        + (place.tap * g.c_in + ci) * panel.height + row - panel.start
    )
    run.height = panel.height
    return panel.start + panel.height - row


cdef inline Py_ssize_t tap_run(
        const Geometry* g, const TapPlace* place, Py_ssize_t n, Py_ssize_t left,
        Py_ssize_t* step) noexcept nogil:
    """How many of n taps go to rows of one panel that are `step` apart, `left` from its end."""
    cdef Py_ssize_t count = 1
    step[0] = place[1].row - place.row if n > 1 else 0
    while (
        step[0] > 0 and count < n and place[count].tap == place.tap
        and place[count].base == place.base
        and place[count].row == place.row + count * step[0] and count * step[0] < left
        and place[count].src == place.src + count * g.w_lane
    ):
        count += 1
    return count


cdef bint pack_runs(
        const Call* c, Py_ssize_t ci, Py_ssize_t co, Py_ssize_t group, Py_ssize_t stop,
        const Run* runs, Py_ssize_t n_runs) noexcept nogil:
    """Pack columns that have their places in common in all groups [group, stop)."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t channels = min(PACK_CHANNELS, g.c_in - ci)
    cdef bint bad = False
    for group in range(group, stop):
        bad |= c.k.pack[c.code](
            c.w + (group * g.c_in + ci) * g.w_in + co * g.w_out, g.w_in, channels, g.components,
            runs, n_runs,
            c.packed + (group * g.c_out + co) * g.taps * g.c_in * g.components * g.size)
    return bad


cdef bint pack_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """Pack some input channels of a block of output channels of some groups.

    Returns whether Inf or NaN was seen.

    Panels lie in the order (group, block of channels, set, class of the lane axis, panel of rows);
    a panel is [outer tap][lane tap][input channel][row]. Rows are (lane phase, outer phase,
    output channel, component).
    """
    cdef const Geometry* g = c.g
    cdef TapPlace places[TAPS]
    cdef Run runs[RUNS + FOUR]
    cdef Run* run
    cdef Py_ssize_t parts = ceil_div(g.c_in, PACK_CHANNELS)
    cdef Py_ssize_t ci = task % parts * PACK_CHANNELS
    cdef Py_ssize_t block = task // parts % g.n_channel_blocks
    cdef Py_ssize_t group = task // parts // g.n_channel_blocks * PACK_GROUPS
    cdef Py_ssize_t stop = min(group + PACK_GROUPS, g.groups)
    cdef Py_ssize_t co_0 = block * g.channel_block
    cdef Py_ssize_t n_co = min(g.channel_block, g.c_out - co_0)
    cdef Py_ssize_t first = 0, n, e, i, co, last, left, count, n_runs = 0
    # A run goes along the output channels, or along the taps where there are few channels.
    cdef bint by_tap = n_co < 4
    cdef bint bad = False
    while first < g.taps:
        n = min(TAPS, g.taps - first)
        for e in range(n):
            place_tap(
                g, (first + e) // g.lane.kernel, (first + e) % g.lane.kernel, n_co, &places[e])
        e = co = 0
        while e < n and n_co > 0:
            count = n_co - co
            if by_tap:
                run = &runs[n_runs]
                left = place_run(g, &places[e], co, ci, run)
                run.count = tap_run(g, &places[e], n - e, left, &run.dst_step)
                run.src_step = g.w_lane
                n_runs += 1
                e += run.count
                if e == n and co + 1 < n_co:
                    e = 0
                    co += 1
            else:
                # The same columns of four taps follow each other.
                last = min(e + FOUR, n)
                for i in range(e, last):
                    left = place_run(g, &places[i], co, ci, &runs[n_runs + i - e])
                    count = min(count, left // g.components)
                for i in range(e, last):
                    run = &runs[n_runs]
                    run.src_step = g.w_out
                    run.dst_step = g.components
                    run.count = count
                    n_runs += 1
                co += count
                if co == n_co:
                    e, co = last, 0
            if n_runs >= RUNS:
                bad |= pack_runs(c, ci, co_0, group, stop, runs, n_runs)
                n_runs = 0
        first += n
    if n_runs:
        bad |= pack_runs(c, ci, co_0, group, stop, runs, n_runs)
    return bad
