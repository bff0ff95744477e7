"""The driver of the winograd method: transforms, products at points, inverse transforms.

Tiles of the phases' outputs, from all rows and images, are the lanes of the vectors; of large
batches of small images a column of lanes is the same tile of several images. A task transforms the
windows of x of some lanes, which all phases share, multiplies them by the transformed weights point
by point, and brings the products back into outputs, which it stores interleaved. Weights become up
to four times as many when they are transformed: the same team of threads does that block by block,
where they would not fit into the promised scratch at once.
"""

import math

from cython.parallel cimport parallel, threadid
from libc.math cimport INFINITY
from libc.string cimport memset

from fastconv._arith cimport best_shares, ceil_div, clip, round_up
from fastconv._memory cimport Buffer, Memory, enter_fenv, fenv_t, kernel_table, leave_fenv
from fastconv._plan cimport covers, make_axis
from fastconv._stream cimport stream_fence
from fastconv._team cimport Share, deal_tasks, take_task, team_barrier
from fastconv._types cimport (
    F11, F22, F23, F32, LARGE_RESULT, LINE, QUAD, TASKS_PER_WORKER, Axis, KernelTable, Load,
    Panel, Run, Scheme, Store, log2_height, longer_phases, one_row, panel_height, panel_of,
    phase_taps, tile_vectors,
)

cdef enum:
    VECTORS = 3               # vectors of lanes of a tile, and of a task unless it has more room
    ROWS = 64                 # rows, of output channels and phases, whose points are kept
    MOST_OUTPUTS = 3          # of a tile along an axis
    MAX_PHASES = 64
    MAX_BANDS = 3
    MAX_SIDES = 4
    PACK_CHANNELS = 64        # input channels that one packing task takes
    LEAST_LANES = 64          # bytes of lanes that every instruction set can do with
    WINDOW_BYTES = 5 << 19    # transformed windows of a task
    NEAR_BYTES = 1 << 18      # ... of as many lanes with short vectors as with long ones
    SCRATCH_BYTES = 3 << 20   # of a worker, without weights
    WORKER_BYTES = 4 << 20    # with them
    PACKED_BYTES = 1 << 20    # transformed weights: this, or as many as the weights,
    BLOCK_BYTES = 2 << 20     # and for each worker where there are many
    PAD = 64                  # bytes that keep points apart in the sets of a cache
    IMAGES = 16               # of a column, where lanes run along the batch,
    MOST_TILES = 8            # of a line there: longer ones fill their vectors by themselves

cdef Py_ssize_t LARGEST = 1 << 60

# Phases of an axis that follow each other, have equally many taps and read the same windows.
cdef struct Band:
    Py_ssize_t first, size, taps
    bint late


# One axis, and how its phases are computed. Where the window of the result begins between two
# phases they may be counted from the first one inside; those before it follow, a period later,
# and are late: their windows begin with the next input.
cdef struct Side:
    Axis axis
    Scheme scheme
    Py_ssize_t points
    Py_ssize_t outputs               # of a tile, along its subgrid
    Py_ssize_t tiles                 # of one of the `shift` subgrids
    Py_ssize_t turn                  # the phase that is counted as the first
    Py_ssize_t sets                  # of windows: two where there are late phases
    Band[MAX_BANDS] bands
    Py_ssize_t n_bands


