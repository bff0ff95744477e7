# How accumulators get into the result. Part of _execute.pyx.

cdef bint other_result(const Call* c, const Place* p, Py_ssize_t other, char** y) noexcept nogil:
    """Where phase `other` of all outer axes but the last writes; False if outside of the window."""
    cdef const Axis* a
    cdef Py_ssize_t i, o
    y[0] = p.y
    for i in range(c.g.n_outer - 2, -1, -1):
        a = &c.g.outer[i]
        o = result_at(a, p.q[i], p.first[i] + other % p.size[i])
        other //= p.size[i]
        if o < 0 or o >= a.n_out:
            return False
        y[0] += o * a.y_step
    return True


cdef bint outer_result(const Call* c, const Place* p, Py_ssize_t phase, char** y) noexcept nogil:
    """Where outer phase `phase` of the set writes; False if outside of the window."""
    cdef Py_ssize_t last = c.g.n_outer - 1
    cdef const Axis* a = &c.g.outer[last]
    cdef Py_ssize_t o = result_at(a, p.q[last], p.first[last] + phase % p.size[last])
    if o < 0 or o >= a.n_out or not other_result(c, p, phase // p.size[last], y):
        return False
    y[0] += o * a.y_step
    return True


cdef inline const char* acc_row(
        const Call* c, const Place* p, Py_ssize_t group, Py_ssize_t phase,
        Py_ssize_t lane_phase) noexcept nogil:
    """The accumulators of one result phase: the first component of the first channel."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t n_class = class_size(&g.lane, 0), before = 0
    if lane_phase >= n_class:
        before = p.channels * p.phases * n_class
        lane_phase -= n_class
    before += (lane_phase * p.phases + phase) * p.channels
    return c.acc + (group * g.group_rows + before * g.components) * g.acc_pitch * g.size


cdef inline void list_woven(
        const Call* c, const Place* p, Py_ssize_t phase, Py_ssize_t lane_phase, Py_ssize_t part,
        Py_ssize_t width, const void** sources) noexcept nogil:
    """The accumulators of so many parts of one result phase: of the groups' channels in turn."""
    cdef Py_ssize_t own = p.channels * c.g.components, group = part // own, at
    cdef Py_ssize_t row = c.g.acc_pitch * c.g.size
    cdef const char* first = acc_row(c, p, group, phase, lane_phase)
    part -= group * own
    for at in range(width):
        if part == own:
            part = 0
            first += c.g.group_rows * row
        sources[at] = first + part * row
        part += 1


cdef inline const char* block_bias(const Call* c, const Place* p) noexcept nogil:
    """Bias of the first channel of the first group's block."""
    return c.bias + (p.group * c.g.c_out + p.channel_0) * c.g.components * c.g.size


cdef void store_interleaved(
        const Call* c, const Place* p, Py_ssize_t q, Py_ssize_t n,
        Py_ssize_t turns) noexcept nogil:
    """Store lanes whose phases are neighbours, of one channel or of all: whole runs.

    So many turns of rows, a flat row's pitch apart, have the same lanes.
    """
    cdef const Geometry* g = c.g
    cdef Py_ssize_t stride = g.lane.stride
    cdef Py_ssize_t own = p.channels * g.components
    cdef Py_ssize_t parts = own * p.groups if g.woven else g.components
    cdef Py_ssize_t number = g.element // g.components
    cdef bint dense = g.woven or g.lane.y_step == g.element
    cdef double biases[MAX_WOVEN]
    cdef Py_ssize_t turn, phase, other, r, part, at
    # The lanes with a position inside of the window.
    cdef Py_ssize_t low = clip(floor_div(g.lane.crop, stride) - q, 0, n)
    cdef Py_ssize_t high = clip(ceil_div(g.lane.crop + g.lane.n_out, stride) - q, low, n)
    # Phases of the last outer axis that are neighbours there are rows of one turn.
    cdef Py_ssize_t last = g.n_outer - 1
    cdef const Axis* rows = &g.outer[last]
    cdef bint evenly = p.size[last] * rows.dilation == rows.stride
    cdef Py_ssize_t phases = p.size[last] if evenly else 1, step = rows.stride // phases, start
    cdef const char* bias = block_bias(c, p)
    cdef char* y
    # Complex numbers are interleaved too where they are dense, else each part by itself.
    cdef Py_ssize_t calls = 1 if dense else parts
    cdef Py_ssize_t width = parts // calls
    cdef Store s = one_row()
    if high == low:
        return
    s.n_sources = stride * width
    s.bias_mask = -1 if g.woven else width - 1
    s.bias_step = parts
    if g.woven:
        bias = <const char*> biases
        for r in range(stride):
            memcpy(<char*> biases + r * parts * g.size, block_bias(c, p), parts * g.size)
    else:
        s.groups, s.group_pitch = p.groups, g.group_rows * g.acc_pitch
        s.channels, s.pitch = p.channels, parts * g.acc_pitch
    s.phases = phases
    s.turn = g.row_pitch
    s.n = high - low
    s.skip = max(0, g.lane.crop - (q + low) * stride) * width
    s.cut = max(0, (q + high) * stride - g.lane.crop - g.lane.n_out) * width
    s.channel_step = g.y_channel
    s.row_step = step * rows.y_step
    s.lane_step = stride * g.lane.y_step
    s.source_step = number if dense else g.lane.y_step
    s.streamed = g.streamed
    for turn in range(p.phases // phases):
        phase = turn * phases
        # The rows inside of the window.
        start = result_at(rows, p.q[last], p.first[last] + phase % p.size[last])
        s.first = clip(ceil_div(-start, step), 0, turns * phases)
        s.rows = clip(floor_div(rows.n_out - 1 - start, step) + 1, s.first, turns * phases)
        s.rows -= s.first
        if s.rows == 0 or not other_result(c, p, phase // p.size[last], &y):
            continue
        y += (
            (start + s.first * step) * rows.y_step
            + ((q + low) * stride - g.lane.crop) * g.lane.y_step
        )
        s.at = p.tile_lane + low + s.first // phases * s.turn
        s.first %= phases
        for part in range(calls):
            for other in range(phases):
                for r in range(stride):
                    list_woven(
                        c, p, phase + other, r, part, width,
                        &c.sources[(other * stride + r) * width])
            c.k.store[c.code](c.sources, bias + part * g.size, y + part * number, &s)


cdef void store_phase(
        const Call* c, const Place* p, Py_ssize_t lane_phase, char* y, const void** sources,
        const char* bias, Py_ssize_t n_sources, Py_ssize_t q, Py_ssize_t n) noexcept nogil:
    """Store sources that are neighbours in the result, at the lanes inside the window."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t offset = result_at(&g.lane, q, lane_phase)
    cdef Py_ssize_t low = clip(ceil_div(-offset, g.lane.stride), 0, n)
    cdef Py_ssize_t high = clip(
        floor_div(g.lane.n_out - 1 - offset, g.lane.stride) + 1, low, n)
    cdef Store s = one_row()
    if high > low:
        s.n_sources = n_sources
        s.bias_mask = -1
        s.streamed = g.streamed
        s.at = p.tile_lane + low
        s.n = high - low
        s.lane_step = g.lane.stride * g.lane.y_step
        s.source_step = g.element // g.components
        c.k.store[c.code](
            sources, bias, y + (offset + low * g.lane.stride) * g.lane.y_step, &s)


cdef void store_by_channel(
        const Call* c, const Place* p, Py_ssize_t q, Py_ssize_t n) noexcept nogil:
    """Store lanes into a result whose channels are neighbours."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t own = p.channels * g.components, group, phase, r, source
    cdef const char* row
    cdef char* y
    for phase in range(p.phases):
        if not outer_result(c, p, phase, &y):
            continue
        for r in range(g.lane.n_phases):
            for group in range(p.groups):
                row = acc_row(c, p, group, phase, r)
                for source in range(own):
                    c.sources[group * own + source] = row + source * g.acc_pitch * g.size
            store_phase(c, p, r, y, c.sources, block_bias(c, p), p.groups * own, q, n)


cdef void store_panel(
        const Call* c, const Place* p, Py_ssize_t row_0, Py_ssize_t height, Py_ssize_t class_0,
        Py_ssize_t q, Py_ssize_t n) noexcept nogil:
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
            source = c.acc + m * g.acc_pitch * g.size
            store_phase(
                c, p, lane_phase,
                y + channel * g.y_channel + part * (g.element // g.components), &source,
                block_bias(c, p) + (channel * g.components + part) * g.size, 1, q, n)


cdef void store_runs(
        const Call* c, Place* p, Py_ssize_t lane, Py_ssize_t n, Py_ssize_t row_0,
        Py_ssize_t height, Py_ssize_t class_0) noexcept nogil:
    """Store lanes [lane, lane + n) of a task: a run for each row of the result they are in.

    `height` rows of one panel, from `row_0` on; or all that was accumulated, if it is 0.
    """
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1, done = 0, q, run, turns
    while done < n:
        q = p.lane_lo + lane + done
        run = n - done
        turns = 1
        if g.flat:
            q = (lane + done) % g.row_pitch
            p.q[last] = p.row_lo + (lane + done) // g.row_pitch
            run = min(run, g.row_pitch - q)
            if q == 0 and not height and (g.interleaved or g.woven):
                turns = max(1, (n - done) // g.row_pitch)
        p.tile_lane = done
        if height:
            store_panel(c, p, row_0, height, class_0, q, run)
        elif g.interleaved or g.woven:
            store_interleaved(c, p, q, run, turns)
        else:
            store_by_channel(c, p, q, run)
        done += turns * run


cdef inline char* gathered_at(
        const Call* c, const Place* p, Py_ssize_t other_phases, Py_ssize_t pixel,
        Py_ssize_t first) noexcept nogil:
    """Accumulators of a pixel of a task's row, from the class on whose first phase is `first`.

    Those of the next pixel follow behind all phases, or as lanes.
    """
    cdef const Geometry* g = c.g
    cdef Py_ssize_t row = first, lane = 0
    if g.strung:
        lane = pixel * g.lane.n_in
    else:
        row += pixel * g.outer[g.n_outer - 1].n_phases
    row *= other_phases * p.channels * g.components
    return c.acc + (row * g.acc_pitch + lane) * g.size


cdef void store_gathered(
        const Call* c, const Place* p, Py_ssize_t other_phases, Py_ssize_t lane,
        Py_ssize_t n) noexcept nogil:
    """Store the rows that a task has collected: for each image, a run of each result row."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1
    cdef const Axis* rows = &g.outer[last]
    cdef Py_ssize_t low = max(0, p.row_lo * rows.stride - rows.crop)
    cdef Py_ssize_t high = min(rows.n_out, p.row_hi * rows.stride - rows.crop)
    cdef Py_ssize_t row_bytes = g.acc_pitch * g.size
    cdef Py_ssize_t other, rest, i, o, f, r, cls, part, position
    cdef const char* row
    cdef char* y
    cdef bint inside
    cdef Store s = one_row()
    s.bias_mask = g.components - 1
    s.bias_step = g.components
    s.channels = p.channels
    s.pitch = g.components * g.acc_pitch
    s.n = n
    s.channel_step = g.y_channel
    s.lane_step = g.lane.y_step
    s.source_step = g.element // g.components
    for other in range(other_phases):
        rest = other
        inside = True
        y = p.y + (p.lane_lo + lane) * g.lane.y_step + low * rows.y_step
        for i in range(last - 1, -1, -1):
            position = result_at(&g.outer[i], p.q[i], p.first[i] + rest % p.size[i])
            rest //= p.size[i]
            inside = inside and 0 <= position < g.outer[i].n_out
            y += position * g.outer[i].y_step
        if not inside:
            continue
        s.n_sources = 0
        for o in range(low, high):
            f = o + rows.crop
            r = f % rows.stride
            cls = r if not rows.merged else 1 if r >= class_size(rows, 0) else 0
            row = gathered_at(
                c, p, other_phases, f // rows.stride - p.row_lo, class_first(rows, cls))
            row += (
                other * class_size(rows, cls) + r - class_first(rows, cls)
            ) * p.channels * g.components * row_bytes
            for part in range(g.components):
                c.sources[s.n_sources] = row + part * row_bytes
                s.n_sources += 1
        c.k.store[c.code](c.sources, block_bias(c, p), y, &s)
