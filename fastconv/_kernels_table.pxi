# The table of all kernels of an instruction set. Part of _kernels.pyx.

cdef KernelTable kernels


cdef void fill_real(Py_ssize_t compute, real_t* tag) noexcept:
    """What there is for every compute type."""
    kernels.lanes[compute] = 4 * VECTOR_FLOATS // <Py_ssize_t> sizeof(real_t)
    kernels.add[compute] = <add_fn> add[real_t]
    kernels.shuffle[compute] = <shuffle_fn> shuffle[real_t]
    kernels.peak[compute] = <peak_fn> peak[real_t]
    kernels.tile[compute][0][0] = <tile_fn> tile[real_t, Tile1x1]
    kernels.tile[compute][0][1] = <tile_fn> tile[real_t, Tile1x2]
    kernels.tile[compute][0][2] = <tile_fn> tile[real_t, Tile1x3]
    kernels.tile[compute][1][0] = <tile_fn> tile[real_t, Tile2x1]
    kernels.tile[compute][1][1] = <tile_fn> tile[real_t, Tile2x2]
    kernels.tile[compute][1][2] = <tile_fn> tile[real_t, Tile2x3]
    kernels.tile[compute][2][0] = <tile_fn> tile[real_t, Tile4x1]
    kernels.tile[compute][2][1] = <tile_fn> tile[real_t, Tile4x2]
    kernels.tile[compute][2][2] = <tile_fn> tile[real_t, Tile4x3]
    kernels.tile[compute][3][0] = <tile_fn> tile[real_t, Tile8x1]
    kernels.tile[compute][3][1] = <tile_fn> tile[real_t, Tile8x2]
    kernels.tile[compute][3][2] = <tile_fn> tile[real_t, Tile8x3]
    kernels.tile[compute][0][3] = <tile_fn> tile[real_t, Tile1x4]
    kernels.tile[compute][0][4] = <tile_fn> tile[real_t, Tile1x5]
    kernels.tile[compute][0][5] = <tile_fn> tile[real_t, Tile1x6]
    kernels.tile[compute][1][3] = <tile_fn> tile[real_t, Tile2x4]
    kernels.tile[compute][1][4] = <tile_fn> tile[real_t, Tile2x5]
    kernels.tile[compute][1][5] = <tile_fn> tile[real_t, Tile2x6]


cdef void fill_last(
        Py_ssize_t compute, Py_ssize_t weave, float_t* tag, woven_t* woven_tag) noexcept:
    """One way to weave the lane phases of channels that are neighbours."""
    if not (woven_t is Shared or woven_t is SharedBack):
        kernels.stencil_last[compute][weave][0][0] = <stencil_last_fn> (
            stencil_last[float_t, woven_t, Last1x2])
        kernels.stencil_last[compute][weave][0][1] = <stencil_last_fn> (
            stencil_last[float_t, woven_t, Last1x3])
        kernels.stencil_last[compute][weave][0][2] = <stencil_last_fn> (
            stencil_last[float_t, woven_t, Last1x4])
    if not (woven_t is Ways4 or woven_t is More2 or woven_t is More4):
        kernels.stencil_last[compute][weave][1][0] = <stencil_last_fn> (
            stencil_last[float_t, woven_t, Last2x2])
        kernels.stencil_last[compute][weave][1][1] = <stencil_last_fn> (
            stencil_last[float_t, woven_t, Last2x3])
        kernels.stencil_last[compute][weave][1][2] = <stencil_last_fn> (
            stencil_last[float_t, woven_t, Last2x4])


