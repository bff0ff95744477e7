"""Interpolation kernels: upsampling by an integer factor as one transposed convolution.

Every function here returns a `Filter`, a kernel and the padding that belongs to it, so that

    conv_transpose(x, f.kernel, stride=scale, padding=f.padding, channel_axis=None)

has exactly ``scale`` samples for every sample of ``x`` along every axis. Sample ``o`` of the
result lies at ``(o + 0.5) / scale - 0.5`` on the grid of ``x``: pixels are areas, and the
outer edges of both grids coincide (what Pillow, OpenCV and scikit-image do when they resize,
and what other libraries call half-pixel centres or ``align_corners=False``).

An output sample only meets the taps of its phase, one in ``scale`` of the kernel. The taps of
each phase sum to 1 along each axis, hence a constant signal stays constant. Near the border
this holds as soon as ``x`` has been continued by ``ceil(f.padding / scale)`` samples on each
side, for example by `numpy.pad` with ``mode="edge"``, and the padding enlarged by ``scale``
times as much; without that the outside counts as zero, and the border fades.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsFloat, SupportsIndex

import numpy as np

from ._problem import as_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Filter", "bicubic", "bilinear", "binomial", "from_window", "lanczos"]

#: Kernels are dense, so a large scale in many dimensions would fill the memory: 1 GiB at most.
MOST_TAPS = 2**27


class Filter(NamedTuple):
    """An interpolation kernel and the padding that makes it fit.

    Attributes
    ----------
    kernel : ndarray of float64
        Symmetric, and the outer product of the same taps along each of its ``ndim`` axes.
    padding : int
        Samples to crop on either side of every axis of the full result.
    """

    kernel: NDArray[np.float64]
    padding: int


def bilinear(scale: SupportsIndex, ndim: SupportsIndex = 2) -> Filter:
    r"""Linear interpolation along every axis.

    Parameters
    ----------
    scale : int
        Output samples per input sample, at least 1.
    ndim : int, optional
        Number of axes of the kernel, at least 1.

    Returns
    -------
    Filter
        `kernel` has ``2*scale`` taps an axis for an even `scale`, ``2*scale - 1`` for an odd one.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is less than 1, or the kernel would have more than 2**27 values.

    Notes
    -----
    The taps are the triangle :math:`h(t) = \max(0, 1 - |t|)`, the B-spline of degree 1, at
    distances :math:`t` counted in input samples.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import conv_transpose, filters
    >>> kernel, padding = filters.bilinear(2, ndim=1)
    >>> kernel
    array([0.25, 0.75, 0.75, 0.25])
    >>> x = np.array([0.0, 4.0, 8.0, 8.0])
    >>> conv_transpose(x, kernel, stride=2, padding=padding, channel_axis=None)
    array([0., 1., 3., 5., 7., 8., 8., 6.])

    The last sample fades because zeros lie beyond the border. With one more sample on each
    side, repeated from the border and cropped again, it does not:

    >>> conv_transpose(np.pad(x, 1, mode="edge"), kernel, stride=2, padding=padding + 2,
    ...                channel_axis=None)
    array([0., 1., 3., 5., 7., 8., 8., 8.])
    """
    scale, ndim = _at_least_one(scale, "scale"), _at_least_one(ndim, "ndim")
    return _interpolation(_triangle, 1, scale, ndim)


def bicubic(
    scale: SupportsIndex, ndim: SupportsIndex = 2, *, a: SupportsFloat = -0.5
) -> Filter:
    r"""Cubic convolution along every axis.

    Parameters
    ----------
    scale : int
        Output samples per input sample, at least 1.
    ndim : int, optional
        Number of axes of the kernel, at least 1.
    a : float, optional
        Slope of the kernel at distance 1. Keys' value -0.5, which Pillow uses too, reproduces
        quadratic polynomials; -0.75, as in OpenCV and PyTorch, is sharper and does not.

    Returns
    -------
    Filter
        `kernel` has ``4*scale`` taps an axis for an even `scale`, ``4*scale - 1`` for an odd one.

    Raises
    ------
    TypeError
        If `scale` or `ndim` is not an integer or `a` not a real number.
    ValueError
        If `scale` or `ndim` is less than 1, `a` is not finite, or the kernel would have more
        than 2**27 values.

    Notes
    -----
    .. math::

        h(t) = \begin{cases}
            (a + 2)|t|^3 - (a + 3)|t|^2 + 1 & |t| \le 1 \\
            a|t|^3 - 5a|t|^2 + 8a|t| - 4a & 1 < |t| < 2 \\
            0 & \text{otherwise}
        \end{cases}

    References
    ----------
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE
    Transactions on Acoustics, Speech, and Signal Processing 29(6), 1153-1160, 1981.

    Examples
    --------
    >>> from fastconv import filters
    >>> kernel, padding = filters.bicubic(2, ndim=1)
    >>> kernel * 128
    array([ -3.,  -9.,  29., 111., 111.,  29.,  -9.,  -3.])
    >>> padding
    3
    """
    scale, ndim = _at_least_one(scale, "scale"), _at_least_one(ndim, "ndim")
    if isinstance(a, (bool, str, bytes)):
        raise TypeError(f"a must be a real number, got {a!r}")
    try:
        a = float(a)
    except TypeError:
        raise TypeError(f"a must be a real number, got {a!r}") from None
    if not math.isfinite(a):
        raise ValueError(f"a must be finite, got {a}")
    return _interpolation(functools.partial(_keys, a=a), 2, scale, ndim)


def lanczos(scale: SupportsIndex, ndim: SupportsIndex = 2, *, lobes: SupportsIndex = 3) -> Filter:
    r"""Lanczos interpolation: a sinc under the central lobe of a wider sinc.

    Parameters
    ----------
    scale : int
        Output samples per input sample, at least 1.
    ndim : int, optional
        Number of axes of the kernel, at least 1.
    lobes : int, optional
        Reach of the kernel to either side in input samples, at least 1.

    Returns
    -------
    Filter
        `kernel` has ``2*lobes*scale`` taps an axis for an even `scale`, one less for an odd one.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is less than 1, or the kernel would have more than 2**27 values.

    Notes
    -----
    .. math::

        h(t) = \begin{cases}
            \operatorname{sinc}(t) \operatorname{sinc}(t / m) & |t| < m \\
            0 & \text{otherwise}
        \end{cases}
        \qquad \operatorname{sinc}(t) = \frac{\sin \pi t}{\pi t}

    with :math:`m` lobes. By itself the sum of a phase is only close to 1; every phase is
    divided by its sum.

    References
    ----------
    C. E. Duchon, "Lanczos filtering in one and two dimensions", Journal of Applied
    Meteorology 18(8), 1016-1022, 1979.

    Examples
    --------
    >>> from fastconv import filters
    >>> kernel, padding = filters.lanczos(2)
    >>> kernel.shape, padding
    ((12, 12), 5)
    >>> filters.lanczos(3, ndim=1, lobes=2).kernel.shape
    (11,)
    """
    scale, ndim = _at_least_one(scale, "scale"), _at_least_one(ndim, "ndim")
    lobes = _at_least_one(lobes, "lobes")
    return _interpolation(lambda t: _sinc(t) * np.sinc(t / lobes), lobes, scale, ndim)


def binomial(scale: SupportsIndex, ndim: SupportsIndex = 2, *, order: SupportsIndex = 5) -> Filter:
    r"""Smooth, non-negative expansion with binomial weights, as image pyramids use it.

    It does not pass through the samples of its input, it smooths them as well.

    Parameters
    ----------
    scale : int
        Output samples per input sample, at least 1.
    ndim : int, optional
        Number of axes of the kernel, at least 1.
    order : int, optional
        How many boxes of `scale` samples are convolved, at least 1. 1 repeats the nearest
        sample. Odd for an even `scale`, because an even number of boxes of even length is
        centred on a sample and not between two.

    Returns
    -------
    Filter
        `kernel` has ``order*(scale - 1) + 1`` taps an axis.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is less than 1, `order` and `scale` are both even, or the kernel would
        have more than 2**27 values.

    Notes
    -----
    The taps of one axis are the coefficients of

    .. math::

        \frac{(1 + z + \dots + z^{s-1})^n}{s^{n-1}}

    for scale :math:`s` and order :math:`n`. At scale 2 these are the binomial coefficients
    :math:`\binom{n}{k} / 2^{n-1}`; :math:`n = 4` are the weights 1, 4, 6, 4, 1 of Burt and
    Adelson (their parameter 0.375), which put every other output sample on an input sample.
    The default, 5, is the next one with the grid of this module: 1, 5, 10, 10, 5, 1. At any
    scale the coefficients are the mask that refines a B-spline of degree :math:`n - 1`, which
    is why the taps of each phase sum to 1.

    References
    ----------
    P. J. Burt and E. H. Adelson, "The Laplacian pyramid as a compact image code", IEEE
    Transactions on Communications 31(4), 532-540, 1983.

    J. M. Lane and R. F. Riesenfeld, "A theoretical development for the computer generation
    and display of piecewise polynomial surfaces", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 2(1), 35-46, 1980.

    Examples
    --------
    >>> from fastconv import filters
    >>> filters.binomial(2, ndim=1).kernel * 16
    array([ 1.,  5., 10., 10.,  5.,  1.])
    >>> filters.binomial(3, ndim=1, order=2).kernel * 3
    array([1., 2., 3., 2., 1.])
    """
    scale, ndim = _at_least_one(scale, "scale"), _at_least_one(ndim, "ndim")
    order = _at_least_one(order, "order")
    if scale % 2 == 0 and order % 2 == 0:
        raise ValueError(
            f"order must be odd for an even scale, got order={order} and scale={scale}"
        )
    _check_size(order * (scale - 1) + 1, scale, ndim)
    taps = np.ones(1)
    for _ in range(order if scale > 1 else 0):
        # Divided at every step: the power of the scale alone would overflow for large orders.
        taps = np.convolve(taps, np.full(scale, 1 / scale))
    return _separable(taps, scale, ndim)


def from_window(
    scale: SupportsIndex,
    ndim: SupportsIndex = 2,
    *,
    window: str | float | tuple[Any, ...] = ("kaiser", 5.0),
    lobes: SupportsIndex = 3,
) -> Filter:
    r"""Band-limited interpolation with a window of your choice.

    Parameters
    ----------
    scale : int
        Output samples per input sample, at least 1.
    ndim : int, optional
        Number of axes of the kernel, at least 1.
    window : str, float or tuple, optional
        Anything `scipy.signal.get_window` takes. The default is that of
        `scipy.signal.resample_poly`.
    lobes : int, optional
        Reach of the kernel to either side in input samples, at least 1.

    Returns
    -------
    Filter
        `kernel` has ``2*lobes*scale`` taps an axis for an even `scale`, one less for an odd one.

    Raises
    ------
    TypeError
        If `scale`, `ndim` or `lobes` is not an integer.
    ValueError
        If one of them is less than 1, SciPy does not know `window`, the window leaves a phase
        without weight, or the kernel would have more than 2**27 values.

    Notes
    -----
    :math:`\operatorname{sinc}(t)`, the ideal low-pass filter with its cutoff at the Nyquist
    frequency of the input, times the symmetric window of the kernel's length (the window
    method, as in `scipy.signal.firwin`), then every phase divided by its sum.

    References
    ----------
    A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", 3rd edition,
    section 7.5, Pearson, 2010.

    Examples
    --------
    >>> from fastconv import filters
    >>> kernel, padding = filters.from_window(4, ndim=1, window="hamming")
    >>> kernel.shape, padding
    ((24,), 10)
    """
    scale, ndim = _at_least_one(scale, "scale"), _at_least_one(ndim, "ndim")
    lobes = _at_least_one(lobes, "lobes")
    length = _length(lobes, scale)
    _check_size(length, scale, ndim)
    # scipy.signal takes longer to import than all of this package.
    from scipy.signal import get_window

    try:
        weights = np.asarray(get_window(window, length, fftbins=False), np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"window={window!r} is not a window: {error}") from error
    taps = _sinc(_distances(length, scale)) * weights
    for phase in range(scale):
        if not abs(taps[phase::scale].sum()) > 1e-6:
            raise ValueError(
                f"window={window!r} leaves no weight in a phase at scale={scale}, lobes={lobes}"
            )
    return _separable(taps, scale, ndim)


def _at_least_one(value: SupportsIndex, name: str) -> int:
    """An integer argument that must be positive."""
    number = as_index(value, name)
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}")
    return number


def _length(reach: int, scale: int) -> int:
    """Taps whose distance from the centre is below `reach` input samples.

    ``(I - 1)*scale + length - 2*padding = I*scale`` asks for the parity of the scale.
    """
    return 2 * reach * scale - scale % 2


def _check_size(length: int, scale: int, ndim: int) -> None:
    """Raise before a kernel is made that no memory holds."""
    # The logarithm first: the power itself would take forever for an absurd ndim.
    if ndim * math.log2(length) > math.log2(MOST_TAPS):
        raise ValueError(
            f"scale={scale} and ndim={ndim} ask for a kernel of {length}**{ndim} values, "
            f"more than {MOST_TAPS}"
        )
    if ndim > 32:
        raise ValueError(f"ndim must be at most 32, got {ndim}")


def _distances(length: int, scale: int) -> NDArray[np.float64]:
    """Distance of every tap from the centre of the kernel, in input samples."""
    # Whole and half numbers are exact here, so both ends get the same distances.
    offsets: NDArray[np.float64] = np.abs(np.arange(length) - (length - 1) / 2)
    return offsets / scale


def _interpolation(
    h: Callable[[NDArray[np.float64]], NDArray[np.float64]], reach: int, scale: int, ndim: int
) -> Filter:
    """The kernel that samples ``h``, a function that vanishes from distance `reach` on."""
    length = _length(reach, scale)
    _check_size(length, scale, ndim)
    return _separable(h(_distances(length, scale)), scale, ndim)


def _separable(taps: NDArray[np.float64], scale: int, ndim: int) -> Filter:
    """Normalise the phases of one axis and take the outer product over all axes."""
    # Both halves were rounded on their own; their mean is symmetric to the last bit.
    taps = (taps + taps[::-1]) / 2
    for phase in range(scale):
        # fsum does not depend on the order, so mirrored phases stay mirror images.
        taps[phase::scale] /= math.fsum(taps[phase::scale])
    kernel = taps
    for _ in range(ndim - 1):
        kernel = np.multiply.outer(kernel, taps)
    return Filter(kernel, (len(taps) - scale) // 2)


def _triangle(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - t)


def _keys(t: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _sinc(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """`numpy.sinc`, but exactly 0 at whole numbers, so that samples pass unchanged."""
    return np.where((t == np.floor(t)) & (t != 0), 0.0, np.sinc(t))
