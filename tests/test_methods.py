"""Which way each problem goes, and that both sides of every switch are exact.

The table says for each real layer and instruction set what computes it, so that none falls back
to a slower way unseen. After a change that is meant to send a layer elsewhere, edit its row;
``PYTHONPATH=benchmarks python tests/test_methods.py`` prints the tables as they are now.
"""

from __future__ import annotations

import numpy as np
import pytest
import reference
from layers import LAYERS
from oracle import plan_strides, small_integers

import fastconv
from fastconv import _api, _col2im, _direct, _isa, _methods
from fastconv._problem import make_problem

#: Method, axis along the lanes, rows x lanes of the tile; "flat" where lanes run on over rows,
#: "strung" where images do over pixels, "joined" where phases share panels though some have a tap
#: more, and how phases are woven (see `Plan.stencil`) where sums are stored from where they are
#: made.
ROUTES = """
layer       | baseline                   | avx2                       | avx512
dcgan_2     | winograd batch 4x12        | winograd batch 4x24        | winograd batch 8x48
dcgan_3     | winograd batch 4x12        | winograd batch 4x24        | winograd batch 8x48
dcgan_rgb   | direct spatial1 4x12       | direct spatial1 4x24 flat  | direct spatial1 8x48 flat
unet_up1    | direct spatial1 4x12       | direct spatial1 4x24 flat  | direct spatial1 8x32
unet_up4    | direct spatial1 4x12       | direct spatial1 4x24       | direct spatial1 8x48 even
maskrcnn    | direct spatial1 4x12 flat  | direct spatial1 4x24 flat  | direct spatial1 8x48 flat
fcn8s       | direct spatial1 4x12       | direct spatial1 4x24       | direct spatial1 8x48 flat
unet3d_up   | direct spatial2 4x12       | direct spatial2 4x24 flat  | direct spatial2 8x32 even
pose_1      | col2im 4x12                | col2im 4x24                | col2im 8x48
pose_3      | winograd tiles 4x12        | winograd tiles 4x24        | winograd tiles 8x48
fsrcnn_x3   | direct spatial1 4x12       | direct spatial1 4x24       | direct spatial1 8x48
compress_k5 | winograd tiles 4x12        | winograd tiles 4x24        | winograd tiles 8x48
decoder_k3s1| winograd tiles 4x12        | winograd tiles 4x24        | winograd tiles 8x48
dilated     | winograd tiles 4x12        | winograd tiles 4x24        | winograd tiles 8x48
depthwise_up| direct spatial1 4x12 parted| direct spatial1 4x24 parted| direct spatial1 8x48 parted
hifigan_1   | karatsuba 4x12             | karatsuba 4x24             | karatsuba 8x48
hifigan_4   | winograd tiles 4x12        | winograd tiles 4x24        | winograd tiles 8x48
istft       | col2im 4x12                | col2im 4x24                | col2im 8x48
f64_k4s2    | winograd tiles 4x6         | winograd tiles 4x12        | winograd tiles 8x24
gray_up4    | direct spatial1 4x12 even  | direct spatial1 4x24 even  | direct spatial1 8x48 even
pyrup_rgb   | direct spatial1 4x12       | direct spatial1 4x24 parted| direct spatial1 8x48 parted
upfirdn_x4  | direct spatial0 4x12 more  | direct spatial0 4x24 more  | direct spatial0 8x48 more
idwt2_db4   | direct spatial1 4x12 even  | direct spatial1 4x24 even  | direct spatial1 8x48 even
"""

#: How layers of the direct method go where channels are last: "pixels" with lanes along the
#: channels, or how phases are woven together with them.
LAST = """
layer        | baseline | avx2   | avx512
dcgan_rgb    |          |        |
unet_up4     | pixels   | pixels | pixels
maskrcnn     | pixels   | pixels | pixels
unet3d_up    | pixels   | pixels | pixels
depthwise_up | pixels   | pixels | pixels
gray_up4     | even     | even   | even
pyrup_rgb    | parted   | parted | parted
upfirdn_x4   | more     | more   | more
idwt2_db4    | even     | even   | even
"""

DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "output_size": None, "dilation": 1,
            "groups": 1, "channel_axis": 1}
WORKERS = (1, 2, 5)


