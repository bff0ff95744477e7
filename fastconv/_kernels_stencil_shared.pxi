# Short sums of two rows of two uneven phases each, which read x once. Part of _kernels.pyx.

cdef struct Shared:
    char unused
cdef struct SharedBack:
    char unused

ctypedef fused shared_t:
    Shared
    SharedBack

ctypedef fused shared_tile_t:
    Wide8
    Narrow8
    Wide4
    Middle4
    Narrow4


cdef inline void add_taps(
        float_t* acc, const float_t* weights, const float_t* x, Py_ssize_t own,
        Py_ssize_t lanes) noexcept nogil:
    """One number of x and its neighbours for a place of a row."""
    cdef Py_ssize_t m, j
    for m in range(own):
        for j in range(lanes):
            acc[m * lanes + j] += weights[m] * x[j]


cdef inline void add_product(
        float_t* acc, const float_t** weights, const float_t* x, Py_ssize_t own,
        Py_ssize_t lanes, bint rows, bint places, shared_t* tag) noexcept nogil:
    """Numbers of x for the place with more taps of the row with more, or both of either.

    Accumulators are (place, row, output channel).
    """
    cdef Py_ssize_t longer = 2 * own if shared_t is SharedBack else 0, other = 2 * own - longer
    add_taps[float_t](acc + longer * lanes, weights[0], x, own, lanes)
    weights[0] += own
    if places:
        add_taps[float_t](acc + other * lanes, weights[1], x, own, lanes)
        weights[1] += own
    if rows:
        add_taps[float_t](acc + (longer + own) * lanes, weights[2], x, own, lanes)
        weights[2] += own
    if rows and places:
        add_taps[float_t](acc + (other + own) * lanes, weights[3], x, own, lanes)
        weights[3] += own


cdef inline const Product* add_row(
        float_t* acc, const float_t** weights, const float_t* x, const Product* product,
        const Stencil* s, Py_ssize_t own, Py_ssize_t lanes, bint rows,
        shared_t* tag) noexcept nogil:
    """A row of x, for both rows or one; where the next one's products are."""
    cdef Py_ssize_t i
    # Loops that surely run leave the accumulators in registers.
    assume(s.products[0] > 0)
    assume(s.products[1] > 0)
    if shared_t is SharedBack:
        for i in range(s.products[1]):
            add_product[float_t, shared_t](
                acc, weights, x + product[i].x, own, lanes, rows, False, NULL)
        product += s.products[1]
    for i in range(s.products[0]):
        add_product[float_t, shared_t](
            acc, weights, x + product[i].x, own, lanes, rows, True, NULL)
    product += s.products[0]
    if shared_t is Shared:
        for i in range(s.products[1]):
            add_product[float_t, shared_t](
                acc, weights, x + product[i].x, own, lanes, rows, False, NULL)
        product += s.products[1]
    return product


cdef inline void add_shared(
        float_t* acc, const float_t* panel, const float_t* x, const Product* products,
        const Stencil* s, Py_ssize_t own, Py_ssize_t lanes, shared_t* tag) noexcept nogil:
    """All sums, in the order in which each would be made by itself."""
    cdef const float_t* weights[4]
    cdef Py_ssize_t r
    weights[0] = panel
    weights[1] = panel + s.parts[0]
    weights[2] = panel + s.parts[1]
    weights[3] = panel + s.parts[2]
    assume(s.rows > 0)
    for r in range(s.rows):
        products = add_row[float_t, shared_t](
            acc, weights, x, products, s, own, lanes, True, NULL)
    add_row[float_t, shared_t](acc, weights, x, products, s, own, lanes, False, NULL)


cdef void stencil_shared(
        const float_t* panel, const Product* products, const float_t* x, const shared_t* biases,
        shared_tile_t** result_rows, const Stencil* s) noexcept nogil:
    cdef float_t acc[MAX_ACC * VECTOR_FLOATS]
    cdef const float_t* bias = <const float_t*> biases
    cdef char** results = <char**> result_rows
    cdef Py_ssize_t height, vectors, lanes, own, size = sizeof(float_t), at = 0
    cdef Py_ssize_t p, u, j, high, at_y
    height = 8 if shared_tile_t is Wide8 or shared_tile_t is Narrow8 else 4
    vectors = 1
    if shared_tile_t is Wide8 or shared_tile_t is Wide4:
        vectors = wide_vectors(height)
    elif shared_tile_t is Middle4:
        vectors = 2
    lanes = vectors * (4 * VECTOR_FLOATS // size)
    own = height // 4
    for p in range(s.panels):
        u = s.first
        while u < s.stop:
            # The last ones are moved back, and some computed twice.
            if s.stop >= lanes:
                u = min(u, s.stop - lanes)
            for j in range(height * lanes):
                acc[j] = 0
            add_shared[float_t, shared_t](acc, panel, x + u, products, s, own, lanes, NULL)
            high = min(lanes * 2, s.end - 2 * u)
            at_y = at + 2 * u * size
            if high > 0:
                store_row[float_t](
                    acc, 2 * own, 2, lanes, 0, bias, results, at_y, 0, high, s)
                store_row[float_t](
                    acc, 2 * own, 2, lanes, 1, bias, results, at_y, 0, high, s)
                store_row[float_t](
                    acc, 2 * own, 2, lanes, 2, bias, results, at_y, 0, high, s)
                store_row[float_t](
                    acc, 2 * own, 2, lanes, 3, bias, results, at_y, 0, high, s)
            u += lanes
        panel += s.panel_step
        x += s.x_step
        bias += s.bias_step
        at += s.result_step
