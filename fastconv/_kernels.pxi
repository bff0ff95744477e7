# THE kernel source. One stub module per instruction set includes it with VECTOR_FLOATS and
# TALLEST set, and is compiled with that set's flags; see _types.pxd for every contract.
#
# The tiles are plain loops: constant bounds and a local array of accumulators make GCC keep them
# in registers. They reach the rate of a register-resident multiply-add loop (docs, performance),
# provided that GCC does not unroll the lanes before it vectorises them: setup.py holds the flag.

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport (
    int8_t, int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t,
)

from libc.string cimport memcpy

from fastconv._prefetch cimport assume, prefetch, prefetch_far, prefetch_result
from fastconv._types cimport (
    DEALT_PARTS, F11, F22, F23, F32, LINE, MAX_ACC, MORE2, MORE4, PARTED, QUAD, TALL_VECTORS,
    WAYS2, WAYS4, WOVEN_SOURCES, KernelTable, Load, Run, Product, Scheme, Stencil, Store, add_fn,
    deal_fn, depthwise_fn, load_fn, pack_fn, peak_fn, pixels_fn, stencil_fn, stencil_last_fn,
    store_fn, tile_fn, tile_vectors, transform_filter_fn, transform_input_fn, transform_output_fn,
    weave_fn,
)

cdef enum:
    AHEAD = 512            # numbers of a panel that are fetched before they are used
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


cdef void tile(
        const real_t* panel, Py_ssize_t tap_size, const Py_ssize_t* taps, const real_t** rows,
        Py_ssize_t n_rows, Py_ssize_t lane_taps, Py_ssize_t lane_shift, Py_ssize_t at,
        Py_ssize_t depth, Py_ssize_t pitch, Py_ssize_t components, tile_t* out,
        Py_ssize_t acc_pitch, bint accumulate, Py_ssize_t tiles) noexcept nogil:
    cdef real_t acc[MAX_ACC * VECTOR_FLOATS]
    cdef real_t* c = <real_t*> out
    cdef const real_t* tap
    cdef const real_t* x
    cdef const real_t* a
    cdef const real_t* b
    cdef const real_t* b_im
    cdef Py_ssize_t height, vectors, lanes, i, r, t, k, m, j
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
    for i in range(tiles):
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
            for t in range(lane_taps):
                a = tap
                b = x
                tap += tap_size
                x -= lane_shift
                if components == 1:
                    for k in range(depth):
                        if height == 8:
                            prefetch(a + AHEAD)
                        for m in range(height):
                            for j in range(lanes):
                                acc[m * lanes + j] += a[m] * b[j]
                        a += height
                        b += pitch
                    continue
                for k in range(depth):
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
        at += lanes
        c += lanes


include "_kernels_move.pxi"
include "_kernels_depthwise.pxi"
include "_kernels_pixels.pxi"
include "_kernels_stencil.pxi"
include "_kernels_stencil_last.pxi"
include "_kernels_winograd.pxi"


cdef double peak(Py_ssize_t n, real_t* tag) noexcept nogil:
    """A multiply-add loop that stays in registers: what the tiles are measured against."""
    cdef real_t acc[PEAK_ROWS * PEAK_VECTORS * VECTOR_FLOATS]
    cdef real_t out[PEAK_ROWS * PEAK_VECTORS * VECTOR_FLOATS]
    cdef Py_ssize_t lanes = PEAK_VECTORS * (4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(real_t))
    cdef real_t x = tag[0], y = tag[1]
    cdef Py_ssize_t i, m, j
    for m in range(PEAK_ROWS):
        for j in range(lanes):
            acc[m * lanes + j] = x
    for i in range(n):
        for m in range(PEAK_ROWS):
            for j in range(lanes):
                acc[m * lanes + j] = acc[m * lanes + j] * x + y
    for m in range(PEAK_ROWS):
        for j in range(lanes):
            out[m * lanes + j] = acc[m * lanes + j]
    for j in range(PEAK_ROWS * lanes):
        tag[0] += out[j]
    return 2.0 * n * PEAK_ROWS * lanes


