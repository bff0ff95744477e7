# What Cython's parallel blocks do not have: a prange inside of one is not promised to wait at its
# end ("nowait"), and a condition behind it may not be the same in all threads then.

cdef extern from *:
    """
    static void fastconv_team_barrier(void) {
    #ifdef _OPENMP
        #pragma omp barrier
    #endif
    }
    """
    # Wait for all threads of the team, and see what they have written.
    void team_barrier "fastconv_team_barrier"() noexcept nogil
