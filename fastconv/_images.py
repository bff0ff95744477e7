"""Image files, and their enlargement through `conv_transpose`.

Pillow reads and writes 8-bit images and 16-bit grey; tifffile takes TIFF files with more than
8 bits a sample, which Pillow would cut to 8. Both belong to the ``demo`` extra and are imported
where they are needed.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import filters
from ._api import _physical_memory, conv_transpose
from .filters import Filter

FILTERS: dict[str, Callable[[int], Filter]] = {
    "bilinear": filters.bilinear,
    "bicubic": filters.bicubic,
    "lanczos": filters.lanczos,
    "binomial": filters.binomial,
    "kaiser": filters.from_window,
}

#: Values of the result that are computed at once; a band of rows holds about as many.
BAND_VALUES = 2**22


class ImageError(ValueError):
    """An image that cannot be read, enlarged or written; one line that says why."""


class MissingExtra(ImportError):
    """An optional dependency is not installed; one line that says how to install it."""

    def __init__(self, library: str) -> None:
        super().__init__(f'{library} is not installed: pip install "fastconv[demo]"')


class Picture(NamedTuple):
    """Pixels of shape (height, width) or (height, width, channels), and their colour profile.

    With 2 or 4 channels the last one is alpha.
    """

    pixels: NDArray[Any]
    icc_profile: bytes | None = None


class Format(NamedTuple):
    """What a file format can hold."""

    name: str
    longest_side: int
    channels: tuple[int, ...]  #: of 8-bit images
    deep: tuple[int, ...]  #: of 16-bit images
    options: dict[str, Any]


_PNG = Format("PNG", 2**31 - 1, (1, 2, 3, 4), (1,), {})
_JPEG = Format("JPEG", 65535, (1, 3), (), {"quality": 95, "subsampling": 0})
_TIFF = Format("TIFF", 2**31 - 1, (1, 2, 3, 4), (1, 2, 3, 4), {})
_WEBP = Format("WEBP", 16383, (3, 4), (), {"quality": 95})
_BMP = Format("BMP", 2**31 - 1, (1, 3), (), {})

#: The formats that are read and written, by file name extension.
FORMATS = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _WEBP,
    ".bmp": _BMP,
}

_DEEP_TYPES = ("uint16", "int16", "uint32", "int32", "float32", "float64")


def layer(
    f: Filter, scale: int, channels: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], dict[str, Any], int]:
    """What turns a channels-last image into its enlargement by one call of `conv_transpose`.

    Parameters
    ----------
    f : Filter
        A two-dimensional filter for `scale`.
    scale, channels : int
        Enlargement, and the number of channels, each of which is filtered alone.
    dtype : dtype
        Type of the computation.

    Returns
    -------
    w : ndarray
        Weights of shape ``(channels, 1, *f.kernel.shape)``.
    geometry : dict
        Keyword arguments of `conv_transpose`.
    halo : int
        Pixels by which the image must be continued on each side beforehand. The padding in
        `geometry` crops what comes of them, so the result is `scale` times the image itself.
    """
    halo = -(-f.padding // scale)
    kernel = f.kernel.astype(dtype)
    w = np.broadcast_to(kernel, (channels, 1, *kernel.shape))
    geometry = {
        "stride": scale,
        "padding": f.padding + halo * scale,
        "groups": channels,
        "channel_axis": -1,
    }
    return w, geometry, halo


def upsample(
    image: NDArray[Any],
    scale: int,
    filter: str = "lanczos",
    *,
    workers: int | None = None,
    band_values: int = BAND_VALUES,
    progress: Callable[[int], object] | None = None,
) -> NDArray[Any]:
    """Enlarge an image by an integer factor.

    The image is continued by its border pixels, so that its edges keep their brightness. Colour
    is weighted with alpha while it is filtered, so that transparent pixels do not shine through.

    Parameters
    ----------
    image : ndarray
        Of shape (height, width) or (height, width, channels) with 1 to 4 channels; with 2 or 4
        the last is alpha. Integers of at most 32 bits or floats.
    scale : int
        Factor for both axes, at least 1.
    filter : str, optional
        A key of `FILTERS`.
    workers : int, optional
        As in `conv_transpose`.
    band_values : int, optional
        About how many values of the result to compute at once. The result does not depend on
        it, only the memory and how often `progress` is called.
    progress : callable, optional
        Called with the number of rows of the image that were done since the last call.

    Returns
    -------
    ndarray
        The enlarged image, of the type of `image`. It is computed in float32 (in float64 for
        integers of more than 8 bits and for float64); integers are rounded and clipped.

    Raises
    ------
    ImageError
        If `image` is not such an image, or the result or the filter would not fit in memory.
    ValueError
        If `scale` is less than 1 or `filter` is unknown.
    """
    image = np.asarray(image)
    check_pixels(image)
    if filter not in FILTERS:
        raise ValueError(f"filter must be one of {', '.join(FILTERS)}, got {filter!r}")
    check_fits(image, scale)
    planes = image if image.ndim == 3 else image[..., None]
    height, width, channels = planes.shape
    wide = image.dtype.itemsize > (1 if image.dtype.kind in "iu" else 4)
    dtype = np.dtype(np.float64 if wide else np.float32)
    try:
        f = FILTERS[filter](scale)
    except ValueError as error:
        raise ImageError(str(error)) from error
    w, geometry, halo = layer(f, scale, channels, dtype)
    padded = np.pad(planes, ((halo, halo), (halo, halo), (0, 0)), mode="edge")
    result = np.empty((height * scale, width * scale, channels), image.dtype)
    rows = max(1, band_values // (scale * scale * width * channels))
    for first in range(0, height, rows):
        last = min(first + rows, height)
        x = padded[first : last + 2 * halo].astype(dtype)
        if channels in (2, 4):
            x[..., :-1] *= x[..., -1:]
        # Forced, because what "auto" chooses may differ between a whole band and the last one.
        y = conv_transpose(x, w, method="direct", workers=workers, **geometry)
        if channels in (2, 4):
            alpha = y[..., -1:]
            visible = alpha > (0.5 if image.dtype.kind in "iu" else 0)
            np.divide(y[..., :-1], alpha, out=y[..., :-1], where=visible)
            np.copyto(y[..., :-1], 0, where=~visible)
        result[first * scale : last * scale] = as_pixels(y, image.dtype)
        if progress is not None:
            progress(last - first)
    return result if image.ndim == 3 else result[..., 0]


def as_pixels(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Floats as pixels of a type: rounded and clipped where it is an integer type."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    pixels: NDArray[Any] = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return pixels


def progress_bar(total: int, unit: str) -> Any:
    """A bar on standard error that appears when work takes longer than a second."""
    try:
        from tqdm import tqdm
    except ImportError:
        raise MissingExtra("tqdm") from None
    return tqdm(total=total, unit=unit, delay=1, leave=False)


def check_pixels(image: NDArray[Any]) -> None:
    """Raise for arrays that are not images."""
    if image.ndim not in (2, 3) or 0 in image.shape or (image.ndim == 3 and image.shape[2] > 4):
        raise ImageError(
            "image must be (height, width) or (height, width, 1 to 4 channels), "
            f"got shape {image.shape}"
        )
    if image.dtype.kind not in "iuf" or image.dtype.itemsize > (
        8 if image.dtype.kind == "f" else 4
    ):
        raise ImageError(
            f"image must hold integers of at most 32 bits or floats, got {image.dtype}"
        )


def check_fits(image: NDArray[Any], scale: int) -> None:
    """Raise if an image times `scale` cannot be held in memory."""
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    height, width = image.shape[0] * scale, image.shape[1] * scale
    # The result, the copy an encoder makes of it, and floats for a band of at least one row.
    needed = 3 * image.nbytes * scale**2 + 24 * math.prod(image.shape[1:]) * scale**2
    if needed > _physical_memory():
        raise ImageError(
            f"scale={scale} is too large: {width} x {height} pixels need about "
            f"{needed / 1e9:.3g} GB, this machine has {_physical_memory() / 1e9:.3g}"
        )


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Read an image file.

    Parameters
    ----------
    path : path-like
        A file in one of `FORMATS`; its content decides which, not its name.

    Returns
    -------
    Picture
        Palettes are expanded, other colour models converted to RGB, and the picture is turned
        the way its camera was held.

    Raises
    ------
    ImageError
        If there is no such image, or it has a form that would lose precision.
    MissingExtra
        If Pillow or tifffile is needed and not installed.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise MissingExtra("Pillow") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Pillow's guard against decompression bombs is for servers; this is the user's own file.
        guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            names = sorted({f.name for f in FORMATS.values()})
            image: Any
            with Image.open(path, formats=names) as image:
                if image.format == "TIFF" and max(image.tag_v2.get(258, (8,))) > 8:
                    return _read_tiff(path)
                if image.format == "PNG" and ";16" in str(image.tile) and image.mode != "I;16":
                    raise ImageError(
                        f"{path}: PNG with 16 bits a colour channel is not supported, "
                        "convert it to TIFF"
                    )
                # Not for JPEG: cameras put a preview behind the picture.
                if image.format not in ("JPEG", "MPO"):
                    _check_single(path, getattr(image, "n_frames", 1))
                image.load()
                upright = ImageOps.exif_transpose(image)
                converted = upright.convert(_mode(upright))
                profile = image.info.get("icc_profile")
                if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
                    profile = None
                return Picture(np.asarray(converted), profile)
        except (ImageError, MissingExtra):
            raise
        except UnidentifiedImageError:
            # Pillow has no mode for some TIFF files, such as 16-bit grey with alpha.
            if _is_tiff(path):
                return _read_tiff(path)
            raise ImageError(
                f"{path}: not an image ({', '.join(names)} are understood)"
            ) from None
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror or error}") from error
        except Exception as error:
            # Decoders raise nearly anything for a damaged file.
            raise ImageError(f"{path}: damaged image ({error})") from error
        finally:
            Image.MAX_IMAGE_PIXELS = guard


def _mode(image: Any) -> str:
    """The Pillow mode in which an image is worked on."""
    mode: str = image.mode
    if mode.startswith("I;16"):
        return "I;16"
    if "transparency" in image.info and mode in ("1", "L", "P", "RGB"):
        return "RGBA"
    if mode in ("L", "LA", "RGB", "RGBA"):
        return mode
    return {"1": "L", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(mode, "RGB")


def _check_single(path: str | os.PathLike[str], count: int) -> None:
    """Raise for animations and documents, rather than drop all but their first page."""
    if count > 1:
        raise ImageError(f"{path}: {count} pictures in one file are not supported")


def _is_tiff(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as TIFF files do, in either byte order."""
    with open(path, "rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*")


