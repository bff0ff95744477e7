# How windows of x are read and transformed, segment by segment. Part of _points.pyx.

# The columns of tiles [first, stop) of a task, and how its windows lie.
cdef struct Part:
    bint late                        # whether it is of late phases of the rows
    Py_ssize_t first, stop
    Py_ssize_t used, lanes           # lanes of the columns, and whole vectors of them
    Py_ssize_t point_step


# Those of one line of tiles.
cdef struct Segment:
    Py_ssize_t lane                  # of the task
    Py_ssize_t column, n             # columns of the line
    Py_ssize_t image                 # or the block of images
    Py_ssize_t q                     # of the rows' axis
    bint late                        # whether it is of late phases there


cdef inline Segment segment_at(
        const Call* c, const Part* part, Py_ssize_t column) noexcept nogil:
    """The segment of a task that starts at `column`."""
    cdef Segment s
    cdef const Axis* a = &c.rows.axis
    cdef Py_ssize_t line = column // c.cols.tiles
    s.lane = (column - part.first) * c.column_lanes
    s.column = column % c.cols.tiles
    s.n = min(c.cols.tiles - s.column, part.stop - column)
    s.late = part.late
    s.image = line // c.lines
    line %= c.lines
    s.q = a.q_lo + line % a.shift + line // a.shift * a.shift * c.rows.outputs
    return s


cdef inline char* windows_at(
        const Call* c, Py_ssize_t late, Py_ssize_t row, Py_ssize_t point_step) noexcept nogil:
    """The windows of a set of columns at the first point of a row of them."""
    return c.windows + (late * c.rows.points + row) * c.cols.points * point_step * c.size


