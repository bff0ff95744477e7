# What Cython's parallel blocks do not have. A prange inside of one is not promised to wait at its
# end ("nowait"), and a condition behind it may not be the same in all threads then. And no schedule
# leaves a thread the tasks whose data it has itself written, and has it help others at the end.

cdef extern from *:
    """
    static void fastconv_team_barrier(void) {
    #ifdef _OPENMP
        #pragma omp barrier
    #endif
    }

    #if defined(_MSC_VER)
    #include <intrin.h>
    #define fastconv_take_one(next) ((Py_ssize_t)_InterlockedExchangeAdd64((__int64 *)(next), 1))
    #define fastconv_look_at(next) (*(const volatile Py_ssize_t *)(next))
    #else
    #define fastconv_take_one(next) __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)
    #define fastconv_look_at(next) __atomic_load_n(next, __ATOMIC_RELAXED)
    #endif
    """
    # Wait for all threads of the team, and see what they have written.
    void team_barrier "fastconv_team_barrier"() noexcept nogil
    # A number that other threads count on, too: what it was before this one did, or is.
    Py_ssize_t take_one "fastconv_take_one"(Py_ssize_t* next) noexcept nogil
    Py_ssize_t look_at "fastconv_look_at"(const Py_ssize_t* next) noexcept nogil


# The first of some tasks that nobody has taken, and where they end: a line of memory.
cdef struct Share:
    Py_ssize_t next, stop
    Py_ssize_t unused[6]


cdef inline void deal_tasks(Share* shares, Py_ssize_t owners, Py_ssize_t tasks) noexcept nogil:
    """Deal out tasks evenly to so many owners; one thread does, between two barriers."""
    cdef Py_ssize_t owner
    for owner in range(owners):
        shares[owner].next = owner * tasks // owners
        shares[owner].stop = (owner + 1) * tasks // owners


cdef inline Py_ssize_t take_task(
        Share* shares, Py_ssize_t owners, Py_ssize_t worker) noexcept nogil:
    """A task that nobody has taken, the worker's own first; -1 if none is left."""
    cdef Py_ssize_t i, task
    cdef Share* share
    for i in range(owners):
        share = &shares[(worker + i) % owners]
        if look_at(&share.next) < share.stop:
            task = take_one(&share.next)
            if task < share.stop:
                return task
    return -1
