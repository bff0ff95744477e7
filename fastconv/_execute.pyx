"""The driver of the direct method: one team of threads packs the weights, then runs tasks.

Nothing here checks an argument; all scratch is allocated, as the plan has sized it, before the
first task begins.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memcpy, memset

from fastconv._arith cimport ceil_div, clip, floor_div, round_up
from fastconv._memory cimport Buffer, Memory, enter_fenv, fenv_t, kernel_table, leave_fenv
from fastconv._plan cimport Geometry, Plan, multiplies_zeros
from fastconv._prefetch cimport prefetch_result
from fastconv._stream cimport stream_fence
from fastconv._team cimport team_barrier
from fastconv._types cimport (
    LINE, MAX_AXES, MAX_WOVEN, PARTED, QUAD, SHARED, SHARED_BACK, TALL_VECTORS, Axis, KernelTable,
    Load, Panel, Product, Run, Stencil, Store, class_first, class_size, log2_height,
    longer_phases, one_row, panel_height, panel_of, phase_taps, tile_vectors, uneven,
)

cdef enum:
    RUNS = 256            # runs of weights that are packed at a time,
    FOUR = 4              # and taps of which the same columns follow each other there
    TAPS = 64             # taps of the kernel whose places are worked out at a time
    PACK_CHANNELS = 64    # input channels that one packing task takes,
    PACK_GROUPS = 16      # and groups
    TILED_CHANNELS = 32   # input channels that are read tile by tile at a time
    NEAR_BYTES = 1 << 14  # of x that stay in the first-level cache
    LEAST_PIXELS = 32     # that share what is read of the weights of a phase


# The lines that a strip is stored to and that are not asked for yet: parts of rows of channels.
cdef struct Ahead:
    Py_ssize_t share                     # lines for each tile; 0 if there are none
    Py_ssize_t bytes                     # of a row,
    Py_ssize_t row_step, rows            # rows of a channel,
    Py_ssize_t channel_step, channels    # and channels, with the one at hand
    const char* channel
    Py_ssize_t at, row                   # the next line of it


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
    bint* not_finite      # set once a weight is Inf or NaN
    Py_ssize_t fills      # rows of the result that start as bias,
    Py_ssize_t per_fill   # and how many of them are a task
    char* rows            # the parts of the worker's scratch
    char* acc
    Py_ssize_t* taps
    const void** tap_rows
    const void** sources
    Product* products
    char* zeros
    Ahead* ahead


include "_place.pxi"


cdef inline Py_ssize_t next_tile(
        const Geometry* g, Py_ssize_t lane, Py_ssize_t lanes) noexcept nogil:
    """Vectors of the tile that begins with this one of so many lanes, which are cut into strips."""
    return tile_vectors(
        min(lanes - lane, g.strip - lane % g.strip), g.vector, g.widest, g.height)


cdef inline Py_ssize_t equal_tiles(
        const Geometry* g, Py_ssize_t lane, Py_ssize_t lanes) noexcept nogil:
    """How many full tiles follow each other from this lane on, as wide as the first of them."""
    cdef Py_ssize_t vectors = next_tile(g, lane, lanes), width = vectors * g.vector, tiles = 1
    lane += width
    while lane + width <= lanes and next_tile(g, lane, lanes) == vectors:
        tiles += 1
        lane += width
    return tiles


include "_execute_pack.pxi"
include "_execute_load.pxi"
include "_execute_store.pxi"
include "_execute_ahead.pxi"


cdef inline Py_ssize_t first_tap(const Axis* a, Py_ssize_t q) noexcept nogil:
    """The first tap of a phase that reads inside of the input from here."""
    return max(0, ceil_div(q - a.n_in + 1, a.shift))


cdef inline Py_ssize_t last_tap(const Axis* a, Py_ssize_t q, Py_ssize_t taps) noexcept nogil:
    """The last of so many taps that does; before the first one if none does."""
    return min(taps - 1, floor_div(q, a.shift))


cdef inline Py_ssize_t tap_axis(const Geometry* g, Py_ssize_t number) noexcept nogil:
    """The outer axes in the order in which their taps follow each other in a sum."""
    cdef Py_ssize_t i = g.n_outer - number
    if number == 0:
        return g.inner
    return i - 1 if i <= g.inner else i


cdef inline Py_ssize_t repeat_taps(
        const Call* c, Py_ssize_t total, Py_ssize_t count, Py_ssize_t tap_step,
        Py_ssize_t row_step) noexcept nogil:
    """Add an axis with so many taps to a list: those of its first one are there; how many now."""
    cdef Py_ssize_t j, n
    for j in range(1, count):
        for n in range(total):
            c.taps[j * total + n] = c.taps[n] + j * tap_step
            c.tap_rows[j * total + n] = <const char*> c.tap_rows[n] + j * row_step
    return total * count


cdef bint list_taps(const Call* c, Place* p) noexcept nogil:
    """Enter the set and list its outer taps inside of the input; whether it has any result here."""
    cdef const Geometry* g = c.g
    cdef const Axis* a
    cdef Py_ssize_t last = g.n_outer - 1
    cdef Py_ssize_t slot_step = g.slot_step
    cdef Py_ssize_t combination_step = g.row_slots * slot_step
    cdef Py_ssize_t i, low, high, n, j, step, tap = 0, at = 0, total = 1
    cdef Py_ssize_t taps = 1, others = 1
    cdef Py_ssize_t count[MAX_AXES]      # taps of an axis inside of the input,
    cdef Py_ssize_t tap_step[MAX_AXES]   # and from one to the next in a panel
    cdef Py_ssize_t at_step[MAX_AXES]    # and in x
    p.inner = False
    p.listed = True
    if not enter_set(g, p):
        return False
    if g.flat:
        combination_step = slot_step
        slot_step = g.row_pitch
    for i in range(last, -1, -1):
        a = &g.outer[i]
        if i == last:
            low = result_at(a, p.q[i], p.first[i])
            high = result_at(a, p.q[i], p.first[i] + p.size[i] - 1)
            p.inner = (
                0 <= p.q[i] - (p.taps[i] - 1) * a.shift and p.q[i] < a.n_in
                and 0 <= low and high < a.n_out
            )
        j = first_tap(a, p.q[i])
        count[i] = max(0, last_tap(a, last_q(g, p, i), p.taps[i]) - j + 1)
        tap_step[i] = taps
        taps *= p.taps[i]
        if g.by_batch:
            step = g.pixel_step if i == last else others * g.pixel_row_step
            at += (p.q[i] - j * a.shift) * step
            # One tap may be any distance from the next.
            at_step[i] = -a.shift * step if count[i] > 1 else 0
            others *= 1 if i == last else a.n_in
        elif i == last:
            at_step[i] = -slot_step
            at += (p.q[i] - p.row_lo + a.max_taps - 1 - j) * slot_step
        else:
            at_step[i] = others * combination_step
            at += j * at_step[i]
            others *= a.max_taps
        tap += j * tap_step[i]
    if g.by_batch:
        c.tap_rows[0] = c.relaid + (at + p.group * others * g.pixel_row_step) * g.size
    else:
        c.tap_rows[0] = c.rows + at * g.size
    c.taps[0] = tap
    for n in range(g.n_outer):
        i = tap_axis(g, n)
        total = repeat_taps(c, total, count[i], tap_step[i], at_step[i] * g.size)
    p.n_rows = total
    return True


cdef bint next_row(const Call* c, Place* p) noexcept nogil:
    """What `list_taps` does, one row further on: most often only the rows of x move on."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1, n
    cdef const Axis* a = &g.outer[last]
    p.q[last] += 1
    if not (
        p.inner and not g.by_batch and p.q[last] < a.n_in
        and result_at(a, p.q[last], p.first[last] + p.size[last] - 1) < a.n_out
    ):
        return list_taps(c, p)
    for n in range(p.n_rows):
        c.tap_rows[n] = <const char*> c.tap_rows[n] + g.slot_step * g.size
    return True


