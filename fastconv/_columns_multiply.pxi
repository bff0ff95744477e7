# Panels of pixels times a block's weights, while the next weights arrive. Part of _columns.pyx.
#
# Rows of weights are often a power of two of bytes apart, which the hardware does not foresee. So
# they are asked for a whole row at a time, while what comes before them is multiplied: each tile
# asks for its share, and spreads it over its own time as far as it can, since a processor waits
# once a few dozen lines are on their way.

# The weights that are multiplied next: some rows, of the columns of a block.
cdef struct Ahead:
    const Block* block
    const char* row                      # the next one that is asked for
    Py_ssize_t left                      # rows that are not yet
    Py_ssize_t share, calls, due         # rows for so many tiles; what is left of shares
    Py_ssize_t parts                     # that tall tiles may be cut into to ask for a row each,
    Py_ssize_t bytes                     # ... of so many bytes; or else 0


cdef inline Py_ssize_t padded(Py_ssize_t pixels) noexcept nogil:
    """Pixels that their panels have room for; full panels have four or eight.

    Three that are left over would be tiles of two rows and of one, each of which takes as long as
    one of four: reading weights is what they wait for. So are the last three of seven.
    """
    return pixels + (pixels % 4 == 3)


cdef Py_ssize_t count_panels(const Columns* c, Py_ssize_t pixels) noexcept nogil:
    """How many panels there are of so many pixels."""
    cdef Py_ssize_t n = 0
    while pixels > 0:
        pixels -= panel_height(c.height, pixels)
        n += 1
    return n


