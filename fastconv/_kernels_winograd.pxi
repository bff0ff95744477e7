# What the winograd method does before and after its products. Part of _kernels.pyx.

from fastconv._interleave cimport three_doubles, three_floats, two_doubles, two_floats


cdef inline void copy_vectors(const float_t* src, Py_ssize_t run, float_t* dst) noexcept nogil:
    # Whole vectors, unlike `copy_run`, whose ends take longer than all of a short run: what they
    # write too much comes before the run that belongs there.
    cdef Py_ssize_t j = 0
    while j < run:
        memcpy(dst + j, src + j, 16)
        j += 16 // <Py_ssize_t> sizeof(float_t)


cdef void deal(
        const float_t* src, Py_ssize_t rows, Py_ssize_t parts, Py_ssize_t run, Py_ssize_t pitch,
        float_t* dst) noexcept nogil:
    cdef Py_ssize_t r, u, v
    for r in range(rows):
        if run > 1:
            for u in range(parts):
                for v in range(pitch // run):
                    copy_vectors(src + (v * parts + u) * run, run, dst + u * pitch + v * run)
        elif parts == 2:
            if float_t is float:
                two_floats(src, pitch, dst, pitch)
            else:
                two_doubles(src, pitch, dst, pitch)
        else:
            if float_t is float:
                three_floats(src, pitch, dst, pitch)
            else:
                three_doubles(src, pitch, dst, pitch)
        src += parts * pitch
        dst += parts * pitch


cdef void weave(
        const float_t* src, Py_ssize_t part_step, Py_ssize_t rows, Py_ssize_t pitch,
        Py_ssize_t parts, Py_ssize_t run, Py_ssize_t runs, float_t* dst) noexcept nogil:
    cdef Py_ssize_t r, u, v
    for r in range(rows):
        for v in range(runs):
            for u in range(parts):
                copy_vectors(src + u * part_step + v * run, run, dst + (v * parts + u) * run)
        src += pitch
        dst += parts * pitch


cdef void transform_input(
        Scheme scheme, const float_t* src, const Py_ssize_t* offsets, Py_ssize_t src_pitch,
        Py_ssize_t channels, Py_ssize_t n, Py_ssize_t room, float_t* dst, Py_ssize_t point_step,
        Py_ssize_t dst_pitch) noexcept nogil:
    # Vectors go through arrays of the function, which nothing overlaps.
    cdef float_t a[VECTOR_FLOATS]
    cdef float_t b[VECTOR_FLOATS]
    cdef float_t e[VECTOR_FLOATS]
    cdef float_t f[VECTOR_FLOATS]
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), c, t, j
    cdef const float_t* s0
    cdef const float_t* s1
    cdef const float_t* s2
    cdef const float_t* s3
    cdef float_t* d1
    cdef float_t* d2
    cdef float_t* d3
    for c in range(channels):
        s0 = src + c * src_pitch + offsets[0]
        if scheme == F11:
            for t in range(n):
                dst[t] = s0[t]
            dst += dst_pitch
            continue
        s1 = src + c * src_pitch + offsets[1]
        s2 = src + c * src_pitch + offsets[2]
        d1 = dst + point_step
        d2 = d1 + point_step
        t = 0
        if scheme == F22:
            while t < n and t + lanes <= room:
                for j in range(lanes):
                    a[j] = s0[t + j]
                    b[j] = s1[t + j]
                    e[j] = s2[t + j]
                for j in range(lanes):
                    dst[t + j] = a[j] - b[j]
                for j in range(lanes):
                    d1[t + j] = b[j]
                for j in range(lanes):
                    d2[t + j] = e[j] - b[j]
                t += lanes
            while t < n:
                dst[t] = s0[t] - s1[t]
                d1[t] = s1[t]
                d2[t] = s2[t] - s1[t]
                t += 1
        else:
            s3 = src + c * src_pitch + offsets[3]
            d3 = d2 + point_step
            while t < n and t + lanes <= room:
                for j in range(lanes):
                    a[j] = s0[t + j]
                    b[j] = s1[t + j]
                    e[j] = s2[t + j]
                    f[j] = s3[t + j]
                for j in range(lanes):
                    dst[t + j] = a[j] - e[j]
                for j in range(lanes):
                    d1[t + j] = b[j] + e[j]
                for j in range(lanes):
                    d2[t + j] = e[j] - b[j]
                for j in range(lanes):
                    d3[t + j] = b[j] - f[j]
                t += lanes
            while t < n:
                dst[t] = s0[t] - s2[t]
                d1[t] = s1[t] + s2[t]
                d2[t] = s2[t] - s1[t]
                d3[t] = s1[t] - s3[t]
                t += 1
        dst += dst_pitch


