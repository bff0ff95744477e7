"""Phases, classes of phases, blocks, scratch and workers of the direct method.

Pure arithmetic: a plan knows shapes, steps and sizes, but no arrays. In full coordinates a tap t of
an axis adds input i to position i*stride + t*dilation; positions with the same remainder modulo
the stride form a phase, and each phase is a plain sum over (tap, input channel) at a fixed
distance between taps, in any rank (docs, architecture). One axis runs along the lanes of the
vectors: the spatial axis that fills them best, or the batch.
"""

import math

cimport cython
from libc.stdlib cimport free, malloc

from fastconv._arith cimport balance, best_shares, ceil_div, clip, floor_div, gcd, round_up
from fastconv._types cimport (
    LARGE_RESULT, LINE, MAX_AXES, MAX_VECTORS, MAX_WOVEN, MORE2, MORE4, N_FLOATS, PARTED, QUAD,
    TALL_VECTORS, TASKS_PER_WORKER, WAYS1, WAYS2, WAYS4, Axis, Product, class_first, class_size,
    largest_class, longer_phases, phase_taps, tile_vectors, uneven, woven_sums,
)

from ._threads import resolve

include "_place.pxi"


cdef enum:
    ROWS_BYTES = 1 << 19        # x that a task holds: half of a usual second-level cache
    CROWDED_BYTES = 3 << 18     # ... or holds where rows that run on fill vectors better then,
    ROWS_LIMIT = 5 << 19        # ... and at most, so that a worker stays below 4 MiB
    MAX_ROW_BLOCK = 64          # rows of a task at most
    GATHERED_RESULTS = 32       # neighbours in a row of the result that are collected
    STRUNG_BYTES = 5 << 9       # from channel to channel where images of a row follow each other
    ACC_ROWS = 256              # rows of accumulators that are stored at once
    ACC_BYTES = 3 << 14         # ... and their bytes, if there are lanes enough
    SHORT_ROW = 1 << 10         # bytes of a row of the result that is stored with its neighbours,
    ALL_ROWS_BYTES = 7 << 14    # bytes of accumulators of all rows of a task then,
    SHORT_ROW_PHASES = 32       # and phases
    PACKED_BYTES = 1 << 18      # weights that are used again and again from the cache
    SHALLOW_BYTES = 1 << 14     # of x that all panels run over one after the other
    TILED_BYTES = 1 << 15       # ... that a first-level cache holds, however it lies
    MAX_SOURCES = 2048          # phases that are interleaved at once
    LIST_TAPS = 1 << 17         # outer taps in a list
    MAX_DILATION = 1 << 12      # dilation (product of all axes) beyond which a problem is refused
    MAX_PLACES = 1 << 16        # whose positions in one image are more than so many,
    MAX_SPREAD = 16             # and so many times those of the result
    PIXEL_TAPS = 1 << 14        # taps of all axes in the longer lists of pixels,
    PIXEL_WEIGHTS = 1 << 21     # bytes of weights that a few pixels are multiplied with at a time,
    LEAST_INSIDE = 7            # and pixels of a row that have all taps
    STENCIL_PRODUCTS = 64       # products of a sum that is stored from where it is made, ...
    STREAMED_PRODUCTS = 1 << 13  # ... or so many where the result is streamed,
    STREAMED_FEW = 32           # ... or these with few registers,
    STENCIL_GAIN = 3            # and how many cost as much as accumulators between,
    UNEVEN_GAIN = 9             # ... or those of uneven phases
    LONG_RESULT = 1 << 21       # bytes of a result to which longer sums are stored so,
    LONG_PRODUCTS = 256         # how long they are at most,
    LONG_GAIN = 5               # and what accumulators between cost there
    RUN_ON = 8                  # vectors of lanes from which on rows do not run on,
    RUN_ON_LONG = 24            # ... or do where tiles lose by few vectors
    WIDE_FROM = 4               # vectors of lanes from which on few rows have the widest tiles
    MANY_ROWS = 8               # rows of the tallest tile where registers are many,
    FEW_CHANNELS = 2            # and output channels of a group that are few
    FETCHED_RESULT = 1 << 23    # bytes of a result whose lines are fetched before,
    FETCHED_PRODUCTS = 32       # and products of its longest sum
    JOINED_TILES = 4            # tall tiles that the rows of joined phases fill at most,
    JOINED_DEPTH = 16           # and products of each sum that they have in common at least
    SERIAL_WORK = 1 << 20       # multiply-adds and bytes below which threads do not pay
    READ_LINE = 12              # products of a line that reading one of x takes,
    READ_START = 2              # and lines that a run of them takes besides

