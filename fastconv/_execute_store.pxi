# How accumulators get into the result. Part of _execute.pyx.

cdef bint outer_result(const Call* c, const Place* p, Py_ssize_t phase, char** y) noexcept nogil:
    """Where outer phase `phase` of the set writes; False if outside of the window."""
    cdef const Axis* a
    cdef Py_ssize_t i, o
    y[0] = p.y
    for i in range(c.g.n_outer - 1, -1, -1):
        a = &c.g.outer[i]
        o = p.q[i] * a.stride + (p.first[i] + phase % p.size[i]) * a.dilation - a.crop
        phase //= p.size[i]
        if o < 0 or o >= a.n_out:
            return False
        y[0] += o * a.y_step
    return True


cdef inline const char* acc_row(
        const Call* c, const Place* p, Py_ssize_t channel, Py_ssize_t phase, Py_ssize_t lane_phase,
        Py_ssize_t row_bytes) noexcept nogil:
    """The accumulators of one result phase: its first component."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t n_class = class_size(&g.lane, 0), before = 0
    if lane_phase >= n_class:
        before = p.channels * p.phases * n_class
        lane_phase -= n_class
    return c.acc + (
        (before + (lane_phase * p.phases + phase) * p.channels + channel)
        * g.components * row_bytes
    )


cdef void store_interleaved(
        const Call* c, const Place* p, Py_ssize_t q, Py_ssize_t n,
        Py_ssize_t row_bytes) noexcept nogil:
    """Store a tile whose lane phases are neighbours: whole runs of the result."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t stride = g.lane.stride, parts = g.components
    cdef Py_ssize_t number = g.element // parts
    cdef bint dense = g.lane.y_step == g.element
    cdef Py_ssize_t channel, phase, r, part, u, r_lo, r_hi, count, at
    cdef Py_ssize_t full_lo = clip(ceil_div(g.lane.crop, stride) - q, 0, n)
    cdef Py_ssize_t full_hi = clip(
        floor_div(g.lane.n_out + g.lane.crop, stride) - q, full_lo, n)
    cdef Py_ssize_t lane_step = stride * g.lane.y_step
    cdef Py_ssize_t source_step = number if dense else g.lane.y_step
    cdef const char* row
    cdef const char* bias
    cdef char* y
    cdef char* to
    # Complex numbers are interleaved too where they are dense, else each part by itself.
    cdef Py_ssize_t calls = 1 if dense else parts
    cdef Py_ssize_t width = parts // calls
    for channel in range(p.channels):
        bias = c.bias + (
            (p.group * g.c_out + p.channel_0 + channel) * parts * g.size)
        for phase in range(p.phases):
            if not outer_result(c, p, phase, &y):
                continue
            y += channel * g.y_channel + (q * stride - g.lane.crop) * g.lane.y_step
            for r in range(stride):
                row = acc_row(c, p, channel, phase, r, row_bytes)
                for part in range(parts):
                    at = r * parts + part if dense else part * stride + r
                    c.sources[at] = row + part * row_bytes
                    memcpy(c.source_bias + at * g.size, bias + part * g.size, g.size)
            for part in range(calls):
                to = y + part * number
                at = part * stride
                if full_hi > full_lo:
                    c.k.store[c.code](
                        c.sources + at, c.source_bias + at * g.size, stride * width,
                        p.tile_lane + full_lo, full_hi - full_lo,
                        to + full_lo * lane_step, lane_step, source_step,
                    )
                u = 0
                while u < n:
                    if u == full_lo:
                        u = full_hi
                        if u == n:
                            break
                    r_lo = max(0, g.lane.crop - (q + u) * stride)
                    r_hi = min(stride, g.lane.n_out + g.lane.crop - (q + u) * stride)
                    count = (r_hi - r_lo) * width
                    if count > 0:
                        c.k.store[c.code](
                            c.sources + (at + r_lo * width),
                            c.source_bias + (at + r_lo * width) * g.size, count, p.tile_lane + u, 1,
                            to + u * lane_step + r_lo * g.lane.y_step, lane_step, source_step,
                        )
                    u += 1


cdef void store_phase(
        const Call* c, const Place* p, Py_ssize_t phase, Py_ssize_t lane_phase, char* y,
        const void** sources, const char* bias, Py_ssize_t n_sources, Py_ssize_t q,
        Py_ssize_t n) noexcept nogil:
    """Store sources that are neighbours in the result, at the lanes inside the window."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t offset = q * g.lane.stride + lane_phase * g.lane.dilation - g.lane.crop
    cdef Py_ssize_t low = clip(ceil_div(-offset, g.lane.stride), 0, n)
    cdef Py_ssize_t high = clip(
        floor_div(g.lane.n_out - 1 - offset, g.lane.stride) + 1, low, n)
    if high > low:
        c.k.store[c.code](
            sources, bias, n_sources, p.tile_lane + low, high - low,
            y + (offset + low * g.lane.stride) * g.lane.y_step,
            g.lane.stride * g.lane.y_step, g.element // g.components,
        )


cdef void store_by_channel(
        const Call* c, const Place* p, Py_ssize_t q, Py_ssize_t n,
        Py_ssize_t row_bytes) noexcept nogil:
    """Store a tile into a result whose channels are neighbours."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t channel, phase, r, part
    cdef const char* row
    cdef const char* bias = c.bias + (p.group * g.c_out + p.channel_0) * g.components * g.size
    cdef char* y
    for phase in range(p.phases):
        if not outer_result(c, p, phase, &y):
            continue
        for r in range(g.lane.n_phases):
            for channel in range(p.channels):
                row = acc_row(c, p, channel, phase, r, row_bytes)
                for part in range(g.components):
                    c.sources[channel * g.components + part] = row + part * row_bytes
            store_phase(
                c, p, phase, r, y, c.sources, bias, p.channels * g.components, q, n)


