"""Groups of few channels, several of which a task reads and stores together."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from oracle import small_integers
from test_plan import plan_of, problem_of

import fastconv

GEOMETRIES = [
    ((21,), (4,), {"stride": 2, "padding": 1}),
    ((5, 37), (3, 4), {"stride": 2, "padding": (1, 0)}),
    ((9, 18), (5, 5), {"stride": 2, "padding": 2, "output_padding": 1}),
    ((7, 19), (2, 3), {"stride": (3, 1)}),
    # Taps with gaps between the phases, and a window beyond them.
    ((6, 20), (2, 2), {"stride": 3, "dilation": (1, 2), "padding": ((-1, 0), (1, -2))}),
    ((3, 4, 17), (2, 3, 3), {"stride": (1, 2, 2), "padding": 1}),
]


@pytest.mark.parametrize(("spatial", "kernel", "arguments"), GEOMETRIES)
@pytest.mark.parametrize(("groups", "c_in", "c_out"), [(3, 1, 1), (70, 1, 1), (6, 2, 3), (9, 3, 8)])
@pytest.mark.parametrize("channel_axis", (1, -1))
def test_groups_of_few_channels(spatial, kernel, arguments, groups, c_in, c_out, channel_axis, isa):
    rng = np.random.default_rng(groups + c_out)
    for dtype, workers in (("float32", 1), ("float64", 3), ("complex64", 1), ("int16", 2)):
        x = small_integers(rng, (2, groups * c_in, *spatial), dtype)
        w = small_integers(rng, (groups * c_in, c_out, *kernel), dtype)
        bias = small_integers(rng, groups * c_out, dtype)
        wanted = reference.conv_transpose(x, w, bias, groups=groups, **arguments)
        x = np.ascontiguousarray(np.moveaxis(x, 1, channel_axis))
        y = fastconv.conv_transpose(
            x, w, bias, groups=groups, channel_axis=channel_axis, method="direct",
            workers=workers, **arguments)
        np.testing.assert_array_equal(np.moveaxis(y, channel_axis, 1), wanted)


@pytest.mark.parametrize(
    ("x", "w", "groups", "layout", "together"),
    [
        # Channels first: 12 KiB of accumulators, the groups divided evenly.
        ((1, 64, 128, 128), (64, 1, 6, 6), 64, "first", 2),
        ((1, 64, 64, 64), (64, 1, 6, 6), 64, "first", 4),
        ((1, 64, 64, 64), (64, 4, 6, 6), 16, "first", 1),
        ((1, 3, 540, 960), (3, 1, 6, 6), 3, "first", 1),
        # Sums that are stored from where they are made.
        ((1, 3, 540, 960), (3, 1, 5, 5), 3, "first", 3),
        ((1, 64, 128, 128), (64, 1, 4, 4), 64, "first", 64),
        ((1, 64, 64, 64), (64, 4, 4, 4), 16, "first", 16),
        # Channels last: 256 rows of accumulators, or a whole line of results.
        ((1, 64, 128, 128), (64, 1, 4, 4), 64, "last", 64),
        ((1, 64, 64, 64), (64, 4, 4, 4), 16, "last", 16),
        ((1, 64, 64, 64), (64, 1, 16, 16), 32, "last", 16),
        # Groups of one channel, along which the lanes run.
        ((1, 64, 64, 64), (64, 1, 16, 16), 64, "last", 64),
        ((1, 3, 540, 960), (3, 1, 5, 5), 3, "last", 3),
        # More channels than share the accumulators; lanes along the batch.
        ((1, 1024, 16, 16), (1024, 256, 4, 4), 4, "last", 1),
        ((64, 256, 4, 4), (256, 1, 4, 4), 4, "first", 1),
    ],
)
def test_how_many_groups_are_a_task(x, w, groups, layout, together):
    problem = problem_of(x, w, {"stride": max(2, w[-1] // 2), "groups": groups, "padding": 1})
    assert plan_of(problem, layout=layout).groups == together


def test_workers_come_before_groups():
    # One row, and so few lanes that only the groups can be shared out.
    problem = problem_of((1, 512, 350), (512, 1, 4), {"stride": 2, "groups": 64})
    assert plan_of(problem, workers=1).groups > 1
    for workers in (2, 8, 16):
        plan = plan_of(problem, workers=workers)
        assert plan.workers == workers
        assert plan.groups <= 64 // (4 * workers)
        assert plan.tasks >= 4 * workers
