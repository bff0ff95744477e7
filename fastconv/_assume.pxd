# Tell the compiler what always holds, as that a loop runs at least once.

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define fastconv_assume(c) do { if (!(c)) __builtin_unreachable(); } while (0)
    #else
    #define fastconv_assume(c) ((void) (c))
    #endif
    """
    void assume "fastconv_assume"(bint c) noexcept nogil