# A tile of one vector has a load for each multiply-add and runs at about two thirds of the rate.
cdef double SINGLE_VECTOR_RATE = 0.68

# Light rows that run on may fill vectors less by this much.
cdef double FEW_FILL = 0.8

# What a tile loses by each vector that it has less than three, where registers are short.
cdef double PAIR_LOSS = 0.5

# How fast tiles are where a task holds more than ROWS_BYTES of x.
cdef double CROWDED = 0.96

# What x laid out anew, w and the result may each take at most, as numbers of the compute type:
# more than any machine has, and little enough that no product of sizes is out of range.
cdef double MAX_BYTES = 2.0 ** 50

# What every problem has a plan up to: taps of the kernel, and dilation (product of all axes).
SAFE_TAPS, SAFE_DILATION = LIST_TAPS, MAX_DILATION

# Bytes that no machine has.
MOST_BYTES = MAX_BYTES


include "_plan_axes.pxi"


cdef Py_ssize_t held(const Axis* axes, Py_ssize_t d, Py_ssize_t lane) noexcept:
    """Rows of x, by taps, that the smallest task holds when lanes run along axis `lane`."""
    cdef Py_ssize_t taps = 1, i
    for i in range(d):
        if i != lane:
            taps = min(taps * axes[i].max_taps, LIST_TAPS + 1)
    return taps


cdef bint fits(
        const Geometry* g, const Axis* axes, Py_ssize_t d, Py_ssize_t lane) noexcept:
    if lane == d:
        return held(axes, d, lane) <= LIST_TAPS
    # A halo much longer than the axis would be work on zeros.
    if axes[lane].span > axes[lane].n_in + 4 * g.vector:
        return False
    cdef Py_ssize_t row = (axes[lane].span + g.vector) * g.components * g.size
    return held(axes, d, lane) * g.depth_block * row <= ROWS_LIMIT


cdef bint scattered(const Axis* axes, Py_ssize_t d) noexcept:
    """Whether a small window meets taps so far apart that most positions q between have none."""
    cdef double dilation = 1, places = 1, results = 1
    cdef Py_ssize_t i
    for i in range(d):
        dilation *= axes[i].dilation
        places *= axes[i].q_hi - axes[i].q_lo
        results *= axes[i].n_out
    return dilation > MAX_DILATION and places > MAX_PLACES and places > MAX_SPREAD * results


cdef void take_axes(
        Geometry* g, const Axis* axes, Py_ssize_t d, Py_ssize_t lane, const Py_ssize_t* w_steps,
        Py_ssize_t images) noexcept:
    """Axis `lane` runs along the vectors; the others become the outer ones."""
    cdef Py_ssize_t i
    g.lane = axes[lane]
    g.n_outer = 0
    g.w_lane = 0
    for i in range(d):
        if i == lane:
            g.w_lane = w_steps[i]
        else:
            g.outer[g.n_outer] = axes[i]
            g.w_outer[g.n_outer] = w_steps[i]
            g.n_outer += 1
    if g.n_outer == 0:
        make_axis(&g.outer[0], 1, 1, 1, 1, 1, 0)
        g.outer[0].x_step = g.outer[0].y_step = g.w_outer[0] = 0
        g.n_outer = 1
    g.row_pitch = g.lane.n_in + g.lane.span
    g.by_batch = lane == d
    g.images = 1 if g.by_batch else images
    g.by_channel = (
        g.groups * g.c_out * g.components > 1
        and g.y_channel == g.element
        and g.lane.y_step != g.element
        and g.lane.n_phases * g.components <= ACC_ROWS
    )
    g.interleaved = (
        not g.by_channel
        and contiguous(&g.lane)
        and g.lane.stride * g.components <= MAX_SOURCES
    )


