"""The driver of the direct method: packs the weights, then runs tasks in one team of threads.

Nothing here checks an argument or allocates memory: scratch comes with the call, sized by the plan.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memcpy, memset

from fastconv._arith cimport ceil_div, clip, floor_div
from fastconv._memory cimport Buffer, aligned, fenv_t, kernel_table, leave_fenv, enter_fenv
from fastconv._plan cimport Geometry, Plan
from fastconv._types cimport (
    MAX_AXES, Axis, KernelTable, Run, class_first, class_size, log2_height, panel_height,
    phase_taps,
)

cdef enum:
    RUNS = 256            # runs of weights or of pixels that are packed at a time
    TAPS = 64             # taps of the kernel whose places are worked out at a time
    PACK_CHANNELS = 64    # input channels that one packing task takes


cdef struct Call:
    const Geometry* g
    const KernelTable* k
    int code              # row of _dtypes.TYPES
    const char* x
    const char* w
    const char* bias
    char* y
    char* packed
    char* relaid          # x with the batch innermost, where lanes run along it
    char* rows            # the parts of the worker's scratch
    char* acc
    Py_ssize_t* taps
    const void** tap_rows
    const void** sources
    char* source_bias
    char* zeros


# One place in the loops of a task.
cdef struct Place:
    Py_ssize_t image, group
    Py_ssize_t q[MAX_AXES]
    Py_ssize_t lane_lo, lane_hi
    Py_ssize_t row_lo, row_hi
    Py_ssize_t tile_lane                 # lane of the tile that a store starts at
    Py_ssize_t channel_0, channels       # block of output channels of the group
    Py_ssize_t set
    Py_ssize_t first[MAX_AXES]           # of the set's classes: the first phase,
    Py_ssize_t size[MAX_AXES]            # how many phases,
    Py_ssize_t taps[MAX_AXES]            # and how many taps each has
    Py_ssize_t phases, set_taps          # products of size and of taps
    Py_ssize_t flat_lo, flat_hi          # rows of a flat task that have a result of the set
    Py_ssize_t n_rows                    # outer taps inside the input
    char* y                              # image and block of channels


# ------------------------------------------------------------------------------- weights

# Where a tap of the kernel goes: the same for all channels of a block.
cdef struct TapPlace:
    Py_ssize_t src                # offset of the tap in the weights of one pair of channels
    Py_ssize_t base               # start of the panels of its set and class of the lane axis
    Py_ssize_t taps               # of that class
    Py_ssize_t tap                # its number among them
    Py_ssize_t row                # of the first output channel; the others follow
    Py_ssize_t rows


cdef void place_tap(
        const Geometry* g, Py_ssize_t outer_tap, Py_ssize_t t, Py_ssize_t n_co,
        TapPlace* place) noexcept nogil:
    """Work out `place` for a tap of the outer axes and tap `t` of the lane axis."""
    cdef Py_ssize_t i, k, cls, phase, j, size, count, lane_taps
    cdef Py_ssize_t set_index = 0, set_step = 1, p = 0, phases = 1, tap = 0, n_taps = 1
    cdef const Axis* a
    place.src = t * g.w_lane
    for i in range(g.n_outer - 1, -1, -1):
        a = &g.outer[i]
        k = outer_tap % a.kernel
        outer_tap //= a.kernel
        place.src += k * g.w_outer[i]
        phase = k % a.period
        j = k // a.period
        cls = phase
        if a.merged:
            cls = 1 if phase >= class_size(a, 0) else 0
        size = class_size(a, cls)
        count = phase_taps(a, phase)
        set_index += cls * set_step
        set_step *= a.n_classes
        p += (phase - class_first(a, cls)) * phases
        phases *= size
        tap += j * n_taps
        n_taps *= count
    place.base = n_co * g.components * g.c_in * g.set_taps[set_index]
    phase = t % g.lane.period
    j = t // g.lane.period
    size = class_size(&g.lane, 0)
    lane_taps = g.lane.max_taps
    if phase >= size:
        place.base += n_co * g.components * g.c_in * phases * n_taps * size * lane_taps
        phase -= size
        size = g.lane.n_phases - size
        lane_taps -= 1
    place.taps = n_taps * lane_taps
    place.tap = tap * lane_taps + j
    place.row = (phase * phases + p) * n_co * g.components
    place.rows = size * phases * n_co * g.components


cdef struct Panel:
    Py_ssize_t start, height


cdef inline Panel panel_of(Py_ssize_t row, Py_ssize_t rows, Py_ssize_t tallest) noexcept nogil:
    """The panel that a row is in: panels of the tallest tile, then of powers of two."""
    cdef Panel panel
    panel.height = tallest
    panel.start = row // tallest * tallest
    while panel.height > rows - panel.start:
        panel.height >>= 1
        if row >= panel.start + panel.height and panel.height <= rows - panel.start:
            panel.start += panel.height
    return panel


cdef bint pack_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """Pack some input channels of one block of output channels; whether Inf or NaN was seen.

    Panels lie in the order (group, block of channels, set, class of the lane axis, panel of rows);
    a panel is [outer tap][lane tap][input channel][row]. Rows are (lane phase, outer phase,
    output channel, component).
    """
    cdef const Geometry* g = c.g
    cdef TapPlace places[TAPS]
    cdef Run runs[RUNS]
    cdef const TapPlace* place
    cdef const TapPlace* next_place
    cdef Run* run
    cdef Panel panel
    cdef Py_ssize_t parts = ceil_div(g.c_in, PACK_CHANNELS)
    cdef Py_ssize_t ci = task % parts * PACK_CHANNELS
    cdef Py_ssize_t block = task // parts % g.n_channel_blocks
    cdef Py_ssize_t group = task // parts // g.n_channel_blocks
    cdef Py_ssize_t channels = min(PACK_CHANNELS, g.c_in - ci)
    cdef Py_ssize_t co_0 = block * g.channel_block
    cdef Py_ssize_t n_co = min(g.channel_block, g.c_out - co_0)
    cdef const char* src = c.w + (group * g.c_in + ci) * g.w_in + co_0 * g.w_out
    cdef char* dst = c.packed + (group * g.c_out + co_0) * g.taps * g.c_in * g.components * g.size
    cdef Py_ssize_t first = 0, n, e, i, co, row, end, n_runs = 0
    # A run goes along the output channels, or along the taps where there are few channels.
    cdef bint by_tap = n_co < 4
    cdef bint bad = False
    while first < g.taps:
        n = min(TAPS, g.taps - first)
        for e in range(n):
            place_tap(
                g, (first + e) // g.lane.kernel, (first + e) % g.lane.kernel, n_co, &places[e])
        i = 0
        while i < n * n_co:
            co = i // n if by_tap else i % n_co
            e = i % n if by_tap else i // n_co
            place = &places[e]
            row = place.row + co * g.components
            panel = panel_of(row, place.rows, g.height)
            end = panel.start + panel.height
            run = &runs[n_runs]
            run.src = place.src + co * g.w_out
            run.dst = (
                place.base + panel.start * place.taps * g.c_in
                + (place.tap * g.c_in + ci) * panel.height + row - panel.start
            )
            run.height = panel.height
            run.count = 1
            if by_tap:
                run.src_step = g.w_lane
                run.dst_step = 0
                next_place = place + 1
                if e + 1 < n:
                    run.dst_step = next_place.row - place.row
                while (
                    run.dst_step > 0 and e + run.count < n and next_place.tap == place.tap
                    and next_place.base == place.base
                    and next_place.row == place.row + run.count * run.dst_step
                    and row + run.count * run.dst_step < end
                    and next_place.src == place.src + run.count * g.w_lane
                ):
                    run.count += 1
                    next_place += 1
            else:
                run.src_step = g.w_out
                run.dst_step = g.components
                run.count = min(n_co - co, (end - row) // g.components)
            i += run.count
            n_runs += 1
            if n_runs == RUNS:
                bad |= c.k.pack[c.code](
                    src, g.w_in, channels, g.components, runs, n_runs, dst)
                n_runs = 0
        first += n
    if n_runs:
        bad |= c.k.pack[c.code](src, g.w_in, channels, g.components, runs, n_runs, dst)
    return bad


# ------------------------------------------------------------------------------- input rows

cdef void relay_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """Lay one channel's pixels out as [group, pixel][channel][component][image], some rows."""
    cdef const Geometry* g = c.g
    cdef const Axis* last = &g.outer[g.n_outer - 1]
    cdef Run runs[RUNS]
    cdef Py_ssize_t lines = 1, i, part, rest, line, first, channel, per_task, n_runs = 0
    for i in range(g.n_outer - 1):
        lines *= g.outer[i].n_in
    per_task = RUNS // g.components
    first = task % ceil_div(lines, per_task) * per_task
    channel = task // ceil_div(lines, per_task)
    for line in range(first, min(first + per_task, lines)):
        for part in range(g.components):
            rest = line
            runs[n_runs].src = part * (g.element // g.components)
            for i in range(g.n_outer - 2, -1, -1):
                runs[n_runs].src += rest % g.outer[i].n_in * g.outer[i].x_step
                rest //= g.outer[i].n_in
            runs[n_runs].src_step = last.x_step
            runs[n_runs].dst = line * last.n_in * g.pixel_step + part * g.pitch
            runs[n_runs].dst_step = g.pixel_step
            runs[n_runs].height = 1
            runs[n_runs].count = last.n_in
            n_runs += 1
    c.k.pack[c.code](
        c.x + channel * g.x_channel, g.lane.x_step, g.lane.n_in, 1, runs, n_runs,
        c.relaid + (
            channel // g.c_in * lines * last.n_in * g.pixel_step
            + channel % g.c_in * g.components * g.pitch
        ) * g.size,
    )


cdef void load_rows(
        const Call* c, const Place* p, Py_ssize_t row_hi, Py_ssize_t ci,
        Py_ssize_t channels) noexcept nogil:
    """Read the rows of x that rows [p.row_lo, row_hi) of a task need, with zeros beyond the ends.

    Row slot s, for each combination of taps of the other axes, holds input row
    row_lo + (s - (max_taps - 1)) * shift, lanes [lane_lo - span, lane_hi); where rows are flat,
    the slots follow each other, `span` zeros before, between and behind them.
    """
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1
    cdef const Axis* rows = &g.outer[last]
    cdef Py_ssize_t start = max(0, p.lane_lo - g.lane.span)
    cdef Py_ssize_t n = min(g.lane.n_in, p.lane_hi) - start
    cdef Py_ssize_t before = start - (p.lane_lo - g.lane.span)
    cdef Py_ssize_t slots = row_hi - p.row_lo + rows.max_taps - 1
    cdef Py_ssize_t width = g.pitch, slot_step = g.depth_block * g.components * g.pitch
    cdef Py_ssize_t combination_step = g.row_slots * slot_step
    cdef Py_ssize_t combinations = 1, combination, rest, i, j, at, r, s, count, lead
    cdef const char* src
    cdef bint inside
    if g.flat:
        combination_step = slot_step
        slot_step = g.row_pitch
        start = 0
        n = g.lane.n_in
    for i in range(last):
        combinations *= g.outer[i].max_taps
    for combination in range(combinations):
        rest = combination
        inside = True
        src = c.x + (
            p.image * g.x_image + (p.group * g.c_in + ci) * g.x_channel + start * g.lane.x_step)
        for i in range(last - 1, -1, -1):
            j = rest % g.outer[i].max_taps
            rest //= g.outer[i].max_taps
            at = p.q[i] - j * g.outer[i].shift
            if at < 0 or at >= g.outer[i].n_in:
                inside = False
                break
            src += at * g.outer[i].x_step
        if not inside:
            continue
        for s in range(slots):
            r = p.row_lo + (s - (rows.max_taps - 1)) * rows.shift
            count = n if 0 <= r < rows.n_in else 0
            lead = 0
            at = combination * combination_step + s * slot_step
            if g.flat:
                # The zeros before the first row, and those behind the last up to the end.
                width = g.row_pitch
                if s == 0:
                    lead = g.lane.span
                    width += lead
                else:
                    at += g.lane.span
                if s == slots - 1:
                    width = g.pitch - s * slot_step - (g.lane.span if s else 0)
            else:
                lead = before
                if not count:
                    continue
            c.k.load[c.code](
                src + (r * rows.x_step if count else 0), g.x_channel, g.lane.x_step,
                g.element // g.components, channels, g.components, count, lead, width, g.pitch,
                c.rows + at * g.size,
            )


# ------------------------------------------------------------------------------- one set

cdef bint enter_set(const Call* c, Place* p) noexcept nogil:
    """Fill in the set's classes and list its outer taps; whether it has any result here."""
    cdef const Geometry* g = c.g
    cdef const Axis* a
    cdef Py_ssize_t last = g.n_outer - 1
    cdef Py_ssize_t slot_step = g.depth_block * g.components * g.pitch
    cdef Py_ssize_t combination_step = g.row_slots * slot_step
    cdef Py_ssize_t rest = p.set, i, cls, low, high, f, total = 1, n, j, tap, at
    cdef Py_ssize_t q_last
    cdef bint inside
    cdef Py_ssize_t j_lo[MAX_AXES]
    cdef Py_ssize_t j_count[MAX_AXES]
    p.phases = p.set_taps = 1
    for i in range(last, -1, -1):
        a = &g.outer[i]
        cls = rest % a.n_classes
        rest //= a.n_classes
        p.first[i] = class_first(a, cls)
        p.size[i] = class_size(a, cls)
        p.taps[i] = phase_taps(a, p.first[i])
        p.phases *= p.size[i]
        p.set_taps *= p.taps[i]
        # The phases of a class are `dilation` apart: is one of them inside the window?
        inside = False
        q_last = p.row_hi - 1 if g.flat and i == last else p.q[i]
        for j in range(p.q[i], q_last + 1):
            f = j * a.stride + p.first[i] * a.dilation - a.crop
            low = max(0, ceil_div(-f, a.dilation))
            if low < p.size[i] and f + low * a.dilation < a.n_out:
                if i == last:
                    p.flat_lo = p.flat_lo if inside else j
                    p.flat_hi = j + 1
                inside = True
        if not inside:
            return False
        j_lo[i] = max(0, ceil_div(p.q[i] - a.n_in + 1, a.shift))
        high = min(p.taps[i] - 1, q_last // a.shift)
        j_count[i] = max(0, high - j_lo[i] + 1)
        total *= j_count[i]
    if g.flat:
        combination_step = slot_step
        slot_step = g.row_pitch
    p.n_rows = total
    for n in range(total):
        rest = n
        tap = at = 0
        low = high = 1
        for i in range(last, -1, -1):
            a = &g.outer[i]
            j = j_lo[i] + rest % j_count[i]
            rest //= j_count[i]
            tap += j * low
            low *= p.taps[i]
            if g.by_batch:
                at += (p.q[i] - j * a.shift) * high * g.pixel_step
                high *= a.n_in
            elif i == last:
                at += (p.q[i] - p.row_lo + a.max_taps - 1 - j) * slot_step
            else:
                at += j * high * combination_step
                high *= a.max_taps
        c.taps[n] = tap
        if g.by_batch:
            c.tap_rows[n] = c.relaid + (at + p.group * high * g.pixel_step) * g.size
        else:
            c.tap_rows[n] = c.rows + at * g.size
    return True


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


cdef inline void run_tile(
        const Call* c, const Place* p, Py_ssize_t panel, Py_ssize_t height, Py_ssize_t vectors,
        Py_ssize_t lane_taps, Py_ssize_t lane, Py_ssize_t ci, Py_ssize_t channels,
        char* acc) noexcept nogil:
    """All taps of one panel against one tile of lanes, for some of the input channels."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t at = g.lane.span + lane
    if g.by_batch:
        # x laid out anew holds all lanes and all channels.
        at = p.lane_lo + lane + ci * g.components * g.pitch
    c.k.tile[g.compute][log2_height(height)][vectors - 1](
        c.packed + (panel + ci * height) * g.size, g.c_in * height, c.taps, c.tap_rows, p.n_rows,
        lane_taps, g.lane.shift, at, channels, g.pitch, g.components, acc, ci > 0,
    )


cdef void run_together(
        const Call* c, Place* p, Py_ssize_t lane, Py_ssize_t vectors, Py_ssize_t ci,
        Py_ssize_t channels, char* acc) noexcept nogil:
    """All panels of a set against one tile of lanes; their accumulators follow each other."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t row_bytes = vectors * g.vector * g.size
    cdef Py_ssize_t cls, lane_taps, rows, row, height
    cdef Py_ssize_t panel = panel_start(c, p)
    for cls in range(g.lane.n_classes):
        lane_taps = phase_taps(&g.lane, class_first(&g.lane, cls))
        rows = p.channels * p.phases * class_size(&g.lane, cls) * g.components
        row = 0
        while row < rows:
            height = panel_height(g.height, rows - row)
            run_tile(c, p, panel, height, vectors, lane_taps, lane, ci, channels, acc)
            panel += height * p.set_taps * lane_taps * g.c_in
            acc += height * row_bytes
            row += height


cdef void run_apart(
        const Call* c, Place* p, Py_ssize_t lane, Py_ssize_t n,
        Py_ssize_t vectors) noexcept nogil:
    """All panels of a set against one tile of lanes, each stored before the next one."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t cls, first, lane_taps, rows, row, height, ci, channels
    cdef Py_ssize_t panel = panel_start(c, p)
    for cls in range(g.lane.n_classes):
        first = class_first(&g.lane, cls)
        lane_taps = phase_taps(&g.lane, first)
        rows = p.channels * p.phases * class_size(&g.lane, cls) * g.components
        row = 0
        while row < rows:
            height = panel_height(g.height, rows - row)
            ci = 0
            while True:
                channels = min(g.depth_block, g.c_in - ci)
                load_part(c, p, ci, channels)
                run_tile(c, p, panel, height, vectors, lane_taps, lane, ci, channels, c.acc)
                ci += g.depth_block
                if ci >= g.c_in:
                    break
            store_runs(
                c, p, lane, n, vectors * g.vector * g.size, row, height, first)
            panel += height * p.set_taps * lane_taps * g.c_in
            row += height


cdef inline Py_ssize_t panel_start(const Call* c, const Place* p) noexcept nogil:
    """Where the panels of a set and block of channels start in the packed weights."""
    cdef const Geometry* g = c.g
    return (
        (p.group * g.c_out + p.channel_0) * g.taps + p.channels * g.set_taps[p.set]
    ) * g.c_in * g.components


cdef inline void load_part(
        const Call* c, const Place* p, Py_ssize_t ci, Py_ssize_t channels) noexcept nogil:
    """Read some input channels, where a task does not hold all at once."""
    if c.g.depth_block < c.g.c_in and not c.g.by_batch:
        load_rows(c, p, p.row_lo + 1, ci, channels)


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


cdef void run_set(const Call* c, Place* p) noexcept nogil:
    """All tiles of one set of outer phases at one place."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t lanes = p.lane_hi - p.lane_lo
    cdef Py_ssize_t lane = 0, n, left, vectors, ci, channels
    if g.flat:
        lane = (p.flat_lo - p.row_lo) * g.row_pitch
        lanes = (p.flat_hi - p.row_lo) * g.row_pitch
    while lane < lanes:
        # Tiles of one vector are the slowest: four vectors are two and two.
        left = ceil_div(lanes - lane, g.vector)
        vectors = ceil_div(left, ceil_div(left, 3))
        n = min(lanes - lane, vectors * g.vector)
        if not g.interleaved and not g.by_channel:
            run_apart(c, p, lane, n, vectors)
        else:
            ci = 0
            while True:
                channels = min(g.depth_block, g.c_in - ci)
                load_part(c, p, ci, channels)
                run_together(c, p, lane, vectors, ci, channels, c.acc)
                ci += g.depth_block
                if ci >= g.c_in:
                    break
            store_runs(c, p, lane, n, vectors * g.vector * g.size, 0, 0, 0)
        lane += n


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


cdef void run_gathered(const Call* c, Place* p) noexcept nogil:
    """All sets of a task, the results of whole rows collected before they are stored."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1
    cdef const Axis* rows = &g.outer[last]
    cdef Py_ssize_t lanes = p.lane_hi - p.lane_lo
    cdef Py_ssize_t lane, n, left, vectors, other, others, cls, row, row_bytes, ci
    cdef bint any_inside
    for other in range(g.n_sets // rows.n_classes):
        lane = 0
        while lane < lanes:
            left = ceil_div(lanes - lane, g.vector)
            vectors = ceil_div(left, ceil_div(left, 3))
            n = min(lanes - lane, vectors * g.vector)
            row_bytes = vectors * g.vector * g.size
            any_inside = False
            others = 1
            for row in range(p.row_lo, p.row_hi):
                for cls in range(rows.n_classes):
                    p.set = other * rows.n_classes + cls
                    p.q[last] = row
                    if not enter_set(c, p):
                        continue
                    any_inside = True
                    others = p.phases // p.size[last]
                    ci = 0
                    while True:
                        run_together(
                            c, p, lane, vectors, ci, min(g.depth_block, g.c_in - ci),
                            c.acc + (
                                ((row - p.row_lo) * rows.n_phases + p.first[last])
                                * others * p.channels * g.components * row_bytes
                            ))
                        ci += g.depth_block
                        if ci >= g.c_in:
                            break
            if any_inside:
                store_gathered(c, p, others, lane, n, row_bytes)
            lane += n


# ------------------------------------------------------------------------------- tasks

cdef void run_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """One block of rows and lanes of one image and group, for some blocks of channels."""
    cdef const Geometry* g = c.g
    cdef Place p
    cdef Py_ssize_t last = g.n_outer - 1, i, n, share, block, block_hi, row
    p.lane_lo = g.lane.q_lo + task % g.n_lane_blocks * g.lane_block
    p.lane_hi = min(p.lane_lo + g.lane_block, g.lane.q_hi)
    task //= g.n_lane_blocks
    p.row_lo = g.outer[last].q_lo + task % g.n_row_blocks * g.row_block
    p.row_hi = min(p.row_lo + g.row_block, g.outer[last].q_hi)
    task //= g.n_row_blocks
    for i in range(last - 1, -1, -1):
        n = g.outer[i].q_hi - g.outer[i].q_lo
        p.q[i] = g.outer[i].q_lo + task % n
        task //= n
    p.group = task % g.groups
    task //= g.groups
    p.image = task % g.images
    share = task // g.images
    if g.depth_block >= g.c_in and not g.by_batch:
        load_rows(c, &p, p.row_hi, 0, g.c_in)
    block = share * g.n_channel_blocks // g.channel_tasks
    block_hi = (share + 1) * g.n_channel_blocks // g.channel_tasks
    while block < block_hi:
        p.channel_0 = block * g.channel_block
        p.channels = min(g.channel_block, g.c_out - p.channel_0)
        p.y = c.y + (
            p.image * g.y_image + (p.group * g.c_out + p.channel_0) * g.y_channel
        )
        row = p.row_lo
        if g.gathered:
            run_gathered(c, &p)
            row = p.row_hi
        while row < p.row_hi:
            for p.set in range(g.n_sets):
                p.q[last] = row
                if enter_set(c, &p):
                    run_set(c, &p)
            row += g.row_block if g.flat else 1
        block += 1


cdef void fill_task(const Call* c, Py_ssize_t first, Py_ssize_t stop) noexcept nogil:
    """Bias for rows [first, stop) of the result along the lane axis, over images and channels."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t row, rest, i, channel, u, part, width = 3 * g.vector
    cdef const void* zeros[2]
    cdef char* y
    for part in range(2):
        zeros[part] = c.zeros
    for row in range(first, stop):
        rest = row
        y = c.y
        for i in range(g.n_outer - 1, -1, -1):
            y += rest % g.outer[i].n_out * g.outer[i].y_step
            rest //= g.outer[i].n_out
        channel = rest % (g.groups * g.c_out)
        y += channel * g.y_channel + rest // (g.groups * g.c_out) * g.y_image
        u = 0
        while u < g.lane.n_out:
            c.k.store[c.code](
                zeros, c.bias + channel * g.components * g.size, g.components, 0,
                min(width, g.lane.n_out - u), y + u * g.lane.y_step, g.lane.y_step,
                g.element // g.components,
            )
            u += width


cdef void lay_out(Call* c, char* scratch) noexcept nogil:
    """Point to the parts of one worker's scratch."""
    cdef const Geometry* g = c.g
    cdef const Axis* rows = &g.outer[g.n_outer - 1]
    cdef Py_ssize_t taps = rows.max_taps, sources, i
    for i in range(g.n_outer - 1):
        taps *= g.outer[i].max_taps
    sources = max(g.lane.n_phases, g.channel_block)
    if g.gathered:
        sources = max(sources, g.row_block * rows.stride)
    sources *= g.components
    c.rows = scratch
    c.acc = scratch + g.rows_bytes
    c.taps = <Py_ssize_t*> (c.acc + g.acc_bytes)
    c.tap_rows = <const void**> (c.taps + taps)
    c.sources = c.tap_rows + taps
    c.zeros = <char*> (c.sources + sources)
    c.source_bias = c.zeros + 3 * g.vector * g.size


def pack(Plan plan, kernels, int code, w, packed):
    """Pack the weights `w` into the buffer `packed`; whether one of them is Inf or NaN."""
    cdef Call call
    cdef Py_ssize_t tasks, task, workers = plan.g.workers
    cdef int bad = 0
    cdef Buffer w_buffer = Buffer(w, False)
    cdef Buffer packed_buffer = Buffer(packed, True)
    call.g = &plan.g
    call.k = kernel_table(kernels)
    call.code = code
    call.w = <const char*> w_buffer.view.buf
    call.packed = aligned(<char*> packed_buffer.view.buf)
    tasks = (
        plan.g.groups * plan.g.n_channel_blocks
        * ((plan.g.c_in + PACK_CHANNELS - 1) // PACK_CHANNELS)
    )
    with nogil:
        if workers == 1 or tasks == 1:
            for task in range(tasks):
                bad += pack_task(&call, task)
        else:
            for task in prange(tasks, num_threads=workers, schedule="dynamic"):
                bad += pack_task(&call, task)
    return bad != 0


cdef enum Stage:
    RELAY
    FILL
    COMPUTE


cdef void run_stage_task(
        const Call* call, Stage stage, char* scratch, Py_ssize_t task, Py_ssize_t per_fill,
        Py_ssize_t fills) noexcept nogil:
    """One task of a stage with the scratch of the worker that took it."""
    cdef Call mine = call[0]
    cdef fenv_t caller
    enter_fenv(&caller)
    lay_out(&mine, scratch)
    if stage == RELAY:
        relay_task(&mine, task)
    elif stage == FILL:
        memset(mine.zeros, 0, 3 * mine.g.vector * mine.g.size)
        fill_task(&mine, task * per_fill, min((task + 1) * per_fill, fills))
    else:
        run_task(&mine, task)
    leave_fenv(&caller)


def run(Plan plan, kernels, int code, x, packed, bias, y, relaid, scratch):
    """Compute `y` from `x` and packed weights; `bias` holds numbers of the compute type."""
    cdef Call call
    cdef const Geometry* g = &plan.g
    cdef Py_ssize_t task, tasks = g.tasks, workers = g.workers, i
    cdef Py_ssize_t bytes = g.rows_bytes + g.acc_bytes + g.list_bytes
    cdef Py_ssize_t fills = 0, per_fill = 0, fill_tasks = 0
    cdef Buffer x_buffer = Buffer(x, False)
    cdef Buffer y_buffer = Buffer(y, True)
    cdef Buffer packed_buffer = Buffer(packed, False)
    cdef Buffer bias_buffer = Buffer(bias, False)
    cdef Buffer relaid_buffer = Buffer(relaid, True)
    cdef Buffer scratch_buffer = Buffer(scratch, True)
    cdef Py_ssize_t relays = 0, lines = 1
    cdef char* mine
    call.g = g
    call.k = kernel_table(kernels)
    call.code = code
    call.x = <const char*> x_buffer.view.buf
    call.y = <char*> y_buffer.view.buf
    call.packed = aligned(<char*> packed_buffer.view.buf)
    call.bias = <const char*> bias_buffer.view.buf
    mine = aligned(<char*> scratch_buffer.view.buf)
    if not g.complete:
        fills = g.images * g.groups * g.c_out
        for i in range(g.n_outer):
            fills *= g.outer[i].n_out
        per_fill = max(1, fills // (8 * workers))
        fill_tasks = (fills + per_fill - 1) // per_fill
    call.relaid = aligned(relaid_buffer.view.buf)
    if g.by_batch:
        for i in range(g.n_outer - 1):
            lines *= g.outer[i].n_in
        relays = g.groups * g.c_in * ceil_div(lines, RUNS // g.components)
    with nogil:
        if workers == 1:
            for task in range(relays):
                run_stage_task(&call, RELAY, mine, task, 0, 0)
            for task in range(fill_tasks):
                run_stage_task(&call, FILL, mine, task, per_fill, fills)
            for task in range(tasks):
                run_stage_task(&call, COMPUTE, mine, task, 0, 0)
        else:
            with parallel(num_threads=workers):
                for task in prange(relays, schedule="static"):
                    run_stage_task(&call, RELAY, mine + threadid() * bytes, task, 0, 0)
                for task in prange(fill_tasks, schedule="dynamic"):
                    run_stage_task(
                        &call, FILL, mine + threadid() * bytes, task, per_fill, fills)
                for task in prange(tasks, schedule="dynamic"):
                    run_stage_task(&call, COMPUTE, mine + threadid() * bytes, task, 0, 0)
