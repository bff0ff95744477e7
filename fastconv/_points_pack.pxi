# How weights become panels of transformed ones. Part of _points.pyx.

cdef enum:
    RUNS = 64                 # that are listed before they are packed
    MAX_CLASSES = MAX_BANDS * MAX_BANDS

cdef Py_ssize_t list_classes(
        const Call* c, Py_ssize_t channels, Class* classes, Py_ssize_t* before) noexcept nogil:
    """The classes of a unit, and the weights of an input channel before each; how many classes."""
    cdef Py_ssize_t n = classes_of(c), number, at = 0
    for number in range(n):
        classes[number] = class_of(c, number, channels)
        before[number] = at
        at += classes[number].rows * classes[number].row.taps * classes[number].col.taps
    return n


cdef void bring_taps(
        const Call* c, const Class* classes, const Py_ssize_t* before, Py_ssize_t channels,
        const char* w, Py_ssize_t n) noexcept nogil:
    """Bring the weights of a unit to panels in the place of products, for n input channels.

    Each panel has [tap of rows][tap of columns][input channel][row]. Taps follow each other as
    they do in the kernel: four neighbours that fill panels are packed together.
    """
    cdef Run runs[RUNS]
    cdef Run* run
    cdef const Axis* a = &c.rows.axis
    cdef const Axis* b = &c.cols.axis
    cdef const Class* k
    cdef Py_ssize_t channel = 0, stop, t, u, number, phase, tap, row, col, end, n_runs = 0
    cdef Panel panel
    while channel < channels:
        stop = min(channel + c.height, channels)
        for t in range(a.kernel):
            for u in range(b.kernel):
                row, col = counted_phase(&c.rows, t), counted_phase(&c.cols, u)
                number = band_of(&c.rows, row) * c.cols.n_bands + band_of(&c.cols, col)
                k = &classes[number]
                phase = (row - k.row.first) * k.col.size + col - k.col.first
                tap = t // a.period * k.col.taps + u // b.period
                row, end = phase * channels + channel, phase * channels + stop
                while row < end:
                    panel = panel_of(row, k.rows, c.height)
                    run = &runs[n_runs]
                    run.src = (row - phase * channels) * c.w_out + t * c.w_rows + u * c.w_cols
                    run.src_step = c.w_out
                    run.dst = row - panel.start + n * (
                        before[number] + panel.start * k.row.taps * k.col.taps + tap * panel.height)
                    run.dst_step = 1
                    run.height = panel.height
                    run.count = min(end, panel.start + panel.height) - row
                    row += run.count
                    n_runs += 1
                    if n_runs == RUNS:
                        c.k.pack[c.code](w, c.w_in, n, 1, runs, n_runs, c.products)
                        n_runs = 0
        channel = stop
    if n_runs:
        c.k.pack[c.code](w, c.w_in, n, 1, runs, n_runs, c.products)


cdef void transform_panel(
        const Call* c, const Class* k, const char* taps, Py_ssize_t numbers,
        char* dst) noexcept nogil:
    """Transform one panel of so many numbers of each tap.

    `dst` is where they go at the class's first point.
    """
    cdef Py_ssize_t line = k.col.taps * numbers, p, point_step = point_numbers(c, k)
    cdef Py_ssize_t row_points = c.cols.points - k.short_col
    cdef const char* half = taps
    if c.rows.scheme != F11:
        half = c.half
        c.k.transform_filter[c.compute](
            c.rows.scheme, k.short_row, taps, line, line, c.half, line)
    for p in range(k.short_row, c.rows.points):
        # A shorter phase has no first point, and none is written.
        c.k.transform_filter[c.compute](
            c.cols.scheme, k.short_col, half + p * line * c.size, numbers, numbers,
            dst + ((p - k.short_row) * row_points - k.short_col) * point_step * c.size,
            point_step,
        )


cdef void pack_task(const Call* c, Py_ssize_t block, Py_ssize_t task) noexcept nogil:
    """Transform the weights of one unit for some input channels."""
    cdef Py_ssize_t slices = ceil_div(c.c_in, PACK_CHANNELS)
    cdef Py_ssize_t group = block // c.blocks
    cdef Py_ssize_t unit = block % c.blocks * c.block_units + task // slices
    cdef Py_ssize_t channel = unit * c.channels, channels = min(c.channels, c.c_out - channel)
    cdef Py_ssize_t ci = task % slices * PACK_CHANNELS, stop = min(ci + PACK_CHANNELS, c.c_in)
    cdef Py_ssize_t n, number, row, height
    cdef Py_ssize_t before[MAX_CLASSES]
    cdef const char* taps
    cdef char* to
    cdef const Class* k
    cdef Class classes[MAX_CLASSES]
    cdef Py_ssize_t n_classes = list_classes(c, channels, classes, before)
    while ci < stop:
        n = min(input_channels(c), stop - ci)
        bring_taps(
            c, classes, before, channels,
            c.w + (group * c.c_in + ci) * c.w_in + channel * c.w_out, n)
        to = c.packed + task // slices * c.unit_numbers * c.size
        for number in range(n_classes):
            k = &classes[number]
            row = 0
            while row < k.rows:
                height = panel_height(c.height, k.rows - row)
                taps = c.products + (
                    before[number] + row * k.row.taps * k.col.taps) * n * c.size
                transform_panel(
                    c, k, taps, n * height, to + (row * c.c_in + ci * height) * c.size)
                row += height
            to += k.points * point_numbers(c, k) * c.size
        ci += n