# Outer taps of a panel that are inside of the input, and the rows of x that they read.
cdef struct Taps:
    const Py_ssize_t* taps
    const void* const* rows
    Py_ssize_t n_rows
    Py_ssize_t panel_taps            # all that the panel has


cdef inline Taps taps_of(const Call* c, const Place* p) noexcept nogil:
    """All outer taps of a set."""
    cdef Taps taps
    taps.taps, taps.rows, taps.n_rows, taps.panel_taps = c.taps, c.tap_rows, p.n_rows, p.set_taps
    return taps


cdef inline void run_tile(
        const Call* c, const Taps* taps, Py_ssize_t panel, Py_ssize_t height, Py_ssize_t vectors,
        Py_ssize_t lane_taps, Py_ssize_t lane, Py_ssize_t group, Py_ssize_t ci,
        Py_ssize_t channels, char* acc, bint accumulate, Py_ssize_t tiles) noexcept nogil:
    """All taps of one panel against some tiles of lanes, for some of the input channels."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t width = vectors * g.vector, pitch = width if g.tiled else g.pitch
    cdef Py_ssize_t step = g.c_in * g.components * width if g.tiled else width
    cdef Py_ssize_t at = lane * g.c_in * g.components if g.tiled else g.lane.span + lane
    if g.by_batch:
        # x laid out anew holds all channels.
        at += ci * g.components * pitch
    else:
        at += group * g.c_in * g.components * g.pitch
    ask_ahead(c.ahead)
    c.k.tile[g.compute][log2_height(height)][vectors - 1](
        c.packed + (panel + ci * height) * g.size, g.c_in * height, taps.taps, taps.rows,
        taps.n_rows, lane_taps, g.lane.shift, at, channels, pitch, g.components, acc,
        g.acc_pitch, accumulate, tiles, step, NULL,
    )


cdef Py_ssize_t run_panels(
        const Call* c, const Taps* taps, Py_ssize_t panel, Py_ssize_t rows, Py_ssize_t vectors,
        Py_ssize_t lane_taps, Py_ssize_t lane, Py_ssize_t group, Py_ssize_t ci,
        Py_ssize_t channels, char* acc, bint accumulate, Py_ssize_t tiles) noexcept nogil:
    """Panels of so many rows, one after the other; where the next one starts."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t height
    while rows > 0:
        height = panel_height(g.height, rows)
        run_tile(
            c, taps, panel, height, vectors, lane_taps, lane, group, ci, channels, acc,
            accumulate, tiles)
        panel += height * taps.panel_taps * lane_taps * g.c_in
        acc += height * g.acc_pitch * g.size
        rows -= height
    return panel


