# The contract between the plan, the driver and the kernels: plain C structs and pointers.
#
# A kernel sees pointers, lengths and steps, never a Python object. Steps named `*_step` are in
# bytes (they come from arrays of any layout); everything else counts elements.

from fastconv._arith cimport ceil_div

cdef enum:
    MAX_AXES = 64          # spatial axes and the batch
    QUAD = 16              # lanes whose neighbours are interleaved together
    TALL_VECTORS = 3       # vectors of lanes of the widest tile of any height,
    MAX_VECTORS = 6        # and of one or two rows: they need more lanes to hide latencies
    MAX_ACC = 24           # vectors of accumulators of the largest tile
    MAX_AHEAD = 4          # parts of x for which a tile asks for something else meanwhile
    N_COMPUTE = 3          # float32, float64, integers modulo 2**64
    N_HEIGHTS = 4          # tiles of 1, 2, 4 and 8 rows
    N_FLOATS = 2           # of the compute types, those with Winograd transforms
    N_TYPES = 11           # rows of _dtypes.TYPES
    LINE = 64              # bytes of a line of the cache
    LARGE_RESULT = 5 << 22  # bytes of a result that no cache holds: its memory is kept
    TASKS_PER_WORKER = 4    # of a large problem: a worker that is held up leaves some to others
    MAX_WOVEN = 256         # numbers of all phases and channels that are stored as one run


# One micro-tile: acc[m][j] (+)= sum over taps and channels of panel[...][m] * x[...][j].
#
#   for r in range(n_rows), t in range(lane_taps), k in range(depth):
#       acc[m][j] += panel[(taps[r]*lane_taps + t)*tap_size + k*height + m]
#                    * rows[r][at - t*lane_shift + k*pitch + j]
#
# Where `components` is 2 rows of the panel and of acc are pairs of a real and an imaginary part,
# each channel of x is two rows `pitch` apart, and the products are complex ones.
#
# `height` (1, 2, 4, 8) and the number of lanes (1 to 3 vectors, up to 6 for heights 1 and 2) are
# constants of the tile; the rows of acc are `acc_pitch` apart. `tiles` of them follow each other
# along the lanes of acc, and are `tile_step` apart in x. acc is overwritten, or with `accumulate`
# continued, so that a sum can be cut anywhere without a change of its order. Nothing has to be
# aligned. All lanes are read, also those past the data.
#
# Unless `beside` is NULL, a tile of the tallest height, of one component and one lane tap, does
# more with each number k of row r: it asks for the line at ahead[r] + k*step, so that what is
# multiplied next arrives meanwhile, a little at a time; and it leaves the lanes of x that it has
# read at copy[(r*depth + k)*lanes + j], unless that is NULL. Other tiles do not look at it, nor do
# those with vectors of 16 bytes.
cdef struct Beside:
    const char* ahead[MAX_AHEAD]
    Py_ssize_t step
    void* copy

ctypedef void (*tile_fn)(
    const void* panel, Py_ssize_t tap_size, const Py_ssize_t* taps, const void* const* rows,
    Py_ssize_t n_rows, Py_ssize_t lane_taps, Py_ssize_t lane_shift, Py_ssize_t at,
    Py_ssize_t depth, Py_ssize_t pitch, Py_ssize_t components, void* acc, Py_ssize_t acc_pitch,
    bint accumulate, Py_ssize_t tiles, Py_ssize_t tile_step,
    const Beside* beside) noexcept nogil

# Rows of some channels of x on their way into scratch, in the compute type.
cdef struct Load:
    Py_ssize_t channel_step, row_step, lane_step, component_step
    Py_ssize_t channels, components, rows
    Py_ssize_t before, n, width      # zeros, elements, and how many numbers with zeros behind them
    Py_ssize_t pitch                 # of dst: from a component to the next, channels following
    Py_ssize_t slot                  # of dst: from a row to the next
    bint goes_on                     # ask ahead for the next channels, not for the next lanes

ctypedef void (*load_fn)(const char* src, void* dst, const Load* load) noexcept nogil

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