cdef void store_panel(
        const Call* c, const Place* p, Py_ssize_t row_0, Py_ssize_t height, Py_ssize_t class_0,
        Py_ssize_t q, Py_ssize_t n, Py_ssize_t row_bytes) noexcept nogil:
    """Store the rows of one panel one by one."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t m, row, part, lane_phase, phase, channel
    cdef const void* source
    cdef char* y
    for m in range(height):
        row = row_0 + m
        part = row % g.components
        row //= g.components
        channel = row % p.channels
        row //= p.channels
        phase = row % p.phases
        lane_phase = class_0 + row // p.phases
        if outer_result(c, p, phase, &y):
            source = c.acc + m * row_bytes
            store_phase(
                c, p, phase, lane_phase,
                y + channel * g.y_channel + part * (g.element // g.components), &source,
                c.bias
                + ((p.group * g.c_out + p.channel_0 + channel) * g.components + part) * g.size,
                1, q, n)


cdef void store_runs(
        const Call* c, Place* p, Py_ssize_t lane, Py_ssize_t n, Py_ssize_t row_bytes,
        Py_ssize_t row_0, Py_ssize_t height, Py_ssize_t class_0) noexcept nogil:
    """Store lanes [lane, lane + n) of a task: a run for each row of the result they are in.

    `height` rows of one panel, from `row_0` on; or all that was accumulated, if it is 0.
    """
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1, done = 0, q, run
    while done < n:
        q = p.lane_lo + lane + done
        run = n - done
        if g.flat:
            q = (lane + done) % g.row_pitch
            p.q[last] = p.row_lo + (lane + done) // g.row_pitch
            run = min(run, g.row_pitch - q)
        p.tile_lane = done
        if height:
            store_panel(c, p, row_0, height, class_0, q, run, row_bytes)
        elif g.interleaved:
            store_interleaved(c, p, q, run, row_bytes)
        else:
            store_by_channel(c, p, q, run, row_bytes)
        done += run


cdef void store_gathered(
        const Call* c, const Place* p, Py_ssize_t other_phases, Py_ssize_t lane, Py_ssize_t n,
        Py_ssize_t row_bytes) noexcept nogil:
    """Store the rows that a task has collected: for each image, a run of each result row."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1
    cdef const Axis* rows = &g.outer[last]
    cdef Py_ssize_t low = max(0, p.row_lo * rows.stride - rows.crop)
    cdef Py_ssize_t high = min(rows.n_out, p.row_hi * rows.stride - rows.crop)
    cdef Py_ssize_t channel, other, rest, i, o, f, r, cls, at, part, position, number
    cdef const char* row
    cdef const char* bias
    cdef char* y
    cdef bint inside
    number = g.element // g.components
    for other in range(other_phases):
        rest = other
        inside = True
        y = p.y + (p.lane_lo + lane) * g.lane.y_step + low * rows.y_step
        for i in range(last - 1, -1, -1):
            position = p.q[i] * g.outer[i].stride - g.outer[i].crop
            position += (p.first[i] + rest % p.size[i]) * g.outer[i].dilation
            rest //= p.size[i]
            inside = inside and 0 <= position < g.outer[i].n_out
            y += position * g.outer[i].y_step
        if not inside:
            continue
        for channel in range(p.channels):
            bias = c.bias + (p.group * g.c_out + p.channel_0 + channel) * g.components * g.size
            at = 0
            for o in range(low, high):
                f = o + rows.crop
                r = f % rows.stride
                cls = r if not rows.merged else 1 if r >= class_size(rows, 0) else 0
                row = c.acc + (
                    (
                        ((f // rows.stride - p.row_lo) * rows.n_phases + class_first(rows, cls))
                        * other_phases
                        + other * class_size(rows, cls) + r - class_first(rows, cls)
                    ) * p.channels + channel
                ) * g.components * row_bytes
                for part in range(g.components):
                    c.sources[at] = row + part * row_bytes
                    memcpy(c.source_bias + at * g.size, bias + part * g.size, g.size)
                    at += 1
            c.k.store[c.code](
                c.sources, c.source_bias, at, 0, n, y + channel * g.y_channel, g.lane.y_step,
                number,
            )
