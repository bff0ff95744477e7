# Which way sums are made and stored: what shapes and layouts it takes. Part of _plan.pyx.

cdef inline bint half_lines(const Geometry* g) noexcept:
    """Whether vectors have half a line of memory or more."""
    return 2 * g.vector * g.size >= LINE


cdef Py_ssize_t longest_sum(const Geometry* g) noexcept:
    """Products of the longest sum, or more than any limit of them if it is above all."""
    cdef Py_ssize_t products = g.c_in * g.lane.max_taps, i
    for i in range(g.n_outer):
        products = min(products * g.outer[i].max_taps, STREAMED_PRODUCTS + 1)
    return products


cdef double cost_apart(const Geometry* g, Py_ssize_t lanes, Py_ssize_t most) noexcept:
    """How much more of the vectors is empty, as a share, if so many lanes are a row by themselves.

    That is, than if they run on from row to row where they can: of fewer vectors than `most`.
    """
    cdef const Axis* rows = &g.outer[g.n_outer - 1]
    cdef Py_ssize_t own = g.lane.q_hi - g.lane.q_lo, n_rows = rows.q_hi - rows.q_lo
    cdef double other = <double> own / round_up(own, g.vector)
    if runs_on(g, own, n_rows, most):
        other = max(other, flat_fill(g, own, n_rows, min(n_rows, 4), 0))
    return max(0.0, other * round_up(lanes, g.vector) / lanes - 1)


cdef Py_ssize_t stencil_lanes(const Geometry* g, bint parted) noexcept:
    """Lanes of a row of a stencil: two phases that are `parted` begin where the window does."""
    cdef Py_ssize_t lanes = g.lane.q_hi - g.lane.q_lo
    return min(lanes, ceil_div(g.lane.n_out, 2)) if parted else lanes


cdef bint stays_one(const Geometry* g) noexcept:
    """Whether rows of one phase are worth it: short vectors need tiles with more lanes."""
    return half_lines(g) or g.c_out <= FEW_CHANNELS


cdef inline bint plain_floats(const Geometry* g) noexcept:
    """Whether numbers are computed with as they are stored, each by itself."""
    return g.compute < N_FLOATS and g.components == 1 and g.element == g.size


cdef bint stencil_takes(const Geometry* g) noexcept:
    """Whether a stencil has kernels for such numbers and phases of the lane axis."""
    cdef Py_ssize_t stride = g.lane.stride
    return (
        plain_floats(g) and (stride == 2 or stride == 4 or stride == 1 and stays_one(g))
        and stride <= g.height
    )


cdef Py_ssize_t stencil_gain(const Geometry* g) noexcept:
    """How many products of empty lanes cost as much as accumulators between.

    With many registers these cost more where phases are uneven, each set for itself, and again
    where groups of few channels are. Rows are a power of two.
    """
    if g.height < MANY_ROWS or g.c_out & (g.c_out - 1) or not uneven(&g.lane):
        return STENCIL_GAIN
    return UNEVEN_GAIN if g.groups == 1 or 2 * g.c_out > g.height else 2 * UNEVEN_GAIN


cdef bint begins_between(const Geometry* g) noexcept:
    """Whether the window begins between two even phases of the lane axis."""
    return not uneven(&g.lane) and g.lane.stride == 2 and g.lane.crop > 0 and g.lane.crop % 2 != 0


cdef bint short_apart(const Geometry* g) noexcept:
    """Whether sums of phases that are not joined are a stencil, with channels first.

    That takes less than joining them, or where registers are few if channels are as well. It is
    the same for any batch and layout, since it decides the order of a sum.
    """
    cdef const Axis* a = &g.lane
    cdef Py_ssize_t lanes = stencil_lanes(g, uneven(a)), products = longest_sum(g)
    return (
        stencil_takes(g) and (a.stride == 2 or not uneven(a))
        and (g.height == MANY_ROWS or g.c_out <= FEW_CHANNELS)
        and (g.c_out > 1 or not begins_between(g))
        and products <= STENCIL_PRODUCTS and lanes > 0
        and products * cost_apart(g, lanes, RUN_ON) < stencil_gain(g)
    )


