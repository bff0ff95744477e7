# Tiles of either axis, sizes of scratch, and how work is cut for workers. Part of _points.pyx.

cdef void set_bands(Side* side) noexcept:
    """The bands of an axis whose phases are counted from `turn`."""
    cdef const Axis* a = &side.axis
    cdef Band* band
    cdef Py_ssize_t at = 0, longer = longer_phases(a), phase, end
    side.n_bands = 0
    while at < a.n_phases:
        band = &side.bands[side.n_bands]
        band.first = at
        band.late = at >= a.n_phases - side.turn
        phase = at + side.turn - band.late * a.n_phases
        band.taps = phase_taps(a, phase)
        end = longer if phase < longer else a.n_phases
        band.size = (min(end, side.turn) if band.late else end) - phase
        at += band.size
        side.n_bands += 1


cdef inline Py_ssize_t largest_band(const Side* side) noexcept nogil:
    """How many phases the largest band has, which need not be the one with most taps."""
    cdef Py_ssize_t number, size = 0
    for number in range(side.n_bands):
        size = max(size, side.bands[number].size)
    return size


cdef Side side_of(
        const Axis* axis, Scheme scheme, Py_ssize_t points, Py_ssize_t outputs,
        Py_ssize_t turn) noexcept:
    """An axis with a scheme, phases counted from `turn`."""
    cdef Side side
    cdef Axis* a = &side.axis
    side.axis = axis[0]
    side.scheme, side.points, side.outputs = scheme, points, outputs
    side.turn, side.sets = turn, 2 if turn else 1
    if turn:
        a.crop -= turn
        a.q_lo = a.crop // a.stride
        a.q_hi = a.q_lo + ceil_div(a.n_out, a.stride)
    side.tiles = ceil_div(ceil_div(a.q_hi - a.q_lo, a.shift), outputs)
    set_bands(&side)
    return side


cdef Py_ssize_t list_sides(const Axis* axis, Side* sides) noexcept:
    """The ways to compute the phases of an axis; how many."""
    cdef Py_ssize_t n = 0, turn = axis.crop % axis.stride, i
    if axis.max_taps == 1:
        sides[0] = side_of(axis, F11, 1, 1, 0)
        return 1
    for i in range(2 if turn else 1):
        if axis.max_taps == 3:
            sides[n] = side_of(axis, F23, 4, 2, i * turn)
        else:
            sides[n] = side_of(axis, F22, 3, 2, i * turn)
            n += 1
            sides[n] = side_of(axis, F32, 4, 3, i * turn)
        n += 1
    return n


cdef void choose_schemes(Call* c) noexcept:
    """The schemes of least work whose windows fit into a task, or else the first.

    The batch has no part in it: bits must not depend on how many images there are.
    """
    cdef Side[MAX_SIDES] rows
    cdef Side[MAX_SIDES] cols
    cdef Py_ssize_t n_rows = list_sides(&c.rows.axis, rows), i, j
    cdef Py_ssize_t n_cols = list_sides(&c.cols.axis, cols)
    cdef double least = INFINITY, work
    c.rows, c.cols = rows[0], cols[0]
    for i in range(n_rows):
        for j in range(n_cols):
            work = scheme_work(c, &rows[i], &cols[j])
            if work < least and vectors_bytes(c, &rows[i], &cols[j], 1) <= WINDOW_BYTES:
                least, c.rows, c.cols = work, rows[i], cols[j]


