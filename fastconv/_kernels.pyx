"""THE kernel source, of which a module is made for each instruction set."""

# It is translated to C once. _kernels_baseline.c, _kernels_avx2.c and _kernels_avx512.c include
# that with three macros set, and are compiled with flags of their own; see _types.pxd for every
# contract.
#
# The tiles are plain loops: constant bounds and a local array of accumulators make GCC keep them
# in registers. They reach the rate of a register-resident multiply-add loop (docs, performance),
# provided that GCC does not unroll the lanes before it vectorises them: setup.py holds the flag.

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport (
    int8_t, int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t,
)

from libc.string cimport memcpy

from fastconv._assume cimport assume
from fastconv._prefetch cimport prefetch, prefetch_far, prefetch_result
from fastconv._tall cimport TALL_TILES, tall_doubles, tall_floats
from fastconv._types cimport (
    F11, F22, F23, F32, LINE, MAX_ACC, MORE2, MORE4, PARTED, QUAD, SHARED,
    SHARED_BACK, TALL_VECTORS, WAYS1, WAYS2, WAYS4, Beside, KernelTable, Load, Run,
    Product, Rows, Scheme, Stencil, Store, add_fn, deal_fn, depthwise_fn, join_fn, load_fn, pack_fn,
    peak_fn, pixels_fn, shuffle_fn, split_fn, stencil_fn, stencil_last_fn, store_fn, tile_fn,
    tile_vectors, transform_filter_fn, transform_input_fn, transform_output_fn, weave_fn,
    woven_sums,
)

cdef extern from *:
    enum:
        VECTOR_FLOATS      # numbers of 4 bytes in a vector
        TALLEST            # rows of the tallest tiles
        ROWS_AHEAD         # rows of x that those fetch ahead, or 0

cdef enum:
    AHEAD = 512            # numbers of a panel that are fetched before they are used
    FAR_BYTES = 1 << 15    # of the lanes that a tile reads: more than the first-level cache holds
    FAR_PITCH = 1 << 11    # ... and from one row to the next at most
    PEAK_ROWS = 4
    PEAK_VECTORS = 3

# Structs, since a fused type takes names of one integer type for the same.
cdef struct half_t:
    uint16_t bits

cdef struct bool_t:
    uint8_t value

ctypedef fused real_t:
    float
    double
    uint64_t

ctypedef fused float_t:
    float
    double

# What is stored in arrays; the order of _dtypes.TYPES.
ctypedef fused element_t:
    float
    double
    half_t
    int8_t
    uint8_t
    int16_t
    uint16_t
    int32_t
    uint32_t
    uint64_t
    bool_t

# A tile's constants, carried by the type of its accumulators: rows x vectors.
cdef struct Tile8x3:
    char unused
cdef struct Tile8x2:
    char unused
cdef struct Tile8x1:
    char unused
cdef struct Tile4x3:
    char unused
cdef struct Tile4x2:
    char unused
cdef struct Tile4x1:
    char unused
cdef struct Tile2x6:
    char unused
cdef struct Tile2x5:
    char unused
cdef struct Tile2x4:
    char unused
cdef struct Tile2x3:
    char unused
cdef struct Tile2x2:
    char unused
cdef struct Tile2x1:
    char unused
cdef struct Tile1x6:
    char unused
cdef struct Tile1x5:
    char unused
cdef struct Tile1x4:
    char unused
cdef struct Tile1x3:
    char unused
cdef struct Tile1x2:
    char unused
cdef struct Tile1x1:
    char unused

ctypedef fused tile_t:
    Tile8x3
    Tile8x2
    Tile8x1
    Tile4x3
    Tile4x2
    Tile4x1
    Tile2x6
    Tile2x5
    Tile2x4
    Tile2x3
    Tile2x2
    Tile2x1
    Tile1x6
    Tile1x5
    Tile1x4
    Tile1x3
    Tile1x2
    Tile1x1

ctypedef fused tall_t:
    Tile4x3
    Tile4x2


cdef inline bint lies_far(
        Py_ssize_t depth, Py_ssize_t lanes, Py_ssize_t pitch, Py_ssize_t size) noexcept nogil:
    """Whether the rows of x that a tile reads are worth asking for ahead."""
    return depth * lanes * size >= FAR_BYTES and lanes < pitch and pitch * size < FAR_PITCH


