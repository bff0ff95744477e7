"""Interpolation kernels: sums, symmetry, lengths, and agreement with image libraries."""

import doctest
import math

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.signal import firwin
from skimage.transform import resize

from fastconv import conv_transpose, filters

EPS = np.finfo(np.float64).eps
EPS32 = np.finfo(np.float32).eps
SCALES = (1, 2, 3, 4, 5, 8)
MAKERS = {
    "bilinear": filters.bilinear,
    "bicubic": filters.bicubic,
    "bicubic -0.75": lambda scale, ndim=2: filters.bicubic(scale, ndim, a=-0.75),
    "lanczos": filters.lanczos,
    "lanczos 2": lambda scale, ndim=2: filters.lanczos(scale, ndim, lobes=2),
    "binomial": filters.binomial,
    "binomial 3": lambda scale, ndim=2: filters.binomial(scale, ndim, order=3),
    "kaiser": filters.from_window,
    "hann 4": lambda scale, ndim=2: filters.from_window(scale, ndim, window="hann", lobes=4),
}
INTERPOLATING = [name for name in MAKERS if not name.startswith("binomial")]

every_filter = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
every_scale = pytest.mark.parametrize("scale", SCALES)


def enlarge(x, f, scale):
    """`x` continued by its border samples and enlarged along every axis."""
    halo = -(-f.padding // scale)
    padded = np.pad(x, halo, mode="edge")
    return conv_transpose(
        padded, f.kernel, stride=scale, padding=f.padding + halo * scale, channel_axis=None
    )


def gain(f, scale):
    """The largest sum of absolute values over the taps of a phase of a 2-D filter."""
    phases = [f.kernel[i::scale, j::scale] for i in range(scale) for j in range(scale)]
    return max(np.abs(taps).sum() for taps in phases)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).uniform(0, 1, (13, 17))


def test_examples_in_docstrings():
    result = doctest.testmod(filters)
    assert result.attempted > 10
    assert result.failed == 0


@every_filter
@every_scale
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_each_phase_sums_to_one(make, scale, ndim):
    kernel, _ = make(scale, ndim)
    for phase in np.ndindex(*(scale,) * ndim):
        taps = kernel[tuple(slice(p, None, scale) for p in phase)]
        # The taps of an axis are rounded, then their product: about 2*ndim roundings a tap.
        assert abs(taps.sum() - 1) <= (2 * ndim + taps.size) * EPS * np.abs(taps).sum()


@every_filter
@every_scale
def test_symmetric_to_the_last_bit(make, scale):
    kernel, _ = make(scale)
    assert kernel.dtype == np.float64
    for view in (kernel[::-1], kernel[:, ::-1], kernel.T):
        np.testing.assert_array_equal(kernel, view)


@every_filter
@every_scale
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_result_is_scale_times_as_long(make, scale, ndim):
    f = make(scale, ndim)
    assert isinstance(f, filters.Filter)
    assert f.kernel.ndim == ndim
    assert isinstance(f.padding, int)
    shape = (5, 4, 3)[:ndim]
    y = conv_transpose(
        np.ones(shape), f.kernel, stride=scale, padding=f.padding, channel_axis=None
    )
    assert y.shape == tuple(scale * n for n in shape)


@every_filter
@pytest.mark.parametrize("ndim", [1, 3])
def test_kernel_is_the_outer_product_of_one_axis(make, ndim):
    taps = make(3, 1).kernel
    expected = taps
    for _ in range(ndim - 1):
        expected = np.multiply.outer(expected, taps)
    np.testing.assert_array_equal(make(3, ndim).kernel, expected)


