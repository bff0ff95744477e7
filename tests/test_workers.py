"""Agnosticism: workers, batch position, layout and batch size never change a bit of the result.

Operands are random floats, whose sums do round, so that a different order of summation shows in
the bytes. The policy for the number of threads is tested apart from any computing.
"""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from cases import BY_ID, LAYERS, attempt
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import fastconv
from fastconv import _threads

ODD = [
    BY_ID[name]
    for name in (
        "rank2-unlike", "rank3-k4-s2", "channels-17to31-k4-s2", "length-97-k9-s3", "batch-17-odd",
        "batch-last-33", "groups-12to30-g6-k4-s2", "plain-image", "axis-long-k3-s2",
        "columns-pixel-blocks", "columns-deep", "columns-wide-odd", "columns-hop-s24-d1",
        "columns-hop-channels",
    )
]
DTYPES = ("float32", "float64", "complex64", "complex128", "float16")
METHODS = ("direct", "col2im", "planes", "winograd", "karatsuba", "auto")


def by_id(case):
    return case.id


def random_operands(case, dtype, seed=7):
    rng = np.random.default_rng(seed)
    arrays = []
    for shape in (case.x, case.w, () if case.channel_axis is None else (case.c_out,)):
        a = rng.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            a = a + 1j * rng.standard_normal(shape)
        arrays.append(a.astype(dtype))
    return arrays


def identical(one, other):
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    if one.tobytes() != other.tobytes():
        np.testing.assert_array_equal(one, other)
        raise AssertionError("equal values, but not the same bytes")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", [*LAYERS, *ODD], ids=by_id)
def test_workers_agnosticism(case, method):
    for dtype in DTYPES[:1] if method == "auto" else ("float32", "float64", "complex64"):
        operands = random_operands(case, dtype)
        one = attempt(case, operands, method, workers=1)
        for workers in (2, 3, 4, 5, 6, 7, 8, -1, None):
            if one is not None:
                identical(attempt(case, operands, method, workers=workers), one)


@pytest.mark.parametrize("method", ("direct", "col2im", "planes", "winograd", "karatsuba"))
@pytest.mark.parametrize("case", LAYERS[::3], ids=by_id)
def test_workers_agnosticism_in_each_instruction_set(case, method, isa):
    operands = random_operands(case, "float32")
    one = attempt(case, operands, method, workers=1)
    for workers in (2, 5, 7):
        if one is not None:
            identical(attempt(case, operands, method, workers=workers), one)


@pytest.mark.parametrize("method", ("direct", "col2im", "planes", "winograd", "karatsuba"))
@pytest.mark.parametrize(
    "case", [c for c in [*LAYERS, *ODD] if c.channel_axis == 1], ids=by_id
)
def test_batch_size_agnosticism(case, method):
    # A forced method computes an image alone as it does among 2 or 11 others, wherever it stands.
    x, w, bias = random_operands(case, "float32")
    images = np.concatenate([x, random_operands(case, "float32", seed=8)[0]])[:2]
    batch = images[[0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0]]
    several = attempt(case, (batch, w, bias), method, workers=3)
    if several is None:
        return
    alone = [attempt(case, (image[None], w, bias), method) for image in images]
    pair = attempt(case, (images, w, bias), method)
    assert pair is not None
    for y, image in zip(several, [0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0], strict=True):
        identical(y, pair[image])
        if alone[image] is not None:
            identical(y, alone[image][0])


@settings(max_examples=400)
@given(
    st.permutations((20, 2, 3)), st.integers(1, 3), st.tuples(*[st.integers(2, 3)] * 3),
    st.integers(1, 2), st.sampled_from((8, 33)), st.integers(1, 9), st.sampled_from((1, 2)),
    st.sampled_from((16, 5, 40, 13)), st.sampled_from(("float32", "float64", "complex64")),
    st.sampled_from(("direct", "direct", "direct", "col2im", "planes", "winograd", "karatsuba")),
)
def test_agnosticism_of_maps_with_one_long_axis(
        shape, rank, kernel, stride, c_in, c_out, groups, images, dtype, method):
    """Lanes run along that axis or along the batch; bits depend on neither, nor on the layout."""
    options = {"stride": stride, "groups": groups, "method": method}
    rng = np.random.default_rng(3)
    x = rng.standard_normal((images, c_in * groups, *shape[:rank])).astype(dtype)
    w = rng.standard_normal((c_in * groups, c_out, *kernel[:rank])).astype(dtype)
    try:
        whole = fastconv.conv_transpose(x, w, workers=1, **options)
    except ValueError:
        assert method != "direct"
        reject()
    identical(fastconv.conv_transpose(x[:1], w, workers=2, **options), whole[:1])
    last = fastconv.conv_transpose(
        np.moveaxis(x, 1, -1).copy(), w, channel_axis=-1, workers=3, **options)
    identical(np.moveaxis(last, -1, 1).copy(), whole)
    turned = fastconv.conv_transpose(np.asfortranarray(x), w, **options)
    identical(turned.copy("C"), whole)


