# Integer arithmetic that Python spells with operators and C does not.

cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """Ceiling of a / b for b > 0 and any a."""
    return a // b + (1 if a % b > 0 else 0)


cdef inline Py_ssize_t floor_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """Floor of a / b for b > 0 and any a."""
    return a // b - (1 if a % b < 0 else 0)


cdef inline Py_ssize_t round_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """The least multiple of b that is not below a >= 0."""
    return (a + b - 1) // b * b


cdef inline Py_ssize_t clip(Py_ssize_t a, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """The number of [low, high] nearest to a."""
    return low if a < low else high if a > high else a


cdef inline Py_ssize_t gcd(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """Greatest common divisor of positive numbers."""
    cdef Py_ssize_t rest
    while b:
        rest = a % b
        a = b
        b = rest
    return a


cdef inline double balance(Py_ssize_t tasks, Py_ssize_t workers) noexcept nogil:
    """The share of time that workers are busy with equal tasks."""
    return <double> tasks / (max(1, ceil_div(tasks, workers)) * workers)


cdef inline Py_ssize_t best_shares(
        Py_ssize_t places, Py_ssize_t fewest, Py_ssize_t most, Py_ssize_t workers) noexcept nogil:
    """Into how many tasks to cut the work of each place: a few more where that shares out better.

    At least `fewest`, at most `most`.
    """
    cdef Py_ssize_t shares, chosen = fewest
    cdef double best = 0, score
    for shares in range(fewest, min(fewest + 3, most) + 1):
        score = balance(places * shares, workers)
        if score > best + 0.06:
            best = score
            chosen = shares
    return chosen