def _read_tiff(path: str | os.PathLike[str]) -> Picture:
    """A TIFF file with more than 8 bits a sample."""
    try:
        import tifffile
    except ImportError:
        raise MissingExtra("tifffile") from None
    try:
        with tifffile.TiffFile(path) as file:
            count = len(file.pages)
            page: Any = file.pages[0]
            pixels: NDArray[Any] = page.asarray()
    except Exception as error:
        # As in `read_picture`: what a damaged file raises depends on where the damage is.
        raise ImageError(f"{path}: damaged image ({error})") from error
    _check_single(path, count)
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    elif page.axes not in ("YX", "YXS"):
        raise ImageError(f"{path}: TIFF with axes {page.axes} is not supported")
    if page.photometric.name not in ("MINISBLACK", "RGB"):
        raise ImageError(f"{path}: TIFF with {page.photometric.name} is not supported")
    if "ASSOCALPHA" in [extra.name for extra in page.extrasamples]:
        raise ImageError(f"{path}: TIFF with premultiplied alpha is not supported")
    if pixels.dtype not in _DEEP_TYPES:
        raise ImageError(f"{path}: TIFF of type {pixels.dtype} is not supported")
    check_pixels(pixels)
    return Picture(pixels, page.iccprofile)


def check_target(path: str | os.PathLike[str], image: NDArray[Any] | None, scale: int = 1) -> None:
    """Raise if a file could not be written, before any work is done for it.

    Parameters
    ----------
    path : path-like
        The file to write.
    image : ndarray or None
        Pixels that will be written, enlarged by `scale`; None if they are not known yet, and
        only the place and the extension are looked at.
    scale : int, optional
        See `image`.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ImageError(
            f"{path}: the extension must be one of {', '.join(FORMATS)}, "
            f"got {path.suffix or 'none'}"
        )
    if not path.parent.is_dir():
        raise ImageError(f"{path}: there is no directory {path.parent}")
    if path.is_dir():
        raise ImageError(f"{path}: is a directory")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ImageError(f"{path}: no permission to write")
    if image is None:
        return
    form = FORMATS[path.suffix.lower()]
    side = max(image.shape[:2]) * scale
    if side > form.longest_side:
        raise ImageError(
            f"{path}: scale={scale} is too large, {form.name} holds {form.longest_side} pixels "
            f"a side, not {side}"
        )
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype == np.uint8:
        fits = channels in form.channels
    elif image.dtype == np.uint16:
        fits = channels in form.deep
    else:
        fits = form is _TIFF
    if not fits:
        raise ImageError(
            f"{path}: {form.name} cannot hold {channels} channels of {image.dtype}, "
            "use .tif" + (" or .png" if image.dtype == np.uint8 else "")
        )


def write_picture(path: str | os.PathLike[str], picture: Picture) -> None:
    """Write an image file; the extension of `path` decides the format.

    Raises
    ------
    ImageError
        If the file cannot be written.
    MissingExtra
        If Pillow or tifffile is needed and not installed.
    """
    pixels = picture.pixels
    check_target(path, pixels)
    form = FORMATS[Path(path).suffix.lower()]
    try:
        if form is _TIFF and pixels.dtype != np.uint8:
            _write_tiff(path, picture)
            return
        try:
            from PIL import Image
        except ImportError:
            raise MissingExtra("Pillow") from None
        profile = {"icc_profile": picture.icc_profile} if picture.icc_profile else {}
        single = pixels.ndim == 3 and pixels.shape[2] == 1
        image = Image.fromarray(pixels[..., 0] if single else pixels)
        image.save(path, format=form.name, **form.options, **profile)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from error


def _write_tiff(path: str | os.PathLike[str], picture: Picture) -> None:
    """A TIFF file with more than 8 bits a sample."""
    try:
        import tifffile
    except ImportError:
        raise MissingExtra("tifffile") from None
    pixels = picture.pixels
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        iccprofile=picture.icc_profile,
        metadata=None,
    )