# Accumulators on their way into the result, cast to its type. Rows of the result come in turns of
# `phases`: row number r, from `first` on, is of phase p = r % phases in turn t = r // phases. For
# u < n, j < n_sources and each channel c of each group h, channel k = h*channels + c of them all,
#
#   sources[p*n_sources + j][h*group_pitch + c*pitch + t*turn + at + u]
#       + bias[k*bias_step + (j & bias_mask)]
#
# goes to dst + k*channel_step + (r - first)*row_step + u*lane_step + j*source_step. The first
# `skip` sources of the first lane and the last `cut` of the last are left out: the window of the
# result begins and ends there. Up to QUAD lanes of a source are read where fewer are stored.
cdef struct Store:
    Py_ssize_t n_sources, bias_step
    Py_ssize_t bias_mask             # 0, 1 for complex numbers, -1 where each has its own
    Py_ssize_t groups, group_pitch
    Py_ssize_t channels, pitch
    Py_ssize_t rows, phases, first, turn
    Py_ssize_t at, n
    Py_ssize_t skip, cut             # less than n_sources
    Py_ssize_t channel_step, row_step, lane_step, source_step
    bint streamed                    # past the caches, where lanes and sources are neighbours


cdef inline Store one_row() noexcept nogil:
    """One row of one channel from one source without bias; what differs is set by the caller."""
    cdef Store s
    s.n_sources = s.groups = s.channels = s.rows = s.phases = 1
    s.bias_step = s.bias_mask = s.group_pitch = s.pitch = s.first = s.turn = s.at = s.n = 0
    s.skip = s.cut = s.channel_step = s.row_step = s.lane_step = s.source_step = 0
    s.streamed = False
    return s


ctypedef void (*store_fn)(
    const void* const* sources, const void* bias, char* dst, const Store* store) noexcept nogil

# Rows of the result straight from the accumulators, for some panels: of groups, or of blocks of
# channels of one group.
#
# The rows of a panel are (place, outer phase, channel), where places are those of a result among
# its `ways` neighbours: lane u of place r of row number i goes to results[i][u*ways + r], plus
# bias[i & channel_mask], unless results[i] is NULL. Lanes are [first, stop), but only numbers
# [skip, end) of a row are stored; where lanes do not fill the last vectors, these are moved back,
# and lanes before `first` computed and stored again. Each of two places is a part of the products
# with rows of its own; or all are the first part, and the second one has what the first place has
# more.
#
# A sum is that of the products of its part, in their order: of a number of the panel, and as many
# rows following, and of one of x, and as many lanes. All lanes of the vectors are read, also those
# past `stop`.
cdef struct Product:
    int weights, x

cdef struct Stencil:
    Py_ssize_t products[2]           # how many of each part, which follow each other
    Py_ssize_t rows                  # see SHARED
    Py_ssize_t parts[3]
    Py_ssize_t channel_mask          # of a power of two of channels
    Py_ssize_t first, stop           # lanes
    Py_ssize_t skip, end
    # From one panel to the next: of panels, x, biases, and results in bytes.
    Py_ssize_t panels, panel_step, x_step, bias_step, result_step
    bint streamed                    # past the caches
    Py_ssize_t ahead                 # bytes from a result to that whose line is fetched, or 0

ctypedef void (*stencil_fn)(
    const void* panel, const Product* products, const void* x, const void* bias,
    char* const* results, const Stencil* s) noexcept nogil

# The same for one or two rows of the result whose channels, two to four, are neighbours as well:
# each panel has the rows (place, outer phase) of one channel, and channel c of place r of lane u of
# outer phase i goes to results[i][(u*ways + r)*panels + c]. Lanes begin at 0.
ctypedef void (*stencil_last_fn)(
    const void* panel, const Product* products, const void* x, const void* bias,
    char* const* results, const Stencil* s) noexcept nogil

# SHARED are two rows of results whose phases, two of each axis, have panels of their own and read
# x once: places are a panel of the row with more taps and of the place with more, and those
# `parts` further on, first the other place's, then those of the other row. Products are listed for
# the former only, row by row of x, `products` of them that both places have and that one has, and
# one row more than `rows`, those that both have. The place with more is the first, or with
# SHARED_BACK the second, whose own products come first then. Half of the results are of the row
# with more taps. The window begins with lane 0: `skip` is 0.
cdef enum:                 # how a stencil's lane phases are woven
    WAYS1
    WAYS2
    WAYS4
    PARTED
    MORE2
    MORE4
    SHARED
    SHARED_BACK
    N_WEAVES

# How a fast algorithm computes phases of some taps along one axis: from a window of as many inputs
# as there are points, several outputs. A shorter phase has one tap less, its g_0, and so does
# without the first point. Named F(outputs, taps).
cdef enum Scheme:
    F11                    # one point: nothing is transformed
    F22                    # points 0, 1, inf
    F32                    # points 0, 1, -1, inf
    F23                    # the same points

