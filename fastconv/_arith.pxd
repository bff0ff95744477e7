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
