# Three products in the place of four, for a first axis of twice as many taps as its stride has
# steps. Part of _columns.pyx.
#
# Such a kernel has two halves, g0 and g1, and the columns of g0 for row q of x land where those of
# g1 for the row before do: row q of sums is x[q] g0 + x[q-1] g1. Two of these share a product,
#
#     sums[2i]   = (x[2i-1] - x[2i]) g1 + x[2i] (g0 + g1)
#     sums[2i+1] = (x[2i+1] - x[2i]) g0 + x[2i] (g0 + g1) ,
#
# the minimal filtering algorithm F(2, 2) with the points 0, 1 and infinity. Sums are columns of
# half of the kernel, those of even rows and of odd ones each two strides apart, and along the first
# axis no two of them meet.

cdef inline char* pair_panels(
        const Columns* c, const Pairs* p, Py_ssize_t group, Py_ssize_t block) noexcept nogil:
    """Where the panels of a block of images begin."""
    return c.panels + (
        (group * c.images + block * p.images) * block_rows(p) * c.c_in * c.size)


cdef Columns even_columns(const Columns* c, const Pairs* p) noexcept nogil:
    """The problem of which the sums of even rows are the columns."""
    cdef Columns mine = c[0]
    mine.kernel[0] = c.stride[0]
    mine.taps = c.taps // 2
    mine.total = c.total // 2
    mine.n_in[0] = p.even
    mine.stride[0] = 2 * c.stride[0]
    return mine


cdef Columns odd_columns(const Columns* even, const Pairs* p) noexcept nogil:
    """The same for odd rows."""
    cdef Columns mine = even[0]
    mine.n_in[0] = p.odd
    mine.crop[0] = even.crop[0] - even.kernel[0]
    return mine


cdef void gather(
        const Columns* c, const Pairs* p, Py_ssize_t rows, Py_ssize_t shift, Py_ssize_t m,
        Py_ssize_t height, const char* src, Py_ssize_t channels, char* dst) noexcept nogil:
    """One panel of rows 2i + shift of x, i < `rows`, from pixel m of those on; zeros outside."""
    cdef Run runs[MAX_PANEL]
    cdef Py_ssize_t n_runs = 0, i, a, rest, row, at
    cdef bint missing = False, goes_on = False
    for i in range(height):
        rest = m + i
        at = 0
        for a in range(c.rank - 1, 0, -1):
            at += rest % c.n_in[a] * c.x_step[a]
            rest //= c.n_in[a]
        row = rest % rows * 2 + shift
        if not 0 <= row < p.n_in:
            missing, goes_on = True, False
            continue
        at += row * c.x_step[0] + rest // rows * c.x_image
        n_runs = add_to_runs(runs, n_runs, at, i, height, goes_on)
        goes_on = True
    if missing:
        memset(dst, 0, height * channels * c.size)
    c.k.pack[c.code](src, c.x_channel, channels, 1, runs, n_runs, dst)


