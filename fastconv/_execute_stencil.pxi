# Sums stored from where they are computed: no accumulators between. Part of _execute.pyx.

cdef void stencil_row(
        const Call* c, Py_ssize_t rows, int weave, const char* panel, const char* bias,
        Py_ssize_t lanes, Stencil* s) noexcept nogil:
    """All lanes of a row, many vectors at a time, then two, then one."""
    cdef Py_ssize_t height = log2_height(rows), left = lanes, level, vectors, n, stop
    s.stop = 0
    for level in range(2, -1, -1):
        vectors = c.k.stencil_vectors[height] if level == 2 else level + 1
        n = left // (vectors * c.g.vector) * vectors * c.g.vector
        if vectors == TALL_VECTORS and ceil_div(left, c.g.vector) == vectors + 1:
            # Four vectors are two and two: a single one waits for its own sums.
            n = 0
        # What is left goes the same way where it would take as many vectors the other ways.
        if ceil_div(left - n, c.g.vector) == vectors:
            n = left
        left -= n
        # Panels that read the same rows run one after the other over lanes that stay in the cache.
        s.first, stop = lanes - left - n, lanes - left
        while s.first < stop:
            s.stop = stop
            if s.x_step == 0:
                s.stop = min(s.first + vectors * c.g.vector, stop)
            c.k.stencil[c.g.compute][height][weave][level](
                panel, c.products, c.tap_rows[0], bias, <char**> c.sources, s)
            s.first = s.stop


cdef Product* list_products(
        const Call* c, const Place* p, Py_ssize_t rows, Py_ssize_t panel, Py_ssize_t at,
        Py_ssize_t first, Py_ssize_t taps, Product* products) noexcept nogil:
    """List those of taps [first, first + taps) of a lane phase, with panels of so many rows."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t r, t, k, row
    at += g.lane.span - first * g.lane.shift
    for r in range(p.n_rows):
        row = (<const char*> c.tap_rows[r] - <const char*> c.tap_rows[0]) // g.size
        for t in range(taps):
            for k in range(g.c_in):
                products.weights = panel + ((c.taps[r] * taps + t) * g.c_in + k) * rows
                products.x = row + at - t * g.lane.shift + k * g.pitch
                products += 1
    return products


cdef void list_parts(const Call* c, const Place* p, bint swapped) noexcept nogil:
    """List the products of both parts; they stay the same while only the rows of x move on."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = &g.lane
    cdef Py_ssize_t rows = p.channels * p.phases, height = rows * a.stride
    cdef Py_ssize_t other = rows * p.set_taps * a.max_taps * g.c_in
    cdef Product* end = c.products
    if g.weave != PARTED:
        end = list_products(c, p, height, 0, 0, 0, a.max_taps - g.joined, end)
        list_products(
            c, p, rows, height * (a.max_taps - 1) * g.c_in, 0, a.max_taps - 1, g.joined, end)
    elif swapped:
        end = list_products(c, p, rows, other, 0, 0, phase_taps(a, 1), end)
        list_products(c, p, rows, 0, 1, 0, a.max_taps, end)
    else:
        end = list_products(c, p, rows, 0, 0, 0, a.max_taps, end)
        list_products(c, p, rows, other, 0, 0, phase_taps(a, 1), end)


cdef bint enter_window(
        const Call* c, const Place* p, Stencil* s, Py_ssize_t* lanes,
        Py_ssize_t* start) noexcept nogil:
    """Which lanes of a row are stored, and where; whether the second of two places comes first."""
    cdef const Axis* a = &c.g.lane
    lanes[0] = p.lane_hi - p.lane_lo
    start[0] = p.lane_lo * a.stride - a.crop
    s.skip = max(0, -start[0])
    s.end = min(lanes[0] * a.stride, a.n_out - start[0])
    if c.g.weave != PARTED or s.skip == 0:
        return False
    # The first result of the window becomes the first of two.
    start[0] += s.skip
    s.end -= s.skip
    s.skip = 0
    lanes[0] = ceil_div(s.end, 2)
    return True


