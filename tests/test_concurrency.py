"""Threads, fork and the floating-point environment.

What could hang runs in a process of its own with a time limit.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import BY_ID, LAYERS, attempt, expected

import fastconv

SHARED = ("layer-dcgan_3", "layer-pose_1", "layer-istft", "layer-depthwise_up", "rank2-unlike",
          "layer-gray_up4", "batch-last-33", "layer-unet3d_up")


@pytest.mark.parametrize("workers", (1, 2, 5, None))
@pytest.mark.parametrize("method", ("auto", "direct"))
def test_calls_from_many_threads(method, workers):
    # All start at once and read the same arrays; each compares what it gets.
    cases = [BY_ID[name] for name in SHARED]
    operands = {case.id: case.operands("float32") for case in cases}
    wanted = {case.id: expected(case, "float32") for case in cases}
    start = threading.Barrier(8)

    def work(first):
        start.wait(30)
        for turn in range(2 * len(cases)):
            case = cases[(first + turn) % len(cases)]
            y = fastconv.conv_transpose(
                *operands[case.id], **case.arguments, method=method, workers=workers
            )
            np.testing.assert_array_equal(y, wanted[case.id])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8), timeout=120))


def test_threads_write_parts_of_one_array():
    case = BY_ID["layer-dcgan_rgb"]
    x, w, bias = case.operands("float32")
    wanted = expected(case, "float32")
    out = np.full(wanted.shape, np.nan, np.float32)

    def work(i):
        fastconv.conv_transpose(
            x[i : i + 1], w, bias, **case.arguments, method="direct", out=out[i : i + 1]
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(len(x)), timeout=60))
    np.testing.assert_array_equal(out, wanted)


def test_worker_thread_that_ends():
    # OpenMP keeps a pool for each thread that ever called; many short threads must not matter.
    case = BY_ID["layer-hifigan_1"]
    operands, wanted = case.operands("float32"), expected(case, "float32")
    results = []

    def work():
        results.append(fastconv.conv_transpose(*operands, **case.arguments, workers=2))

    for _ in range(25):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    assert len(results) == 25
    for y in results:
        np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("threads", (1, 2))
def test_fewer_threads_than_asked_for(run_python, threads):
    # The system may give fewer; what was meant for the others is done by those that are there.
    script = """
import numpy as np
import fastconv

rng = np.random.default_rng(1)
for methods, shape, c_out, kernel, options in (
    ("direct col2im winograd", (2, 96, 12, 14), 40, (3, 3), {"padding": 1}),
    ("direct col2im winograd", (2, 96, 12, 14), 100, (3, 3), {"padding": 1}),
    ("direct winograd", (16, 24, 8, 8), 20, (4, 4), {"stride": 2}),
    ("col2im karatsuba", (1, 256, 40), 64, (4,), {"stride": 2}),
    ("direct planes", (2, 96, 32, 34), 2, (3, 3), {"padding": 1}),
):
    x = rng.integers(-4, 5, shape).astype(np.float32)
    w = rng.integers(-4, 5, (shape[1], c_out, *kernel)).astype(np.float32)
    wanted = fastconv.conv_transpose(x, w, **options, method="reference")
    for method in methods.split():
        y = np.full_like(wanted, np.nan)
        fastconv.conv_transpose(x, w, **options, method=method, workers=5, out=y)
        assert (y == wanted).all(), (method, shape)
"""
    run_python(script, env={"OMP_THREAD_LIMIT": str(threads)})


def test_gil_is_released():
    # A thread that wakes a thousand times a second gets nothing done while another holds the
    # lock; around a call that holds it, it would count one or two.
    x = np.ones((1, 256, 160, 160), np.float32)
    w = np.ones((256, 128, 4, 4), np.float32)
    count = 0
    done = threading.Event()
    started = threading.Event()

    def tick():
        nonlocal count
        started.set()
        while not done.is_set():
            count += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    started.wait(30)
    before = count
    fastconv.conv_transpose(x, w, stride=2, padding=1, workers=1, method="direct")
    progress = count - before
    done.set()
    thread.join(30)
    assert progress >= 10


FORK = """
import os
import signal
import sys
import warnings
import numpy as np
import fastconv
from cases import BY_ID, expected

