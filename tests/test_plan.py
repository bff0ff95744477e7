"""The plan of the direct method as arithmetic: every element of the result is stored exactly once.

`Plan.places` walks tasks, blocks, rows and sets of phases by the functions that the driver walks
by, so what is counted here is the decomposition that computes. Nothing is computed: problems can
have many input channels, which makes a plan for many workers out of a small result.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from cases import BY_ID, CASES
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from layers import LAYERS

import fastconv
from fastconv import _direct
from fastconv._plan import Plan, multiply_adds
from fastconv._problem import make_problem

#: (compute type, numbers of an element, bytes of an element) of the rows of `_dtypes.TYPES`.
KINDS = {
    "float32": (0, 1, 4), "float16": (0, 1, 2), "complex64": (0, 2, 8), "float64": (1, 1, 8),
    "complex128": (1, 2, 16), "int8": (2, 1, 1), "int64": (2, 1, 8),
}

#: Bytes of a vector and rows of the tallest tile: baseline, AVX2, AVX-512, and one that is neither.
TILES = ((16, 4), (32, 4), (64, 8), (16, 8))

WORKERS = (1, 2, 3, 5, 8, 17, 64)


def problem_of(x, w, arguments):
    defaults = {"stride": 1, "padding": 0, "output_padding": 0, "output_size": None,
                "dilation": 1, "groups": 1, "channel_axis": 1}
    return make_problem(x, w, **(defaults | arguments))


def steps(shape, element, order):
    """Strides of an array whose axes lie in memory in this order, the last one dense."""
    strides, step = [0] * len(shape), element
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def plan_of(problem, kind="float32", tile=(64, 8), workers=1, layout="first", exact=False):
    """A plan with any tile, whatever this machine has, for x and y of one memory layout."""
    compute, components, element = KINDS[kind]
    images, rank = math.prod(problem.batch), len(problem.kernel)
    order = {
        "first": range(rank + 2),
        "last": [0, *range(2, rank + 2), 1],
        "batch": [*range(1, rank + 2), 0],
    }[layout]
    return Plan(
        problem,
        steps((images, problem.c_in, *problem.spatial_in), element, order),
        steps((problem.c_in, problem.c_out // problem.groups, *problem.kernel), element,
              range(rank + 2)),
        steps((images, problem.c_out, *problem.spatial_out), element, order),
        images, compute, components, element, tile[0] // (4 if compute == 0 else 8), tile[1],
        workers, exact,
    )


def reached(i, k, s, d, crop, out):
    """Positions of an axis that some product lands at."""
    at = np.unique(np.add.outer(np.arange(i) * s, np.arange(k) * d)) - crop
    return at[(at >= 0) & (at < out)]


def check(problem, plan):
    """Each element that has a product is stored once, no other one twice."""
    count = np.zeros((math.prod(problem.batch), problem.c_out, *problem.spatial_out), np.uint8)
    tasks = plan.places()
    assert len(tasks) == plan.tasks
    assert 1 <= plan.workers <= max(1, plan.tasks)
    for pieces in tasks:
        for piece in pieces:
            for along in piece:
                assert len(set(along)) == len(along)
            count[np.ix_(*piece)] += 1
    assert count.max(initial=0) <= 1
    if plan.complete:
        assert count.all()
    else:
        # The rest is bias, which the stage before the tasks writes.
        axes = zip(problem.spatial_in, problem.kernel, problem.stride, problem.dilation,
                   problem.crop, problem.spatial_out, strict=True)
        positions = [reached(*axis) for axis in axes]
        assert count[np.ix_(range(count.shape[0]), range(count.shape[1]), *positions)].all()


@st.composite
def problems(draw):
    """Shapes with a small result and, for many workers, a large number of input channels."""
    rank = draw(st.integers(1, 3))
    longest = {1: 200, 2: 40, 3: 9}[rank]
    x = [draw(st.integers(1, longest)) for _ in range(rank)]
    k = [draw(st.integers(1, (40, 9, 5)[rank - 1])) for _ in range(rank)]
    s = [draw(st.integers(1, 7)) for _ in range(rank)]
    d = [draw(st.integers(1, 5)) for _ in range(rank)]
    groups = draw(st.sampled_from((1, 1, 2, 3, 9, 33)))
    c_in = groups * draw(st.sampled_from((0, 1, 2, 7, 64, 1000, 100_000)))
    c_out = draw(st.sampled_from((1, 2, 3, 5, 8, 9, 16, 31, 40)))
    if groups == 33:
        c_in, c_out = groups * draw(st.integers(0, 2)), draw(st.integers(1, 2))
    full = [(i - 1) * a + b * (c - 1) + 1 for i, c, a, b in zip(x, k, s, d, strict=True)]
    form = draw(st.sampled_from(("same", "same_lower", "valid", "size", "pairs")))
    if form == "size":
        size = [draw(st.integers(1, f + 9)) for f in full]
        window = {"padding": draw(st.sampled_from(("same", "valid"))), "output_size": size}
    elif form == "pairs":
        pairs = []
        for f in full:
            before = draw(st.integers(-7, f - 1))
            pairs.append((before, draw(st.integers(-7, f - before - 1))))
        window = {"padding": pairs}
    else:
        window = {"padding": form}
    images = draw(st.sampled_from((1, 1, 2, 3, 17, 70)))
    return problem_of(
        (images, c_in, *x), (c_in, c_out, *k),
        {"stride": s, "dilation": d, "groups": groups, **window},
    )


@settings(max_examples=600)
@given(
    problems(), st.sampled_from(sorted(KINDS)), st.sampled_from(TILES), st.integers(1, 64),
    st.sampled_from(("first", "last", "batch")), st.sampled_from((False, False, False, True)),
)
def test_each_element_is_stored_once(problem, kind, tile, workers, layout, exact):
    assume(math.prod(problem.shape) < 400_000)
    plan = plan_of(problem, kind, tile, workers, layout, exact)
    event(plan.lane_axis)
    event("several workers" if plan.workers > 1 else "one worker")
    event("flat" if plan.flat else "row by row")
    event(f"strung: {plan.strung}")
    event("several groups in a task" if plan.groups > 1 else "one group in a task")
    event("complete" if plan.complete else "filled")
    event(f"stencil: {plan.stencil}")
    check(problem, plan)


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize(
    "case", [c for c in CASES if not c.id.endswith("many-taps")], ids=lambda case: case.id
)
def test_catalogue_is_stored_once(case, tile):
    problem = problem_of(case.x, case.w, case.arguments)
    # Enough input channels that the plan is one for several workers.
    problem = problem._replace(c_in=problem.groups * 3000)
    for workers, layout, kind in (
        (1, "first", "float32"), (3, "last", "complex128"), (64, "batch", "float32"),
        (64, "first", "float64"),
    ):
        check(problem, plan_of(problem, kind, tile, workers, layout))


@pytest.mark.parametrize("name", ("axis-many-taps", "rank2-many-taps"))
def test_thousands_of_taps_are_stored_once(name):
    # One row of the result is a task here.
    problem = problem_of(BY_ID[name].x, BY_ID[name].w, BY_ID[name].arguments)
    check(problem, plan_of(problem, workers=3))


@pytest.mark.parametrize("workers", (1, 5, 64))
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_stored_once(name, workers):
    layer = LAYERS[name]
    problem = problem_of(layer.x_shape, layer.w_shape, layer.options)
    check(problem, plan_of(problem, layer.dtype, workers=workers))


def test_the_cases_reach_every_path():
    seen = set()
    for case, tile, workers in itertools.product(CASES[::2], TILES, (1, 3, 64)):
        if case.id.endswith("many-taps"):
            continue
        problem = problem_of(case.x, case.w, case.arguments)
        problem = problem._replace(c_in=problem.groups * 3000)
        plan = plan_of(problem, tile=tile, workers=workers)
        seen |= {plan.lane_axis, ("flat", plan.flat), ("complete", plan.complete),
                 ("parallel", plan.workers > 1), ("groups", plan.groups > 1),
                 ("more tasks than workers", plan.tasks > plan.workers > 1)}
    assert seen >= {"batch", "spatial 0", "spatial 1", "spatial 2"}
    assert seen >= set(itertools.product(
        ("flat", "complete", "parallel", "groups", "more tasks than workers"), (True, False)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_count_of_multiply_adds(case):
    """Each product adds one to the result of ones, so the sum of the result counts them."""
    problem = problem_of(case.x, case.w, case.arguments)
    ones = fastconv.conv_transpose(
        np.ones(case.x), np.ones(case.w), **case.arguments, method="reference")
    assert multiply_adds(problem) == ones.sum()
    if not case.id.endswith("many-taps"):
        for kind, products in (("float32", 1), ("complex64", 4)):
            plan = _direct.contiguous_plan(problem, np.dtype(kind), 2)
            assert plan.macs == products * multiply_adds(problem)


def test_count_of_multiply_adds_of_long_axes():
    # Too large to be computed, exact all the same.
    problem = problem_of((2**20, 2**20, 2**40), (2**20, 2**20, 3), {"stride": 2})
    assert multiply_adds(problem) == 2**60 * 3 * 2**40


def test_workers_follow_the_work():
    """A problem below the threshold stays with one thread, whatever `workers` is."""
    small = BY_ID["rank2-unlike"]
    problem = problem_of(small.x, small.w, small.arguments)
    for workers in WORKERS:
        assert plan_of(problem, workers=workers).workers == 1
        more = plan_of(problem._replace(c_in=problem.groups * 3000), workers=workers)
        assert more.workers == min(workers, more.tasks)


@pytest.mark.parametrize("stride", (2048, 2049, 65536))
def test_lanes_along_the_batch_keep_within_their_scratch(stride, isa):
    # 64 images whose rows of the result have as many phases as the stride has steps.
    x, w = (64, 4, 8), (4, 1, stride)
    problem = make_problem(x, w, stride, 0, 0, None, 1, 1, 1)
    for dtype in ("float32", "float64", "complex128"):
        told = _direct.explain(problem, np.dtype(dtype), 2)
        weights, padded = np.prod(w), np.prod(x)
        bound = told["workers"] * (4 << 20) + (weights + padded) * np.dtype(dtype).itemsize
        assert told["scratch_bytes"] <= bound
    rng = np.random.default_rng(4)
    a, b = (rng.integers(-3, 4, shape).astype("float32") for shape in (x, w))
    np.testing.assert_array_equal(
        fastconv.conv_transpose(a, b, stride=stride, method="direct"),
        np.einsum("nci,cot->noit", a, b).reshape(64, 1, -1))


def test_count_of_multiply_adds_of_any_axis():
    rng = np.random.default_rng(31)
    for _ in range(3000):
        n, k, stride, dilation = (int(v) for v in rng.integers(1, 13, 4))
        full = (n - 1) * stride + (k - 1) * dilation + 1
        crop, size = int(rng.integers(-5, full + 5)), int(rng.integers(1, full + 6))
        problem = problem_of((1, 1, n), (1, 1, k), {
            "stride": stride, "dilation": dilation, "padding": [(crop, full - crop - size)]})
        at = np.arange(n)[:, None] * stride + np.arange(k) * dilation - crop
        assert multiply_adds(problem) == ((at >= 0) & (at < size)).sum(), problem


def test_count_of_multiply_adds_takes_no_longer_for_longer_axes():
    n = 2**30 + 1
    problem = problem_of((1, 1, n), (1, 1, n), {"padding": [(0, n - 1)]})
    assert multiply_adds(problem) == n * (n + 1) // 2


def shapes_of_all_sizes(rng):
    """Shapes, geometry and a type, of lengths up to 2**60, of arrays that can be addressed."""
    def long():
        return int(2 ** rng.integers(4, 60)) + int(rng.integers(-3, 4))

    while True:
        d = int(rng.integers(1, 4))
        few = [[1, 2, 3, 7, 16, 20, long()][i] for i in rng.integers(0, 7, 4 * d + 3)]
        dtype = np.dtype(("int8", "float16", "float32", "float64", "complex128")[rng.integers(5)])
        groups = int(2 ** max(0, rng.integers(-3, 12)))
        x = (few[0], few[1] * groups, *few[3 : 3 + d])
        # Phases are gone through one by one, in less time than their weights would be packed.
        kernel = [min(length, 2**20) for length in few[3 + d : 3 + 2 * d]]
        w = (few[1] * groups, few[2], *kernel)
        if max(math.prod(x), math.prod(w)) * dtype.itemsize >= 2**63:
            continue
        stride, dilation = few[3 + 2 * d : 3 + 3 * d], few[3 + 3 * d :]
        padding = []
        for a in range(d):
            full = (x[2 + a] - 1) * stride[a] + (w[2 + a] - 1) * dilation[a] + 1
            size = min(full, (full, 1, 50, 1000)[rng.integers(4)])
            before = int(rng.integers(0, full - size + 1)) if full < 2**62 else 0
            padding.append((before, full - before - size))
        try:
            problem = problem_of(x, w, {
                "stride": stride, "dilation": dilation, "padding": padding, "groups": groups})
        except ValueError:
            continue
        if math.prod(problem.shape) * dtype.itemsize < 2**63:
            yield problem, dtype


@pytest.mark.parametrize("workers", (1, 64))
def test_no_size_is_out_of_range(workers):
    """Each problem has a plan of sizes that make sense, or is refused in words; none is stuck."""
    planned = refused = 0
    shapes = shapes_of_all_sizes(np.random.default_rng(workers))
    for problem, dtype in itertools.islice(shapes, 3000):
        try:
            plan = _direct.contiguous_plan(problem, dtype, workers)
        except OverflowError as error:
            # Whoever asks before is told the same.
            assert _direct.refuses(problem, dtype) == str(error)
            refused += 1
            continue
        except MemoryError as error:
            assert "not fit into memory" in str(error)
            continue
        planned += 1
        results = math.prod(problem.shape)
        numbers = math.prod(problem.batch) * problem.c_in * math.prod(problem.spatial_in)
        assert 0 <= plan.tasks <= 2**21 * max(1, results) * problem.groups
        assert 1 <= plan.workers <= workers
        weights = math.prod(problem.kernel) * problem.c_in * problem.c_out // problem.groups
        bound = 512 * dtype.itemsize * 8 * (weights + numbers + problem.c_out) + workers * 2**23
        assert 0 < plan.scratch_bytes < bound
    assert planned > 1000
    assert refused > 50
