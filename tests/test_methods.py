"""Which method each problem goes to, and that both sides of every switch are exact.

The table says for each real layer and instruction set what computes it, so that none falls back
to a slower way unseen. After a change that is meant to send a layer elsewhere, edit its row;
``PYTHONPATH=benchmarks python tests/test_methods.py`` prints the tables as they are now.
"""

from __future__ import annotations

import numpy as np
import pytest
from layers import LAYERS
from oracle import small_integers
from switches import WORKERS, check_exact, plan, plan_last, problem_of, switches

import fastconv
from fastconv import _api, _col2im, _direct, _isa, _methods

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


def chosen(x_shape, w_shape, dtype="float32", **arguments):
    """The name of the method that "auto" takes."""
    problem = problem_of(x_shape, w_shape, **arguments)
    return _methods.name(_methods.choose("auto", problem, np.dtype(dtype)))


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
