# Interleave six rows, and tell two or three apart, by vectors of 16 bytes, which every processor
# shuffles. What compilers make of such loops is several times as slow, unless vectors are long.

cdef extern from *:
    """
    #include <string.h>
    #if defined(__has_builtin)
    #if __has_builtin(__builtin_shufflevector)
    #define FASTCONV_SHUFFLE __builtin_shufflevector
    #endif
    #endif
    #if defined(FASTCONV_SHUFFLE)
    typedef float fastconv_f4 __attribute__((vector_size(16)));
    typedef double fastconv_d2 __attribute__((vector_size(16)));
    #endif
    static inline void fastconv_six_floats(
            const float *const *rows, Py_ssize_t at, const float *bias, Py_ssize_t mask,
            Py_ssize_t n, float *to) {
        const float *row[6];
        float b[6];
        Py_ssize_t u = 0;
        for (int i = 0; i < 6; i++) {
            row[i] = rows[i] + at;
            b[i] = bias[i & mask];
        }
    #if defined(FASTCONV_SHUFFLE)
        for (; u < n && n >= 4; u += 4) {
            fastconv_f4 v[6], low[3], high[3];
            u = u < n - 4 ? u : n - 4;
            for (int i = 0; i < 6; i++) {
                memcpy(&v[i], row[i] + u, 16);
                v[i] += b[i];
            }
            for (int i = 0; i < 3; i++) {
                low[i] = FASTCONV_SHUFFLE(v[2 * i], v[2 * i + 1], 0, 4, 1, 5);
                high[i] = FASTCONV_SHUFFLE(v[2 * i], v[2 * i + 1], 2, 6, 3, 7);
            }
            v[0] = FASTCONV_SHUFFLE(low[0], low[1], 0, 1, 4, 5);
            v[1] = FASTCONV_SHUFFLE(low[2], low[0], 0, 1, 6, 7);
            v[2] = FASTCONV_SHUFFLE(low[1], low[2], 2, 3, 6, 7);
            v[3] = FASTCONV_SHUFFLE(high[0], high[1], 0, 1, 4, 5);
            v[4] = FASTCONV_SHUFFLE(high[2], high[0], 0, 1, 6, 7);
            v[5] = FASTCONV_SHUFFLE(high[1], high[2], 2, 3, 6, 7);
            for (int i = 0; i < 6; i++)
                memcpy(to + 6 * u + 4 * i, &v[i], 16);
        }
    #endif
        for (; u < n; u++)
            for (int i = 0; i < 6; i++)
                to[6 * u + i] = row[i][u] + b[i];
    }
    static inline void fastconv_six_doubles(
            const double *const *rows, Py_ssize_t at, const double *bias, Py_ssize_t mask,
            Py_ssize_t n, double *to) {
        const double *row[6];
        double b[6];
        Py_ssize_t u = 0;
        for (int i = 0; i < 6; i++) {
            row[i] = rows[i] + at;
            b[i] = bias[i & mask];
        }
    #if defined(FASTCONV_SHUFFLE)
        for (; u < n && n >= 2; u += 2) {
            fastconv_d2 v[6];
            u = u < n - 2 ? u : n - 2;
            for (int i = 0; i < 6; i++) {
                memcpy(&v[i], row[i] + u, 16);
                v[i] += b[i];
            }
            for (int i = 0; i < 3; i++) {
                fastconv_d2 out = FASTCONV_SHUFFLE(v[2 * i], v[2 * i + 1], 0, 2);
                memcpy(to + 6 * u + 2 * i, &out, 16);
                out = FASTCONV_SHUFFLE(v[2 * i], v[2 * i + 1], 1, 3);
                memcpy(to + 6 * u + 6 + 2 * i, &out, 16);
            }
        }
    #endif
        for (; u < n; u++)
            for (int i = 0; i < 6; i++)
                to[6 * u + i] = row[i][u] + b[i];
    }
    static inline void fastconv_two_floats(
            const float *from, Py_ssize_t n, float *to, Py_ssize_t pitch) {
        Py_ssize_t u = 0;
    #if defined(FASTCONV_SHUFFLE)
        for (; u < n && n >= 4; u += 4) {
            fastconv_f4 v[2], a, b;
            u = u < n - 4 ? u : n - 4;
            memcpy(v, from + 2 * u, 32);
            a = FASTCONV_SHUFFLE(v[0], v[1], 0, 2, 4, 6);
            b = FASTCONV_SHUFFLE(v[0], v[1], 1, 3, 5, 7);
            memcpy(to + u, &a, 16);
            memcpy(to + pitch + u, &b, 16);
        }
    #endif
        for (; u < n; u++)
            for (int i = 0; i < 2; i++)
                to[i * pitch + u] = from[2 * u + i];
    }
    static inline void fastconv_two_doubles(
            const double *from, Py_ssize_t n, double *to, Py_ssize_t pitch) {
        Py_ssize_t u = 0;
    #if defined(FASTCONV_SHUFFLE)
        for (; u < n && n >= 2; u += 2) {
            fastconv_d2 v[2], a, b;
            u = u < n - 2 ? u : n - 2;
            memcpy(v, from + 2 * u, 32);
            a = FASTCONV_SHUFFLE(v[0], v[1], 0, 2);
            b = FASTCONV_SHUFFLE(v[0], v[1], 1, 3);
            memcpy(to + u, &a, 16);
            memcpy(to + pitch + u, &b, 16);
        }
    #endif
        for (; u < n; u++)
            for (int i = 0; i < 2; i++)
                to[i * pitch + u] = from[2 * u + i];
    }
    static inline void fastconv_three_floats(
            const float *from, Py_ssize_t n, float *to, Py_ssize_t pitch) {
        Py_ssize_t u = 0;
    #if defined(FASTCONV_SHUFFLE)
        for (; u < n && n >= 4; u += 4) {
            fastconv_f4 v[3], a, b, c;
            u = u < n - 4 ? u : n - 4;
            for (int i = 0; i < 3; i++)
                memcpy(&v[i], from + 3 * u + 4 * i, 16);
            a = FASTCONV_SHUFFLE(v[1], v[2], 2, 2, 5, 5);
            a = FASTCONV_SHUFFLE(v[0], a, 0, 3, 4, 6);
            b = FASTCONV_SHUFFLE(v[0], v[1], 1, 1, 4, 4);
            c = FASTCONV_SHUFFLE(v[1], v[2], 3, 3, 6, 6);
            b = FASTCONV_SHUFFLE(b, c, 0, 2, 4, 6);
            c = FASTCONV_SHUFFLE(v[0], v[1], 2, 2, 5, 5);
            c = FASTCONV_SHUFFLE(c, v[2], 0, 2, 4, 7);
            memcpy(to + u, &a, 16);
            memcpy(to + pitch + u, &b, 16);
            memcpy(to + 2 * pitch + u, &c, 16);
        }
    #endif
        for (; u < n; u++)
            for (int i = 0; i < 3; i++)
                to[i * pitch + u] = from[3 * u + i];
    }
    static inline void fastconv_three_doubles(
            const double *from, Py_ssize_t n, double *to, Py_ssize_t pitch) {
        Py_ssize_t u = 0;
    #if defined(FASTCONV_SHUFFLE)
        for (; u < n && n >= 2; u += 2) {
            fastconv_d2 v[3], a, b, c;
            u = u < n - 2 ? u : n - 2;
            for (int i = 0; i < 3; i++)
                memcpy(&v[i], from + 3 * u + 2 * i, 16);
            a = FASTCONV_SHUFFLE(v[0], v[1], 0, 3);
            b = FASTCONV_SHUFFLE(v[0], v[2], 1, 2);
            c = FASTCONV_SHUFFLE(v[1], v[2], 0, 3);
            memcpy(to + u, &a, 16);
            memcpy(to + pitch + u, &b, 16);
            memcpy(to + 2 * pitch + u, &c, 16);
        }
    #endif
        for (; u < n; u++)
            for (int i = 0; i < 3; i++)
                to[i * pitch + u] = from[3 * u + i];
    }
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
