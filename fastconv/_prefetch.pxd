# Ask for a line of memory that will be read soon; never an error, whatever the address.

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define fastconv_prefetch(p) __builtin_prefetch(p)
    #else
    #define fastconv_prefetch(p) ((void) (p))
    #endif
    """
    void prefetch "fastconv_prefetch"(const void* p) noexcept nogil