# Deal out rows of parts*pitch numbers to two or three parts, one row after the other, in runs of
# `run` numbers: run u of a row goes to u % parts * pitch + u // parts * run of its place in dst.
# Where runs are longer than one, up to 15 bytes behind the last row may be read and written, too.
ctypedef void (*deal_fn)(
    const void* src, Py_ssize_t rows, Py_ssize_t parts, Py_ssize_t run, Py_ssize_t pitch,
    void* dst) noexcept nogil

# The opposite for runs longer than one, the parts of which are arrays of their own:
#
#   dst[r*parts*pitch + (v*parts + u)*run + j] = src[u*part_step + r*pitch + v*run + j]
#
# for each of `rows` rows r, run v < runs, part u and number j < run of it; behind the last row as
# above.
ctypedef void (*weave_fn)(
    const void* src, Py_ssize_t part_step, Py_ssize_t rows, Py_ssize_t pitch, Py_ssize_t parts,
    Py_ssize_t run, Py_ssize_t runs, void* dst) noexcept nogil

# The input transform along one axis, for each channel and n neighbouring windows:
#
#   dst[p*point_step + c*dst_pitch + t] = point p of d_i = src[offsets[i] + c*src_pitch + t]
#
# Whole vectors may be read and written where t stays below `room`.
ctypedef void (*transform_input_fn)(
    Scheme scheme, const void* src, const Py_ssize_t* offsets, Py_ssize_t src_pitch,
    Py_ssize_t channels, Py_ssize_t n, Py_ssize_t room, void* dst, Py_ssize_t point_step,
    Py_ssize_t dst_pitch) noexcept nogil

# The transform of n filters along one axis: dst[p*point_step + i] from taps src[j*step + i], which
# are those of the phase in its own order (of the correlation, it is g_(taps - 1 - j)).
ctypedef void (*transform_filter_fn)(
    Scheme scheme, bint shorter, const void* src, Py_ssize_t step, Py_ssize_t n, void* dst,
    Py_ssize_t point_step) noexcept nogil

# The inverse transform along one axis: outputs dst[a*step + i] from points src[p*point_step + i].
# n is a multiple of the vector. Returns whether an output is Inf or NaN.
ctypedef bint (*transform_output_fn)(
    Scheme scheme, bint shorter, const void* src, Py_ssize_t point_step, Py_ssize_t n, void* dst,
    Py_ssize_t step) noexcept nogil

# Rows of pixels that land in rows of the result: how many, and from one to the next.
cdef struct Rows:
    Py_ssize_t n
    Py_ssize_t src_step              # in numbers
    Py_ssize_t dst_step

# Scatter the columns of each row of `count` pixels: src[i*src_step + u] is added at
# `at + i*stride + u*dilation`, if that is within [0, length), for u < n and i from count - 1 down
# to 0 (float32 and float64 only). Unless `bias` is NULL, what is there counts for nothing, and
# pixels, which do not overlap then, are added to that number instead.
ctypedef void (*add_fn)(
    const void* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t n, Py_ssize_t at,
    Py_ssize_t stride, Py_ssize_t dilation, Py_ssize_t length, const Rows* rows, char* dst,
    Py_ssize_t lane_step, const void* bias) noexcept nogil

# Store columns [first, first + n) of a pixel, those of a channel tap by tap: of pixel i column
# channel*taps + t is src[i*src_step + ...], from `first` on. With bias[channel] it goes to
# dst + i*dst_step + offsets[t], where channels are neighbours.
ctypedef void (*shuffle_fn)(
    const void* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t first, Py_ssize_t n,
    Py_ssize_t taps, const Py_ssize_t* offsets, const void* bias, char* dst,
    Py_ssize_t dst_step) noexcept nogil

# Rows of weights told apart: those of a channel are two halves of `half` numbers. For k < depth and
# u < width, number first + u of the first halves of all channels, one after the other, is a, that
# of the second ones b; dst[k*width + u] = b, a + b goes `point_step` behind it, a twice as far.
ctypedef void (*split_fn)(
    const void* src, Py_ssize_t src_step, Py_ssize_t depth, Py_ssize_t half, Py_ssize_t first,
    Py_ssize_t width, void* dst, Py_ssize_t point_step) noexcept nogil

# Add n numbers, whole vectors, to two others each; returns whether a sum is Inf or NaN.
ctypedef bint (*join_fn)(void* even, const void* both, void* odd, Py_ssize_t n) noexcept nogil