@pytest.mark.parametrize("case", [*LAYERS[::2], *ODD], ids=by_id)
def test_batch_position_agnosticism(case):
    # "auto" chooses once for a batch; the same image then has the same result at every place.
    if case.channel_axis is None:
        case = BY_ID["plain-2d-batch"]
    x, w, bias = random_operands(case, "float32")
    for count in (1, 4, 13):
        batch = np.repeat(x[:1], count, axis=0)
        y = attempt(case, (batch, w, bias), "auto", workers=3)
        for image in y:
            identical(image, y[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", [*ODD, *LAYERS[::3]], ids=by_id)
def test_layout_agnosticism(case, method):
    for dtype in ("float32", "complex128"):
        x, w, bias = random_operands(case, dtype)
        wanted = attempt(case, (x, w, bias), method)
        if wanted is None:
            continue
        for change in (
            np.asfortranarray,
            lambda a: np.flip(np.flip(a).copy()),
            lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
            lambda a: np.repeat(a, 2, axis=0)[::2],
            lambda a: np.swapaxes(np.swapaxes(a, 0, -1).copy(), 0, -1),
            lambda a: a.astype(a.dtype.newbyteorder()),
        ):
            identical(attempt(case, (change(x), w, bias), method), wanted)
            identical(attempt(case, (x, change(w), bias), method), wanted)
            out = change(np.empty_like(wanted))
            if not out.flags.writeable or out.dtype != wanted.dtype:
                continue
            attempt(case, (x, w, bias), method, out=out)
            identical(np.ascontiguousarray(out), wanted)


def test_channels_last_agnosticism():
    rng = np.random.default_rng(1)
    problems = [((3, 9, 11, 13), (9, 7, 4, 4), 1), ((1, 8, 9, 40), (8, 3, 3, 3), 4)]
    for shape, w_shape, groups in problems:
        x, w = rng.standard_normal(shape), rng.standard_normal(w_shape)
        first = fastconv.conv_transpose(x, w, stride=2, groups=groups, method="direct")
        last = fastconv.conv_transpose(
            np.moveaxis(x, 1, -1).copy(), w, stride=2, groups=groups, method="direct",
            channel_axis=-1,
        )
        identical(np.ascontiguousarray(np.moveaxis(last, -1, 1)), first)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_alignment_of_weights_agnosticism(dtype, isa):
    # Tiles of raw weights begin on cache lines where they can: the same bits wherever those are.
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, 70, 5)).astype(dtype)
    for c_out, k in [(64, 16), (32, 17), (3, 301), (1, 640)]:
        w = rng.standard_normal((70, c_out, k)).astype(dtype)
        memory = np.empty(w.size + 16, dtype)
        wanted = fastconv.conv_transpose(x, w, stride=4, method="col2im")
        for offset in (0, 1, 2, 3, 5, 8, 12, 15):
            moved = memory[offset : offset + w.size].reshape(w.shape)
            moved[...] = w
            for workers in (1, 3):
                identical(
                    fastconv.conv_transpose(x, moved, stride=4, method="col2im", workers=workers),
                    wanted,
                )


@pytest.mark.parametrize("method", ("direct", "col2im", "planes", "winograd", "karatsuba"))
@pytest.mark.parametrize(
    "name", ("layer-pose_1", "layer-dcgan_2", "layer-hifigan_1", "layer-compress_k5",
             "layer-depthwise_up", "layer-istft", "layer-fsrcnn_x3", "layer-unet3d_up")
)
def test_repeated_runs(name, method):
    # Two threads that write one element, or read what another still writes, differ some day.
    case = BY_ID[name]
    operands = random_operands(case, "float32")
    one = attempt(case, operands, method, workers=1)
    if one is None:
        return
    out = np.empty_like(one)
    for _ in range(40):
        out.fill(np.nan)
        attempt(case, operands, method, workers=7, out=out)
        identical(out, one)


