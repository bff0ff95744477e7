# Write whole lines of memory past the caches: they are not read first, and drive nothing out.

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__)
    #include <immintrin.h>
    #endif
    #if defined(__GNUC__)
    #define FASTCONV_CALLED __attribute__((__noinline__, __unused__))
    #define FASTCONV_INLINED __attribute__((__always_inline__))
    #else
    #define FASTCONV_CALLED
    #define FASTCONV_INLINED
    #endif
    static inline void fastconv_copy_rest(char *to, const char *from, Py_ssize_t size) {
        for (; size >= 16; to += 16, from += 16, size -= 16)
            memcpy(to, from, 16);
        for (; size >= 4; to += 4, from += 4, size -= 4)
            memcpy(to, from, 4);
        for (; size > 0; to++, from++, size--)
            *to = *from;
    }
    static inline void fastconv_copy_run(char *to, const char *from, Py_ssize_t size) {
        for (; size >= 64; to += 64, from += 64, size -= 64)
            memcpy(to, from, 64);
    #if defined(__AVX512BW__)
        __mmask64 rest = ((__mmask64)1 << size) - 1;
        _mm512_mask_storeu_epi8(to, rest, _mm512_maskz_loadu_epi8(rest, from));
    #else
        fastconv_copy_rest(to, from, size);
    #endif
    }
    FASTCONV_INLINED
    static inline void fastconv_copy_part(
        char *to, const char *from, Py_ssize_t size, Py_ssize_t low, Py_ssize_t high) {
    #if defined(__AVX512F__) && defined(__BMI2__)
        #pragma GCC unroll 8
        for (Py_ssize_t i = 0; i < size; i += 256) {
            Py_ssize_t a = low < i ? 0 : (low - i) / 4, b = high < i ? 0 : (high - i) / 4;
            uint64_t part = _bzhi_u64(~0ULL, b > 64 ? 64 : b) & ~_bzhi_u64(~0ULL, a > 64 ? 64 : a);
            #pragma GCC unroll 4
            for (int j = 0; j < (size - i < 256 ? size - i : 256); j += 64)
                _mm512_mask_storeu_ps(
                    to + i + j, (__mmask16)(part >> j / 4), _mm512_loadu_ps(from + i + j));
        }
    #else
        (void)size;
        fastconv_copy_run(to + low, from + low, high - low);
    #endif
    }
    /* Not by masks: the compiler would believe that `from` is kept, and what it points into,
       accumulators, would have to be in memory all the time. */
    FASTCONV_CALLED
    static void fastconv_stream_run(char *to, const char *from, Py_ssize_t size) {
    #if defined(__SSE2__)
        Py_ssize_t head = (Py_ssize_t)(-(uintptr_t)to % 64);
        head = head < size ? head : size;
        fastconv_copy_rest(to, from, head);
        for (to += head, from += head, size -= head; size >= 64; to += 64, from += 64, size -= 64) {
    #if defined(__AVX512F__)
            _mm512_stream_si512((__m512i *)to, _mm512_loadu_si512(from));
    #elif defined(__AVX__)
            for (int i = 0; i < 2; i++)
                _mm256_stream_si256(
                    (__m256i *)to + i, _mm256_loadu_si256((const __m256i *)from + i));
    #else
            for (int i = 0; i < 4; i++)
                _mm_stream_si128((__m128i *)to + i, _mm_loadu_si128((const __m128i *)from + i));
    #endif
        }
    #else
        for (; size >= 64; to += 64, from += 64, size -= 64)
            memcpy(to, from, 64);
    #endif
        fastconv_copy_rest(to, from, size);
    }
    FASTCONV_INLINED
    static inline void fastconv_stream_block(char *to, const char *from, Py_ssize_t size) {
    #if defined(__SSE2__)
        if (size % 64 == 0 && (uintptr_t)to % 64 == 0) {
            #pragma GCC unroll 16
            for (int i = 0; i < size; i += 64) {
    #if defined(__AVX512F__)
                _mm512_stream_si512((__m512i *)(to + i), _mm512_loadu_si512(from + i));
    #elif defined(__AVX__)
                for (int j = i; j < i + 64; j += 32)
                    _mm256_stream_si256(
                        (__m256i *)(to + j), _mm256_loadu_si256((const __m256i *)(from + j)));
    #else
                for (int j = i; j < i + 64; j += 16)
                    _mm_stream_si128(
                        (__m128i *)(to + j), _mm_loadu_si128((const __m128i *)(from + j)));
    #endif
            }
            return;
        }
    #endif
        fastconv_stream_run(to, from, size);
    }
    static inline void fastconv_stream_fence(void) {
    #if defined(__SSE2__)
        _mm_sfence();
    #endif
    }
    """
    # Copy a short run of `size` bytes, neither address aligned.
    void copy_run "fastconv_copy_run"(
        char* to, const char* from_, Py_ssize_t size) noexcept nogil
    # Copy bytes [low, high) of a block of constant size, numbers of four bytes or eight, that was
    # just computed; none if both are the same. By masks, of whole lines, they are stored straight
    # from the registers, in which they stay only where no branch comes between.
    void copy_part "fastconv_copy_part"(
        char* to, const char* from_, Py_ssize_t size, Py_ssize_t low,
        Py_ssize_t high) noexcept nogil
    # Copy `size` bytes, neither address aligned: whole lines streamed, the ends stored.
    void stream_run "fastconv_stream_run"(
        char* to, const char* from_, Py_ssize_t size) noexcept nogil
    # The same for a constant size and what was just computed: whole lines that begin where one does
    # leave straight from the registers.
    void stream_block "fastconv_stream_block"(
        char* to, const char* from_, Py_ssize_t size) noexcept nogil
    # What was streamed is seen by other threads before anything stored after this.
    void stream_fence "fastconv_stream_fence"() noexcept nogil