cdef void fill_stencil(
        Py_ssize_t compute, Py_ssize_t weave, float_t* tag, weave_t* weave_tag) noexcept:
    """One way to weave the lane phases of rows; each of them is a row of a panel at least."""
    if weave_t is Ways1:
        kernels.stencil[compute][0][weave][0] = <stencil_fn> stencil[float_t, weave_t, Narrow1]
        kernels.stencil[compute][0][weave][1] = <stencil_fn> stencil[float_t, weave_t, Middle1]
        kernels.stencil[compute][0][weave][2] = <stencil_fn> stencil[float_t, weave_t, Wide1]
    if not (weave_t is Ways4 or weave_t is More4):
        kernels.stencil[compute][1][weave][0] = <stencil_fn> stencil[float_t, weave_t, Narrow2]
        kernels.stencil[compute][1][weave][1] = <stencil_fn> stencil[float_t, weave_t, Middle2]
        kernels.stencil[compute][1][weave][2] = <stencil_fn> stencil[float_t, weave_t, Wide2]
    kernels.stencil[compute][2][weave][0] = <stencil_fn> stencil[float_t, weave_t, Narrow4]
    kernels.stencil[compute][2][weave][1] = <stencil_fn> stencil[float_t, weave_t, Middle4]
    kernels.stencil[compute][2][weave][2] = <stencil_fn> stencil[float_t, weave_t, Wide4]
    if TALLEST == 8:
        kernels.stencil[compute][3][weave][0] = <stencil_fn> stencil[float_t, weave_t, Narrow8]
        kernels.stencil[compute][3][weave][1] = <stencil_fn> stencil[float_t, weave_t, Wide8]
        kernels.stencil[compute][3][weave][2] = <stencil_fn> stencil[float_t, weave_t, Wide8]


cdef void fill_shared(
        Py_ssize_t compute, Py_ssize_t weave, float_t* tag, shared_t* shared_tag) noexcept:
    """One of the two orders of the places."""
    kernels.stencil[compute][2][weave][0] = <stencil_fn> stencil_shared[float_t, shared_t, Narrow4]
    kernels.stencil[compute][2][weave][1] = <stencil_fn> stencil_shared[float_t, shared_t, Middle4]
    kernels.stencil[compute][2][weave][2] = <stencil_fn> stencil_shared[float_t, shared_t, Wide4]
    if TALLEST == 8:
        kernels.stencil[compute][3][weave][0] = <stencil_fn> (
            stencil_shared[float_t, shared_t, Narrow8])
        kernels.stencil[compute][3][weave][1] = <stencil_fn> (
            stencil_shared[float_t, shared_t, Wide8])
        kernels.stencil[compute][3][weave][2] = <stencil_fn> (
            stencil_shared[float_t, shared_t, Wide8])


cdef void fill_float(Py_ssize_t compute, float_t* tag) noexcept:
    """What there is for float32 and float64 only."""
    kernels.split_weights[compute] = <split_fn> split_weights[float_t]
    kernels.join_products[compute] = <join_fn> join_products[float_t]
    kernels.deal[compute] = <deal_fn> deal[float_t]
    kernels.weave[compute] = <weave_fn> weave[float_t]
    kernels.transform_input[compute] = <transform_input_fn> transform_input[float_t]
    kernels.transform_filter[compute] = <transform_filter_fn> transform_filter[float_t]
    kernels.transform_output[compute] = <transform_output_fn> transform_output[float_t]
    if TALL_TILES and VECTOR_FLOATS == 8:
        kernels.tile[compute][2][2] = <tile_fn> tall_tile[float_t, Tile4x3]
        kernels.tile[compute][2][1] = <tile_fn> tall_tile[float_t, Tile4x2]
    kernels.depthwise[compute] = <depthwise_fn> depthwise[float_t]
    kernels.pixels[compute] = <pixels_fn> pixels[float_t]
    fill_last[float_t, Ways2](compute, WAYS2, NULL, NULL)
    fill_last[float_t, Ways4](compute, WAYS4, NULL, NULL)
    fill_last[float_t, Parted](compute, PARTED, NULL, NULL)
    fill_last[float_t, More2](compute, MORE2, NULL, NULL)
    fill_last[float_t, More4](compute, MORE4, NULL, NULL)
    fill_last[float_t, Shared](compute, SHARED, NULL, NULL)
    fill_last[float_t, SharedBack](compute, SHARED_BACK, NULL, NULL)
    fill_stencil[float_t, Ways1](compute, WAYS1, NULL, NULL)
    fill_stencil[float_t, Ways2](compute, WAYS2, NULL, NULL)
    fill_stencil[float_t, Ways4](compute, WAYS4, NULL, NULL)
    fill_stencil[float_t, Parted](compute, PARTED, NULL, NULL)
    fill_stencil[float_t, More2](compute, MORE2, NULL, NULL)
    fill_stencil[float_t, More4](compute, MORE4, NULL, NULL)
    fill_shared[float_t, Shared](compute, SHARED, NULL, NULL)
    fill_shared[float_t, SharedBack](compute, SHARED_BACK, NULL, NULL)