@pytest.mark.parametrize("method", (*METHODS, "reference"))
@pytest.mark.parametrize("case", [*ODD, *LAYERS[::2]], ids=by_id)
def test_nothing_is_written_outside_of_out(case, method):
    for dtype in ("float32", "float16", "complex128"):
        operands = random_operands(case, dtype)
        wanted = attempt(case, operands, method)
        if wanted is None:
            continue
        canary = np.array(-12345, dtype)
        # A border of canaries around contiguous memory, then one around every axis.
        flat = np.full(wanted.size + 256, canary)
        inner = flat[128 : 128 + wanted.size].reshape(wanted.shape)
        attempt(case, operands, method, out=inner, workers=3)
        identical(inner, wanted)
        assert (flat[:128] == canary).all()
        assert (flat[128 + wanted.size :] == canary).all()
        wide = np.full(tuple(n + 4 for n in wanted.shape), canary)
        at = (slice(2, -2),) * wanted.ndim
        attempt(case, operands, method, out=wide[at], workers=3)
        identical(np.ascontiguousarray(wide[at]), wanted)
        wide[at] = canary
        assert (wide == canary).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("which", ("x", "w", "bias"))
def test_out_may_overlap_an_operand(which, method):
    rng = np.random.default_rng(2)
    memory = rng.standard_normal(4000)
    shapes = {"x": (2, 4, 6, 6), "w": (4, 4, 3, 3), "bias": (4,)}
    operands = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    size = math.prod(shapes[which])
    for offset in (0, 1, 7, 60):
        operands[which] = memory[offset : offset + size].reshape(shapes[which])
        kept = {name: a.copy() for name, a in operands.items()}
        try:
            wanted = fastconv.conv_transpose(**kept, padding=1, method=method)
        except ValueError as error:
            assert method in ("col2im", "planes", "winograd", "karatsuba")
            assert "cannot do this problem" in str(error)
            return
        out = memory[:288].reshape(2, 4, 6, 6)
        fastconv.conv_transpose(**operands, padding=1, method=method, out=out)
        identical(out, wanted)


def test_out_may_be_the_input():
    x = np.arange(72.0).reshape(2, 1, 36)
    w = np.ones((1, 1, 3))
    wanted = fastconv.conv_transpose(x, w, padding=1)
    assert fastconv.conv_transpose(x, w, padding=1, out=x) is x
    identical(x, wanted)


@pytest.mark.parametrize(
    ("workers", "error"),
    [
        (0, ValueError),
        (np.int64(0), ValueError),
        (-10_000, ValueError),
        (True, TypeError),
        (False, TypeError),
        (1.0, TypeError),
        ("2", TypeError),
        ([2], TypeError),
        (1j, TypeError),
    ],
    ids=repr,
)
def test_invalid_workers(workers, error):
    out = np.full((1, 1, 4), 5.0)
    with pytest.raises(error, match="workers"):
        fastconv.conv_transpose(np.ones((1, 1, 3)), np.ones((1, 1, 2)), workers=workers, out=out)
    assert (out == 5).all()


def test_many_workers():
    # More than there is work, more than there are processors, more than would be sensible.
    case = BY_ID["layer-dcgan_rgb"]
    operands = random_operands(case, "float32")
    one = attempt(case, operands, "direct", workers=1)
    for workers in (16, 255, 100_000, 2**62, np.int16(3)):
        identical(attempt(case, operands, "direct", workers=workers), one)


def test_workers_that_are_not_usable_any_more(monkeypatch):
    # The number was checked when six were, and then the affinity changed.
    monkeypatch.setattr(_threads, "usable", lambda: 2)
    assert _threads.resolve(-6) == 1
    assert _threads.resolve(-1) == 2


def test_negative_workers_count_from_the_usable_ones(monkeypatch):
    monkeypatch.setattr(_threads, "usable", lambda: 6)
    assert _threads.resolve(_threads.check_workers(-1)) == 6
    assert _threads.resolve(_threads.check_workers(-2)) == 5
    assert _threads.resolve(_threads.check_workers(-6)) == 1
    with pytest.raises(ValueError, match="workers=-7"):
        _threads.check_workers(-7)
    assert _threads.resolve(_threads.check_workers(None)) == 6
    assert _threads.resolve(_threads.check_workers(2)) == 2


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("max 100000\n", math.inf),
        ("200000 100000\n", 2.0),
        ("150000 100000\n", 1.5),
        ("50000 100000", 0.5),
        ("", math.inf),
        ("nonsense", math.inf),
        ("a b", math.inf),
    ],
)
def test_quota_of_cgroups_2(tmp_path, monkeypatch, text, quota):
    file = tmp_path / "cpu.max"
    file.write_text(text)
    monkeypatch.setattr(_threads, "CGROUP_V2", file)
    assert _threads.cgroup_quota() == quota