cdef bint joins(Geometry* g, bint in_any_batch) noexcept:
    """Whether phases with a tap more than others share the panels of those others.

    What they have more is added afterwards. It is worth it where few rows would fill small tiles.
    The order of a sum is another one then, unless only the lane axis has taps: `in_any_batch` says
    that the lanes run along the same axis with any number of images.
    """
    cdef Py_ssize_t i, taps = 0, rows = g.c_out * g.components, least = rows, longer
    cdef Py_ssize_t depth = g.c_in
    g.joint = 0
    for i in range(g.n_outer):
        if g.outer[i].kernel > 1:
            g.joint = i
            taps += 1
    cdef const Axis* a = &g.outer[g.joint]
    for _ in range(2):
        longer = longer_phases(a)
        least *= min(longer, a.n_phases - longer) if uneven(a) else a.n_phases
        rows *= a.n_phases
        depth *= a.max_taps - uneven(a)
        a = &g.lane
    return (
        not g.by_batch and contiguous(&g.lane) and g.lane.stride * g.components <= MAX_SOURCES
        and (uneven(&g.lane) or uneven(&g.outer[g.joint]))
        and taps <= 1 and (taps == 0 or in_any_batch and not short_apart(g))
        and least < g.height and rows <= JOINED_TILES * g.height and depth >= JOINED_DEPTH
    )


cdef bint short_rows(const Geometry* g) noexcept:
    """Whether rows of the result are so short that they are best stored with their neighbours."""
    cdef const Axis* a = &g.outer[g.n_outer - 1]
    return (
        g.interleaved and contiguous(a) and not uneven(a)
        and a.n_phases * g.lane.n_phases * g.components <= SHORT_ROW_PHASES
        and a.y_step == g.lane.n_out * g.element and a.y_step < SHORT_ROW
    )


cdef bint parts_lanes(const Geometry* g) noexcept:
    """Whether a stencil takes two lane phases apart: they may begin anywhere in the window.

    Each is half as many rows then, which has to be worth what is read again where they have equally
    many taps, and where registers are few.
    """
    return (
        g.lane.stride == 2 and not g.joined
        and (
            uneven(&g.lane)
            or begins_between(g) and (g.height == MANY_ROWS or g.c_out <= FEW_CHANNELS)
        )
    )


cdef bint shares_rows(const Geometry* g) noexcept:
    """Whether a stencil computes the rows of two phases together, which read x once.

    Both axes have two uneven phases, vectors half a line, and there are registers for four sums of
    each channel of a panel; those that are woven have one panel after the other.
    """
    cdef const Axis* a = &g.outer[0]
    return (
        half_lines(g) and (g.by_channel or 4 * g.c_out <= g.height)
        and g.n_outer == 1 and a.stride == 2 and a.kernel > 2 and uneven(a) and uneven(&g.lane)
    )


cdef bint weaves_channels(const Geometry* g) noexcept:
    """Whether a stencil weaves channels that are neighbours: few ones, of one group or of each."""
    cdef Py_ssize_t channels = g.groups * g.c_out
    return (
        g.by_channel and contiguous(&g.lane) and g.lane.stride > 1
        and g.lane.y_step == channels * g.element
        and (g.c_out == 1 or g.groups == 1 and g.height == MANY_ROWS) and 2 <= channels <= 4
        and channels * g.lane.stride <= woven_sums(g.height)
    )


cdef bint rows_are_lines(const Geometry* g) noexcept:
    """Whether each row of a dense result is whole lines of memory."""
    cdef Py_ssize_t i
    for i in range(g.n_outer):
        if g.outer[i].y_step % LINE:
            return False
    return (
        g.y_image % LINE == 0 and g.y_channel % LINE == 0 and g.lane.n_out * g.size % LINE == 0)


cdef bint lines_begin(const Geometry* g) noexcept:
    """Whether the lanes of each row of a dense result begin with a line of memory."""
    cdef const Axis* a = &g.lane
    return rows_are_lines(g) and (a.crop >= 0 and a.crop % a.stride == 0 or parts_lanes(g))


cdef bint streams(const Geometry* g, Py_ssize_t products) noexcept:
    """Whether lines of a streamed result leave from where sums of so many products are made.

    Where registers are few they do if the sums are short and a line is two vectors at most.
    """
    return (g.by_channel or lines_begin(g)) and (
        g.height == MANY_ROWS
        or products <= STREAMED_FEW and half_lines(g)
    )