cdef void transform_filter(
        Scheme scheme, bint shorter, const float_t* src, Py_ssize_t step, Py_ssize_t n,
        float_t* dst, Py_ssize_t point_step) noexcept nogil:
    cdef Py_ssize_t taps = 1 if scheme == F11 else 3 if scheme == F23 else 2, i
    cdef float_t half = <float_t> 0.5
    # A missing tap counts nothing: read another one in its place.
    cdef float_t keep = 0 if shorter else 1
    cdef const float_t* first = src + (0 if shorter else (taps - 1) * step)
    cdef const float_t* middle = src + step
    cdef float_t* d1 = dst + point_step
    cdef float_t* d2 = d1 + point_step
    cdef float_t* d3 = d2 + point_step
    if not shorter:
        for i in range(n):
            dst[i] = first[i]
    if scheme == F22:
        for i in range(n):
            d1[i] = keep * first[i] + src[i]
        for i in range(n):
            d2[i] = src[i]
    elif scheme == F32:
        for i in range(n):
            d1[i] = half * (keep * first[i] + src[i])
        for i in range(n):
            d2[i] = half * (keep * first[i] - src[i])
        for i in range(n):
            d3[i] = src[i]
    elif scheme == F23:
        for i in range(n):
            d1[i] = half * ((keep * first[i] + src[i]) + middle[i])
        for i in range(n):
            d2[i] = half * ((keep * first[i] + src[i]) - middle[i])
        for i in range(n):
            d3[i] = src[i]


cdef bint transform_output(
        Scheme scheme, bint shorter, const float_t* src, Py_ssize_t point_step, Py_ssize_t n,
        float_t* dst, Py_ssize_t step) noexcept nogil:
    cdef float_t y0[VECTOR_FLOATS]
    cdef float_t y1[VECTOR_FLOATS]
    cdef float_t y2[VECTOR_FLOATS]
    cdef float_t nan[VECTOR_FLOATS]
    cdef Py_ssize_t lanes = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(float_t), i, j
    cdef const float_t* m0 = src + (point_step if shorter else 0)
    cdef const float_t* m1 = src + point_step
    cdef const float_t* m2 = m1 + point_step
    cdef const float_t* m3 = m2 + point_step
    cdef float_t* d1 = dst + step
    cdef float_t* d2 = d1 + step
    cdef float_t keep = 0 if shorter else 1, zero = 0
    cdef bint bad = False
    # Zero times Inf or NaN is NaN, and stays.
    for j in range(lanes):
        nan[j] = 0
    i = 0
    while i < n:
        if scheme == F11:
            for j in range(lanes):
                y0[j] = src[i + j]
                nan[j] += zero * y0[j]
        elif scheme == F22:
            for j in range(lanes):
                y0[j] = keep * m0[i + j] + m1[i + j]
                y1[j] = m1[i + j] + m2[i + j]
                nan[j] += zero * y0[j] + zero * y1[j]
        elif scheme == F32:
            for j in range(lanes):
                y0[j] = keep * m0[i + j] + (m1[i + j] + m2[i + j])
                y1[j] = m1[i + j] - m2[i + j]
                y2[j] = (m1[i + j] + m2[i + j]) - m3[i + j]
                nan[j] += zero * y0[j] + zero * y1[j] + zero * y2[j]
        else:
            for j in range(lanes):
                y0[j] = keep * m0[i + j] + (m1[i + j] + m2[i + j])
                y1[j] = (m1[i + j] - m2[i + j]) - m3[i + j]
                nan[j] += zero * y0[j] + zero * y1[j]
        for j in range(lanes):
            dst[i + j] = y0[j]
        if scheme != F11:
            for j in range(lanes):
                d1[i + j] = y1[j]
        if scheme == F32:
            for j in range(lanes):
                d2[i + j] = y2[j]
        i += lanes
    for j in range(lanes):
        bad |= nan[j] != 0
    return bad
