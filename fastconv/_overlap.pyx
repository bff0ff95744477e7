"""The driver of overlap-add: planes of products, shifted by their taps and added into the result.

A plane has the products of all pixels of an image with one tap of one output channel, summed over
the input channels. Each task owns some lanes of a row of the result, of all output channels of a
group, and adds the rows of planes that reach it in the order of the taps, so that additions have
one order and need no lock.
"""

import math

import numpy as np

from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memset

from fastconv._arith cimport ceil_div, clip, floor_div, round_up
from fastconv._memory cimport Buffer, Memory, enter_fenv, fenv_t, kernel_table, leave_fenv
from fastconv._plan cimport covers, make_axes
from fastconv._types cimport (
    LINE, MAX_AXES, QUAD, TASKS_PER_WORKER, Axis, KernelTable, Rows, Store, one_row,
)

cdef enum:
    SUM_BYTES = 1 << 14         # of the sums of a task, in the first-level cache with what is added
    LEAST_LANES = 64            # of it, a multiple of QUAD


cdef struct Overlap:
    const KernelTable* k
    int code, compute
    Py_ssize_t size, rank, groups
    Py_ssize_t c_out, taps               # of a group; of the kernel
    Axis axes[MAX_AXES]                  # steps in bytes, `x_step` those of a plane
    const char* planes
    Py_ssize_t plane                     # bytes from one to the next
    const char* bias
    char* y
    Py_ssize_t y_image, y_channel
    bint by_channel                      # channels are the neighbours in the result
    Py_ssize_t lanes, pitch, blocks      # positions q of a task, of its sums, and of a row
    Py_ssize_t tasks, sums_bytes, worker_bytes


cdef void add_planes(
        const Overlap* c, Py_ssize_t image, Py_ssize_t group, const Py_ssize_t* out,
        Py_ssize_t q, Py_ssize_t n, char* sums) noexcept nogil:
    """Sums [channel][phase][lane] of lanes [q, q + n) of one row of the result."""
    cdef Py_ssize_t last = c.rank - 1, others, other, rest, tap, f, at, channel, i, low, high, shift
    cdef const Axis* a
    cdef const char* plane
    cdef Rows rows
    rows.n, rows.src_step, rows.dst_step = 1, 0, 0
    memset(sums, 0, c.c_out * c.axes[last].stride * c.pitch * c.size)
    others = c.taps // c.axes[last].kernel
    for other in range(others):
        rest, at = other, 0
        for i in range(last - 1, -1, -1):
            a = &c.axes[i]
            f = out[i] + a.crop - rest % a.kernel * a.dilation
            rest //= a.kernel
            if f < 0 or f % a.stride or f // a.stride >= a.n_in:
                at = -1
                break
            at += f // a.stride * a.x_step
        if at < 0:
            continue
        a = &c.axes[last]
        for channel in range(c.c_out):
            plane = c.planes + at + c.plane * (
                ((image * c.groups + group) * c.c_out + channel) * c.taps + other * a.kernel)
            for tap in range(a.kernel):
                shift = tap // a.period * a.shift
                low, high = max(0, q - shift), min(a.n_in, q + n - shift)
                if low < high:
                    c.k.add[c.compute](
                        plane + tap * c.plane + low * c.size, 1, high - low, 1,
                        low + shift - q, 1, 1, n, &rows,
                        sums + (channel * a.stride + tap % a.period) * c.pitch * c.size,
                        c.size, NULL)


cdef void store_sums(
        const Overlap* c, Py_ssize_t group, char* y, Py_ssize_t q, Py_ssize_t n, const char* sums,
        const void** sources) noexcept nogil:
    """Interleave the phases, and channels that are neighbours, with the bias, into a row."""
    cdef const Axis* a = &c.axes[c.rank - 1]
    cdef Py_ssize_t width = c.c_out if c.by_channel else 1, phase, channel, row = c.pitch * c.size
    cdef Py_ssize_t low = clip(floor_div(a.crop, a.stride) - q, 0, n)
    cdef Py_ssize_t high = clip(ceil_div(a.crop + a.n_out, a.stride) - q, low, n)
    cdef Store s = one_row()
    if high == low:
        return
    for phase in range(a.stride):
        for channel in range(width):
            sources[phase * width + channel] = sums + (channel * a.stride + phase) * row
    s.n_sources = a.stride * width
    s.lane_step = a.stride * a.y_step
    s.source_step = c.size if c.by_channel else a.y_step
    s.at, s.n = low, high - low
    s.skip = max(0, a.crop - (q + low) * a.stride) * width
    s.cut = max(0, (q + high) * a.stride - a.crop - a.n_out) * width
    if c.by_channel:
        s.bias_mask = -1
        c.k.store[c.code](
            sources, c.bias + group * c.c_out * a.stride * c.size,
            y + ((q + low) * a.stride - a.crop) * a.y_step, &s)
        return
    s.channels, s.pitch = c.c_out, a.stride * c.pitch
    s.channel_step, s.bias_step = c.y_channel, 1
    c.k.store[c.code](
        sources, c.bias + group * c.c_out * c.size,
        y + ((q + low) * a.stride - a.crop) * a.y_step, &s)