cdef void subtract(char* a, const char* b, Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    """a -= b, of n numbers."""
    cdef Py_ssize_t i
    if size == 4:
        for i in range(n):
            (<float*> a)[i] -= (<const float*> b)[i]
    else:
        for i in range(n):
            (<double*> a)[i] -= (<const double*> b)[i]


cdef void pack_pairs(const Columns* c, const Pairs* p, Py_ssize_t task) noexcept nogil:
    """The three factors from some input channels of one block of images, in panels."""
    cdef Py_ssize_t blocks = ceil_div(c.images, p.images)
    cdef Py_ssize_t parts = ceil_div(c.c_in, PAIR_CHANNELS)
    cdef Py_ssize_t block = task % blocks, ci = task // blocks % parts * PAIR_CHANNELS
    cdef Py_ssize_t group = task // blocks // parts, channels = min(PAIR_CHANNELS, c.c_in - ci)
    cdef Py_ssize_t images = min(p.images, c.images - block * p.images)
    cdef const char* src = (
        c.x + (group * c.c_in + ci) * c.x_channel + block * p.images * c.x_image)
    cdef char* panel
    cdef char* to = pair_panels(c, p, group, block)
    cdef Py_ssize_t rows, m, height
    cdef int factor
    for factor in range(3):
        rows = p.even if factor == 0 else p.odd
        m = 0
        while m < images * rows * p.inner:
            height = panel_height(c.height, images * rows * p.inner - m)
            panel = to + ci * height * c.size
            gather(c, p, rows, factor - 1, m, height, src, channels, panel)
            if factor != 1:
                gather(c, p, rows, 0, m, height, src, channels, c.scratch)
                subtract(panel, c.scratch, channels * height, c.size)
            to += height * c.c_in * c.size
            m += height


cdef void multiply_pairs(
        const Columns* c, const char* w, const char* panels, Py_ssize_t even, Py_ssize_t odd,
        const Block* block, const Block* following) noexcept nogil:
    """Products of `even` pixels of the first factor and `odd` ones of the others, tile by tile.

    For the weights see `multiply`: they are fetched in the same way. What the tiles read of them
    stays in the cache.
    """
    cdef Py_ssize_t ci = 0, depth, width, i, m, n, height
    cdef Py_ssize_t calls = block.tiles * (count_panels(c, even) + 2 * count_panels(c, odd))
    cdef const char* row
    cdef const char* x
    cdef char* split = c.scratch + c.copied_at
    cdef char* acc
    cdef int factor
    cdef Ahead a
    while ci < c.c_in:
        depth = min(c.depth, c.c_in - ci)
        a = look_ahead(c, w, block, following, ci + depth, calls, depth)
        acc = c.scratch
        for i in range(block.tiles):
            width = block.vectors[i] * c.vector
            c.k.split_weights[c.compute](
                w + ci * weights_row(c), 2 * c.total, depth, c.taps, block.first[i], width, split,
                depth * width)
            x = panels
            for factor in range(3):
                row = split + factor * depth * width * c.size
                n = even if factor == 0 else odd
                m = 0
                while m < n:
                    height = panel_height(c.height, n - m)
                    multiply_panel(
                        c, &a, x + ci * height * c.size, row, width, depth, height,
                        block.vectors[i], acc, ci > 0, NULL)
                    x += height * c.c_in * c.size
                    acc += height * width * c.size
                    m += height
        ci += depth


cdef bint join_images(
        const Columns* c, const Pairs* p, Py_ssize_t images, char* even,
        Py_ssize_t width) noexcept nogil:
    """Sums of even and odd rows from the products of one tile; whether one is Inf or NaN."""
    cdef Py_ssize_t row = p.inner * width * c.size, image
    cdef char* both = even + images * p.even * row
    cdef char* odd = both + images * p.odd * row
    cdef bint bad = False
    for image in range(images):
        # The last of the even rows may be the first factor's only.
        bad |= c.k.join_products[c.compute](even, both, odd, p.odd * p.inner * width)
        even += p.even * row
        both += p.odd * row
        odd += p.odd * row
    return bad


cdef bint run_pairs(
        const Columns* c, const Pairs* p, const Cut* cut, Py_ssize_t task) noexcept nogil:
    """All columns of some output channels of one group; whether a sum is Inf or NaN."""
    cdef Py_ssize_t blocks = ceil_div(c.images, p.images), number = task % cut.parts
    cdef Py_ssize_t group = task // cut.parts % c.groups, share = task // cut.parts // c.groups
    cdef Py_ssize_t b, images, even, odd, n_even, n_odd, i, width
    cdef const char* w = c.w + group * c.c_in * 2 * c.total * c.size
    cdef const char* columns
    cdef Band* even_bands = <Band*> (c.scratch + c.bands_at)
    cdef Band* odd_bands
    cdef Py_ssize_t* even_places
    cdef Py_ssize_t* odd_places
    cdef Columns odds = odd_columns(c, p)
    cdef Columns into
    cdef Columns odds_into
    cdef const Columns* target
    cdef const Columns* odd_target
    cdef Walk walk
    cdef Block both[2]
    cdef Block* block
    cdef Block* following
    cdef Part part
    cdef Turned turned = start_turning(c, cut, share)
    cdef bint bad = False
    part.out_lo, part.out_hi = 0, c.n_out[0]
    for b in range(number * blocks // cut.parts, (number + 1) * blocks // cut.parts):
        images = min(p.images, c.images - b * p.images)
        part.image_lo = b * p.images
        part.image_hi = part.image_lo + images
        even = images * p.even * p.inner
        odd = images * p.odd * p.inner
        odd_bands = even_bands + even
        even_places = <Py_ssize_t*> (odd_bands + odd)
        odd_places = even_places + even * (c.rank - 1)
        n_even = list_bands(
            c, &part, part.image_lo * p.even * p.inner, even, even_bands, even_places)
        n_odd = list_bands(
            &odds, &part, part.image_lo * p.odd * p.inner, odd, odd_bands, odd_places)
        start_walk(c, cut, share, 0, &walk)
        block, following = &both[0], &both[1]
        next_block(c, &walk, block)
        while block.tiles:
            next_block(c, &walk, following)
            multiply_pairs(c, w, pair_panels(c, p, group, b), even, odd, block, following)
            columns = c.scratch
            target, odd_target = turn_to(c, &part, group, block, &turned, &into), &odds
            if target != c:
                odds_into = odd_columns(&into, p)
                odd_target = &odds_into
            for i in range(block.tiles):
                width = block.vectors[i] * c.vector
                bad |= join_images(c, p, images, <char*> columns, width)
                scatter(
                    target, &part, group, columns + block.skip[i] * c.size, width,
                    block.first[i] + block.skip[i], block.count[i], even_bands, even_places,
                    n_even)
                columns += (even + odd) * width * c.size
                scatter(
                    odd_target, &part, group, columns + block.skip[i] * c.size, width,
                    block.first[i] + block.skip[i], block.count[i], odd_bands, odd_places, n_odd)
                columns += odd * width * c.size
            block, following = following, block
        # The next block has other images.
        put_back(c, &turned)
    return bad
