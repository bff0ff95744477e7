# Lines of the result asked for between the tiles whose sums are stored there. Part of _execute.pyx.

cdef void list_ahead(const Call* c, const Place* p, Py_ssize_t lane, Py_ssize_t n) noexcept nogil:
    """List the lines that lanes [lane, lane + n) of a set are stored to, in shares for its tiles.

    Where phases of the rows' axis are not neighbours, those of the first one.
    """
    cdef const Geometry* g = c.g
    cdef Ahead* a = c.ahead
    cdef Py_ssize_t last = g.n_outer - 1, q = p.lane_lo + lane, row = p.q[last], rows = 1
    cdef const Axis* axis = &g.outer[last]
    cdef Py_ssize_t phases = p.size[last] if p.size[last] * axis.dilation == axis.stride else 1
    cdef Py_ssize_t step = axis.stride // phases, low, high, start, tiles
    cdef char* y
    a.share = 0
    if not other_result(c, p, 0, &y):
        return
    if g.flat:
        row = p.row_lo + lane // g.row_pitch
        rows = p.row_lo + ceil_div(lane + n, g.row_pitch) - row
        q, n = g.lane.q_lo, g.lane.q_hi - g.lane.q_lo
    low = max(0, q * g.lane.stride - g.lane.crop)
    high = min(g.lane.n_out, (q + n) * g.lane.stride - g.lane.crop)
    start = result_at(axis, row, p.first[last])
    row = max(0, ceil_div(-start, step))
    start += row * step
    a.rows = min(rows * phases - row, ceil_div(axis.n_out - start, step))
    if a.rows <= 0 or high <= low:
        return
    a.row_step = step * axis.y_step
    a.bytes = (high - low) * g.lane.y_step
    a.channel_step = g.y_channel
    a.channels = p.channels * p.groups
    a.channel = y + start * axis.y_step + low * g.lane.y_step
    a.at = a.row = 0
    tiles = p.groups * ceil_div(g.c_in, g.depth_block) * ceil_div(
        p.channels * p.phases * g.lane.n_phases * g.components, g.height)
    if not g.by_panel:
        tiles *= ceil_div(g.strip, g.widest * g.vector)
    a.share = ceil_div(a.channels * a.rows * ceil_div(a.bytes, LINE), tiles)


cdef inline void ask_ahead(Ahead* a) noexcept nogil:
    """Ask for the share of one tile."""
    cdef Py_ssize_t i
    for i in range(a.share):
        prefetch_result(a.channel + a.row * a.row_step + a.at)
        a.at += LINE
        if a.at < a.bytes:
            continue
        a.at = 0
        a.row += 1
        if a.row < a.rows:
            continue
        a.row = 0
        a.channel += a.channel_step
        a.channels -= 1
        if a.channels == 0:
            a.share = 0
            return