warnings.simplefilter("ignore", DeprecationWarning)
NAMES = ("layer-dcgan_3", "layer-pose_1", "layer-depthwise_up", "rank2-unlike")
# Once and here: the definition calls a BLAS, whose locks need not survive a fork.
OPERANDS = {name: BY_ID[name].operands("float32") for name in NAMES}
WANTED = {name: expected(BY_ID[name], "float32") for name in NAMES}

def check(name="layer-dcgan_3", workers=None):
    for method in ("auto", "direct"):
        y = fastconv.conv_transpose(*OPERANDS[name], **BY_ID[name].arguments, method=method,
                                    workers=workers)
        assert (y == WANTED[name]).all()
    return name
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
def test_fork_after_use(run_python):
    # Also a child of the child, and the parent afterwards.
    script = FORK + """
check(workers=2)
for generation in range(2):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        for name in NAMES:
            for workers in (None, 1, 2, 7, -1):
                check(name, workers)
        grandchild = os.fork()
        if grandchild == 0:
            check(workers=3)
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    check(workers=2)
"""
    run_python(script, timeout=90)


@needs_fork
def test_fork_while_threads_compute(run_python):
    script = FORK + """
import threading
stop = threading.Event()

def work():
    while not stop.is_set():
        check(workers=2)

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        check("layer-depthwise_up", 2)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for thread in threads:
    thread.join()
assert codes == [0] * 10, codes
"""
    run_python(script, timeout=90)


@pytest.mark.parametrize(
    "start", [pytest.param("fork", marks=needs_fork), "spawn"]
)
def test_multiprocessing(run_python, start):
    script = FORK + f"""
import multiprocessing

if __name__ == "__main__":
    check(workers=2)
    context = multiprocessing.get_context({start!r})
    with context.Pool(2) as pool:
        assert pool.map_async(check, NAMES * 3).get(60) == list(NAMES * 3)
    check(workers=2)
"""
    run_python(script, timeout=90)


def test_interpreter_ends_while_a_thread_computes(run_python):
    # A daemon thread in the middle of a call must not bring the shutdown down.
    script = """
import threading
import numpy as np
import fastconv
x, w = np.ones((1, 64, 128, 128), np.float32), np.ones((64, 64, 4, 4), np.float32)
started = threading.Event()

def work():
    while True:
        started.set()
        fastconv.conv_transpose(x, w, stride=2, workers=2)

threading.Thread(target=work, daemon=True).start()
started.wait(30)
print("end")
"""
    assert run_python(script, timeout=60) == "end\n"


def test_use_after_an_exception():
    case = BY_ID["layer-pose_1"]
    for _ in range(3):
        with pytest.raises(ValueError, match="groups"):
            fastconv.conv_transpose(*case.operands("float32"), groups=7)
        y = fastconv.conv_transpose(*case.operands("float32"), **case.arguments, workers=2)
        np.testing.assert_array_equal(y, expected(case, "float32"))


def libm():
    name = ctypes.util.find_library("m") or ctypes.util.find_library("c")
    return ctypes.CDLL(name) if name else ctypes.cdll.msvcrt


@pytest.mark.parametrize(
    "method", ("auto", "direct", "col2im", "planes", "winograd", "karatsuba", "reference"))
