"""The driver of the col2im method: columns = x^T w on the raw weights, scattered right away.

A block of columns, (output channel, kernel tap) for all pixels, stays in the cache until it is
added to the result. The weights are read once where they lie, and fetched into the cache while
the block before them is multiplied. Each task owns some output channels, or where those are few
some phases of one axis, or a part of the result as well, so additions have one order and need no
lock.
"""

import math

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport uintptr_t
from libc.string cimport memset

from fastconv._arith cimport ceil_div, clip, floor_div, round_up
from fastconv._memory cimport Buffer, Memory, enter_fenv, fenv_t, kernel_table, leave_fenv
from fastconv._plan cimport make_axes
from fastconv._prefetch cimport prefetch_far
from fastconv._stream cimport copy_run
from fastconv._team cimport team_barrier
from fastconv._types cimport (
    LINE, MAX_AHEAD, MAX_AXES, QUAD, TALL_VECTORS, TASKS_PER_WORKER, Axis, Beside, KernelTable,
    Load, Rows, Run, Store, log2_height, one_row, panel_height, tile_vectors,
)

cdef enum:
    PIXELS = 1024               # of a block: the weights are read once for each
    # Vectors of the columns of all pixels, which stay in the cache, and at most of one pixel: whole
    # tiles. Shorter vectors have fewer bytes, and so more input channels for each call of a tile.
    BLOCK_VECTORS = 2048
    COLUMN_VECTORS = 30
    # Few pixels, whose columns take no more than this, may have more: the longer what is read of a
    # row, the nearer to what the memory gives.
    NEAR_BYTES = 15 << 10
    WEIGHT_BYTES = 120 << 10    # that are fetched together: fewer columns are deeper, ...
    MAX_DEPTH = 256             # ... up to so many input channels
    MAX_TILES = 160             # of a block
    MIN_COLUMNS = 48            # of the output channels of a task,
    TASK_COLUMNS = 256          # ... and of each of several of a worker's
    LEAST_PART = 32             # pixels of a part of one image, which is at least ...
    OVERLAP = 8                 # times as long as what it has in common with the next
    PACK_PIXELS = 64            # of a packing task, a multiple of the tallest tile's rows ...
    PACK_CHANNELS = 256         # ... and its input channels
    FEW_ROWS = 4                # of the tallest tile, for which weights are worth a copy,
    COPIED_PIXELS = 32          # ... from so many pixels on if one is made before,
    COPIED_BYTES = MAX_DEPTH * TALL_VECTORS * 32  # ... and its bytes
    LONG_RUN = 16               # vectors in a row that are worth one more, to be aligned
    TURNED_TAPS = 3             # of the last axis that are worth turning a result for,
    TURNED_CHANNELS = 64        # ... so many output channels at a time at most,
    TURNED_BYTES = 1 << 18      # ... and their results
    SHUFFLED_TAPS = 64          # of a pixel at most that are stored one after the other
    MAX_PANEL = 8               # pixels of a panel
    PAIR_CHANNELS = 64          # of a task that packs pairs of rows
    SPLIT_BYTES = 3 * MAX_DEPTH * TALL_VECTORS * 64  # of a tile's weights, their halves and sums


