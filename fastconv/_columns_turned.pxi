# Results whose channels are neighbours, turned some channels at a time. Part of _columns.pyx.
#
# The taps of a pixel are added to neighbours then, instead of lines that are far apart, and results
# are read and written once for all columns of these channels that follow each other, by whole
# vectors of channels.

cdef bint turns(const Columns* c, const Cut* cut) noexcept nogil:
    """Whether results of a task are turned, so that the taps of a pixel are neighbours there.

    No other task may write to them, and they must have one distance.
    """
    cdef Py_ssize_t last = c.rank - 1
    return (
        (c.images == 1 or c.y_image == c.fill_length * c.y_step[last]) and c.fill_axes == 0
        and c.kernel[last] >= TURNED_TAPS and cut.slices.count == 1
        and channels_last(c)
    )


# Results of some channels of a part, each channel's in a row: what they are read to and added to.
cdef struct Turned:
    bint may                             # whether those of the task are
    Py_ssize_t stop                      # the task's channels end here
    Py_ssize_t channel, channels         # that are held now,
    Py_ssize_t length, pitch             # ... their results, and from one to the next
    char* y                              # where they are in the result


cdef Turned start_turning(
        const Columns* c, const Cut* cut, Py_ssize_t share) noexcept nogil:
    """None are held yet."""
    cdef Turned turned
    turned.may = turns(c, cut)
    turned.stop = share_start(&cut.channels, share + 1)
    turned.channel = turned.channels = turned.length = turned.pitch = 0
    turned.y = NULL
    return turned


cdef void put_back(const Columns* c, Turned* turned) noexcept nogil:
    """Write the results that are held back."""
    cdef const void* sources[TURNED_CHANNELS]
    cdef double zero = 0
    cdef Py_ssize_t i
    cdef Store s = one_row()
    if turned.channels == 0:
        return
    for i in range(turned.channels):
        sources[i] = c.scratch + c.turned_at + i * turned.pitch * c.size
    s.n_sources = turned.channels
    s.n = turned.length
    s.lane_step = c.y_step[c.rank - 1]
    s.source_step = c.size
    c.k.store[c.code](sources, &zero, turned.y, &s)
    turned.channels = 0


cdef const Columns* turn_to(
        const Columns* c, const Part* part, Py_ssize_t group, const Block* block, Turned* turned,
        Columns* into) noexcept nogil:
    """The problem with turned results in the place of those that a block reaches, if they fit.

    They are read into scratch unless they are there; then what was there is put back before.
    `into` is the room for it.
    """
    cdef Py_ssize_t first = (block.first[0] + block.skip[0]) // c.taps, i = block.tiles - 1, a
    cdef Py_ssize_t end = (block.first[i] + block.skip[i] + block.count[i] - 1) // c.taps + 1
    cdef Py_ssize_t channels, step = c.size
    cdef char* rows = c.scratch + c.turned_at
    cdef Load load
    if not turned.may:
        return c
    if turned.channel <= first and end <= turned.channel + turned.channels:
        return into
    put_back(c, turned)
    into[0] = c[0]
    for a in range(c.rank - 1, -1, -1):
        into.y_step[a] = step
        step *= c.n_out[a]
    into.y_image = step
    # A part has some of the images or, of one image, some of the rows.
    turned.length = (part.image_hi - part.image_lo) * step // c.size
    if c.images == 1:
        turned.length = (part.out_hi - part.out_lo) * into.y_step[0] // c.size
    turned.pitch = round_up(turned.length, QUAD) + QUAD
    if turned.pitch * c.size % 1024 == 0:
        turned.pitch += QUAD
    channels = min(
        TURNED_CHANNELS, TURNED_BYTES // (turned.pitch * c.size), turned.stop - first)
    if first + channels < end:
        return c
    turned.channel, turned.channels = first, channels
    turned.y = c.y + (
        (group * c.c_out + first) * c.y_channel + part.image_lo * c.y_image
        + part.out_lo * c.y_step[0])
    load.channel_step, load.row_step, load.component_step = c.y_channel, 0, 0
    load.lane_step = c.y_step[c.rank - 1]
    load.channels, load.components, load.rows = channels, 1, 1
    load.before, load.n, load.width = 0, turned.length, turned.length
    load.pitch, load.slot, load.goes_on = turned.pitch, 0, False
    c.k.load[c.code](turned.y, rows, &load)
    into.y_channel = turned.pitch * c.size
    into.y = rows - (
        (group * c.c_out + first) * into.y_channel + part.image_lo * into.y_image
        + part.out_lo * into.y_step[0])
    return into