cdef void tile(
        const real_t* panel, Py_ssize_t tap_size, const Py_ssize_t* taps, const real_t** rows,
        Py_ssize_t n_rows, Py_ssize_t lane_taps, Py_ssize_t lane_shift, Py_ssize_t at,
        Py_ssize_t depth, Py_ssize_t pitch, Py_ssize_t components, tile_t* out,
        Py_ssize_t acc_pitch, bint accumulate, Py_ssize_t tiles, Py_ssize_t tile_step,
        const Beside* beside) noexcept nogil:
    cdef real_t acc[MAX_ACC * VECTOR_FLOATS]
    cdef real_t* c = <real_t*> out
    cdef const real_t* tap
    cdef const real_t* x
    cdef const real_t* a
    cdef const real_t* b
    cdef const real_t* b_im
    cdef const char* line
    cdef real_t* copy
    cdef real_t read[TALL_VECTORS * VECTOR_FLOATS]
    cdef Py_ssize_t height, vectors, lanes, r, m, j, _i, _t, _k
    cdef bint far
    if tile_t is Tile8x3 or tile_t is Tile8x2 or tile_t is Tile8x1:
        height = 8
    elif tile_t is Tile4x3 or tile_t is Tile4x2 or tile_t is Tile4x1:
        height = 4
    elif (
        tile_t is Tile2x6 or tile_t is Tile2x5 or tile_t is Tile2x4
        or tile_t is Tile2x3 or tile_t is Tile2x2 or tile_t is Tile2x1
    ):
        height = 2
    else:
        height = 1
    if tile_t is Tile2x6 or tile_t is Tile1x6:
        vectors = 6
    elif tile_t is Tile2x5 or tile_t is Tile1x5:
        vectors = 5
    elif tile_t is Tile2x4 or tile_t is Tile1x4:
        vectors = 4
    elif (
        tile_t is Tile8x3 or tile_t is Tile4x3 or tile_t is Tile2x3
        or tile_t is Tile1x3
    ):
        vectors = 3
    elif (
        tile_t is Tile8x2 or tile_t is Tile4x2 or tile_t is Tile2x2
        or tile_t is Tile1x2
    ):
        vectors = 2
    else:
        vectors = 1
    lanes = vectors * (4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(real_t))
    far = lies_far(depth, lanes, pitch, sizeof(real_t))
    for _i in range(tiles):
        if accumulate:
            for m in range(height):
                for j in range(lanes):
                    acc[m * lanes + j] = c[m * acc_pitch + j]
        else:
            for m in range(height):
                for j in range(lanes):
                    acc[m * lanes + j] = 0
        for r in range(n_rows):
            tap = panel + taps[r] * lane_taps * tap_size
            x = rows[r] + at
            for _t in range(lane_taps):
                a = tap
                b = x
                tap += tap_size
                x -= lane_shift
                # Where vectors are short, GCC would spill in the other loops for these.
                if VECTOR_FLOATS > 4 and height == TALLEST and beside:
                    line = beside.ahead[r]
                    copy = <real_t*> beside.copy
                    if copy:
                        copy += r * depth * lanes
                        for _k in range(depth):
                            prefetch_far(line)
                            line += beside.step
                            # Through an array of the function, which `copy` cannot overlap.
                            for j in range(lanes):
                                read[j] = b[j]
                            for m in range(height):
                                for j in range(lanes):
                                    acc[m * lanes + j] += a[m] * read[j]
                            for j in range(lanes):
                                copy[j] = read[j]
                            copy += lanes
                            a += height
                            b += pitch
                        continue
                    for _k in range(depth):
                        prefetch_far(line)
                        line += beside.step
                        for m in range(height):
                            for j in range(lanes):
                                acc[m * lanes + j] += a[m] * b[j]
                        a += height
                        b += pitch
                    continue
                if components == 1:
                    for _k in range(depth):
                        if height == TALLEST:
                            prefetch(a + AHEAD)
                        if height == TALLEST and ROWS_AHEAD > 0 and far:
                            for j in range((4 * VECTOR_FLOATS * vectors + LINE - 1) // LINE):
                                prefetch(<const char*> (b + ROWS_AHEAD * pitch) + LINE * j)
                        for m in range(height):
                            for j in range(lanes):
                                acc[m * lanes + j] += a[m] * b[j]
                        a += height
                        b += pitch
                    continue
                for _k in range(depth):
                    b_im = b + pitch
                    for m in range(0, height - 1, 2):
                        for j in range(lanes):
                            acc[m * lanes + j] += a[m] * b[j]
                        for j in range(lanes):
                            acc[m * lanes + j] -= a[m + 1] * b_im[j]
                        for j in range(lanes):
                            acc[(m + 1) * lanes + j] += a[m] * b_im[j]
                        for j in range(lanes):
                            acc[(m + 1) * lanes + j] += a[m + 1] * b[j]
                    a += height
                    b += 2 * pitch
        for m in range(height):
            for j in range(lanes):
                c[m * acc_pitch + j] = acc[m * lanes + j]
        at += tile_step
        c += lanes


cdef void tall_tile(
        const float_t* panel, Py_ssize_t tap_size, const Py_ssize_t* taps, const float_t** rows,
        Py_ssize_t n_rows, Py_ssize_t lane_taps, Py_ssize_t lane_shift, Py_ssize_t at,
        Py_ssize_t depth, Py_ssize_t pitch, Py_ssize_t components, tall_t* out,
        Py_ssize_t acc_pitch, bint accumulate, Py_ssize_t tiles, Py_ssize_t tile_step,
        const Beside* beside) noexcept nogil:
    """Tiles of these shapes by the loop of _tall.pxd.

    By `tile` where they are complex, leave a copy or fetch rows of x ahead, which that has not.
    """
    cdef bint wide = tall_t is Tile4x3
    cdef Py_ssize_t lanes = (2 + wide) * (4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t))
    if components != 1 or (beside and beside.copy) or (
            not beside and lies_far(depth, lanes, pitch, sizeof(float_t))):
        tile[float_t, tall_t](
            panel, tap_size, taps, rows, n_rows, lane_taps, lane_shift, at, depth, pitch,
            components, out, acc_pitch, accumulate, tiles, tile_step, beside)
    elif float_t is float:
        if beside:
            tall_floats(
                panel, tap_size, taps, rows, n_rows, lane_taps, lane_shift, at, depth, pitch,
                <float_t*> out, acc_pitch, accumulate, tiles, tile_step, AHEAD, wide,
                beside.ahead, beside.step)
        else:
            tall_floats(
                panel, tap_size, taps, rows, n_rows, lane_taps, lane_shift, at, depth, pitch,
                <float_t*> out, acc_pitch, accumulate, tiles, tile_step, AHEAD, wide, NULL, 0)
    else:
        if beside:
            tall_doubles(
                panel, tap_size, taps, rows, n_rows, lane_taps, lane_shift, at, depth, pitch,
                <float_t*> out, acc_pitch, accumulate, tiles, tile_step, AHEAD, wide,
                beside.ahead, beside.step)
        else:
            tall_doubles(
                panel, tap_size, taps, rows, n_rows, lane_taps, lane_shift, at, depth, pitch,
                <float_t*> out, acc_pitch, accumulate, tiles, tile_step, AHEAD, wide, NULL, 0)


