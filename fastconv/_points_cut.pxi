# Tiles of either axis, sizes of scratch, and how work is cut for workers. Part of _points.pyx.

cdef Py_ssize_t scheme_products(const Axis* a, Py_ssize_t points, Py_ssize_t outputs) noexcept:
    """Products along an axis, of all phases."""
    cdef Py_ssize_t longer = class_size(a, 0)
    cdef Py_ssize_t tiles = ceil_div(ceil_div(a.q_hi - a.q_lo, a.shift), outputs)
    return tiles * (points * longer + (points - 1) * (a.n_phases - longer))


cdef void choose_scheme(Side* side) noexcept:
    """The scheme of fewest products."""
    cdef Axis* a = &side.axis
    side.scheme, side.points, side.outputs = F11, 1, 1
    if a.max_taps == 3:
        side.scheme, side.points, side.outputs = F23, 4, 2
    elif a.max_taps == 2:
        side.scheme, side.points, side.outputs = F22, 3, 2
        if scheme_products(a, 4, 3) < scheme_products(a, 3, 2):
            side.scheme, side.points, side.outputs = F32, 4, 3
    side.tiles = ceil_div(ceil_div(a.q_hi - a.q_lo, a.shift), side.outputs)


cdef void lay_out(Call* c) noexcept:
    """Bytes of the parts of a worker's scratch."""
    cdef Py_ssize_t lanes, width, neighbours, taps
    cdef Py_ssize_t rows = c.channels * largest_class(&c.rows.axis) * largest_class(&c.cols.axis)
    cdef Py_ssize_t columns = ceil_div(c.column_units, c.lane_blocks) * c.columns_unit
    lanes = round_up(columns * c.column_lanes, c.vector)
    width = (lanes + 2 * c.cols.axis.shift) * c.cols.outputs
    if c.by_batch:
        width = (columns * c.cols.outputs + MOST_OUTPUTS) * IMAGES
    c.windows_bytes = round_up(c.points * (c.c_in * lanes * c.size + PAD), 64)
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
        workers * BLOCK_BYTES, c.lane_blocks * c.windows_bytes)


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
        c.shares = clip(ceil_div(TASKS_PER_WORKER * workers, c.lane_blocks), 1, c.block_units)
        c.shares = best_shares(c.lane_blocks, c.shares, c.block_units, workers)


cdef void cut(Call* c, Py_ssize_t held, Py_ssize_t least, Py_ssize_t workers) noexcept:
    """Blocks and shares for so many workers, and whether windows are shared.

    `held` are the bytes that are promised beside those of each worker; windows leave `least` of
    them to weights.
    """
    cdef Py_ssize_t limit
    c.sharing = False
    cut_units(c, held + workers * (WORKER_BYTES - scratch_of(c)), workers)
    if (c.blocks * c.shares > 1 or heavy(c, workers)) and not c.by_batch:
        # Windows would be transformed again and again: do it once, if there is room for them.
        c.sharing = True
        limit = held + workers * (WORKER_BYTES - scratch_of(c)) - c.lane_blocks * c.windows_bytes
        c.sharing = limit >= least
        if c.sharing:
            if heavy(c, workers):
                limit = min(limit, workers * max(BLOCK_BYTES, c.unit_numbers * c.size))
            cut_units(c, limit, workers)
    # Of neighbouring tasks what is more stays the same: windows, or the weights of all blocks.
    c.by_unit = c.units * c.unit_numbers > c.lane_blocks * c.windows_bytes // c.size


cdef void lay_out_by_batch(Call* c, Py_ssize_t samples) noexcept:
    """Whether a column of tiles is made of images, and the copy of x that it is read from."""
    cdef const Axis* a = &c.rows.axis
    c.image_blocks = ceil_div(c.images, IMAGES)
    # The copy may be some times as large as x, whose elements may be repeated ones: no overflow.
    c.by_batch = (
        c.cols.axis.shift == 1 and c.cols.tiles <= MOST_TILES and samples < LARGEST >> 12
        and 5 * c.images >= 4 * IMAGES * c.image_blocks
        and c.c_in <= WINDOW_BYTES // (c.points * IMAGES * c.size)
    )
    c.column_lanes = IMAGES
    c.relaid_cols = (c.cols.tiles - 1) * c.cols.outputs + c.cols.points
    c.relaid_rows = ((c.rows.tiles - 1) * c.rows.outputs + c.rows.points) * a.shift
    if not c.by_batch:
        c.image_blocks = c.images
        c.column_lanes = c.cols.axis.shift
        c.relaid_rows = c.relaid_cols = 0
