"""x that lies tile by tile: which plans hold it so, and every way in which it is read."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from oracle import small_integers
from test_stencil import AVX2, AVX512, BASELINE, plan_of

import fastconv

#: Rows that run on, rows by themselves, several groups, taps of outer axes, and lanes along the
#: batch: in one block and in several, some with rows of the result that are stored whole.
LAYERS = {
    "rows run on": ((2, 130, 11, 13), (130, 6, 2, 2), {"stride": 2}),
    "rows run on, blocks": ((1, 300, 40, 15), (300, 9, 2, 2), {"stride": 2}),
    "rows run on, gaps": ((1, 700, 7, 14), (700, 5, 2, 2), {"stride": 3}),
    "rows run on, 3-D": ((1, 150, 3, 9, 14), (150, 3, 3, 2, 2), {"stride": (1, 2, 2)}),
    "rows run on, cropped": ((1, 130, 16, 13), (130, 6, 2, 2), {"stride": 2, "padding": 1}),
    "rows run on, cropped before": (
        (1, 130, 16, 13), (130, 6, 2, 2), {"stride": 2, "padding": ((1, 0), (0, 0))}),
    "rows run on, cropped behind": (
        (1, 130, 16, 13), (130, 6, 2, 2), {"stride": 2, "padding": ((0, 1), (0, 0))}),
    "rows run on, long": ((1, 80, 5, 140), (80, 9, 2, 2), {"stride": 2}),
    "rows apart": ((2, 140, 5, 70), (140, 10, 2, 2), {"stride": 2}),
    "rows apart, taps": ((1, 80, 6, 100), (80, 8, 3, 4), {"stride": (1, 4)}),
    "rows apart, groups": ((1, 450, 3, 72), (450, 8, 2, 2), {"stride": 2, "groups": 3}),
    "rows apart, kernel 1": ((1, 257, 3, 61), (257, 17, 1, 1), {}),
    "1-D": ((3, 200, 333), (200, 7, 4), {"stride": 4}),
    "batch": ((37, 130, 4, 4), (130, 6, 4, 4), {"stride": 2, "padding": 1}),
    "batch, blocks": ((300, 120, 3, 3), (120, 5, 3, 3), {"stride": 2, "padding": 1}),
    "batch, rows whole": ((67, 64, 5, 4), (64, 9, 5, 5), {"stride": 2}),
    "batch, groups": ((40, 240, 3, 4), (240, 7, 3, 3), {"groups": 3}),
    "batch, deep": ((33, 300, 2, 2), (300, 4, 4, 4), {"stride": 1, "dilation": 2}),
}

#: Layouts of x: as it stands, channels last, every other element of a larger array, backwards, and
#: with the batch innermost.
LAYOUTS = {
    "first": lambda x: x,
    "last": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1),
    "spread": lambda x: np.repeat(np.repeat(x, 2, axis=1), 2, axis=-1)[:, ::2, ..., ::2],
    "flipped": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "images innermost": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0),
}


def tiled(x, w, tile=AVX2, **options):
    return plan_of(x, w, tile, **{"stride": 1, **options}).tiled


def rows_that_run_on(x, w, tile, **options):
    """How many rows of x a task has that run on into the next; 1 if none does."""
    plan = plan_of(x, w, tile, **{"stride": 2, **options})
    return (len(plan.places()[0][0][2]) + 1) // 2


def test_how_much_of_x_a_task_holds():
    """Wide vectors that rows fill better by a tenth are worth more of it than half of a cache."""
    # One row of 36 lanes fills three quarters of three vectors, two nine tenths of five, three
    # nearly all of seven.
    x, w = (1, 1536, 24, 36), (1536, 8, 2, 2)
    assert rows_that_run_on(x, w, AVX512) == 3
    # There is a limit for that, too.
    few, many = (1, 1700, 24, 36), (1, 2300, 24, 36)
    assert rows_that_run_on(few, (1700, 8, 2, 2), AVX512) == 2
    assert rows_that_run_on(few, (1700, 8, 2, 2), AVX2) == 1
    assert rows_that_run_on(many, (2300, 8, 2, 2), AVX512) == 1
    # Two rows of 44 lanes fill six vectors no better than one of them fills three.
    assert rows_that_run_on((1, 1536, 24, 44), w, AVX512) == 1
    # Where taps overlap as well, along the lanes or from row to row.
    x = (1, 1530, 24, 36)
    for kernel, padding in (((4, 4), 1), ((4, 2), (1, 0)), ((2, 4), (0, 1))):
        w = (1530, 8, *kernel)
        assert rows_that_run_on(x, w, AVX512, padding=padding) == (3 if kernel[0] == 2 else 2)
        assert rows_that_run_on(x, w, AVX2, padding=padding) == 1


@pytest.mark.parametrize(("kernel", "padding"), ((2, 0), (4, 1)))
def test_exact_with_more_of_x_than_half_of_a_cache(kernel, padding, isa):
    x = small_integers(np.random.default_rng(36), (1, 1530, 5, 36), "float32")
    w = small_integers(np.random.default_rng(37), (1530, 9, kernel, kernel), "float32")
    wanted = reference.conv_transpose(x, w, stride=2, padding=padding)
    for workers in (1, 2):
        y = fastconv.conv_transpose(
            x, w, stride=2, padding=padding, method="direct", workers=workers)
        np.testing.assert_array_equal(y, wanted)


def test_tiles_of_parts_of_lines_from_more_than_a_cache_on():
    x, w = (1, 256, 14, 14), (256, 64, 2, 2)
    assert tiled(x, w, stride=2) and tiled(x, w, BASELINE, stride=2)
    assert tiled(x, w, (4, 4), dtype="float64", stride=2)
    # Three vectors of 64 bytes are three lines.
    assert not tiled(x, w, AVX512, stride=2)
    # 32 KiB of x are 40 channels, and a part of one, of 196 lanes and 4 that fill the last vector.
    assert not tiled((1, 40, 14, 14), (40, 64, 2, 2), stride=2)
    assert tiled((1, 41, 14, 14), (41, 64, 2, 2), stride=2)
    # Tiles of more than one tap of the lanes share what they read.
    assert not tiled((1, 256, 14, 14), (256, 64, 4, 4), stride=2)
    assert tiled((64, 256, 4, 4), (256, 64, 4, 4), stride=2, padding=1)


def test_rows_that_run_on_lie_so_if_all_are_stored():
    x, w = (1, 256, 14, 14), (256, 64, 2, 2)
    assert plan_of(x, w, AVX2, stride=2).flat
    cropped = plan_of(x, w, AVX2, stride=2, padding=1)
    assert cropped.flat and not cropped.tiled
    overlapping = plan_of((1, 256, 14, 14), (256, 64, 3, 2), AVX2, stride=(1, 2))
    assert overlapping.flat and not overlapping.tiled


def test_every_layer_here_lies_so_or_is_on_the_other_side():
    for name, (x, w, geometry) in LAYERS.items():
        assert tiled(x, w, **geometry) == ("cropped" not in name), name


def test_panel_by_panel_where_a_cache_holds_x_or_short_rows_are_stored_together():
    def by_panel(x, w, tile=AVX2, **options):
        return plan_of(x, w, tile, **{"stride": 2, **options}).by_panel

    # 16 KiB of x are 20 channels of three rows of 66 lanes, and a part of one.
    assert by_panel((1, 20, 5, 60), (20, 6, 3, 3), stride=1)
    assert not by_panel((1, 21, 5, 60), (21, 6, 3, 3), stride=1)
    # Rows of the result that fill their plane, and are less than 1 KiB.
    for channels in (70, 130):
        assert by_panel((1, channels, 11, 13), (channels, 6, 2, 2))
        assert by_panel((1, channels, 5, 127), (channels, 6, 2, 2))
        assert not by_panel((1, channels, 5, 128), (channels, 6, 2, 2))


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "int16"))
@pytest.mark.parametrize("name", LAYERS)
def test_exact(name, dtype, isa):
    x, w, geometry = LAYERS[name]
    rng = np.random.default_rng(len(name))
    x, w = small_integers(rng, x, dtype, -1, 2), small_integers(rng, w, dtype, -1, 2)
    bias = small_integers(rng, w.shape[1] * geometry.get("groups", 1), dtype)
    wanted = reference.conv_transpose(
        x.astype("complex128" if dtype == "complex64" else "float64"), w, bias, **geometry)
    first = None
    for layout, lay in LAYOUTS.items():
        for workers in (1, 2, 5):
            y = fastconv.conv_transpose(
                lay(x), w, bias, method="direct", workers=workers, **geometry)
            np.testing.assert_array_equal(y, wanted.astype(dtype), err_msg=layout)
            first = y if first is None else first
            assert y.tobytes() == first.tobytes()


@pytest.mark.parametrize("name", LAYERS)
def test_same_bits_in_any_layout(name, isa):
    """Rounded sums: what lies tile by tile is added in the order of what does not."""
    x, w, geometry = LAYERS[name]
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(x, "float32"), rng.standard_normal(w, "float32")
    y = fastconv.conv_transpose(x, w, method="direct", workers=1, **geometry)
    for layout, lay in LAYOUTS.items():
        other = fastconv.conv_transpose(lay(x), w, method="direct", workers=3, **geometry)
        assert other.tobytes() == y.tobytes(), layout
    one = fastconv.conv_transpose(x[-1:], w, method="direct", **geometry)
    assert one.tobytes() == y[-1:].tobytes()


@pytest.mark.parametrize("name", ("rows run on", "rows apart", "batch", "batch, blocks"))
def test_what_is_not_finite_stays_where_it_is(name, isa):
    """Lanes that fill a tile up hold anything, and reach no result."""
    x, w, geometry = LAYERS[name]
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal(x, "float32"), rng.standard_normal(w, "float32")
    y = fastconv.conv_transpose(x, w, method="direct", **geometry)
    for place in (np.s_[-1, -1, ..., -1], np.s_[0, 0, ..., 0]):
        some = x.copy()
        some[place] = np.nan
        hit = reference.conv_transpose(
            np.isnan(some).astype("float32"), np.ones_like(w), **geometry) > 0
        z = fastconv.conv_transpose(some, w, method="direct", **geometry)
        np.testing.assert_array_equal(np.isnan(z), hit)
        assert z[~hit].tobytes() == y[~hit].tobytes()
