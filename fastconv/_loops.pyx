"""Each kernel alone, on operands in the first-level cache: what its rate is measured by."""

from libc.stdlib cimport calloc, free

from fastconv._memory cimport kernel_table
from fastconv._types cimport (
    LINE, SHARED, TALL_VECTORS, WAYS2, Beside, KernelTable, Product, Stencil, log2_height,
)


def multiply_add_loop(kernels, int compute, Py_ssize_t rounds):
    """Run the register-resident multiply-add loop without the GIL; the operations it did."""
    cdef const KernelTable* k = kernel_table(kernels)
    cdef float singles[2]
    cdef double doubles[2]
    cdef unsigned long long integers[2]
    cdef void* tag = <void*> integers
    cdef double operations
    if compute == 0:
        singles[0], singles[1] = 0.999, 0.001
        tag = <void*> singles
    elif compute == 1:
        doubles[0], doubles[1] = 0.999, 0.001
        tag = <void*> doubles
    else:
        integers[0], integers[1] = 3, 1
    with nogil:
        operations = k.peak[compute](rounds, tag)
    return operations


cdef char* operands(Py_ssize_t numbers, int compute) except NULL:
    """So many zeros of a compute type."""
    cdef char* memory = <char*> calloc(numbers, 4 if compute == 0 else 8)
    if memory == NULL:
        raise MemoryError("no memory for the operands of a kernel")
    return memory


def tile_loop(
    kernels, int compute, Py_ssize_t height, Py_ssize_t vectors, Py_ssize_t rounds,
    Py_ssize_t depth=128,
):
    """Run a tile on operands in the first-level cache; the operations it did."""
    cdef const KernelTable* k = kernel_table(kernels)
    cdef Py_ssize_t size = 4 if compute == 0 else 8
    cdef Py_ssize_t lanes = vectors * k.lanes[compute]
    cdef Py_ssize_t tap = 0, i
    cdef char* memory = operands(depth * height + depth * lanes + height * lanes, compute)
    cdef const void* row = memory + depth * height * size
    with nogil:
        for i in range(rounds):
            k.tile[compute][log2_height(height)][vectors - 1](
                memory, 0, &tap, &row, 1, 1, 0, 0, depth, lanes, 1,
                memory + (depth * height + depth * lanes) * size, lanes, i > 0, 1, 0, NULL,
            )
    free(memory)
    return 2.0 * rounds * depth * height * lanes


def beside_loop(kernels, int compute, Py_ssize_t rounds):
    """Run the largest tile while it copies its lanes, twice, and while it only asks for lines."""
    cdef const KernelTable* k = kernel_table(kernels)
    cdef Py_ssize_t size = 4 if compute == 0 else 8
    cdef Py_ssize_t height = k.rows, lanes = TALL_VECTORS * k.lanes[compute], depth = 64, i
    cdef Py_ssize_t taps[2]
    cdef const void* rows[2]
    cdef char* memory = operands(2 * depth * (height + 2 * lanes) + height * lanes, compute)
    cdef char* x = memory + 2 * depth * height * size
    cdef char* copy = x + 2 * depth * lanes * size
    cdef Beside beside
    beside.step = LINE
    for i in range(2):
        taps[i] = i
        rows[i] = beside.ahead[i] = x + i * depth * lanes * size
    with nogil:
        for i in range(rounds):
            beside.copy = NULL if i % 3 == 2 else copy
            k.tile[compute][log2_height(height)][TALL_VECTORS - 1](
                memory, depth * height, taps, rows, 2, 1, 0, 0, depth, lanes, 1,
                copy + 2 * depth * lanes * size, lanes, i > 0, 1, 0, &beside,
            )
    free(memory)
    return 4.0 * rounds * depth * height * lanes


