# Which axis runs along the lanes, by what either way costs. Part of _plan.pyx.

cdef enum:
    RELAY_BYTES = 1 << 23       # of x that caches do not hold together with a copy
    FULL_BATCH = 48             # images that fill whole tiles of any type
    NEAR_IMAGES = 8             # and as many as a near cache holds of lines a page apart
    PAGE = 1 << 12

# What lanes along a row or the batch cost beside their multiply-adds, in multiply-adds: a row of x
# and each of its numbers, a number that is laid out anew, by one worker or for others to read, or
# past the caches, one of the result that is stored far from its neighbours, a row of an image that
# is laid out anew by itself, a row of the result, or what it takes more where those of all images
# share a place in the cache; the list of a pixel's taps, for all channels of a tile, and each tap
# in it. Joined phases fill tiles better, and rows are stored by planes where no taps overlap.
cdef double ROW_LOAD = 300
cdef double LOAD = 15
cdef double RELAY = 30
cdef double RELAY_SHARED = 42
cdef double RELAY_FAR = 65
cdef double SCATTER = 9
cdef double ROW_RELAY = 80
cdef double ROW_STORE = 150
cdef double ROW_STORE_FAR = 400
cdef double LIST = 3000
cdef double LIST_TAP = 450
cdef double JOINED_SHARE = 0.7
cdef double ALONE = 1.15

# Tiles of one vector and of two where they are four rows high: the share of the rate, and what two
# take more, in vectors. The rate where images of neighbouring pixels are lanes that follow each
# other, with tall tiles, and with low ones, whose lanes lie tile by tile else.
cdef double LOW_RATE = 0.5
cdef double LOW_PAIR = 0.25
cdef double STRUNG_TALL = 0.95
cdef double STRUNG_LOW = 0.88


cdef double lanes_taken(const Geometry* g, Py_ssize_t lanes, double loss) noexcept:
    """Lanes of full vectors for so many; each that a tile has less than three costs `loss` more."""
    cdef Py_ssize_t vectors = ceil_div(lanes, g.vector)
    return g.vector * (vectors + loss * (round_up(vectors, TALL_VECTORS) - vectors))


cdef double flat_fill(
        const Geometry* g, Py_ssize_t lanes, Py_ssize_t n_rows, Py_ssize_t block,
        double loss) noexcept:
    """The same as `row_fill` when the rows of each block follow each other."""
    cdef double used = n_rows // block * lanes_taken(g, block * g.row_pitch, loss)
    used += lanes_taken(g, n_rows % block * g.row_pitch, loss)
    return n_rows * lanes / used


cdef bint loses_in_pairs(const Geometry* g) noexcept:
    """Whether tiles of one or two vectors are slower than those of three: registers are short.

    Zeros between rows would cost what is gained.
    """
    return g.lane.span == 0 and 2 * g.vector * g.size == LINE


cdef bint is_one_run(const Geometry* g) noexcept:
    """Whether rows follow each other in x, and no two share one or store a part only."""
    cdef const Axis* rows = &g.outer[g.n_outer - 1]
    return (
        rows.span == 0 and rows.x_step == g.row_pitch * g.lane.x_step
        and result_at(rows, rows.q_lo, 0) >= 0
        and result_at(rows, rows.q_hi - 1, rows.n_phases - 1) < rows.n_out
    )


cdef Py_ssize_t run_on_limit(const Geometry* g) noexcept:
    """Vectors of lanes from which on they do not run on from row to row."""
    # Longer rows would lose more than they gain where they could not lie tile by tile.
    return RUN_ON_LONG if loses_in_pairs(g) and is_one_run(g) else RUN_ON


cdef bint runs_on(
        const Geometry* g, Py_ssize_t lanes, Py_ssize_t n_rows, Py_ssize_t most) noexcept:
    """Whether lanes of fewer vectors can run on from row to row: rows of x follow each other."""
    return (
        n_rows > 1 and g.outer[g.n_outer - 1].shift == 1 and g.depth_block >= g.c_in
        and lanes < most * g.vector
    )


cdef double tiles_time(const Geometry* g, Py_ssize_t lanes) noexcept:
    """What tiles of so many lanes take, in lanes: low and narrow ones more than their share."""
    cdef Py_ssize_t vectors = max(1, ceil_div(lanes, g.vector))
    if g.height == MANY_ROWS or vectors % TALL_VECTORS == 0:
        return vectors * g.vector
    if vectors == 1:
        return g.vector / LOW_RATE
    # One of two vectors, or two of them instead of one of three and one of one.
    return g.vector * (vectors + (LOW_PAIR if vectors % TALL_VECTORS == 2 else 2 * LOW_PAIR))


