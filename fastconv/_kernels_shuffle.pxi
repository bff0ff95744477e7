# Columns stored where each result has one of them, by channels. Part of _kernels.pyx.

cdef inline void shuffle_channels(
        const real_t* src, Py_ssize_t taps, Py_ssize_t channels, const Py_ssize_t* offsets,
        const real_t* bias, char* dst) noexcept nogil:
    """All taps of some channels of one pixel, turned by four channels where taps are few."""
    cdef real_t turned[4 * 8]
    cdef Py_ssize_t done = 0, t, j
    cdef real_t* to
    while taps <= 8 and done + 4 <= channels:
        for t in range(taps):
            for j in range(4):
                turned[4 * t + j] = src[(done + j) * taps + t] + bias[done + j]
        for t in range(taps):
            to = <real_t*> (dst + offsets[t]) + done
            for j in range(4):
                to[j] = turned[4 * t + j]
        done += 4
    for t in range(taps if done < channels else 0):
        to = <real_t*> (dst + offsets[t])
        for j in range(done, channels):
            to[j] = src[j * taps + t] + bias[j]


cdef inline void shuffle_some(
        const real_t* src, Py_ssize_t first, Py_ssize_t stop, const Py_ssize_t* offsets,
        real_t bias, char* dst) noexcept nogil:
    """Taps [first, stop) of one channel."""
    cdef Py_ssize_t t
    for t in range(first, stop):
        (<real_t*> (dst + offsets[t]))[0] = src[t - first] + bias


cdef void shuffle(
        const real_t* src, Py_ssize_t src_step, Py_ssize_t count, Py_ssize_t first, Py_ssize_t n,
        Py_ssize_t taps, const Py_ssize_t* offsets, const real_t* bias, char* dst,
        Py_ssize_t dst_step) noexcept nogil:
    cdef Py_ssize_t channel = first // taps, tap = first % taps, whole, tail, i
    # What there is of the channel that columns begin in; `tail` of that they end in.
    cdef Py_ssize_t head = min(n, taps - tap) if tap > 0 else 0
    cdef const real_t* row
    cdef char* to
    whole = (n - head) // taps
    tail = n - head - whole * taps
    bias += channel
    dst += channel * <Py_ssize_t> sizeof(real_t)
    for i in range(count):
        row = src + i * src_step
        to = dst + i * dst_step
        if head > 0:
            shuffle_some[real_t](row, tap, tap + head, offsets, bias[0], to)
            row += head
            to += sizeof(real_t)
        # With constants the compiler turns them in registers.
        if taps == 2:
            shuffle_channels[real_t](row, 2, whole, offsets, bias + (head > 0), to)
        elif taps == 4:
            shuffle_channels[real_t](row, 4, whole, offsets, bias + (head > 0), to)
        elif taps == 8:
            shuffle_channels[real_t](row, 8, whole, offsets, bias + (head > 0), to)
        else:
            shuffle_channels[real_t](row, taps, whole, offsets, bias + (head > 0), to)
        if tail > 0:
            shuffle_some[real_t](
                row + whole * taps, 0, tail, offsets, bias[whole + (head > 0)],
                to + whole * <Py_ssize_t> sizeof(real_t))
