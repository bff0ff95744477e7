# Results whose channels are neighbours, stored pixel by pixel where each of them has one column.
# Part of _columns.pyx.

cdef bint shuffles(const Columns* c, const Cut* cut) noexcept:
    """Whether all columns of a pixel are results: depth to space, as it is called."""
    cdef Py_ssize_t a
    for a in range(c.rank):
        if c.n_out[a] != c.n_in[a] * c.kernel[a]:
            return False
    return (
        c.once and channels_last(c) and c.taps <= SHUFFLED_TAPS and cut.slices.count == 1
        and (cut.parts == 1 or c.images > 1)
    )


cdef void shuffle_block(
        const Columns* c, Py_ssize_t group, const Block* block, Py_ssize_t n, const Band* bands,
        const Py_ssize_t* places, Py_ssize_t n_bands) noexcept nogil:
    """Store the columns of n pixels, all of a row before those of the next one."""
    cdef Py_ssize_t offsets[SHUFFLED_TAPS]
    cdef Py_ssize_t last = c.rank - 1, rest, t, a, i, row, tile, width
    cdef const Band* band
    cdef const char* columns
    cdef char* y
    for t in range(c.taps):
        rest = t
        offsets[t] = 0
        for a in range(last, -1, -1):
            offsets[t] += rest % c.kernel[a] * c.y_step[a]
            rest //= c.kernel[a]
    for i in range(n_bands):
        band = bands + i
        y = c.y + (
            group * c.c_out * c.size + band.image * c.y_image + band.place * c.y_step[last])
        for a in range(last):
            y += places[i * last + a] * c.y_step[a]
        for row in range(band.rows):
            columns = c.scratch
            for tile in range(block.tiles):
                width = block.vectors[tile] * c.vector
                c.k.shuffle[c.compute](
                    columns + (
                        (band.first + row * band.count) * width + block.skip[tile]) * c.size,
                    width, band.count, block.first[tile] + block.skip[tile], block.count[tile],
                    c.taps, offsets, c.bias + group * c.c_out * c.size, y,
                    c.stride[last] * c.y_step[last])
                columns += padded(n) * width * c.size
            y += row_step(c)
