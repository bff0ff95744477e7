# How work is cut into blocks that stay in the cache, and tasks for every worker. Part of _plan.pyx.

cdef Py_ssize_t flat_pitch(const Geometry* g, Py_ssize_t row_block) noexcept:
    """Numbers from one channel to the next where `row_block` rows follow each other."""
    cdef Py_ssize_t slots = row_block + g.outer[g.n_outer - 1].span
    cdef Py_ssize_t pitch = g.lane.span + slots * g.row_pitch + g.vector
    # A multiple of a page would put all channels into the same set of the cache.
    return pitch + g.vector if pitch * g.size % 4096 == 0 else pitch


# What the cuts share: lengths in q, and how many tasks are wanted.
cdef struct Cut:
    Py_ssize_t lanes, rows           # positions q along the lanes and along the rows' axis
    Py_ssize_t others                # places on all other axes, images and groups
    Py_ssize_t other_taps            # taps of one phase on all other axes
    Py_ssize_t slot                  # bytes that one position of a held row takes
    Py_ssize_t workers, wanted


cdef Py_ssize_t together(const Geometry* g) noexcept:
    """Rows of accumulators that one output channel has, but for its components."""
    cdef Py_ssize_t rows = g.lane.n_phases, last = g.n_outer - 1, i
    for i in range(g.n_outer):
        if g.outer[i].merged and not (g.gathered and i == last):
            rows *= largest_class(&g.outer[i])
    if g.gathered:
        # All phases of the rows' axis, for each row of a task unless those are lanes.
        rows *= g.outer[last].n_phases * (1 if g.strung else g.row_block)
    return rows


