from fastconv._types cimport MAX_AXES, Axis


cdef struct Geometry:
    Axis lane                        # the axis that runs along the vectors
    Axis outer[MAX_AXES]             # all others, the one that rows of a task follow last
    Py_ssize_t n_outer
    Py_ssize_t inner                 # the outer axis whose taps follow each other in a sum
    Py_ssize_t images, groups
    Py_ssize_t c_in, c_out           # of one group
    Py_ssize_t components            # real numbers of an element: 2 for complex
    Py_ssize_t taps                  # of the whole kernel
    int compute
    Py_ssize_t size                  # bytes of a number in the compute type
    Py_ssize_t element               # bytes of an element of x and of the result
    Py_ssize_t x_image, x_channel, y_image, y_channel  # steps in bytes
    Py_ssize_t w_in, w_out           # steps in bytes of the weights' channels
    Py_ssize_t w_outer[MAX_AXES]
    Py_ssize_t w_lane
    bint complete                    # the tiles reach every element of the result
    bint interleaved                 # phases of the lane axis are neighbours in the result
    bint by_channel                  # channels are the neighbours in the result: store by them
    bint woven                       # ... all of them, and all phases of the lane axis: whole runs
    double y_bytes                   # of the result
    bint streamed                    # it is stored past the caches
    bint fetched                     # its lines are fetched before they are stored to
    bint stencil                     # sums so short that they are stored from where they are made,
    int weave                        # ... how its lane phases are woven,
    bint shared                      # ... rows of two phases share what they read of x,
    bint stencil_last                # ... channels are neighbours, and woven as well,
    Py_ssize_t stencil_rows          # ... rows of a panel that one output channel has,
    Py_ssize_t products              # ... how long the list of products of all its phases is,
    bint pixelwise                   # lanes run along the channels of a pixel, see the driver,
    bint gaps                        # ... and some pixels of a row have no phase
    bint joined                      # all phases share panels, but for the taps that some lack
    Py_ssize_t joint                 # then: the outer axis that has taps, or any
    Py_ssize_t n_sets                # sets of outer phases that share their taps
    Py_ssize_t* set_taps             # [n_sets + 1] kernel taps of the sets before
    # how x is held
    bint by_batch                    # lanes run along the batch: x is laid out anew, once
    Py_ssize_t pixel_step            # by_batch: numbers from one pixel of a row to the next
    Py_ssize_t pixel_row_step        # ... and from one row of pixels to the next
    bint gathered                    # by_batch: rows of the result are stored whole,
    bint strung                      # ... and lanes run on from pixel to pixel of a row
    bint flat                        # lanes run on from row to row of a task
    Py_ssize_t row_pitch             # flat: lanes from one row to the next
    # blocks
    Py_ssize_t vector, height        # lanes of a vector, rows of the tallest tile
    Py_ssize_t set_rows              # rows of the largest class of the lane axis, of all channels
    Py_ssize_t widest                # vectors of the widest tile
    Py_ssize_t row_block, n_row_blocks
    Py_ssize_t lane_block, n_lane_blocks
    Py_ssize_t group_block, n_group_blocks       # groups of a task
    Py_ssize_t group_rows            # rows of accumulators of each
    Py_ssize_t channel_block, n_channel_blocks   # output channels of a group
    Py_ssize_t channel_tasks         # tasks that share the blocks of channels of one place
    Py_ssize_t depth_block           # input channels that are read at a time
    Py_ssize_t row_slots             # rows of x that a task holds, per tap of the other axes
    Py_ssize_t pitch                 # numbers from one channel to the next in a held row
    Py_ssize_t slot_step             # ... and from a held row to the next
    Py_ssize_t strip                 # lanes that are accumulated before they are stored
    bint by_panel                    # all tiles of a strip for one panel, then for the next one
    bint tiled                       # x is held tile by tile: [tile][channel][lane of the tile]
    Py_ssize_t acc_pitch             # numbers from one row of accumulators to the next
    Py_ssize_t tasks
    Py_ssize_t workers
    # scratch of one worker, in bytes, each part on a line of its own
    Py_ssize_t rows_bytes, acc_bytes, list_bytes
    Py_ssize_t list_taps, list_sources   # entries of the lists
    Py_ssize_t worker_bytes          # all of them
    Py_ssize_t packed                # numbers of the packed weights
    Py_ssize_t relaid                # numbers of x laid out anew
    # scratch that workers share, in bytes: a bias of zeros, packed weights, x laid out anew
    Py_ssize_t zeros_bytes, packed_bytes, relaid_bytes
    Py_ssize_t shared_bytes          # all of it


cdef inline bint multiplies_zeros(const Geometry* g) noexcept nogil:
    """Whether zeros of a halo are multiplied, which must not meet an infinite weight."""
    return not g.pixelwise and (
        g.lane.span > 0 or (g.flat and g.outer[g.n_outer - 1].span > 0))


cdef class Plan:
    cdef Geometry g
    cdef Py_ssize_t rank, lane       # spatial axes; the one of the lanes, or `rank`: the batch
    cdef readonly double macs


cdef void make_axis(
    Axis* a, Py_ssize_t n_in, Py_ssize_t n_out, Py_ssize_t kernel, Py_ssize_t stride,
    Py_ssize_t dilation, Py_ssize_t crop) noexcept
cdef int make_axes(tuple problem, Axis* axes) except -1
cdef bint covers(const Axis* a) noexcept