include "_execute_joined.pxi"
include "_execute_pixels.pxi"
include "_execute_stencil.pxi"


cdef void run_together(
        const Call* c, const Place* p, Py_ssize_t lane, Py_ssize_t vectors, Py_ssize_t tiles,
        char* first_acc) noexcept nogil:
    """All panels of a set against some tiles of lanes; their accumulators follow each other."""
    cdef const Geometry* g = c.g
    cdef const Axis* a = &g.lane
    cdef Taps taps = taps_of(c, p)
    cdef Py_ssize_t row_bytes = g.acc_pitch * g.size
    cdef Py_ssize_t own = p.channels * p.phases * g.components   # rows of a lane phase
    cdef Py_ssize_t group, cls, lane_taps, rows, panel, channels, ci = 0
    cdef char* acc
    if g.by_batch:
        lane += p.lane_lo
    while True:
        channels = min(g.depth_block, g.c_in - ci)
        load_part(c, p, ci, channels)
        for group in range(p.groups):
            panel = panel_start(c, p, group)
            acc = first_acc + group * g.group_rows * row_bytes
            if g.joined:
                run_joined(c, p, panel, vectors, lane, group, ci, channels, acc, tiles)
                continue
            for cls in range(a.n_classes):
                lane_taps = phase_taps(a, class_first(a, cls))
                rows = own * class_size(a, cls)
                panel = run_panels(
                    c, &taps, panel, rows, vectors, lane_taps, lane, group, ci, channels, acc,
                    ci > 0, tiles)
                acc += rows * row_bytes
        ci += g.depth_block
        if ci >= g.c_in:
            break