cdef void lay_out(Call* c) noexcept:
    """Bytes of the parts of a worker's scratch."""
    cdef Py_ssize_t lanes, width, neighbours, taps
    cdef Py_ssize_t rows = c.channels * largest_band(&c.rows) * largest_band(&c.cols)
    cdef Py_ssize_t columns = ceil_div(c.column_units, c.lane_blocks) * c.columns_unit
    lanes = round_up(columns * c.column_lanes, c.vector)
    width = (lanes + 2 * c.cols.axis.shift) * c.cols.outputs
    if c.by_batch:
        width = (columns * c.cols.outputs + MOST_OUTPUTS) * IMAGES
    c.windows_bytes = round_up(c.cols.sets * c.points * (c.c_in * lanes * c.size + PAD), 64)
    c.input_bytes = round_up(2 * c.rows.points * input_channels(c) * width * c.size, 64)
    # Some more, for the vectors that are read beyond the last window.
    c.input_bytes += 64
    # Weights of a unit are brought to the place of products, those of some input channels at a
    # time, and those of one panel transformed along the rows to `half`.
    taps = c.channels * c.rows.axis.kernel * c.cols.axis.kernel
    c.half_bytes = c.points * max(rows * lanes, input_channels(c) * c.height) * c.size
    c.half_bytes = round_up(c.half_bytes, 64)
    c.products_bytes = max(c.half_bytes, round_up(input_channels(c) * taps * c.size, 64))
    # Some more, for the lanes that are read beyond the last output.
    c.results_bytes = round_up(
        (c.phases * c.channels * c.outputs * lanes + QUAD) * c.size, 64)
    neighbours = c.cols.outputs * c.cols.axis.stride
    if c.by_batch:
        neighbours *= columns
    else:
        neighbours = neighbours // c.woven * c.rows.outputs * c.rows.axis.n_phases
    c.list_bytes = round_up((c.channels + neighbours) * sizeof(void*), 64)


cdef Py_ssize_t scratch_of(const Call* c) noexcept:
    """Scratch of one worker."""
    return (
        PAD + c.input_bytes + c.products_bytes + c.half_bytes + c.results_bytes + c.list_bytes
        + (0 if c.sharing else c.windows_bytes)
    )


cdef Py_ssize_t relaid_numbers(const Call* c) noexcept:
    """Numbers of the copy of x with images innermost."""
    return c.groups * c.c_in * c.relaid_rows * c.image_blocks * c.relaid_cols * IMAGES


cdef bint heavy(const Call* c, Py_ssize_t workers) noexcept:
    """Whether weights are best transformed in blocks that stay in the caches until they are read.

    All windows are read again for each block, so they have to be fewer.
    """
    cdef double weights = <double> c.c_out / c.channels * c.unit_numbers * c.size
    return not c.by_batch and weights > 2 * max(
        workers * BLOCK_BYTES, c.parts * c.windows_bytes)


