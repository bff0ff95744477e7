# How results of a task get into the array, segment by segment. Part of _points.pyx.

cdef inline const char* result_row(
        const Call* c, Py_ssize_t row_phase, Py_ssize_t col_phase, Py_ssize_t output,
        Py_ssize_t channels, Py_ssize_t lanes) noexcept nogil:
    """The lanes of one phase and output of the tiles, of a unit's first channel.

    Outputs that are woven are one, with the lanes of all of them.
    """
    cdef const Band* row = &c.rows.bands[band_of(&c.rows, row_phase)]
    cdef const Band* col = &c.cols.bands[band_of(&c.cols, col_phase)]
    # The phases of the classes before this one.
    cdef Py_ssize_t before = row.first * c.cols.axis.n_phases + row.size * col.first
    return c.results + (
        before * (c.outputs // c.woven) + (output * row.size + row_phase - row.first) * col.size
        + col_phase - col.first
    ) * channels * lanes * c.woven * c.size


cdef inline void list_sources(
        const Call* c, const Segment* s, Py_ssize_t output, Py_ssize_t phase, Py_ssize_t rows,
        Py_ssize_t channels, Py_ssize_t lanes) noexcept nogil:
    """The neighbours in rows of the result that follow each other, of a unit's first channel."""
    cdef Py_ssize_t row, col, col_phase, cols = c.cols.outputs // c.woven, j = 0
    for row in range(rows):
        for col in range(cols):
            for col_phase in range(c.cols.axis.n_phases):
                c.sources[j] = result_row(
                    c, phase, col_phase, output * cols + col, channels, lanes,
                ) + s.lane * c.woven * c.size
                j += 1
        phase += 1
        if phase == c.rows.axis.n_phases:
            phase = 0
            output += 1


# The phases of a segment's rows.
cdef struct Phases:
    Py_ssize_t first, n


cdef inline Phases phases_of(const Call* c, const Segment* s) noexcept nogil:
    cdef Phases phases
    cdef Py_ssize_t late = c.rows.axis.n_phases - c.rows.turn
    phases.first = late if s.late else 0
    phases.n = c.rows.turn if s.late else late
    return phases


cdef inline Py_ssize_t rows_together(const Call* c, const Phases* phases) noexcept nogil:
    """Rows of a line of tiles that follow each other in the result and are stored together."""
    cdef const Axis* a = &c.rows.axis
    if c.by_channel or a.shift > 1:
        return 1
    return phases.n if c.rows.sets > 1 else c.rows.outputs * phases.n


cdef inline void list_channels(
        const void** sources, const char* first, Py_ssize_t channels,
        Py_ssize_t pitch) noexcept nogil:
    """The rows of a unit's channels, which are `pitch` bytes apart."""
    cdef Py_ssize_t channel
    for channel in range(channels):
        sources[channel] = first + channel * pitch


cdef void store_pixels(
        const Call* c, const Segment* s, const char* bias, Py_ssize_t channels, Py_ssize_t lanes,
        Py_ssize_t n_sources, Py_ssize_t first, Py_ssize_t stop, char* y) noexcept nogil:
    """Positions [first, stop) of a row whose channels are neighbours."""
    cdef Py_ssize_t j, low, high, n = s.n * c.cols.axis.shift * c.woven
    cdef Py_ssize_t pitch = lanes * c.woven * c.size
    cdef const void** sources = c.sources + n_sources
    cdef Store store = one_row()
    store.n_sources = channels
    store.bias_mask = -1
    store.streamed = c.streamed
    store.lane_step = n_sources * c.cols.axis.y_step
    store.source_step = c.size
    for j in range(n_sources):
        list_channels(sources, <const char*> c.sources[j], channels, pitch)
        low = clip(ceil_div(first - j, n_sources), 0, n)
        high = clip(ceil_div(stop - j, n_sources), low, n)
        store.at, store.n = low, high - low
        c.k.store[c.code](
            sources, bias, y + (low * n_sources + j) * c.cols.axis.y_step, &store)


cdef void store_segment(
        const Call* c, const Segment* s, Py_ssize_t channel_0, Py_ssize_t channels,
        Py_ssize_t lanes) noexcept nogil:
    """Store all results of one segment."""
    cdef const Axis* a = &c.rows.axis
    cdef const Axis* b = &c.cols.axis
    cdef Phases phases = phases_of(c, s)
    cdef Py_ssize_t n_sources = c.cols.outputs // c.woven * b.stride
    cdef Py_ssize_t together = rows_together(c, &phases)
    cdef Py_ssize_t width = c.cols.outputs * b.shift * b.stride
    cdef Py_ssize_t col = b.q_lo * b.stride + s.column * width - b.crop
    cdef Py_ssize_t first = max(0, -col), stop = min(s.n * width, b.n_out - col)
    cdef Py_ssize_t number, i, phase, row, low = first // n_sources
    cdef const char* bias = c.bias + channel_0 * c.size
    cdef char* y = c.y + s.image * c.y_image + channel_0 * c.y_channel + col * b.y_step
    cdef Store store = one_row()
    if stop <= first:
        return
    store.n_sources, store.channels = n_sources, channels
    store.bias_step = 1
    store.pitch, store.channel_step = lanes * c.woven, c.y_channel
    store.row_step = a.y_step
    store.lane_step, store.source_step = n_sources * b.y_step, b.y_step
    store.at, store.n = low, ceil_div(stop, n_sources) - low
    store.skip = first - low * n_sources
    store.cut = (low + store.n) * n_sources - stop
    store.streamed = c.streamed
    store.phases = together
    for number in range(c.rows.outputs * phases.n // together):
        # The output and the phase of the first of them.
        i = number * together // phases.n
        phase = phases.first + number * together % phases.n
        row = (s.q + i * a.shift) * a.stride + phase * a.dilation - a.crop
        store.first = clip(-row, 0, together)
        store.rows = min(together, a.n_out - row) - store.first
        if store.rows <= 0:
            continue
        list_sources(c, s, i, phase, together, channels, lanes)
        row += store.first
        if c.by_channel:
            store_pixels(
                c, s, bias, channels, lanes, n_sources, first, stop, y + row * a.y_step)
        else:
            c.k.store[c.code](
                c.sources, bias, y + row * a.y_step + low * store.lane_step, &store)


cdef void store_images(
        const Call* c, const Segment* s, Py_ssize_t channel_0, Py_ssize_t channels,
        Py_ssize_t lanes) noexcept nogil:
    """Store all results of one segment whose lanes are images."""
    cdef const Axis* a = &c.rows.axis
    cdef const Axis* b = &c.cols.axis
    cdef Py_ssize_t width = c.cols.outputs * b.stride, i, phase, row, j, n, place
    cdef Py_ssize_t col = (b.q_lo + s.column * c.cols.outputs) * b.stride - b.crop
    cdef Py_ssize_t first = max(0, -col), stop = min(s.n * width, b.n_out - col)
    cdef const char* bias = c.bias + channel_0 * c.size
    cdef const char* source
    cdef char* y
    cdef Phases phases = phases_of(c, s)
    cdef Store store = one_row()
    if stop <= first:
        return
    store.n = min(IMAGES, c.images - s.image * IMAGES)
    store.lane_step = c.y_image
    if c.by_channel:
        store.n_sources = channels
        store.bias_mask = -1
        store.source_step = c.size
    else:
        store.n_sources, store.channels = stop - first, channels
        store.bias_mask, store.bias_step = 0, 1
        store.pitch, store.channel_step = lanes, c.y_channel
        store.source_step = b.y_step
    for i in range(c.rows.outputs):
        for phase in range(phases.first, phases.first + phases.n):
            row = (s.q + i * a.shift) * a.stride + phase * a.dilation - a.crop
            if row < 0 or row >= a.n_out:
                continue
            y = c.y + (
                s.image * IMAGES * c.y_image + channel_0 * c.y_channel + row * a.y_step
                + (col + first) * b.y_step
            )
            n = 0
            for j in range(first, stop):
                place = j % width
                source = result_row(
                    c, phase, place % b.stride, i * c.cols.outputs + place // b.stride, channels,
                    lanes,
                ) + (s.lane + j // width * IMAGES) * c.size
                if c.by_channel:
                    list_channels(c.sources, source, channels, lanes * c.size)
                    c.k.store[c.code](c.sources, bias, y, &store)
                    y += b.y_step
                else:
                    c.sources[n] = source
                    n += 1
            if not c.by_channel:
                c.k.store[c.code](c.sources, bias, y, &store)
