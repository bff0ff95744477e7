# Results whose channels are neighbours, turned for a block of columns. Part of _columns.pyx.
#
# The taps of a pixel are added to neighbours then, instead of lines that are far apart, and the
# result is read and written once for each block, by whole vectors of channels.

cdef bint turns(const Columns* c, const Cut* cut) noexcept nogil:
    """Whether results of a task are turned, so that the taps of a pixel are neighbours there.

    No other task may write to them, and they must have one distance.
    """
    cdef Py_ssize_t last = c.rank - 1
    return (
        c.images == 1 and c.fill_axes == 0 and c.kernel[last] >= TURNED_TAPS
        and cut.slices.count == 1
        and channels_last(c)
    )


# Results of some channels of a part, each channel's in a row: what they are read to and added to.
cdef struct Turned:
    Py_ssize_t channel, channels, length, pitch
    char* y                              # where they are in the result


cdef bint enter_turned(
        const Columns* c, const Part* part, Py_ssize_t group, const Block* block,
        Turned* turned) noexcept nogil:
    """The channels of a block; whether their results fit into scratch."""
    cdef Py_ssize_t first = block.first[0] + block.skip[0], i = block.tiles - 1, a
    turned.channel = first // c.taps
    turned.channels = (
        block.first[i] + block.skip[i] + block.count[i] - 1) // c.taps + 1 - turned.channel
    turned.length = part.out_hi - part.out_lo
    for a in range(1, c.rank):
        turned.length *= c.n_out[a]
    turned.pitch = round_up(turned.length, QUAD) + QUAD
    if turned.pitch * c.size % 1024 == 0:
        turned.pitch += QUAD
    turned.y = c.y + (
        (group * c.c_out + turned.channel) * c.y_channel + part.out_lo * c.y_step[0])
    return (
        turned.channels <= TURNED_CHANNELS
        and turned.channels * turned.pitch * c.size <= TURNED_BYTES
    )


cdef Columns read_turned(
        const Columns* c, const Part* part, Py_ssize_t group, const Turned* turned) noexcept nogil:
    """Read the results as they are so far; the problem with these in the place of the result."""
    cdef Columns mine = c[0]
    cdef Py_ssize_t a, step = c.size
    cdef Load load
    cdef char* rows = c.scratch + c.turned_at
    load.channel_step, load.row_step, load.component_step = c.y_channel, 0, 0
    load.lane_step = c.y_step[c.rank - 1]
    load.channels, load.components, load.rows = turned.channels, 1, 1
    load.before, load.n, load.width = 0, turned.length, turned.length
    load.pitch, load.slot, load.goes_on = turned.pitch, 0, False
    c.k.load[c.code](turned.y, rows, &load)
    for a in range(c.rank - 1, -1, -1):
        mine.y_step[a] = step
        step *= c.n_out[a]
    mine.y_channel = turned.pitch * c.size
    mine.y = rows - (
        (group * c.c_out + turned.channel) * mine.y_channel + part.out_lo * mine.y_step[0])
    return mine


cdef void write_turned(const Columns* c, const Turned* turned) noexcept nogil:
    """Write the results back."""
    cdef const void* sources[TURNED_CHANNELS]
    cdef double zero = 0
    cdef Py_ssize_t i
    cdef Store s = one_row()
    for i in range(turned.channels):
        sources[i] = c.scratch + c.turned_at + i * turned.pitch * c.size
    s.n_sources = turned.channels
    s.n = turned.length
    s.lane_step = c.y_step[c.rank - 1]
    s.source_step = c.size
    c.k.store[c.code](sources, &zero, turned.y, &s)