cdef struct Columns:
    const KernelTable* k
    int code, compute
    Py_ssize_t size, vector, height
    Py_ssize_t rank, images, groups, c_in, c_out, taps, pixels
    Py_ssize_t total      # columns of a group: c_out * taps
    Py_ssize_t band_axis  # the last axis but one that has some length, or -1: the images
    Py_ssize_t n_in[MAX_AXES]
    Py_ssize_t n_out[MAX_AXES]
    Py_ssize_t kernel[MAX_AXES]
    Py_ssize_t stride[MAX_AXES]
    Py_ssize_t dilation[MAX_AXES]
    Py_ssize_t crop[MAX_AXES]
    Py_ssize_t x_step[MAX_AXES]
    Py_ssize_t y_step[MAX_AXES]
    Py_ssize_t x_image, x_channel, y_image, y_channel
    const char* x
    const char* w
    const char* bias
    char* y
    char* panels          # of x: [group][panel of pixels][input channel][pixel]
    char* scratch         # of the first worker: columns, then the bands their pixels are in
    Py_ssize_t worker_bytes  # from one worker's scratch to the next's
    char* news            # of each worker, whether a sum was Inf or NaN
    Py_ssize_t capacity   # vectors of columns in a block
    Py_ssize_t depth      # input channels that are multiplied at a time
    Py_ssize_t bands_at   # where bands begin in the scratch of a worker,
    Py_ssize_t copied_at  # ... copies of weights,
    Py_ssize_t turned_at  # ... and turned results
    bint split            # columns are sums of products with halves of the kernel
    bint once             # one column reaches each result: it is stored, with the bias,
    bint shuffled         # ... pixel by pixel
    Py_ssize_t fills      # tasks that write the bias first, where more are added
    Py_ssize_t fill_axes, fill_length    # axes over runs of the result, their length


# Runs of channels, or of units of phases, one for each task, in rounds of one for each worker. A
# round takes half of what is left, so that workers end together whatever held up some of them.
cdef struct Shares:
    Py_ssize_t total, workers, count
    Py_ssize_t enough     # for a worker: if no more is left, a round takes all
    Py_ssize_t whole      # of a half: longer ones are a multiple of it
    Py_ssize_t least      # of a share


# How the columns of a group are shared out: a task has some output channels and some phases of
# one axis of the kernel, those taps whose remainder modulo `period` is in a range.
cdef struct Cut:
    Shares channels
    Shares slices         # of the phases,
    Py_ssize_t unit       # ... by as many of them as fill a vector
    Py_ssize_t axis, period, n_phases
    Py_ssize_t parts      # of the images, or of the first axis of one image


# The part of the result that a task owns, and pixels that reach it, whole panels of them.
cdef struct Part:
    Py_ssize_t image_lo, image_hi
    Py_ssize_t out_lo, out_hi            # positions along the first axis
    Py_ssize_t pixel_lo, pixel_hi


# Pairs of rows of sums that share a product, see _columns_karatsuba.pxi. A block is some images,
# with panels of its own for each of the three factors made from x, one after the other.
cdef struct Pairs:
    Py_ssize_t n_in                      # rows of x
    Py_ssize_t even, odd                 # rows of sums
    Py_ssize_t inner                     # pixels of a row
    Py_ssize_t images                    # of a block


# The columns of a task: runs [lead][turn], each from phase `low` to `high` of one period.
cdef struct Walk:
    Py_ssize_t base, length, inner       # first column; taps of the axis; columns of one tap
    Py_ssize_t period, turns, low, high
    Py_ssize_t most                      # vectors of a block, so that all are about as large
    Py_ssize_t run, runs, done           # where the walk stands: columns of the run that are done


cdef struct Block:
    Py_ssize_t tiles
    Py_ssize_t first[MAX_TILES]          # the first column that is read ...
    Py_ssize_t skip[MAX_TILES]           # ... and how many of another tile come before its own
    Py_ssize_t count[MAX_TILES]
    Py_ssize_t vectors[MAX_TILES]


cdef inline Py_ssize_t add_to_runs(
        Run* runs, Py_ssize_t n_runs, Py_ssize_t src, Py_ssize_t dst, Py_ssize_t height,
        bint goes_on) noexcept nogil:
    """List one number more of a panel, which may go on with the last run; how many runs."""
    cdef Run* run = &runs[n_runs - 1 if goes_on else n_runs]
    if goes_on and run.count == 1:
        run.src_step = src - run.src
    elif not goes_on or src != run.src + run.count * run.src_step:
        run = &runs[n_runs]
        n_runs += 1
        run.src, run.src_step = src, 0
        run.dst, run.dst_step = dst, 1
        run.height = height
        run.count = 0
    run.count += 1
    return n_runs


