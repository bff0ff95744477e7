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
    RELAID_WORK = 27          # a number of the copy of x
    IMAGE_WINDOW_WORK = 7     # a number of a transformed window
    BROUGHT_WORK = 8          # a number that is brought back
    SPREAD_WORK = 4           # a number that is stored


cdef inline double side_products(const Side* side) noexcept:
    """Products along an axis, of all phases."""
    cdef Py_ssize_t longer = longer_phases(&side.axis)
    return <double> side.tiles * (
        side.points * side.axis.n_phases - (side.axis.n_phases - longer))


cdef double scheme_work(const Side* rows, const Side* cols, double channels) noexcept:
    """What an image and input channel takes for so many output channels, lanes being tiles."""
    return channels * side_products(rows) * side_products(cols) + rows.sets * rows.tiles * (
        LINE_WORK + WINDOW_WORK * <double> rows.points * cols.sets * cols.tiles * cols.points)


cdef double work_of(const Call* c) noexcept:
    """How long a call takes, in the time of a multiply-add."""
    cdef double lanes = round_up(c.columns * c.column_lanes, c.vector)
    cdef double lines = c.images * c.lines, rows = 0, shared, results
    cdef double windows
    cdef Py_ssize_t number, sets = c.rows.sets * c.cols.sets
    cdef Class k
    for number in range(classes_of(c)):
        k = class_of(c, number, 1)
        rows += k.points * k.rows
    rows *= c.c_out
    shared = CALL_WORK * (1 + c.groups) + c.groups * c.c_in * (
        lanes * rows + POINT_WORK * rows
        + WEIGHT_WORK * <double> c.c_out * c.rows.axis.kernel * c.cols.axis.kernel)
    results = <double> c.images * c.groups * c.c_out * c.rows.axis.n_out * c.cols.axis.n_out
    windows = c.c_in * lanes * sets * c.points
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
