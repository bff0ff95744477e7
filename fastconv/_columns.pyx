"""The driver of the col2im method: columns = x^T w on the raw weights, scattered right away.

A block of columns, (output channel, kernel tap) for a block of pixels, stays in the cache; each
task owns some output channels, so additions to a result have one order and need no lock. The
weights are read once per block of pixels, where they lie.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memset

from fastconv._arith cimport ceil_div, clip, floor_div, round_up
from fastconv._memory cimport Buffer, aligned, enter_fenv, fenv_t, kernel_table, leave_fenv
from fastconv._types cimport MAX_AXES, KernelTable, Run, log2_height, panel_height

cdef enum:
    PIXELS = 64           # pixels of a block
    COLUMNS = 512         # columns of a block
    CHANNELS = 64         # input channels whose weights stay in the cache
    MIN_COLUMNS = 48      # columns that a task has at least


cdef struct Columns:
    const KernelTable* k
    int code, compute
    Py_ssize_t size, vector, height
    Py_ssize_t rank, images, groups, c_in, c_out, taps, pixels
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
    char* scratch         # of one worker: columns, then where its pixels land
    Py_ssize_t slice, slices      # output channels of a task, tasks of a group


cdef inline Py_ssize_t tile_vectors(
        const Columns* c, Py_ssize_t left, Py_ssize_t total) noexcept nogil:
    """Vectors of the next tile when `left` columns are to do, of `total` there are to read."""
    return min(3, ceil_div(left, c.vector), total // c.vector)


cdef void pack_pixels(const Columns* c, Py_ssize_t task) noexcept nogil:
    """Bring one block of pixels of one group into panels."""
    cdef Run runs[PIXELS]
    cdef Run* run
    cdef Py_ssize_t blocks = ceil_div(c.pixels, PIXELS)
    cdef Py_ssize_t first = task % blocks * PIXELS, group = task // blocks
    cdef Py_ssize_t n = min(PIXELS, c.pixels - first), m = 0, height, i, a, rest
    while m < n:
        height = panel_height(c.height, n - m)
        for i in range(height):
            rest = first + m + i
            run = &runs[m + i]
            run.src = 0
            for a in range(c.rank - 1, -1, -1):
                run.src += rest % c.n_in[a] * c.x_step[a]
                rest //= c.n_in[a]
            run.src += rest * c.x_image
            run.dst = (first + m) * c.c_in + i
            run.height = height
            run.count = 1
        m += height
    c.k.pack[c.code](
        c.x + group * c.c_in * c.x_channel, c.x_channel, c.c_in, 1, runs, n,
        c.panels + group * c.pixels * c.c_in * c.size,
    )


cdef void start_slice(const Columns* c, Py_ssize_t channel, Py_ssize_t n) noexcept nogil:
    """Write the bias of output channels [channel, channel + n)."""
    cdef Py_ssize_t last = c.rank - 1, width = 3 * c.vector, rows = n * c.images
    cdef Py_ssize_t row, rest, a, u, at
    cdef const void* zeros = c.scratch
    cdef char* y
    memset(c.scratch, 0, width * c.size)
    for a in range(last):
        rows *= c.n_out[a]
    for row in range(rows):
        rest = row
        y = c.y
        for a in range(last - 1, -1, -1):
            y += rest % c.n_out[a] * c.y_step[a]
            rest //= c.n_out[a]
        at = channel + rest % n
        y += at * c.y_channel + rest // n * c.y_image
        u = 0
        while u < c.n_out[last]:
            c.k.store[c.code](
                &zeros, c.bias + at * c.size, 1, 0, min(width, c.n_out[last] - u),
                y + u * c.y_step[last], c.y_step[last], c.size,
            )
            u += width


cdef void scatter(
        const Columns* c, Py_ssize_t group, const char* columns, Py_ssize_t row_bytes,
        Py_ssize_t n, const Py_ssize_t* places, Py_ssize_t first,
        Py_ssize_t stop) noexcept nogil:
    """Add columns [first, stop) of n pixels to the result; `columns` is at `first`.

    places[pixel][axis] is where tap 0 of a pixel lands, places[pixel][rank] its image's offset.
    """
    cdef Py_ssize_t last = c.rank - 1, width = c.rank + 1, d = c.dilation[last]
    cdef Py_ssize_t column = first, rest, a, o, t, run, pixel, low, high
    cdef Py_ssize_t tap[MAX_AXES]
    cdef const Py_ssize_t* place
    cdef char* y
    cdef char* to
    cdef bint inside
    while column < stop:
        rest = column
        t = rest % c.kernel[last]
        rest //= c.kernel[last]
        for a in range(last - 1, -1, -1):
            tap[a] = rest % c.kernel[a] * c.dilation[a]
            rest //= c.kernel[a]
        run = min(c.kernel[last] - t, stop - column)
        y = c.y + (group * c.c_out + rest) * c.y_channel
        for pixel in range(n - 1, -1, -1):
            place = places + pixel * width
            to = y + place[c.rank]
            inside = True
            for a in range(last):
                o = place[a] + tap[a]
                if o < 0 or o >= c.n_out[a]:
                    inside = False
                    break
                to += o * c.y_step[a]
            if not inside:
                continue
            o = place[last] + t * d
            low = clip(ceil_div(-o, d), 0, run)
            high = clip(floor_div(c.n_out[last] - 1 - o, d) + 1, low, run)
            if high > low:
                c.k.add[c.compute](
                    columns + (pixel * row_bytes + (column - first + low) * c.size), high - low,
                    to + (o + low * d) * c.y_step[last], d * c.y_step[last],
                )
        column += run


cdef void run_slice(const Columns* c, Py_ssize_t task) noexcept nogil:
    """All pixels' columns of some output channels of one group."""
    cdef Py_ssize_t group = task // c.slices
    cdef Py_ssize_t channel = task % c.slices * c.slice
    cdef Py_ssize_t channels = min(c.slice, c.c_out - channel)
    cdef Py_ssize_t total = c.c_out * c.taps, stop = (channel + channels) * c.taps
    cdef Py_ssize_t first, n, rest, pixel, a, block, block_stop, ci, depth, column, width, vectors
    cdef Py_ssize_t start, m, height
    cdef Py_ssize_t* places = <Py_ssize_t*> (
        c.scratch + PIXELS * (COLUMNS + 6 * c.vector) * c.size)
    cdef const char* panels = c.panels + group * c.pixels * c.c_in * c.size
    cdef const char* w = c.w + group * c.c_in * total * c.size
    cdef const void* row
    cdef Py_ssize_t no_tap = 0
    cdef char* acc
    start_slice(c, group * c.c_out + channel, channels)
    # From the last pixel to the first: the taps that reach one result come in the order of the
    # kernel then, wherever blocks and slices begin.
    for block in range(ceil_div(c.pixels, PIXELS) - 1, -1, -1):
        first = block * PIXELS
        n = min(PIXELS, c.pixels - first)
        for pixel in range(n):
            rest = first + pixel
            for a in range(c.rank - 1, -1, -1):
                places[pixel * (c.rank + 1) + a] = rest % c.n_in[a] * c.stride[a] - c.crop[a]
                rest //= c.n_in[a]
            places[pixel * (c.rank + 1) + c.rank] = rest * c.y_image
        column = channel * c.taps
        while column < stop:
            block_stop = min(column + COLUMNS, stop)
            ci = 0
            while True:
                depth = min(CHANNELS, c.c_in - ci)
                acc = c.scratch
                start = column
                while start < block_stop:
                    vectors = tile_vectors(c, block_stop - start, total)
                    width = vectors * c.vector
                    # The last tile of all is moved back, not to read past the weights.
                    row = w + (ci * total + min(start, total - width)) * c.size
                    m = 0
                    while m < n:
                        height = panel_height(c.height, n - m)
                        c.k.tile[c.compute][log2_height(height)][vectors - 1](
                            panels + ((first + m) * c.c_in + ci * height) * c.size, 0, &no_tap,
                            &row, 1, 1, 0, 0, depth, total, 1, acc, ci > 0,
                        )
                        acc += height * width * c.size
                        m += height
                    start += width
                ci += depth
                if ci >= c.c_in:
                    break
            acc = c.scratch
            start = column
            while start < block_stop:
                width = tile_vectors(c, block_stop - start, total) * c.vector
                scatter(
                    c, group, acc + (start - min(start, total - width)) * c.size,
                    width * c.size, n, places, start, min(start + width, block_stop),
                )
                acc += n * width * c.size
                start += width
            column = block_stop