cdef void pack_pixels(const Columns* c, Py_ssize_t task) noexcept nogil:
    """Bring some pixels and input channels of one group into panels."""
    cdef Run runs[PACK_PIXELS]
    cdef Py_ssize_t blocks = ceil_div(c.pixels, PACK_PIXELS)
    cdef Py_ssize_t parts = ceil_div(c.c_in, PACK_CHANNELS)
    cdef Py_ssize_t first = task % blocks * PACK_PIXELS, n = min(PACK_PIXELS, c.pixels - first)
    cdef Py_ssize_t ci = task // blocks % parts * PACK_CHANNELS, group = task // blocks // parts
    cdef Py_ssize_t n_runs = 0, m = 0, height, i, a, rest, src
    while m < n:
        height = panel_height(c.height, padded(n) - m)
        for i in range(height):
            # A pixel too many is the last one again, whose columns nobody reads.
            rest = first + min(m + i, n - 1)
            src = 0
            for a in range(c.rank - 1, -1, -1):
                src += rest % c.n_in[a] * c.x_step[a]
                rest //= c.n_in[a]
            src += rest * c.x_image
            n_runs = add_to_runs(
                runs, n_runs, src, (first + m) * c.c_in + ci * height + i, height, i > 0)
        m += height
    c.k.pack[c.code](
        c.x + (group * c.c_in + ci) * c.x_channel, c.x_channel, min(PACK_CHANNELS, c.c_in - ci),
        1, runs, n_runs, c.panels + group * padded(c.pixels) * c.c_in * c.size,
    )


cdef inline bint channels_last(const Columns* c) noexcept nogil:
    """Whether channels are the neighbours in the result."""
    return c.y_channel == c.size and c.y_step[c.rank - 1] != c.size


cdef void start_walk(
        const Columns* c, const Cut* cut, Py_ssize_t share, Py_ssize_t slice,
        Walk* walk) noexcept nogil:
    """All columns of a share of the output channels and a slice of the phases."""
    cdef Py_ssize_t channel = share_start(&cut.channels, share), a, vectors
    cdef Py_ssize_t channels = share_start(&cut.channels, share + 1) - channel, lead = channels
    walk.base = channel * c.taps
    walk.run = walk.done = 0
    if cut.slices.count == 1:
        # All taps are neighbours.
        walk.length = walk.period = walk.high = walk.runs = walk.turns = 1
        walk.low = 0
        walk.inner = channels * c.taps
        vectors = ceil_div(walk.inner, c.vector)
        walk.most = min(
            c.capacity, round_up(ceil_div(vectors, ceil_div(vectors, c.capacity)), TALL_VECTORS))
        return
    walk.most = c.capacity
    walk.inner = 1
    for a in range(c.rank):
        if a < cut.axis:
            lead *= c.kernel[a]
        elif a > cut.axis:
            walk.inner *= c.kernel[a]
    walk.length = c.kernel[cut.axis]
    walk.period = cut.period
    walk.turns = ceil_div(walk.length, walk.period)
    walk.runs = lead * walk.turns
    walk.low = slice_start(cut, slice)
    walk.high = slice_start(cut, slice + 1)


cdef inline Py_ssize_t past_vector(const Columns* c, Py_ssize_t column) noexcept nogil:
    """How many columns ago an aligned vector of weights began; 0 if rows differ in that."""
    cdef Py_ssize_t bytes = (<uintptr_t> c.w + column * c.size) % (c.vector * c.size)
    return 0 if c.split or c.total % c.vector or bytes % c.size else bytes // c.size


