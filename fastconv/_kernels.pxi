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

from fastconv._types cimport (
    MAX_ROWS, MAX_VECTORS, KernelTable, Run, add_fn, load_fn, pack_fn, peak_fn, store_fn,
    tile_fn,
)

cdef enum:
    PEAK_ROWS = 4

# Structs, since a fused type takes names of one integer type for the same.
cdef struct half_t:
    uint16_t bits

cdef struct bool_t:
    uint8_t value

ctypedef fused real_t:
    float
    double
    uint64_t

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
cdef struct Tile2x3:
    char unused
cdef struct Tile2x2:
    char unused
cdef struct Tile2x1:
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
    Tile2x3
    Tile2x2
    Tile2x1
    Tile1x3
    Tile1x2
    Tile1x1


cdef void tile(
        const real_t* panel, Py_ssize_t tap_size, const Py_ssize_t* taps, const real_t** rows,
        Py_ssize_t n_rows, Py_ssize_t lane_taps, Py_ssize_t lane_shift, Py_ssize_t at,
        Py_ssize_t depth, Py_ssize_t pitch, Py_ssize_t components, tile_t* out,
        bint accumulate) noexcept nogil:
    cdef real_t acc[MAX_ROWS * MAX_VECTORS * VECTOR_FLOATS]
    cdef real_t* c = <real_t*> out
    cdef const real_t* a
    cdef const real_t* b
    cdef const real_t* b_im
    cdef Py_ssize_t height, vectors, lanes, r, t, k, m, j
    if tile_t is Tile8x3 or tile_t is Tile8x2 or tile_t is Tile8x1:
        height = 8
    elif tile_t is Tile4x3 or tile_t is Tile4x2 or tile_t is Tile4x1:
        height = 4
    elif tile_t is Tile2x3 or tile_t is Tile2x2 or tile_t is Tile2x1:
        height = 2
    else:
        height = 1
    if tile_t is Tile8x3 or tile_t is Tile4x3 or tile_t is Tile2x3 or tile_t is Tile1x3:
        vectors = 3
    elif tile_t is Tile8x2 or tile_t is Tile4x2 or tile_t is Tile2x2 or tile_t is Tile1x2:
        vectors = 2
    else:
        vectors = 1
    lanes = vectors * (4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(real_t))
    if accumulate:
        for m in range(height):
            for j in range(lanes):
                acc[m * lanes + j] = c[m * lanes + j]
    else:
        for m in range(height):
            for j in range(lanes):
                acc[m * lanes + j] = 0
    for r in range(n_rows):
        for t in range(lane_taps):
            a = panel + (taps[r] * lane_taps + t) * tap_size
            b = rows[r] + (at - t * lane_shift)
            if components == 1:
                for k in range(depth):
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
            c[m * lanes + j] = acc[m * lanes + j]


cdef union Bits:
    float value
    uint32_t bits


cdef inline float half_to_float(uint16_t h) noexcept nogil:
    """Exact: the exponent is moved by a multiplication, which makes subnormals normal too."""
    cdef Bits b
    cdef uint32_t magnitude = h & 0x7fff
    b.bits = magnitude << 13
    b.value = b.value * 5.192296858534828e33  # 2**112
    if magnitude >= 0x7c00:
        b.bits = (magnitude << 13) | 0x7f800000
    b.bits |= (<uint32_t> (h & 0x8000)) << 16
    return b.value


cdef inline uint16_t float_to_half(float value) noexcept nogil:
    """Round to nearest even, in the integers; subnormals let the adder round."""
    cdef Bits b, small
    cdef uint32_t sign, magnitude, moved, result
    b.value = value
    sign = (b.bits >> 16) & 0x8000
    magnitude = b.bits & 0x7fffffff
    small.bits = magnitude
    small.value = small.value + <float> 0.5
    moved = magnitude - 0x38000000
    result = (moved + 0xfff + ((moved >> 13) & 1)) >> 13
    if magnitude < 0x38800000:
        result = small.bits - 0x3f000000
    if magnitude >= 0x47800000:
        result = 0x7c00
    if magnitude > 0x7f800000:
        result = 0x7e00
    return <uint16_t> (result | sign)


cdef inline void convert(element_t value, real_t* out) noexcept nogil:
    if element_t is half_t:
        out[0] = <real_t> half_to_float(value.bits)
    elif element_t is bool_t:
        out[0] = <real_t> (value.value != 0)
    else:
        out[0] = <real_t> value


cdef inline void deposit(real_t value, element_t* out) noexcept nogil:
    if element_t is half_t:
        out.bits = float_to_half(<float> value)
    elif element_t is bool_t:
        out.value = value != 0
    else:
        out[0] = <element_t> value


cdef void load(
        const element_t* src, Py_ssize_t channel_step, Py_ssize_t lane_step,
        Py_ssize_t component_step, Py_ssize_t channels, Py_ssize_t components, Py_ssize_t n,
        Py_ssize_t before, Py_ssize_t width, Py_ssize_t pitch, real_t* dst) noexcept nogil:
    cdef Py_ssize_t c, part, u
    cdef real_t* to
    cdef const char* row
    cdef const element_t* dense
    for c in range(channels):
        for part in range(components):
            row = <const char*> src + (c * channel_step + part * component_step)
            for u in range(before):
                dst[u] = 0
            to = dst + before
            if lane_step == <Py_ssize_t> sizeof(element_t):
                dense = <const element_t*> row
                for u in range(n):
                    convert[element_t, real_t](dense[u], &to[u])
            else:
                for u in range(n):
                    convert[element_t, real_t](
                        (<const element_t*> (row + u * lane_step))[0], &to[u])
            for u in range(n, width - before):
                to[u] = 0
            dst += pitch


