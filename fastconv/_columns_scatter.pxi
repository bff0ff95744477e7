# Columns of bands of pixels on their way into the result. Part of _columns.pyx.

# Rows of pixels that are neighbours along the last axis, one after the other along `band_axis`, and
# where tap 0 of the first pixel lands.
cdef struct Band:
    Py_ssize_t first, count              # the first pixel; pixels of a row,
    Py_ssize_t rows                      # and how many rows
    Py_ssize_t image                     # and place on the last axis; on the others in a list
    Py_ssize_t place


cdef Py_ssize_t list_bands(
        const Columns* c, const Part* part, Py_ssize_t first, Py_ssize_t n, Band* bands,
        Py_ssize_t* places) noexcept nogil:
    """The bands of pixels [first, first + n) in the part's images; how many they are."""
    cdef Py_ssize_t last = c.rank - 1, full = c.n_in[last], n_bands = 0, done = 0, rest, a
    cdef Py_ssize_t limit
    cdef Band* band
    while done < n:
        band = bands + n_bands
        rest = first + done
        band.first = done
        band.count = min(n - done, full - rest % full)
        band.rows = 1
        band.place = rest % full * c.stride[last] - c.crop[last]
        rest //= full
        if band.count == full:
            # As many whole rows as follow each other; they are of one image, or one in each.
            band.rows = (n - done) // full
            if c.band_axis >= 0:
                limit = c.n_in[c.band_axis]
                band.rows = min(band.rows, limit - rest % limit)
            else:
                # The part's images and those before it have bands of their own.
                limit = part.image_lo if rest < part.image_lo else part.image_hi
                band.rows = min(band.rows, max(1, limit - rest))
        for a in range(last - 1, -1, -1):
            places[n_bands * last + a] = rest % c.n_in[a] * c.stride[a] - c.crop[a]
            rest //= c.n_in[a]
        band.image = rest
        done += band.rows * band.count
        if part.image_lo <= rest < part.image_hi:
            n_bands += 1
    return n_bands


cdef inline Py_ssize_t row_step(const Columns* c) noexcept nogil:
    """From a row of a band to the next, in the result."""
    return c.y_image if c.band_axis < 0 else c.stride[c.band_axis] * c.y_step[c.band_axis]


cdef void scatter(
        const Columns* c, const Part* part, Py_ssize_t group, const char* columns,
        Py_ssize_t width, Py_ssize_t column, Py_ssize_t count, const Band* bands,
        const Py_ssize_t* places, Py_ssize_t n_bands) noexcept nogil:
    """Add columns [column, column + count), of all bands of pixels, to a part of the result.

    From the last pixel to the first: the taps that reach one result come in the order of the
    kernel then, wherever blocks and tasks begin.
    """
    cdef Py_ssize_t last = c.rank - 1, stop = column + count, rest, a, o, t, n, i
    cdef Py_ssize_t first, end, lowest, highest
    cdef Py_ssize_t tap[MAX_AXES]
    # Of one axis the part is a run; otherwise it is some of the rows.
    cdef Py_ssize_t low = part.out_lo if last == 0 else 0
    cdef Py_ssize_t length = (part.out_hi if last == 0 else c.n_out[last]) - low
    cdef const Band* band
    cdef Rows rows
    cdef const char* bias = NULL
    cdef char* y
    cdef char* to
    rows.dst_step = row_step(c)
    while column < stop:
        rest = column
        t = rest % c.kernel[last]
        rest //= c.kernel[last]
        for a in range(last - 1, -1, -1):
            tap[a] = rest % c.kernel[a] * c.dilation[a]
            rest //= c.kernel[a]
        n = min(c.kernel[last] - t, stop - column)
        y = c.y + ((group * c.c_out + rest) * c.y_channel + low * c.y_step[last])
        if c.once:
            bias = c.bias + (group * c.c_out + rest) * c.size
        for i in range(n_bands - 1, -1, -1):
            band = bands + i
            to = y + band.image * c.y_image
            first, end = 0, band.rows
            for a in range(last):
                o = places[i * last + a] + tap[a]
                lowest, highest = 0, c.n_out[a]
                if a == 0:
                    lowest, highest = part.out_lo, part.out_hi
                # Those of the rows that are inside: all or none, but along their axis.
                if a == c.band_axis and band.rows > 1:
                    first = max(0, ceil_div(lowest - o, c.stride[a]))
                    end = min(end, ceil_div(highest - o, c.stride[a]))
                    o += first * c.stride[a]
                elif not lowest <= o < highest:
                    end = 0
                    break
                to += o * c.y_step[a]
            if first < end:
                rows.n = end - first
                rows.src_step = band.count * width
                c.k.add[c.compute](
                    columns + (band.first + first * band.count) * width * c.size, width,
                    band.count, n, band.place + t * c.dilation[last] - low, c.stride[last],
                    c.dilation[last], length, &rows, to, c.y_step[last], bias,
                )
        columns += n * c.size
        column += n