cdef void cut_groups(Geometry* g, Cut* cut) noexcept:
    """As many groups as can be stored together; they share the lists of rows and results."""
    cdef const Axis* rows = &g.outer[g.n_outer - 1]
    cdef Py_ssize_t taps = cut.other_taps * rows.max_taps
    cdef Py_ssize_t slot = g.depth_block * g.components * g.size
    cdef Py_ssize_t c_out = max(g.c_out, 1), own = c_out * g.components * together(g)
    cdef Py_ssize_t lanes, most = 1
    if (
        not g.by_batch and g.depth_block >= g.c_in and (own <= ACC_ROWS or g.stencil)
        and (g.interleaved or g.by_channel)
    ):
        if g.stencil:
            most = g.groups
        elif g.by_channel:
            most = max(ACC_ROWS, min(own * ceil_div(LINE, c_out * g.element), 4 * ACC_ROWS))
            most //= own
        else:
            lanes = round_up(max(cut.lanes, 1), g.vector)
            most = ACC_BYTES // 4 // (own * lanes * g.size)
        lanes = g.lane.span + 3 * g.vector
        most = min(most, ROWS_BYTES // (taps * slot * lanes))
        # Tasks are made of groups, rows and other positions.
        most = min(most, cut.others * g.groups * cut.rows // cut.wanted)
        if g.stencil_last:
            most = g.groups
    g.n_group_blocks = ceil_div(g.groups, max(1, most))
    g.group_block = ceil_div(g.groups, g.n_group_blocks)
    g.n_group_blocks = ceil_div(g.groups, g.group_block)
    cut.others *= g.n_group_blocks
    cut.slot = g.group_block * slot


cdef void cut_lanes(Geometry* g, const Cut* cut) noexcept:
    """The whole axis if a row of it fits into a task, else as many lanes as do."""
    cdef Py_ssize_t per_row = cut.other_taps * g.outer[g.n_outer - 1].max_taps * cut.slot
    cdef Py_ssize_t places = max(cut.others * cut.rows, 1), fitting, pieces, most
    g.lane_block = max(cut.lanes, 1)
    if per_row * (g.lane.span + round_up(g.lane_block, g.vector)) > 2 * ROWS_BYTES:
        fitting = ROWS_BYTES // per_row - g.lane.span
        g.lane_block = max(fitting // (3 * g.vector) * 3 * g.vector, g.vector)
    # Channels that are read in parts are read again for each tile.
    if g.depth_block < g.c_in:
        g.lane_block = 3 * g.vector
        if per_row * (g.lane.span + g.lane_block) > ROWS_LIMIT:
            g.lane_block = g.vector
    # One row of lanes is the only parallel axis of a 1-D problem: cut it too, evenly, but into
    # pieces that are longer than their halo.
    pieces = ceil_div(cut.lanes, g.lane_block)
    most = max(pieces, cut.lanes // (3 * g.vector + 2 * g.lane.span))
    if cut.others * cut.rows * pieces < cut.wanted and most >= cut.workers:
        pieces = max(pieces, ceil_div(cut.wanted, places))
        pieces = min(round_up(pieces, cut.workers), most // cut.workers * cut.workers)
    g.lane_block = min(
        g.lane_block, round_up(ceil_div(max(cut.lanes, 1), max(pieces, 1)), g.vector)
    )
    g.n_lane_blocks = ceil_div(cut.lanes, g.lane_block)
    g.pitch = g.lane.span + round_up(g.lane_block, g.vector)
    if g.pitch * g.size % 4096 == 0:
        g.pitch += g.vector


cdef bint light_rows(const Geometry* g) noexcept:
    """Whether a row takes so little work that its tiles and its store cost as much."""
    return g.set_rows < 4 or g.set_rows == 4 and longest_sum(g) <= STENCIL_PRODUCTS


cdef double pair_loss(const Geometry* g) noexcept:
    """What a tile loses by each vector that it has less than three."""
    return PAIR_LOSS if loses_in_pairs(g) and not light_rows(g) else 0


cdef bint better_flat(
        const Geometry* g, Py_ssize_t lanes, Py_ssize_t n_rows, Py_ssize_t block) noexcept:
    """Whether rows that run on, so many of them, fill tiles better than rows by themselves."""
    cdef double loss = pair_loss(g), filled = flat_fill(g, lanes, n_rows, block, loss)
    if loss > 0:
        return filled >= lanes / lanes_taken(g, lanes, loss)
    return filled > (FEW_FILL if light_rows(g) else 1.02) * row_fill(lanes, g.vector)


cdef bint may_crowd(const Geometry* g) noexcept:
    """Whether rows that run on may take more of the caches that go with the widest vectors."""
    return g.flat and g.height == MANY_ROWS


cdef double row_time(
        const Geometry* g, const Cut* cut, Py_ssize_t block, bint crowded) noexcept:
    """How long a row of an input channel takes in blocks of so many, in products of a line."""
    cdef Py_ssize_t span = g.outer[g.n_outer - 1].span
    cdef double filled, products = g.c_out * g.components * g.taps, read
    if g.flat:
        filled = flat_fill(g, cut.lanes, cut.rows, block, pair_loss(g))
    else:
        filled = row_fill(g.lane_block, g.vector)
    if crowded:
        products /= CROWDED
    # Each block reads the rows, too, that the taps of its first one reach back to.
    read = cut.other_taps * (
        (block + span) * g.lane_block + READ_START * LINE // g.size) / <double> block
    return (g.lane_block / filled * products + READ_LINE * read) * g.size / LINE


cdef void choose_rows(Geometry* g, const Cut* cut) noexcept:
    """How many rows a task has: of those that fit and leave every worker some tasks, the best."""
    cdef double best = 0, score
    cdef Py_ssize_t span = g.outer[g.n_outer - 1].span, block, held_bytes, tasks
    cdef Py_ssize_t most = CROWDED_BYTES if may_crowd(g) else ROWS_BYTES
    g.row_block = 1
    for block in range(1, min(cut.rows, MAX_ROW_BLOCK) + 1):
        held_bytes = flat_pitch(g, block) if g.flat else (block + span) * g.pitch
        held_bytes *= cut.other_taps * cut.slot
        # Where there are many output channels, their blocks can make up for fewer tasks.
        tasks = cut.others * g.n_lane_blocks * ceil_div(cut.rows, block)
        tasks *= clip(g.c_out // 32, 1, 4)
        if block > 1 and (held_bytes > most or tasks < cut.wanted):
            break
        # A twentieth of the time is not worth shorter blocks.
        score = min(1.0, balance(tasks, cut.workers) + 0.05)
        score /= row_time(g, cut, block, held_bytes > ROWS_BYTES)
        if score >= best:
            best = score
            g.row_block = block
    if not g.flat and cut.rows > 0:
        # As many blocks, of equal size.
        g.row_block = ceil_div(cut.rows, ceil_div(cut.rows, g.row_block))


cdef void cut_rows(Geometry* g, const Cut* cut) noexcept:
    """How many rows a task has, and whether they run on."""
    cdef const Axis* rows = &g.outer[g.n_outer - 1]
    g.row_block = 1
    g.row_slots = rows.max_taps
    # Short rows may leave the last vector of each half empty: run on into the next row then.
    g.flat = (
        not g.by_batch and not g.stencil
        and runs_on(g, cut.lanes, cut.rows, run_on_limit(g)) and g.n_lane_blocks == 1
        and better_flat(g, cut.lanes, cut.rows, min(cut.rows, 4))
    )
    if rows.shift == 1 and g.depth_block >= g.c_in and not g.by_batch:
        choose_rows(g, cut)
        if g.flat and not better_flat(g, cut.lanes, cut.rows, g.row_block):
            # So few of them fit.
            g.flat = False
            choose_rows(g, cut)
        g.row_slots = g.row_block + rows.span
    g.rows_bytes = round_up(cut.other_taps * g.row_slots * cut.slot * g.pitch, 64)
    if g.flat:
        g.pitch = flat_pitch(g, g.row_block)
        g.rows_bytes = round_up(cut.other_taps * cut.slot * g.pitch, 64)
    if g.gathered:
        g.row_block = min(cut.rows, max(1, GATHERED_RESULTS // rows.stride))
        g.strung = (
            g.row_block > 1 and g.n_lane_blocks == 1
            and string_saves(g, g.outer, g.n_outer, g.lane.n_in) > 0
        )
    g.n_row_blocks = ceil_div(cut.rows, g.row_block)


cdef bint lies_by_tiles(const Geometry* g) noexcept:
    """Whether x lies tile by tile, for tiles whose lanes are no whole lines of memory.

    Each number of x is read by tiles of one place only, and of rows that run on all are stored.
    """
    if (
        g.stencil or g.strung or g.lane.span > 0 or g.widest * g.vector * g.size % LINE == 0
        or strip_bytes(g) <= TILED_BYTES
    ):
        return False
    if g.flat:
        return is_one_run(g)
    return g.by_batch or g.depth_block >= g.c_in


cdef bint goes_by_panel(const Geometry* g) noexcept:
    """Whether a panel runs over a whole strip before the next one does.

    The first-level cache holds x of the strip, or the strip is long, with accumulators past that
    cache: their lines are then written one after the other.
    """
    if g.stencil or g.depth_block < g.c_in:
        return False
    return strip_bytes(g) <= SHALLOW_BYTES or g.flat and short_rows(g)


cdef Py_ssize_t odd_step(const Geometry* g, Py_ssize_t step) noexcept:
    """A long step as an odd number of vectors, which does not meet itself in one set of a cache."""
    return step if step < 16 * g.vector else (ceil_div(step, g.vector) // 2 * 2 + 1) * g.vector


cdef void lay_out_by_batch(Geometry* g) noexcept:
    """Sizes of the copy of x that lanes along the batch read instead of rows of their task."""
    cdef Py_ssize_t i
    cdef const Axis* row = &g.outer[g.n_outer - 1]
    cdef Py_ssize_t channels = g.c_in * g.components
    g.rows_bytes = 0
    g.pitch = round_up(g.lane.n_in, g.vector) if g.tiled else g.lane.n_in
    if g.strung:
        g.pixel_step = g.lane.n_in
        g.pitch = odd_step(g, g.lane.n_in * row.n_in)
        g.pixel_row_step = odd_step(g, channels * g.pitch)
    else:
        g.pixel_step = odd_step(g, channels * g.pitch)
        g.pixel_row_step = row.n_in * g.pixel_step
    g.relaid = g.groups * g.pixel_row_step
    for i in range(g.n_outer - 1):
        g.relaid *= g.outer[i].n_in
    # The last tile reads all its lanes.
    g.relaid += 3 * g.vector


cdef Py_ssize_t strung_strip(const Geometry* g) noexcept:
    """Lanes of accumulators where images follow each other: tiles end up to a vector behind."""
    return round_up(g.row_block * g.lane.n_in, g.vector) + g.vector


cdef void cut_channels(Geometry* g, const Cut* cut) noexcept:
    """Blocks of output channels whose accumulators and weights stay in the cache; the tasks."""
    cdef Py_ssize_t places = cut.others * g.n_row_blocks * g.n_lane_blocks
    cdef Py_ssize_t channel_bytes = g.taps * g.c_in * g.components * g.size
    cdef Py_ssize_t sources = g.components * together(g), kept, fewest, shares, lanes
    kept = ACC_ROWS * (4 if g.gathered or g.by_channel else 1)
    if g.strung:
        kept = kept * TALL_VECTORS * g.vector // strung_strip(g)
    fewest = 32 if g.by_channel else 8
    g.channel_block = min(
        max(1, kept // sources), max(fewest, PACKED_BYTES // max(channel_bytes, 1)))
    if places < cut.wanted:
        shares = ceil_div(cut.wanted, max(places, 1))
        g.channel_block = min(g.channel_block, max(1, ceil_div(g.c_out, shares)))
    if g.channel_block > 8:
        g.channel_block = g.channel_block // 8 * 8
    if g.group_block > 1:
        g.channel_block = max(g.c_out, 1)
    elif g.flat and short_rows(g):
        lanes = round_up(g.row_block * g.row_pitch, g.vector)
        shares = ALL_ROWS_BYTES // (sources * lanes * g.size)
        g.channel_block = min(g.channel_block, max(8, shares // 8 * 8))
    g.channel_block = min(g.channel_block, max(g.c_out, 1))
    if g.stencil:
        # Each block is a panel, whose height is a power of two.
        g.channel_block = 1 if g.stencil_last else g.height // g.stencil_rows
        while g.c_out % g.channel_block & (g.c_out % g.channel_block - 1):
            g.channel_block >>= 1
    g.n_channel_blocks = ceil_div(g.c_out, g.channel_block)
    g.woven = (
        g.by_channel and g.n_group_blocks == 1 and g.n_channel_blocks == 1
        and contiguous(&g.lane) and g.lane.y_step == g.groups * g.c_out * g.element
        and g.lane.stride * g.groups * g.c_out * g.components <= MAX_WOVEN
    )
    # Tasks that share a place read its rows of x again, unless x is laid out anew; a few more of
    # them are worth it where they share out better.
    g.channel_tasks = g.n_channel_blocks
    if g.stencil_last:
        g.channel_tasks = 1
    elif not g.by_batch:
        fewest = min(g.n_channel_blocks, max(1, ceil_div(cut.wanted, max(places, 1))))
        g.channel_tasks = best_shares(places, fewest, g.n_channel_blocks, cut.workers)
    g.tasks = places * g.channel_tasks
    g.workers = max(1, min(cut.workers, g.tasks))
    g.group_rows = g.channel_block * sources
    set_strip(g, g.group_block * g.group_rows)


cdef Py_ssize_t widest_tile(const Geometry* g, Py_ssize_t lanes) noexcept:
    """Vectors of the widest tile: the fewer rows, the more sums hide what each waits for.

    Wider ones of two rows than these read their lanes twice, or spill.
    """
    if g.set_rows >= 4 or lanes <= WIDE_FROM * g.vector:
        return TALL_VECTORS
    return MAX_VECTORS if g.set_rows == 1 else 4 if g.height == MANY_ROWS else 5


cdef Py_ssize_t strip_bytes(const Geometry* g) noexcept:
    """Bytes of x that the panels of a phase read for a strip."""
    return (
        held(g.outer, g.n_outer, -1) * g.depth_block * g.components * g.size
        * (g.strip + g.lane.span)
    )


cdef void set_strip(Geometry* g, Py_ssize_t rows) noexcept:
    """How many lanes of `rows` rows are accumulated before they are stored."""
    cdef Py_ssize_t lanes, tile
    lanes = round_up(g.row_block * g.row_pitch if g.flat else g.lane_block, g.vector)
    g.widest = widest_tile(g, lanes)
    tile = g.widest * g.vector
    if g.stencil:
        # There are no accumulators, but lanes past the last row are read.
        g.strip = g.acc_pitch = 0
        g.acc_bytes = round_up(
            tile * g.size + LINE + g.products * <Py_ssize_t> sizeof(Product), LINE)
        return
    g.strip = tile_vectors(g.lane_block, g.vector, g.widest, g.height) * g.vector
    if g.strung:
        g.strip = strung_strip(g)
    # Rows that are not stored together are stored panel by panel.
    if not g.interleaved and not g.by_channel:
        rows = g.height
    elif not g.gathered:
        g.strip = min(lanes, max(1, ACC_BYTES // (rows * g.size) // tile) * tile)
        if g.flat and short_rows(g) and rows * lanes * g.size <= ALL_ROWS_BYTES:
            g.strip = lanes
    g.acc_pitch = g.strip
    if g.acc_pitch * g.size % 1024 == 0:
        g.acc_pitch += g.vector
    g.acc_bytes = round_up((max(rows * g.acc_pitch, g.height * tile) + QUAD) * g.size, 64)


cdef void cut_pixels(Geometry* g, Py_ssize_t workers) noexcept:
    """Rows of the result, or parts of one, that are a task where lanes run along the channels."""
    cdef Py_ssize_t images = g.lane.n_in if g.by_batch else g.images, rows = result_rows(g)
    cdef Py_ssize_t pixels = max(pixel_axis(g).n_out, 1), wanted, i
    wanted = 1 if workers == 1 else TASKS_PER_WORKER * workers
    g.gathered = g.strung = g.flat = g.by_panel = g.tiled = g.woven = g.stencil = False
    # Pixels that are no whole lines would be streamed in parts.
    g.streamed = g.y_bytes >= LARGE_RESULT and g.groups * g.c_out * g.size % LINE == 0
    g.products = 0
    g.gaps = not covers(pixel_axis(g))
    g.row_block = max(1, images * rows // wanted)
    g.row_block = max(1, min(g.row_block, rows))
    g.n_row_blocks = ceil_div(rows, g.row_block)
    g.n_lane_blocks = clip(ceil_div(wanted, max(images * g.n_row_blocks, 1)), 1, pixels)
    g.lane_block = ceil_div(pixels, g.n_lane_blocks)
    g.n_lane_blocks = ceil_div(pixels, g.lane_block)
    g.tasks = images * g.n_row_blocks * g.n_lane_blocks
    g.workers = max(1, min(workers, g.tasks))
    g.n_group_blocks = g.n_channel_blocks = g.channel_block = g.channel_tasks = 1
    g.group_block = g.groups
    g.list_taps = g.lane.max_taps
    for i in range(g.n_outer):
        g.list_taps *= g.outer[i].max_taps
    g.list_sources = 2 * g.list_taps
    g.list_bytes = 64 + round_up(
        g.list_taps * (sizeof(Py_ssize_t) + sizeof(void*)) + g.list_sources * sizeof(void*)
        + round_up(3 * g.vector, QUAD) * g.size, 64,
    )
    g.rows_bytes = g.acc_bytes = g.relaid = 0
    g.packed = g.groups * g.c_in * g.c_out * g.taps


cdef void make_blocks(Geometry* g, Py_ssize_t workers) noexcept:
    """Cut the work into blocks that stay in the cache and tasks for every worker."""
    cdef Cut cut
    cdef const Axis* rows = &g.outer[g.n_outer - 1]
    cdef Py_ssize_t i
    cut.lanes = g.lane.q_hi - g.lane.q_lo
    cut.rows = rows.q_hi - rows.q_lo
    cut.others = g.images
    cut.other_taps = 1
    for i in range(g.n_outer - 1):
        cut.other_taps *= g.outer[i].max_taps
        cut.others *= g.outer[i].q_hi - g.outer[i].q_lo
    cut.workers = workers
    cut.wanted = 1 if workers == 1 else TASKS_PER_WORKER * workers
    # Along the batch the lanes are far apart in the result, so its rows are collected first.
    g.gathered = g.by_batch and not g.by_channel and cut.rows > 0 and gathers(g, rows)
    g.strung = False
    g.relaid = 0
    cut_groups(g, &cut)
    cut_lanes(g, &cut)
    cut_rows(g, &cut)
    g.slot_step = g.group_block * g.depth_block * g.components * g.pitch
    cut_channels(g, &cut)
    g.tiled = lies_by_tiles(g)
    g.by_panel = goes_by_panel(g)
    if g.by_batch:
        lay_out_by_batch(g)
    # Outer taps with their rows, sources, and a row of zeros.
    g.list_taps = cut.other_taps * rows.max_taps
    g.list_sources = max(g.lane.n_phases, g.group_block * g.channel_block)
    if g.stencil:
        # Results of the rows of a panel.
        g.list_sources = g.height
    if g.gathered:
        g.list_sources = max(g.list_sources, g.row_block * rows.stride)
    if g.woven:
        g.list_sources = g.lane.stride * g.groups * g.c_out
    if g.interleaved or g.woven:
        # All phases of a turn of rows.
        g.list_sources = max(g.list_sources, g.lane.stride) * largest_class(rows)
    g.list_sources *= g.components
    g.list_bytes = 64 + round_up(
        g.list_taps * (sizeof(Py_ssize_t) + sizeof(void*)) + g.list_sources * sizeof(void*)
        + round_up(3 * g.vector, QUAD) * g.size, 64,
    )
    g.packed = g.groups * g.c_out * g.components * g.c_in * g.taps