def pixels_loop(kernels, int compute, Py_ssize_t rounds, Py_ssize_t depth=64):
    """Run the kernel of lanes along channels: as many pixels as a tile has rows, three vectors."""
    cdef const KernelTable* k = kernel_table(kernels)
    cdef Py_ssize_t size = 4 if compute == 0 else 8
    cdef Py_ssize_t n = 3 * k.lanes[compute], count = k.rows, _round
    cdef char* memory = operands(depth * n + count * depth + n + count * n, compute)
    cdef const void* weights = memory
    cdef const void* row = memory + depth * n * size
    cdef char* bias = memory + (depth * n + count * depth) * size
    with nogil:
        for _round in range(rounds):
            k.pixels[compute](
                &weights, &row, 1, depth, bias, n, count, depth * size, bias + n * size, n * size,
                False)
    free(memory)
    return 2.0 * rounds * depth * count * n


cdef void run_stencils(
        const KernelTable* k, int compute, int weave, const void* panel, const Product* products,
        const void* x, char* y, Py_ssize_t rows, Py_ssize_t lanes, Py_ssize_t rounds,
        Stencil* s) noexcept:
    """Run a wide kernel of short sums on one panel, for so many rows of the result from y on."""
    cdef Py_ssize_t i, _round
    cdef char* results[8]
    for i in range(rows):
        results[i] = y + 2 * i * lanes * (4 if compute == 0 else 8)
    s.channel_mask = s.first = s.skip = s.ahead = 0
    s.panel_step = s.x_step = s.bias_step = s.result_step = 0
    s.stop, s.end, s.panels, s.streamed = lanes, 2 * lanes, 1, False
    with nogil:
        for _round in range(rounds):
            k.stencil[compute][log2_height(k.rows)][weave][2](panel, products, x, panel, results, s)


def stencil_loop(kernels, int compute, Py_ssize_t rounds):
    """Run the kernel of short sums: two lane phases, the most rows, and the wide tile twice."""
    cdef const KernelTable* k = kernel_table(kernels)
    cdef Py_ssize_t size = 4 if compute == 0 else 8
    cdef Py_ssize_t height = k.rows, depth = 64, i
    cdef Py_ssize_t lanes = 2 * k.stencil_vectors[log2_height(height)] * k.lanes[compute]
    cdef char* memory = operands(depth * height + depth * lanes + height * lanes, compute)
    cdef char* x = memory + depth * height * size
    cdef Product products[64]
    cdef Stencil s
    for i in range(depth):
        products[i].weights = i * height
        products[i].x = i * lanes
    s.products[0], s.products[1] = depth, 0
    run_stencils(
        k, compute, WAYS2, memory, products, x, x + depth * lanes * size, height // 2, lanes,
        rounds, &s)
    free(memory)
    return 2.0 * rounds * depth * height * lanes


def shared_loop(kernels, int compute, Py_ssize_t rounds):
    """Run the kernel of short sums that share x: a kernel of 5 x 5, the most rows, wide twice."""
    cdef const KernelTable* k = kernel_table(kernels)
    cdef Py_ssize_t size = 4 if compute == 0 else 8
    cdef Py_ssize_t own = k.rows // 4, depth = 16, rows = 3, taps = 3, i
    cdef Py_ssize_t n = rows * taps * depth, both = (taps - 1) * depth, part = n * own
    cdef Py_ssize_t lanes = 2 * k.stencil_vectors[log2_height(k.rows)] * k.lanes[compute]
    cdef char* memory = operands(4 * part + n * lanes + k.rows * lanes, compute)
    cdef char* x = memory + 4 * part * size
    cdef Product products[144]
    cdef Stencil s
    for i in range(n):
        products[i].x = i * lanes
    for i in range(3):
        s.parts[i] = (i + 1) * part
    s.rows, s.products[0], s.products[1] = rows - 1, both, depth
    run_stencils(
        k, compute, SHARED, memory, products, x, x + n * lanes * size, 2 * own, lanes, rounds, &s)
    free(memory)
    # Positions of x with both places feed four sums in all rows but the last, where they feed two.
    return 2.0 * rounds * lanes * own * (2 * rows - 1) * (2 * both + depth)