include "_plan_ways.pxi"
include "_plan_lanes.pxi"


cdef int make_sets(Geometry* g, bint in_any_batch) noexcept:
    """Which outer phases share a panel: few output channels take several, so rows are full."""
    cdef Py_ssize_t rows, i, s, c, rest, taps
    cdef bint merged
    g.joined = joins(g, in_any_batch)
    choose_stencil(g)
    g.fetched = fetches(g)
    g.outer[g.joint].whole = g.lane.whole = g.joined
    if g.joined:
        g.outer[g.joint].n_classes = g.lane.n_classes = 1
    rows = g.c_out * g.components * largest_class(&g.lane)
    g.products = 0
    g.shared = False
    g.stencil_last = g.stencil and g.by_channel
    if g.stencil:
        g.products = 2 * g.c_in * g.lane.max_taps
        for i in range(g.n_outer):
            g.products *= g.outer[i].max_taps
        g.stencil_rows = g.lane.stride
        g.weave = WAYS1 if g.lane.stride == 1 else WAYS2 if g.lane.stride == 2 else WAYS4
        if g.joined:
            g.weave = MORE2 if g.lane.stride == 2 else MORE4
        elif parts_lanes(g):
            g.weave = PARTED
            set_classes(&g.lane, False)
        g.shared = g.weave == PARTED and shares_rows(g)
        if g.shared:
            g.stencil_rows = 4
    for i in range(g.n_outer - 1, -1, -1):
        if g.stencil:
            # All rows of a channel in one panel, whose height is a power of two.
            merged = (
                g.outer[i].n_phases in (1, 2, 4) and not uneven(&g.outer[i])
                and g.stencil_rows * g.outer[i].n_phases <= g.height
                and (g.outer[i].n_phases == 1 or not g.stencil_last or doubles(g, i))
            )
            g.stencil_rows *= g.outer[i].n_phases if merged else 1
        else:
            merged = (
                rows < 2 * g.height and rows * largest_class(&g.outer[i]) <= ACC_ROWS
                or i == g.n_outer - 1 and short_rows(g)
            )
        if not g.outer[i].whole:
            set_classes(&g.outer[i], merged)
        if g.outer[i].merged:
            rows *= largest_class(&g.outer[i])
    g.set_rows = rows
    g.n_sets = 1
    for i in range(g.n_outer):
        g.n_sets *= g.outer[i].n_classes
    free(g.set_taps)
    g.set_taps = <Py_ssize_t*> malloc((g.n_sets + 1) * sizeof(Py_ssize_t))
    if g.set_taps == NULL:
        return -1
    g.set_taps[0] = 0
    for s in range(g.n_sets):
        taps = g.lane.kernel
        rest = s
        for i in range(g.n_outer - 1, -1, -1):
            if g.outer[i].whole:
                taps *= g.outer[i].kernel
                continue
            c = rest % g.outer[i].n_classes
            rest //= g.outer[i].n_classes
            taps *= class_size(&g.outer[i], c) * phase_taps(
                &g.outer[i], class_first(&g.outer[i], c))
        g.set_taps[s + 1] = g.set_taps[s] + taps
    return 0


include "_plan_blocks.pxi"


cdef list stored(
        const Axis* a, Py_ssize_t q_lo, Py_ssize_t q_hi, Py_ssize_t first, Py_ssize_t phases):
    """Positions of the result inside of the window, of some q and some phases."""
    cdef Py_ssize_t q, phase
    positions = [
        result_at(a, q, phase) for q in range(q_lo, q_hi) for phase in range(first, first + phases)
    ]
    return [o for o in positions if 0 <= o < a.n_out]