cdef void run_apart(
        const Call* c, Place* p, Py_ssize_t lane, Py_ssize_t n,
        Py_ssize_t vectors) noexcept nogil:
    """All panels of a set against one tile of lanes, each stored before the next one."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t cls, first, lane_taps, rows, row, height, ci, channels
    cdef Py_ssize_t panel = panel_start(c, p, 0), at = lane
    cdef Taps taps = taps_of(c, p)
    if g.by_batch:
        at += p.lane_lo
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
                run_tile(
                    c, &taps, panel, height, vectors, lane_taps, at, 0, ci, channels, c.acc,
                    ci > 0, 1)
                ci += g.depth_block
                if ci >= g.c_in:
                    break
            store_runs(c, p, lane, n, row, height, first)
            panel += height * p.set_taps * lane_taps * g.c_in
            row += height


cdef inline Py_ssize_t panel_start(
        const Call* c, const Place* p, Py_ssize_t group) noexcept nogil:
    """Where the panels of a set and block of channels start in the packed weights."""
    cdef const Geometry* g = c.g
    return (
        ((p.group + group) * g.c_out + p.channel_0) * g.taps + p.channels * g.set_taps[p.set]
    ) * g.c_in * g.components


cdef inline void load_part(
        const Call* c, const Place* p, Py_ssize_t ci, Py_ssize_t channels) noexcept nogil:
    """Read some input channels, where a task does not hold all at once."""
    if c.g.depth_block < c.g.c_in and not c.g.by_batch:
        load_rows(c, p, ci, channels)


cdef void run_set(const Call* c, Place* p) noexcept nogil:
    """All tiles of one set of outer phases at one place."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t lanes = p.lane_hi - p.lane_lo
    cdef Py_ssize_t lane = 0, n, done, vectors, width, tiles
    if g.flat:
        lane = (p.flat_lo - p.row_lo) * g.row_pitch
        lanes = (p.flat_hi - p.row_lo) * g.row_pitch
    while lane < lanes:
        n = min(lanes - lane, g.strip)
        done = 0
        if g.fetched:
            list_ahead(c, p, lane, n)
        while done < n:
            vectors = next_tile(g, done, n)
            width = vectors * g.vector
            tiles = 1
            if g.interleaved or g.by_channel:
                if g.by_panel:
                    tiles = equal_tiles(g, done, n)
                run_together(
                    c, p, lane + done, vectors, tiles, c.acc + done * g.size)
            else:
                run_apart(c, p, lane + done, min(n - done, width), vectors)
            done += tiles * width
        if g.interleaved or g.by_channel:
            store_runs(c, p, lane, n, 0, 0, 0)
        lane += n