# Results of n groups of one channel, lanes along the groups: for r < count and j < n,
#
#   (dst + r*dst_step)[j] = sum over t < taps of weights[t][j] * (rows[t] + r*row_step)[j] + bias[j]
#
# n is at least a vector. A streamed result goes past the caches.
ctypedef void (*depthwise_fn)(
    const void* const* weights, const void* const* rows, Py_ssize_t taps, const void* bias,
    Py_ssize_t n, Py_ssize_t count, Py_ssize_t row_step, char* dst, Py_ssize_t dst_step,
    bint streamed) noexcept nogil

# The same where a group has more than one channel, and lanes run along its n output channels:
#
#   (dst + r*dst_step)[j] =
#       sum over t < taps, k < depth of weights[t][k*n + j] * (rows[t] + r*row_step)[k] + bias[j]
ctypedef void (*pixels_fn)(
    const void* const* weights, const void* const* rows, Py_ssize_t taps, Py_ssize_t depth,
    const void* bias, Py_ssize_t n, Py_ssize_t count, Py_ssize_t row_step, char* dst,
    Py_ssize_t dst_step, bint streamed) noexcept nogil

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
    shuffle_fn shuffle[N_COMPUTE]
    split_fn split_weights[N_FLOATS]
    join_fn join_products[N_FLOATS]
    deal_fn deal[N_FLOATS]
    weave_fn weave[N_FLOATS]
    transform_input_fn transform_input[N_FLOATS]
    transform_filter_fn transform_filter[N_FLOATS]
    transform_output_fn transform_output[N_FLOATS]
    depthwise_fn depthwise[N_FLOATS]
    pixels_fn pixels[N_FLOATS]
    stencil_fn stencil[N_FLOATS][N_HEIGHTS][N_WEAVES][3]  # of one vector, two, and wide ones
    Py_ssize_t stencil_vectors[N_HEIGHTS]                 # of so many
    stencil_last_fn stencil_last[N_FLOATS][N_WEAVES][2][3]  # by rows, and channels from two on
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
    bint merged                      # phases with equally many taps share a class,
    bint whole                       # or all of them do, see _execute_joined.pxi
    Py_ssize_t n_classes
    Py_ssize_t x_step, y_step


cdef inline Py_ssize_t longer_phases(const Axis* a) noexcept nogil:
    """How many phases have `max_taps` taps; the others have one less."""
    return a.kernel - (a.max_taps - 1) * a.period


cdef inline bint uneven(const Axis* a) noexcept nogil:
    """Whether some phases have a tap more than others."""
    return longer_phases(a) < a.n_phases


cdef inline Py_ssize_t class_first(const Axis* a, Py_ssize_t c) noexcept nogil:
    """The first phase of class `c`."""
    if a.whole:
        return 0
    if not a.merged:
        return c
    return 0 if c == 0 else longer_phases(a)


cdef inline Py_ssize_t class_size(const Axis* a, Py_ssize_t c) noexcept nogil:
    """How many phases class `c` has."""
    if a.whole:
        return a.n_phases
    if not a.merged:
        return 1
    return longer_phases(a) if c == 0 else a.n_phases - longer_phases(a)


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


cdef inline Py_ssize_t woven_sums(Py_ssize_t tallest) noexcept nogil:
    """Vectors of sums of channels that are woven together, for which there are registers."""
    return tallest + 8


cdef inline Py_ssize_t panel_height(Py_ssize_t tallest, Py_ssize_t rows) noexcept nogil:
    """Rows of the next panel when `rows` are left: the tallest tile, then powers of two."""
    while tallest > rows:
        tallest >>= 1
    return tallest


cdef struct Panel:
    Py_ssize_t start, height


cdef inline Panel panel_of(Py_ssize_t row, Py_ssize_t rows, Py_ssize_t tallest) noexcept nogil:
    """The panel that a row is in: panels of the tallest tile, then of powers of two."""
    cdef Panel panel
    panel.height = tallest
    panel.start = row // tallest * tallest
    while panel.height > rows - panel.start:
        panel.height >>= 1
        if row >= panel.start + panel.height and panel.height <= rows - panel.start:
            panel.start += panel.height
    return panel


cdef inline Py_ssize_t tile_vectors(
        Py_ssize_t lanes, Py_ssize_t vector, Py_ssize_t widest, Py_ssize_t tallest) noexcept nogil:
    """Vectors of the next tile when `lanes` are left.

    Tiles of one vector are slow where there are few rows: four vectors are two and two there. With
    eight rows they are not much slower than those of two.
    """
    cdef Py_ssize_t left = ceil_div(lanes, vector)
    if tallest == 8 and widest == TALL_VECTORS:
        return min(left, widest)
    return ceil_div(left, ceil_div(left, widest))
