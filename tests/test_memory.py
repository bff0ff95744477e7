"""Memory: nothing is leaked, or taken beyond the promised scratch; what cannot fit says so.

Peaks are measured in processes of their own, where nothing else allocates. `PEAK` is prepended to
their scripts: resident bytes now, and the most there ever were. On Linux both are read from /proc,
because ru_maxrss of a child starts at what its parent had.
"""

from __future__ import annotations

import itertools
import math
import sys
from typing import NamedTuple

import numpy as np
import pytest
from cases import LAYERS as CASES
from cases import SAMPLE, attempt
from layers import LAYERS

import fastconv

PEAK = """
import resource, sys

def status(field):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024

def peak():
    if sys.platform == "linux":
        return status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def resident():
    return status("VmRSS") if sys.platform == "linux" else peak()
"""

#: What is allowed besides the promised sum: the interpreter's own objects and the C library's
#: arenas, one for each thread.
SLACK = 1 << 20


@pytest.mark.parametrize(
    "method", ("auto", "direct", "col2im", "planes", "winograd", "karatsuba", "reference"))
def test_inputs_are_unchanged(method):
    for case in SAMPLE:
        for dtype in ("float32", "float16", "complex128", "int16"):
            operands = case.operands(dtype)
            kept = [None if a is None else a.copy() for a in operands]
            for a in operands:
                if a is not None:
                    a.flags.writeable = False
            # There are no col2im kernels for some of these types: then nothing is computed.
            attempt(case, operands, method)
            for a, b in zip(operands, kept, strict=True):
                assert a is b is None or a.tobytes() == b.tobytes()