cdef void run_task(
        const Columns* c, char* scratch, Py_ssize_t task, bint packing) noexcept nogil:
    """One task with the scratch of the worker that took it."""
    cdef Columns mine = c[0]
    cdef fenv_t caller
    enter_fenv(&caller)
    mine.scratch = scratch
    if packing:
        pack_pixels(&mine, task)
    else:
        run_slice(&mine, task)
    leave_fenv(&caller)


def panel_bytes(problem, Py_ssize_t images, Py_ssize_t size):
    """Bytes of the copy of x that `run` needs."""
    pixels = images
    for n in problem.spatial_in:
        pixels *= n
    return pixels * problem.c_in * size


def worker_bytes(problem, Py_ssize_t vector, Py_ssize_t size):
    """Scratch of one worker."""
    return round_up(
        PIXELS * ((COLUMNS + 6 * vector) * size + (len(problem.kernel) + 1) * sizeof(Py_ssize_t)),
        64,
    )


def tasks(problem, Py_ssize_t workers):
    """``(output channels of a task, tasks)`` for at most `workers` threads."""
    cdef Py_ssize_t taps = 1
    for k in problem.kernel:
        taps *= k
    c_out = problem.c_out // problem.groups
    slice_ = max(ceil_div(MIN_COLUMNS, taps), ceil_div(c_out * problem.groups, 4 * workers))
    slice_ = min(slice_, c_out)
    return slice_, problem.groups * ceil_div(c_out, slice_)