cdef bint pack(
        const element_t* src, Py_ssize_t channel_step, Py_ssize_t channels, Py_ssize_t components,
        const Run* runs, Py_ssize_t n_runs, real_t* dst) noexcept nogil:
    cdef Py_ssize_t i, i_0, i_1, r, m
    cdef const Run* run
    cdef const char* place
    cdef const element_t* pair
    cdef real_t value, imaginary
    cdef real_t* to
    cdef bint bad = False
    # Steps from channel to channel and from panel to panel are often powers of two; by eights,
    # neither the lines that are read nor those that are written drive each other from the cache.
    i_0 = 0
    while i_0 < channels:
        i_1 = min(i_0 + 8, channels)
        for r in range(n_runs):
            run = &runs[r]
            for i in range(i_0, i_1):
                place = <const char*> src + (i * channel_step + run.src)
                to = dst + (run.dst + i * run.height)
                # Inf - Inf and NaN - NaN are NaN; everything else is 0.
                if components == 2:
                    for m in range(run.count):
                        pair = <const element_t*> (place + m * run.src_step)
                        convert[element_t, real_t](pair[0], &value)
                        convert[element_t, real_t](pair[1], &imaginary)
                        bad |= (value - value != 0) | (imaginary - imaginary != 0)
                        to[m * run.dst_step] = value
                        to[m * run.dst_step + 1] = imaginary
                elif (
                    run.count == 8 and run.dst_step == 1
                    and run.src_step == <Py_ssize_t> sizeof(element_t)
                ):
                    pair = <const element_t*> place
                    for m in range(8):
                        convert[element_t, real_t](pair[m], &value)
                        bad |= value - value != 0
                        to[m] = value
                elif run.count == 8 and run.dst_step == 1:
                    for m in range(8):
                        convert[element_t, real_t](
                            (<const element_t*> (place + m * run.src_step))[0], &value)
                        bad |= value - value != 0
                        to[m] = value
                else:
                    for m in range(run.count):
                        convert[element_t, real_t](
                            (<const element_t*> (place + m * run.src_step))[0], &value)
                        bad |= value - value != 0
                        to[m * run.dst_step] = value
        i_0 = i_1
    return bad


cdef void store(
        const real_t** sources, const real_t* bias, Py_ssize_t n_sources, Py_ssize_t at,
        Py_ssize_t n, element_t* dst, Py_ssize_t lane_step,
        Py_ssize_t source_step) noexcept nogil:
    cdef Py_ssize_t size = sizeof(element_t)
    cdef Py_ssize_t u, j
    cdef const real_t* s0 = sources[0] + at
    cdef const real_t* s1
    cdef const real_t* s2
    cdef const real_t* s3
    cdef element_t* o = dst
    # Two to four phases are interleaved in registers; the compiler makes shuffles of these loops.
    if source_step == size and lane_step == n_sources * size and n_sources <= 4:
        if n_sources == 1:
            for u in range(n):
                deposit[real_t, element_t](s0[u] + bias[0], &o[u])
            return
        s1 = sources[1] + at
        if n_sources == 2:
            for u in range(n):
                deposit[real_t, element_t](s0[u] + bias[0], &o[2 * u])
                deposit[real_t, element_t](s1[u] + bias[1], &o[2 * u + 1])
            return
        s2 = sources[2] + at
        if n_sources == 3:
            for u in range(n):
                deposit[real_t, element_t](s0[u] + bias[0], &o[3 * u])
                deposit[real_t, element_t](s1[u] + bias[1], &o[3 * u + 1])
                deposit[real_t, element_t](s2[u] + bias[2], &o[3 * u + 2])
            return
        s3 = sources[3] + at
        for u in range(n):
            deposit[real_t, element_t](s0[u] + bias[0], &o[4 * u])
            deposit[real_t, element_t](s1[u] + bias[1], &o[4 * u + 1])
            deposit[real_t, element_t](s2[u] + bias[2], &o[4 * u + 2])
            deposit[real_t, element_t](s3[u] + bias[3], &o[4 * u + 3])
    elif source_step == size:
        for u in range(n):
            o = <element_t*> (<char*> dst + u * lane_step)
            for j in range(n_sources):
                deposit[real_t, element_t](sources[j][at + u] + bias[j], &o[j])
    else:
        for j in range(n_sources):
            s0 = sources[j] + at
            for u in range(n):
                o = <element_t*> (<char*> dst + (u * lane_step + j * source_step))
                deposit[real_t, element_t](s0[u] + bias[j], o)


cdef void add(const real_t* src, Py_ssize_t n, char* dst, Py_ssize_t lane_step) noexcept nogil:
    cdef Py_ssize_t u
    cdef real_t* o = <real_t*> dst
    if lane_step == <Py_ssize_t> sizeof(real_t):
        for u in range(n):
            o[u] += src[u]
    else:
        for u in range(n):
            o = <real_t*> (dst + u * lane_step)
            o[0] += src[u]


cdef double peak(Py_ssize_t n, real_t* tag) noexcept nogil:
    """A multiply-add loop that stays in registers: what the tiles are measured against."""
    cdef real_t acc[PEAK_ROWS * MAX_VECTORS * VECTOR_FLOATS]
    cdef real_t out[PEAK_ROWS * MAX_VECTORS * VECTOR_FLOATS]
    cdef Py_ssize_t lanes = MAX_VECTORS * (4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(real_t))
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