cdef bint stencils(const Geometry* g) noexcept:
    """Whether sums are stored from where they are made.

    Either they are so short that accumulators between would cost more than they do, or the result
    is so large that caches have to take it while the next sums are made.
    """
    cdef const Axis* a = &g.lane
    cdef Py_ssize_t products = longest_sum(g), lanes = stencil_lanes(g, parts_lanes(g)), most, i
    for i in range(g.n_outer):
        # What joined phases have more is one tap of the first lane phase at most.
        if g.joined and (g.outer[i].kernel > 1 or longer_phases(a) != 1):
            return False
    most = STREAMED_PRODUCTS if g.streamed else STENCIL_PRODUCTS
    if (
        not g.streamed and g.y_bytes >= LONG_RESULT
        and g.interleaved and g.height == MANY_ROWS and g.c_out >= g.height
    ):
        most = LONG_PRODUCTS
    return (
        not g.by_batch and lanes > 0
        and (g.interleaved and a.y_step == g.element or weaves_channels(g))
        and stencil_takes(g) and g.c_out > 0 and 0 < g.c_in <= g.depth_block
        and products <= most
        # Rows of channels that are neighbours are held at once.
        and (g.interleaved or products * g.groups <= STREAMED_PRODUCTS)
        and (not g.streamed or streams(g, products))
        and (g.joined or parts_lanes(g) or not uneven(a))
        # Rows are not joined, and each may leave some of its lanes empty.
        and products * cost_apart(g, lanes, run_on_limit(g)) < (
            LONG_GAIN if most > STENCIL_PRODUCTS else stencil_gain(g))
    )


cdef void choose_stencil(Geometry* g) noexcept:
    """Whether sums are a stencil; those of a large result may go through the caches then."""
    g.stencil = stencils(g)
    if g.streamed and not g.stencil and not rows_are_lines(g) and longest_sum(g) > g.c_in and (
        g.height == MANY_ROWS or g.c_out <= g.height
    ):
        # Where taps overlap, parts of lines that are collected and streamed cost more than lines
        # that are read before they are written.
        g.streamed = False
        g.stencil = stencils(g)
        g.streamed = not g.stencil


cdef bint fetches(const Geometry* g) noexcept:
    """Whether lines of the result are fetched before, since no near cache has them.

    Where they follow each other in one row of each channel, a processor does that by itself.
    """
    cdef Py_ssize_t products = longest_sum(g)
    if g.stencil:
        return g.y_bytes >= FETCHED_RESULT or products > STENCIL_PRODUCTS
    return (
        g.interleaved and g.lane.y_step == g.element and not g.by_batch
        and g.y_bytes >= FETCHED_RESULT and not g.streamed and products >= FETCHED_PRODUCTS
        and g.outer[g.n_outer - 1].n_out > 1
    )


cdef bint goes_by_pixels(const Geometry* g) noexcept:
    """Whether channels are neighbours, and fill vectors pixel after pixel.

    Pixels inside of the borders are multiplied together, and what they read of the weights is not
    read anew too often.
    """
    cdef const Axis* a = pixel_axis(g)
    cdef Py_ssize_t inside = a.n_in - a.span
    # Pixels that are sums of one row of weights each are little work, and less to weave.
    cdef Py_ssize_t eighths = 6 if a.stride == a.kernel == 1 and g.c_out > g.vector else 7
    if not (
        g.x_channel == g.element and g.y_channel == g.element and plain_floats(g)
    ):
        return False
    if one_channel(g):
        return g.groups >= g.vector
    return (
        0 < g.c_in <= g.depth_block and g.c_out >= g.vector
        and 8 * g.c_out >= eighths * round_up(g.c_out, g.vector)
        and <double> g.taps * g.groups * g.c_in * g.c_out * g.size <= PIXEL_WEIGHTS
        and inside >= LEAST_INSIDE and inside >= 2 * a.span
    )


cdef inline bint doubles(const Geometry* g, Py_ssize_t i) noexcept:
    """Whether two phases of outer axis i are computed at once for all channels."""
    return (
        g.lane.stride == 2 and g.stencil_rows == 2 and g.outer[i].n_phases == 2
        and 4 * g.groups * g.c_out <= woven_sums(g.height)
    )