cdef tuple piece_at(const Geometry* g, const Place* p, Py_ssize_t rank, Py_ssize_t lane):
    """What is stored at one place: see `Plan.places`."""
    cdef Py_ssize_t i, outer = 0, channel = p.group * g.c_out + p.channel_0
    if g.flat:
        lanes = stored(&g.lane, 0, g.row_pitch, 0, g.lane.n_phases)
    else:
        lanes = stored(&g.lane, p.lane_lo, p.lane_hi, 0, g.lane.n_phases)
    channels = [
        channel + j * g.c_out + i for j in range(p.groups) for i in range(p.blocks * p.channels)]
    piece = [lanes if g.by_batch else [p.image], channels]
    for i in range(rank):
        if i == lane:
            piece.append(lanes)
            continue
        q, stop = p.q[outer], p.q[outer] + 1
        if g.flat and outer == g.n_outer - 1:
            q, stop = p.flat_lo, p.flat_hi
        piece.append(stored(&g.outer[outer], q, stop, p.first[outer], p.size[outer]))
        outer += 1
    return tuple(piece)


@cython.final
@cython.freelist(4)
cdef class Plan:
    """How the direct method computes one problem with one instruction set.

    Parameters
    ----------
    problem : Problem
    x_strides, w_strides, y_strides
        Steps in bytes of the canonical arrays ``(n, c, *spatial)`` and ``(c_in, c_out, *kernel)``.
    images
        Length of the batch.
    compute, components, element
        Compute type, real numbers of an element, and its bytes.
    vector, height
        Lanes of a vector and rows of the tallest tile.
    workers : int or None
        The most threads to plan for, as `_threads.resolve` takes it.
    exact
        Run the lanes along the batch, so that no product with padding is ever made.

    Raises
    ------
    OverflowError
        If the method's scratch would not fit its bound, or most of its work would be for nothing;
        the message is the reason.
    MemoryError
        If what it copies, or the result, is more than any memory.
    """

    def __cinit__(self):
        self.g.set_taps = NULL

    def __dealloc__(self):
        free(self.g.set_taps)

    def __init__(
        self, problem, tuple x_strides, tuple w_strides, tuple y_strides, Py_ssize_t images,
        int compute, Py_ssize_t components, Py_ssize_t element, Py_ssize_t vector,
        Py_ssize_t height, workers, bint exact=False,
    ):
        cdef Geometry* g = &self.g
        cdef Axis axes[MAX_AXES + 1]
        cdef Py_ssize_t w_steps[MAX_AXES]
        cdef Py_ssize_t d = make_axes(<tuple> problem, axes)
        cdef Py_ssize_t i, spatial, lane, c_in, c_out, batch_taps
        cdef double x_bytes, w_bytes, y_bytes, widened
        cdef bint in_any_batch
        _, g.groups, c_in, c_out, _, _, _, _, _, _, _, _ = <tuple> problem
        g.taps = 1
        g.complete = True
        self.macs = <double> images * components * components
        x_bytes = y_bytes = <double> images * element
        w_bytes = element
        for i in range(d):
            axes[i].x_step = x_strides[i + 2]
            axes[i].y_step = y_strides[i + 2]
            w_steps[i] = w_strides[i + 2]
            g.taps *= axes[i].kernel
            g.complete = g.complete and covers(&axes[i])
            self.macs *= pairs(&axes[i])
            x_bytes *= axes[i].n_in
            w_bytes *= axes[i].kernel
            y_bytes *= axes[i].n_out
        g.c_in = c_in // g.groups
        g.c_out = c_out // g.groups
        self.macs *= <double> c_in * g.c_out
        x_bytes *= c_in
        w_bytes *= <double> c_in * g.c_out
        y_bytes *= c_out
        g.streamed = y_bytes >= LARGE_RESULT
        g.y_bytes = y_bytes
        g.components = components
        g.compute = compute
        g.size = 4 if compute == 0 else 8
        g.element = element
        # Elements that share their memory may be more than could be copied.
        widened = <double> components * g.size / element
        if max(w_bytes, y_bytes) * widened > MAX_BYTES:
            raise MemoryError(
                f"a kernel of {w_bytes:.3g} bytes or a result of {y_bytes:.3g} does not fit into "
                "memory as numbers to compute with, or scratch"
            )
        g.x_channel, g.y_channel = x_strides[1], y_strides[1]
        g.x_image, g.y_image = x_strides[0], y_strides[0]
        g.w_in, g.w_out = w_strides[0], w_strides[1]
        g.vector, g.height = vector, height
        make_axis(&axes[d], images, images, 1, 1, 1, 0)
        axes[d].x_step, axes[d].y_step = x_strides[0], y_strides[0]

        # How many input channels are read at a time decides the order of the sums, so it must not
        # depend on the batch: it is chosen as if the lanes ran along the batch.
        batch_taps = 1
        for i in range(d):
            batch_taps = min(batch_taps * axes[i].max_taps, ROWS_LIMIT)
        g.depth_block = max(1, ROWS_LIMIT // (batch_taps * vector * g.size * components))
        g.depth_block = min(g.depth_block, max(1, g.c_in))

        if scattered(axes, d):
            raise OverflowError(
                f"with dilation {problem.dilation} few positions between its taps "
                f"reach a result of {problem.spatial_out}"
            )
        workers = 1 if self.macs + x_bytes + y_bytes < SERIAL_WORK else resolve(workers)
        spatial = spatial_lane(g, axes, d)
        lane = choose_lane(
            g, axes, d, spatial, w_steps, images, workers > 1, exact, &in_any_batch)
        if not fits(g, axes, d, lane):
            raise OverflowError(
                f"one phase has more than {LIST_TAPS} taps, and no axis is long enough for them"
            )
        self.rank, self.lane = d, lane
        take_axes(g, axes, d, lane, w_steps, images)
        g.inner = spatial if lane == d and spatial < d else g.n_outer - 1
        if make_sets(g, in_any_batch) < 0:
            raise MemoryError(f"no memory for the plan of {g.n_sets} sets of phases")
        # Of the orders of a sum only that of row after row can be had with lanes along channels.
        g.pixelwise = (
            goes_by_pixels(g) and not g.joined and lane >= d - 1 and g.inner == g.n_outer - 1
            and held(axes, d, -1) <= PIXEL_TAPS
        )
        if g.pixelwise:
            g.complete = True
            cut_pixels(g, workers)
        else:
            make_blocks(g, workers)
        if g.relaid and x_bytes * widened > MAX_BYTES:
            raise MemoryError("the copies of x that are computed from do not fit into memory")
        g.worker_bytes = g.rows_bytes + g.acc_bytes + g.list_bytes
        g.zeros_bytes = round_up(g.groups * g.c_out * components * g.size, LINE)
        g.packed_bytes = round_up(g.packed * g.size, LINE)
        g.relaid_bytes = round_up(g.relaid * g.size, LINE)
        g.shared_bytes = g.zeros_bytes + g.packed_bytes + g.relaid_bytes

    @property
    def lane_axis(self):
        """What is along the lanes: "batch", "spatial" and its number, "channels" or "groups"."""
        if self.g.pixelwise:
            return "groups" if one_channel(&self.g) else "channels"
        return "batch" if self.lane == self.rank else f"spatial {self.lane}"

    @property
    def tasks(self):
        """Pieces that workers take one by one."""
        return self.g.tasks

    @property
    def workers(self):
        """Threads that are started."""
        return self.g.workers

    @property
    def relaid(self):
        """Numbers in the copy of x that lanes along the batch need, in the compute type."""
        return self.g.relaid

    @property
    def scratch_bytes(self):
        """All scratch: what the workers share and what each has."""
        return self.g.shared_bytes + self.g.workers * self.g.worker_bytes

    @property
    def phases(self):
        """Number of phases with a tap."""
        count = self.g.lane.n_phases
        for i in range(self.g.n_outer):
            count *= self.g.outer[i].n_phases
        return count

    @property
    def tile(self):
        """Rows and lanes of the tile most work is done in."""
        lanes = min(self.g.lane_block, self.g.lane.q_hi - self.g.lane.q_lo)
        if self.g.flat:
            lanes = self.g.row_block * self.g.row_pitch
        elif self.g.strung:
            lanes = self.g.row_block * self.g.lane.n_in
        return self.g.height, max(1, min(3, ceil_div(lanes, self.g.vector))) * self.g.vector

    @property
    def flat(self):
        """Whether the lanes run on from row to row of a task."""
        return self.g.flat

    @property
    def strung(self):
        """Whether lanes of images run on from pixel to pixel of a row."""
        return self.g.strung

    @property
    def tiled(self):
        """Whether x is held tile by tile."""
        return self.g.tiled

    @property
    def by_panel(self):
        """Whether a panel runs over a whole strip of lanes before the next one does."""
        return self.g.by_panel

    @property
    def joined(self):
        """Whether all phases share panels though some have taps more."""
        return self.g.joined

    @property
    def short_rows(self):
        """Whether short rows of the result are stored with their neighbours, in all phases."""
        return short_rows(&self.g)

    @property
    def streamed(self):
        """Whether the result is stored past the caches."""
        return self.g.streamed

    @property
    def fetched(self):
        """Whether lines of the result are fetched before they are stored to."""
        return self.g.fetched

    @property
    def stencil(self):
        """How short sums are woven that are stored from where they are made, or None.

        "parted": two phases of the lane axis with panels of their own; "more": the first phase has
        a tap more; "even".
        """
        if not self.g.stencil:
            return None
        if self.g.weave == PARTED:
            return "parted"
        return "more" if self.g.weave == MORE2 or self.g.weave == MORE4 else "even"

    @property
    def shared(self):
        """Whether a stencil computes both phases of its rows together."""
        return self.g.shared

    @property
    def pixelwise(self):
        """Whether the lanes run along the channels of a pixel of the result."""
        return self.g.pixelwise

    @property
    def groups(self):
        """Groups of a task, which are read and stored together."""
        return self.g.group_block

    @property
    def complete(self):
        """Whether the tasks reach every element; the result is filled with bias first if not."""
        return self.g.complete

    def places(self):
        """What each task stores, for tests of the plan and for its balance; slow.

        Returns
        -------
        list of list of tuple
            For each task the pieces it stores one after the other: ``(images, channels,
            *positions)``, each a sequence of the indices along that axis of the result. A piece is
            their product.
        """
        cdef const Geometry* g = &self.g
        cdef Place p
        cdef PixelPart part
        cdef Py_ssize_t task, block, row, last = g.n_outer - 1
        tasks = []
        for task in range(g.tasks):
            pieces = []
            if g.pixelwise:
                part = pixel_part(g, task)
                for row in range(part.row, part.row_stop):
                    piece = [range(part.low, part.stop)]
                    for i in range(self.rank - 2, -1, -1):
                        piece.insert(0, [row % g.outer[i].n_out])
                        row //= g.outer[i].n_out
                    pieces.append(([part.image], range(g.groups * g.c_out), *piece))
                tasks.append(pieces)
                continue
            enter_task(g, task, &p)
            block = p.block_lo
            while block < p.block_hi:
                enter_block(g, block, &p)
                block += p.blocks
                row = p.row_lo
                while row < p.row_hi:
                    for p.set in range(g.n_sets):
                        p.q[last] = row
                        if enter_set(g, &p):
                            pieces.append(piece_at(g, &p, self.rank, self.lane))
                    row += g.row_block if g.flat else 1
            tasks.append(pieces)
        return tasks