def run(
    problem, kernels, int code, int compute, tuple tile, x, w, bias, y, panels, scratch,
    Py_ssize_t slice_, Py_ssize_t workers,
):
    """Compute `y`; `w` is C-contiguous, `tile` is (lanes of a vector, rows of the tallest tile)."""
    cdef Columns c
    cdef Py_ssize_t a, task, tasks, packs, bytes
    cdef Buffer x_buffer = Buffer(x, False)
    cdef Buffer w_buffer = Buffer(w, False)
    cdef Buffer bias_buffer = Buffer(bias, False)
    cdef Buffer y_buffer = Buffer(y, True)
    cdef Buffer panels_buffer = Buffer(panels, True)
    cdef Buffer scratch_buffer = Buffer(scratch, True)
    cdef char* mine = aligned(scratch_buffer.view.buf)
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
    c.pixels = c.images
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
        c.pixels *= c.n_in[a]
    c.x_image, c.x_channel = x.strides[:2]
    c.y_image, c.y_channel = y.strides[:2]
    c.x = <const char*> x_buffer.view.buf
    c.w = <const char*> w_buffer.view.buf
    c.bias = <const char*> bias_buffer.view.buf
    c.y = <char*> y_buffer.view.buf
    c.panels = aligned(panels_buffer.view.buf)
    c.slice = slice_
    c.slices = ceil_div(c.c_out, slice_)
    tasks = c.groups * c.slices
    packs = c.groups * ceil_div(c.pixels, PIXELS)
    bytes = worker_bytes(problem, c.vector, c.size)
    with nogil:
        if workers == 1:
            for task in range(packs):
                run_task(&c, mine, task, True)
            for task in range(tasks):
                run_task(&c, mine, task, False)
        else:
            with parallel(num_threads=workers):
                for task in prange(packs, schedule="dynamic"):
                    run_task(&c, mine + threadid() * bytes, task, True)
                for task in prange(tasks, schedule="dynamic"):
                    run_task(&c, mine + threadid() * bytes, task, False)
