# Numbers of arrays as numbers of the compute types, and back. Part of _kernels.pyx.

cdef enum:
    MANY = 64              # neighbours that are read or collected at a time

cdef union Bits:
    float value
    uint32_t bits


cdef inline float half_to_float(uint16_t h) noexcept nogil:
    """Exact: the exponent is moved by a multiplication, which makes subnormals normal too."""
    cdef Bits b
    cdef uint32_t magnitude = h & 0x7fff
    b.bits = magnitude << 13
    b.value = b.value * 5.192296858534828e33  # 2**112
    if magnitude >= 0x7c00:
        b.bits = (magnitude << 13) | 0x7f800000
    b.bits |= (<uint32_t> (h & 0x8000)) << 16
    return b.value


cdef inline uint16_t float_to_half(float value) noexcept nogil:
    """Round to nearest even, in the integers; subnormals let the adder round."""
    cdef Bits b, small
    cdef uint32_t sign, magnitude, moved, result
    b.value = value
    sign = (b.bits >> 16) & 0x8000
    magnitude = b.bits & 0x7fffffff
    small.bits = magnitude
    small.value = small.value + <float> 0.5
    moved = magnitude - 0x38000000
    result = (moved + 0xfff + ((moved >> 13) & 1)) >> 13
    if magnitude < 0x38800000:
        result = small.bits - 0x3f000000
    if magnitude >= 0x47800000:
        result = 0x7c00
    if magnitude > 0x7f800000:
        result = 0x7e00
    return <uint16_t> (result | sign)


cdef inline void convert(element_t value, real_t* out) noexcept nogil:
    if element_t is half_t:
        out[0] = <real_t> half_to_float(value.bits)
    elif element_t is bool_t:
        out[0] = <real_t> (value.value != 0)
    else:
        out[0] = <real_t> value


cdef inline void deposit(real_t value, element_t* out) noexcept nogil:
    if element_t is half_t:
        out.bits = float_to_half(<float> value)
    elif element_t is bool_t:
        out.value = value != 0
    else:
        out[0] = <element_t> value
