"""How the direct method runs its lanes, cuts rows and stores them: both sides of every switch."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import plan_strides, small_integers
from switches import WORKERS, check_exact, plan, plan_last, problem_of, switches

import fastconv
from fastconv import _direct, _isa


@pytest.mark.parametrize("kernel", (2, 4, 6))
@pytest.mark.parametrize("dtype", ("float32", "float64", "float16", "complex64"))
def test_both_sides_of_short_rows(dtype, kernel, isa):
    """Rows below a kibibyte are stored with their neighbours, where phases have equal taps."""
    size = np.dtype(dtype).itemsize
    for length, short in ((1024 // size - 2, True), (1024 // size, False)):
        x, w = (2, 3, 9, length // 2), (3, 17, kernel, kernel)
        options = {"stride": 2, "padding": kernel // 2 - 1}
        plan = _direct.contiguous_plan(problem_of(x, w, **options), np.dtype(dtype), 1)
        assert plan.short_rows == short
        check_exact(x, w, dtype, method="direct", **options)
    uneven = problem_of((2, 3, 9, 40), (3, 17, 3, 3), stride=2)
    assert not _direct.contiguous_plan(uneven, np.dtype(dtype), 1).short_rows


@pytest.mark.parametrize("shape", ((30, 14), (29, 13), (5, 90), (40, 3)))
@pytest.mark.parametrize("groups", (1, 4))
def test_rows_of_many_turns(shape, groups, isa):
    """Maps whose rows are stored in turns, with window edges in the middle of a turn."""
    for kernel, options in (
        (2, {"stride": 2}),
        (3, {"stride": 3}),
        (4, {"stride": 2, "padding": ((1, 2), (3, 0))}),
        (4, {"stride": 4, "padding": ((3, 1), (2, 1))}),
        (3, {"stride": 2, "padding": 1}),
        (2, {"stride": (4, 2), "dilation": (3, 1), "padding": ((2, 0), 0)}),
    ):
        check_exact(
            (3, 2 * groups, *shape), (2 * groups, 20 // groups, kernel, kernel), groups=groups,
            method="direct", **options)


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64"))
def test_lanes_along_the_batch_or_a_row(dtype, isa):
    w = (16, 5, 4, 4)
    geometry = {"stride": 2, "padding": 1}
    counts = range(1, 80)
    at = switches(counts, lambda n: plan((n, 16, 4, 4), w, dtype, **geometry).lane_axis)
    assert plan((1, 16, 4, 4), w, dtype, **geometry).lane_axis.startswith("spatial")
    assert plan((79, 16, 4, 4), w, dtype, **geometry).lane_axis == "batch"
    assert at
    for pair in at:
        for n in pair:
            check_exact((n, 16, 4, 4), w, dtype, "direct", **geometry)


@pytest.mark.parametrize("kernel", (3, 5))
@pytest.mark.parametrize("images", (16, 48, 100))
def test_lanes_along_a_row_where_lists_of_taps_cost_more(images, kernel, isa):
    """One channel of a group has few products for each list; many channels have enough."""
    geometry = {"stride": 1, "padding": kernel // 2}
    few = plan((images, 40, 7, 7), (40, 1, kernel, kernel), groups=40, **geometry)
    assert few.lane_axis == "spatial 1"
    if images > 16:
        many = plan((images, 80, 7, 7), (80, 40, kernel, kernel), **geometry)
        assert many.lane_axis == "batch"
    x, w = (images, 6, 7, 7), (6, 1, kernel, kernel)
    assert plan(x, w, groups=6, **geometry).lane_axis == "spatial 1"
    check_exact(x, w, "float32", "direct", groups=6, **geometry)


def test_lanes_along_a_row_where_images_share_a_place_in_the_cache(isa):
    """Images of the result that are whole pages apart."""
    def lanes(groups):
        return plan((32, groups, 4, 3), (groups, 8, 2, 2), stride=2, groups=groups).lane_axis

    assert 8 * 64 * 48 * 4 % 4096 == 0 != 8 * 63 * 48 * 4 % 4096
    assert lanes(64) == "spatial 1"
    if isa != "baseline":
        assert lanes(63) == "batch"
    check_exact((32, 64, 4, 3), (64, 8, 2, 2), "float32", "direct", stride=2, groups=64)


@pytest.mark.parametrize("workers", WORKERS)
def test_lanes_along_columns_or_the_batch_have_the_same_bits(workers, isa):
    # Where rows are so short that one image has its lanes along the columns.
    rng = np.random.default_rng(6)
    for shape, kernel, stride in (
        ((20, 3), (2, 3), 1), ((20, 2), (3, 3), (2, 1)), ((30, 3, 2), (2, 3, 2), 1),
        ((3, 30, 2), (3, 2, 2), (1, 2, 1)),
    ):
        x = rng.standard_normal((64, 70, *shape)).astype(np.float32)
        w = rng.standard_normal((70, 2, *kernel)).astype(np.float32)
        one, many = (
            plan((n, *x.shape[1:]), w.shape, stride=stride).lane_axis for n in (1, 64))
        assert (one, many) == (f"spatial {np.argmax(shape)}", "batch")
        whole = fastconv.conv_transpose(x, w, stride=stride, method="direct", workers=workers)
        last = fastconv.conv_transpose(
            np.moveaxis(x, 1, -1).copy(), w, stride=stride, method="direct", channel_axis=-1)
        assert np.moveaxis(last, -1, 1).tobytes() == whole.tobytes()
        for n in (1, 5, 16):
            some = fastconv.conv_transpose(x[:n], w, stride=stride, method="direct")
            assert some.tobytes() == whole[:n].tobytes()


#: Maps whose pixels have their images as lanes that follow each other, and geometries whose pixels
#: at the edges have taps less: some, none, as many as all others.
STRUNG = (
    ((6, 4, 4), (6, 53, 4, 4), {"stride": 2, "padding": 1}),
    ((6, 3, 7), (6, 41, 3, 3), {"padding": 1}),
    ((6, 5), (6, 70, 8), {"stride": 3, "padding": ((2, 5),)}),
    ((6, 4, 5), (6, 64, 5, 5), {"stride": 2, "padding": 2, "groups": 2}),
    ((6, 2, 3, 5), (6, 36, 2, 3, 5), {"stride": (1, 2, 2), "padding": (0, 1, 2)}),
    ((6, 4, 9), (6, 48, 3, 3), {"dilation": 2, "padding": 2}),
    ((6, 5, 8), (6, 70, 6, 5), {"stride": (3, 2), "padding": "same"}),
)


@pytest.mark.parametrize("dtype", ("float32", "float64", "int16", "complex64"))
@pytest.mark.parametrize("geometry", STRUNG, ids=lambda case: "x".join(map(str, case[0][1:])))
def test_images_of_neighbouring_pixels_follow_each_other_or_not(geometry, dtype, isa):
    map_shape, w, geometry = geometry
    at = switches(
        range(1, 80), lambda n: plan((n, *map_shape), w, dtype, **geometry).strung)
    # Vectors of two or four numbers are filled by few images.
    assert at or isa == "baseline" or dtype != "float32"
    for pair in at:
        for n in pair:
            check_exact((n, *map_shape), w, dtype, "direct", **geometry)


@pytest.mark.parametrize("dtype", ("float32", "complex64"))
@pytest.mark.parametrize("geometry", STRUNG, ids=lambda case: "x".join(map(str, case[0][1:])))
def test_images_that_follow_each_other_have_the_bits_of_one(geometry, dtype, isa):
    map_shape, w, geometry = geometry
    rng = np.random.default_rng(8)
    w = rng.standard_normal(w).astype(dtype)
    bias = rng.standard_normal(w.shape[1] * geometry.get("groups", 1)).astype(dtype)
    strung = [
        n for n in range(2, 60) if plan((n, *map_shape), w.shape, dtype, **geometry).strung]
    assert strung or isa == "baseline" or dtype != "float32"
    for n in strung[:: max(1, len(strung) // 3)]:
        x = rng.standard_normal((n, *map_shape)).astype(dtype)
        whole = fastconv.conv_transpose(x, w, bias, method="direct", **geometry)
        for image in (0, n - 1):
            one = fastconv.conv_transpose(
                x[image : image + 1], w, bias, method="direct", **geometry)
            assert one.tobytes() == whole[image : image + 1].tobytes()


def test_images_follow_each_other_while_channels_are_near(monkeypatch, isa):
    # Where a weight is infinite lanes run along the batch in rows of any length.
    rng = np.random.default_rng(12)
    images = {"baseline": 5, "avx2": 10, "avx512": 20}[isa]
    w = small_integers(rng, (64, 8, 4, 4), "float32")
    w[5, 3, 2, 1] = np.inf
    geometry = {"stride": 2, "padding": 1}

    def strung(length):
        x = images, 64, 3, length
        problem = problem_of(x, w.shape, **geometry)
        strides = plan_strides(problem, x, w.shape, "float32")
        exact = _direct.make_plan(problem, np.dtype("float32"), strides, 1, exact=True)
        assert exact.lane_axis == "batch"
        return exact.strung

    at = switches(range(8, 160), strung)
    assert at
    make_plan, made = _direct.make_plan, []

    def record(*arguments, exact=False):
        made.append(make_plan(*arguments, exact=exact))
        return made[-1]

    for length in at[-1]:
        x = small_integers(rng, (images, 64, 3, length), "float32")
        wanted = fastconv.conv_transpose(x, w, method="reference", **geometry)
        strings = strung(length)
        with monkeypatch.context() as patch:
            patch.setattr(_direct, "make_plan", record)
            got = fastconv.conv_transpose(x, w, method="direct", **geometry)
        assert (made[-1].lane_axis, made[-1].strung) == ("batch", strings)
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("dtype", ("float32", "float64", "float16", "int16", "complex64"))
@pytest.mark.parametrize("groups", (1, 2))
def test_batch_innermost_from_channels_last(groups, dtype, isa):
    # Too few output channels for lanes along them.
    rng = np.random.default_rng(9)
    w = small_integers(rng, (40, 3, 3, 4), dtype)
    geometry = {"stride": (2, 1), "padding": 1, "groups": groups}
    for images in (16, 37):
        x = small_integers(rng, (images, 40, 4, 3), dtype)
        last = np.moveaxis(x, 1, -1).copy()
        lanes = plan_last(x.shape, w.shape, dtype, **geometry)
        assert lanes.lane_axis == "batch" and not lanes.pixelwise
        for workers in WORKERS:
            got = fastconv.conv_transpose(
                last, w, channel_axis=-1, method="direct", workers=workers, **geometry)
            wanted = fastconv.conv_transpose(x, w, method="reference", **geometry)
            np.testing.assert_array_equal(np.moveaxis(got, -1, 1), wanted)


def test_batch_innermost_from_planes_with_gaps(isa):
    # Rows and planes that do not follow each other in memory are read one by one.
    rng = np.random.default_rng(4)
    whole = small_integers(rng, (48, 40, 5, 9, 10), "float32")
    flat = small_integers(rng, (40, 9, 4, 4), "float32")
    deep = small_integers(rng, (40, 3, 2, 3, 3), "float32")
    for x, w in (
        (whole[:, :, 0, :4, :5], flat), (whole[:, :, 1, ::2, :], flat),
        (whole[:, :, 2, 1:6, 3:8], flat), (whole[..., :4, :3], deep),
        (whole[:, :, ::2, :4, :3], deep), (whole[:, :, :, 1::4], deep),
    ):
        assert plan(x.shape, w.shape, stride=2).lane_axis == "batch"
        np.testing.assert_array_equal(
            fastconv.conv_transpose(x, w, stride=2, method="direct"),
            fastconv.conv_transpose(x.copy(), w, stride=2, method="reference"))
        if w is flat:
            got = fastconv.conv_transpose(x, w, stride=2, method="winograd")
            same = fastconv.conv_transpose(x.copy(), w, stride=2, method="winograd")
            assert got.tobytes() == same.tobytes()


def test_lanes_along_the_batch_while_caches_hold_a_copy(isa):
    def shape(n):
        return n, 64, 14, 14

    w, counts = (64, 1, 2, 2), range(48, 256, 16)
    at = switches(counts, lambda n: plan(shape(n), w, stride=2).lane_axis)
    assert len(at) == 1
    n_batch, n_rows = at[0]
    assert plan(shape(n_batch), w, stride=2).lane_axis == "batch"
    assert n_batch * 64 * 14 * 14 * 4 < 1 << 23 <= n_rows * 64 * 14 * 14 * 4
    for n in at[0]:
        check_exact(shape(n), w, method="direct", stride=2)


def test_lanes_along_the_batch_unless_workers_share_the_copy(isa):
    x, w, geometry = (64, 64, 14, 14), (64, 1, 4, 4), {"stride": 2, "padding": 1}
    assert plan(x, w, workers=1, **geometry).lane_axis == "batch"
    shared = plan(x, w, workers=2, **geometry)
    assert (shared.workers, shared.lane_axis) == (2, "spatial 1")
    check_exact(x, w, method="direct", **geometry)


def test_lanes_along_rows_of_joined_phases(isa):
    # They fill tiles where output channels are few: whatever the batch, or sums would change.
    w, geometry = (16, 1, 5, 5), {"stride": 2, "padding": 2, "output_padding": 1}
    joined = []
    for length in range(3, 24):
        plans = [plan((n, 16, length, length), w, **geometry) for n in (1, 64, 500)]
        assert len({p.joined for p in plans}) == 1
        if plans[0].joined:
            assert {p.lane_axis for p in plans} == {"spatial 1"}
            joined.append(length)
    assert joined
    for length in (min(joined) - 1, min(joined)):
        for n in (1, 64):
            check_exact((n, 16, length, length), w, method="direct", **geometry)


def test_joined_phases_are_the_same_in_any_layout(isa):
    rng = np.random.default_rng(3)
    w, geometry = rng.standard_normal((16, 1, 5, 5)).astype(np.float32), {"stride": 2, "padding": 2}
    for length in range(3, 20, 2):
        x = rng.standard_normal((40, 16, length, length)).astype(np.float32)
        first = fastconv.conv_transpose(x, w, method="direct", **geometry)
        last = fastconv.conv_transpose(
            np.moveaxis(x, 1, -1).copy(), w, channel_axis=-1, method="direct", **geometry)
        assert np.moveaxis(last, -1, 1).tobytes() == first.tobytes()
        one = fastconv.conv_transpose(x[7:8], w, method="direct", **geometry)
        assert one.tobytes() == first[7:8].tobytes()


@pytest.mark.parametrize("axis", (0, 1))
def test_lanes_along_rows_or_columns(axis, isa):
    # A long axis, and another one that grows until it is the better one.
    def shape(n):
        return (1, 3, n, 60) if axis else (1, 3, 60, n)

    w = (3, 4, 3, 3)
    at = switches(range(1, 60), lambda n: plan(shape(n), w, stride=2).lane_axis)
    for pair in at:
        for n in pair:
            check_exact(shape(n), w, method="direct", stride=2)
    # Rows win against shorter columns always; columns only where rows are short.
    assert bool(at) == (axis == 0)


@pytest.mark.parametrize("geometry", ({"stride": 2, "padding": 1}, {"padding": 1}), ids=str)
def test_rows_that_run_on_or_not(geometry, isa):
    w = (5, 9, 3, 3)
    at = switches(range(3, 90), lambda n: plan((1, 5, 12, n), w, **geometry).flat)
    assert len(at) >= 2
    for pair in at:
        for n in pair:
            check_exact((1, 5, 12, n), w, method="direct", **geometry)


def test_pairs_of_vectors_run_on(isa):
    """With registers of half a line, where that multiplies no zeros between the rows."""
    half_lines = _isa.tiles[0] == (8, 4)
    for vectors in (2, 4):
        n = vectors * _isa.tiles[0][0]
        x, w = (1, 70, 12, n), (70, 9, 3, 3)
        assert plan(x, w, stride=3).flat == half_lines
        check_exact(x, w, method="direct", stride=3)
        # Each row has one position more here, and a vector for it.
        assert not plan((1, 70, 12, n - 1), w, stride=(3, 2)).flat


def test_long_rows_run_on(isa):
    """To 24 vectors where tiles of three are better and rows are one run, else to eight."""
    vector = _isa.tiles[0][0]
    half_lines = _isa.tiles[0] == (8, 4)
    w = (70, 9, 2, 2)
    for vectors in (7, 8, 23, 24):
        x = (1, 70, 5, vectors * vector)
        assert plan(x, w, stride=2).flat == (half_lines and vectors < 24), vectors
        # A row whose results are cut off is no part of a run.
        cropped = plan(x, w, stride=2, padding=((1, 0), (0, 0)))
        assert cropped.flat == (half_lines and vectors < 8), vectors
        check_exact(x, w, method="direct", stride=2)
        check_exact(x, w, method="direct", stride=2, padding=((1, 0), (0, 0)))


def test_rows_run_on_where_enough_of_them_fit(isa):
    """Of many channels a task holds so few rows that they fill vectors better by themselves."""
    def layer(c_in):
        return (1, c_in, 16, 18), (c_in, 9, 5, 5)

    at = switches(range(100, 2000, 100), lambda c: plan(*layer(c), padding=2).flat)
    # Two vectors of four are never filled better.
    assert len(at) == (_isa.tiles[0][0] > 4)
    for pair in at:
        for c_in in pair:
            check_exact(*layer(c_in), method="direct", padding=2)


@pytest.mark.parametrize("channels", (1, 2, 3, 4))
def test_few_rows_of_many_lanes(channels, isa):
    # Tiles are wider from more than four vectors of lanes on, in a row or where rows run on.
    vector = _isa.tiles[0][0]
    for length in (4 * vector - 1, 4 * vector, 4 * vector + 1, 6 * vector, 13 * vector + 3):
        check_exact((1, 3, 2, length), (3, channels, 3, 3), method="direct", padding=1)
    for rows in (3, 4, 5, 20):
        check_exact((2, 3, rows, vector - 2), (3, channels, 3, 3), method="direct", padding=1)


def test_serial_or_parallel(isa):
    # Few products stay with one thread: the plan's threshold, then that of the call.
    def shapes(channels):
        return (1, channels, 20, 30), (channels, 8, 3, 3)

    at = switches(range(1, 90), lambda c: plan(*shapes(c), workers=5).workers > 1)
    assert len(at) == 1
    for channels in at[0]:
        check_exact(*shapes(channels), method="direct", stride=2)
    serial, parallel = at[0]
    assert plan(*shapes(serial), workers=5).workers == 1
    assert plan(*shapes(parallel), workers=5).workers == 5


def test_results_with_holes_are_filled(isa):
    # A kernel shorter than the stride leaves elements to the stage that writes bias.
    for kernel in (2, 3, 4):
        whole = plan((2, 3, 9, 10), (3, 4, kernel, kernel), stride=3)
        assert whole.complete == (kernel >= 3)
        check_exact((2, 3, 9, 10), (3, 4, kernel, kernel), method="direct", stride=3)


def test_lines_of_which_results_are_fetched(isa):
    """From 8 MiB on, if sums take long enough, of rows that a processor does not foresee."""
    def fetched(x, w, **arguments):
        return plan(x, w, **arguments).fetched

    w = (32, 64, 3, 3)
    assert fetched((1, 32, 128, 29), w, stride=3)
    assert not fetched((1, 32, 128, 28), w, stride=3)
    assert not fetched((1, 31, 128, 29), (31, 64, 3, 3), stride=3)
    # Not rows whose numbers are apart, streamed results, and one row of each channel.
    problem = problem_of((1, 32, 128, 29), w, stride=3)
    strides = plan_strides(problem, (1, 32, 128, 29), w, "float32", False, True)
    assert not _direct.make_plan(problem, np.dtype("float32"), strides, 1).fetched
    assert not fetched((1, 32, 128, 72), w, stride=3)
    assert not fetched((1, 32, 16384), (32, 64, 3), stride=3)
    # Those of long sums that are stored from where they are made; of short ones from 8 MiB on.
    assert fetched((1, 80, 64, 64), (80, 32, 2, 2), stride=2) == (_isa.tiles[0][1] == 8)
    assert not fetched((1, 16, 64, 64), (16, 32, 2, 2), stride=2)
    assert fetched((1, 16, 128, 128), (16, 32, 2, 2), stride=2)
