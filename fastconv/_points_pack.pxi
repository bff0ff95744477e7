# How weights become panels of transformed ones. Part of _points.pyx.

cdef void pack_rows(
        const Call* c, const Class* k, Py_ssize_t row, Py_ssize_t height, Py_ssize_t channels,
        const char* w, Py_ssize_t n, char* dst) noexcept nogil:
    """Transform the weights of one panel of rows, for n input channels from `w` on.

    `dst` is where they go at the class's first point.
    """
    cdef Run runs[9 * 8]
    cdef Run* run
    cdef Py_ssize_t i, j, done, count, phase, n_runs = 0, numbers = n * height
    cdef Py_ssize_t line = k.taps_col * numbers, p
    cdef Py_ssize_t point_step = point_numbers(c, k)
    cdef Py_ssize_t row_points = c.cols.points - k.short_col
    cdef char* taps = c.products
    cdef char* half = c.half
    for i in range(k.taps_row):
        for j in range(k.taps_col):
            done = 0
            while done < height:
                phase = (row + done) // channels
                count = min(height - done, channels - (row + done) % channels)
                run = &runs[n_runs]
                run.src = (
                    (row + done) % channels * c.w_out
                    + (k.first_row + phase // k.size_col + i * c.rows.axis.period) * c.w_rows
                    + (k.first_col + phase % k.size_col + j * c.cols.axis.period) * c.w_cols
                )
                run.src_step = c.w_out
                run.dst = (i * k.taps_col + j) * numbers + done
                run.dst_step = 1
                run.height = height
                run.count = count
                n_runs += 1
                done += count
    c.k.pack[c.code](w, c.w_in, n, 1, runs, n_runs, taps)
    if c.rows.scheme == F11:
        half = taps
    else:
        c.k.transform_filter[c.compute](
            c.rows.scheme, k.short_row, taps, line, line, half, line)
    for p in range(k.short_row, c.rows.points):
        # A shorter phase has no first point, and none is written.
        c.k.transform_filter[c.compute](
            c.cols.scheme, k.short_col, half + p * line * c.size, numbers, numbers,
            dst + ((p - k.short_row) * row_points - k.short_col) * point_step * c.size,
            point_step,
        )


cdef void pack_task(const Call* c, Py_ssize_t block, Py_ssize_t task) noexcept nogil:
    """Transform the weights of one unit for some input channels."""
    cdef Py_ssize_t parts = ceil_div(c.c_in, PACK_CHANNELS), part = task % parts
    cdef Py_ssize_t group = block // c.blocks
    cdef Py_ssize_t unit = block % c.blocks * c.block_units + task // parts
    cdef Py_ssize_t channel = unit * c.channels, channels = min(c.channels, c.c_out - channel)
    cdef Py_ssize_t ci = part * PACK_CHANNELS, stop = min(ci + PACK_CHANNELS, c.c_in)
    cdef Py_ssize_t n, number, row, height
    cdef const char* w
    cdef char* to
    cdef Class k
    while ci < stop:
        n = min(input_channels(c), stop - ci)
        w = c.w + (group * c.c_in + ci) * c.w_in + channel * c.w_out
        to = c.packed + task // parts * c.unit_numbers * c.size
        for number in range(c.rows.axis.n_classes * c.cols.axis.n_classes):
            k = class_of(c, number, channels)
            row = 0
            while row < k.rows:
                height = panel_height(c.height, k.rows - row)
                pack_rows(
                    c, &k, row, height, channels, w, n,
                    to + (row * c.c_in + ci * height) * c.size)
                row += height
            to += k.points * point_numbers(c, &k) * c.size
        ci += n
