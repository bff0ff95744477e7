# How pixels and weights are cut for workers, and what scratch that takes. Part of _columns.pyx.

cdef Py_ssize_t count_pixels(problem, Py_ssize_t images) except -1:
    """Pixels of the whole batch."""
    for n in problem.spatial_in:
        images *= n
    return images


cdef Py_ssize_t block_vectors(Py_ssize_t pixels) noexcept nogil:
    """Vectors of columns in a block: whole tiles, at least one."""
    return TALL_VECTORS * clip(
        BLOCK_VECTORS // (max(pixels, 1) * TALL_VECTORS), 1, COLUMN_VECTORS // TALL_VECTORS)


cdef Py_ssize_t make_cut(problem, Py_ssize_t workers, Py_ssize_t vector, Cut* cut) except -1:
    """Share out the columns; how many tasks there are."""
    cdef Py_ssize_t c_out = problem.c_out // problem.groups, groups = problem.groups
    cdef Py_ssize_t taps = 1, a, k, period, inner = 1, tasks
    cut.axis, cut.period, cut.n_phases = 0, 1, 1
    for a, k in enumerate(problem.kernel):
        taps *= k
        period = problem.stride[a] // gcd(problem.stride[a], problem.dilation[a])
        if min(k, period) > cut.n_phases:
            cut.axis, cut.period, cut.n_phases = a, period, min(k, period)
    # One task for each worker: every task goes through all pixels for each block of columns.
    cut.channels = max(ceil_div(MIN_COLUMNS, taps), ceil_div(c_out * groups, workers))
    cut.channels = max(1, min(cut.channels, c_out))
    tasks = groups * ceil_div(c_out, cut.channels)
    for k in problem.kernel[cut.axis + 1:]:
        inner *= k
    # A run of columns should fill a vector.
    cut.phases = ceil_div(cut.n_phases, max(1, ceil_div(workers, max(tasks, 1))))
    cut.phases = max(cut.phases, min(cut.n_phases, ceil_div(vector, inner)))
    tasks *= ceil_div(cut.n_phases, cut.phases)
    # Parts of one image overlap in as many pixels as taps reach one result.
    images, n = math.prod(problem.batch), problem.spatial_in[0]
    reach = (problem.kernel[0] - 1) * problem.dilation[0] // problem.stride[0]
    least = ceil_div(LEAST_PART, max(count_pixels(problem, 1) // n, 1))
    most = images if images > 1 else n // max(least, OVERLAP * reach)
    cut.parts = clip(workers // max(tasks, 1), 1, max(most, 1))
    return tasks * cut.parts


def panel_bytes(problem, Py_ssize_t images, Py_ssize_t size):
    """Bytes of the copy of x that `run` needs."""
    return round_up(count_pixels(problem, images) * problem.c_in * size, LINE)


def worker_bytes(problem, Py_ssize_t images, Py_ssize_t vector, Py_ssize_t size):
    """Scratch of one worker."""
    pixels = count_pixels(problem, images)
    places = sizeof(Band) + (len(problem.kernel) - 1) * sizeof(Py_ssize_t)
    columns = block_vectors(pixels) * vector
    return (
        round_up(min(pixels, PIXELS) * (columns * size + places), LINE) + COPIED_BYTES
        + turned_bytes(problem, images)
    )


cdef Py_ssize_t turned_bytes(problem, Py_ssize_t images) except -1:
    """Scratch of one worker for results that are turned, if they may be."""
    cdef Py_ssize_t last = len(problem.kernel) - 1
    return TURNED_BYTES if images == 1 and problem.kernel[last] >= TURNED_TAPS else 0


def count_tasks(problem, Py_ssize_t workers, Py_ssize_t vector):
    """Tasks for at most `workers` threads."""
    cdef Cut cut
    return make_cut(problem, workers, vector, &cut)
