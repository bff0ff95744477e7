# How long a call is expected to take, for the choice of a method. Part of _points.pyx.

# What the steps around the products take, in multiply-adds of a tile, see `_direct.py`.
cdef enum:
    WEIGHT_WORK = 35          # a weight that is read
    POINT_WORK = 12           # a transformed weight
    WINDOW_WORK = 11          # a number of a transformed window, with reading x
    PRODUCT_WORK = 7          # a number that is brought back
    RESULT_WORK = 20          # a number that is stored
    LINE_WORK = 1400          # an input channel of a line of tiles
    STORE_WORK = 400          # a row of the result that a line of tiles is part of
    CALL_WORK = 1 << 20       # the call, and each group
    # ... and where lanes are images, instead of windows, products, results and lines:
    RELAID_WORK = 32          # a number of the copy of x
    IMAGE_WINDOW_WORK = 10    # a number of a transformed window
    BROUGHT_WORK = 8          # a number that is brought back
    SPREAD_WORK = 4           # a number that is stored

    CACHE_BYTES = 1 << 20     # of a second-level cache


cdef inline double side_products(const Side* side) noexcept:
    """Products along an axis, of all phases."""
    cdef Py_ssize_t longer = longer_phases(&side.axis)
    return <double> side.tiles * (
        side.points * side.axis.n_phases - (side.axis.n_phases - longer))


cdef double lane_bytes(const Call* c, const Side* rows, const Side* cols) noexcept:
    """Bytes of transformed windows that a task has for each lane."""
    return <double> cols.sets * rows.points * cols.points * c.c_in * c.size


cdef double vectors_bytes(
        const Call* c, const Side* rows, const Side* cols, Py_ssize_t vectors) noexcept:
    """The same for so many vectors of 64 bytes."""
    return lane_bytes(c, rows, cols) * (vectors * LEAST_LANES // c.size)


cdef double product_factor(const Call* c, const Side* rows, const Side* cols) noexcept:
    """Tiles of a single vector, where windows of no more fit, wait for their sums."""
    return 1.5 if vectors_bytes(c, rows, cols, 2) > WINDOW_BYTES else 1


cdef double window_factor(const Call* c, const Side* rows, const Side* cols) noexcept:
    """Windows of three vectors that leave the second-level cache take longer."""
    return 2 if vectors_bytes(c, rows, cols, VECTORS) > CACHE_BYTES else 1


cdef Py_ssize_t spare_shares(const Call* c) noexcept:
    """Into how many shares the products of a window may be cut, if each transforms it anew."""
    cdef double products = <double> c.c_out * c.phases / c.rows.sets / c.cols.sets
    return <Py_ssize_t> (
        products / (8 * WINDOW_WORK * window_factor(c, &c.rows, &c.cols)))


cdef double scheme_work(const Call* c, const Side* rows, const Side* cols) noexcept:
    """What an image and input channel takes, lanes being tiles."""
    cdef double products = c.c_out * side_products(rows) * side_products(cols)
    cdef double windows = (
        <double> rows.tiles * rows.points * cols.sets * cols.tiles * cols.points)
    return products * product_factor(c, rows, cols) + rows.sets * (
        LINE_WORK * <double> rows.tiles + WINDOW_WORK * windows * window_factor(c, rows, cols))


cdef double work_of(const Call* c) noexcept:
    """How long a call takes, in the time of a multiply-add."""
    cdef double lanes = round_up(c.columns * c.column_lanes, c.vector)
    cdef double lines = c.images * c.lines, rows = 0, shared, results, windows
    cdef Py_ssize_t number, sets = c.rows.sets * c.cols.sets
    cdef Class k
    for number in range(classes_of(c)):
        k = class_of(c, number, 1)
        rows += k.points * k.rows
    rows *= c.c_out
    shared = CALL_WORK * (1 + c.groups) + c.groups * c.c_in * (
        lanes * rows * product_factor(c, &c.rows, &c.cols) + POINT_WORK * rows
        + WEIGHT_WORK * <double> c.c_out * c.rows.axis.kernel * c.cols.axis.kernel)
    results = <double> c.images * c.groups * c.c_out * c.rows.axis.n_out * c.cols.axis.n_out
    windows = c.c_in * lanes * sets * c.points * window_factor(c, &c.rows, &c.cols)
    if not c.sharing:
        windows *= c.blocks
    if c.by_batch:
        return (
            shared + RELAID_WORK * <double> relaid_numbers(c) + SPREAD_WORK * results
            + c.groups * (IMAGE_WINDOW_WORK * windows + BROUGHT_WORK * rows * lanes)
        )
    return shared + RESULT_WORK * results + c.groups * (
        WINDOW_WORK * windows + LINE_WORK * c.c_in * lines * c.rows.sets
        + PRODUCT_WORK * rows * lanes
        + STORE_WORK * c.c_out * lines * c.rows.outputs * c.rows.axis.n_phases
    )