cdef KernelTable kernels


cdef void fill_table() noexcept:
    kernels.lanes[0] = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float)
    kernels.lanes[1] = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(double)
    kernels.lanes[2] = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(uint64_t)
    kernels.rows = TALLEST
    kernels.tile[0][0][0] = <tile_fn> tile[float, Tile1x1]
    kernels.tile[0][0][1] = <tile_fn> tile[float, Tile1x2]
    kernels.tile[0][0][2] = <tile_fn> tile[float, Tile1x3]
    kernels.tile[0][1][0] = <tile_fn> tile[float, Tile2x1]
    kernels.tile[0][1][1] = <tile_fn> tile[float, Tile2x2]
    kernels.tile[0][1][2] = <tile_fn> tile[float, Tile2x3]
    kernels.tile[0][2][0] = <tile_fn> tile[float, Tile4x1]
    kernels.tile[0][2][1] = <tile_fn> tile[float, Tile4x2]
    kernels.tile[0][2][2] = <tile_fn> tile[float, Tile4x3]
    kernels.tile[0][3][0] = <tile_fn> tile[float, Tile8x1]
    kernels.tile[0][3][1] = <tile_fn> tile[float, Tile8x2]
    kernels.tile[0][3][2] = <tile_fn> tile[float, Tile8x3]
    kernels.tile[0][0][3] = <tile_fn> tile[float, Tile1x4]
    kernels.tile[0][0][4] = <tile_fn> tile[float, Tile1x5]
    kernels.tile[0][0][5] = <tile_fn> tile[float, Tile1x6]
    kernels.tile[0][1][3] = <tile_fn> tile[float, Tile2x4]
    kernels.tile[0][1][4] = <tile_fn> tile[float, Tile2x5]
    kernels.tile[0][1][5] = <tile_fn> tile[float, Tile2x6]
    kernels.tile[1][0][0] = <tile_fn> tile[double, Tile1x1]
    kernels.tile[1][0][1] = <tile_fn> tile[double, Tile1x2]
    kernels.tile[1][0][2] = <tile_fn> tile[double, Tile1x3]
    kernels.tile[1][1][0] = <tile_fn> tile[double, Tile2x1]
    kernels.tile[1][1][1] = <tile_fn> tile[double, Tile2x2]
    kernels.tile[1][1][2] = <tile_fn> tile[double, Tile2x3]
    kernels.tile[1][2][0] = <tile_fn> tile[double, Tile4x1]
    kernels.tile[1][2][1] = <tile_fn> tile[double, Tile4x2]
    kernels.tile[1][2][2] = <tile_fn> tile[double, Tile4x3]
    kernels.tile[1][3][0] = <tile_fn> tile[double, Tile8x1]
    kernels.tile[1][3][1] = <tile_fn> tile[double, Tile8x2]
    kernels.tile[1][3][2] = <tile_fn> tile[double, Tile8x3]
    kernels.tile[1][0][3] = <tile_fn> tile[double, Tile1x4]
    kernels.tile[1][0][4] = <tile_fn> tile[double, Tile1x5]
    kernels.tile[1][0][5] = <tile_fn> tile[double, Tile1x6]
    kernels.tile[1][1][3] = <tile_fn> tile[double, Tile2x4]
    kernels.tile[1][1][4] = <tile_fn> tile[double, Tile2x5]
    kernels.tile[1][1][5] = <tile_fn> tile[double, Tile2x6]
    kernels.tile[2][0][0] = <tile_fn> tile[uint64_t, Tile1x1]
    kernels.tile[2][0][1] = <tile_fn> tile[uint64_t, Tile1x2]
    kernels.tile[2][0][2] = <tile_fn> tile[uint64_t, Tile1x3]
    kernels.tile[2][1][0] = <tile_fn> tile[uint64_t, Tile2x1]
    kernels.tile[2][1][1] = <tile_fn> tile[uint64_t, Tile2x2]
    kernels.tile[2][1][2] = <tile_fn> tile[uint64_t, Tile2x3]
    kernels.tile[2][2][0] = <tile_fn> tile[uint64_t, Tile4x1]
    kernels.tile[2][2][1] = <tile_fn> tile[uint64_t, Tile4x2]
    kernels.tile[2][2][2] = <tile_fn> tile[uint64_t, Tile4x3]
    kernels.tile[2][3][0] = <tile_fn> tile[uint64_t, Tile8x1]
    kernels.tile[2][3][1] = <tile_fn> tile[uint64_t, Tile8x2]
    kernels.tile[2][3][2] = <tile_fn> tile[uint64_t, Tile8x3]
    kernels.tile[2][0][3] = <tile_fn> tile[uint64_t, Tile1x4]
    kernels.tile[2][0][4] = <tile_fn> tile[uint64_t, Tile1x5]
    kernels.tile[2][0][5] = <tile_fn> tile[uint64_t, Tile1x6]
    kernels.tile[2][1][3] = <tile_fn> tile[uint64_t, Tile2x4]
    kernels.tile[2][1][4] = <tile_fn> tile[uint64_t, Tile2x5]
    kernels.tile[2][1][5] = <tile_fn> tile[uint64_t, Tile2x6]
    kernels.load[0] = <load_fn> load[float, float]
    kernels.pack[0] = <pack_fn> pack[float, float]
    kernels.store[0] = <store_fn> store[float, float]
    kernels.load[1] = <load_fn> load[double, double]
    kernels.pack[1] = <pack_fn> pack[double, double]
    kernels.store[1] = <store_fn> store[double, double]
    kernels.load[2] = <load_fn> load[half_t, float]
    kernels.pack[2] = <pack_fn> pack[half_t, float]
    kernels.store[2] = <store_fn> store[float, half_t]
    kernels.load[3] = <load_fn> load[int8_t, uint64_t]
    kernels.pack[3] = <pack_fn> pack[int8_t, uint64_t]
    kernels.store[3] = <store_fn> store[uint64_t, int8_t]
    kernels.load[4] = <load_fn> load[uint8_t, uint64_t]
    kernels.pack[4] = <pack_fn> pack[uint8_t, uint64_t]
    kernels.store[4] = <store_fn> store[uint64_t, uint8_t]
    kernels.load[5] = <load_fn> load[int16_t, uint64_t]
    kernels.pack[5] = <pack_fn> pack[int16_t, uint64_t]
    kernels.store[5] = <store_fn> store[uint64_t, int16_t]
    kernels.load[6] = <load_fn> load[uint16_t, uint64_t]
    kernels.pack[6] = <pack_fn> pack[uint16_t, uint64_t]
    kernels.store[6] = <store_fn> store[uint64_t, uint16_t]
    kernels.load[7] = <load_fn> load[int32_t, uint64_t]
    kernels.pack[7] = <pack_fn> pack[int32_t, uint64_t]
    kernels.store[7] = <store_fn> store[uint64_t, int32_t]
    kernels.load[8] = <load_fn> load[uint32_t, uint64_t]
    kernels.pack[8] = <pack_fn> pack[uint32_t, uint64_t]
    kernels.store[8] = <store_fn> store[uint64_t, uint32_t]
    kernels.load[9] = <load_fn> load[uint64_t, uint64_t]
    kernels.pack[9] = <pack_fn> pack[uint64_t, uint64_t]
    kernels.store[9] = <store_fn> store[uint64_t, uint64_t]
    kernels.load[10] = <load_fn> load[bool_t, uint64_t]
    kernels.pack[10] = <pack_fn> pack[bool_t, uint64_t]
    kernels.store[10] = <store_fn> store[uint64_t, bool_t]
    kernels.deal[0] = <deal_fn> deal[float]
    kernels.transform_input[0] = <transform_input_fn> transform_input[float]
    kernels.transform_filter[0] = <transform_filter_fn> transform_filter[float]
    kernels.transform_output[0] = <transform_output_fn> transform_output[float]
    kernels.weave[0] = <weave_fn> weave[float]
    kernels.depthwise[0] = <depthwise_fn> depthwise[float]
    kernels.pixels[0] = <pixels_fn> pixels[float]
    kernels.deal[1] = <deal_fn> deal[double]
    kernels.transform_input[1] = <transform_input_fn> transform_input[double]
    kernels.transform_filter[1] = <transform_filter_fn> transform_filter[double]
    kernels.transform_output[1] = <transform_output_fn> transform_output[double]
    kernels.weave[1] = <weave_fn> weave[double]
    kernels.depthwise[1] = <depthwise_fn> depthwise[double]
    kernels.pixels[1] = <pixels_fn> pixels[double]
    kernels.stencil_vectors[1] = wide_vectors(2)
    kernels.stencil_vectors[2] = wide_vectors(4)
    kernels.stencil_vectors[3] = wide_vectors(8)
    kernels.stencil[0][1][WAYS2][0] = <stencil_fn> stencil[float, Ways2, Narrow2]
    kernels.stencil[0][1][WAYS2][1] = <stencil_fn> stencil[float, Ways2, Middle2]
    kernels.stencil[0][1][WAYS2][2] = <stencil_fn> stencil[float, Ways2, Wide2]
    kernels.stencil[0][1][PARTED][0] = <stencil_fn> stencil[float, Parted, Narrow2]
    kernels.stencil[0][1][PARTED][1] = <stencil_fn> stencil[float, Parted, Middle2]
    kernels.stencil[0][1][PARTED][2] = <stencil_fn> stencil[float, Parted, Wide2]
    kernels.stencil[0][1][MORE2][0] = <stencil_fn> stencil[float, More2, Narrow2]
    kernels.stencil[0][1][MORE2][1] = <stencil_fn> stencil[float, More2, Middle2]
    kernels.stencil[0][1][MORE2][2] = <stencil_fn> stencil[float, More2, Wide2]
    kernels.stencil[0][2][WAYS2][0] = <stencil_fn> stencil[float, Ways2, Narrow4]
    kernels.stencil[0][2][WAYS2][1] = <stencil_fn> stencil[float, Ways2, Middle4]
    kernels.stencil[0][2][WAYS2][2] = <stencil_fn> stencil[float, Ways2, Wide4]
    kernels.stencil[0][2][WAYS4][0] = <stencil_fn> stencil[float, Ways4, Narrow4]
    kernels.stencil[0][2][WAYS4][1] = <stencil_fn> stencil[float, Ways4, Middle4]
    kernels.stencil[0][2][WAYS4][2] = <stencil_fn> stencil[float, Ways4, Wide4]
    kernels.stencil[0][2][PARTED][0] = <stencil_fn> stencil[float, Parted, Narrow4]
    kernels.stencil[0][2][PARTED][1] = <stencil_fn> stencil[float, Parted, Middle4]
    kernels.stencil[0][2][PARTED][2] = <stencil_fn> stencil[float, Parted, Wide4]
    kernels.stencil[0][2][MORE2][0] = <stencil_fn> stencil[float, More2, Narrow4]
    kernels.stencil[0][2][MORE2][1] = <stencil_fn> stencil[float, More2, Middle4]
    kernels.stencil[0][2][MORE2][2] = <stencil_fn> stencil[float, More2, Wide4]
    kernels.stencil[0][2][MORE4][0] = <stencil_fn> stencil[float, More4, Narrow4]
    kernels.stencil[0][2][MORE4][1] = <stencil_fn> stencil[float, More4, Middle4]
    kernels.stencil[0][2][MORE4][2] = <stencil_fn> stencil[float, More4, Wide4]
    kernels.stencil[1][1][WAYS2][0] = <stencil_fn> stencil[double, Ways2, Narrow2]
    kernels.stencil[1][1][WAYS2][1] = <stencil_fn> stencil[double, Ways2, Middle2]
    kernels.stencil[1][1][WAYS2][2] = <stencil_fn> stencil[double, Ways2, Wide2]
    kernels.stencil[1][1][PARTED][0] = <stencil_fn> stencil[double, Parted, Narrow2]
    kernels.stencil[1][1][PARTED][1] = <stencil_fn> stencil[double, Parted, Middle2]
    kernels.stencil[1][1][PARTED][2] = <stencil_fn> stencil[double, Parted, Wide2]
    kernels.stencil[1][1][MORE2][0] = <stencil_fn> stencil[double, More2, Narrow2]
    kernels.stencil[1][1][MORE2][1] = <stencil_fn> stencil[double, More2, Middle2]
    kernels.stencil[1][1][MORE2][2] = <stencil_fn> stencil[double, More2, Wide2]
    kernels.stencil[1][2][WAYS2][0] = <stencil_fn> stencil[double, Ways2, Narrow4]
    kernels.stencil[1][2][WAYS2][1] = <stencil_fn> stencil[double, Ways2, Middle4]
    kernels.stencil[1][2][WAYS2][2] = <stencil_fn> stencil[double, Ways2, Wide4]
    kernels.stencil[1][2][WAYS4][0] = <stencil_fn> stencil[double, Ways4, Narrow4]
    kernels.stencil[1][2][WAYS4][1] = <stencil_fn> stencil[double, Ways4, Middle4]
    kernels.stencil[1][2][WAYS4][2] = <stencil_fn> stencil[double, Ways4, Wide4]
    kernels.stencil[1][2][PARTED][0] = <stencil_fn> stencil[double, Parted, Narrow4]
    kernels.stencil[1][2][PARTED][1] = <stencil_fn> stencil[double, Parted, Middle4]
    kernels.stencil[1][2][PARTED][2] = <stencil_fn> stencil[double, Parted, Wide4]
    kernels.stencil[1][2][MORE2][0] = <stencil_fn> stencil[double, More2, Narrow4]
    kernels.stencil[1][2][MORE2][1] = <stencil_fn> stencil[double, More2, Middle4]
    kernels.stencil[1][2][MORE2][2] = <stencil_fn> stencil[double, More2, Wide4]
    kernels.stencil[1][2][MORE4][0] = <stencil_fn> stencil[double, More4, Narrow4]
    kernels.stencil[1][2][MORE4][1] = <stencil_fn> stencil[double, More4, Middle4]
    kernels.stencil[1][2][MORE4][2] = <stencil_fn> stencil[double, More4, Wide4]
    kernels.stencil_last[0][WAYS2][0][0] = <stencil_last_fn> (
        stencil_last[float, Ways2, Last1x2])
    kernels.stencil_last[0][WAYS2][0][1] = <stencil_last_fn> (
        stencil_last[float, Ways2, Last1x3])
    kernels.stencil_last[0][WAYS2][0][2] = <stencil_last_fn> (
        stencil_last[float, Ways2, Last1x4])
    kernels.stencil_last[0][WAYS2][1][0] = <stencil_last_fn> (
        stencil_last[float, Ways2, Last2x2])
    kernels.stencil_last[0][WAYS2][1][1] = <stencil_last_fn> (
        stencil_last[float, Ways2, Last2x3])
    kernels.stencil_last[0][WAYS2][1][2] = <stencil_last_fn> (
        stencil_last[float, Ways2, Last2x4])
    kernels.stencil_last[0][WAYS4][0][0] = <stencil_last_fn> (
        stencil_last[float, Ways4, Last1x2])
    kernels.stencil_last[0][WAYS4][0][1] = <stencil_last_fn> (
        stencil_last[float, Ways4, Last1x3])
    kernels.stencil_last[0][WAYS4][0][2] = <stencil_last_fn> (
        stencil_last[float, Ways4, Last1x4])
    kernels.stencil_last[0][PARTED][0][0] = <stencil_last_fn> (
        stencil_last[float, Parted, Last1x2])
    kernels.stencil_last[0][PARTED][0][1] = <stencil_last_fn> (
        stencil_last[float, Parted, Last1x3])
    kernels.stencil_last[0][PARTED][0][2] = <stencil_last_fn> (
        stencil_last[float, Parted, Last1x4])
    kernels.stencil_last[0][PARTED][1][0] = <stencil_last_fn> (
        stencil_last[float, Parted, Last2x2])
    kernels.stencil_last[0][PARTED][1][1] = <stencil_last_fn> (
        stencil_last[float, Parted, Last2x3])
    kernels.stencil_last[0][PARTED][1][2] = <stencil_last_fn> (
        stencil_last[float, Parted, Last2x4])
    kernels.stencil_last[0][MORE2][0][0] = <stencil_last_fn> (
        stencil_last[float, More2, Last1x2])
    kernels.stencil_last[0][MORE2][0][1] = <stencil_last_fn> (
        stencil_last[float, More2, Last1x3])
    kernels.stencil_last[0][MORE2][0][2] = <stencil_last_fn> (
        stencil_last[float, More2, Last1x4])
    kernels.stencil_last[0][MORE4][0][0] = <stencil_last_fn> (
        stencil_last[float, More4, Last1x2])
    kernels.stencil_last[0][MORE4][0][1] = <stencil_last_fn> (
        stencil_last[float, More4, Last1x3])
    kernels.stencil_last[0][MORE4][0][2] = <stencil_last_fn> (
        stencil_last[float, More4, Last1x4])
    kernels.stencil_last[1][WAYS2][0][0] = <stencil_last_fn> (
        stencil_last[double, Ways2, Last1x2])
    kernels.stencil_last[1][WAYS2][0][1] = <stencil_last_fn> (
        stencil_last[double, Ways2, Last1x3])
    kernels.stencil_last[1][WAYS2][0][2] = <stencil_last_fn> (
        stencil_last[double, Ways2, Last1x4])
    kernels.stencil_last[1][WAYS2][1][0] = <stencil_last_fn> (
        stencil_last[double, Ways2, Last2x2])
    kernels.stencil_last[1][WAYS2][1][1] = <stencil_last_fn> (
        stencil_last[double, Ways2, Last2x3])
    kernels.stencil_last[1][WAYS2][1][2] = <stencil_last_fn> (
        stencil_last[double, Ways2, Last2x4])
    kernels.stencil_last[1][WAYS4][0][0] = <stencil_last_fn> (
        stencil_last[double, Ways4, Last1x2])
    kernels.stencil_last[1][WAYS4][0][1] = <stencil_last_fn> (
        stencil_last[double, Ways4, Last1x3])
    kernels.stencil_last[1][WAYS4][0][2] = <stencil_last_fn> (
        stencil_last[double, Ways4, Last1x4])
    kernels.stencil_last[1][PARTED][0][0] = <stencil_last_fn> (
        stencil_last[double, Parted, Last1x2])
    kernels.stencil_last[1][PARTED][0][1] = <stencil_last_fn> (
        stencil_last[double, Parted, Last1x3])
    kernels.stencil_last[1][PARTED][0][2] = <stencil_last_fn> (
        stencil_last[double, Parted, Last1x4])
    kernels.stencil_last[1][PARTED][1][0] = <stencil_last_fn> (
        stencil_last[double, Parted, Last2x2])
    kernels.stencil_last[1][PARTED][1][1] = <stencil_last_fn> (
        stencil_last[double, Parted, Last2x3])
    kernels.stencil_last[1][PARTED][1][2] = <stencil_last_fn> (
        stencil_last[double, Parted, Last2x4])
    kernels.stencil_last[1][MORE2][0][0] = <stencil_last_fn> (
        stencil_last[double, More2, Last1x2])
    kernels.stencil_last[1][MORE2][0][1] = <stencil_last_fn> (
        stencil_last[double, More2, Last1x3])
    kernels.stencil_last[1][MORE2][0][2] = <stencil_last_fn> (
        stencil_last[double, More2, Last1x4])
    kernels.stencil_last[1][MORE4][0][0] = <stencil_last_fn> (
        stencil_last[double, More4, Last1x2])
    kernels.stencil_last[1][MORE4][0][1] = <stencil_last_fn> (
        stencil_last[double, More4, Last1x3])
    kernels.stencil_last[1][MORE4][0][2] = <stencil_last_fn> (
        stencil_last[double, More4, Last1x4])
    if TALLEST == 8:
        kernels.stencil[0][3][WAYS2][0] = <stencil_fn> stencil[float, Ways2, Narrow8]
        kernels.stencil[0][3][WAYS2][1] = <stencil_fn> stencil[float, Ways2, Wide8]
        kernels.stencil[0][3][WAYS2][2] = <stencil_fn> stencil[float, Ways2, Wide8]
        kernels.stencil[0][3][WAYS4][0] = <stencil_fn> stencil[float, Ways4, Narrow8]
        kernels.stencil[0][3][WAYS4][1] = <stencil_fn> stencil[float, Ways4, Wide8]
        kernels.stencil[0][3][WAYS4][2] = <stencil_fn> stencil[float, Ways4, Wide8]
        kernels.stencil[0][3][PARTED][0] = <stencil_fn> stencil[float, Parted, Narrow8]
        kernels.stencil[0][3][PARTED][1] = <stencil_fn> stencil[float, Parted, Wide8]
        kernels.stencil[0][3][PARTED][2] = <stencil_fn> stencil[float, Parted, Wide8]
        kernels.stencil[0][3][MORE2][0] = <stencil_fn> stencil[float, More2, Narrow8]
        kernels.stencil[0][3][MORE2][1] = <stencil_fn> stencil[float, More2, Wide8]
        kernels.stencil[0][3][MORE2][2] = <stencil_fn> stencil[float, More2, Wide8]
        kernels.stencil[0][3][MORE4][0] = <stencil_fn> stencil[float, More4, Narrow8]
        kernels.stencil[0][3][MORE4][1] = <stencil_fn> stencil[float, More4, Wide8]
        kernels.stencil[0][3][MORE4][2] = <stencil_fn> stencil[float, More4, Wide8]
        kernels.stencil[1][3][WAYS2][0] = <stencil_fn> stencil[double, Ways2, Narrow8]
        kernels.stencil[1][3][WAYS2][1] = <stencil_fn> stencil[double, Ways2, Wide8]
        kernels.stencil[1][3][WAYS2][2] = <stencil_fn> stencil[double, Ways2, Wide8]
        kernels.stencil[1][3][WAYS4][0] = <stencil_fn> stencil[double, Ways4, Narrow8]
        kernels.stencil[1][3][WAYS4][1] = <stencil_fn> stencil[double, Ways4, Wide8]
        kernels.stencil[1][3][WAYS4][2] = <stencil_fn> stencil[double, Ways4, Wide8]
        kernels.stencil[1][3][PARTED][0] = <stencil_fn> stencil[double, Parted, Narrow8]
        kernels.stencil[1][3][PARTED][1] = <stencil_fn> stencil[double, Parted, Wide8]
        kernels.stencil[1][3][PARTED][2] = <stencil_fn> stencil[double, Parted, Wide8]
        kernels.stencil[1][3][MORE2][0] = <stencil_fn> stencil[double, More2, Narrow8]
        kernels.stencil[1][3][MORE2][1] = <stencil_fn> stencil[double, More2, Wide8]
        kernels.stencil[1][3][MORE2][2] = <stencil_fn> stencil[double, More2, Wide8]
        kernels.stencil[1][3][MORE4][0] = <stencil_fn> stencil[double, More4, Narrow8]
        kernels.stencil[1][3][MORE4][1] = <stencil_fn> stencil[double, More4, Wide8]
        kernels.stencil[1][3][MORE4][2] = <stencil_fn> stencil[double, More4, Wide8]
    kernels.add[0] = <add_fn> add[float]
    kernels.peak[0] = <peak_fn> peak[float]
    kernels.add[1] = <add_fn> add[double]
    kernels.peak[1] = <peak_fn> peak[double]
    kernels.add[2] = <add_fn> add[uint64_t]
    kernels.peak[2] = <peak_fn> peak[uint64_t]


fill_table()


def table():
    """The kernels of this instruction set, for `_execute`."""
    return PyCapsule_New(&kernels, b"fastconv.kernels", NULL)
