"""Short sums that are stored from where they are computed, on both sides of every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from instruction_sets import using
from oracle import plan_strides

import fastconv
from fastconv import _direct, _isa
from fastconv._problem import make_problem

AVX512, AVX2, BASELINE = (16, 8), (8, 4), (4, 4)
MIB = 1 << 20


def plan_of(x, w, tile=AVX512, *, dtype="float32", workers=1, last=False, **geometry):
    """The plan of a problem; `last`: with channels that are neighbours."""
    dtype = np.dtype(dtype)
    options = {"stride": 2, "padding": 0, "dilation": 1, "groups": 1, **geometry}
    problem = make_problem(
        x, w, options["stride"], options["padding"], 0, None, options["dilation"],
        options["groups"], 1)
    strides = plan_strides(problem, x, w, dtype, last, last)
    kept = _isa.tiles
    _isa.tiles = (tile, tile, tile)
    try:
        return _direct.make_plan(problem, dtype, strides, workers)
    finally:
        _isa.tiles = kept


def stencil(*shapes, **options):
    """How the plan weaves such sums, or None."""
    return plan_of(*shapes, **options).stencil


def test_how_phases_are_woven():
    x = (1, 32, 20, 64)
    assert stencil(x, (32, 2, 4, 4), groups=16) == "even"
    assert stencil(x, (32, 2, 4, 4), groups=16, padding=1) == "parted"
    assert stencil(x, (32, 2, 3, 3), groups=16, padding=1) == "parted"
    assert stencil((1, 1, 20, 64), (1, 1, 8, 8), stride=4) == "even"
    # A tap more than the others have, of one axis: of the first phase only.
    assert stencil((1, 1, 5000), (1, 1, 81), stride=4) == "more"
    assert stencil((1, 1, 5000), (1, 1, 41), stride=2) == "more"
    assert stencil((1, 1, 5000), (1, 1, 82), stride=4) is None
    # With half as many registers phases of equally many taps are taken apart in groups of two.
    assert stencil(x, (32, 2, 4, 4), AVX2, groups=16, padding=1) == "parted"
    assert stencil(x, (32, 3, 4, 4), AVX2, groups=16, padding=1) == "even"
    assert stencil(x, (32, 3, 4, 4), groups=16, padding=1) == "parted"
    assert stencil(x, (32, 3, 3, 3), AVX2, groups=16, padding=1) == "parted"


def test_which_sums_are_stored_from_where_they_are_made():
    x = (1, 16, 20, 64)
    # 64 products at most, of one phase, two or four.
    assert stencil(x, (16, 4, 4, 4), padding=1)
    assert stencil((1, 17, 20, 64), (17, 4, 4, 4), padding=1) is None
    assert stencil((1, 7, 20, 64), (7, 4, 3, 3), stride=1, padding=1) == "even"
    assert stencil((1, 8, 20, 64), (8, 4, 3, 3), stride=1, padding=1) is None
    assert stencil(x, (16, 4, 3, 3), stride=3) is None
    assert stencil(x, (16, 4, 8, 8), stride=8) is None
    # Lanes that are left empty count as products: a row of 33 wastes a third of its lanes.
    assert stencil((1, 1, 20, 32), (1, 2, 4, 4)) == "even"
    assert stencil((1, 3, 20, 32), (3, 2, 4, 4)) is None
    # ... but not those that running on from row to row leaves empty too, or where rows are long.
    assert stencil((1, 2, 20, 32), (2, 2, 4, 4)) == "even"
    assert stencil((1, 16, 20, 129), (16, 2, 2, 2)) == "even"
    # Numbers of one part that are not converted, next to each other in the result.
    assert stencil(x, (16, 4, 4, 4), dtype="float64", padding=1)
    for dtype in ("float16", "int32", "complex64"):
        assert stencil(x, (16, 4, 4, 4), dtype=dtype, padding=1) is None
    # No output channel, and a window that is wider than what reaches it.
    assert stencil(x, (16, 0, 4, 4), padding=1) is None
    for lanes, woven in ((5, None), (64, "even")):
        assert stencil((1, 16, 20, lanes), (16, 1, 2, 2), padding=(0, -201)) == woven


def test_empty_lanes_cost_less_where_phases_are_uneven():
    """With many registers, and rows that are a power of two; the least with groups of few."""
    for x, w, groups, woven in (
        # 30 lanes of 32, 24 of 32, ...
        ((1, 64, 20, 28), (64, 3, 5, 5), 16, True),
        ((1, 64, 20, 22), (64, 3, 5, 5), 16, False),
        ((1, 64, 20, 22), (64, 4, 5, 5), 16, True),
        ((1, 64, 20, 22), (64, 8, 5, 5), 16, False),
        ((1, 64, 20, 18), (64, 4, 5, 5), 16, False),
        # ... and without groups.
        ((1, 8, 20, 26), (8, 4, 3, 3), 1, True),
        ((1, 8, 20, 26), (8, 3, 3, 3), 1, False),
        ((1, 16, 20, 18), (16, 4, 3, 3), 1, False),
    ):
        options = {"groups": groups, "padding": 1}
        assert (stencil(x, w, **options) == "parted") == woven
    # Even phases, and few registers.
    assert stencil((1, 64, 20, 18), (64, 4, 4, 4), groups=16, padding=1) is None
    assert stencil((1, 64, 20, 17), (64, 4, 5, 5), AVX2, groups=16, padding=1) is None


def test_channels_that_are_neighbours():
    """Two to four of them are woven as well, of one group or of as many."""
    for channels, woven in ((2, True), (3, True), (4, True), (5, False)):
        x = (1, channels, 20, 63)
        w = (channels, 1, 4, 4)
        assert (stencil(x, w, groups=channels, last=True) == "even") == woven
        assert (stencil(x, w, groups=channels, last=True, padding=1) == "parted") == woven
        assert (stencil(x, (channels, channels, 4, 4), last=True) == "even") == woven
    # Two groups of two channels are neither.
    assert stencil((1, 4, 20, 63), (4, 2, 4, 4), groups=2) == "even"
    assert stencil((1, 4, 20, 63), (4, 2, 4, 4), groups=2, last=True) is None
    # What one output channel is stored like has no channels to weave.
    assert stencil((1, 4, 20, 63), (4, 1, 4, 4), last=True) == "even"
    # 64 products, and of streamed results 8192 in all groups.
    assert stencil((1, 48, 20, 63), (48, 1, 4, 4), groups=3, last=True) == "even"
    assert stencil((1, 51, 20, 63), (51, 1, 4, 4), groups=3, last=True) is None
    assert stencil((1, 16, 20, 63), (16, 4, 4, 4), last=True) == "even"
    assert stencil((1, 17, 20, 63), (17, 4, 4, 4), last=True) is None
    for many, woven in ((8192, "even"), (8196, None)):
        x, w = (1, many, 8, 1664), (many, 1, 64, 2)
        assert stencil(x, w, groups=4, stride=(64, 2), last=True) == woven
    # Numbers that are converted, and rows with gaps between their pixels.
    for dtype in ("float16", "int32", "complex64"):
        assert stencil((1, 3, 20, 63), (3, 1, 4, 4), groups=3, last=True, dtype=dtype) is None
    # A streamed result may begin anywhere in a line; with few registers it is not streamed.
    large = ((1, 3, 600, 999), (3, 1, 4, 4))
    for tile in (AVX512, AVX2, BASELINE):
        assert stencil(*large, tile, groups=3, last=True) == "even"
    # Half as many registers: one group each, and twelve rows.
    assert stencil((1, 3, 20, 63), (3, 3, 4, 4), AVX2, last=True) is None
    assert stencil((1, 3, 20, 63), (3, 1, 8, 8), AVX2, groups=3, stride=4, last=True) == "even"
    assert stencil((1, 4, 20, 63), (4, 1, 8, 8), AVX2, groups=4, stride=4, last=True) is None


def test_streamed_sums_of_any_length():
    """A result of 20 MiB is streamed, straight from the accumulators where its rows are lines."""
    large = (1, 65, 80, 1024)
    assert stencil((1, 257, 79, 1024), (257, 16, 2, 2)) is None
    assert stencil((1, 257, 80, 1024), (257, 16, 2, 2)) == "even"
    # 8192 products at most.
    assert stencil((1, 8192, 64, 64), (8192, 320, 2, 2)) == "even"
    assert stencil((1, 8193, 64, 64), (8193, 320, 2, 2)) is None
    # Rows, channels and images of whole lines: 16 numbers.
    x = (1, 65, 80, 1028)
    assert stencil(x, (65, 16, 2, 2)) is None
    assert stencil(x, (65, 16, 2, 2), dtype="float64") == "even"
    assert stencil(large, (65, 16, 4, 4), padding=1) == "parted"
    # Rows whose first lane begins in the window, as after one stride.
    assert stencil((1, 65, 80, 1024), (65, 8, 8, 8), stride=4, padding=(2, (4, 0))) == "even"
    assert stencil((1, 65, 80, 1024), (65, 8, 8, 8), stride=4, padding=(2, (2, 2))) is None
    # They need registers: 32 products with half as many, and not with a quarter of a line each.
    assert stencil(large, (65, 16, 2, 2), AVX2) is None
    for products, tile, woven in ((32, AVX2, "even"), (33, AVX2, None), (1, BASELINE, None)):
        assert stencil((1, products, 80, 1024), (products, 16, 2, 2), tile) == woven


def test_short_sums_of_a_large_result_in_parts_of_lines():
    """Where rows are not whole lines, taps overlap and rows are few or registers many."""
    lines, parts = (1, 16, 500, 320), (1, 16, 500, 318)
    few, many = (16, 4, 4, 4), (16, 5, 4, 4)
    for tile in (AVX512, AVX2, BASELINE):
        assert stencil(parts, few, tile, groups=4, padding=1) is not None
        assert (stencil(parts, many, tile, groups=4, padding=1) is not None) == (tile == AVX512)
    for tile, woven in ((AVX512, "parted"), (AVX2, None), (BASELINE, None)):
        assert stencil(lines, few, tile, groups=4, padding=1) == woven
    # One tap of a phase: what follows row after row is streamed.
    assert stencil(parts, (16, 4, 2, 2), AVX512, groups=4) is None


def test_long_sums_of_a_large_result():
    """From 2 MiB on up to 256 products are stored from where they are made."""
    x, w = (1, 256, 32, 128), (256, 32, 2, 2)
    assert stencil(x, w) == "even"
    assert stencil((1, 257, 32, 128), (257, 32, 2, 2)) is None
    assert stencil((1, 256, 31, 128), w) is None
    assert stencil((1, 64, 31, 128), (64, 32, 2, 2)) == "even"
    # Panels are filled by eight output channels, and registers are many.
    assert stencil((1, 256, 128, 128), (256, 8, 2, 2)) == "even"
    assert stencil((1, 256, 160, 128), (256, 7, 2, 2)) is None
    assert stencil(x, w, AVX2) is None
    assert stencil(x, w, last=True) is None
    # Five products are what lanes may cost that would not be empty if rows ran on.
    for products, woven in ((74, "even"), (76, None)):
        assert stencil((1, products, 48, 60), (products, 64, 2, 2)) == woven


def test_scratch_is_small():
    """Lanes of a task go straight to the result, however many they are."""
    for x, w, dtype in (
        ((1, 1, 262_000), (1, 1, 81), "float32"), ((1, 1, 131_000), (1, 1, 81), "float64"),
        ((1, 1, 1, 250_000), (1, 1, 4, 4), "float32"),
    ):
        assert stencil(x, w, dtype=dtype, stride=4)
        told = fastconv._api.explain(x, w, dtype, stride=4, workers=1, method="direct")
        assert told["scratch_bytes"] <= 2 * MIB


def test_one_phase_of_short_sums():
    """Stride 1: where there is nothing to weave it takes vectors of half a line, or few rows."""
    x = (1, 4, 20, 64)
    for c_out in (1, 2, 3, 4, 8):
        for tile in (AVX512, AVX2, BASELINE):
            woven = stencil(x, (4, c_out, 3, 3), tile, stride=1, padding=1)
            assert woven == ("even" if tile != BASELINE or c_out <= 2 else None)
    # The phases of other axes are rows as well.
    assert stencil(x, (4, 2, 4, 3), stride=(2, 1), padding=(0, 1)) == "even"
    # A streamed result begins its rows with a line, or has one tap: others are not streamed.
    large = (1, 4, 200, 8192)
    assert stencil(large, (4, 4, 3, 3), stride=1, padding=1) == "even"
    assert stencil(large, (4, 4, 3, 3), stride=1) == "even"
    assert stencil((1, 4, 200, 8190), (4, 8, 1, 1), stride=1) is None
    # Channels that are neighbours are stored by their own kernel.
    assert stencil(x, (4, 1, 4, 4), groups=4, last=True) == "even"
    assert stencil(x, (4, 1, 4, 4), groups=4, last=True, stride=1) is None


def test_which_rows_share_what_they_read():
    def shared(x, w, *tile, **options):
        return plan_of(x, w, *tile, padding=1, **options).shared

    x = (1, 4, 20, 64)
    # Two uneven phases of either axis, of which one has more than no tap.
    assert shared(x, (4, 1, 3, 3)) and shared(x, (4, 1, 7, 3))
    for kernel in ((4, 3), (3, 4), (1, 3), (2, 3)):
        assert not shared(x, (4, 1, *kernel))
    for stride in ((1, 2), (4, 2), (3, 2), (2, 4)):
        assert not shared(x, (4, 1, 5, 5), stride=stride)
    assert shared(x, (4, 1, 3, 3), dilation=(3, 1))
    assert not shared(x, (4, 1, 3, 3), dilation=(2, 1))
    assert not shared((1, 4, 60), (4, 1, 3))
    assert not shared((1, 4, 3, 20, 64), (4, 1, 3, 3, 3))
    # Registers for four sums of each output channel of a group.
    for c_out, tile, wanted in ((2, AVX512, True), (3, AVX512, False), (1, AVX2, True),
                                (2, AVX2, False), (1, BASELINE, False)):
        assert shared(x, (4, c_out, 3, 3), tile) == wanted
    # Channels that are woven are computed one after the other: any number of them may share.
    for groups, kernel, tile, wanted in (
            (4, 5, AVX512, True), (2, 3, AVX512, True), (4, 3, AVX2, True), (3, 5, BASELINE, False),
            (3, 4, AVX512, False)):
        w = (groups, 1, 5, kernel)
        assert shared((1, groups, 20, 64), w, tile, groups=groups, last=True) == wanted


def test_many_taps_and_no_output_channel(run_python):
    """Of so many taps that a plan is made before there is anything to compute."""
    assert run_python('''
import numpy as np, fastconv
x, w = np.zeros((1, 1, 2, 4, 64), "f4"), np.zeros((1, 0, 65536, 4, 4), "f4")
print(fastconv.conv_transpose(x, w, stride=(65536, 4, 4)).shape)
''').strip() == "(1, 0, 131072, 16, 256)"


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))
    x = [draw(st.integers(1, 5)) for _ in range(rank - 1)]
    x.append(draw(st.one_of(st.integers(8, 70), st.sampled_from((16, 31, 32, 33, 64, 65)))))
    kernel = [draw(st.integers(1, 6)) for _ in range(rank)]
    stride = [draw(st.sampled_from((1, 2, 3, 4))) for _ in range(rank)]
    stride[-1] = draw(st.sampled_from((1, 2, 4)))
    kernel[-1] = draw(st.integers(stride[-1], 70 if rank == 1 else 9))
    padding = []
    for i, k, s in zip(x, kernel, stride, strict=True):
        # The least that the kernel reaches, whatever its dilation.
        full = (i - 1) * s + k
        before = draw(st.integers(-3, min(full - 1, 5)))
        padding.append((before, draw(st.integers(-3, min(full - before - 1, 5)))))
    dilation = [draw(st.integers(1, 3)) for _ in range(rank - 1)] + [1]
    return x, kernel, {"stride": stride, "padding": padding, "dilation": dilation}


@settings(max_examples=400)
@given(
    cases(), st.sampled_from((1, 2)), st.sampled_from((1, 2, 3, 6)), st.sampled_from((1, 2, 4)),
    st.sampled_from((1, 2, 3, 4, 5, 7, 8)), st.sampled_from(("float32", "float64")),
    st.integers(1, 3), st.booleans(), st.integers(0, 9), st.sampled_from(_isa.supported()),
)
def test_exact_and_nothing_else_is_written(
        case, images, groups, c_in, c_out, dtype, workers, biased, seed, isa):
    with using(isa):
        check_exact(case, images, groups, c_in, c_out, dtype, workers, biased, seed, False)


@st.composite
def uneven_cases(draw):
    """Maps whose axes have two uneven phases, of which rows share what they read."""
    x = [draw(st.integers(1, 9)), draw(st.sampled_from((8, 15, 16, 17, 31, 32, 33, 47, 64, 66)))]
    kernel = [draw(st.sampled_from((3, 5, 7))) for _ in range(2)]
    dilation = [draw(st.sampled_from((1, 1, 3))), 1]
    padding = []
    for i, k in zip(x, kernel, strict=True):
        full = 2 * (i - 1) + k
        before = draw(st.integers(-3, min(full - 1, 4)))
        padding.append((before, draw(st.integers(-3, min(full - before - 1, 4)))))
    return x, kernel, {"stride": [2, 2], "padding": padding, "dilation": dilation}


@settings(max_examples=400)
@given(
    uneven_cases(), st.sampled_from((1, 2)), st.sampled_from((1, 2, 3, 4)),
    st.sampled_from((1, 2)), st.sampled_from((1, 2)), st.sampled_from(("float32", "float64")),
    st.integers(1, 3), st.booleans(), st.integers(0, 9), st.sampled_from(_isa.supported()),
    st.booleans(),
)
def test_exact_with_rows_that_share_what_they_read(
        case, images, groups, c_in, c_out, dtype, workers, biased, seed, isa, last):
    with using(isa):
        check_exact(case, images, groups, c_in, c_out, dtype, workers, biased, seed, last)


@settings(max_examples=400)
@given(
    cases(), st.sampled_from((1, 2)), st.integers(2, 5), st.sampled_from((1, 2, 4)),
    st.booleans(), st.sampled_from(("float32", "float64")),
    st.integers(1, 3), st.booleans(), st.integers(0, 9), st.sampled_from(_isa.supported()),
)
def test_exact_with_channels_last(
        case, images, channels, c_in, grouped, dtype, workers, biased, seed, isa):
    groups, c_out = (channels, 1) if grouped else (1, channels)
    with using(isa):
        check_exact(case, images, groups, c_in, c_out, dtype, workers, biased, seed, True)


def check_exact(case, images, groups, c_in, c_out, dtype, workers, biased, seed, last):
    spatial, kernel, options = case
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, (images, groups * c_in, *spatial)).astype(dtype)
    w = rng.integers(-4, 5, (groups * c_in, c_out, *kernel)).astype(dtype)
    bias = rng.integers(-9, 9, groups * c_out).astype(dtype) if biased else None
    options["groups"] = groups
    wanted = fastconv.conv_transpose(x, w, bias, method="reference", **options)
    problem = make_problem(
        x.shape, w.shape, options["stride"], options["padding"], 0, None, options["dilation"],
        groups, 1)
    strides = plan_strides(problem, x.shape, w.shape, x.dtype, last, last)
    plan = _direct.make_plan(problem, x.dtype, strides, workers)
    event(f"{plan.stencil}, {'shared' if plan.shared else 'apart'}")
    if last:
        x, wanted = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, wanted))
        options["channel_axis"] = -1
    room = np.full(wanted.size + 64, 77, dtype)
    out = room[32:-32].reshape(wanted.shape)
    fastconv.conv_transpose(x, w, bias, method="direct", workers=workers, out=out, **options)
    np.testing.assert_array_equal(out, wanted)
    assert (room[:32] == 77).all() and (room[-32:] == 77).all()


def drawn(x_shape, w_shape, groups, dtype):
    """Operands whose sums depend on their order."""
    rng = np.random.default_rng(3)
    shapes = (x_shape, w_shape, (groups * w_shape[1],))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


SHAPES = {
    "even": ((2, 12, 9, 64), (12, 2, 4, 4), {"stride": 2, "groups": 6}),
    "one": ((2, 12, 9, 61), (12, 2, 3, 3), {"stride": 1, "groups": 6, "padding": 1}),
    "four": ((2, 2, 9, 48), (2, 1, 8, 8), {"stride": 4, "groups": 2}),
    "parted": ((2, 12, 9, 32), (12, 2, 3, 3), {"stride": 2, "groups": 6, "padding": 1}),
    "cut": ((2, 12, 9, 64), (12, 2, 4, 4), {"stride": 2, "groups": 6, "padding": 1}),
    "shared": ((2, 6, 9, 32), (6, 1, 5, 5), {"stride": 2, "groups": 6, "padding": 2}),
    "shared-two": ((2, 4, 9, 65), (4, 2, 3, 3), {"stride": 2, "groups": 2, "padding": 1}),
    "more": ((2, 3, 400), (3, 1, 81), {"stride": 4, "groups": 3, "padding": 38}),
}


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("name", SHAPES)
def test_same_bits_as_with_accumulators_between(name, dtype, isa):
    """Whatever the batch, the layout and the workers: sums have one order."""
    x_shape, w_shape, options = SHAPES[name]
    x, w, bias = drawn(x_shape, w_shape, options["groups"], dtype)
    way = {"even": "even", "one": "even", "four": "even", "more": "more"}.get(name, "parted")
    assert stencil(x_shape, w_shape, _isa.tiles[0], dtype=dtype, **options) == way
    y = fastconv.conv_transpose(x, w, bias, method="direct", workers=1, **options)
    # Into a result with room between its elements, which is not stored that way.
    apart = np.zeros((*y.shape[:-1], 2 * y.shape[-1]), dtype)[..., ::2]
    fastconv.conv_transpose(x, w, bias, method="direct", workers=1, out=apart, **options)
    assert apart.tobytes() == y.tobytes()
    for workers in (2, 5):
        again = fastconv.conv_transpose(
            np.repeat(x, 9, 0), w, bias, method="direct", workers=workers, **options)
        assert again[::9].tobytes() == y.tobytes()
        assert again[8::9].tobytes() == y.tobytes()
    first = fastconv.conv_transpose(x[:1], w, bias, method="direct", **options)
    assert first.tobytes() == y[:1].tobytes()


LAST = {
    "colours": ((2, 3, 9, 65), (3, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 3}),
    "pyramid": ((2, 3, 9, 65), (3, 1, 5, 5), {"stride": 2, "padding": 2, "groups": 3}),
    "two-rows": ((2, 4, 9, 100), (4, 1, 4, 4), {"stride": 2, "groups": 4}),
    "four": ((2, 3, 9, 61), (3, 1, 16, 16), {"stride": 4, "padding": 6, "groups": 3}),
    "stereo": ((2, 2, 700), (2, 1, 81), {"stride": 4, "padding": 38, "groups": 2}),
    "mixed": ((2, 3, 9, 70), (3, 3, 4, 4), {"stride": 2, "padding": 1}),
    "pyramid-four": ((2, 4, 9, 81), (4, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 4}),
    "shared-mixed": ((2, 3, 9, 63), (3, 2, 5, 3), {"stride": 2, "padding": 1}),
    "short": ((2, 2, 9, 12), (2, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 2}),
}


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("name", LAST)
def test_same_bits_with_channels_last(name, dtype, isa):
    x_shape, w_shape, options = LAST[name]
    x, w, bias = drawn(x_shape, w_shape, options.get("groups", 1), dtype)
    if _isa.tiles[0][1] == 8:
        assert stencil(x_shape, w_shape, _isa.tiles[0], dtype=dtype, last=True, **options)
    wanted = fastconv.conv_transpose(x, w, bias, method="direct", workers=1, **options)
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for workers in (1, 2, 5):
        y = fastconv.conv_transpose(
            np.repeat(x, workers, 0), w, bias, method="direct", workers=workers, channel_axis=-1,
            **options)
        assert np.moveaxis(y[::workers], -1, 1).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("last", (False, True))
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(5, 1, 2), (7, 1, (3, -5)), (3, 2, 1), (4, 2, 1), (4, 2, (2, -5)), (8, 4, (3, 0)),
     (81, 4, (38, -7)), (41, 2, 20)],
)
def test_pieces_of_one_row(kernel, stride, padding, last, isa):
    """One long row is cut into tasks: each begins and ends where its neighbour does."""
    rng = np.random.default_rng(kernel)
    x = rng.integers(-4, 5, (1, 2, 60_001)).astype(np.float32)
    w = rng.integers(-4, 5, (2, 2, kernel)).astype(np.float32)
    options = {"stride": stride, "padding": (padding,) if type(padding) is tuple else padding}
    told = fastconv._api.explain(x.shape, w.shape, workers=5, method="direct", **options)
    assert told["tasks"] >= 5
    wanted = fastconv.conv_transpose(x, w, method="reference", **options)
    if last:
        x, wanted = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, wanted))
        options["channel_axis"] = -1
    for workers in (1, 2, 5):
        np.testing.assert_array_equal(
            fastconv.conv_transpose(x, w, method="direct", workers=workers, **options), wanted)


def test_lines_of_a_result_that_no_near_cache_has(isa):
    """8 MiB and more: lines are fetched ahead, also past the end of the result."""
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (1, 24, 130, 256)).astype(np.float32)
    w = rng.integers(-4, 5, (24, 1, 4, 4)).astype(np.float32)
    options = {"stride": 2, "padding": ((2, 0), (1, 3)), "groups": 24}
    y = fastconv.conv_transpose(x, w, workers=2, method="direct", **options)
    assert 8 * MIB <= y.nbytes < 20 * MIB
    np.testing.assert_array_equal(y, fastconv.conv_transpose(x, w, method="reference", **options))
    # Three channels that are neighbours.
    options["groups"] = 3
    x, w = x.reshape(3, -1, 256, 1).transpose(3, 1, 2, 0), w[:3]
    x = np.ascontiguousarray(x)
    y = fastconv.conv_transpose(x, w, workers=2, method="direct", channel_axis=-1, **options)
    assert 8 * MIB <= y.nbytes < 20 * MIB
    wanted = fastconv.conv_transpose(x, w, method="reference", channel_axis=-1, **options)
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("value", (np.inf, -np.inf, np.nan))
def test_values_that_are_not_finite(value, isa):
    """Zeros beyond the input meet no infinite weight, and a value reaches its own results only."""
    rng = np.random.default_rng(0)
    options = {"stride": 2, "padding": 1, "groups": 6}
    x = rng.standard_normal((1, 12, 7, 64)).astype(np.float32)
    w = rng.standard_normal((12, 2, 4, 4)).astype(np.float32)
    bad_w, bad_x = w.copy(), x.copy()
    bad_w[3, 1, 0, 3] = value
    bad_x[0, 5, 3, 63] = value
    for operands in ((x, bad_w), (bad_x, w)):
        y = fastconv.conv_transpose(*operands, method="direct", **options)
        wanted = fastconv.conv_transpose(*operands, method="reference", **options)
        good = np.isfinite(wanted)
        assert 0 < np.count_nonzero(~good) < good.size / 12
        np.testing.assert_array_equal(np.isfinite(y), good)
        np.testing.assert_allclose(y[good], wanted[good], rtol=1e-4, atol=1e-5)