@every_filter
@every_scale
def test_constants_are_kept(make, scale):
    f = make(scale)
    y = enlarge(np.full((4, 5), 7.0), f, scale)
    terms = math.prod(-(-n // scale) for n in f.kernel.shape)
    # One rounding a product and a sum, and about four in the taps themselves.
    assert np.abs(y - 7).max() <= (4 + terms) * EPS * 7 * gain(f, scale)


@every_filter
@every_scale
def test_result_is_mirrored_with_the_input(make, scale):
    # Half-pixel centres: neither end of an axis is preferred.
    x = np.random.default_rng(1).integers(-8, 9, (6, 1)).astype(float)
    f = make(scale)
    y, mirrored = enlarge(x, f, scale), enlarge(x[::-1], f, scale)
    bound = f.kernel.size * EPS * np.abs(x).max() * np.abs(f.kernel).sum()
    assert np.abs(y - mirrored[::-1]).max() <= bound


@pytest.mark.parametrize("name", INTERPOLATING)
@pytest.mark.parametrize("scale", [1, 3, 5])
def test_samples_pass_unchanged_at_odd_scales(name, scale, image):
    y = enlarge(image, MAKERS[name](scale), scale)
    np.testing.assert_array_equal(y[scale // 2 :: scale, scale // 2 :: scale], image)


@pytest.mark.parametrize(
    ("make", "degree"), [(filters.bilinear, 1), (filters.bicubic, 2)], ids=["bilinear", "bicubic"]
)
@pytest.mark.parametrize("scale", [2, 3, 4, 7])
def test_polynomials_are_reproduced(make, degree, scale):
    grid = np.arange(12.0)
    f = make(scale, ndim=1)
    y = conv_transpose(grid**degree, f.kernel, stride=scale, padding=f.padding, channel_axis=None)
    centres = (np.arange(12 * scale) + 0.5) / scale - 0.5
    inside = slice(3 * scale, -3 * scale)
    bound = 16 * EPS * 11**degree
    assert np.abs(y - centres**degree)[inside].max() <= bound


def test_values_worked_out_by_hand():
    np.testing.assert_array_equal(filters.bilinear(2, 1).kernel, [0.25, 0.75, 0.75, 0.25])
    assert filters.bilinear(2, 1).padding == 1
    np.testing.assert_allclose(
        filters.bilinear(3, 1).kernel, np.array([1, 2, 3, 2, 1]) / 3, rtol=2 * EPS
    )
    np.testing.assert_array_equal(
        filters.bicubic(2, 1).kernel * 128, [-3, -9, 29, 111, 111, 29, -9, -3]
    )
    np.testing.assert_array_equal(filters.binomial(2, 1).kernel * 16, [1, 5, 10, 10, 5, 1])
    np.testing.assert_array_equal(filters.binomial(2, 1, order=3).kernel * 4, [1, 3, 3, 1])
    np.testing.assert_allclose(
        filters.binomial(3, 1, order=3).kernel * 9, [1, 3, 6, 7, 6, 3, 1], rtol=4 * EPS
    )


@every_scale
def test_binomial_of_order_one_repeats(scale, image):
    y = enlarge(image, filters.binomial(scale, order=1), scale)
    np.testing.assert_array_equal(y, image.repeat(scale, 0).repeat(scale, 1))


def test_from_window_is_the_window_method():
    # firwin normalises the whole of the taps, if at all; here it is every phase.
    taps = filters.from_window(4, 1, window="hamming", lobes=3).kernel
    reference = firwin(24, 1 / 4, window="hamming", scale=False) * 4
    sums = np.array([reference[p::4].sum() for p in range(4)])
    np.testing.assert_allclose(taps, reference / np.tile(sums, 6), rtol=0, atol=16 * EPS)


# Pillow divides the weights of pixels near the border by what is left of them, so only the
# interior is the same. It computes in double and stores float32 after each of two passes.
@pytest.mark.parametrize(
    ("make", "resample", "reach"),
    [
        (filters.bilinear, Image.Resampling.BILINEAR, 1),
        (filters.bicubic, Image.Resampling.BICUBIC, 2),
        (filters.lanczos, Image.Resampling.LANCZOS, 3),
    ],
    ids=["bilinear", "bicubic", "lanczos"],
)
@pytest.mark.parametrize("scale", [2, 3, 4, 5])
def test_same_as_pillow(make, resample, reach, scale, image):
    x = image.astype(np.float32)
    height, width = x.shape
    theirs = np.asarray(Image.fromarray(x).resize((width * scale, height * scale), resample))
    f = make(scale)
    ours = conv_transpose(
        x.astype(float), f.kernel, stride=scale, padding=f.padding, channel_axis=None
    )
    inside = (slice(reach * scale, -reach * scale),) * 2
    bound = 2 * EPS32 * gain(f, scale) * x.max()
    assert np.abs(ours - theirs)[inside].max() <= bound


# OpenCV continues the image by its border pixels, so all of the result is the same. It keeps
# positions and weights in float32: a position is off by half an ulp of the image's length.
@pytest.mark.parametrize(
    ("make", "interpolation"),
    [
        (filters.bilinear, cv2.INTER_LINEAR),
        (MAKERS["bicubic -0.75"], cv2.INTER_CUBIC),
    ],
    ids=["bilinear", "bicubic"],
)
@pytest.mark.parametrize("scale", [2, 3, 4, 5])
def test_same_as_opencv(make, interpolation, scale, image):
    x = image.astype(np.float32)
    theirs = cv2.resize(x, None, fx=scale, fy=scale, interpolation=interpolation)
    ours = enlarge(x.astype(float), make(scale), scale)
    bound = 8 * EPS32 * max(x.shape) * x.max()
    assert np.abs(ours - theirs).max() <= bound


@pytest.mark.parametrize("scale", [2, 3, 4, 5])
def test_bilinear_same_as_scikit_image(scale, image):
    shape = tuple(scale * n for n in image.shape)
    theirs = resize(image, shape, order=1, mode="edge", anti_aliasing=False)
    ours = enlarge(image, filters.bilinear(scale), scale)
    assert np.abs(ours - theirs).max() <= 8 * EPS * max(image.shape) * image.max()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f: f(0), ValueError, ["scale", "0"]),
        (lambda f: f(-3), ValueError, ["scale", "-3"]),
        (lambda f: f(1.5), TypeError, ["scale", "1.5"]),
        (lambda f: f(True), TypeError, ["scale", "True"]),
        (lambda f: f("2"), TypeError, ["scale", "'2'"]),
        (lambda f: f(None), TypeError, ["scale", "None"]),
        (lambda f: f(2, 0), ValueError, ["ndim", "0"]),
        (lambda f: f(2, 1.0), TypeError, ["ndim", "1.0"]),
        (lambda f: f(2, False), TypeError, ["ndim", "False"]),
        (lambda f: f(10**9 + 1), ValueError, ["scale", str(10**9 + 1)]),
        (lambda f: f(2, 10**12), ValueError, ["ndim", str(10**12)]),
        (lambda f: f(1, 10**12), ValueError, ["ndim", str(10**12)]),
    ],
)
@pytest.mark.parametrize(
    "make",
    [filters.bilinear, filters.bicubic, filters.lanczos, filters.binomial, filters.from_window],
)
def test_bad_scale_and_ndim(make, call, error, words):
    with pytest.raises(error) as caught:
        call(make)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: filters.lanczos(2, lobes=0), ValueError, ["lobes", "0"]),
        (lambda: filters.lanczos(2, lobes=2.5), TypeError, ["lobes", "2.5"]),
        (lambda: filters.lanczos(2, lobes=True), TypeError, ["lobes", "True"]),
        (lambda: filters.from_window(2, lobes=-1), ValueError, ["lobes", "-1"]),
        (lambda: filters.from_window(2, window="none"), ValueError, ["window", "'none'"]),
        (lambda: filters.from_window(2, window=("kaiser",)), ValueError, ["window", "kaiser"]),
        (lambda: filters.from_window(2, window=[1, 2]), ValueError, ["window", "[1, 2]"]),
        (lambda: filters.binomial(2, order=0), ValueError, ["order", "0"]),
        (lambda: filters.binomial(4, order=2), ValueError, ["order=2", "scale=4"]),
        (lambda: filters.bicubic(2, a=float("nan")), ValueError, ["a must", "nan"]),
        (lambda: filters.bicubic(2, a="x"), TypeError, ["a must", "'x'"]),
        (lambda: filters.bicubic(2, a=None), TypeError, ["a must", "None"]),
        (lambda: filters.bicubic(2, a=1j), TypeError, ["a must", "1j"]),
    ],
)
def test_bad_parameters(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_integers_of_numpy_are_integers():
    np.testing.assert_array_equal(
        filters.bilinear(np.int64(2), np.uint8(1)).kernel, filters.bilinear(2, 1).kernel
    )