cdef struct Call:
    const KernelTable* k
    int code, compute
    Py_ssize_t size, vector, height
    Side rows, cols
    Py_ssize_t images, groups
    Py_ssize_t c_in, c_out           # of one group
    Py_ssize_t x_image, x_channel, y_image, y_channel
    Py_ssize_t w_in, w_out, w_rows, w_cols
    const char* x
    const char* w
    const char* bias
    char* y
    char* packed                     # transformed weights of one block of units
    bint sharing                     # all windows are transformed once, before the tasks
    char* shared                     # [set of rows][task's columns] of them
    bint streamed                    # the result is larger than the caches: stored past them
    bint by_channel                  # channels are the neighbours in the result
    bint by_batch                    # lanes of a column are images, of x laid out anew
    char* relaid                     # [group][row][block of images][channel][column][image]
    Py_ssize_t relaid_rows, relaid_cols      # with the zeros that windows reach
    Py_ssize_t image_blocks          # blocks of images, or images
    Py_ssize_t phases, points, outputs       # products of both axes
    Py_ssize_t lines                 # of tiles, of one image
    Py_ssize_t columns               # of tiles,
    Py_ssize_t column_lanes          # each with a lane for every subgrid, or every image
    Py_ssize_t woven                 # outputs of a line that are woven in the results, or 1
    Py_ssize_t columns_unit, column_units, lane_blocks
    Py_ssize_t parts                 # of a block's results: lane_blocks of each set of rows
    Py_ssize_t channels              # output channels of a unit
    Py_ssize_t units                 # of one group
    Py_ssize_t unit_numbers          # transformed weights of a unit
    Py_ssize_t block_units, blocks   # units whose weights are transformed at a time
    Py_ssize_t shares                # tasks that share the units of a block and part
    bint by_unit                     # tasks with the same units follow each other, not lanes
    # the parts of a worker's scratch, in bytes
    Py_ssize_t windows_bytes, input_bytes, products_bytes, half_bytes, results_bytes, list_bytes
    char* windows                    # [set of columns][point][input channel][lane]
    char* input                      # [row][channel][part][column], then points instead of rows
    char* products                   # [point][row][lane], or a unit's weights, see `bring_taps`
    char* half                       # [output of rows][point of columns][row][lane]
    char* results                    # [class][output][row][lane], or woven: fewer, longer outputs
    const void** sources


# The phases of a unit in a band of either axis.
cdef struct Class:
    Band row, col
    bint short_row, short_col
    Py_ssize_t rows                  # of a unit: (phase of rows, phase of columns, channel)
    Py_ssize_t points


cdef inline Py_ssize_t counted_phase(const Side* side, Py_ssize_t tap) noexcept nogil:
    """The phase of a tap, as phases are counted."""
    cdef Py_ssize_t phase = tap % side.axis.period - side.turn
    return phase if phase >= 0 else phase + side.axis.n_phases


cdef inline Py_ssize_t band_of(const Side* side, Py_ssize_t phase) noexcept nogil:
    """The band that a phase is in."""
    cdef Py_ssize_t number = side.n_bands - 1
    while phase < side.bands[number].first:
        number -= 1
    return number


