# Tiles of four rows and two or three vectors where there are 16 registers of 32 bytes: 12 sums,
# three vectors of x and one of weights. Two numbers of x at a time take 20 instructions each, and a
# plain loop 24, which counts where a core is shared; but of an array of sums GCC spills some then.
# Empty instructions keep it from that: what they are given is in a register until then. After the
# loads they keep x from being read again for each row; after each row the loads of the next one
# from coming before, and, like those at the end, a factor's register from being taken for a sum.

cdef extern from *:
    """
    #if defined(__GNUC__) && defined(__AVX2__)
    #define FASTCONV_TALL_TILES 1
    #define FASTCONV_ROWS(row) row(0) row(1) row(2) row(3)
    #define FASTCONV_AT(p) (*(vectors *) (p))
    #define FASTCONV_SUMS(m) vector c##m##0, c##m##1, c##m##2 = {0};
    #define FASTCONV_ZERO(m) c##m##0 = c##m##1 = c##m##2 = (vector) {0};
    #define FASTCONV_READ(m) \\
        c##m##0 = FASTCONV_AT(out + m * out_pitch); \\
        c##m##1 = FASTCONV_AT(out + m * out_pitch + lanes); \\
        if (wide) c##m##2 = FASTCONV_AT(out + m * out_pitch + 2 * lanes);
    #define FASTCONV_WRITE(m) \\
        FASTCONV_AT(out + m * out_pitch) = c##m##0; \\
        FASTCONV_AT(out + m * out_pitch + lanes) = c##m##1; \\
        if (wide) FASTCONV_AT(out + m * out_pitch + 2 * lanes) = c##m##2;
    #define FASTCONV_ADD(m) \\
        w = a[m] - (vector) {0}; \\
        c##m##0 += w * x0; \\
        c##m##1 += w * x1; \\
        if (wide) c##m##2 += w * x2; \\
        __asm__ volatile("" : : "x"(w));
    #define FASTCONV_STEP \\
        if (lines) { \\
            __builtin_prefetch(line, 0, 2); \\
            line += line_step; \\
        } \\
        x0 = FASTCONV_AT(b); \\
        x1 = FASTCONV_AT(b + lanes); \\
        if (wide) x2 = FASTCONV_AT(b + 2 * lanes); \\
        __asm__("" : "+x"(x0), "+x"(x1)); \\
        if (wide) __asm__("" : "+x"(x2)); \\
        FASTCONV_ROWS(FASTCONV_ADD) \\
        __asm__ volatile("" : : "x"(x0), "x"(x1), "x"(x2)); \\
        a += 4; \\
        b += pitch;
    #define FASTCONV_TALL(name, number) \\
        static inline __attribute__((__always_inline__)) void name( \\
                const number *panel, Py_ssize_t tap_size, const Py_ssize_t *taps, \\
                const number *const *rows, Py_ssize_t n_rows, Py_ssize_t lane_taps, \\
                Py_ssize_t lane_shift, Py_ssize_t at, Py_ssize_t depth, Py_ssize_t pitch, \\
                number *out, Py_ssize_t out_pitch, int accumulate, Py_ssize_t tiles, \\
                Py_ssize_t tile_step, Py_ssize_t ahead, int wide, const char *const *lines, \\
                Py_ssize_t line_step) { \\
            typedef number vector __attribute__((vector_size(32))); \\
            typedef vector vectors __attribute__((aligned(sizeof(number)), may_alias)); \\
            enum { lanes = 32 / sizeof(number) }; \\
            vector w, x0, x1, x2 = {0}; \\
            FASTCONV_ROWS(FASTCONV_SUMS) \\
            for (; tiles > 0; tiles--, at += tile_step, out += (2 + wide) * lanes) { \\
                if (accumulate) { \\
                    FASTCONV_ROWS(FASTCONV_READ) \\
                } else { \\
                    FASTCONV_ROWS(FASTCONV_ZERO) \\
                } \\
                for (Py_ssize_t r = 0; r < n_rows; r++) { \\
                    const char *line = lines ? lines[r] : 0; \\
                    for (Py_ssize_t t = 0; t < lane_taps; t++) { \\
                        const number *a = panel + (taps[r] * lane_taps + t) * tap_size; \\
                        const number *b = rows[r] + at - t * lane_shift; \\
                        Py_ssize_t left = depth; \\
                        for (; left >= 2; left -= 2) { \\
                            __builtin_prefetch(a + ahead); \\
                            FASTCONV_STEP FASTCONV_STEP \\
                        } \\
                        if (left) { \\
                            FASTCONV_STEP \\
                        } \\
                    } \\
                } \\
                FASTCONV_ROWS(FASTCONV_WRITE) \\
            } \\
        }
    FASTCONV_TALL(fastconv_tall_floats, float)
    FASTCONV_TALL(fastconv_tall_doubles, double)
    #else
    #define FASTCONV_TALL_TILES 0
    #define fastconv_tall_floats(...)
    #define fastconv_tall_doubles(...)
    #endif
    """
    # Whether there are the functions below, which do nothing where there are not.
    const bint TALL_TILES "FASTCONV_TALL_TILES"
    # Tiles of real numbers, of three vectors if `wide`, see `tile_fn`; weights are fetched so many
    # numbers ahead. Unless `lines` is NULL, they ask for a line from lines[r] on with each number
    # of rows[r], see `Beside`. Calls are inlined: `wide`, and whether `lines` is NULL, have to be
    # constants there.
    void tall_floats "fastconv_tall_floats"(
        const float* panel, Py_ssize_t tap_size, const Py_ssize_t* taps, const float** rows,
        Py_ssize_t n_rows, Py_ssize_t lane_taps, Py_ssize_t lane_shift, Py_ssize_t at,
        Py_ssize_t depth, Py_ssize_t pitch, float* out, Py_ssize_t out_pitch, bint accumulate,
        Py_ssize_t tiles, Py_ssize_t tile_step, Py_ssize_t ahead, bint wide,
        const char* const* lines, Py_ssize_t line_step) noexcept nogil
    void tall_doubles "fastconv_tall_doubles"(
        const double* panel, Py_ssize_t tap_size, const Py_ssize_t* taps, const double** rows,
        Py_ssize_t n_rows, Py_ssize_t lane_taps, Py_ssize_t lane_shift, Py_ssize_t at,
        Py_ssize_t depth, Py_ssize_t pitch, double* out, Py_ssize_t out_pitch, bint accumulate,
        Py_ssize_t tiles, Py_ssize_t tile_step, Py_ssize_t ahead, bint wide,
        const char* const* lines, Py_ssize_t line_step) noexcept nogil
