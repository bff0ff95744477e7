"""The planes method: what it takes, when "auto" takes it, its exactness, layouts and scratch.

The catalogue is run through it in test_exact and its neighbours; here are the shapes that only this
method cuts: rows in several tasks, phases and channels that are woven, pixels that are one axis.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from transforms import chosen, integers, normal, problem_of

import fastconv
from fastconv import _api, _overlap, _planes

LAYERS = {
    "k3-s1": ((2, 40, 17, 30), (40, 3, 3, 3), {"padding": 1}),
    "k3-s1-valid": ((1, 27, 5, 51), (27, 3, 3, 3), {}),
    "k4-s2": ((2, 64, 9, 7), (64, 4, 4, 4), {"stride": 2, "padding": 1}),
    "k4-s2-crop": ((1, 48, 6, 8), (48, 3, 4, 4), {"stride": 2, "padding": ((0, 5), (3, 2))}),
    "k5-s2": ((1, 50, 8, 11), (50, 2, 5, 5), {"stride": 2, "padding": 2, "output_padding": 1}),
    "k5-s3": ((3, 30, 4, 5), (30, 1, 5, 5), {"stride": 3, "padding": (1, 2)}),
    "k3-d2": ((1, 20, 9, 10), (20, 2, 3, 3), {"dilation": 2, "padding": 2}),
    "k3-d5": ((1, 20, 4, 3), (20, 2, 3, 3), {"dilation": (1, 5), "padding": (0, 4)}),
    "k4x3-s2x1": ((2, 40, 7, 9), (40, 3, 4, 3), {"stride": (2, 1), "dilation": (1, 2)}),
    "k2-s2": ((1, 30, 8, 9), (30, 5, 2, 2), {"stride": 2}),
    "1x1": ((2, 12, 5, 6), (12, 7, 1, 1), {}),
    "1d": ((2, 70, 40), (70, 4, 16), {"stride": 8, "padding": 4}),
    # Rows longer than a task, with their ends in one and between two.
    "1d-long": ((1, 9, 5000), (9, 1, 9), {"padding": 4}),
    "1d-blocks": ((1, 64, 4096), (64, 8, 4), {"stride": 2, "padding": 1}),
    "2d-long": ((1, 20, 2, 3000), (20, 2, 3, 3), {"padding": ((1, 1), (0, 2))}),
    "3d": ((1, 30, 4, 5, 6), (30, 1, 3, 3, 3), {"stride": 2, "padding": 1}),
    "4d": ((1, 20, 3, 2, 3, 2), (20, 1, 2, 2, 2, 2), {"stride": (1, 2, 1, 2)}),
    "groups": ((2, 60, 6, 7), (60, 2, 3, 3), {"groups": 3, "padding": 1}),
    "one-pixel": ((5, 40, 1, 1), (40, 2, 4, 4), {"stride": 2}),
    "batch": ((40, 40, 3, 4), (40, 1, 5, 5), {"stride": 2, "padding": 2}),
    # Some images at a time, and some rows of one.
    "images": ((45, 130, 18, 17), (130, 14, 3, 3), {"padding": 1}),
    "rows": ((1, 70, 90, 100), (70, 7, 3, 3), {"padding": 1}),
    "rows-1d": ((1, 64, 12000), (64, 4, 16), {"stride": 8, "padding": ((4, 0),)}),
}


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("name", LAYERS)
def test_exact(name, dtype, isa):
    x, w, bias = integers(LAYERS[name], dtype)
    wanted = reference.conv_transpose(x, w, bias, **LAYERS[name][2])
    out = np.empty_like(wanted)
    for workers in (1, 3):
        out.fill(np.nan)
        fastconv.conv_transpose(
            x, w, bias, **LAYERS[name][2], method="planes", workers=workers, out=out)
        assert out.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", LAYERS)
def test_layouts_have_the_same_bits(name, isa):
    # Channels last, pixels that do not follow each other, and a result with steps.
    x, w = normal(LAYERS[name], "float32")
    bias = np.arange(1, w.shape[1] * LAYERS[name][2].get("groups", 1) + 1, dtype="float32")
    options = LAYERS[name][2] | {"method": "planes", "bias": bias}
    wanted = fastconv.conv_transpose(x, w, **options)
    last = fastconv.conv_transpose(
        np.moveaxis(x, 1, -1).copy(), w, channel_axis=-1, **options)
    assert np.moveaxis(last, -1, 1).tobytes() == wanted.tobytes()
    spread = np.repeat(np.repeat(x, 2, axis=1), 3, axis=-1)[:, ::2, ..., ::3]
    turned = np.swapaxes(np.swapaxes(x, 2, -1).copy(), 2, -1)
    for change in (spread, turned, np.flip(np.flip(x, 2).copy(), 2)):
        assert fastconv.conv_transpose(change, w, **options).tobytes() == wanted.tobytes()
    out = np.full((*wanted.shape, 2), np.nan, "float32")[..., 0]
    fastconv.conv_transpose(x, np.asfortranarray(w), **options, out=out)
    assert out.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", ("k3-s1", "k4-s2", "1d-long", "groups", "3d"))
def test_teams_and_batches_have_the_same_bits(name, isa):
    x, w = normal(LAYERS[name], "float32")
    options = LAYERS[name][2] | {"method": "planes"}
    wanted = fastconv.conv_transpose(x, w, **options, workers=1)
    for workers in (2, 5, 64):
        y = fastconv.conv_transpose(x, w, **options, workers=workers)
        assert y.tobytes() == wanted.tobytes()
    for image in fastconv.conv_transpose(np.concatenate([x[:1]] * 50), w, **options):
        assert image.tobytes() == wanted[0].tobytes()


def test_large_results(isa):
    layer = ((1, 4, 1300, 1300), (4, 1, 2, 2), {"stride": 2})
    x, w, bias = integers(layer, "float32")
    wanted = fastconv.conv_transpose(x, w, bias, stride=2, method="direct")
    assert wanted.nbytes > 20 << 20
    y = fastconv.conv_transpose(x, w, bias, stride=2, method="planes", workers=2)
    assert y.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    ("x", "w", "options", "reason"),
    [
        ((1, 26, 9), (26, 3, 9), {}, "27 columns .* than its 26 input channels"),
        ((1, 54, 9), (54, 3, 10), {"groups": 2}, "30 columns .* than its 27 input channels"),
        ((1, 300, 9), (300, 1, 257), {}, "257 columns .*, more than 256"),
        ((1, 40, 9, 9), (40, 1, 2, 2), {"stride": 3}, "gaps .* on spatial axis 0"),
        ((1, 40, 9, 9), (40, 1, 2, 2), {"stride": (1, 3)}, "gaps .* on spatial axis 1"),
        ((1, 40, 9), (40, 1, 3), {"stride": 2, "dilation": 2}, "gaps .* on spatial axis 0"),
        ((1, 40, 9), (40, 1, 3), {"padding": ((-1, 0),)}, "gaps .* on spatial axis 0"),
        ((1, 40, 9), (40, 1, 3), {"dilation": 5000}, "dilation .* is above 4096"),
        ((1, 40, 9, 9), (40, 1, 1, 3), {"dilation": (2**60, 5000)}, "dilation .* is above 4096"),
        ((1, 40, 9), (40, 0, 3), {}, "no output channels"),
        ((1, 0, 9), (0, 1, 3), {}, "columns .* than its 0 input channels"),
    ],
)
def test_what_it_refuses(x, w, options, reason):
    with pytest.raises(ValueError, match=f"^method='planes' cannot do this problem: .*{reason}"):
        fastconv.conv_transpose(np.ones(x), np.ones(w), **options, method="planes")
    # "auto" finds another way.
    y = fastconv.conv_transpose(np.ones(x), np.ones(w), **options)
    np.testing.assert_array_equal(y, reference.conv_transpose(np.ones(x), np.ones(w), **options))


@pytest.mark.parametrize("dtype", ("float16", "complex64", "int32", "longdouble"))
def test_types_it_does_not_take(dtype):
    with pytest.raises(ValueError, match=f"method='planes' .* not {np.dtype(dtype)}"):
        fastconv.conv_transpose(
            np.ones((1, 40, 9), dtype), np.ones((40, 1, 3), dtype), method="planes")


def test_when_auto_takes_it(isa):
    """With few columns and so many input channels and pixels that a second team is worth it."""
    layer = {"padding": 1}
    assert chosen((1, 256, 64, 64), (256, 1, 3, 3), **layer) == "planes"
    assert chosen((1, 256, 64, 64), (256, 16, 3, 3), **layer) != "planes"
    assert chosen((1, 256, 64, 64), (256, 1, 3, 3), "complex64", **layer) == "direct"
    taken = [chosen((1, c, 64, 64), (c, 1, 3, 3), **layer) for c in range(9, 257)]
    at = taken.index("planes")
    assert at > 0 and set(taken[:at]) == {"direct"} and set(taken[at:]) == {"planes"}
    for c in (at + 8, at + 9):
        x, w, bias = integers(((1, c, 64, 64), (c, 1, 3, 3), layer), "float32")
        np.testing.assert_array_equal(
            fastconv.conv_transpose(x, w, bias, **layer),
            reference.conv_transpose(x, w, bias, **layer))


@pytest.mark.parametrize("special", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize("operand", (0, 1))
def test_nan_and_inf_stay_where_they_are(operand, special, isa):
    # Only results that such a number reaches have it, also next to zeros.
    layer = ((2, 40, 12, 13), (40, 2, 4, 4), {"stride": 2, "padding": 1})
    operands = integers(layer, "float32")
    operands[operand].flat[77] = special
    y = fastconv.conv_transpose(*operands, **layer[2], method="planes")
    with np.errstate(invalid="ignore"):
        wanted = reference.conv_transpose(*operands, **layer[2])
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("bytes", (1, 1 << 12, 1 << 15))
@pytest.mark.parametrize("name", LAYERS)
def test_blocks_change_no_bit(name, bytes, monkeypatch):
    x, w = normal(LAYERS[name], "float32")
    options = LAYERS[name][2] | {"method": "planes", "workers": 1}
    wanted = fastconv.conv_transpose(x, w, **options)
    monkeypatch.setattr(_planes, "PLANES_BYTES", bytes)
    monkeypatch.setattr(_planes, "LEAST_REACHES", 2)
    out = np.full_like(wanted, np.nan)
    fastconv.conv_transpose(x, w, **options, out=out)
    assert out.tobytes() == wanted.tobytes()


def blocks_of(problem, size, workers):
    """All blocks, none of which is more than `cut` says."""
    images, rows, samples = _planes.cut(problem, size, workers)
    for image in range(0, int(np.prod(problem.batch)), images):
        for at in range(0, problem.spatial_out[0], rows):
            block = _planes.block_at(problem, image, images, at, rows)
            assert block.problem.batch[0] <= images
            assert 1 <= block.problem.spatial_in[0] <= samples
            yield block


@pytest.mark.parametrize("workers", (1, 3))
@pytest.mark.parametrize("name", LAYERS)
def test_blocks_have_every_result_once(name, workers, monkeypatch):
    monkeypatch.setattr(_planes, "PLANES_BYTES", 1 << 12)
    problem = problem_of(LAYERS[name])
    images, rows = np.prod(problem.batch), problem.spatial_out[0]
    count = np.zeros((images, rows), int)
    for block in blocks_of(problem, 4, workers):
        part = block.problem
        count[block.images, block.results] += 1
        shape = (*part.batch, part.spatial_out[0])
        assert count[block.images, block.results].shape == shape
        assert block.samples.stop - block.samples.start == part.spatial_in[0]
        # The same tap of the same sample reaches a result.
        assert part.crop[0] - block.results.start == (
            problem.crop[0] - block.samples.start * problem.stride[0])
        first = block.results.start + problem.crop[0]
        first -= (problem.kernel[0] - 1) * problem.dilation[0]
        assert block.samples.start <= max(0, math.ceil(first / problem.stride[0]))
        assert block.samples.stop >= min(
            (block.results.stop - 1 + problem.crop[0]) // problem.stride[0] + 1,
            problem.spatial_in[0])
    assert (count == 1).all()


@pytest.mark.parametrize("workers", (1, 2, 64))
@pytest.mark.parametrize("name", LAYERS)
def test_scratch_is_bounded(name, workers):
    # The planes and a copy of x for lanes along the batch are no more than x; what else is promised
    # are w and 4 MiB for each worker.
    x, w, options = LAYERS[name]
    figures = _api.explain(x, w, "float32", **options, method="planes", workers=workers)
    numbers = np.prod(x) + np.prod(w)
    assert figures["scratch_bytes"] <= 4 * numbers + workers * (4 << 20)
    problem = problem_of(LAYERS[name])
    tasks, worker_bytes = _overlap.count_tasks(problem, 4)
    assert worker_bytes <= 1 << 20
    rows = np.prod(problem.batch) * problem.groups * np.prod(problem.spatial_out[:-1])
    assert tasks % rows == 0
    assert (tasks > rows) == (name in ("1d-long", "1d-blocks", "2d-long", "rows-1d"))


def test_planes_stay_in_the_caches():
    # 2 MiB for each worker; rows that overlap by much are more, but no more than x.
    problem = problem_of(((3, 256, 300, 300), (256, 28, 3, 3), {"padding": 1}))
    for workers in (1, 2, 8):
        blocks = blocks_of(problem, 4, workers)
        planes = [252 * 4 * np.prod(b.problem.batch) * np.prod(b.problem.spatial_in)
                  for b in blocks]
        assert 0.5 * workers < max(planes) / (2 << 20) <= max(1.0 * workers, 8 * 0.87)
    figures = _api.explain((3, 256, 300, 300), (256, 28, 3, 3), "float32", method="planes")
    assert figures["scratch_bytes"] < 40 << 20


@pytest.mark.parametrize("part", ("products", "overlap"))
def test_no_memory_for_a_later_block(part, monkeypatch):
    # Results have been written then: nothing is an excuse. For the first block it is.
    layer = LAYERS["images"]
    x, w, bias = integers(layer, "float32")
    options = layer[2] | {"method": "planes"}
    wanted = reference.conv_transpose(x, w, bias, **layer[2])
    module = _planes._direct if part == "products" else _overlap
    run = module.run
    for fails in (0, 1, 2):
        calls = iter(range(100))

        def short(*arguments, fails=fails, calls=calls):
            if next(calls) == fails:
                raise MemoryError("no memory")
            return run(*arguments)

        out = np.full_like(wanted, np.nan)
        with monkeypatch.context() as context:
            context.setattr(module, "run", short)
            if fails == 0:
                with pytest.raises(MemoryError):
                    fastconv.conv_transpose(x, w, bias, **options, out=out)
                assert np.isnan(out).all()
                continue
            fastconv.conv_transpose(x, w, bias, **options, out=out)
        assert out.tobytes() == wanted.tobytes()


def test_planes_that_no_machine_has():
    x = np.broadcast_to(np.float32(1), (1, 64, 2, 1 << 53))
    w, window = np.ones((64, 1, 1, 3), np.float32), {"padding": (0, (1 << 52, (1 << 52) - 2))}
    with pytest.raises(MemoryError):
        fastconv.conv_transpose(x, w, **window, method="planes")
    y = fastconv.conv_transpose(x, w, **window)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 4), 192, np.float32))
    # Told without going through its blocks.
    figures = _api.explain(
        (1, 64, 1 << 36, 2), (64, 1, 3, 1), "float32", method="planes", workers=1)
    assert figures["scratch_bytes"] < 4 << 20


def test_auto_makes_no_products_that_are_cropped():
    x, w = (1, 64, 300, 300), (64, 1, 5, 5)
    assert chosen(x, w, padding=2) == "planes"
    assert chosen(x, w, padding=150) == "direct"
    # Of elements that are repeated, which no planes could hold.
    x = np.broadcast_to(np.float32(1), (1, 64, 10**5, 10**5))
    y = fastconv.conv_transpose(
        x, np.ones((64, 1, 9, 1), np.float32), padding=((50000, 50000), (49995, 49995)))
    np.testing.assert_array_equal(y, np.full((1, 1, 8, 10), 576, np.float32))


def test_scratch_of_large_batches_is_bounded(isa):
    # Small images are lanes, of a copy of x; large ones are not.
    for images, length in ((2, 64), (3, 64), (7, 32), (64, 8), (257, 4), (2000, 3), (3001, 2)):
        x, w = (images, 256, length, length), (256, 28, 3, 3)
        for dtype in ("float32", "float64"):
            figures = _api.explain(x, w, dtype, method="planes", workers=1)
            size = np.dtype(dtype).itemsize
            assert figures["scratch_bytes"] <= size * (np.prod(x) + np.prod(w)) + (4 << 20)


def test_few_numbers_are_added_by_one_thread():
    problem = problem_of(((1, 64, 32, 32), (64, 1, 4, 4), {}))
    assert _planes.add_workers(problem, 5) == 5
    problem = problem_of(((1, 64, 32, 31), (64, 1, 4, 4), {}))
    assert _planes.add_workers(problem, 5) == 1