cdef void load_segment(
        const Call* c, const Segment* s, Py_ssize_t group, Py_ssize_t lanes,
        Py_ssize_t point_step, Py_ssize_t ci, Py_ssize_t stop) noexcept nogil:
    """Transform the windows of one segment, of input channels [ci, stop)."""
    cdef const Axis* a = &c.rows.axis
    cdef const Axis* b = &c.cols.axis
    cdef Py_ssize_t n, i, p, late, row_step, parts = c.cols.outputs
    cdef Py_ssize_t col = b.q_lo + s.column * parts * b.shift - b.span
    # Neighbouring windows overlap, so a part has some samples more than there are tiles, of each
    # subgrid.
    cdef Py_ssize_t part_pitch = (s.n + (c.cols.points + c.cols.sets - 2) // parts) * b.shift
    cdef Py_ssize_t width = parts * part_pitch
    cdef Py_ssize_t before = clip(-col, 0, width)
    cdef Py_ssize_t count = clip(b.n_in - max(col, 0), 0, width - before)
    # Rows of the windows that are inside of x.
    cdef Py_ssize_t row = s.q - a.span + s.late
    cdef Py_ssize_t low = clip(ceil_div(-row, a.shift), 0, c.rows.points)
    cdef Py_ssize_t high = clip(ceil_div(a.n_in - row, a.shift), low, c.rows.points)
    cdef Py_ssize_t offsets[4]
    cdef Load load
    cdef const char* x = c.x + s.image * c.x_image + group * c.c_in * c.x_channel
    cdef char* dealt
    cdef char* half
    x += max(col, 0) * b.x_step + (row + low * a.shift) * a.x_step
    load.channel_step, load.lane_step, load.component_step = c.x_channel, b.x_step, 0
    load.row_step = a.shift * a.x_step
    load.components, load.rows = 1, high - low
    load.before, load.n, load.width, load.pitch = before, count, width, width
    while ci < stop:
        n = min(input_channels(c), stop - ci)
        row_step = n * width
        for i in range(c.rows.points):
            offsets[i] = i * row_step
        half = c.input + c.rows.points * row_step * c.size
        memset(c.input, 0, low * row_step * c.size)
        if high > low:
            dealt = c.input + low * row_step * c.size
            load.channels, load.slot = n, row_step
            load.goes_on = ci + n < stop
            # Before they are dealt out, rows stand where what is transformed goes afterwards.
            c.k.load[c.code](x + ci * c.x_channel, half if parts > 1 else dealt, &load)
            if parts > 1:
                c.k.deal[c.compute](
                    half, (high - low) * n, parts, b.shift, part_pitch, dealt)
        memset(
            c.input + high * row_step * c.size, 0, (c.rows.points - high) * row_step * c.size)
        if c.rows.scheme == F11:
            half = c.input
        else:
            c.k.transform_input[c.compute](
                c.rows.scheme, c.input, offsets, 0, 1, row_step, row_step, half, row_step, 0)
        for late in range(c.cols.sets):
            for i in range(c.cols.points):
                offsets[i] = (i + late) % parts * part_pitch + (i + late) // parts * b.shift
            for p in range(c.rows.points):
                c.k.transform_input[c.compute](
                    c.cols.scheme, half + p * row_step * c.size, offsets, width, n,
                    s.n * b.shift, lanes - s.lane,
                    windows_at(c, late, p, point_step) + (ci * lanes + s.lane) * c.size,
                    point_step, lanes,
                )
        ci += n


cdef inline bint relays_rows(const Call* c) noexcept nogil:
    """Whether x is laid out anew row by row, all channels of a pixel at once: neighbours."""
    return c.x_channel == c.size and c.cols.axis.x_step != c.size


cdef inline Py_ssize_t relay_tasks(const Call* c) noexcept nogil:
    if not c.by_batch:
        return 0
    return c.groups * (c.relaid_rows if relays_rows(c) else c.c_in)


cdef void relay_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """Lay a row or a channel out with the images innermost."""
    cdef Py_ssize_t row
    if relays_rows(c):
        relay_row(c, task // c.relaid_rows, 0, c.c_in, task % c.relaid_rows)
        return
    for row in range(c.relaid_rows):
        relay_row(c, task // c.c_in, task % c.c_in, 1, row)


cdef void relay_row(
        const Call* c, Py_ssize_t group, Py_ssize_t ci, Py_ssize_t channels,
        Py_ssize_t row) noexcept nogil:
    """One row of some channels, and zeros wherever windows reach outside."""
    cdef const Axis* a = &c.rows.axis
    cdef const Axis* b = &c.cols.axis
    cdef Py_ssize_t block, channel, pixel, column = IMAGES * c.size, pitch = c.relaid_cols * column
    cdef Py_ssize_t at = a.q_lo - a.span + row
    cdef Py_ssize_t low = max(0, b.q_lo - b.span), before = low - (b.q_lo - b.span)
    cdef Py_ssize_t count = clip(b.n_in - low, 0, c.relaid_cols - before)
    cdef Py_ssize_t behind = c.relaid_cols - before - count
    cdef const char* x = c.x + (group * c.c_in + ci) * c.x_channel + low * b.x_step
    cdef char* dst
    cdef Load load
    load.row_step = load.component_step = load.slot = load.before = 0
    load.lane_step, load.width = c.x_image, IMAGES
    load.components = load.rows = 1
    load.goes_on = False
    for block in range(c.image_blocks):
        dst = relaid_at(c, group, row, block, ci)
        if at < 0 or at >= a.n_in:
            memset(dst, 0, channels * pitch)
            continue
        for channel in range(channels):
            memset(dst + channel * pitch, 0, before * column)
            memset(dst + channel * pitch + (before + count) * column, 0, behind * column)
        load.n = min(IMAGES, c.images - block * IMAGES)
        dst += before * column
        if channels == 1:
            # Its pixels are what lies next to each other.
            load.channels, load.channel_step, load.pitch = count, b.x_step, IMAGES
            c.k.load[c.code](x + block * IMAGES * c.x_image + at * a.x_step, dst, &load)
            continue
        load.channels, load.channel_step = channels, c.x_channel
        load.pitch = c.relaid_cols * IMAGES
        for pixel in range(count):
            c.k.load[c.code](
                x + block * IMAGES * c.x_image + at * a.x_step + pixel * b.x_step,
                dst + pixel * column, &load)


cdef inline char* relaid_at(
        const Call* c, Py_ssize_t group, Py_ssize_t row, Py_ssize_t block,
        Py_ssize_t ci) noexcept nogil:
    """The row of a channel of some images. Channels of a row are neighbours: read together."""
    cdef Py_ssize_t line = (group * c.relaid_rows + row) * c.image_blocks + block
    return c.relaid + (line * c.c_in + ci) * c.relaid_cols * IMAGES * c.size


cdef void load_images(
        const Call* c, const Segment* s, Py_ssize_t group, Py_ssize_t lanes,
        Py_ssize_t point_step, Py_ssize_t ci, Py_ssize_t stop) noexcept nogil:
    """The same of a segment whose lanes are images."""
    cdef Py_ssize_t n, i, p, tile, late, row = s.q - c.rows.axis.q_lo + s.late
    cdef Py_ssize_t pitch = c.relaid_cols * IMAGES, half_pitch = pitch, half_step = 0
    cdef Py_ssize_t width = (
        (s.n - 1) * c.cols.outputs + c.cols.points + c.cols.sets - 1) * IMAGES
    cdef Py_ssize_t offsets[4]
    cdef Py_ssize_t places[4]
    cdef const char* half
    for i in range(4):
        offsets[i] = i * c.rows.axis.shift * c.image_blocks * c.c_in * pitch
        places[i] = i * IMAGES
    while ci < stop:
        n = min(input_channels(c), stop - ci)
        half = relaid_at(c, group, row, s.image, ci) + s.column * c.cols.outputs * IMAGES * c.size
        if c.rows.scheme != F11:
            half_pitch, half_step = width, n * width
            c.k.transform_input[c.compute](
                c.rows.scheme, half, offsets, pitch, n, width, width, c.input, half_step,
                half_pitch)
            half = c.input
        for late in range(c.cols.sets):
            for p in range(c.rows.points):
                for tile in range(s.n):
                    c.k.transform_input[c.compute](
                        c.cols.scheme,
                        half + (
                            p * half_step + (tile * c.cols.outputs + late) * IMAGES) * c.size,
                        places, half_pitch, n, IMAGES, IMAGES,
                        windows_at(c, late, p, point_step)
                        + (ci * lanes + s.lane + tile * IMAGES) * c.size,
                        point_step, lanes,
                    )
        ci += n
