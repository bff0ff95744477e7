# How rows of x get into scratch, or a copy of x its batch innermost. Part of _execute.pyx.

cdef void relay_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """Lay one channel's pixels out as [group, pixel][channel][component][image], some rows."""
    cdef const Geometry* g = c.g
    cdef const Axis* last = &g.outer[g.n_outer - 1]
    cdef Run runs[RUNS]
    cdef Py_ssize_t lines = 1, i, part, rest, line, first, channel, per_task, n_runs = 0
    for i in range(g.n_outer - 1):
        lines *= g.outer[i].n_in
    per_task = RUNS // g.components
    first = task % ceil_div(lines, per_task) * per_task
    channel = task // ceil_div(lines, per_task)
    for line in range(first, min(first + per_task, lines)):
        for part in range(g.components):
            rest = line
            runs[n_runs].src = part * (g.element // g.components)
            for i in range(g.n_outer - 2, -1, -1):
                runs[n_runs].src += rest % g.outer[i].n_in * g.outer[i].x_step
                rest //= g.outer[i].n_in
            runs[n_runs].src_step = last.x_step
            runs[n_runs].dst = line * last.n_in * g.pixel_step + part * g.pitch
            runs[n_runs].dst_step = g.pixel_step
            runs[n_runs].height = 1
            runs[n_runs].count = last.n_in
            n_runs += 1
    c.k.pack[c.code](
        c.x + channel * g.x_channel, g.lane.x_step, g.lane.n_in, 1, runs, n_runs,
        c.relaid + (
            channel // g.c_in * lines * last.n_in * g.pixel_step
            + channel % g.c_in * g.components * g.pitch
        ) * g.size,
    )


cdef void load_rows(
        const Call* c, const Place* p, Py_ssize_t ci, Py_ssize_t channels) noexcept nogil:
    """Read the rows of x that the rows of a task need, with zeros beyond the ends.

    Row slot s, for each combination of taps of the other axes, holds input row
    row_lo + (s - (max_taps - 1)) * shift, lanes [lane_lo - span, lane_hi); where rows are flat,
    the slots follow each other, `span` zeros before, between and behind them.
    """
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1
    cdef const Axis* rows = &g.outer[last]
    cdef Py_ssize_t start = max(0, p.lane_lo - g.lane.span)
    cdef Py_ssize_t n = min(g.lane.n_in, p.lane_hi) - start
    cdef Py_ssize_t before = start - (p.lane_lo - g.lane.span)
    cdef Py_ssize_t slots = p.row_hi - p.row_lo + rows.max_taps - 1
    cdef Py_ssize_t width = g.pitch, slot_step = g.depth_block * g.components * g.pitch
    cdef Py_ssize_t combination_step = g.row_slots * slot_step
    cdef Py_ssize_t combinations = 1, combination, rest, i, j, at, r, s, count, lead
    cdef const char* src
    cdef bint inside
    if g.flat:
        combination_step = slot_step
        slot_step = g.row_pitch
        start = 0
        n = g.lane.n_in
    for i in range(last):
        combinations *= g.outer[i].max_taps
    for combination in range(combinations):
        rest = combination
        inside = True
        src = c.x + (
            p.image * g.x_image + (p.group * g.c_in + ci) * g.x_channel + start * g.lane.x_step)
        for i in range(last - 1, -1, -1):
            j = rest % g.outer[i].max_taps
            rest //= g.outer[i].max_taps
            at = p.q[i] - j * g.outer[i].shift
            if at < 0 or at >= g.outer[i].n_in:
                inside = False
                break
            src += at * g.outer[i].x_step
        if not inside:
            continue
        for s in range(slots):
            r = p.row_lo + (s - (rows.max_taps - 1)) * rows.shift
            count = n if 0 <= r < rows.n_in else 0
            lead = 0
            at = combination * combination_step + s * slot_step
            if g.flat:
                # The zeros before the first row, and those behind the last up to the end.
                width = g.row_pitch
                if s == 0:
                    lead = g.lane.span
                    width += lead
                else:
                    at += g.lane.span
                if s == slots - 1:
                    width = g.pitch - s * slot_step - (g.lane.span if s else 0)
            else:
                lead = before
                if not count:
                    continue
            c.k.load[c.code](
                src + (r * rows.x_step if count else 0), g.x_channel, g.lane.x_step,
                g.element // g.components, channels, g.components, count, lead, width, g.pitch,
                c.rows + at * g.size,
            )