@pytest.mark.parametrize(
    ("quota", "period", "cpus"), [("-1", "100000", math.inf), ("300000", "100000", 3.0)]
)
def test_quota_of_cgroups_1(tmp_path, monkeypatch, quota, period, cpus):
    (tmp_path / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu.cfs_period_us").write_text(period + "\n")
    monkeypatch.setattr(_threads, "CGROUP_V2", tmp_path / "absent")
    monkeypatch.setattr(_threads, "CGROUP_V1", tmp_path)
    assert _threads.cgroup_quota() == cpus


def test_no_quota_without_cgroups(tmp_path, monkeypatch):
    monkeypatch.setattr(_threads, "CGROUP_V2", tmp_path / "absent")
    monkeypatch.setattr(_threads, "CGROUP_V1", tmp_path / "absent")
    assert _threads.cgroup_quota() == math.inf


@pytest.mark.parametrize(
    ("affinity", "quota", "openmp", "usable"),
    [(8, math.inf, 8, 8), (2, math.inf, 8, 2), (8, 3.5, 8, 4), (8, 0.4, 8, 1), (8, 6.0, 4, 4)],
)
def test_the_smallest_limit_counts(monkeypatch, affinity, quota, openmp, usable):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(_threads, "_QUOTA", quota)
    monkeypatch.setattr(_threads, "max_threads", lambda: openmp)
    monkeypatch.setattr(_threads, "_forked", False)
    assert _threads.usable() == usable
    assert _threads.resolve(None) == usable


def test_omp_num_threads_is_respected(run_python):
    script = """
from fastconv import _threads
print(_threads.usable())
"""
    assert run_python(script, env={"OMP_NUM_THREADS": "1"}).strip() == "1"


def test_affinity_is_respected(run_python):
    script = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from fastconv import _threads
    assert _threads.usable() == 1, _threads.limits()
"""
    run_python(script)


def test_a_team_agrees_about_infinite_weights(run_python):
    # One in the last task of packing: a thread that went on without waiting for that task would
    # compute what the others do not, and wait for them for ever. Hence a process.
    script = """
import numpy as np
import fastconv

rng = np.random.default_rng(3)
x = rng.standard_normal((2, 96, 40, 40), np.float32)
w = rng.standard_normal((96, 64, 3, 3), np.float32)
w[90, 60, 2, 1] = np.inf
one = fastconv.conv_transpose(x, w, stride=2, method="direct", workers=1)
for _ in range(60):
    two = fastconv.conv_transpose(x, w, stride=2, method="direct", workers=2)
    assert one.tobytes() == two.tobytes()
"""
    run_python(script, timeout=60)


def test_state_of_others_is_left_alone(run_python):
    # Neither the environment nor the default of OpenMP changes by importing or computing.
    script = """
import os
before = dict(os.environ)
import numpy as np
import fastconv
from fastconv import _threads
limits = _threads.limits()
x, w = np.ones((1, 64, 40, 40), np.float32), np.ones((64, 32, 4, 4), np.float32)
for workers in (1, 5, None):
    fastconv.conv_transpose(x, w, stride=2, workers=workers)
assert _threads.limits() == limits
assert dict(os.environ) == before
"""
    run_python(script, env={"OMP_NUM_THREADS": "2"})


@pytest.mark.parametrize("images", (76, 300, 301))
def test_last_block_of_a_batch(images):
    # Lanes along the batch are cut for many workers; the last block may take wider tiles.
    rng = np.random.default_rng(images)
    x = rng.standard_normal((images, 6, 3, 3)).astype(np.float32)
    w = rng.standard_normal((6, 5, 3, 3)).astype(np.float32)
    one = fastconv.conv_transpose(x, w, stride=2, method="direct", workers=1)
    for workers in range(2, 17):
        identical(
            one, fastconv.conv_transpose(x, w, stride=2, method="direct", workers=workers))