def problem_of(x, w, **arguments):
    return make_problem(x, w, **(DEFAULTS | arguments))


def route(layer):
    """How a layer is computed with the active instruction set, in the words of the table."""
    told = _api.explain(
        layer.x_shape, layer.w_shape, layer.dtype, workers=1, **layer.options)
    words = [told["method"]]
    if "lane_axis" in told:
        words.append(told["lane_axis"].replace(" ", ""))
    words.append("{}x{}".format(*told["tile"]))
    if told["method"] == "direct":
        problem = problem_of(layer.x_shape, layer.w_shape, **layer.options)
        plan = _direct.contiguous_plan(problem, np.dtype(layer.dtype), 1)
        words += ["flat"] * plan.flat + ["strung"] * plan.strung
        words += [plan.stencil] if plan.stencil else ["joined"] * plan.joined
    return " ".join(words)


def table(text):
    """A table as {layer: {instruction set: words}}."""
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in
                   text.strip().splitlines()]
    return {name: dict(zip(head[1:], cells, strict=True)) for name, *cells in rows}


@pytest.mark.parametrize("name", LAYERS)
def test_route_of_each_layer(name, isa):
    wanted = table(ROUTES)[name]
    if isa not in wanted:
        pytest.skip(f"the table has no column for {isa}")
    assert route(LAYERS[name]) == wanted[isa]


def plan_last(x, w, dtype="float32", **arguments):
    """The plan for one worker where channels are neighbours."""
    problem = problem_of(x, w, **arguments)
    strides = plan_strides(problem, x, w, dtype, True, True)
    return _direct.make_plan(problem, np.dtype(dtype), strides, 1)


def route_last(layer):
    """How the direct method computes a layer with channels that are neighbours."""
    plan = plan_last(layer.x_shape, layer.w_shape, layer.dtype, **layer.options)
    return "pixels" if plan.pixelwise else plan.stencil or ""


@pytest.mark.parametrize("name", table(LAST))
def test_every_layer_takes_its_route_with_channels_last(name, isa):
    wanted = table(LAST)[name]
    if isa not in wanted:
        pytest.skip(f"the table has no column for {isa}")
    assert route_last(LAYERS[name]) == wanted[isa]


def test_the_table_is_complete():
    assert list(table(ROUTES)) == list(LAYERS)
    for wanted in table(ROUTES).values():
        for words in wanted.values():
            assert words.split()[0] in _methods.METHODS
            assert words.split()[0] != "reference"


def check_exact(x_shape, w_shape, dtype="float32", method="auto", **arguments):
    """The result of small integers is that of the definition, for several workers."""
    rng = np.random.default_rng(11)
    x, w = small_integers(rng, x_shape, dtype), small_integers(rng, w_shape, dtype)
    bias = small_integers(rng, (w_shape[1] * arguments.get("groups", 1),), dtype)
    wide = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    wanted = reference.conv_transpose(*(a.astype(wide) for a in (x, w, bias)), **arguments)
    for workers in WORKERS:
        y = fastconv.conv_transpose(x, w, bias, method=method, workers=workers, **arguments)
        assert y.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(y, wanted.astype(dtype))


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


def chosen(x_shape, w_shape, dtype="float32", **arguments):
    """The name of the method that "auto" takes."""
    problem = problem_of(x_shape, w_shape, **arguments)
    return _methods.name(_methods.choose("auto", problem, np.dtype(dtype)))


def switches(values, state):
    """Neighbours ``(before, after)`` among `values` between which `state` changes."""
    states = [state(value) for value in values]
    return [
        (values[i], values[i + 1]) for i in range(len(values) - 1) if states[i] != states[i + 1]
    ]


