# How rows of x get into scratch, or a copy of x its batch innermost. Part of _execute.pyx.

cdef inline bint relays_pixels(const Geometry* g) noexcept nogil:
    """Whether x is laid out anew pixel by pixel: channels are neighbours."""
    return g.x_channel == g.element and g.outer[g.n_outer - 1].x_step != g.element


cdef Py_ssize_t pixels_of(const Geometry* g, Py_ssize_t axes) noexcept nogil:
    """Pixels of the first so many outer axes."""
    cdef Py_ssize_t pixels = 1, i
    for i in range(axes):
        pixels *= g.outer[i].n_in
    return pixels


cdef Py_ssize_t pixel_at(
        const Geometry* g, Py_ssize_t axes, Py_ssize_t pixel) noexcept nogil:
    """Where one of them lies in a channel of x, in bytes."""
    cdef Py_ssize_t at = 0, i
    for i in range(axes - 1, -1, -1):
        at += pixel % g.outer[i].n_in * g.outer[i].x_step
        pixel //= g.outer[i].n_in
    return at


cdef inline Py_ssize_t relay_tasks(const Geometry* g) noexcept nogil:
    if relays_pixels(g):
        return g.groups * pixels_of(g, g.n_outer)
    return g.groups * g.c_in


cdef void relay_lanes(
        const Call* c, Py_ssize_t task, Py_ssize_t first, Py_ssize_t n,
        Py_ssize_t pitch) noexcept nogil:
    """Lay lanes [first, first + n) of one pixel or one channel out, channels `pitch` apart."""
    cdef const Geometry* g = c.g
    cdef const Axis* last = &g.outer[g.n_outer - 1]
    cdef Py_ssize_t pixels, axes = g.n_outer, lines, line, line_step, part
    cdef const char* src = c.x + first * g.lane.x_step
    cdef char* dst = c.relaid + first * g.c_in * g.components * g.size
    cdef Load a
    a.lane_step = g.lane.x_step
    a.n = a.width = n
    a.rows = 1
    a.row_step = a.slot = a.before = 0
    a.goes_on = False
    if relays_pixels(g):
        pixels = pixels_of(g, axes)
        a.channels, a.components = g.c_in, g.components
        a.channel_step, a.component_step = g.x_channel, g.element // g.components
        a.pitch = pitch
        c.k.load[c.code](
            src + task // pixels * g.c_in * g.x_channel + pixel_at(g, axes, task % pixels),
            dst + (
                task // last.n_in * g.pixel_row_step + task % last.n_in * g.pixel_step
            ) * g.size,
            &a)
        return
    axes -= 1
    pixels = last.n_in
    # Rows that follow each other in memory, and as pixels, are read as one.
    while axes > 0 and not g.strung and g.outer[axes - 1].x_step == pixels * last.x_step:
        axes -= 1
        pixels *= g.outer[axes].n_in
    line_step = g.pixel_row_step if g.strung else pixels * g.pixel_step
    a.channels, a.components = pixels, 1
    a.channel_step, a.component_step = last.x_step, 0
    a.pitch = g.pixel_step
    lines = pixels_of(g, axes)
    for line in range(lines):
        for part in range(g.components):
            c.k.load[c.code](
                src + task * g.x_channel + pixel_at(g, axes, line)
                + part * (g.element // g.components),
                dst + (
                    (task // g.c_in * lines + line) * line_step
                    + (task % g.c_in * g.components + part) * pitch
                ) * g.size,
                &a)


cdef void relay_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """Lay one pixel or one channel out as [group, pixel][channel][component][image].

    Tile by tile it is [group, pixel][tile][channel][component][image of the tile], strung it is
    [group, row of pixels][channel][component][pixel of the row][image].
    """
    cdef const Geometry* g = c.g
    cdef Py_ssize_t images = g.lane.n_in, lane = 0, block, width
    if not g.tiled:
        relay_lanes(c, task, 0, images, g.pitch)
        return
    while lane < images:
        block = lane // g.lane_block * g.lane_block
        width = next_tile(g, lane - block, min(g.lane_block, images - block)) * g.vector
        relay_lanes(c, task, lane, min(width, images - lane), width)
        lane += width


cdef void load_tiles(
        const Call* c, const Load* row, const char* src, char* dst) noexcept nogil:
    """Read a row of lanes of some groups as [group][tile][channel][component][lane of the tile]."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t first = 0, before, lane, at
    cdef const char* from_
    cdef Load a = row[0]
    while first < row.channels:
        before = first % g.c_in
        # Few enough that their places in memory are still at hand for the last tiles.
        a.channels = min(TILED_CHANNELS, g.c_in - before)
        lane = 0
        while lane < row.n:
            a.width = a.pitch = next_tile(g, lane, row.n) * g.vector
            a.n = min(row.n - lane, a.width)
            a.row_step, a.slot = a.n * a.lane_step, g.c_in * g.components * a.width
            at = (first - before) * row.pitch + lane * g.c_in + before * a.pitch
            from_ = src + first * a.channel_step + lane * a.lane_step
            a.rows = equal_tiles(g, lane, row.n)
            lane += a.rows * a.width
            c.k.load[c.code](from_, dst + at * g.components * g.size, &a)
        first += a.channels


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
    cdef Py_ssize_t slots = p.row_hi - p.row_lo + rows.max_taps - 1
    cdef Py_ssize_t first = p.row_lo - (rows.max_taps - 1) * rows.shift, low, high
    cdef Py_ssize_t slot_step = g.slot_step
    cdef Py_ssize_t combination_step = g.row_slots * slot_step
    cdef Py_ssize_t combinations = 1, combination, rest, i, j, at
    cdef const char* src
    cdef char* dst
    cdef bint inside
    cdef Load a
    # The slots whose rows are inside.
    low = clip(ceil_div(-first, rows.shift), 0, slots)
    high = clip(floor_div(rows.n_in - 1 - first, rows.shift) + 1, low, slots)
    a.channel_step, a.lane_step = g.x_channel, g.lane.x_step
    a.component_step = g.element // g.components
    a.channels, a.components = channels, g.components
    a.pitch = g.pitch
    a.row_step = rows.shift * rows.x_step
    a.before = start - (p.lane_lo - g.lane.span)
    a.n = min(g.lane.n_in, p.lane_hi) - start
    a.width = g.pitch
    a.goes_on = False
    if g.flat:
        combination_step = slot_step
        slot_step = g.row_pitch
        start = a.before = 0
        a.n = g.lane.n_in
        a.width = g.row_pitch
    a.slot = slot_step
    for i in range(last):
        combinations *= g.outer[i].max_taps
    for combination in range(combinations):
        rest = combination
        inside = True
        src = c.x + (
            p.image * g.x_image + (p.group * g.c_in + ci) * g.x_channel
            + (first + low * rows.shift) * rows.x_step + start * g.lane.x_step
        )
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
        dst = c.rows + combination * combination_step * g.size
        if g.tiled and g.flat:
            # All rows are inside, and one run.
            a.n = slots * g.row_pitch
            load_tiles(c, &a, src, dst)
            continue
        if g.tiled:
            for i in range(low, high):
                load_tiles(c, &a, src + (i - low) * a.row_step, dst + i * slot_step * g.size)
            continue
        if g.flat:
            load_zeros(c, &a, dst, g.lane.span + low * slot_step)
            dst += g.lane.span * g.size
        a.rows = high - low
        c.k.load[c.code](src, dst + low * slot_step * g.size, &a)
        if g.flat:
            load_zeros(
                c, &a, dst + high * slot_step * g.size,
                g.pitch - g.lane.span - high * slot_step)


cdef void load_zeros(
        const Call* c, const Load* like, char* dst, Py_ssize_t width) noexcept nogil:
    """Write zeros where a load of the same channels has none of its own."""
    cdef Load a = like[0]
    a.rows = 1
    a.n = 0
    a.before = a.width = width
    c.k.load[c.code](c.x, dst, &a)
