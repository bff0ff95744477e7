# Phases that share panels though some of them have a tap more. Part of _execute.pyx.
#
# Of the lane axis and of at most one other, phases may be longer: their last tap is one that the
# others lack. Rows are (lane phase, outer phase, output channel, component), longer phases first.
# A set has up to four parts, one after the other in the packed weights and in every sum:
#
#   common      the taps that all phases have, for all rows
#   lane        the last tap of the lane axis with the common outer ones: for its longer phases
#   outer       the last outer tap with the common ones of the lane axis: for the longer outer
#               phases of each lane phase, which are rows next to each other
#   both        the last tap of both, for the longer outer phases of each longer lane phase

cdef struct Joint:
    Py_ssize_t phases, longer, taps              # of the outer axis; taps that all phases have
    Py_ssize_t lane_phases, lane_longer, lane_taps
    bint uneven, lane_uneven


cdef inline Joint joint_of(const Geometry* g) noexcept nogil:
    cdef Joint j
    cdef const Axis* a = &g.outer[g.joint]
    j.uneven, j.lane_uneven = uneven(a), uneven(&g.lane)
    j.phases, j.longer, j.taps = a.n_phases, longer_phases(a), a.max_taps - j.uneven
    j.lane_phases, j.lane_longer = g.lane.n_phases, longer_phases(&g.lane)
    j.lane_taps = g.lane.max_taps - j.lane_uneven
    return j


cdef void place_joined(
        const Geometry* g, Py_ssize_t outer_tap, Py_ssize_t t, Py_ssize_t n_co,
        TapPlace* place) noexcept nogil:
    """What `place_tap` does, of joined phases: only outer axis `joint` has more than one tap."""
    cdef Joint j = joint_of(g)
    cdef Py_ssize_t period = g.outer[g.joint].period
    cdef Py_ssize_t phase = outer_tap % period, tap = outer_tap // period
    cdef Py_ssize_t lane_phase = t % g.lane.period, lane_tap = t // g.lane.period
    cdef Py_ssize_t own = n_co * g.components
    cdef bint last = tap == j.taps, lane_last = lane_tap == j.lane_taps
    place.src = t * g.w_lane + outer_tap * g.w_outer[g.joint]
    place.base = 0
    place.row = lane_phase * j.phases + phase
    place.rows = j.phases * (j.lane_longer if lane_last else j.lane_phases)
    place.taps = (1 if last else j.taps) * (1 if lane_last else j.lane_taps)
    place.tap = (0 if last else tap) * (1 if lane_last else j.lane_taps)
    place.tap += 0 if lane_last else lane_tap
    if lane_last or last:
        place.base += j.lane_phases * j.phases * j.taps * j.lane_taps
    if last:
        place.base += j.lane_longer * j.phases * j.taps if j.lane_uneven else 0
        place.base += j.lane_phases * j.longer * j.lane_taps if lane_last else 0
        place.base += lane_phase * j.longer * place.taps
        place.row, place.rows = phase, j.longer
    place.base *= own * g.c_in
    place.row *= own
    place.rows *= own


cdef void run_joined(
        const Call* c, const Place* p, Py_ssize_t panel, Py_ssize_t vectors, Py_ssize_t lane,
        Py_ssize_t group, Py_ssize_t ci, Py_ssize_t channels, char* acc,
        Py_ssize_t tiles) noexcept nogil:
    """All parts of a set against some tiles of lanes."""
    cdef const Geometry* g = c.g
    cdef Joint j = joint_of(g)
    cdef Py_ssize_t own = p.channels * g.components, i
    cdef Py_ssize_t row_bytes = own * g.acc_pitch * g.size, lanes
    cdef Py_ssize_t no_tap = 0
    cdef Taps common, last
    common.taps, common.rows, common.n_rows = c.taps, c.tap_rows, p.n_rows
    common.panel_taps = j.taps
    # Taps are in their order: the last one is the last, if it is inside of the input.
    last.n_rows = 0
    if j.uneven and p.n_rows > 0 and c.taps[p.n_rows - 1] == j.taps:
        common.n_rows -= 1
        last.n_rows = 1
        last.rows = c.tap_rows + common.n_rows
    last.taps = &no_tap
    last.panel_taps = 1
    panel = run_panels(
        c, &common, panel, j.lane_phases * j.phases * own, vectors, j.lane_taps, lane, group, ci,
        channels, acc, ci > 0, tiles)
    if j.lane_uneven:
        panel = run_panels(
            c, &common, panel, j.lane_longer * j.phases * own, vectors, 1,
            lane - j.lane_taps * g.lane.shift, group, ci, channels, acc, True, tiles)
    if last.n_rows == 0:
        return
    for i in range(j.lane_phases):
        panel = run_panels(
            c, &last, panel, j.longer * own, vectors, j.lane_taps, lane, group, ci, channels,
            acc + i * j.phases * row_bytes, True, tiles)
    for i in range(j.lane_longer if j.lane_uneven else 0):
        panel = run_panels(
            c, &last, panel, j.longer * own, vectors, 1, lane - j.lane_taps * g.lane.shift, group,
            ci, channels, acc + i * j.phases * row_bytes, True, tiles)
