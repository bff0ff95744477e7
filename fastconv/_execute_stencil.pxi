# Short sums, stored from where they are computed: no accumulators between. Part of _execute.pyx.

cdef inline void stencil_row(
        const Call* c, Py_ssize_t rows, Py_ssize_t weave, const char* panel, const char* bias,
        Py_ssize_t lanes, Stencil* s) noexcept nogil:
    """All lanes of a row: some vectors at a time, and one where no more are left."""
    cdef Py_ssize_t height = log2_height(rows)
    cdef const stencil_fn* kernels = c.k.stencil[c.g.compute][height][weave]
    cdef Py_ssize_t left = lanes % (c.k.stencil_vectors[height] * c.g.vector)
    if left > c.g.vector:
        left = 0
    s.first, s.stop = 0, lanes - left
    if s.stop > 0:
        kernels[1](panel, c.taps, c.tap_rows, bias, <char**> c.sources, s)
    if left > 0:
        s.first, s.stop = s.stop, lanes
        kernels[0](panel, c.taps, c.tap_rows, bias, <char**> c.sources, s)


cdef inline Py_ssize_t weave_of(const Geometry* g) noexcept nogil:
    """How a stencil's lane phases are woven."""
    if g.lane.n_classes == 2:
        return PARTED
    if g.joined:
        return MORE2 if g.lane.stride == 2 else MORE4
    return WAYS2 if g.lane.stride == 2 else WAYS4


cdef inline Part stencil_part(
        const Geometry* g, Py_ssize_t panel, Py_ssize_t first, Py_ssize_t taps) noexcept nogil:
    """Taps [first, first + taps) of a lane phase; those of a single channel are a depth."""
    cdef Part part
    part.panel, part.at = panel, g.lane.span - first * g.lane.shift
    part.taps, part.tap_step = taps, -g.lane.shift
    part.depth, part.depth_step = g.c_in, g.pitch
    if part.depth == 1 and taps > 0:
        part.taps, part.depth = part.depth, part.taps
        part.tap_step, part.depth_step = part.depth_step, part.tap_step
    return part


cdef void run_stencil(const Call* c, const Place* p) noexcept nogil:
    """One row of lanes of all phases of a set, of all groups that the task holds."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = &g.lane
    cdef Py_ssize_t rows = p.channels * p.phases, height = rows * a.stride, phase, i, group
    cdef Py_ssize_t lanes = p.lane_hi - p.lane_lo, part, last = g.n_outer - 1
    cdef Py_ssize_t weave = weave_of(g)
    cdef Py_ssize_t start = p.lane_lo * a.stride - a.crop
    cdef const char* panel = c.packed + panel_start(c, p, 0) * g.size
    cdef const char* bias = block_bias(c, p)
    cdef char** results = <char**> c.sources
    cdef char* y
    cdef Stencil s
    s.skip = max(0, -start)
    s.end = min(lanes * a.stride, a.n_out - start)
    s.parts[0] = stencil_part(g, 0, 0, a.max_taps - g.joined)
    s.parts[1] = stencil_part(
        g, height * (a.max_taps - 1) * g.c_in, a.max_taps - 1, g.joined)
    if weave == PARTED:
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
        if outer_result(c, p, phase, &y):
            y += start * a.y_step
        else:
            # What is outside of the window goes nowhere, group by group.
            y = NULL
            s.groups = 1
        for i in range(p.channels):
            results[phase * p.channels + i] = c.acc if y == NULL else y + i * g.y_channel
    for group in range(p.groups // s.groups):
        stencil_row(c, height, weave, panel, bias, lanes, &s)
        panel += s.group_panel * g.size
        bias += s.group_bias * g.size
        for part in range(2):
            s.parts[part].at += s.group_row
        for i in range(rows):
            if results[i] != c.acc:
                results[i] += s.group_step
