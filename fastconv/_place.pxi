# From the number of a task to the elements of the result that it stores. Included by the driver,
# which computes there, and by the plan, whose `places` tells it to tests: both walk the same way.

# One place in the loops of a task.
cdef struct Place:
    Py_ssize_t image
    Py_ssize_t group, groups             # the first of the task, and how many
    Py_ssize_t q[MAX_AXES]
    Py_ssize_t lane_lo, lane_hi
    Py_ssize_t row_lo, row_hi
    Py_ssize_t tile_lane                 # lane of the tile that a store starts at
    Py_ssize_t block_lo, block_hi        # blocks of output channels that the task does
    Py_ssize_t channel_0, channels       # block of output channels of each group,
    Py_ssize_t blocks                    # and how many of as many channels follow each other
    Py_ssize_t set
    Py_ssize_t first[MAX_AXES]           # of the set's classes: the first phase,
    Py_ssize_t size[MAX_AXES]            # how many phases,
    Py_ssize_t taps[MAX_AXES]            # and how many taps each has
    Py_ssize_t phases, set_taps          # products of size and of taps
    Py_ssize_t flat_lo, flat_hi          # rows of a flat task that have a result of the set
    Py_ssize_t n_rows                    # outer taps inside the input
    bint inner                           # all taps of the rows' axis are, and all phases are stored
    bint listed                          # the list of outer taps is new
    char* y                              # image and block of channels


cdef inline Py_ssize_t result_at(const Axis* a, Py_ssize_t q, Py_ssize_t phase) noexcept nogil:
    """Where a phase has its result along an axis; it may be outside of the window."""
    return q * a.stride + phase * a.dilation - a.crop


cdef inline void enter_task(const Geometry* g, Py_ssize_t task, Place* p) noexcept nogil:
    """The lanes, rows, other positions, groups, image and blocks of channels of one task."""
    cdef Py_ssize_t last = g.n_outer - 1, i, n, share
    p.lane_lo = g.lane.q_lo + task % g.n_lane_blocks * g.lane_block
    p.lane_hi = min(p.lane_lo + g.lane_block, g.lane.q_hi)
    task //= g.n_lane_blocks
    p.row_lo = g.outer[last].q_lo + task % g.n_row_blocks * g.row_block
    p.row_hi = min(p.row_lo + g.row_block, g.outer[last].q_hi)
    p.flat_lo, p.flat_hi = p.row_lo, p.row_hi
    task //= g.n_row_blocks
    for i in range(last - 1, -1, -1):
        n = g.outer[i].q_hi - g.outer[i].q_lo
        p.q[i] = g.outer[i].q_lo + task % n
        task //= n
    p.group = task % g.n_group_blocks * g.group_block
    p.groups = min(g.group_block, g.groups - p.group)
    task //= g.n_group_blocks
    p.image = task % g.images
    share = task // g.images
    p.block_lo = share * g.n_channel_blocks // g.channel_tasks
    p.block_hi = (share + 1) * g.n_channel_blocks // g.channel_tasks


cdef inline void enter_block(const Geometry* g, Py_ssize_t block, Place* p) noexcept nogil:
    """The output channels of one block, and of those that are computed together with it."""
    p.channel_0 = block * g.channel_block
    p.channels = min(g.channel_block, g.c_out - p.channel_0)
    p.blocks = 1
    if g.stencil and p.groups == 1:
        p.blocks = max(1, min(p.block_hi, g.c_out // g.channel_block) - block)


cdef inline Py_ssize_t last_q(const Geometry* g, const Place* p, Py_ssize_t i) noexcept nogil:
    """The last position along outer axis `i`: a flat task does all its rows at once."""
    return p.row_hi - 1 if g.flat and i == g.n_outer - 1 else p.q[i]


cdef inline bint enter_set(const Geometry* g, Place* p) noexcept nogil:
    """Fill in the classes of set `p.set`; whether it has any result at this place."""
    cdef const Axis* a
    cdef Py_ssize_t last = g.n_outer - 1, rest = p.set, i, j, cls, f, low
    cdef bint inside
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
        for j in range(p.q[i], last_q(g, p, i) + 1):
            f = result_at(a, j, p.first[i])
            low = max(0, ceil_div(-f, a.dilation))
            if low < p.size[i] and f + low * a.dilation < a.n_out:
                if i == last:
                    p.flat_lo = p.flat_lo if inside else j
                    p.flat_hi = j + 1
                inside = True
        if not inside:
            return False
    return True


# What a task of the pixelwise driver does: rows of the result, and pixels of each.
cdef struct PixelPart:
    Py_ssize_t image, row, row_stop, low, stop


cdef inline bint one_channel(const Geometry* g) noexcept nogil:
    """Whether groups have one channel each, so that lanes run along them."""
    return g.c_in == 1 and g.c_out == 1


cdef inline const Axis* pixel_axis(const Geometry* g) noexcept nogil:
    """The axis whose pixels are computed one after the other, with the same taps."""
    if g.by_batch:
        return &g.outer[g.n_outer - 1]
    return &g.lane


cdef inline Py_ssize_t result_rows(const Geometry* g) noexcept nogil:
    """Rows of an image's result: positions of all axes but that of the pixels."""
    cdef Py_ssize_t rows = 1, i
    for i in range(g.n_outer - 1 if g.by_batch else g.n_outer):
        rows *= g.outer[i].n_out
    return rows


cdef inline PixelPart pixel_part(const Geometry* g, Py_ssize_t task) noexcept nogil:
    """The part of the result that one task of the pixelwise driver computes."""
    cdef PixelPart part
    part.low = task % g.n_lane_blocks * g.lane_block
    part.stop = min(part.low + g.lane_block, pixel_axis(g).n_out)
    task //= g.n_lane_blocks
    part.row = task % g.n_row_blocks * g.row_block
    part.row_stop = min(part.row + g.row_block, result_rows(g))
    part.image = task // g.n_row_blocks
    return part
