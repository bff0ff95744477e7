# The contract between the plan, the driver and the kernels: plain C structs and pointers.
#
# A kernel sees pointers, lengths and steps, never a Python object. Steps named `*_step` are in
# bytes (they come from arrays of any layout); everything else counts elements.

cdef enum:
    MAX_AXES = 64          # spatial axes and the batch
    MAX_ROWS = 8           # rows of the largest tile
    MAX_VECTORS = 3        # vectors of lanes of the widest tile
    N_COMPUTE = 3          # float32, float64, integers modulo 2**64
    N_HEIGHTS = 4          # tiles of 1, 2, 4 and 8 rows
    N_TYPES = 11           # rows of _dtypes.TYPES


# One micro-tile: acc[m][j] (+)= sum over taps and channels of panel[...][m] * x[...][j].
#
#   for r in range(n_rows), t in range(lane_taps), k in range(depth):
#       acc[m][j] += panel[(taps[r]*lane_taps + t)*tap_size + k*height + m]
#                    * rows[r][at - t*lane_shift + k*pitch + j]
#
# Where `components` is 2 rows of the panel and of acc are pairs of a real and an imaginary part,
# each channel of x is two rows `pitch` apart, and the products are complex ones.
#
# `height` (1, 2, 4, 8) and the number of lanes (1 to 3 vectors) are constants of the tile; acc is
# dense, overwritten, or with `accumulate` continued, so that a sum can be cut anywhere without a
# change of its order. Nothing has to be aligned. All lanes are read, also those past the data.
ctypedef void (*tile_fn)(
    const void* panel, Py_ssize_t tap_size, const Py_ssize_t* taps, const void* const* rows,
    Py_ssize_t n_rows, Py_ssize_t lane_taps, Py_ssize_t lane_shift, Py_ssize_t at,
    Py_ssize_t depth, Py_ssize_t pitch, Py_ssize_t components, void* acc,
    bint accumulate) noexcept nogil

# Read `channels` rows of `n` elements into dst[channel][component][pitch] in the compute type:
# `before` zeros, the elements, zeros up to `width`.
ctypedef void (*load_fn)(
    const char* src, Py_ssize_t channel_step, Py_ssize_t lane_step, Py_ssize_t component_step,
    Py_ssize_t channels, Py_ssize_t components, Py_ssize_t n, Py_ssize_t before,
    Py_ssize_t width, Py_ssize_t pitch, void* dst) noexcept nogil

# Columns of weights whose places are evenly apart, in the source and in a panel.
cdef struct Run:
    Py_ssize_t src, src_step         # in bytes
    Py_ssize_t dst, dst_step
    Py_ssize_t height                # of the panel: from one input channel to the next
    Py_ssize_t count

# Bring runs of columns into panels: number m of a run, of input channel i, goes to
# dst[run.dst + i*run.height + m*run.dst_step], its imaginary part behind it. Returns whether one
# of them is Inf or NaN.
ctypedef bint (*pack_fn)(
    const char* src, Py_ssize_t channel_step, Py_ssize_t channels, Py_ssize_t components,
    const Run* runs, Py_ssize_t n_runs, void* dst) noexcept nogil

# Write dst[u*lane_step + j*source_step] = sources[j][at + u] + bias[j] for u < n, j < n_sources,
# cast to the result type.
ctypedef void (*store_fn)(
    const void* const* sources, const void* bias, Py_ssize_t n_sources, Py_ssize_t at,
    Py_ssize_t n, char* dst, Py_ssize_t lane_step, Py_ssize_t source_step) noexcept nogil

# dst[u*lane_step] += src[u] for u < n: how a column is scattered (float32 and float64 only).
ctypedef void (*add_fn)(
    const void* src, Py_ssize_t n, char* dst, Py_ssize_t lane_step) noexcept nogil

# Run n rounds of independent multiply-adds from tag[0], tag[1]; returns the operations done.
ctypedef double (*peak_fn)(Py_ssize_t n, void* tag) noexcept nogil


cdef struct KernelTable:
    Py_ssize_t lanes[N_COMPUTE]      # lanes of one vector
    Py_ssize_t rows                  # rows of the tallest tile
    tile_fn tile[N_COMPUTE][N_HEIGHTS][MAX_VECTORS]
    load_fn load[N_TYPES]
    pack_fn pack[N_TYPES]
    store_fn store[N_TYPES]
    add_fn add[N_COMPUTE]
    peak_fn peak[N_COMPUTE]


# One axis in full coordinates: the position f of the full scatter receives tap
# t = phase + j*period from input i = q - j*shift, where f = q*stride + phase*dilation. Phases are
# the `min(kernel, period)` residues that have a tap; those of one class have equally many.
cdef struct Axis:
    Py_ssize_t n_in, n_out, kernel, stride, dilation, crop
    Py_ssize_t period                # taps of one phase are this far apart: stride / gcd
    Py_ssize_t shift                 # ... and read inputs this far apart: dilation / gcd
    Py_ssize_t n_phases
    Py_ssize_t max_taps              # taps of the phases of the first class
    Py_ssize_t span                  # (max_taps - 1) * shift
    Py_ssize_t q_lo, q_hi            # the q that reach the window
    bint merged                      # phases with equally many taps share a class
    Py_ssize_t n_classes
    Py_ssize_t x_step, y_step


cdef inline Py_ssize_t class_first(const Axis* a, Py_ssize_t c) noexcept nogil:
    """The first phase of class `c`."""
    if not a.merged:
        return c
    return 0 if c == 0 else a.kernel - (a.max_taps - 1) * a.period


cdef inline Py_ssize_t class_size(const Axis* a, Py_ssize_t c) noexcept nogil:
    """How many phases class `c` has."""
    if not a.merged:
        return 1
    cdef Py_ssize_t longer = a.kernel - (a.max_taps - 1) * a.period
    return longer if c == 0 else a.n_phases - longer


cdef inline Py_ssize_t largest_class(const Axis* a) noexcept nogil:
    """How many phases the largest class has, which need not be the one with most taps."""
    cdef Py_ssize_t size = class_size(a, 0)
    return max(size, class_size(a, 1)) if a.n_classes > 1 else size


cdef inline Py_ssize_t phase_taps(const Axis* a, Py_ssize_t phase) noexcept nogil:
    """How many taps a phase has."""
    return (a.kernel - 1 - phase) // a.period + 1


cdef inline int log2_height(Py_ssize_t height) noexcept nogil:
    """Where the tiles of 1, 2, 4 or 8 rows stand in the table."""
    return 3 if height == 8 else 2 if height == 4 else 1 if height == 2 else 0


cdef inline Py_ssize_t panel_height(Py_ssize_t tallest, Py_ssize_t rows) noexcept nogil:
    """Rows of the next panel when `rows` are left: the tallest tile, then powers of two."""
    while tallest > rows:
        tallest >>= 1
    return tallest