include "_kernels_convert.pxi"
include "_kernels_load.pxi"
include "_kernels_store.pxi"
include "_kernels_add.pxi"
include "_kernels_shuffle.pxi"
include "_kernels_karatsuba.pxi"
include "_kernels_depthwise.pxi"
include "_kernels_pixels.pxi"
include "_kernels_stencil.pxi"
include "_kernels_stencil_shared.pxi"
include "_kernels_stencil_last.pxi"
include "_kernels_winograd.pxi"


cdef double peak(Py_ssize_t n, real_t* tag) noexcept nogil:
    """A multiply-add loop that stays in registers: what the tiles are measured against."""
    cdef real_t acc[PEAK_ROWS * PEAK_VECTORS * VECTOR_FLOATS]
    cdef real_t out[PEAK_ROWS * PEAK_VECTORS * VECTOR_FLOATS]
    cdef Py_ssize_t lanes = PEAK_VECTORS * (4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(real_t))
    cdef real_t x = tag[0], y = tag[1]
    cdef Py_ssize_t m, j, _i
    for m in range(PEAK_ROWS):
        for j in range(lanes):
            acc[m * lanes + j] = x
    for _i in range(n):
        for m in range(PEAK_ROWS):
            for j in range(lanes):
                acc[m * lanes + j] = acc[m * lanes + j] * x + y
    for m in range(PEAK_ROWS):
        for j in range(lanes):
            out[m * lanes + j] = acc[m * lanes + j]
    for j in range(PEAK_ROWS * lanes):
        tag[0] += out[j]
    return 2.0 * n * PEAK_ROWS * lanes


include "_kernels_table.pxi"


def table():
    """The kernels of this instruction set, for `_execute`."""
    return PyCapsule_New(&kernels, b"fastconv.kernels", NULL)