cdef inline Class class_of(const Call* c, Py_ssize_t number, Py_ssize_t channels) noexcept nogil:
    """Class `number` of a unit of so many output channels."""
    cdef Class k
    k.row = c.rows.bands[number // c.cols.n_bands]
    k.col = c.cols.bands[number % c.cols.n_bands]
    k.short_row = k.row.taps < c.rows.axis.max_taps
    k.short_col = k.col.taps < c.cols.axis.max_taps
    k.rows = channels * k.row.size * k.col.size
    k.points = (c.rows.points - k.short_row) * (c.cols.points - k.short_col)
    return k


cdef inline Py_ssize_t point_numbers(const Call* c, const Class* k) noexcept nogil:
    """Transformed weights of a class and unit at one point."""
    return k.rows * c.c_in + PAD // c.size


cdef inline Py_ssize_t classes_of(const Call* c) noexcept nogil:
    return c.rows.n_bands * c.cols.n_bands


cdef Py_ssize_t numbers_of_unit(const Call* c, Py_ssize_t channels) noexcept:
    cdef Py_ssize_t number, total = 0
    cdef Class k
    for number in range(classes_of(c)):
        k = class_of(c, number, channels)
        total += k.points * point_numbers(c, &k)
    return total


include "_points_cut.pxi"
include "_points_work.pxi"
include "_points_pack.pxi"
include "_points_load.pxi"
include "_points_store.pxi"
include "_points_tasks.pxi"


cdef class Points:
    """How the winograd method computes one problem with one instruction set.

    Parameters
    ----------
    problem : Problem
        Of one or two spatial axes.
    compute
        Compute type: 0 for float32, 1 for float64.
    vector, height
        Lanes of a vector and rows of the tallest tile.
    workers
        The most threads to plan for.

    Raises
    ------
    OverflowError
        If the method is not for the problem; the message is the reason, and depends on neither
        the instruction set nor the batch.
    """

    cdef Call c
    cdef readonly Py_ssize_t workers

    def __init__(
        self, problem, int compute, Py_ssize_t vector, Py_ssize_t height, Py_ssize_t workers,
    ):
        cdef Call* c = &self.c
        cdef Side* side
        cdef Py_ssize_t rank = len(problem.kernel), samples, weights, i, most
        c.compute = compute
        c.size = 4 if compute == 0 else 8
        c.vector, c.height = vector, height
        c.images = math.prod(problem.batch)
        c.groups = problem.groups
        c.c_in = problem.c_in // c.groups
        c.c_out = problem.c_out // c.groups
        c.sharing = False
        make_axis(&c.rows.axis, 1, 1, 1, 1, 1, 0)
        # An array that repeats its elements may seem larger than any memory.
        pixels, taps = math.prod(problem.spatial_in), math.prod(problem.kernel)
        samples = min(c.images * problem.c_in * pixels * c.size, LARGEST)
        weights = min(problem.c_in * c.c_out * taps * c.size, LARGEST)
        for i in range(rank):
            side = &c.cols if i == rank - 1 else &c.rows
            n, k = problem.spatial_in[i], problem.kernel[i]
            # With one sample or one tap a step beyond the axis itself means nothing.
            full = (n - 1) * problem.stride[i] + (k - 1) * problem.dilation[i] + 1
            make_axis(
                &side.axis, n, problem.spatial_out[i], k, min(problem.stride[i], full),
                problem.dilation[i] if k > 1 else 1, problem.crop[i],
            )
            if side.axis.max_taps > 3:
                raise OverflowError(
                    f"phases on spatial axis {i} have {side.axis.max_taps} taps, more than 3")
            if i < rank - 1 and side.axis.max_taps > 1 and side.axis.shift >= max(n, 2):
                raise OverflowError(
                    f"dilation {problem.dilation[i]} of spatial axis {i} leaves no two taps "
                    f"that meet in its {n} samples")
            if not covers(&side.axis):
                raise OverflowError(
                    f"there are gaps between the phases on spatial axis {i}, or outside of them")
        choose_schemes(c)
        if c.rows.points * c.cols.points == 1:
            raise OverflowError("no axis has a phase of 2 or 3 taps")
        if c.cols.axis.shift > LEAST_LANES // c.size:
            raise OverflowError(
                f"dilation {c.cols.axis.dilation} of the last axis is above"
                f" {LEAST_LANES // c.size}")
        phases = c.rows.axis.n_phases * <object> c.cols.axis.n_phases
        if phases > MAX_PHASES:
            raise OverflowError(f"there are {phases} phases, more than {MAX_PHASES}")
        c.phases = phases
        c.points = c.rows.points * c.cols.points
        c.outputs = c.rows.outputs * c.cols.outputs
        if c.c_in == 0:
            raise OverflowError("there are no input channels")
        if vectors_bytes(c, &c.rows, &c.cols, 1) > WINDOW_BYTES:
            raise OverflowError(f"windows of {c.c_in} input channels do not fit into the scratch")
        most = max(weights, PACKED_BYTES) // c.size
        if numbers_of_unit(c, 1) > most:
            raise OverflowError(
                "the transformed weights of an output channel do not fit into the scratch")

        cut_lanes(c, samples)
        cut_channels(c, most, workers)
        # What may be held: as much as w and x, and the scratch of each worker that has a task.
        workers = max(1, min(workers, c.parts * c.units))
        if not c.by_batch:
            weights += samples
        while True:
            cut(c, weights, most * c.size, workers)
            if workers <= c.parts * c.shares:
                break
            # Those that find no task hold nothing.
            workers = c.parts * c.shares
        self.workers = workers

    @property
    def work(self):
        """How long a call takes, in the time of a multiply-add."""
        return work_of(&self.c)

    @property
    def tasks(self):
        """Pieces that workers take one by one, of each block of weights."""
        return self.c.parts * self.c.shares

    @property
    def by_unit(self):
        """Whether tasks that follow each other have their weights in common, not their windows."""
        return self.c.by_unit

    @property
    def phases(self):
        """Number of phases."""
        return self.c.phases

    @property
    def sets(self):
        """Sets of windows of either axis: two where phases are counted from the window's first."""
        return self.c.rows.sets, self.c.cols.sets

    @property
    def tile(self):
        """Rows and lanes of the tile most work is done in."""
        lanes = ceil_div(self.c.column_units, self.c.lane_blocks) * self.c.columns_unit
        lanes = round_up(lanes * self.c.column_lanes, self.c.vector)
        return self.c.height, self.c.vector * tile_vectors(
            lanes, self.c.vector, VECTORS, self.c.height)

    @property
    def lane_axis(self):
        """What runs along the lanes: "tiles" of rows and images, or "batch": one tile's images."""
        return "batch" if self.c.by_batch else "tiles"

    @property
    def packed_bytes(self):
        """Bytes of the transformed weights that stand at a time."""
        return self.c.block_units * self.c.unit_numbers * self.c.size

    @property
    def shared_bytes(self):
        """Bytes of the transformed windows that all tasks share."""
        return self.c.parts * self.c.windows_bytes if self.c.sharing else 0

    @property
    def relaid_bytes(self):
        """Bytes of the copy of x with images innermost."""
        return relaid_numbers(&self.c) * self.c.size

    @property
    def worker_bytes(self):
        """Scratch of one worker."""
        return scratch_of(&self.c)


def run(Points points, kernels, int code, x, w, bias, y):
    """Compute `y`; False if a result was Inf or NaN, and `y` may be wrong therefore."""
    cdef Call c = points.c
    cdef Team team
    cdef Py_ssize_t worker, workers = points.workers
    cdef Buffer x_buffer = Buffer(x, False)
    cdef Buffer w_buffer = Buffer(w, False)
    cdef Buffer bias_buffer = Buffer(bias, False)
    cdef Buffer y_buffer = Buffer(y, True)
    cdef Py_ssize_t packed = round_up(points.packed_bytes, LINE)
    cdef Py_ssize_t shared = round_up(points.shared_bytes, LINE)
    cdef Py_ssize_t relaid = round_up(points.relaid_bytes, LINE)
    cdef Memory scratch, shares
    team.bytes = scratch_of(&c)
    # Where windows are kept for several tasks, each worker begins with those it has transformed.
    team.owners = workers if c.sharing else 1
    scratch = Memory(packed + shared + relaid + workers * team.bytes)
    shares = Memory(STAGES * team.owners * <Py_ssize_t> sizeof(Share))
    team.scratch = scratch.start + packed + shared + relaid
    team.shares = <Share*> shares.start
    c.k = kernel_table(kernels)
    c.code = code
    c.x = <const char*> x_buffer.view.buf
    c.w = <const char*> w_buffer.view.buf
    c.bias = <const char*> bias_buffer.view.buf
    c.y = <char*> y_buffer.view.buf
    c.packed = scratch.start
    c.shared = c.packed + packed
    c.relaid = c.shared + shared
    c.x_image, c.x_channel = x.strides[:2]
    c.y_image, c.y_channel = y.strides[:2]
    c.w_in, c.w_out = w.strides[:2]
    last = x.ndim - 1
    c.cols.axis.x_step, c.cols.axis.y_step = x.strides[last], y.strides[last]
    c.rows.axis.x_step = c.rows.axis.y_step = c.w_rows = 0
    c.w_cols = w.strides[last]
    if x.ndim == 4:
        c.rows.axis.x_step, c.rows.axis.y_step = x.strides[2], y.strides[2]
        c.w_rows = w.strides[2]
    c.streamed = y_buffer.view.len >= LARGE_RESULT
    c.by_channel = c.y_channel == c.size and c.cols.axis.y_step != c.size and c.c_out > 1
    for worker in range(workers):
        team.scratch[worker * team.bytes] = 0
    with nogil:
        deal(&c, &team, RELAY, 0)
        deal(&c, &team, LOAD, 0)
        deal(&c, &team, PACK, 0)
        if workers == 1:
            run_worker(&c, &team, 0)
        else:
            with parallel(num_threads=workers):
                run_worker(&c, &team, threadid())
    for worker in range(workers):
        if team.scratch[worker * team.bytes]:
            return False
    return True
