# The tasks of a call, stage by stage, and how a worker comes by them. Part of _points.pyx.

cdef bint multiply(
        const Call* c, const char* packed, Py_ssize_t channels, const Part* part) noexcept nogil:
    """The results of one unit for all lanes of a task; whether one is Inf or NaN.

    Outputs of a line of tiles that are a dilation apart are woven into one row.
    """
    cdef Py_ssize_t number, p, q, row, height, block, line, i, lane, vectors, no_tap = 0
    cdef Py_ssize_t lanes = part.lanes, shift = c.cols.axis.shift
    cdef Class k
    cdef const void* windows
    cdef char* products
    cdef char* half
    cdef char* apart
    cdef char* results = c.results
    cdef bint bad = False
    for number in range(classes_of(c)):
        k = class_of(c, number, channels)
        block = k.rows * lanes
        line = c.cols.points * block
        if k.row.late != part.late:
            packed += k.points * point_numbers(c, &k) * c.size
            results += c.outputs * block * c.size
            continue
        for p in range(k.short_row, c.rows.points):
            for q in range(k.short_col, c.cols.points):
                windows = windows_at(
                    c, k.col.late, p, part.point_step) + q * part.point_step * c.size
                row = 0
                while row < k.rows:
                    height = panel_height(c.height, k.rows - row)
                    products = c.products + (p * line + q * block + row * lanes) * c.size
                    lane = 0
                    # Lanes of images may be more than a tile of short vectors has.
                    while lane < lanes:
                        vectors = tile_vectors(lanes - lane, c.vector, VECTORS, c.height)
                        c.k.tile[c.compute][log2_height(height)][vectors - 1](
                            packed, 0, &no_tap, &windows, 1, 1, 0, lane, c.c_in, lanes, 1,
                            products + lane * c.size, lanes, False, 1, 0, NULL,
                        )
                        lane += vectors * c.vector
                    packed += height * c.c_in * c.size
                    row += height
                packed += PAD
        half, apart = c.products, c.half
        if c.rows.scheme != F11:
            half, apart = c.half, c.products
            c.k.transform_output[c.compute](
                c.rows.scheme, k.short_row, c.products + k.short_col * block * c.size, line,
                line - k.short_col * block, half + k.short_col * block * c.size, line)
        for i in range(c.rows.outputs):
            if c.woven == 1:
                apart = results
            bad |= c.k.transform_output[c.compute](
                c.cols.scheme, k.short_col, half + i * line * c.size, block, block, apart, block)
            if c.woven > 1:
                c.k.weave[c.compute](
                    apart, block, k.rows, lanes, c.woven, shift, part.used // shift, results)
            results += c.cols.outputs * block * c.size
    return bad


cdef inline Part part_at(const Call* c, Py_ssize_t number) noexcept nogil:
    cdef Part part
    part.late = number >= c.lane_blocks
    number %= c.lane_blocks
    part.first = number * c.column_units // c.lane_blocks * c.columns_unit
    part.stop = (number + 1) * c.column_units // c.lane_blocks * c.columns_unit
    part.stop = min(part.stop, c.columns)
    part.used = (part.stop - part.first) * c.column_lanes
    part.lanes = round_up(part.used, c.vector)
    part.point_step = c.c_in * part.lanes + PAD // c.size
    return part


cdef void load_part(
        const Call* c, const Part* part, Py_ssize_t group, Py_ssize_t ci,
        Py_ssize_t stop) noexcept nogil:
    """Transform all windows of a task, of input channels [ci, stop)."""
    cdef Py_ssize_t column = part.first, p, channel
    cdef Segment s
    while column < part.stop:
        s = segment_at(c, part, column)
        if c.by_batch:
            load_images(c, &s, group, part.lanes, part.point_step, ci, stop)
        else:
            load_segment(c, &s, group, part.lanes, part.point_step, ci, stop)
        column += s.n
    if part.used < part.lanes:
        for p in range(c.cols.sets * c.points):
            for channel in range(ci, stop):
                memset(
                    c.windows
                    + (p * part.point_step + channel * part.lanes + part.used) * c.size,
                    0, (part.lanes - part.used) * c.size,
                )


cdef void load_task(Call* c, Py_ssize_t block, Py_ssize_t task) noexcept nogil:
    """Transform some input channels of the windows that all tasks share."""
    cdef Py_ssize_t slices = ceil_div(c.c_in, PACK_CHANNELS), ci = task % slices * PACK_CHANNELS
    cdef Part part = part_at(c, task // slices)
    c.windows = c.shared + task // slices * c.windows_bytes
    load_part(c, &part, block // c.blocks, ci, min(ci + PACK_CHANNELS, c.c_in))


cdef bint compute_task(Call* c, Py_ssize_t block, Py_ssize_t task) noexcept nogil:
    """Some lanes and a share of a block's units; whether a result is Inf or NaN."""
    cdef Py_ssize_t group = block // c.blocks
    cdef Py_ssize_t unit_0 = block % c.blocks * c.block_units
    cdef Py_ssize_t units = min(c.block_units, c.units - unit_0)
    cdef Py_ssize_t share = task // c.parts if c.by_unit else task % c.shares
    cdef Py_ssize_t number = task % c.parts if c.by_unit else task // c.shares
    cdef Py_ssize_t shares, unit, channel, channels, column
    cdef Part part = part_at(c, number)
    cdef Segment s
    cdef bint bad = False
    shares = min(c.shares, units)
    if share >= shares:
        return False          # The last block has fewer units than tasks.
    if c.sharing:
        c.windows = c.shared + number * c.windows_bytes
    else:
        load_part(c, &part, group, 0, c.c_in)
    for unit in range(share * units // shares, (share + 1) * units // shares):
        channel = (unit_0 + unit) * c.channels
        channels = min(c.channels, c.c_out - channel)
        bad |= multiply(
            c, c.packed + unit * c.unit_numbers * c.size, channels, &part)
        column = part.first
        while column < part.stop:
            s = segment_at(c, &part, column)
            if c.by_batch:
                store_images(c, &s, group * c.c_out + channel, channels, part.lanes)
            else:
                store_segment(c, &s, group * c.c_out + channel, channels, part.lanes)
            column += s.n
    return bad


cdef inline Py_ssize_t input_channels(const Call* c) noexcept nogil:
    """Input channels that are transformed at a time: a line of them, where they are neighbours."""
    return LINE // c.size


cdef inline Py_ssize_t load_tasks(const Call* c, Py_ssize_t block) noexcept nogil:
    """Tasks that transform the windows of a group, before its first block."""
    if not c.sharing or block % c.blocks:
        return 0
    return c.parts * ceil_div(c.c_in, PACK_CHANNELS)


cdef inline Py_ssize_t pack_tasks(const Call* c, Py_ssize_t block) noexcept nogil:
    """Tasks that transform the weights of a block."""
    cdef Py_ssize_t units = min(c.block_units, c.units - block % c.blocks * c.block_units)
    return units * ceil_div(c.c_in, PACK_CHANNELS)


# In the order in which a block goes through them, after all images were laid out anew.
cdef enum Stage:
    RELAY
    LOAD
    PACK
    COMPUTE
    STAGES


# What the workers of a call have: scratch, and the tasks of each stage that none has taken yet.
cdef struct Team:
    char* scratch
    Py_ssize_t bytes                 # of each
    Share* shares                    # [stage][owner]
    Py_ssize_t owners


cdef void deal(const Call* c, Team* team, Stage stage, Py_ssize_t block) noexcept nogil:
    """Deal out the tasks of a stage."""
    cdef Py_ssize_t tasks = c.parts * c.shares
    if stage == RELAY:
        tasks = relay_tasks(c)
    elif stage == LOAD:
        tasks = load_tasks(c, block)
    elif stage == PACK:
        tasks = pack_tasks(c, block)
    deal_tasks(team.shares + stage * team.owners, team.owners, tasks)


cdef void run_stage(
        const Call* call, Team* team, Stage stage, Py_ssize_t block,
        Py_ssize_t worker) noexcept nogil:
    """The tasks that a worker takes; the first byte of its scratch is for bad news."""
    cdef Call c = call[0]
    cdef char* scratch = team.scratch + worker * team.bytes
    cdef Share* shares = team.shares + stage * team.owners
    cdef Py_ssize_t task = take_task(shares, team.owners, worker)
    cdef fenv_t caller
    c.input = scratch + PAD
    c.products = c.input + c.input_bytes
    c.half = c.products + c.products_bytes
    c.results = c.half + c.half_bytes
    c.sources = <const void**> (c.results + c.results_bytes)
    c.windows = <char*> c.sources + c.list_bytes
    enter_fenv(&caller)
    while task >= 0:
        if stage == RELAY:
            relay_task(&c, task)
        elif stage == LOAD:
            load_task(&c, block, task)
        elif stage == PACK:
            pack_task(&c, block, task)
        elif compute_task(&c, block, task):
            scratch[0] = 1
        task = take_task(shares, team.owners, worker)
    if c.streamed:
        stream_fence()
    leave_fenv(&caller)


cdef void run_worker(const Call* c, Team* team, Py_ssize_t worker) noexcept nogil:
    """All that one worker does; what begins after a barrier is dealt out before it."""
    cdef Py_ssize_t block, blocks = c.groups * c.blocks
    run_stage(c, team, RELAY, 0, worker)
    if c.by_batch and c.sharing:
        team_barrier()
    for block in range(blocks):
        run_stage(c, team, LOAD, block, worker)
        run_stage(c, team, PACK, block, worker)
        if worker == 0:
            deal(c, team, COMPUTE, block)
        team_barrier()
        run_stage(c, team, COMPUTE, block, worker)
        if worker == 0 and block + 1 < blocks:
            deal(c, team, LOAD, block + 1)
            deal(c, team, PACK, block + 1)
        # The next block's weights take the place of these.
        team_barrier()