cdef void enter_panels(const Call* c, const Place* p, Stencil* s) noexcept nogil:
    """The panels of all groups that the task holds, or of some blocks of channels."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1
    s.channel_mask = p.channels - 1
    s.streamed = g.streamed
    if p.blocks > 1:
        s.panels, s.bias_step, s.x_step = p.blocks, p.channels, 0
    else:
        s.panels, s.bias_step, s.x_step = p.groups, g.c_out, g.c_in * g.pitch
    s.panel_step = s.bias_step * g.taps * g.c_in
    s.result_step = s.bias_step * g.y_channel
    # As many rows of the result as the next row of lanes has: there are too many for a processor to
    # follow by itself.
    s.ahead = g.outer[last].stride * g.outer[last].y_step if g.fetched else 0


cdef void enter_results(
        const Call* c, const Place* p, Py_ssize_t start, char** results) noexcept nogil:
    """Where the rows of a set are stored; what is outside of the window goes nowhere."""
    cdef Py_ssize_t phase, i
    cdef char* y
    for phase in range(p.phases):
        if outer_result(c, p, phase, &y):
            y += start * c.g.lane.y_step
        else:
            y = NULL
        for i in range(p.channels):
            results[phase * p.channels + i] = y + i * c.g.y_channel if y != NULL else NULL


cdef void run_panels_of_sums(
        const Call* c, const Place* p, Py_ssize_t rows, int weave, Py_ssize_t results,
        Py_ssize_t lanes, Stencil* s) noexcept nogil:
    """All lanes, with panels of so many rows, for so many rows of the result."""
    cdef const Geometry* g = c.g
    if g.stencil_last:
        s.first, s.stop = 0, lanes
        c.k.stencil_last[g.compute][weave][results - 1][s.panels - 2](
            c.packed + panel_start(c, p, 0) * g.size, c.products, c.tap_rows[0],
            block_bias(c, p), <char**> c.sources, s)
        return
    stencil_row(
        c, rows, weave, c.packed + panel_start(c, p, 0) * g.size, block_bias(c, p), lanes, s)


cdef void run_stencil(const Call* c, Place* p) noexcept nogil:
    """One row of lanes of all phases of a set, of all groups that the task holds."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = &g.lane
    cdef Py_ssize_t lanes, start
    cdef Stencil s
    cdef bint swapped = enter_window(c, p, &s, &lanes, &start)
    s.products[0] = p.n_rows * g.c_in * (a.max_taps - g.joined)
    s.products[1] = p.n_rows * g.c_in * g.joined
    if g.weave == PARTED:
        s.products[1] = p.n_rows * g.c_in * phase_taps(a, 1)
    if swapped:
        s.products[0], s.products[1] = s.products[1], s.products[0]
    if p.listed:
        list_parts(c, p, swapped)
        p.listed = False
    enter_panels(c, p, &s)
    enter_results(c, p, start, <char**> c.sources)
    run_panels_of_sums(
        c, p, p.channels * p.phases * a.stride, g.weave, p.phases, lanes, &s)


cdef inline bint shares_row(const Geometry* g, Py_ssize_t row) noexcept nogil:
    """Whether both phases of a row have all their taps, and the first its result."""
    cdef const Axis* a = &g.outer[0]
    cdef Py_ssize_t result = result_at(a, row, 0)
    return g.shared and a.span <= row < a.n_in and 0 <= result < a.n_out


cdef void run_shared(const Call* c, Place* p, bint listed) noexcept nogil:
    """The same for both phases of the other axis at once, which read x once.

    What is `listed` for the row before is true of this one, too.
    """
    cdef const Geometry* g = c.g
    cdef const Axis* a = &g.lane
    cdef Py_ssize_t lanes, start, i, row_panels = p.channels * g.c_in * a.max_taps
    cdef Stencil s
    cdef bint swapped = enter_window(c, p, &s, &lanes, &start)
    p.set = 1
    if enter_set(g, p):
        enter_results(c, p, start, <char**> c.sources + p.channels)
    else:
        for i in range(p.channels):
            c.sources[p.channels + i] = NULL
    p.set = 0
    if listed:
        enter_set(g, p)
        c.tap_rows[0] = <const char*> c.tap_rows[0] + g.slot_step * g.size
    else:
        list_taps(c, p)
        list_products(c, p, p.channels, 0, swapped, 0, a.max_taps, c.products)
    enter_results(c, p, start, <char**> c.sources)
    s.rows = g.outer[0].max_taps - 1
    s.products[0], s.products[1] = g.c_in * (a.max_taps - 1), g.c_in
    s.parts[0] = row_panels * g.outer[0].max_taps
    s.parts[1] = p.channels * g.c_in * g.set_taps[1]
    s.parts[2] = s.parts[1] + row_panels * s.rows
    enter_panels(c, p, &s)
    run_panels_of_sums(
        c, p, 4 * p.channels, SHARED_BACK if swapped else SHARED, 2, lanes, &s)
