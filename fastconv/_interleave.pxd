# Interleave six rows, and tell two or three apart, by vectors of 16 bytes, which every processor
# shuffles. What compilers make of such loops is several times as slow, unless vectors are long.

cdef extern from *:
    """
    #include <string.h>
    #if defined(__has_builtin)
    #if __has_builtin(__builtin_shufflevector)
    #define FASTCONV_BY_VECTORS(...) __VA_ARGS__
    #define FASTCONV_PICK __builtin_shufflevector
    typedef float fastconv_floats __attribute__((vector_size(16)));
    typedef double fastconv_doubles __attribute__((vector_size(16)));
    #endif
    #endif
    #if !defined(FASTCONV_BY_VECTORS)
    #define FASTCONV_BY_VECTORS(...)
    #endif

    /* Both begin with vectors, the last of them moved back to the end, as `shuffle` makes vectors
       `out` of vectors `in`; where there are fewer numbers than in one, they go one by one. */
    #define FASTCONV_SIX(name, number, vector, shuffle) \\
        static inline void name( \\
                const number *const *rows, Py_ssize_t at, const number *bias, \\
                Py_ssize_t mask, Py_ssize_t n, number *to) { \\
            enum { LANES = 16 / sizeof(number) }; \\
            const number *row[6]; \\
            number b[6]; \\
            Py_ssize_t u = 0; \\
            for (int i = 0; i < 6; i++) { \\
                row[i] = rows[i] + at; \\
                b[i] = bias[i & mask]; \\
            } \\
            FASTCONV_BY_VECTORS(for (; u < n && n >= LANES; u += LANES) { \\
                vector in[6], out[6]; \\
                u = u < n - LANES ? u : n - LANES; \\
                for (int i = 0; i < 6; i++) { \\
                    memcpy(&in[i], row[i] + u, 16); \\
                    in[i] += b[i]; \\
                } \\
                shuffle(in, out) \\
                for (int i = 0; i < 6; i++) \\
                    memcpy(to + 6 * u + LANES * i, &out[i], 16); \\
            }) \\
            for (; u < n; u++) \\
                for (int i = 0; i < 6; i++) \\
                    to[6 * u + i] = row[i][u] + b[i]; \\
        }
    #define FASTCONV_APART(name, number, vector, ways, shuffle) \\
        static inline void name( \\
                const number *from, Py_ssize_t n, number *to, Py_ssize_t pitch) { \\
            enum { LANES = 16 / sizeof(number) }; \\
            Py_ssize_t u = 0; \\
            FASTCONV_BY_VECTORS(for (; u < n && n >= LANES; u += LANES) { \\
                vector in[ways], out[ways]; \\
                u = u < n - LANES ? u : n - LANES; \\
                memcpy(in, from + ways * u, sizeof in); \\
                shuffle(in, out) \\
                for (int i = 0; i < ways; i++) \\
                    memcpy(to + i * pitch + u, &out[i], 16); \\
            }) \\
            for (; u < n; u++) \\
                for (int i = 0; i < ways; i++) \\
                    to[i * pitch + u] = from[ways * u + i]; \\
        }

    #define FASTCONV_SIX_FLOATS(in, out) { \\
        fastconv_floats low[3], high[3]; \\
        for (int i = 0; i < 3; i++) { \\
            low[i] = FASTCONV_PICK(in[2 * i], in[2 * i + 1], 0, 4, 1, 5); \\
            high[i] = FASTCONV_PICK(in[2 * i], in[2 * i + 1], 2, 6, 3, 7); \\
        } \\
        out[0] = FASTCONV_PICK(low[0], low[1], 0, 1, 4, 5); \\
        out[1] = FASTCONV_PICK(low[2], low[0], 0, 1, 6, 7); \\
        out[2] = FASTCONV_PICK(low[1], low[2], 2, 3, 6, 7); \\
        out[3] = FASTCONV_PICK(high[0], high[1], 0, 1, 4, 5); \\
        out[4] = FASTCONV_PICK(high[2], high[0], 0, 1, 6, 7); \\
        out[5] = FASTCONV_PICK(high[1], high[2], 2, 3, 6, 7); \\
    }
    #define FASTCONV_SIX_DOUBLES(in, out) { \\
        for (int i = 0; i < 3; i++) { \\
            out[i] = FASTCONV_PICK(in[2 * i], in[2 * i + 1], 0, 2); \\
            out[3 + i] = FASTCONV_PICK(in[2 * i], in[2 * i + 1], 1, 3); \\
        } \\
    }
    #define FASTCONV_TWO_FLOATS(in, out) { \\
        out[0] = FASTCONV_PICK(in[0], in[1], 0, 2, 4, 6); \\
        out[1] = FASTCONV_PICK(in[0], in[1], 1, 3, 5, 7); \\
    }
    #define FASTCONV_TWO_DOUBLES(in, out) { \\
        out[0] = FASTCONV_PICK(in[0], in[1], 0, 2); \\
        out[1] = FASTCONV_PICK(in[0], in[1], 1, 3); \\
    }
    #define FASTCONV_THREE_FLOATS(in, out) { \\
        fastconv_floats a = FASTCONV_PICK(in[1], in[2], 2, 2, 5, 5); \\
        fastconv_floats b = FASTCONV_PICK(in[0], in[1], 1, 1, 4, 4); \\
        fastconv_floats c = FASTCONV_PICK(in[0], in[1], 2, 2, 5, 5); \\
        out[0] = FASTCONV_PICK(in[0], a, 0, 3, 4, 6); \\
        a = FASTCONV_PICK(in[1], in[2], 3, 3, 6, 6); \\
        out[1] = FASTCONV_PICK(b, a, 0, 2, 4, 6); \\
        out[2] = FASTCONV_PICK(c, in[2], 0, 2, 4, 7); \\
    }
    #define FASTCONV_THREE_DOUBLES(in, out) { \\
        out[0] = FASTCONV_PICK(in[0], in[1], 0, 3); \\
        out[1] = FASTCONV_PICK(in[0], in[2], 1, 2); \\
        out[2] = FASTCONV_PICK(in[1], in[2], 0, 3); \\
    }

    FASTCONV_SIX(fastconv_six_floats, float, fastconv_floats, FASTCONV_SIX_FLOATS)
    FASTCONV_SIX(fastconv_six_doubles, double, fastconv_doubles, FASTCONV_SIX_DOUBLES)
    FASTCONV_APART(fastconv_two_floats, float, fastconv_floats, 2, FASTCONV_TWO_FLOATS)
    FASTCONV_APART(fastconv_two_doubles, double, fastconv_doubles, 2, FASTCONV_TWO_DOUBLES)
    FASTCONV_APART(fastconv_three_floats, float, fastconv_floats, 3, FASTCONV_THREE_FLOATS)
    FASTCONV_APART(fastconv_three_doubles, double, fastconv_doubles, 3, FASTCONV_THREE_DOUBLES)
    """
    # to[6*u + i] = rows[i][at + u] + bias[i & mask] for u < n, i < 6.
    void six_floats "fastconv_six_floats"(
        const float* const* rows, Py_ssize_t at, const float* bias, Py_ssize_t mask,
        Py_ssize_t n, float* to) noexcept nogil
    void six_doubles "fastconv_six_doubles"(
        const double* const* rows, Py_ssize_t at, const double* bias, Py_ssize_t mask,
        Py_ssize_t n, double* to) noexcept nogil
    # to[i*pitch + u] = from_[2*u + i] for u < n, i < 2.
    void two_floats "fastconv_two_floats"(
        const float* from_, Py_ssize_t n, float* to, Py_ssize_t pitch) noexcept nogil
    void two_doubles "fastconv_two_doubles"(
        const double* from_, Py_ssize_t n, double* to, Py_ssize_t pitch) noexcept nogil
    # The same of three.
    void three_floats "fastconv_three_floats"(
        const float* from_, Py_ssize_t n, float* to, Py_ssize_t pitch) noexcept nogil
    void three_doubles "fastconv_three_doubles"(
        const double* from_, Py_ssize_t n, double* to, Py_ssize_t pitch) noexcept nogil
