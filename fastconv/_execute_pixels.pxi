# Lanes along the channels of a pixel, or along groups of one channel. Part of _execute.pyx.
#
# Where channels are neighbours in x and in the result, nothing has to be told apart: results are
# computed pixel by pixel, with the taps in the order that lanes along a spatial axis have.

cdef inline Py_ssize_t pixel_packs(const Geometry* g) noexcept nogil:
    """Tasks that the packing of the weights is."""
    return g.taps if one_channel(g) else g.groups * ceil_div(g.c_in, PACK_CHANNELS)


cdef Py_ssize_t tap_source(const Geometry* g, Py_ssize_t tap) noexcept nogil:
    """Where a tap is in the weights of one pair of channels, in bytes."""
    cdef Py_ssize_t src = 0, i
    if not g.by_batch:
        src = tap % g.lane.kernel * g.w_lane
        tap //= g.lane.kernel
    for i in range(g.n_outer - 1, -1, -1):
        src += tap % g.outer[i].kernel * g.w_outer[i]
        tap //= g.outer[i].kernel
    return src


cdef void pack_groups(const Call* c, Py_ssize_t tap) noexcept nogil:
    """The weights of one tap, group after group."""
    cdef const Geometry* g = c.g
    cdef const char* src = c.w + tap_source(g, tap)
    cdef char* dst = c.packed + tap * g.groups * g.size
    cdef Py_ssize_t group
    for group in range(g.groups):
        memcpy(dst + group * g.size, src + group * g.w_in, g.size)


cdef void pack_pixels(const Call* c, Py_ssize_t task) noexcept nogil:
    """Weights as [tap][group][input channel][output channel]; a task has some input channels."""
    cdef const Geometry* g = c.g
    cdef Run runs[RUNS]
    cdef Py_ssize_t parts = ceil_div(g.c_in, PACK_CHANNELS), n_runs = 0, tap
    cdef Py_ssize_t ci = task // parts * g.c_in + task % parts * PACK_CHANNELS
    cdef Py_ssize_t channels = min(PACK_CHANNELS, g.c_in - task % parts * PACK_CHANNELS)
    if one_channel(g):
        pack_groups(c, task)
        return
    for tap in range(g.taps):
        runs[n_runs].src = tap_source(g, tap)
        runs[n_runs].dst = tap * g.groups * g.c_in * g.c_out
        runs[n_runs].src_step, runs[n_runs].dst_step = g.w_out, 1
        runs[n_runs].height = runs[n_runs].count = g.c_out
        n_runs += 1
        if n_runs == RUNS or tap == g.taps - 1:
            c.k.pack[c.code](
                c.w + ci * g.w_in, g.w_in, channels, 1, runs, n_runs,
                c.packed + ci * g.c_out * g.size)
            n_runs = 0


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
    low[0] = first_tap(a, q)
    high[0] = max(low[0], last_tap(a, q, phase_taps(a, phase)) + 1)


cdef Py_ssize_t list_outer_taps(
        const Call* c, const char* x, Py_ssize_t row, Py_ssize_t n_axes,
        Py_ssize_t kernel) noexcept nogil:
    """List the taps of the outer axes inside of the input for a row of results; how many.

    `c.tap_rows` are the places in x, `c.taps` the numbers of the taps with `kernel` taps each of
    the pixels' axis.
    """
    cdef const Geometry* g = c.g
    cdef const Axis* a
    cdef Py_ssize_t low, high, q, phase, i, total = 1
    cdef Py_ssize_t count[MAX_AXES]      # taps of an axis,
    cdef Py_ssize_t tap_step[MAX_AXES]   # and from one to the next in the kernel
    cdef Py_ssize_t row_step[MAX_AXES]   # and in x
    c.taps[0] = 0
    c.tap_rows[0] = x
    for i in range(n_axes - 1, -1, -1):
        a = &g.outer[i]
        if not enter_position(a, row % a.n_out, &q, &phase):
            return 0
        row //= a.n_out
        taps_inside(a, q, phase, &low, &high)
        count[i] = high - low
        c.taps[0] += (phase + low * a.period) * kernel
        c.tap_rows[0] = <const char*> c.tap_rows[0] + (q - low * a.shift) * a.x_step
        tap_step[i] = a.period * kernel
        # One tap may be any distance from the next.
        row_step[i] = -a.shift * a.x_step if count[i] > 1 else 0
        kernel *= a.kernel
    for i in range(n_axes - 1, -1, -1):
        total = repeat_taps(c, total, count[i], tap_step[i], row_step[i])
    return total


cdef void multiply_pixels(
        const Call* c, Py_ssize_t taps, Py_ssize_t count, char* y, Py_ssize_t step) noexcept nogil:
    """Some results that are `step` apart, of all groups, from the lists of a first one's taps."""
    cdef const Geometry* g = c.g
    cdef const char** weights = <const char**> c.sources
    cdef const char** rows = <const char**> c.sources + g.list_taps
    cdef Py_ssize_t x_step = pixel_axis(g).x_step, group, i
    if one_channel(g):
        c.k.depthwise[g.compute](
            c.sources, c.sources + g.list_taps, taps, c.bias, g.groups, count, x_step, y, step,
            g.streamed)
        return
    for group in range(g.groups):
        c.k.pixels[g.compute](
            c.sources, c.sources + g.list_taps, taps, g.c_in,
            c.bias + group * g.c_out * g.size, g.c_out, count, x_step,
            y + group * g.c_out * g.size, step, g.streamed)
        for i in range(taps if group + 1 < g.groups else 0):
            weights[i] += g.c_in * g.c_out * g.size
            rows[i] += g.c_in * g.size


cdef void run_pixels(
        const Call* c, char* y, Py_ssize_t n_outer, Py_ssize_t low, Py_ssize_t stop) noexcept nogil:
    """Pixels [low, stop) of a row of results, phase by phase."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = pixel_axis(g)
    cdef const void** weights = c.sources
    cdef const void** rows = c.sources + g.list_taps
    cdef Py_ssize_t tap_bytes = g.groups * g.c_in * g.c_out * g.size
    cdef Py_ssize_t phase, q, last, first, end, n, count, i, j
    if n_outer == 0 or g.gaps:
        multiply_pixels(c, 0, stop - low, y + low * a.y_step, a.y_step)
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
                    weights[n] = c.packed + (c.taps[i] + phase + j * a.period) * tap_bytes
                    rows[n] = <const char*> c.tap_rows[i] + (q - j * a.shift) * a.x_step
                    n += 1
            multiply_pixels(
                c, n, count, y + result_at(a, q, phase) * a.y_step, a.stride * a.y_step)
            q += count


cdef void run_pixelwise(const Call* c, Py_ssize_t task) noexcept nogil:
    """Some rows of one image's result, or a part of one."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = pixel_axis(g)
    cdef Py_ssize_t n_axes = g.n_outer - 1 if g.by_batch else g.n_outer, n, i, rest, low, most
    cdef PixelPart part = pixel_part(g, task)
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
            most = max(
                a.stride * (1 if one_channel(g) else LEAST_PIXELS),
                NEAR_BYTES * a.stride // (max(n, 1) * g.groups * g.c_in * g.size))
        while low < part.stop:
            run_pixels(c, y, n, low, min(low + most, part.stop))
            low += most
    if g.streamed:
        stream_fence()
