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
    lane_taps = g.lane.max_taps
    if phase >= size:
        place.base += n_co * g.components * g.c_in * phases * n_taps * size * lane_taps
        phase -= size
        size = g.lane.n_phases - size
        lane_taps -= 1
    place.taps = n_taps * lane_taps
    place.tap = tap * lane_taps + j
    place.row = (phase * phases + p) * n_co * g.components
    place.rows = size * phases * n_co * g.components


cdef struct Panel:
    Py_ssize_t start, height


cdef inline Panel panel_of(Py_ssize_t row, Py_ssize_t rows, Py_ssize_t tallest) noexcept nogil:
    """The panel that a row is in: panels of the tallest tile, then of powers of two."""
    cdef Panel panel
    panel.height = tallest
    panel.start = row // tallest * tallest
    while panel.height > rows - panel.start:
        panel.height >>= 1
        if row >= panel.start + panel.height and panel.height <= rows - panel.start:
            panel.start += panel.height
    return panel


cdef bint pack_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """Pack some input channels of one block of output channels; whether Inf or NaN was seen.

    Panels lie in the order (group, block of channels, set, class of the lane axis, panel of rows);
    a panel is [outer tap][lane tap][input channel][row]. Rows are (lane phase, outer phase,
    output channel, component).
    """
    cdef const Geometry* g = c.g
    cdef TapPlace places[TAPS]
    cdef Run runs[RUNS]
    cdef const TapPlace* place
    cdef const TapPlace* next_place
    cdef Run* run
    cdef Panel panel
    cdef Py_ssize_t parts = ceil_div(g.c_in, PACK_CHANNELS)
    cdef Py_ssize_t ci = task % parts * PACK_CHANNELS
    cdef Py_ssize_t block = task // parts % g.n_channel_blocks
    cdef Py_ssize_t group = task // parts // g.n_channel_blocks
    cdef Py_ssize_t channels = min(PACK_CHANNELS, g.c_in - ci)
    cdef Py_ssize_t co_0 = block * g.channel_block
    cdef Py_ssize_t n_co = min(g.channel_block, g.c_out - co_0)
    cdef const char* src = c.w + (group * g.c_in + ci) * g.w_in + co_0 * g.w_out
    cdef char* dst = c.packed + (group * g.c_out + co_0) * g.taps * g.c_in * g.components * g.size
    cdef Py_ssize_t first = 0, n, e, i, co, row, end, n_runs = 0
    # A run goes along the output channels, or along the taps where there are few channels.
    cdef bint by_tap = n_co < 4
    cdef bint bad = False
    while first < g.taps:
        n = min(TAPS, g.taps - first)
        for e in range(n):
            place_tap(
                g, (first + e) // g.lane.kernel, (first + e) % g.lane.kernel, n_co, &places[e])
        i = 0
        while i < n * n_co:
            co = i // n if by_tap else i % n_co
            e = i % n if by_tap else i // n_co
            place = &places[e]
            row = place.row + co * g.components
            panel = panel_of(row, place.rows, g.height)
            end = panel.start + panel.height
            run = &runs[n_runs]
            run.src = place.src + co * g.w_out
            run.dst = (
                place.base + panel.start * place.taps * g.c_in
                + (place.tap * g.c_in + ci) * panel.height + row - panel.start
            )
            run.height = panel.height
            run.count = 1
            if by_tap:
                run.src_step = g.w_lane
                run.dst_step = 0
                next_place = place + 1
                if e + 1 < n:
                    run.dst_step = next_place.row - place.row
                while (
                    run.dst_step > 0 and e + run.count < n and next_place.tap == place.tap
                    and next_place.base == place.base
                    and next_place.row == place.row + run.count * run.dst_step
                    and row + run.count * run.dst_step < end
                    and next_place.src == place.src + run.count * g.w_lane
                ):
                    run.count += 1
                    next_place += 1
            else:
                run.src_step = g.w_out
                run.dst_step = g.components
                run.count = min(n_co - co, (end - row) // g.components)
            i += run.count
            n_runs += 1
            if n_runs == RUNS:
                bad |= c.k.pack[c.code](
                    src, g.w_in, channels, g.components, runs, n_runs, dst)
                n_runs = 0
        first += n
    if n_runs:
        bad |= c.k.pack[c.code](src, g.w_in, channels, g.components, runs, n_runs, dst)
    return bad
