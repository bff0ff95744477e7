# Short sums, stored from where they are computed: no accumulators between. Part of _execute.pyx.

cdef inline void stencil_row(
        const Call* c, Py_ssize_t rows, const char* panel, const char* bias, Py_ssize_t lanes,
        Stencil* s) noexcept nogil:
    """All lanes of a row, some vectors at a time, and one where it holds all that are left."""
    cdef Py_ssize_t height = log2_height(rows)
    cdef const stencil_fn* kernels = c.k.stencil[c.g.compute][height][c.g.weave]
    cdef Py_ssize_t left = lanes % (c.k.stencil_vectors[height] * c.g.vector)
    if left > c.g.vector:
        left = 0
    s.first, s.stop = 0, lanes - left
    if s.stop > 0:
        kernels[1](panel, c.taps, c.tap_rows, bias, <char**> c.sources, s)
    if left > 0:
        s.first, s.stop = s.stop, lanes
        kernels[0](panel, c.taps, c.tap_rows, bias, <char**> c.sources, s)


cdef inline StencilPart stencil_part(
        const Geometry* g, Py_ssize_t panel, Py_ssize_t first, Py_ssize_t taps) noexcept nogil:
    """Taps [first, first + taps) of a lane phase; those of a single channel are a depth."""
    cdef StencilPart part
    part.panel, part.at = panel, g.lane.span - first * g.lane.shift
    part.taps, part.tap_step = taps, -g.lane.shift
    part.depth, part.depth_step = g.c_in, g.pitch
    if part.depth == 1:
        part.taps, part.depth = part.depth, part.taps
        part.tap_step, part.depth_step = part.depth_step, part.tap_step
    return part


cdef void run_stencil(const Call* c, const Place* p) noexcept nogil:
    """One row of lanes of all phases of a set, of all groups that the task holds."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = &g.lane
    cdef Py_ssize_t rows = p.channels * p.phases, height = rows * a.stride, phase, i
    cdef Py_ssize_t lanes = p.lane_hi - p.lane_lo, last = g.n_outer - 1
    cdef Py_ssize_t start = p.lane_lo * a.stride - a.crop
    cdef char** results = <char**> c.sources
    cdef char* y
    cdef Stencil s
    s.skip = max(0, -start)
    s.end = min(lanes * a.stride, a.n_out - start)
    s.parts[0] = stencil_part(g, 0, 0, a.max_taps - g.joined)
    s.parts[1] = stencil_part(
        g, height * (a.max_taps - 1) * g.c_in, a.max_taps - 1, g.joined)
    if g.weave == PARTED:
        s.parts[1] = stencil_part(
            g, rows * p.set_taps * a.max_taps * g.c_in, 0, phase_taps(a, 1))
        if s.skip > 0:
            # The first result of the window becomes the first of two.
            s.parts[0], s.parts[1] = s.parts[1], s.parts[0]
            s.parts[1].at += 1
            start += s.skip
            s.end -= s.skip
            s.skip = 0
            lanes = ceil_div(s.end, 2)
    s.n_rows = p.n_rows
    s.channel_mask = p.channels - 1
    s.groups = p.groups
    s.group_panel = g.c_out * g.taps * g.c_in
    s.group_bias = g.c_out
    s.group_row = g.c_in * g.pitch
    s.group_step = g.c_out * g.y_channel
    # As many rows of the result as the next row of lanes has: there are too many for a processor to
    # follow by itself.
    s.ahead = g.outer[last].stride * g.outer[last].y_step if g.fetched else 0
    for phase in range(p.phases):
        # What is outside of the window goes nowhere.
        if outer_result(c, p, phase, &y):
            y += start * a.y_step
        else:
            y = NULL
        for i in range(p.channels):
            results[phase * p.channels + i] = y + i * g.y_channel if y != NULL else NULL
    stencil_row(
        c, height, c.packed + panel_start(c, p, 0) * g.size, block_bias(c, p), lanes, &s)
