# What is known of each axis by itself, and the count of products. Part of _plan.pyx.

cdef void make_axis(
        Axis* a, Py_ssize_t n_in, Py_ssize_t n_out, Py_ssize_t kernel, Py_ssize_t stride,
        Py_ssize_t dilation, Py_ssize_t crop) noexcept:
    """Everything about an axis but its steps and classes."""
    cdef Py_ssize_t common = gcd(stride, dilation)
    a.n_in, a.n_out, a.kernel, a.crop = n_in, n_out, kernel, crop
    a.stride, a.dilation = stride, dilation
    a.period = stride // common
    a.shift = dilation // common
    a.n_phases = min(kernel, a.period)
    a.max_taps = phase_taps(a, 0)
    a.span = (a.max_taps - 1) * a.shift
    a.q_lo = max(0, ceil_div(crop - (a.n_phases - 1) * dilation, stride))
    a.q_hi = min(n_in + a.span, floor_div(crop + n_out - 1, stride) + 1)
    if a.q_hi < a.q_lo:
        a.q_hi = a.q_lo
    set_classes(a, True)


cdef void set_classes(Axis* a, bint merged) noexcept:
    a.merged = merged
    a.whole = False
    a.n_classes = a.n_phases
    if merged:
        a.n_classes = 1 if class_size(a, 0) == a.n_phases else 2


cdef bint contiguous(const Axis* a) noexcept:
    """Whether q*stride + phase counts the positions one by one."""
    return a.n_phases == a.stride and (a.dilation == 1 or a.stride == 1)


cdef bint covers(const Axis* a) noexcept:
    """Whether every position of the window is reached by a phase and a q."""
    return (
        contiguous(a) and a.crop >= 0 and a.crop + a.n_out <= (a.n_in + a.span) * a.stride
    )


cdef double row_fill(Py_ssize_t lanes, Py_ssize_t vector) noexcept:
    """The useful share of the lanes' work when each row has vectors of its own."""
    cdef Py_ssize_t vectors = max(1, ceil_div(lanes, vector))
    return (SINGLE_VECTOR_RATE if vectors == 1 else 1.0) * lanes / (vectors * vector)


cdef double fill(const Axis* a, Py_ssize_t vector) noexcept:
    """The useful share of the lanes' work when they run along this axis."""
    return row_fill(a.q_hi - a.q_lo, vector) * (<double> a.n_in / (a.n_in + a.span))


cdef size_t floor_sum(size_t n, size_t m, size_t a, size_t b) noexcept:
    """Sum of (a*i + b) // m over i < n, modulo 2**64; a*n + b must not reach that.

    Euclid's algorithm on a and m: counts the same points by columns and by rows in turn.
    """
    cdef size_t total = 0, top
    while n > 0:
        if a >= m:
            total += (n // 2 * (n - 1) if n % 2 == 0 else (n - 1) // 2 * n) * (a // m)
            a %= m
        if b >= m:
            total += n * (b // m)
            b %= m
        top = a * n + b
        n = top // m
        b = top % m
        a, m = m, a
    return total


cdef size_t pairs_below(const Axis* a, Py_ssize_t end) noexcept:
    """Pairs (input, tap) that land before a position of the full result, modulo 2**64."""
    cdef Py_ssize_t most = min(a.n_in, floor_div(end - 1, a.stride) + 1), complete
    if end <= 0:
        return 0
    # Inputs whose taps all land before it, and those of which only some do.
    complete = floor_div(end - 1 - (a.kernel - 1) * a.dilation, a.stride) + 1
    complete = min(max(complete, 0), most)
    return <size_t> complete * a.kernel + (most - complete) + floor_sum(
        most - complete, a.dilation, a.stride, end - 1 - (most - 1) * a.stride)


cdef size_t exact_pairs(const Axis* a) noexcept:
    """Pairs that reach the window, modulo 2**64."""
    return pairs_below(a, a.crop + a.n_out) - pairs_below(a, a.crop)


cdef double most_pairs(const Axis* a) noexcept:
    """No fewer than the pairs that reach the window."""
    return <double> min(a.n_in, a.kernel) * min(max(a.n_in, a.kernel), a.n_out)


cdef bint uncounted(const Axis* a) noexcept:
    """Whether there may be more pairs than are counted, and they are taken to be the most."""
    return most_pairs(a) > 2.0 ** 62


cdef double pairs(const Axis* a) noexcept:
    """Pairs (input, tap) that reach the window: crop <= i*stride + t*dilation < crop + n_out."""
    return most_pairs(a) if uncounted(a) else <double> exact_pairs(a)


cdef int make_axes(tuple problem, Axis* axes) except -1:
    """The spatial axes of a problem; how many there are."""
    cdef tuple spatial_in, kernel, stride, dilation, crop, spatial_out
    cdef Py_ssize_t d, i, n, taps, step, spread
    _, _, _, _, spatial_in, kernel, stride, dilation, crop, spatial_out, _, _ = problem
    d = len(spatial_in)
    if d >= MAX_AXES:
        raise OverflowError(f"{d} spatial axes, at most {MAX_AXES - 1}")
    for i in range(d):
        n, taps = spatial_in[i], kernel[i]
        # With one sample or one tap a step may be any Python integer, and means nothing.
        spread = dilation[i] if taps > 1 else 1
        step = stride[i] if n > 1 else min(stride[i], (taps - 1) * spread + 1)
        make_axis(&axes[i], n, spatial_out[i], taps, step, spread, crop[i])
    return d


cdef object all_pairs(const Axis* axes, Py_ssize_t d):
    """Pairs (pixel, tap of the kernel) that reach the window; cropped taps do not count."""
    cdef Py_ssize_t i
    count = 1
    for i in range(d):
        count *= int(most_pairs(&axes[i])) if uncounted(&axes[i]) else exact_pairs(&axes[i])
    return count


def lane_products(problem, Py_ssize_t vector):
    """Products that the direct method makes for one pair of channels, for the choice of a method.

    With lanes along the last axis those of lanes that run on beyond the end of a row, or stay
    empty, are made as well, with lanes along the batch those of images that a vector lacks: the way
    with fewer counts.
    """
    cdef Axis axes[MAX_AXES]
    cdef Py_ssize_t d = make_axes(<tuple> problem, axes), images = math.prod(problem.batch)
    cdef const Axis* last = &axes[d - 1]
    cdef double others = 1, lanes = min(
        last.n_in + last.span, round_up(last.q_hi - last.q_lo, vector))
    cdef Py_ssize_t i
    for i in range(d - 1):
        others *= pairs(&axes[i])
    return others * min(
        images * lanes * last.kernel, <double> round_up(images, vector) * pairs(last))


def multiply_adds(problem):
    """Number of products that reach the output; taps cropped away are not counted.

    Per axis these are the pairs ``(i, k)`` with ``0 <= i*stride + k*dilation - crop < out``; where
    there may be more than ``2**62``, as many as there can be.
    """
    cdef Axis axes[MAX_AXES]
    cdef Py_ssize_t d = make_axes(<tuple> problem, axes)
    channel_pairs = problem.c_in * (problem.c_out // problem.groups)
    return math.prod(problem.batch) * channel_pairs * all_pairs(axes, d)
