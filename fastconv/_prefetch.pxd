# Ask for a line of memory that will be read soon; never an error, whatever the address.

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define fastconv_prefetch(p) __builtin_prefetch(p)
    #define fastconv_prefetch_far(p) __builtin_prefetch(p, 0, 2)
    #define fastconv_prefetch_result(p) __builtin_prefetch(p, 1)
    #else
    #define fastconv_prefetch(p) ((void) (p))
    #define fastconv_prefetch_far(p) ((void) (p))
    #define fastconv_prefetch_result(p) ((void) (p))
    #endif
    """
    void prefetch "fastconv_prefetch"(const void* p) noexcept nogil
    # ... into the second-level cache only.
    void prefetch_far "fastconv_prefetch_far"(const void* p) noexcept nogil
    # ... of one that will be written.
    void prefetch_result "fastconv_prefetch_result"(const void* p) noexcept nogil