@pytest.mark.parametrize("method", ("auto", "direct", "reference"))
def test_references_do_not_leak(method):
    x, w, bias = np.ones((2, 3, 5, 6)), np.ones((3, 4, 3, 3)), np.ones(4)
    out = np.empty((2, 4, 11, 13))
    objects = (x, w, bias, out, np.dtype(float))
    before = [sys.getrefcount(a) for a in objects]
    for _ in range(50):
        y = fastconv.conv_transpose(x, w, bias, stride=2, method=method, out=out)
        assert y is out
        assert sys.getrefcount(fastconv.conv_transpose(x, w, bias, method=method)) <= 2
        for wrong in ({"stride": 0}, {"out": x}, {"workers": 0}, {"method": "none"}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                fastconv.conv_transpose(x, w, bias, **wrong)
    del y
    after = [sys.getrefcount(a) for a in objects]
    # The last is the type, which NumPy itself may hold a few times more or less.
    assert after[:-1] == before[:-1]
    assert after[-1] < before[-1] + 50


@pytest.mark.parametrize("method", ("direct", "col2im", "winograd", "karatsuba", "auto"))
def test_no_cache_grows(run_python, method):
    # Some shapes, of each method that "auto" takes, then 300 new ones that are no larger: the peak
    # stays.
    script = PEAK + """
import numpy as np
import fastconv

def call(i, channels):
    x = np.ones((1, channels, 9 + i % 17, 7 + i // 17), np.float32)
    w = np.ones((channels, 40, 4, 4), np.float32)
    try:
        fastconv.conv_transpose(x, w, stride=2, padding=1, method=sys.argv[1])
    except ValueError as error:
        assert sys.argv[1] in ("col2im", "karatsuba") and "cannot do this problem" in str(error)

for i in range(5, 306, 10):
    call(i, 64)
before = peak()
for i in range(300):
    call(i, 40 + i % 24)
print(peak() - before)
"""
    assert int(run_python(script, method)) < SLACK


def test_scratch_is_kept_for_the_next_call(run_python):
    # The C library is told to give back whatever is freed: fresh pages would be faults again.
    script = """
import resource
import numpy as np
import fastconv

x, w = np.ones((32, 64, 7, 7), np.float32), np.ones((64, 2, 3, 3), np.float32)
options = {"groups": 32, "padding": 1, "workers": 1, "method": "direct"}
out = fastconv.conv_transpose(x, w, **options)
for calls in (3, 50):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        fastconv.conv_transpose(x, w, out=out, **options)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    assert int(run_python(script, env={"MALLOC_MMAP_THRESHOLD_": "65536"})) < 50


def test_memory_is_flat_over_a_thousand_shapes(run_python):
    # Whatever were kept for a shape would add up: a plan alone has eleven thousand bytes.
    script = PEAK + """
import itertools
import numpy as np
import fastconv

def call(h, w):
    x, k = np.ones((1, 4, h, w), np.float32), np.ones((4, 6, 3, 3), np.float32)
    y = fastconv.conv_transpose(x, k, stride=2)
    assert y.shape == fastconv.output_shape(x.shape, k.shape, stride=2)

for _ in range(30):
    call(45, 45)
before = resident()
shapes = list(itertools.product(range(4, 44), range(5, 30)))
for shape in shapes:
    call(*shape)
print(len(set(shapes)), resident() - before)
"""
    shapes, grown = map(int, run_python(script).split())
    assert shapes == 1000
    assert grown < 1 << 20


@pytest.mark.parametrize("method", ("direct", "auto"))
def test_repeated_calls_do_not_leak(run_python, method):
    # With 2000 calls even one kept pointer or list a call is seen, with errors on the way.
    script = PEAK + """
import numpy as np
import fastconv

x, w = np.ones((2, 8, 9, 10), np.float32), np.ones((8, 16, 4, 4), np.float32)

def some():
    for _ in range(200):
        fastconv.conv_transpose(x, w, stride=2, method=sys.argv[1], workers=2)
        try:
            fastconv.conv_transpose(x, w, stride=2, output_size=1)
        except ValueError:
            continue
        raise AssertionError("output_size=1 was accepted")

some()
before = resident()
for _ in range(9):
    some()
print(resident() - before)
"""
    assert int(run_python(script, method)) < SLACK // 2


class Peak(NamedTuple):
    """A call that is large against what a thread may take; the geometry as for every axis."""

    x: tuple
    w: tuple
    arguments: dict
    dtype: str = "float32"


PEAKS = {
    name: Peak(layer.x_shape, layer.w_shape, layer.options, layer.dtype)
    for name, layer in LAYERS.items()
} | {
    "long_row": Peak((1, 1, 1000000), (1, 1, 81), {"stride": 4}),
    "many_images": Peak((400, 32, 14, 14), (32, 32, 3, 3), {"stride": 2, "padding": 1}),
    # One product of matrices would make columns of 17 GB of it, cropped as it is.
    "wide_kernel": Peak((1, 64, 512, 512), (64, 64, 16, 16), {"padding": 150}),
}

#: Layers that are measured in the types with the largest and the oddest copies as well.
IN_EACH_TYPE = ("fsrcnn_x3", "gray_up4", "depthwise_up", "istft")

#: Some that the winograd method can do.
WINOGRAD = ("compress_k5", "hifigan_4", "pose_3", "dcgan_3", "decoder_k3s1", "many_images")


@pytest.mark.parametrize(
    ("name", "dtype", "method"),
    [(name, peak.dtype, method) for name, peak in PEAKS.items() for method in ("auto", "direct")]
    + [(name, "float32", "winograd") for name in WINOGRAD]
    + [
        (name, dtype, method)
        for name in IN_EACH_TYPE
        for dtype, method in itertools.product(("complex128", "float16"), ("auto", "direct"))
    ]
    + [(name, "int32", "auto") for name in IN_EACH_TYPE],
)
def test_peak_memory(run_python, name, dtype, method):
    # x + w + y + one packed w + one padded x + 4 MiB a worker; x and w stand before it begins.
    x, w, geometry, _ = PEAKS[name]
    workers = 2
    script = PEAK + f"""
import numpy as np
import fastconv

def make(shape):
    a = np.empty(shape, {dtype!r})
    a.fill(1)
    return a

arguments = dict(workers={workers}, method={method!r})
# A small call first: threads are started, code is loaded.
rank = {len(w) - 2}
fastconv.conv_transpose(make((1, 8) + (24,) * rank), make((8, 8) + (3,) * rank), stride=2,
                        **arguments)
x, w = make({x}), make({w})
before = resident()
y = fastconv.conv_transpose(x, w, **{geometry!r}, **arguments)
print(peak() - before, y.nbytes)
"""
    used, result = map(int, run_python(script).split())
    # Halves are widened to be computed in, so a copy of them is twice as large.
    itemsize = {"float16": 4}.get(dtype, np.dtype(dtype).itemsize)
    weights = math.prod(w) * itemsize
    stride = geometry.get("stride", 1)
    reach = geometry.get("dilation", 1) * (max(w[2:]) - 1)
    padded = math.prod(x[:2]) * itemsize * math.prod(i + 2 * (reach // stride + 1) for i in x[2:])
    assert used <= result + weights + padded + workers * (4 << 20) + SLACK
    # The column buffer that this promise excludes: as many columns as pixels, for each tap.
    columns = x[0] * math.prod(x[2:]) * math.prod(w[1:]) * itemsize
    if name in ("gray_up4", "wide_kernel"):
        assert used < columns / 2
    if name == "wide_kernel":
        assert columns > 10**10


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": [(0, -(2**45))]},
        {"padding": [(-(2**60), 0)]},
        {"padding": "valid", "output_size": 2**59},
        {"stride": 2**44},
        {"dilation": 2**44},
        {"dilation": 2**55},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ("float32", "complex128", "int8", "float16"))
@pytest.mark.parametrize("method", ("auto", "direct", "reference"))
def test_impossible_results(run_python, arguments, dtype, method):
    if method != "auto" and dtype == "int8":
        return
    script = f"""
import numpy as np
import fastconv
x, w = np.ones((1, 1, 2), {dtype!r}), np.ones((1, 1, 2), {dtype!r})
try:
    fastconv.conv_transpose(x, w, method={method!r}, **{arguments!r})
except MemoryError as error:
    print(error)
"""
    message = run_python(script, timeout=20)
    shape = fastconv.output_shape((1, 1, 2), (1, 1, 2), **arguments)
    assert str(shape) in message
    assert str(math.prod(shape) * np.dtype(dtype).itemsize) in message


@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 2**62},
        {"stride": 2**63},
        {"dilation": 2**63 - 1},
        {"padding": [(-(2**62), -(2**62))]},
        {"padding": [(2**200, -(2**200))]},
        {"padding": "same", "output_size": 2**63},
        {"output_padding": 2**62, "stride": 2**62 + 1},
    ],
    ids=str,
)
def test_positions_beyond_the_index_type(arguments):
    # Found by arithmetic on Python's integers, before anything is allocated or wraps around.
    x = np.ones((1, 1, 3))
    with pytest.raises(ValueError, match="padding|stride|positions|output_size"):
        fastconv.output_shape((1, 1, 3), (1, 1, 3), **arguments)
    with pytest.raises(ValueError, match="padding|stride|positions|output_size"):
        fastconv.conv_transpose(x, x, **arguments)


@pytest.mark.parametrize(
    ("x", "w", "arguments", "wanted"),
    [
        ((65536, 3, 65536, 65536), (3, 5, 4, 4), {"stride": 2, "padding": 1},
         (65536, 5, 131072, 131072)),
        ((1, 1, 2**31), (1, 1, 3), {}, (1, 1, 2**31 + 2)),
        ((1, 1, 2**31), (1, 1, 3), {"stride": 3}, (1, 1, 3 * 2**31)),
        ((1, 1, 46341, 46341), (1, 1, 1, 1), {}, (1, 1, 46341, 46341)),
        ((1, 1, 2**32 + 1), (1, 1, 2), {"stride": 2**20, "padding": "same"},
         (1, 1, 2**52 + 2**20)),
        ((1, 1, 2), (1, 1, 2**31 + 5), {"dilation": 7}, (1, 1, 7 * (2**31 + 4) + 2)),
        ((0, 1, 2**40), (1, 2**33, 1), {}, (0, 2**33, 2**40)),
    ],
    ids=str,
)
def test_long_output_shapes(x, w, arguments, wanted):
    assert fastconv.output_shape(x, w, **arguments) == wanted


@pytest.mark.parametrize("dtype", ("int8", "float32", "complex128"))
def test_weights_that_cannot_be_packed(dtype):
    # All elements are one: the operands exist, but no copy of the weights can.
    c_in = 2**60 // np.dtype(dtype).itemsize // 2**18
    x = np.broadcast_to(np.ones((), dtype), (1, c_in, 1))
    w = np.broadcast_to(np.ones((), dtype), (c_in, 2, 2**18))
    out = np.full((1, 2, 2**18), 7, dtype)
    with pytest.raises(MemoryError, match="scratch|copies"):
        fastconv.conv_transpose(x, w, stride=2**10, method="direct", out=out, workers=1)
    assert (out == 7).all()


HUGE = """
import resource, sys
import numpy as np
import fastconv
import reference

def check(x_shape, w_shape, near, **arguments):
    # `near` cuts out of x what reaches the window, so that the definition can be applied.
    dtype, method = sys.argv[1:]
    x = np.broadcast_to(np.array(3, dtype), x_shape)
    w = np.arange(1, 1 + int(np.prod(w_shape))).reshape(w_shape).astype(dtype)
    begin, stop = near
    stride = arguments.get("stride", 1)
    y = fastconv.conv_transpose(x, w, method=method, **arguments)
    first = [tuple(p) for p in arguments["padding"]][0][0]
    pairs = [list(p) for p in arguments["padding"]]
    pairs[0] = [first - begin * stride, 0]
    out = y.shape[2:]
    lengths = [stop - begin, *x_shape[3:]]
    cut = np.broadcast_to(np.array(3, dtype), (*x_shape[:2], *lengths))
    crop = [p[0] for p in pairs]
    rank = len(lengths)
    wanted = reference.scatter(cut, w, stride=[stride] * rank, dilation=[1] * rank, crop=crop,
                               out=out)
    np.testing.assert_array_equal(y, wanted)
    assert y.any()

if sys.platform == "linux":
    # 6 GiB of address space: a copy of the input as it seems to be could not be made.
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
"""


@pytest.mark.parametrize("method", ("auto", "direct", "reference"))
@pytest.mark.parametrize("dtype", ("float32", "complex128"))
def test_window_of_a_long_row(run_python, dtype, method):
    # One row of 2**32 elements that share their memory, of which the window needs a few.
    script = HUGE + """
n = 2**32 + 7
full = (n - 1) * 3 + 5
middle = 3 * 2**31 + 1
check((1, 2, n), (2, 3, 5), (2**31 - 10, 2**31 + 40), stride=3,
      padding=[(middle, full - middle - 50)])
check((1, 2, n), (2, 3, 5), (n - 40, n), stride=3, padding=[(full - 60, 0)])
"""
    run_python(script, dtype, method, timeout=60)


@pytest.mark.parametrize("method", ("auto", "direct", "reference"))
@pytest.mark.parametrize("dtype", ("float32", "complex128"))
def test_window_of_many_rows(run_python, dtype, method):
    script = HUGE + """
n = 2**31 + 11
full = (n - 1) * 2 + 4
middle = 2**31 + 5
check((1, 2, n, 5), (2, 3, 4, 4), (2**30 - 10, 2**30 + 30), stride=2,
      padding=[(middle, full - middle - 30), (1, 1)])
check((1, 2, n, 5), (2, 3, 4, 4), (n - 40, n), stride=2, padding=[(full - 30, -2), (1, 1)])
"""
    run_python(script, dtype, method, timeout=60)


def test_failure_leaves_out_untouched():
    out = np.full((2, 4, 5), 7.0)
    x, w = np.ones((2, 3, 5)), np.ones((3, 4, 1))
    for wrong in (
        {"stride": 2}, {"padding": 1}, {"groups": 2}, {"method": "none"}, {"workers": 0},
        {"bias": np.ones(3)}, {"dtype": "object"}, {"dtype": np.int64},
    ):
        with pytest.raises((TypeError, ValueError)):
            fastconv.conv_transpose(x, w, out=out, **wrong)
        assert (out == 7).all()
    assert (fastconv.conv_transpose(x, w, out=out) == 3).all()


def test_a_refusal_leaves_out_untouched():
    for case in CASES:
        shape = fastconv.output_shape(case.x, case.w, **case.arguments)
        out = np.full(shape, 7, "float32")
        if attempt(case, case.operands("float32"), "col2im", out=out) is None:
            assert (out == 7).all()


@pytest.mark.parametrize("shape", [(1, 1, 300, 300), (1, 3, 90, 80), (64, 16, 4, 4), (7, 40, 9, 5)])
@pytest.mark.parametrize("exact", [False, True])
def test_x_laid_out_anew_is_one_copy(shape, exact):
    """Lanes along the batch need one copy of x, an eighth larger at most, and a tile's overhang."""
    from fastconv import _direct, _problem

    w_shape = (shape[1], 8, 3, 3)
    problem = _problem.make_problem(shape, w_shape, 2, 1, 0, None, 1, 1, 1)
    x, w = np.empty(shape, np.float32), np.empty(w_shape, np.float32)
    y = np.empty(problem.shape, np.float32)
    plan = _direct.make_plan(problem, x.dtype, (x.strides, w.strides, y.strides), 2, exact)
    assert plan.relaid <= x.size * 9 // 8 + 48
    assert plan.relaid == 0 or plan.lane_axis == "batch"
    assert not exact or plan.relaid >= x.size