cdef void run_task(const Overlap* c, Py_ssize_t task, char* scratch) noexcept nogil:
    """Some lanes of a row of the result, of all channels of one image and group."""
    cdef Py_ssize_t last = c.rank - 1, rest = task // c.blocks, i, q, n
    cdef Py_ssize_t out[MAX_AXES]
    cdef const Axis* a
    cdef char* y = c.y
    cdef fenv_t caller
    for i in range(last - 1, -1, -1):
        a = &c.axes[i]
        out[i] = rest % a.n_out
        rest //= a.n_out
        y += out[i] * a.y_step
    y += rest // c.groups * c.y_image + rest % c.groups * c.c_out * c.y_channel
    q = c.axes[last].q_lo + task % c.blocks * c.lanes
    n = min(c.lanes, c.axes[last].q_hi - q)
    enter_fenv(&caller)
    add_planes(c, rest // c.groups, rest % c.groups, out, q, n, scratch)
    store_sums(c, rest % c.groups, y, q, n, scratch, <const void**> (scratch + c.sums_bytes))
    leave_fenv(&caller)


def gaps(problem):
    """The first axis with results that no phase reaches, or -1."""
    cdef Axis axes[MAX_AXES]
    cdef Py_ssize_t d = make_axes(<tuple> problem, axes), i
    for i in range(d):
        if not covers(&axes[i]):
            return i
    return -1


cdef void lay_out(problem, Py_ssize_t size, Overlap* c) except *:
    """What follows from a problem alone: axes, tasks and scratch."""
    cdef const Axis* last
    cdef Py_ssize_t i
    c.size = size
    c.rank = make_axes(<tuple> problem, c.axes)
    c.groups = problem.groups
    c.c_out = problem.c_out // problem.groups
    c.taps = math.prod(problem.kernel)
    last = &c.axes[c.rank - 1]
    c.lanes = max(
        LEAST_LANES, SUM_BYTES // max(1, c.c_out * last.stride * size) // QUAD * QUAD)
    c.blocks = ceil_div(last.q_hi - last.q_lo, c.lanes)
    c.lanes = round_up(ceil_div(last.q_hi - last.q_lo, max(1, c.blocks)), QUAD)
    c.tasks = math.prod(problem.batch) * c.groups * c.blocks
    for i in range(c.rank - 1):
        c.tasks *= c.axes[i].n_out
    # Some more, for the lanes that are read beyond the last sum.
    c.pitch = c.lanes + QUAD
    c.sums_bytes = round_up(c.c_out * last.stride * c.pitch * size, LINE)
    c.worker_bytes = round_up(
        c.sums_bytes + c.c_out * last.stride * <Py_ssize_t> sizeof(void*), LINE)


def count_tasks(problem, Py_ssize_t size):
    """How many tasks there are, and the scratch of each worker."""
    cdef Overlap c
    lay_out(problem, size, &c)
    return c.tasks, c.worker_bytes


def run(problem, kernels, int code, int compute, planes, bias, y, Py_ssize_t workers):
    """Add planes, C-contiguous (image, group, output channel, tap, ...), and the bias into `y`."""
    cdef Overlap c
    cdef Py_ssize_t i, task, chunk
    cdef Buffer planes_buffer = Buffer(planes, False)
    cdef Buffer y_buffer = Buffer(y, True)
    cdef Buffer bias_buffer
    cdef Memory scratch
    lay_out(problem, 4 if compute == 0 else 8, &c)
    c.k = kernel_table(kernels)
    c.code, c.compute = code, compute
    for i in range(c.rank):
        c.axes[i].x_step, c.axes[i].y_step = planes.strides[i + 2], y.strides[i + 2]
    c.plane = planes.strides[1]
    c.y_image, c.y_channel = y.strides[:2]
    c.by_channel = (
        c.groups == 1 and c.y_channel == c.size
        and c.axes[c.rank - 1].y_step == c.c_out * c.size and c.c_out > 1
    )
    if c.by_channel:
        # Once for each phase.
        bias = np.tile(bias, c.axes[c.rank - 1].stride)
    bias_buffer = Buffer(bias, False)
    c.planes = <const char*> planes_buffer.view.buf
    c.bias = <const char*> bias_buffer.view.buf
    c.y = <char*> y_buffer.view.buf
    workers = max(1, min(workers, c.tasks))
    scratch = Memory(workers * c.worker_bytes)
    chunk = max(1, c.tasks // (TASKS_PER_WORKER * workers))
    with nogil:
        if workers == 1:
            for task in range(c.tasks):
                run_task(&c, task, scratch.start)
        else:
            with parallel(num_threads=workers):
                for task in prange(c.tasks, schedule="dynamic", chunksize=chunk):
                    run_task(&c, task, scratch.start + threadid() * c.worker_bytes)
