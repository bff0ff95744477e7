# How pixels and weights are cut for workers, and what scratch that takes. Part of _columns.pyx.

cdef Py_ssize_t count_pixels(problem, Py_ssize_t images) except -1:
    """Pixels of the whole batch."""
    for n in problem.spatial_in:
        images *= n
    return images


cdef Py_ssize_t block_vectors(Py_ssize_t pixels, Py_ssize_t vector_bytes) noexcept nogil:
    """Vectors of columns in a block: whole tiles, at least one."""
    cdef Py_ssize_t most = max(COLUMN_VECTORS, NEAR_BYTES // vector_bytes // max(pixels, 1))
    return TALL_VECTORS * clip(
        BLOCK_VECTORS // (max(pixels, 1) * TALL_VECTORS), 1, most // TALL_VECTORS)


cdef Py_ssize_t share_start(const Shares* shares, Py_ssize_t number) noexcept nogil:
    """Where a share begins; the one after the last begins at the end."""
    cdef Py_ssize_t at = 0, size = 0, i
    for i in range(number):
        if i % shares.workers == 0:
            size = ceil_div(shares.total - at, shares.workers)
            if size > shares.enough:
                size = ceil_div(size, 2)
                if size > shares.whole:
                    size -= size % shares.whole
            size = max(size, shares.least)
        at = min(at + size, shares.total)
    return at


cdef Py_ssize_t slice_start(const Cut* cut, Py_ssize_t slice) noexcept nogil:
    """The first phase of a slice; the one after the last begins at the end."""
    return min(share_start(&cut.slices, slice) * cut.unit, cut.n_phases)


cdef Shares share_out(
        Py_ssize_t total, Py_ssize_t workers, Py_ssize_t enough, Py_ssize_t whole,
        Py_ssize_t least) noexcept:
    """Shares for so many workers; see the struct."""
    cdef Shares shares
    shares.total, shares.workers, shares.enough = total, workers, enough
    shares.whole, shares.least, shares.count = whole, least, 0
    while share_start(&shares, shares.count) < total:
        shares.count += 1
    return shares


cdef Py_ssize_t make_cut(
        problem, Py_ssize_t workers, Py_ssize_t vector, bint karatsuba, Cut* cut) except -1:
    """Share out the columns; how many tasks there are."""
    cdef Py_ssize_t c_out = problem.c_out // problem.groups, groups = problem.groups
    cdef Py_ssize_t taps = 1, a, k, inner = 1, tasks, pieces, share, least, units, own
    cdef Axis axes[MAX_AXES]
    make_axes(<tuple> problem, axes)
    cut.axis, cut.period, cut.n_phases = 0, 1, 1
    for a, k in enumerate(problem.kernel):
        taps *= k
        # Halves of a kernel go by channels only.
        if karatsuba:
            continue
        if axes[a].n_phases > cut.n_phases:
            cut.axis, cut.period, cut.n_phases = a, axes[a].period, axes[a].n_phases
    # A task goes through all pixels for each block of columns. Shares of one group become shorter,
    # those of several are equal.
    least = max(1, min(ceil_div(MIN_COLUMNS, taps), c_out))
    share = ceil_div(c_out * groups, workers)
    pieces = clip(share * taps // TASK_COLUMNS, 1, TASKS_PER_WORKER) if workers > 1 else 1
    if groups == 1 and pieces > 1:
        cut.channels = share_out(c_out, workers, ceil_div(TASK_COLUMNS, taps), 1, least)
    else:
        share = clip(ceil_div(share, pieces), least, max(c_out, 1))
        cut.channels = share_out(c_out, max(1, ceil_div(c_out, share)), c_out, 1, least)
    tasks = groups * cut.channels.count
    for k in problem.kernel[cut.axis + 1:]:
        inner *= k
    # A run of columns should fill a vector, and a longer one whole tiles.
    cut.unit = ceil_div(vector, inner)
    units = ceil_div(cut.n_phases, cut.unit)
    own = ceil_div(workers, max(tasks, 1))
    cut.slices = share_out(units, own, TALL_VECTORS if own > 1 else units, TALL_VECTORS, 1)
    tasks *= cut.slices.count
    # Parts of one image overlap in as many pixels as taps reach one result.
    images, n = math.prod(problem.batch), problem.spatial_in[0]
    reach = (problem.kernel[0] - 1) * problem.dilation[0] // problem.stride[0] if n > 1 else 0
    least = ceil_div(LEAST_PART, max(count_pixels(problem, 1) // n, 1))
    most = images if images > 1 else 1 if karatsuba else n // max(least, OVERLAP * reach)
    cut.parts = clip(workers // max(tasks, 1), 1, max(most, 1))
    return tasks * cut.parts


cdef inline Py_ssize_t block_rows(const Pairs* p) noexcept nogil:
    """Pixels of the three factors of one image."""
    return (p.even + 2 * p.odd) * p.inner


cdef Pairs make_pairs(problem, Py_ssize_t images, Py_ssize_t parts) except *:
    """Rows of sums and blocks of images, at least as many as there are parts."""
    cdef Pairs p
    p.n_in = problem.spatial_in[0]
    p.even = p.n_in // 2 + 1
    p.odd = ceil_div(p.n_in, 2)
    p.inner = count_pixels(problem, 1) // p.n_in
    p.images = clip(PIXELS // block_rows(&p), 1, max(1, images // parts))
    return p


def count_rows(problem):
    """Pixels of the factors of one image, where two rows of sums share a product."""
    cdef Pairs p = make_pairs(problem, 1, 1)
    return block_rows(&p)


def panel_bytes(problem, Py_ssize_t images, Py_ssize_t size, bint karatsuba):
    """Bytes of the copy of x that `run` needs."""
    cdef Py_ssize_t pixels = padded(count_pixels(problem, images))
    if karatsuba:
        pixels = images * count_rows(problem)
    return round_up(pixels * problem.c_in * size, LINE)


cdef void make_layout(
        problem, Py_ssize_t images, Py_ssize_t parts, Py_ssize_t vector, Py_ssize_t size,
        bint karatsuba, Columns* c) except *:
    """How many columns a block has, and where things are in the scratch of a worker."""
    cdef Py_ssize_t pixels = padded(count_pixels(problem, images)), depth
    cdef Py_ssize_t most = min(pixels, PIXELS)
    cdef Pairs p
    if karatsuba:
        p = make_pairs(problem, images, parts)
        pixels = most = p.images * block_rows(&p)
    c.capacity = block_vectors(pixels, vector * size)
    # Of both halves of a kernel as many bytes are fetched together.
    c.depth = min(MAX_DEPTH, WEIGHT_BYTES // ((1 + karatsuba) * c.capacity * vector * size))
    # All parts of the channels are about as long, and each in equal parts of a tile, which ask for
    # something.
    c.depth -= c.depth % MAX_AHEAD
    depth = problem.c_in // problem.groups
    c.depth = round_up(ceil_div(depth, ceil_div(depth, c.depth)), MAX_AHEAD)
    c.bands_at = most * c.capacity * vector * size
    c.copied_at = round_up(
        c.bands_at + most * (
            sizeof(Band) + (len(problem.kernel) - 1) * <Py_ssize_t> sizeof(Py_ssize_t)), LINE)
    c.turned_at = c.copied_at + (SPLIT_BYTES if karatsuba else COPIED_BYTES)
    c.worker_bytes = c.turned_at + turned_bytes(problem)


def worker_bytes(
        problem, Py_ssize_t images, Py_ssize_t workers, Py_ssize_t vector, Py_ssize_t size,
        bint karatsuba):
    """Scratch of one of at most so many workers."""
    cdef Columns c
    cdef Cut cut
    make_cut(problem, workers, vector, karatsuba, &cut)
    make_layout(problem, images, cut.parts, vector, size, karatsuba, &c)
    return c.worker_bytes + 1


cdef Py_ssize_t turned_bytes(problem) except -1:
    """Scratch of one worker for results that are turned, if they may be."""
    cdef Py_ssize_t last = len(problem.kernel) - 1
    return TURNED_BYTES if problem.kernel[last] >= TURNED_TAPS else 0


def count_tasks(problem, Py_ssize_t workers, Py_ssize_t vector, bint karatsuba):
    """Tasks for at most `workers` threads."""
    cdef Cut cut
    return make_cut(problem, workers, vector, karatsuba, &cut)


def task_columns(problem, Py_ssize_t workers, Py_ssize_t vector, bint karatsuba):
    """Columns of each task for at most `workers` threads, in the order in which they are taken."""
    cdef Cut cut
    cdef Py_ssize_t tasks = make_cut(problem, workers, vector, karatsuba, &cut)
    cdef Py_ssize_t share, slice, phase, channels, taps, length = 1
    columns = []
    if cut.n_phases > 1:
        length = problem.kernel[cut.axis]
    for share in range(cut.channels.count):
        channels = share_start(&cut.channels, share + 1) - share_start(&cut.channels, share)
        for slice in range(cut.slices.count):
            taps = 0
            for phase in range(slice_start(&cut, slice), slice_start(&cut, slice + 1)):
                taps += ceil_div(length - phase, cut.period)
            columns += [channels * taps * math.prod(problem.kernel) // length] * (
                tasks // cut.channels.count // cut.slices.count)
    return columns