cdef void fill_table() noexcept:
    kernels.rows = TALLEST
    kernels.stencil_vectors[0] = wide_vectors(1)
    kernels.stencil_vectors[1] = wide_vectors(2)
    kernels.stencil_vectors[2] = wide_vectors(4)
    kernels.stencil_vectors[3] = wide_vectors(8)
    kernels.load[0] = <load_fn> load[float, float]
    kernels.pack[0] = <pack_fn> pack[float, float]
    kernels.store[0] = <store_fn> store[float, float]
    kernels.load[1] = <load_fn> load[double, double]
    kernels.pack[1] = <pack_fn> pack[double, double]
    kernels.store[1] = <store_fn> store[double, double]
    kernels.load[2] = <load_fn> load[half_t, float]
    kernels.pack[2] = <pack_fn> pack[half_t, float]
    kernels.store[2] = <store_fn> store[float, half_t]
    kernels.load[3] = <load_fn> load[int8_t, uint64_t]
    kernels.pack[3] = <pack_fn> pack[int8_t, uint64_t]
    kernels.store[3] = <store_fn> store[uint64_t, int8_t]
    kernels.load[4] = <load_fn> load[uint8_t, uint64_t]
    kernels.pack[4] = <pack_fn> pack[uint8_t, uint64_t]
    kernels.store[4] = <store_fn> store[uint64_t, uint8_t]
    kernels.load[5] = <load_fn> load[int16_t, uint64_t]
    kernels.pack[5] = <pack_fn> pack[int16_t, uint64_t]
    kernels.store[5] = <store_fn> store[uint64_t, int16_t]
    kernels.load[6] = <load_fn> load[uint16_t, uint64_t]
    kernels.pack[6] = <pack_fn> pack[uint16_t, uint64_t]
    kernels.store[6] = <store_fn> store[uint64_t, uint16_t]
    kernels.load[7] = <load_fn> load[int32_t, uint64_t]
    kernels.pack[7] = <pack_fn> pack[int32_t, uint64_t]
    kernels.store[7] = <store_fn> store[uint64_t, int32_t]
    kernels.load[8] = <load_fn> load[uint32_t, uint64_t]
    kernels.pack[8] = <pack_fn> pack[uint32_t, uint64_t]
    kernels.store[8] = <store_fn> store[uint64_t, uint32_t]
    kernels.load[9] = <load_fn> load[uint64_t, uint64_t]
    kernels.pack[9] = <pack_fn> pack[uint64_t, uint64_t]
    kernels.store[9] = <store_fn> store[uint64_t, uint64_t]
    kernels.load[10] = <load_fn> load[bool_t, uint64_t]
    kernels.pack[10] = <pack_fn> pack[bool_t, uint64_t]
    kernels.store[10] = <store_fn> store[uint64_t, bool_t]
    fill_real[float](0, NULL)
    fill_real[double](1, NULL)
    fill_real[uint64_t](2, NULL)
    fill_float[float](0, NULL)
    fill_float[double](1, NULL)


fill_table()