cdef inline Py_ssize_t weights_at(const Columns* c, Py_ssize_t column) noexcept nogil:
    """Where a column's weights begin in a row, in bytes.

    With `split` those of both halves of a channel's taps are columns of one number.
    """
    return (column // c.taps * 2 * c.taps if c.split else column) * c.size


cdef inline Py_ssize_t weights_end(
        const Columns* c, const Block* block, Py_ssize_t tile) noexcept nogil:
    """Where the weights of a tile end in a row, in bytes."""
    cdef Py_ssize_t end = block.first[tile] + block.vectors[tile] * c.vector
    return weights_at(c, end + c.taps - 1 if c.split else end)


cdef inline Py_ssize_t weights_row(const Columns* c) noexcept nogil:
    """Bytes from one input channel's weights to the next one's."""
    return (2 if c.split else 1) * c.total * c.size


cdef inline bint works_beside(const Columns* c) noexcept nogil:
    """Whether tall tiles ask and copy: not those with vectors of 16 bytes, see `Beside`."""
    return 2 * c.vector * c.size >= LINE


cdef const char* copy_weights(
        const Columns* c, const char* row, Py_ssize_t depth, Py_ssize_t width) noexcept nogil:
    """Rows of a tile's weights next to each other, for tiles that do not copy what they read."""
    cdef char* to = c.scratch + c.copied_at
    cdef Py_ssize_t k
    for k in range(depth):
        copy_run(to + k * width * c.size, row + k * c.total * c.size, width * c.size)
    return to


cdef Ahead look_ahead(
        const Columns* c, const char* w, const Block* block, const Block* following,
        Py_ssize_t ci, Py_ssize_t calls, Py_ssize_t depth) noexcept nogil:
    """What comes after the input channels of a block before `ci`.

    It is asked for by so many tiles, of `depth` input channels.
    """
    cdef Ahead a
    cdef Py_ssize_t i
    a.block = block
    if ci == c.c_in:
        a.block, ci = following, 0
    a.row = w + ci * weights_row(c)
    a.left = min(c.depth, c.c_in - ci) if a.block.tiles else 0
    a.bytes = 0
    for i in range(a.block.tiles):
        if i > 0 and a.block.first[i] + a.block.skip[i] != (
                a.block.first[i - 1] + a.block.skip[i - 1] + a.block.count[i - 1]):
            a.bytes = 0
            break
        a.bytes = weights_end(c, a.block, i) - weights_at(c, a.block.first[0])
    a.share, a.calls, a.due = a.left, calls, 0
    a.parts = 1 if a.bytes and works_beside(c) and depth * LINE >= a.bytes else 0
    while 0 < a.parts < MAX_AHEAD and (
            depth % (2 * a.parts) == 0 and depth // (2 * a.parts) * LINE >= a.bytes):
        a.parts *= 2
    return a


cdef Py_ssize_t ask(
        const Columns* c, Ahead* a, Py_ssize_t depth, bint tall, Beside* beside) noexcept nogil:
    """Ask for the share of one tile; into how many parts the tile should cut its input channels.

    A tall tile asks for a row with each part, unless it has none; the rest is asked for here.
    """
    cdef Py_ssize_t rows, parts = 0, i
    cdef const char* at
    cdef const char* end
    a.due += a.share
    rows = min(a.due // a.calls, a.left)
    if tall and rows and a.parts:
        parts = 1
        while parts < min(rows, a.parts):
            parts *= 2
    # One more for a part that would have none.
    rows = min(max(rows, parts), a.left)
    a.due -= rows * a.calls
    a.left -= rows
    for i in range(parts):
        beside.ahead[i] = a.row + weights_at(c, a.block.first[0])
        if rows:
            a.row += weights_row(c)
            rows -= 1
    while rows:
        for i in range(a.block.tiles):
            at = a.row + weights_at(c, a.block.first[i])
            end = a.row + weights_end(c, a.block, i)
            while at < end:
                prefetch_far(at)
                at += LINE
        a.row += weights_row(c)
        rows -= 1
    if parts:
        beside.step = ceil_div(a.bytes, depth // parts)
    return parts


cdef void multiply_panel(
        const Columns* c, Ahead* a, const char* panel, const char* row, Py_ssize_t pitch,
        Py_ssize_t depth, Py_ssize_t height, Py_ssize_t vectors, char* acc, bint accumulate,
        char* copy) noexcept nogil:
    """One tile, which leaves its weights at `copy`, next to each other, unless that is NULL.

    Only tiles of full height do.
    """
    cdef Py_ssize_t parts, i
    cdef Py_ssize_t taps[MAX_AHEAD]
    cdef const void* rows[MAX_AHEAD]
    cdef Beside beside
    cdef bint works
    parts = ask(c, a, depth, height == c.height, &beside)
    beside.copy = copy
    works = parts > 0 or copy
    if parts == 0:
        # A line that is there.
        parts, beside.ahead[0], beside.step = 1, row, 0
    depth //= parts
    for i in range(parts):
        taps[i] = i
        rows[i] = row + i * depth * pitch * c.size
    c.k.tile[c.compute][log2_height(height)][vectors - 1](
        panel, depth * height, taps, rows, parts, 1, 0, 0, depth, pitch, 1, acc,
        vectors * c.vector, accumulate, 1, 0, &beside if works else NULL,
    )


cdef void multiply(
        const Columns* c, const char* w, const char* panels, Py_ssize_t n, const Block* block,
        const Block* following) noexcept nogil:
    """The columns of n pixels, tile by tile: [pixel][column of the tile].

    Tiles of few rows read weights again and again, and few of these fit into the first-level cache
    where they are a power of two of bytes apart; so the first tile leaves a copy to the others, or
    where it does not work beside, many pixels are worth one that is made before.
    """
    cdef Py_ssize_t ci = 0, calls = count_panels(c, padded(n)) * block.tiles
    cdef Py_ssize_t depth, width, pitch, i, m, height
    cdef const char* row
    cdef char* acc
    cdef char* copy
    cdef bint few = c.height <= FEW_ROWS
    cdef Ahead a
    while ci < c.c_in:
        depth = min(c.depth, c.c_in - ci)
        a = look_ahead(c, w, block, following, ci + depth, calls, depth)
        acc = c.scratch
        for i in range(block.tiles):
            width = block.vectors[i] * c.vector
            row = w + (ci * c.total + block.first[i]) * c.size
            pitch = c.total
            copy = NULL
            if few and n > c.height and works_beside(c):
                copy = c.scratch + c.copied_at
            elif few and n >= COPIED_PIXELS and not works_beside(c):
                row, pitch = copy_weights(c, row, depth, width), width
            m = 0
            while m < n:
                height = panel_height(c.height, padded(n) - m)
                multiply_panel(
                    c, &a, panels + (m * c.c_in + ci * height) * c.size, row, pitch, depth,
                    height, block.vectors[i], acc, ci > 0, copy)
                if copy:
                    row, pitch, copy = copy, width, NULL
                acc += height * width * c.size
                m += height
        ci += depth
