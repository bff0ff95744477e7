# Groups of one channel, whose lanes run along the groups. Part of _execute.pyx.
#
# Where channels are neighbours in x and in the result, nothing has to be told apart: results are
# computed pixel by pixel, with the taps in the order that lanes along a spatial axis have.

cdef void pack_depthwise(const Call* c, Py_ssize_t tap) noexcept nogil:
    """The weights of one tap, group after group."""
    cdef const Geometry* g = c.g
    cdef const char* src = c.w
    cdef char* dst = c.packed + tap * g.groups * g.size
    cdef Py_ssize_t i, group
    if not g.by_batch:
        src += tap % g.lane.kernel * g.w_lane
        tap //= g.lane.kernel
    for i in range(g.n_outer - 1, -1, -1):
        src += tap % g.outer[i].kernel * g.w_outer[i]
        tap //= g.outer[i].kernel
    for group in range(g.groups):
        memcpy(dst + group * g.size, src + group * g.w_in, g.size)


cdef bint enter_position(
        const Axis* a, Py_ssize_t o, Py_ssize_t* q, Py_ssize_t* phase) noexcept nogil:
    """The phase and the q of one position of the result; False if no tap can reach it."""
    cdef Py_ssize_t f
    for phase[0] in range(a.n_phases):
        f = o + a.crop - phase[0] * a.dilation
        q[0] = floor_div(f, a.stride)
        if q[0] * a.stride == f:
            return True
    return False


cdef inline void taps_inside(
        const Axis* a, Py_ssize_t q, Py_ssize_t phase, Py_ssize_t* low,
        Py_ssize_t* high) noexcept nogil:
    """Taps [low, high) of a phase whose input is inside."""
    low[0] = max(0, ceil_div(q - a.n_in + 1, a.shift))
    high[0] = max(low[0], min(phase_taps(a, phase) - 1, floor_div(q, a.shift)) + 1)


cdef Py_ssize_t list_outer_taps(
        const Call* c, const char* x, Py_ssize_t row, Py_ssize_t n_axes,
        Py_ssize_t kernel) noexcept nogil:
    """List the taps of the outer axes inside of the input for a row of results; how many.

    `c.tap_rows` are the places in x, `c.taps` the numbers of the taps with `kernel` taps each of
    the pixels' axis.
    """
    cdef const Geometry* g = c.g
    cdef const Axis* a
    cdef Py_ssize_t low[MAX_AXES]
    cdef Py_ssize_t high[MAX_AXES]
    cdef Py_ssize_t q[MAX_AXES]
    cdef Py_ssize_t phase[MAX_AXES]
    cdef Py_ssize_t i, j, n, rest, tap, step, total = 1
    for i in range(n_axes - 1, -1, -1):
        a = &g.outer[i]
        if not enter_position(a, row % a.n_out, &q[i], &phase[i]):
            return 0
        row //= a.n_out
        taps_inside(a, q[i], phase[i], &low[i], &high[i])
        total *= high[i] - low[i]
    for n in range(total):
        rest = n
        tap = 0
        step = kernel
        c.tap_rows[n] = x
        for i in range(n_axes - 1, -1, -1):
            a = &g.outer[i]
            j = low[i] + rest % (high[i] - low[i])
            rest //= high[i] - low[i]
            tap += (phase[i] + j * a.period) * step
            step *= a.kernel
            c.tap_rows[n] = <const char*> c.tap_rows[n] + (q[i] - j * a.shift) * a.x_step
        c.taps[n] = tap
    return total


cdef void run_pixels(
        const Call* c, char* y, Py_ssize_t n_outer, Py_ssize_t low, Py_ssize_t stop) noexcept nogil:
    """Pixels [low, stop) of a row of results, phase by phase."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = pixel_axis(g)
    cdef const void** weights = c.sources
    cdef const void** rows = c.sources + g.list_taps
    cdef Py_ssize_t phase, q, last, first, end, n, count, i, j
    if n_outer == 0 or g.gaps:
        c.k.depthwise[g.compute](
            weights, rows, 0, c.bias, g.groups, stop - low, 0, y + low * a.y_step, a.y_step,
            g.streamed)
    for phase in range(a.n_phases if n_outer > 0 else 0):
        q = ceil_div(low + a.crop - phase * a.dilation, a.stride)
        last = ceil_div(stop + a.crop - phase * a.dilation, a.stride)
        while q < last:
            taps_inside(a, q, phase, &first, &end)
            count = 1
            if first == 0 and end == phase_taps(a, phase):
                # All taps are inside, and stay there.
                count = min(last, a.n_in) - q
            n = 0
            for i in range(n_outer):
                for j in range(first, end):
                    weights[n] = c.packed + (c.taps[i] + phase + j * a.period) * g.groups * g.size
                    rows[n] = <const char*> c.tap_rows[i] + (q - j * a.shift) * a.x_step
                    n += 1
            c.k.depthwise[g.compute](
                weights, rows, n, c.bias, g.groups, count, a.x_step,
                y + result_at(a, q, phase) * a.y_step, a.stride * a.y_step, g.streamed)
            q += count


cdef void run_depthwise(const Call* c, Py_ssize_t task) noexcept nogil:
    """Some rows of one image's result, or a part of one."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = pixel_axis(g)
    cdef Py_ssize_t n_axes = g.n_outer - 1 if g.by_batch else g.n_outer, n, i, rest, low, most
    cdef Depthwise part = depthwise_part(g, task)
    cdef const char* x = c.x + part.image * (g.lane.x_step if g.by_batch else g.x_image)
    cdef char* y
    for row in range(part.row, part.row_stop):
        y = c.y + part.image * (g.lane.y_step if g.by_batch else g.y_image)
        rest = row
        for i in range(n_axes - 1, -1, -1):
            y += rest % g.outer[i].n_out * g.outer[i].y_step
            rest //= g.outer[i].n_out
        n = list_outer_taps(c, x, row, n_axes, a.kernel)
        # The phases read the same pixels of x, which stay in the first-level cache.
        low = part.low
        most = part.stop - low
        if a.n_phases > 1:
            most = max(a.stride, NEAR_BYTES * a.stride // (max(n, 1) * g.groups * g.size))
        while low < part.stop:
            run_pixels(c, y, n, low, min(low + most, part.stop))
            low += most
    if g.streamed:
        stream_fence()