# ---------------------------------------------------------------- between methods


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("split", ("batch", "spatial"))
def test_col2im_up_to_most_pixels(split, dtype, isa):
    w = (64, _col2im.LEAST_WEIGHTS // 64 // 4, 4)

    def x(pixels):
        return (pixels, 64, 1) if split == "batch" else (1, 64, pixels)

    options = {"stride": 2, "dilation": 2}
    # As many images as have no idle lanes.
    numbers = range(16, 700, 16) if split == "batch" else range(1, 700)
    at = switches(numbers, lambda n: chosen(x(n), w, dtype, **options))
    assert len(at) == 1
    most, more = at[0]
    assert chosen(x(most), w, dtype, **options) == "col2im"
    assert chosen(x(more), w, dtype, **options) == "direct"
    for pixels in (most, more):
        check_exact(x(pixels), w, dtype, **options)


@pytest.mark.parametrize("groups", (1, 2))
def test_col2im_from_least_weights_on(groups, isa):
    c_in, taps = 64 * groups, 16
    c_out = _col2im.LEAST_WEIGHTS // (c_in * taps)
    assert c_in * c_out * taps == _col2im.LEAST_WEIGHTS
    for w, wanted in (((c_in, c_out, 4, 4), True), ((c_in, c_out + 1, 4, 4), True),
                      ((c_in, c_out - 1, 4, 4), False)):
        x = (1, c_in, 4, 5)
        geometry = {"stride": 2, "padding": 1, "groups": groups}
        assert (chosen(x, w, **geometry) == "col2im") == wanted
        check_exact(x, w, **geometry)


@pytest.mark.parametrize("dtype", ("complex64", "float16", "int32"))
def test_col2im_is_for_real_floats(dtype, isa):
    x, w = (1, 64, 3), (64, _col2im.LEAST_WEIGHTS // 64 // 4, 4)
    assert chosen(x, w, "float32", stride=2) == "col2im"
    assert chosen(x, w, dtype, stride=2) == "direct"
    with pytest.raises(ValueError, match="method='col2im' cannot do this problem: .*float32"):
        check_exact(x, w, dtype, "col2im", stride=2)


def test_col2im_refuses_narrow_columns(isa):
    least = _col2im.LEAST_COLUMNS
    check_exact((1, 5, 9), (5, least // 4, 4), method="col2im", stride=2)
    check_exact((1, 10, 9), (10, least, 1), method="col2im", groups=2)
    with pytest.raises(ValueError, match=f"{least - 1} columns"):
        check_exact((1, 5, 9), (5, least - 1, 1), method="col2im")
    check_exact((1, 5, 9), (5, least - 1, 1))
    with pytest.raises(ValueError, match="no input channels"):
        check_exact((1, 0, 9), (0, least, 1), method="col2im")
    check_exact((1, 0, 9), (0, least, 1))


def scatter_few_pixels(x, w):
    """One channel, stride 1: a copy of the kernel for each pixel."""
    y = np.zeros([i + k - 1 for i, k in zip(x.shape[2:], w.shape[2:], strict=True)], x.dtype)
    for at in np.ndindex(x.shape[2:]):
        y[tuple(slice(i, i + k) for i, k in zip(at, w.shape[2:], strict=True))] += (
            x[0, 0][at] * w[0, 0])
    return y[None, None]


#: No axis is long enough for the lanes here, so all taps of the kernel are in one list.
LIST_TAPS = 1 << 17


@pytest.mark.parametrize("kernel", ((LIST_TAPS,), (LIST_TAPS // 256, 256)), ids=str)
def test_direct_takes_as_many_taps_as_a_list_holds(kernel, isa):
    rng = np.random.default_rng(12)
    x, w = (small_integers(rng, (1, 1, *n), "float32") for n in ([2] * len(kernel), kernel))
    for workers in WORKERS:
        y = fastconv.conv_transpose(x, w, method="direct", workers=workers)
        np.testing.assert_array_equal(y, scatter_few_pixels(x, w))


@pytest.mark.parametrize("kernel", ((LIST_TAPS + 1,), (LIST_TAPS // 256, 257)), ids=str)
def test_direct_refuses_more_taps(kernel):
    rng = np.random.default_rng(13)
    # Complex, since col2im takes few pixels of real floats.
    x, w = (small_integers(rng, (1, 1, *n), "complex64") for n in ([2] * len(kernel), kernel))
    assert chosen(x.shape, w.shape, "complex64") == "reference"
    np.testing.assert_array_equal(fastconv.conv_transpose(x, w), scatter_few_pixels(x, w))
    with pytest.raises(ValueError, match="method='direct' cannot do this problem: .*taps"):
        fastconv.conv_transpose(x, w, method="direct")


@pytest.mark.parametrize("dilation", (2**14, 2**20, 2**40))
@pytest.mark.parametrize("axes", (1, 2, 3))
@pytest.mark.parametrize("dtype", ("float32", "complex64", "int8"))
def test_direct_refuses_windows_between_taps_far_apart(axes, dilation, dtype):
    # Seven taps on a stride of 3: all but a few of the positions near a window have no tap.
    x, w = (5, 2, *[2] * axes), (2, 3, *[7] * axes)
    full = 3 + 6 * dilation + 1
    window = {"stride": 3, "dilation": dilation, "padding": [(dilation - 3, full - dilation - 7)]}
    window["padding"] *= axes
    if axes == 1 and dilation == 2**14:
        # Few enough to go through.
        assert plan(x, w, dtype, **window).tasks < 2**16
    else:
        assert chosen(x, w, dtype, **window) in ("reference", "col2im")
        with pytest.raises(ValueError, match=f"dilation.*{dilation}"):
            fastconv.conv_transpose(
                np.ones(x, dtype), np.ones(w, dtype), method="direct", **window)
    y = fastconv.conv_transpose(np.ones(x, dtype), np.ones(w, dtype), **window)
    # Both pixels at the second tap, 3 and 6 after the window's start.
    wanted = np.zeros([10] * axes, dtype)
    wanted[tuple([slice(3, 7, 3)] * axes)] = 2
    np.testing.assert_array_equal(y, np.broadcast_to(wanted, (5, 3, *wanted.shape)))


def test_explain_knows_what_numpy_can_address():
    with pytest.raises(ValueError, match="x of shape.*is more than NumPy can address"):
        _api.explain((1, 2, 2**60), (2, 2, 3), "float64")
    with pytest.raises(ValueError, match="w of shape.*is more than NumPy can address"):
        _api.explain((1, 2, 3), (2, 2**60, 3), "float64")
    with pytest.raises(ValueError, match="result of shape.*is more than NumPy can address"):
        _api.explain((1, 2, 2**30), (2, 2, 3), "float64", stride=2**30)
    with pytest.raises(MemoryError, match="2.31e.18"):
        _api.explain((1, 2, 2**60), (2, 2, 3), "int8", method="direct")


def test_long_axes_of_x_and_w_are_refused_without_counting_pairs(run_python):
    assert run_python("""
import numpy as np
import fastconv
x = np.broadcast_to(np.float16(1), (1, 1, 2**42))
try:
    fastconv.conv_transpose(x, x)
except MemoryError as error:
    print("needs", error)
""", timeout=20).startswith("needs the result of shape (1, 1, 8796093022207)")


def test_direct_refuses_types_without_kernels():
    x, w = (1, 2, 5), (2, 3, 3)
    assert chosen(x, w, "longdouble") == "reference"
    with pytest.raises(ValueError, match="method='direct' cannot do this problem: .*no kernels"):
        fastconv.conv_transpose(np.ones(x, "g"), np.ones(w, "g"), method="direct")
    check_exact(x, w, "longdouble")


# ---------------------------------------------------------------- within the direct method


def plan(x, w, dtype="float32", workers=1, **arguments):
    return _direct.contiguous_plan(problem_of(x, w, **arguments), np.dtype(dtype), workers)


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


def test_channels_last_is_told_as_it_is_computed():
    many = _api.explain((1, 64, 64, 512), (512, 256, 2, 2), stride=2, channel_axis=-1)
    assert (many["method"], many["lane_axis"]) == ("direct", "channels")
    alone = _api.explain((1, 64, 64, 64), (64, 1, 3, 3), groups=64, channel_axis=-1)
    assert (alone["method"], alone["lane_axis"]) == ("direct", "groups")
    first = _api.explain((1, 512, 64, 64), (512, 256, 2, 2), stride=2)
    assert (first["method"], first["lane_axis"]) == ("direct", "spatial 1")


if __name__ == "__main__":
    for text, words in ((ROUTES, route), (LAST, route_last)):
        print("layer       | " + "| ".join(f"{isa:27}" for isa in _isa.supported()).rstrip())
        for layer_name in table(text):
            cells = []
            for set_name in _isa.supported():
                _isa.use(set_name)
                cells.append(f"{words(LAYERS[layer_name]):27}")
            print(f"{layer_name:12}| " + "| ".join(cells).rstrip())