@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "float16", "int32"))
def test_floating_point_environment(dtype, method):
    # The rounding mode, and whether subnormals are numbers, in the calling thread. Sticky flags
    # are not part of it: NumPy clears them before it looks.
    environment = libm()
    rounding = environment.fegetround()
    settings = np.geterr()
    tiny = np.array(np.finfo(np.float64).smallest_subnormal)
    for case in LAYERS[:6]:
        attempt(case, case.operands(dtype), method, workers=2)
        assert environment.fegetround() == rounding
        assert np.geterr() == settings
        assert tiny * 1.0 == tiny
        assert (tiny * 3) / 3 == tiny
        assert np.float32(1e-40) * np.float32(0.5) > 0


@pytest.mark.parametrize("workers", (1, 2))
@pytest.mark.parametrize("method", ("direct", "col2im", "planes", "winograd", "karatsuba"))
def test_rounding_mode_of_the_caller(method, workers):
    """It is left as it is, and changes no bit: threads of a team would not have it."""
    environment = libm()
    # FE_UPWARD of <fenv.h>.
    upward = {"x86_64": 0x800, "aarch64": 0x400000, "arm64": 0x400000, "AMD64": 0x200}.get(
        platform.machine())
    if upward is None:
        pytest.skip(f"the number of FE_UPWARD on {platform.machine()} is not known here")
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 40, 24, 24)).astype(np.float32)
    w = rng.standard_normal((40, 2 if method == "planes" else 24, 4, 4)).astype(np.float32)
    options = {"stride": 2, "padding": 1, "method": method, "workers": workers}
    wanted = fastconv.conv_transpose(x, w, **options)
    rounding = environment.fegetround()
    assert environment.fesetround(upward) == 0
    try:
        y = fastconv.conv_transpose(x, w, **options)
        kept = environment.fegetround()
    finally:
        environment.fesetround(rounding)
    assert kept == upward
    assert y.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("workers", (1, 2))
def test_status_flags_are_left_alone(workers):
    # Infinite weights make the packing look for NaN, and every tile multiply with Inf.
    environment = libm()
    x, w = np.ones((1, 8, 30, 30), np.float32), np.ones((8, 8, 4, 4), np.float32)
    w[1, 2, 3, 3] = np.inf
    x[0, 1, 5, 5] = 0
    environment.feclearexcept(0x3F)
    y = fastconv.conv_transpose(x, w, stride=2, method="direct", workers=workers)
    raised = environment.fetestexcept(1)  # FE_INVALID, on x86 and on Arm
    assert np.isnan(y).any()
    assert raised == 0


@pytest.mark.skipif(sys.platform != "linux", reason="fegetexcept is an extension of glibc")
def test_traps_are_left_alone(run_python):
    script = """
import ctypes, ctypes.util
import numpy as np
import fastconv
m = ctypes.CDLL(ctypes.util.find_library("m"))
before = m.fegetexcept(), m.fegetround()
x = np.ones((1, 32, 40, 40), np.float32)
w = np.ones((32, 32, 4, 4), np.float32)
x[0, 0, 0, 0] = np.inf
w[1, 1] = 3e38
for workers in (1, 2):
    fastconv.conv_transpose(x, w, stride=2, workers=workers)
assert (m.fegetexcept(), m.fegetround()) == before
"""
    run_python(script)


@pytest.mark.parametrize("method", ("auto", "direct", "reference"))
@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "float16"))
def test_no_warnings_and_no_floating_point_errors(dtype, method):
    # Overflow, Inf and NaN are results here as in a BLAS, whatever the caller's error state.
    big = np.finfo(dtype).max
    for x_value, w_value in [(big, big), (np.inf, 0), (np.nan, 1), (np.inf, -np.inf)]:
        x, w = np.full((1, 2, 9), x_value, dtype), np.full((2, 3, 4), w_value, dtype)
        with np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error")
            y = fastconv.conv_transpose(x, w, np.ones(3, dtype), stride=2, method=method)
        assert not np.isfinite(y).any()


def test_casts_are_silent():
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        y = fastconv.conv_transpose(
            np.full((1, 1, 3), 1e300), np.ones((1, 1, 2)), dtype=np.float32
        )
    assert np.isposinf(y).all()