cdef void cut_units(Call* c, Py_ssize_t limit, Py_ssize_t workers) noexcept:
    """Blocks of units whose weights fit into so many bytes, and how tasks share their units."""
    cdef Py_ssize_t units = max(c.units, 1)
    cdef Py_ssize_t most = clip(limit // (c.unit_numbers * c.size), 1, units)
    if workers < most < c.units:
        most -= most % workers
    # Blocks but the last are equally long, and have as many units for each worker.
    c.block_units = ceil_div(units, ceil_div(units, most))
    if workers <= most:
        c.block_units = min(most, round_up(c.block_units, workers))
    c.blocks = ceil_div(c.units, c.block_units)
    c.shares = 1
    if workers > 1:
        c.shares = clip(ceil_div(TASKS_PER_WORKER * workers, c.parts), 1, c.block_units)
        c.shares = best_shares(c.parts, c.shares, c.block_units, workers)


cdef void cut(Call* c, Py_ssize_t held, Py_ssize_t least, Py_ssize_t workers) noexcept:
    """Blocks and shares for so many workers, and whether windows are shared.

    `held` are the bytes that are promised beside those of each worker; windows leave `least` of
    them to weights.
    """
    cdef Py_ssize_t limit
    c.sharing = False
    cut_units(c, held + workers * (WORKER_BYTES - scratch_of(c)), workers)
    if (c.blocks * c.shares > 1 or heavy(c, workers)) and c.parts < LARGEST // c.windows_bytes:
        # Windows would be transformed again and again: do it once, if there is room for them.
        c.sharing = True
        limit = held + workers * (WORKER_BYTES - scratch_of(c)) - c.parts * c.windows_bytes
        c.sharing = limit >= least
        if c.sharing:
            if heavy(c, workers):
                limit = min(limit, workers * max(BLOCK_BYTES, c.unit_numbers * c.size))
            cut_units(c, limit, workers)
    if not c.sharing:
        # Each share transforms the windows once more: a small part of its products.
        c.shares = min(c.shares, max(ceil_div(workers, c.parts), spare_shares(c)))
    # Of neighbouring tasks what is more stays the same: windows, or the weights of all blocks.
    c.by_unit = c.units * c.unit_numbers > c.parts * c.windows_bytes // c.size


cdef void lay_out_by_batch(Call* c, Py_ssize_t samples) noexcept:
    """Whether a column of tiles is made of images, and the copy of x that it is read from."""
    cdef const Axis* a = &c.rows.axis
    c.image_blocks = ceil_div(c.images, IMAGES)
    # The copy may be some times as large as x, whose elements may be repeated ones: no overflow.
    c.by_batch = (
        c.cols.axis.shift == 1 and c.cols.tiles <= MOST_TILES and samples < LARGEST >> 12
        and 5 * c.images >= 4 * IMAGES * c.image_blocks
        and lane_bytes(c, &c.rows, &c.cols) * IMAGES <= WINDOW_BYTES
    )
    c.column_lanes = IMAGES
    c.relaid_cols = (c.cols.tiles - 1) * c.cols.outputs + c.cols.points + c.cols.sets - 1
    c.relaid_rows = (
        ((c.rows.tiles - 1) * c.rows.outputs + c.rows.points) * a.shift + c.rows.sets - 1)
    if not c.by_batch:
        c.image_blocks = c.images
        c.column_lanes = c.cols.axis.shift
        c.relaid_rows = c.relaid_cols = 0


cdef void cut_lanes(Call* c, Py_ssize_t samples) noexcept:
    """Lanes, which are columns of tiles, for each task. A task ends where a vector does."""
    cdef Py_ssize_t lanes, room = VECTORS * (LEAST_LANES // c.size)
    cdef double bytes = lane_bytes(c, &c.rows, &c.cols)
    c.lines = c.rows.tiles * c.rows.axis.shift
    lay_out_by_batch(c, samples)
    c.columns = c.image_blocks * c.lines * c.cols.tiles
    c.woven = c.cols.outputs if c.cols.axis.shift > 1 else 1
    if bytes * room > NEAR_BYTES and not c.by_batch:
        room = VECTORS * c.vector
    while room > c.vector and bytes * room > WINDOW_BYTES:
        room -= c.vector
    # A unit of columns fills vectors, or a task, where none does.
    lanes = c.vector if c.vector % c.column_lanes == 0 else room
    c.columns_unit = max(1, lanes // c.column_lanes)
    lanes = round_up(c.columns_unit * c.column_lanes, c.vector)
    c.column_units = ceil_div(c.columns, c.columns_unit)
    c.lane_blocks = max(1, ceil_div(c.column_units, max(1, room // lanes)))
    c.parts = c.lane_blocks * c.rows.sets


cdef void cut_channels(Call* c, Py_ssize_t most, Py_ssize_t workers) noexcept:
    """Units: output channels whose rows fill the tiles and whose points stay in the cache.

    Their transformed weights are `most` numbers or less.
    """
    cdef Py_ssize_t rows = max(1, c.phases // classes_of(c)), wanted = 1
    c.channels = min(max(8, round_up(ROWS // rows - 4, 8)), max(c.c_out, 1))
    # Many workers share out smaller units.
    if workers > 1:
        wanted = ceil_div(TASKS_PER_WORKER * workers, c.parts)
    while c.channels > 8 and ceil_div(c.c_out, c.channels) < wanted:
        c.channels = round_up(ceil_div(c.channels, 2), 8)
    while True:
        c.unit_numbers = numbers_of_unit(c, c.channels)
        lay_out(c)
        if c.channels == 1 or (c.unit_numbers <= most and scratch_of(c) <= SCRATCH_BYTES):
            break
        c.channels = (c.channels + 1) // 2
    while heavy(c, workers) and c.channels > 8 and c.unit_numbers * c.size > BLOCK_BYTES:
        c.channels = round_up(ceil_div(c.channels, 2), 8)
        c.unit_numbers = numbers_of_unit(c, c.channels)
        lay_out(c)
    c.units = ceil_div(c.c_out, c.channels)