cdef void next_block(const Columns* c, Walk* walk, Block* block) noexcept nogil:
    """The next columns of a walk, as tiles; none at its end."""
    cdef Py_ssize_t left = walk.most, low, high, start, n, vectors, i, skip
    block.tiles = 0
    while walk.run < walk.runs and left > 0 and block.tiles < MAX_TILES:
        low = walk.run % walk.turns * walk.period
        high = min(low + walk.high, walk.length)
        low += walk.low
        n = (high - low) * walk.inner - walk.done
        if n <= 0:
            walk.run += 1
            walk.done = 0
            continue
        start = walk.base + (
            (walk.run // walk.turns * walk.length + low) * walk.inner + walk.done)
        # In a long run all vectors are aligned, from the first or the second tile on.
        skip = 0
        if walk.done == 0 and n >= LONG_RUN * c.vector:
            skip = past_vector(c, start)
            if skip > start:
                n, skip = c.vector - skip, 0
        vectors = tile_vectors(skip + n, c.vector, TALL_VECTORS, c.height)
        if left == 1 < vectors and block.tiles:
            # A tile of one vector is slow.
            break
        vectors = min(vectors, left, c.total // c.vector)
        i = block.tiles
        block.vectors[i] = vectors
        block.count[i] = min(n, vectors * c.vector - skip)
        # The last tile of all is moved back, not to read past the weights.
        block.first[i] = min(start - skip, c.total - vectors * c.vector)
        block.skip[i] = start - block.first[i]
        block.tiles += 1
        walk.done += block.count[i]
        left -= vectors


include "_columns_multiply.pxi"
include "_columns_fill.pxi"
include "_columns_scatter.pxi"
include "_columns_turned.pxi"
include "_columns_shuffled.pxi"
include "_columns_cut.pxi"
include "_columns_karatsuba.pxi"


cdef void enter_part(
        const Columns* c, const Cut* cut, Py_ssize_t number, Part* part) noexcept nogil:
    """Part `number` of the result."""
    cdef Py_ssize_t n = c.n_in[0], inner = c.pixels // c.images // n, reach
    part.image_lo, part.image_hi = 0, c.images
    part.out_lo, part.out_hi = 0, c.n_out[0]
    part.pixel_lo, part.pixel_hi = 0, c.pixels
    if c.images > 1:
        part.image_lo = number * c.images // cut.parts
        part.image_hi = (number + 1) * c.images // cut.parts
        part.pixel_lo = part.image_lo * n * inner
        part.pixel_hi = part.image_hi * n * inner
    elif cut.parts > 1:
        reach = (c.kernel[0] - 1) * c.dilation[0]
        part.out_lo = number * c.n_out[0] // cut.parts
        part.out_hi = (number + 1) * c.n_out[0] // cut.parts
        part.pixel_lo = clip(ceil_div(part.out_lo + c.crop[0] - reach, c.stride[0]), 0, n) * inner
        part.pixel_hi = clip(
            floor_div(part.out_hi - 1 + c.crop[0], c.stride[0]) + 1, 0, n) * inner
    # Pixels lie in panels.
    part.pixel_lo = part.pixel_lo // c.height * c.height
    part.pixel_hi = min(round_up(part.pixel_hi, c.height), c.pixels)


cdef void run_slice(const Columns* c, const Cut* cut, Py_ssize_t task) noexcept nogil:
    """All pixels' columns of some output channels or phases of one group."""
    cdef Py_ssize_t slice = task // cut.parts // c.groups % cut.slices.count
    cdef Py_ssize_t share = task // cut.parts // c.groups // cut.slices.count
    cdef Py_ssize_t group = task // cut.parts % c.groups
    cdef Py_ssize_t most = min(PIXELS, padded(c.pixels)), first, n, n_bands, number, i, width
    cdef Band* bands = <Band*> (c.scratch + c.bands_at)
    cdef Py_ssize_t* places = <Py_ssize_t*> (bands + most)
    cdef const char* w = c.w + group * c.c_in * c.total * c.size
    cdef const char* columns
    cdef Walk walk
    cdef Block blocks[2]
    cdef Block* block
    cdef Block* following
    cdef Part part
    cdef Turned turned = start_turning(c, cut, share)
    cdef Columns into
    cdef const Columns* target
    enter_part(c, cut, task % cut.parts, &part)
    for number in range(ceil_div(part.pixel_hi - part.pixel_lo, PIXELS) - 1, -1, -1):
        first = part.pixel_lo + number * PIXELS
        n = min(PIXELS, part.pixel_hi - first)
        n_bands = list_bands(c, &part, first, n, bands, places)
        start_walk(c, cut, share, slice, &walk)
        block, following = &blocks[0], &blocks[1]
        next_block(c, &walk, block)
        while block.tiles:
            next_block(c, &walk, following)
            multiply(
                c, w, c.panels + (group * padded(c.pixels) + first) * c.c_in * c.size, n, block,
                following)
            if c.shuffled:
                shuffle_block(c, group, block, n, bands, places, n_bands)
                block, following = following, block
                continue
            columns = c.scratch
            target = turn_to(c, &part, group, block, &turned, &into)
            for i in range(block.tiles):
                width = block.vectors[i] * c.vector
                scatter(
                    target, &part, group, columns + block.skip[i] * c.size, width,
                    block.first[i] + block.skip[i], block.count[i], bands, places, n_bands,
                )
                columns += padded(n) * width * c.size
            block, following = following, block
    put_back(c, &turned)


cdef void run_task(
        const Columns* c, const Pairs* pairs, const Cut* cut, Py_ssize_t worker, Py_ssize_t task,
        Py_ssize_t packs) noexcept nogil:
    """One task with the scratch of the worker that took it: `cut` is for those that multiply."""
    cdef Columns mine = c[0]
    cdef fenv_t caller
    enter_fenv(&caller)
    mine.scratch += worker * c.worker_bytes
    if cut and pairs:
        if run_pairs(&mine, pairs, cut, task):
            c.news[worker] = 1
    elif cut:
        run_slice(&mine, cut, task)
    elif task < packs and pairs:
        pack_pairs(&mine, pairs, task)
    elif task < packs:
        pack_pixels(&mine, task)
    elif channels_last(c):
        fill_pixels(&mine, task - packs)
    else:
        fill(&mine, task - packs)
    leave_fenv(&caller)


cdef bint reaches_once(const Columns* c, Py_ssize_t rows, Py_ssize_t taps) noexcept:
    """Whether each result is reached, and by one tap of one pixel.

    Of the first axis so many rows and taps count.
    """
    cdef Py_ssize_t a, n, reached
    for a in range(c.rank):
        n = rows if a == 0 else c.n_in[a]
        reached = taps if a == 0 else c.kernel[a]
        if n > 1:
            reached = n * c.stride[a] if reached == c.stride[a] else 0
        if c.dilation[a] != 1 or c.crop[a] < 0 or c.crop[a] + c.n_out[a] > reached:
            return False
    return True


def run(
    problem, kernels, int code, int compute, tuple tile, x, w, bias, y, Py_ssize_t threads,
    bint karatsuba,
):
    """Compute `y` with at most `threads` threads; False if it may be wrong.

    It may with `karatsuba`, if a sum was Inf or NaN. `w` is C-contiguous, `tile` is (lanes of a
    vector, rows of the tallest tile).
    """
    cdef Columns c
    cdef Cut cut
    cdef Pairs pairs
    cdef const Pairs* halves = NULL
    cdef Py_ssize_t a, task, tasks, worker, workers, packs, firsts
    cdef Buffer x_buffer = Buffer(x, False)
    cdef Buffer w_buffer = Buffer(w, False)
    cdef Buffer bias_buffer = Buffer(bias, False)
    cdef Buffer y_buffer = Buffer(y, True)
    cdef Memory scratch
    c.k = kernel_table(kernels)
    c.code, c.compute = code, compute
    c.size = 4 if compute == 0 else 8
    c.vector, c.height = tile
    c.rank = len(problem.kernel)
    c.images = x.shape[0]
    c.groups = problem.groups
    c.c_in = problem.c_in // problem.groups
    c.c_out = problem.c_out // problem.groups
    c.taps = 1
    c.pixels = count_pixels(problem, c.images)
    for a in range(c.rank):
        c.n_in[a] = problem.spatial_in[a]
        c.n_out[a] = problem.spatial_out[a]
        c.kernel[a] = problem.kernel[a]
        # With one sample or one tap a step of any length means nothing.
        c.stride[a] = problem.stride[a] if c.n_in[a] > 1 else 1
        c.dilation[a] = problem.dilation[a] if c.kernel[a] > 1 else 1
        c.crop[a] = problem.crop[a]
        c.x_step[a] = x.strides[a + 2]
        c.y_step[a] = y.strides[a + 2]
        c.taps *= c.kernel[a]
    c.band_axis = c.rank - 2
    while c.band_axis >= 0 and c.n_in[c.band_axis] == 1:
        c.band_axis -= 1
    c.total = c.c_out * c.taps
    c.x_image, c.x_channel = x.strides[:2]
    c.y_image, c.y_channel = y.strides[:2]
    c.x = <const char*> x_buffer.view.buf
    c.w = <const char*> w_buffer.view.buf
    c.bias = <const char*> bias_buffer.view.buf
    c.y = <char*> y_buffer.view.buf
    a = c.rank - 1
    # Rows of the result that follow each other are one run.
    c.fill_axes, c.fill_length = a, c.n_out[a]
    while c.fill_axes > 0 and c.y_step[c.fill_axes - 1] == c.fill_length * c.y_step[a]:
        c.fill_axes -= 1
        c.fill_length *= c.n_out[c.fill_axes]
    tasks = make_cut(problem, threads, c.vector, karatsuba, &cut)
    workers = min(threads, tasks)
    c.split = karatsuba
    if karatsuba:
        pairs = make_pairs(problem, c.images, cut.parts)
        halves = &pairs
        c.once = reaches_once(&c, pairs.n_in + 1, c.stride[0])
        c = even_columns(&c, &pairs)
        packs = c.groups * ceil_div(c.images, pairs.images) * ceil_div(c.c_in, PAIR_CHANNELS)
    else:
        c.once = reaches_once(&c, c.n_in[0], c.kernel[0])
        packs = c.groups * ceil_div(c.pixels, PACK_PIXELS) * ceil_div(c.c_in, PACK_CHANNELS)
    c.shuffled = not karatsuba and shuffles(&c, &cut)
    c.once = c.once and (c.shuffled or not turns(&c, &cut))
    c.fills = 0 if c.once else workers
    firsts = packs + c.fills
    make_layout(problem, c.images, cut.parts, c.vector, c.size, karatsuba, &c)
    a = panel_bytes(problem, c.images, c.size, karatsuba)
    scratch = Memory(a + workers * (c.worker_bytes + 1))
    c.panels = scratch.start
    c.scratch = c.panels + a
    c.news = c.scratch + workers * c.worker_bytes
    memset(c.news, 0, workers)
    with nogil:
        if workers == 1:
            for task in range(firsts):
                run_task(&c, halves, NULL, 0, task, packs)
            for task in range(tasks):
                run_task(&c, halves, &cut, 0, task, packs)
        else:
            with parallel(num_threads=workers):
                for task in prange(firsts, schedule="dynamic"):
                    run_task(&c, halves, NULL, threadid(), task, packs)
                team_barrier()
                for task in prange(tasks, schedule="dynamic"):
                    run_task(&c, halves, &cut, threadid(), task, packs)
    for worker in range(workers):
        if c.news[worker]:
            return False
    return True