cdef void run_gathered(const Call* c, Place* p) noexcept nogil:
    """All sets of a task, the results of whole rows collected before they are stored."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1
    cdef const Axis* rows = &g.outer[last]
    cdef Py_ssize_t lanes = p.lane_hi - p.lane_lo
    cdef Py_ssize_t lane, n, vectors, other, others, cls, row
    cdef bint any_inside
    for other in range(g.n_sets // rows.n_classes):
        lane = 0
        while lane < lanes:
            # No wider than the accumulators, which are sized for a full block of lanes.
            vectors = next_tile(g, lane, lanes)
            n = min(lanes - lane, vectors * g.vector)
            any_inside = False
            others = 1
            for row in range(p.row_lo, p.row_hi):
                for cls in range(rows.n_classes):
                    p.set = other * rows.n_classes + cls
                    p.q[last] = row
                    if not list_taps(c, p):
                        continue
                    any_inside = True
                    others = p.phases // p.size[last]
                    run_together(
                        c, p, lane, vectors, 1,
                        gathered_at(c, p, others, row - p.row_lo, p.first[last]))
            if any_inside:
                store_gathered(c, p, others, lane, n)
            lane += n


cdef Py_ssize_t same_taps(const Geometry* g, const Place* p) noexcept nogil:
    """Where the pixels of a row end that have the taps of this one."""
    cdef Py_ssize_t last = g.n_outer - 1, row = p.q[last] + 1
    cdef const Axis* a = &g.outer[last]
    cdef Py_ssize_t low = first_tap(a, p.q[last]), high = last_tap(a, p.q[last], p.taps[last])
    while (
        row < p.row_hi and first_tap(a, row) == low and last_tap(a, row, p.taps[last]) == high
    ):
        row += 1
    return row


cdef void run_strung(const Call* c, Place* p) noexcept nogil:
    """The same where pixels of a row follow each other as lanes: as many as have the same taps."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1, images = g.lane.n_in
    cdef const Axis* rows = &g.outer[last]
    cdef Py_ssize_t other, others, cls, row, stop, lane, lanes, vectors
    cdef char* acc
    cdef bint any_inside
    for other in range(g.n_sets // rows.n_classes):
        any_inside = False
        others = 1
        for cls in range(rows.n_classes):
            p.set = other * rows.n_classes + cls
            row = p.row_lo
            while row < p.row_hi:
                p.q[last] = row
                if not list_taps(c, p):
                    row += 1
                    continue
                any_inside = True
                others = p.phases // p.size[last]
                acc = gathered_at(c, p, others, row - p.row_lo, p.first[last])
                stop = same_taps(g, p)
                lanes = (stop - row) * images
                lane = 0
                # What the last tile has more is overwritten by that of the pixels that follow.
                while lane < lanes:
                    vectors = tile_vectors(lanes - lane, g.vector, g.widest, g.height)
                    run_together(c, p, lane, vectors, 1, acc + lane * g.size)
                    lane += vectors * g.vector
                row = stop
        if any_inside:
            store_gathered(c, p, others, 0, images)


cdef void run_rows(const Call* c, Place* p) noexcept nogil:
    """All sets of all rows of a task."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1, row = p.row_lo
    cdef bint inside, listed = False
    while row < p.row_hi:
        if shares_row(g, row):
            p.q[last] = row
            run_shared(c, p, listed)
            listed = True
            row += 1
            continue
        for p.set in range(g.n_sets):
            if g.n_sets == 1 and row > p.row_lo:
                inside = next_row(c, p)
            else:
                p.q[last] = row
                inside = list_taps(c, p)
            if inside and g.stencil:
                run_stencil(c, p)
            elif inside:
                run_set(c, p)
        row += g.row_block if g.flat else 1


cdef void run_task(const Call* c, Py_ssize_t task) noexcept nogil:
    """One block of rows and lanes of one image and some groups, for some blocks of channels."""
    cdef const Geometry* g = c.g
    cdef Place p
    cdef Py_ssize_t block
    enter_task(g, task, &p)
    if g.depth_block >= g.c_in and not g.by_batch:
        load_rows(c, &p, 0, p.groups * g.c_in)
    block = p.block_lo
    while block < p.block_hi:
        enter_block(g, block, &p)
        p.y = c.y + (
            p.image * g.y_image + (p.group * g.c_out + p.channel_0) * g.y_channel
        )
        if g.strung:
            run_strung(c, &p)
        elif g.gathered:
            run_gathered(c, &p)
        else:
            run_rows(c, &p)
        block += p.blocks
    if g.streamed:
        stream_fence()


cdef void fill_task(const Call* c, Py_ssize_t first, Py_ssize_t stop) noexcept nogil:
    """Bias for rows [first, stop) of the result along the lane axis, over images and channels."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t row, rest, i, channel, u, width = 3 * g.vector
    cdef const void* zeros[2]
    cdef char* y
    cdef Store s = one_row()
    zeros[0] = zeros[1] = c.zeros
    s.n_sources = g.components
    s.bias_mask = g.components - 1
    s.streamed = g.streamed
    s.lane_step = g.lane.y_step
    s.source_step = g.element // g.components
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
            s.n = min(width, g.lane.n_out - u)
            c.k.store[c.code](
                zeros, c.bias + channel * g.components * g.size, y + u * g.lane.y_step, &s)
            u += width
    if g.streamed:
        stream_fence()


cdef void lay_out(Call* c, char* scratch) noexcept nogil:
    """Point to the parts of one worker's scratch."""
    cdef const Geometry* g = c.g
    c.rows = scratch
    c.acc = scratch + g.rows_bytes
    c.products = <Product*> (c.acc + g.acc_bytes - g.products * sizeof(Product))
    c.taps = <Py_ssize_t*> (c.acc + g.acc_bytes)
    c.tap_rows = <const void**> (c.taps + g.list_taps)
    c.sources = c.tap_rows + g.list_taps
    c.zeros = <char*> (c.sources + g.list_sources)


cdef enum Stage:
    PACK
    RELAY
    FILL
    COMPUTE


cdef void run_stage_task(
        const Call* call, Stage stage, char* scratch, Py_ssize_t task) noexcept nogil:
    """One task of a stage with the scratch of the worker that took it."""
    cdef Call mine = call[0]
    cdef Ahead ahead
    ahead.share = 0
    mine.ahead = &ahead
    lay_out(&mine, scratch)
    if mine.g.pixelwise and stage == PACK:
        pack_pixels(&mine, task)
    elif mine.g.pixelwise:
        run_pixelwise(&mine, task)
    elif stage == PACK:
        if pack_task(&mine, task):
            mine.not_finite[0] = True
    elif stage == RELAY:
        relay_task(&mine, task)
    elif stage == FILL:
        memset(mine.zeros, 0, round_up(3 * mine.g.vector, QUAD) * mine.g.size)
        fill_task(&mine, task * mine.per_fill, min((task + 1) * mine.per_fill, mine.fills))
    else:
        run_task(&mine, task)


cdef void run_in_team(
        const Call* call, Stage stage, char* scratch, Py_ssize_t task) noexcept nogil:
    """The same on a thread of a team, which brings its own floating-point environment."""
    cdef fenv_t caller
    enter_fenv(&caller)
    run_stage_task(call, stage, scratch, task)
    leave_fenv(&caller)


def run(Plan plan, kernels, int code, x, w, bias, y):
    """Compute `y`, unless a weight is Inf or NaN and the plan needs finite ones.

    Parameters
    ----------
    plan : Plan
    kernels
        The table of an instruction set.
    code
        Row of `_dtypes.TYPES`.
    x, w, y : ndarray
        The canonical arrays that the plan was made for.
    bias : ndarray or None
        Contiguous numbers of the compute type.

    Returns
    -------
    bool
        Whether `y` was computed; nothing was written to it if not.
    """
    cdef Call call
    cdef const Geometry* g = &plan.g
    cdef Buffer x_buffer = Buffer(x, False)
    cdef Buffer w_buffer = Buffer(w, False)
    cdef Buffer y_buffer = Buffer(y, True)
    cdef Memory scratch = Memory(g.shared_bytes + g.workers * g.worker_bytes)
    cdef Buffer bias_buffer
    cdef Py_ssize_t task, i, packs, relays = 0, fills = 0
    cdef Py_ssize_t tasks = g.tasks, workers = g.workers, bytes = g.worker_bytes
    cdef char* mine = scratch.start + g.shared_bytes
    cdef bint not_finite = False, finite_only = multiplies_zeros(g)
    cdef fenv_t caller
    call.g = g
    call.k = kernel_table(kernels)
    call.code = code
    call.x = <const char*> x_buffer.view.buf
    call.w = <const char*> w_buffer.view.buf
    call.y = <char*> y_buffer.view.buf
    if bias is None:
        memset(scratch.start, 0, g.zeros_bytes)
        call.bias = scratch.start
    else:
        bias_buffer = Buffer(bias, False)
        call.bias = <const char*> bias_buffer.view.buf
    call.packed = scratch.start + g.zeros_bytes
    call.relaid = call.packed + g.packed_bytes
    call.not_finite = &not_finite
    packs = g.n_channel_blocks * ceil_div(g.c_in, PACK_CHANNELS) * ceil_div(g.groups, PACK_GROUPS)
    if g.pixelwise:
        packs = pixel_packs(g)
    elif g.by_batch:
        relays = relay_tasks(g)
    if not g.complete:
        call.fills = g.images * g.groups * g.c_out
        for i in range(g.n_outer):
            call.fills *= g.outer[i].n_out
        call.per_fill = max(1, call.fills // (8 * workers))
        fills = ceil_div(call.fills, call.per_fill)
    with nogil:
        if workers == 1:
            enter_fenv(&caller)
            for task in range(packs):
                run_stage_task(&call, PACK, mine, task)
            if not (finite_only and not_finite):
                for task in range(relays):
                    run_stage_task(&call, RELAY, mine, task)
                for task in range(fills):
                    run_stage_task(&call, FILL, mine, task)
                for task in range(tasks):
                    run_stage_task(&call, COMPUTE, mine, task)
            leave_fenv(&caller)
        else:
            with parallel(num_threads=workers):
                for task in prange(packs, schedule="dynamic"):
                    run_in_team(&call, PACK, mine + threadid() * bytes, task)
                team_barrier()
                if not (finite_only and not_finite):
                    for task in prange(relays, schedule="static"):
                        run_in_team(&call, RELAY, mine + threadid() * bytes, task)
                    for task in prange(fills, schedule="dynamic"):
                        run_in_team(&call, FILL, mine + threadid() * bytes, task)
                    if relays > 0 or fills > 0:
                        team_barrier()
                    for task in prange(tasks, schedule="dynamic"):
                        run_in_team(&call, COMPUTE, mine + threadid() * bytes, task)
    return not (finite_only and not_finite)
