# The bias, written before columns are added to it. Part of _columns.pyx.

cdef void fill(const Columns* c, Py_ssize_t task) noexcept nogil:
    """Write the bias of some images' output channels."""
    cdef Py_ssize_t last = c.rank - 1, width = c.capacity * c.vector
    cdef Py_ssize_t planes = c.images * c.groups * c.c_out, rows = 1
    cdef Py_ssize_t plane, channel, row, rest, a, u
    cdef const void* zeros = c.scratch
    cdef char* y
    cdef Store s = one_row()
    s.source_step = c.size
    s.lane_step = c.y_step[last]
    memset(c.scratch, 0, width * c.size)
    for a in range(c.fill_axes):
        rows *= c.n_out[a]
    for plane in range(task * planes // c.fills, (task + 1) * planes // c.fills):
        channel = plane % (c.groups * c.c_out)
        for row in range(rows):
            rest = row
            y = c.y + (channel * c.y_channel + plane // (c.groups * c.c_out) * c.y_image)
            for a in range(c.fill_axes - 1, -1, -1):
                y += rest % c.n_out[a] * c.y_step[a]
                rest //= c.n_out[a]
            u = 0
            while u < c.fill_length:
                s.n = min(width, c.fill_length - u)
                c.k.store[c.code](&zeros, c.bias + channel * c.size, y + u * s.lane_step, &s)
                u += width


cdef void fill_pixels(const Columns* c, Py_ssize_t task) noexcept nogil:
    """Write the bias of all channels, which are neighbours, of some pixels of the result."""
    cdef Py_ssize_t pixels = c.images, pixel, rest, a
    cdef char* y
    for a in range(c.rank):
        pixels *= c.n_out[a]
    for pixel in range(task * pixels // c.fills, (task + 1) * pixels // c.fills):
        rest = pixel
        y = c.y
        for a in range(c.rank - 1, -1, -1):
            y += rest % c.n_out[a] * c.y_step[a]
            rest //= c.n_out[a]
        copy_run(y + rest * c.y_image, c.bias, c.groups * c.c_out * c.size)
