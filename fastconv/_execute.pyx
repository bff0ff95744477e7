"""The driver of the direct method: packs the weights, then runs tasks in one team of threads.

Nothing here checks an argument or allocates memory: scratch comes with the call, sized by the plan.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memcpy, memset

from fastconv._arith cimport ceil_div, clip, floor_div
from fastconv._memory cimport Buffer, aligned, fenv_t, kernel_table, leave_fenv, enter_fenv
from fastconv._plan cimport Geometry, Plan
from fastconv._types cimport (
    MAX_AXES, MAX_VECTORS, Axis, KernelTable, Run, class_first, class_size, log2_height,
    panel_height, phase_taps,
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


include "_execute_pack.pxi"
include "_execute_load.pxi"
include "_execute_store.pxi"


cdef inline Py_ssize_t tile_vectors(Py_ssize_t lanes, Py_ssize_t vector) noexcept nogil:
    """Vectors of the next tile when `lanes` are left.

    Tiles of one vector are the slowest: four vectors are two and two.
    """
    cdef Py_ssize_t left = ceil_div(lanes, vector)
    return ceil_div(left, ceil_div(left, MAX_VECTORS))


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
        const Call* c, const Place* p, Py_ssize_t lane, Py_ssize_t vectors,
        char* first_acc) noexcept nogil:
    """All panels of a set against one tile of lanes; their accumulators follow each other."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t row_bytes = vectors * g.vector * g.size
    cdef Py_ssize_t cls, lane_taps, rows, row, height, panel, channels, ci = 0
    cdef char* acc
    while True:
        channels = min(g.depth_block, g.c_in - ci)
        load_part(c, p, ci, channels)
        panel = panel_start(c, p)
        acc = first_acc
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
        ci += g.depth_block
        if ci >= g.c_in:
            break


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
        load_rows(c, p, ci, channels)


cdef void run_set(const Call* c, Place* p) noexcept nogil:
    """All tiles of one set of outer phases at one place."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t lanes = p.lane_hi - p.lane_lo
    cdef Py_ssize_t lane = 0, n, vectors
    if g.flat:
        lane = (p.flat_lo - p.row_lo) * g.row_pitch
        lanes = (p.flat_hi - p.row_lo) * g.row_pitch
    while lane < lanes:
        vectors = tile_vectors(lanes - lane, g.vector)
        n = min(lanes - lane, vectors * g.vector)
        if not g.interleaved and not g.by_channel:
            run_apart(c, p, lane, n, vectors)
        else:
            run_together(c, p, lane, vectors, c.acc)
            store_runs(c, p, lane, n, vectors * g.vector * g.size, 0, 0, 0)
        lane += n


cdef void run_gathered(const Call* c, Place* p) noexcept nogil:
    """All sets of a task, the results of whole rows collected before they are stored."""
    cdef const Geometry* g = c.g
    cdef Py_ssize_t last = g.n_outer - 1
    cdef const Axis* rows = &g.outer[last]
    cdef Py_ssize_t lanes = p.lane_hi - p.lane_lo
    cdef Py_ssize_t lane, n, vectors, other, others, cls, row, row_bytes
    cdef bint any_inside
    for other in range(g.n_sets // rows.n_classes):
        lane = 0
        while lane < lanes:
            vectors = tile_vectors(lanes - lane, g.vector)
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
                    run_together(
                        c, p, lane, vectors,
                        c.acc + (
                            ((row - p.row_lo) * rows.n_phases + p.first[last])
                            * others * p.channels * g.components * row_bytes
                        ))
            if any_inside:
                store_gathered(c, p, others, lane, n, row_bytes)
            lane += n


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
        load_rows(c, &p, 0, g.c_in)
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
    c.rows = scratch
    c.acc = scratch + g.rows_bytes
    c.taps = <Py_ssize_t*> (c.acc + g.acc_bytes)
    c.tap_rows = <const void**> (c.taps + g.list_taps)
    c.sources = c.tap_rows + g.list_taps
    c.zeros = <char*> (c.sources + g.list_sources)
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
    call.packed = aligned(packed_buffer.view.buf)
    tasks = (
        plan.g.groups * plan.g.n_channel_blocks
        * ceil_div(plan.g.c_in, PACK_CHANNELS)
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
    call.packed = aligned(packed_buffer.view.buf)
    call.bias = <const char*> bias_buffer.view.buf
    mine = aligned(scratch_buffer.view.buf)
    if not g.complete:
        fills = g.images * g.groups * g.c_out
        for i in range(g.n_outer):
            fills *= g.outer[i].n_out
        per_fill = max(1, fills // (8 * workers))
        fill_tasks = ceil_div(fills, per_fill)
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