cdef bint gathers(const Geometry* g, const Axis* row) noexcept:
    """Whether rows of the result are collected: lanes along the batch are far apart in it."""
    return covers(row) and row.y_step == g.element and row.stride * g.components <= MAX_SOURCES


cdef double string_gain(const Geometry* g, const Axis* row, Py_ssize_t images) noexcept:
    """How much faster tiles are if lanes of images run on from pixel to pixel of a row, or 1.

    Pixels at the edges have taps less, and lanes of their own.
    """
    cdef Py_ssize_t inner = clip(row.n_in - row.span, 1, max(1, GATHERED_RESULTS // row.stride))
    cdef double alone, edges, gain
    if <double> images * row.n_in * g.size > STRUNG_BYTES:
        return 1
    alone = tiles_time(g, images)
    edges = row.span * (1 - 1.0 / row.max_taps) * alone
    gain = (inner * alone + edges) / (tiles_time(g, inner * images) + edges)
    return max(1.0, gain * (STRUNG_TALL if g.height == MANY_ROWS else STRUNG_LOW))


cdef double rows_stored(const Geometry* g) noexcept:
    """Rows of the result for one channel of x, with lanes along them."""
    cdef double rows = <double> g.c_out * g.components / max(g.c_in, 1)
    cdef Py_ssize_t i
    for i in range(g.n_outer):
        rows *= g.outer[i].n_out
    return rows


cdef double rows_cost(const Geometry* g, Py_ssize_t most) noexcept:
    """What lanes along rows cost for one channel of x, in multiply-adds, if arrays are contiguous.

    Rows run on if they have fewer vectors than `most`. The last axis has its products with zeros
    beyond the ends then, the others have none.
    """
    cdef const Axis* a = &g.lane
    cdef const Axis* rows = &g.outer[g.n_outer - 1]
    cdef Py_ssize_t lanes = a.q_hi - a.q_lo, n_rows = rows.q_hi - rows.q_lo, i
    cdef double x_rows = g.components, work = <double> g.c_out * g.components * g.components
    cdef double apart, on
    for i in range(g.n_outer):
        x_rows *= g.outer[i].n_in
        if i < g.n_outer - 1:
            work *= pairs(&g.outer[i])
    work *= a.kernel * lanes
    apart = on = work * pairs(rows) / row_fill(lanes, g.vector)
    if runs_on(g, lanes, n_rows, most):
        on = work * rows.kernel * n_rows / flat_fill(g, lanes, n_rows, n_rows, 0)
    return min(apart, on) + x_rows * (ROW_LOAD + LOAD * a.n_in) + rows_stored(g) * ROW_STORE


cdef double batch_work(
        const Geometry* g, const Axis* axes, Py_ssize_t d, Py_ssize_t images) noexcept:
    """What products cost for one channel of x and image, if lanes run along so many images."""
    cdef double work = <double> g.c_out * g.components * g.components
    cdef Py_ssize_t i
    cdef bint alone = True       # no product is added to another tap's
    for i in range(d):
        work *= pairs(&axes[i])
        alone = alone and axes[i].max_taps <= 1
    if alone:
        work *= ALONE
    return work * tiles_time(g, images) / images


cdef double numbers_of(const Geometry* g, const Axis* axes, Py_ssize_t d) noexcept:
    """Numbers of a channel of x."""
    cdef double numbers = g.components
    cdef Py_ssize_t i
    for i in range(d):
        numbers *= axes[i].n_in
    return numbers


cdef double moved_share(Py_ssize_t images) noexcept:
    """How well images are moved: QUAD at a time, the last ones of more twice; fewer one by one."""
    return <double> images / round_up(images, QUAD) if images >= QUAD else 0.5


cdef double listing(
        const Geometry* g, const Axis* axes, Py_ssize_t d, Py_ssize_t images) noexcept:
    """What the lists of taps cost for one channel of x and image: one for each pixel and tile."""
    cdef Py_ssize_t tiles = ceil_div(images, TALL_VECTORS * g.vector), i
    cdef double taps = 1, pixels = 1
    for i in range(d):
        pixels *= axes[i].q_hi - axes[i].q_lo
        taps *= pairs(&axes[i]) / axes[i].n_phases
    return (LIST * pixels + LIST_TAP * taps) * tiles / (max(g.c_in, 1) * <double> max(images, 1))


cdef double batch_cost(
        const Geometry* g, const Axis* axes, Py_ssize_t d, Py_ssize_t images,
        double relay) noexcept:
    """What lanes along so many images cost for one channel of x and image."""
    cdef double moved = relay * numbers_of(g, axes, d) + SCATTER * results_of(g, axes, d)
    return (
        batch_work(g, axes, d, images) + listing(g, axes, d, images) + moved / moved_share(images))


cdef double string_saves(
        const Geometry* g, const Axis* axes, Py_ssize_t d, Py_ssize_t images) noexcept:
    """What it costs less if lanes of images run on from pixel to pixel of a row, or 0.

    x is laid out anew row by row then.
    """
    cdef const Axis* row = &axes[d - 1]
    cdef double gain, rows
    if not gathers(g, row) or images == 0 or row.n_in == 0:
        return 0
    gain = string_gain(g, row, images)
    if gain == 1:
        return 0
    rows = numbers_of(g, axes, d) / row.n_in
    # Pixels with the same taps share a list.
    return max(
        0.0,
        batch_work(g, axes, d, images) * (1 - 1 / gain)
        + listing(g, axes, d, images) * (1 - <double> (2 * row.span + 1) / (row.n_in + row.span))
        - ROW_RELAY * rows / moved_share(images))


cdef double results_of(const Geometry* g, const Axis* axes, Py_ssize_t d) noexcept:
    """Numbers of the result for one channel of x."""
    cdef double results = <double> g.c_out * g.components / max(g.c_in, 1)
    cdef Py_ssize_t i
    for i in range(d):
        results *= axes[i].n_out
    return results


cdef bint joins_in_any_batch(Geometry* g, const Axis* axes, Py_ssize_t d) noexcept:
    """Whether rows of joined phases are taken with any number of images, in any layout.

    What decides the order of a sum must not depend on them.
    """
    return joins(g, True) and JOINED_SHARE * rows_cost(g, RUN_ON) <= batch_cost(
        g, axes, d, FULL_BATCH, RELAY)


cdef bint batch_is_better(
        const Geometry* g, const Axis* axes, Py_ssize_t d, Py_ssize_t images,
        bint shared) noexcept:
    """Whether lanes along the batch cost less than along rows, in the layout there is."""
    cdef double numbers = numbers_of(g, axes, d), rows = rows_cost(g, run_on_limit(g)), far = 0
    cdef double relay = RELAY_SHARED if shared else RELAY
    if numbers * images * g.groups * g.c_in * g.size >= RELAY_BYTES:
        relay = RELAY_FAR
    if g.x_channel != g.element:
        if g.lane.x_step != g.element:
            rows += numbers * RELAY
        if axes[d - 1].x_step != g.element:
            relay *= 3
    if not g.interleaved and not g.by_channel:
        rows += results_of(g, axes, d) * SCATTER
    if images > NEAR_IMAGES and g.y_image % PAGE == 0:
        far = ROW_STORE_FAR * rows_stored(g)
    return images > 0 and (
        rows > batch_cost(g, axes, d, images, relay) + far - string_saves(g, axes, d, images))


cdef Py_ssize_t spatial_lane(const Geometry* g, const Axis* axes, Py_ssize_t d) noexcept:
    """The spatial axis that fills vectors best, or `d` if none can be along them.

    Its taps come first in the order of a sum, which must be the same in any batch and layout: that
    is why nothing else is asked here.
    """
    cdef Py_ssize_t lane = d, i
    cdef double best = 0, score
    for i in range(d):
        # Stores along another axis than the last are scattered.
        score = fill(&axes[i], g.vector) * (1.0 if i == d - 1 else 0.5)
        if score >= best and fits(g, axes, d, i):
            best, lane = score, i
    return lane


cdef Py_ssize_t choose_lane(
        Geometry* g, const Axis* axes, Py_ssize_t d, Py_ssize_t spatial, const Py_ssize_t* w_steps,
        Py_ssize_t images, bint shared, bint exact, bint* in_any_batch) noexcept:
    """The axis of the lanes: `spatial` or `d`, the batch; and whether it always is the former.

    Work is `shared` by workers. `exact` wants the batch.
    """
    in_any_batch[0] = False
    if exact or spatial == d:
        return d
    take_axes(g, axes, d, spatial, w_steps, images)
    in_any_batch[0] = spatial == d - 1 and joins_in_any_batch(g, axes, d)
    if (
        not in_any_batch[0] and batch_is_better(g, axes, d, images, shared)
        and fits(g, axes, d, d)
    ):
        return d
    return spatial
